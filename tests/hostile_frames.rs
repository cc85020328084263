//! Frames that nobody should send are dropped, each under its own reason, and nothing of them is
//! delivered (TRAP-4, PSEC-*, ENC-13).

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::{Geneve, GeneveOption, OvnKeys};
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::link::{self, Mac, Underlay};
use ovn_xdp_kit::namespace::Namespace;
use ovn_xdp_kit::packet::PacketSocket;
use ovn_xdp_kit::raw::{Ends, tagged};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::workload::LINK;

fn start() -> Mixed {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let mixed = Mixed::start(binary, LabOptions::default()).unwrap();
    let (from, to) = (mixed.workload("vm1-red"), mixed.workload("vm2-red"));
    let pings = traffic::ping(from.namespace(), to.addresses().v4.into(), 3, PATIENCE).unwrap();
    assert!(pings.received > 0, "the network works before it is attacked");
    mixed
}

const PATIENCE: Duration = Duration::from_secs(5);

fn ends(mixed: &Mixed, from: &str, to: &str) -> Ends {
    let (from, to) = (mixed.workload(from).addresses(), mixed.workload(to).addresses());
    Ends { from_mac: from.mac, to_mac: to.mac, from: from.v4.into(), to: to.v4.into() }
}

/// Puts frames on vm1's interface, as its guest could, and waits until all are dropped for `reason`.
fn dropped_from_vm1(mixed: &Mixed, reason: &str, frames: &[Vec<u8>]) {
    let wire = PacketSocket::open(mixed.workload("vm1").namespace(), LINK).unwrap();
    let before = mixed.hv1.drops(reason).unwrap();
    for frame in frames {
        wire.send(frame).unwrap();
    }
    mixed.hv1.wait_for_drops(reason, before, frames.len() as u64).unwrap();
}

#[test]
fn a_tag_that_no_container_has_is_not_stripped_and_goes_nowhere() {
    let mixed = start();
    let frame = ends(&mixed, "vm1", "vm1-red").udp(1, 2, b"x");
    let frames: Vec<_> = [1, 100, 103, 4094].map(|tag| tagged(&frame, &[tag])).into();
    dropped_from_vm1(&mixed, "logical-flow", &frames);

    // The running daemon says which flow it was, as the database has it.
    let show = mixed.hv1.show().unwrap();
    let flows = show["flows"].as_array().unwrap();
    let said = flows.iter().any(|drop| {
        let matches = drop["flow"]["match"].as_str().unwrap_or_default();
        drop["reason"] == "logical-flow"
            && drop["frames"].as_u64() >= Some(frames.len() as u64)
            && matches.contains("vlan.present")
            && mixed
                .central
                .sbctl(&["get", "Logical_Flow", drop["uuid"].as_str().unwrap(), "match"])
                .is_ok_and(|found| found.contains("vlan.present"))
    });
    assert!(said, "{flows:#?}");
}

#[test]
fn frames_with_two_or_three_tags_go_nowhere_whoever_owns_the_outer_one() {
    let mixed = start();
    let frame = ends(&mixed, "vm1-red", "vm2-red").udp(1, 2, b"x");
    let stacks: [&[u16]; 4] = [&[101, 7], &[101, 7, 8], &[900, 101], &[900, 101, 101]];
    let frames: Vec<_> = stacks.iter().map(|tags| tagged(&frame, tags)).collect();
    dropped_from_vm1(&mixed, "logical-flow", &frames);
}

#[test]
fn a_guest_cannot_speak_for_another_mac_or_ip_address() {
    let mixed = start();
    let honest = ends(&mixed, "vm1-red", "vm2-red");
    let other = ends(&mixed, "vm1-blue", "vm2-red");
    let spoofs = [
        Ends { from_mac: other.from_mac, ..honest },
        Ends { from: other.from, ..honest },
        Ends {
            from: IpAddr::from([0xfd00, 0, 0, 9, 0, 0, 0, 9]),
            to: IpAddr::from([1; 16]),
            ..honest
        },
    ];
    let mut frames: Vec<_> = spoofs.iter().map(|s| tagged(&s.udp(1, 2, b"x"), &[101])).collect();
    frames.push(tagged(&Ends { from: other.from, ..honest }.arp().unwrap(), &[101]));
    // One container's frame under the other's tag.
    frames.push(tagged(&honest.udp(1, 2, b"x"), &[102]));
    dropped_from_vm1(&mixed, "logical-flow", &frames);
}

/// A header that is not all there is not there, as OVS sees it: port security then finds no address
/// that the port may use.
#[test]
fn frames_with_headers_cut_short_do_not_pass_port_security() {
    let mixed = start();
    let v4 = ends(&mixed, "vm1-red", "vm2-red");
    let (from, to) = (mixed.workload("vm1-red").addresses(), mixed.workload("vm2-red").addresses());
    let v6 = Ends { from: from.v6.into(), to: to.v6.into(), ..v4 };
    let mut frames = Vec::new();
    for (whole, headers) in [
        (v4.udp(1, 2, b""), 42),
        (v4.tcp(1, 2), 54),
        (v4.echo(1, 1), 42),
        (v4.arp().unwrap(), 42),
        (v6.udp(1, 2, b""), 62),
        (v6.tcp(1, 2), 74),
        (v6.echo(1, 1), 62),
    ] {
        // The kernel itself takes no frame that ends within its tag.
        frames.extend((16..headers).map(|length| tagged(&whole[..length], &[101])));
    }
    dropped_from_vm1(&mixed, "logical-flow", &frames);
}

/// A host on the underlay that is no chassis, or pretends to be one.
struct Attacker {
    namespace: Namespace,
    wire: PacketSocket,
    to_mac: Mac,
}

impl Attacker {
    fn on(mixed: &Mixed) -> Self {
        let namespace = Namespace::new("attacker").unwrap();
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        mixed.underlay.attach(&namespace).unwrap();
        let wire = PacketSocket::open(&namespace, Underlay::LINK).unwrap();
        let to_mac = link::mac_of(mixed.hv1.namespace(), Underlay::LINK).unwrap();
        Self { namespace, wire, to_mac }
    }

    /// Sends packets to hv1 from an address, and waits until all are dropped for `reason`.
    fn dropped(&self, mixed: &Mixed, from: [u8; 4], reason: &str, packets: &[Vec<u8>]) {
        let from_mac = link::mac_of(&self.namespace, Underlay::LINK).unwrap();
        let to = mixed.hv1.tunnel_address();
        let ends = Ends { from_mac, to_mac: self.to_mac, from: from.into(), to };
        let before = mixed.hv1.drops(reason).unwrap();
        for packet in packets {
            self.wire.send(&ends.udp(50_000, 6081, packet)).unwrap();
        }
        mixed.hv1.wait_for_drops(reason, before, packets.len() as u64).unwrap();
    }
}

/// ENC-1, ENC-2, ENC-13.
#[test]
fn geneve_from_strangers_or_with_keys_and_options_that_cannot_be_is_dropped_by_name() {
    const PEER: [u8; 4] = [192, 0, 2, 2];
    let mixed = start();
    let attacker = Attacker::on(&mixed);
    let inner = ends(&mixed, "vm2-red", "vm1-red").udp(1, 2, b"x");
    let red = mixed.central.datapath_key("red").unwrap();
    let keys = OvnKeys {
        ingress: mixed.central.port_key("vm2-red").unwrap(),
        egress: mixed.central.port_key("vm1-red").unwrap(),
    };
    let good = Geneve::ovn(red, keys, inner);

    attacker.dropped(&mixed, [192, 0, 2, 66], "unknown-peer", &[good.bytes()]);

    let vnis = [0, 0xff_ffff].map(|vni| Geneve { vni, ..good.clone() }.bytes());
    attacker.dropped(&mixed, PEER, "unknown-vni", &vnis);

    let mut critical = good.clone();
    critical.options.push(GeneveOption { class: 0xffff, kind: 0x81, data: vec![0; 4] });
    attacker.dropped(&mixed, PEER, "unknown-option", &[critical.bytes()]);

    let bare = Geneve { options: Vec::new(), critical: false, ..good.clone() };
    let nobody = Geneve::ovn(red, OvnKeys { egress: 0, ..keys }, good.inner.clone());
    attacker.dropped(&mixed, PEER, "bad-tunnel-key", &[bare.bytes(), nobody.bytes()]);

    // To a port of the chassis that it is from: it is not sent back, and not silently.
    let back = Geneve::ovn(red, OvnKeys { egress: keys.ingress, ..keys }, good.inner.clone());
    attacker.dropped(&mixed, PEER, "unbound-port", &[back.bytes()]);

    // The Geneve header, its option, and the Ethernet header inside, each cut short.
    let whole = good.bytes();
    let cut = |lengths: std::ops::Range<usize>| -> Vec<_> {
        lengths.map(|length| whole[..length].to_vec()).collect()
    };
    attacker.dropped(&mixed, PEER, "truncated", &cut(0..8));
    attacker.dropped(&mixed, PEER, "malformed", &cut(8..16));
    attacker.dropped(&mixed, PEER, "truncated", &cut(16..30));
}
