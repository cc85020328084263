//! Every reason there is to drop a packet, and a packet that meets it.

use crate::kit::*;
use ovn_xdp_abi::drop::DropReason::{self, *};
use ovn_xdp_datapath::field::{self, flag};
use ovn_xdp_datapath::key::TunnelId;
use ovn_xdp_datapath::program::{Agent, Op};
use ovn_xdp_datapath::publish::{Datapath, Generation, Place};
use std::sync::Arc;

fn frame() -> Vec<u8> {
    udp(None, (VM1, 1, 1), (VM2, 1, 4), b"payload")
}

fn geneve() -> Vec<u8> {
    let mut hv1 = Host::new(hypervisor(1));
    let sent = hv1.send(1, &frame());
    to_nic(&sent).to_vec()
}

/// The IPv4 header checksum made right again, and none for UDP.
fn unsummed(mut wire: Vec<u8>) -> Vec<u8> {
    wire[40..42].fill(0);
    wire[24..26].fill(0);
    let sum = ovn_xdp_datapath::checksum::internet(&wire[14..34]);
    wire[24..26].copy_from_slice(&sum.to_be_bytes());
    wire
}

fn edit(generation: &mut Generation, key: u32, edit: impl FnOnce(&mut Datapath)) {
    let mut datapath = (**generation.datapaths.get(&datapath_key(key)).unwrap()).clone();
    edit(&mut datapath);
    datapath.epoch += 1000;
    generation.datapaths.insert_mut(datapath.key, Arc::new(datapath));
}

/// Switch A runs only `ops` on what comes in.
fn running(ops: Vec<Op>) -> Generation {
    let mut generation = hypervisor(1);
    edit(&mut generation, SWITCH_A, |a| a.ingress = ingress(vec![vec![rule(1, vec![], ops)]]));
    generation
}

fn to(port: u16) -> Vec<Op> {
    vec![Op::Load(field::OUTPORT, port.into()), Op::Output]
}

/// Port 3 of switch A is at `place`.
fn placed(place: Place) -> Generation {
    let mut generation = running(to(3));
    edit(&mut generation, SWITCH_A, |a| {
        a.ports.insert(port_key(3), Arc::new(port(3, "vm2", place)));
    });
    generation
}

#[track_caller]
fn dropped(reason: DropReason, mut host: Host, run: impl FnOnce(&mut Host)) {
    run(&mut host);
    let counters = host.worker.counters();
    for other in DropReason::ALL {
        let expected = u64::from(*other == reason);
        assert_eq!(counters.dropped(*other), expected, "drops by {}", other.label());
    }
    assert!(host.io.sent.is_empty());
}

/// A frame from the VM is dropped by hypervisor 1 running `generation`, walked and from the cache.
#[track_caller]
fn sends(reason: DropReason, generation: Generation) {
    dropped(reason, Host::new(generation.clone()), |host| {
        assert!(host.send(1, &frame()).is_empty())
    });
    let mut twice = Host::new(generation);
    for _ in 0..2 {
        assert!(twice.send(1, &frame()).is_empty());
    }
    assert_eq!(twice.worker.counters().dropped(reason), 2);
}

/// A tunnel frame is dropped by hypervisor 2.
#[track_caller]
fn arrives(reason: DropReason, wire: &[u8]) {
    dropped(reason, Host::new(hypervisor(2)), |host| assert!(host.receive(wire).is_empty()));
}

#[test]
fn logical_flow() {
    sends(LogicalFlow, running(vec![]));
    sends(LogicalFlow, running(vec![next(9)]));
}

#[test]
fn not_executed() {
    let dns = Op::Agent(Box::new(Agent::Dns(field::reg(0))));
    sends(NotExecuted, running(vec![dns, Op::Output]));
    sends(NotExecuted, placed(Place::NotExecuted("localnet")));
}

#[test]
fn no_port() {
    dropped(NoPort, Host::new(hypervisor(1)), |host| {
        assert!(host.send(77, &frame()).is_empty());
    });
    let mut generation = hypervisor(1);
    generation.datapaths.remove_mut(&datapath_key(SWITCH_A));
    sends(NoPort, generation);
}

#[test]
fn truncated() {
    dropped(Truncated, Host::new(hypervisor(1)), |host| {
        assert!(host.send(1, &frame()[..13]).is_empty());
    });
    arrives(Truncated, &geneve()[..40]);
    let wire = geneve();
    arrives(Truncated, &wire[..wire.len() - 1]);
}

#[test]
fn malformed() {
    let wire = geneve();
    for (at, value) in [(12, 9), (14, 0x65), (23, 6), (20, 0x20), (37, 0), (42, 0x42), (44, 0)] {
        let mut wire = wire.clone();
        wire[at] = value;
        arrives(Malformed, &unsummed(wire));
    }
    // Options that end behind their header, or behind the packet.
    for (at, value) in [(53, 2), (42, 0x3f)] {
        let mut wire = wire.clone();
        wire[at] = value;
        arrives(Malformed, &unsummed(wire));
    }
}

#[test]
fn ttl_expired() {
    let mut generation = running(vec![Op::DecrementTtl, Op::DecrementTtl]);
    edit(&mut generation, SWITCH_A, |_| {});
    for ttl in [0, 1, 2] {
        dropped(TtlExpired, Host::new(generation.clone()), |host| {
            let mut frame = frame();
            frame[22] = ttl;
            assert!(host.send(1, &frame).is_empty());
        });
    }
}

#[test]
fn unbound() {
    sends(Unbound, placed(Place::Unbound));
    sends(Unbound, placed(Place::Remote(Box::new([]))));
    sends(Unbound, placed(Place::Remote(Box::new([TunnelId(99)]))));
    sends(Unbound, placed(patch(4711, 1)));
    // A tunnel packet for a port that has moved on.
    arrives(Unbound, &{
        let mut wire = geneve();
        wire[57] = 1;
        unsummed(wire)
    });
}

#[test]
fn no_outport() {
    sends(NoOutport, running(to(0)));
    sends(NoOutport, running(to(4711)));
}

#[test]
fn loopback() {
    sends(Loopback, running(to(1)));
    // Another port of the same interface, without leave to go back there.
    let mut generation = placed(local(1, None));
    edit(&mut generation, SWITCH_A, |_| {});
    sends(Loopback, generation);
}

#[test]
fn local_only() {
    let flags = |flag: u32| vec![Op::Load(field::FLAGS, flag.into()), to(3)[0].clone(), Op::Output];
    sends(LocalOnly, running(flags(flag::LOCAL_ONLY)));
    let mut generation = running(to(3));
    edit(&mut generation, SWITCH_A, |a| {
        let mut sender = (**a.ports.get(port_key(1)).unwrap()).clone();
        sender.localport = true;
        a.ports.insert(port_key(1), Arc::new(sender));
    });
    sends(LocalOnly, generation);
}

#[test]
fn no_next_hop() {
    let mut generation = hypervisor(1);
    let mut tunnel = (**generation.tunnels.get(&TunnelId(1)).unwrap()).clone();
    tunnel.link = None;
    generation.tunnels.insert_mut(TunnelId(1), Arc::new(tunnel));
    sends(NoNextHop, generation);
}

#[test]
fn too_big() {
    // A broadcast is never answered.
    dropped(TooBig, Host::new(running(to(3))), |host| {
        let frame = udp(None, (VM1, 1, 1), ([255; 6], 1, 255), &[0; 2000]);
        assert!(host.send(1, &frame).is_empty());
    });
}

#[test]
fn too_many_hops() {
    sends(TooManyHops, running(vec![next(0)]));
    let again = || ovn_xdp_datapath::program::Program::from([next(0)]);
    // Twice as many copies at each step: the walk ends all the same.
    sends(TooManyHops, running(vec![Op::Clone(again()), next(0)]));
}

#[test]
fn unknown_peer() {
    let mut wire = geneve();
    wire[26] = 203;
    arrives(UnknownPeer, &unsummed(wire));
}

#[test]
fn unknown_vni() {
    for vni in [0, 77] {
        let mut wire = geneve();
        wire[48] = vni;
        arrives(UnknownVni, &unsummed(wire));
    }
}

#[test]
fn unknown_option() {
    let mut wire = geneve();
    wire[42] = 4;
    wire.splice(58..58, [0xff, 0xff, 0x81, 1, 0, 0, 0, 0]);
    for at in [17, 39] {
        wire[at] += 8;
    }
    let wire = unsummed(wire);
    arrives(UnknownOption, &wire);
    // The same option is nobody's business without its critical bit.
    let mut harmless = wire.clone();
    harmless[60] = 1;
    assert_eq!(Host::new(hypervisor(2)).receive(&harmless).len(), 1);
}

#[test]
fn bad_tunnel_key() {
    // No such port, an outport of zero, an inport that is nobody.
    for (at, value) in [(57, 44), (57, 0), (55, 44)] {
        let mut wire = geneve();
        wire[at] = value;
        arrives(BadTunnelKey, &unsummed(wire));
    }
    // No option at all.
    let mut wire = geneve();
    wire.drain(50..58);
    wire[42] = 0;
    for at in [17, 39] {
        wire[at] -= 8;
    }
    arrives(BadTunnelKey, &unsummed(wire));
}

#[test]
fn tunnel_control() {
    let mut wire = geneve();
    wire[43] |= 0x80;
    arrives(TunnelControl, &unsummed(wire));
}

#[test]
fn ecn() {
    let mut wire = geneve();
    wire[15] |= 3;
    arrives(Ecn, &unsummed(wire));
}

#[test]
fn bad_checksum() {
    for at in [24, 40, 60] {
        let mut wire = geneve();
        wire[at] ^= 0x55;
        arrives(BadChecksum, &wire);
    }
}

#[test]
fn no_buffer() {
    let clone = ovn_xdp_datapath::program::Program::from(to(3));
    let generation = running(vec![Op::Clone(clone.clone()), Op::Clone(clone), next(7)]);
    let mut host = Host::new(generation);
    host.io.free = 0;
    assert_eq!(host.send(1, &frame()).len(), 1, "the frame itself still goes");
    assert_eq!(host.worker.counters().dropped(NoBuffer), 1);
}

#[test]
fn internal() {
    // A tunnel whose ends are of different families is a defect of whoever published it.
    let mut generation = hypervisor(1);
    let mut tunnel = (**generation.tunnels.get(&TunnelId(1)).unwrap()).clone();
    tunnel.remote = "fd00::1".parse().unwrap();
    generation.tunnels.insert_mut(TunnelId(1), Arc::new(tunnel));
    sends(Internal, generation);
}

#[test]
fn a_frame_of_nobody_is_not_counted_as_anybodys() {
    let mut host = Host::new(hypervisor(1));
    assert!(host.send(5, &frame()).is_empty());
    assert!(host.worker.counters().ports().is_empty());
}
