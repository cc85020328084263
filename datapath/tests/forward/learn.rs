//! What workers tell control, and the answers they give themselves.

use crate::kit::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ovn_xdp_datapath::field;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::program::{Family, Op};
use ovn_xdp_datapath::publish::Generation;
use std::sync::Arc;

/// Switch A runs only `ops` on what comes in.
fn running(ops: Vec<Op>) -> Generation {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    a.ingress = ingress(vec![vec![rule(1, vec![], ops)]]);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    generation
}

#[test]
fn a_neighbour_is_reported_once_in_a_while() {
    // ACT-31.
    let learn = Op::PutNeighbour {
        family: Family::V4,
        port: field::INPORT,
        address: field::ARP_SPA,
        mac: field::ARP_SHA,
    };
    let mut host = Host::new(running(vec![learn]));
    let request = arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]);
    for _ in 0..5 {
        host.send(1, &request);
    }
    let expected = Learned::Neighbour {
        datapath: datapath_key(SWITCH_A),
        port: port_key(1),
        family: Family::V4,
        address: v4(1, 1),
        mac: VM1,
    };
    assert_eq!(host.learned.try_iter().collect::<Vec<_>>(), [expected]);
    host.now += 2_000_000_000;
    host.send(1, &request);
    assert_eq!(host.learned.try_iter().count(), 1);
}

#[test]
fn a_mac_address_is_reported_with_its_port_and_again_while_it_is_cached() {
    // ACT-52.
    let ops = vec![
        Op::PutFdb { port: field::INPORT, mac: field::ETH_SRC },
        Op::load(field::OUTPORT, 3),
        Op::Output,
    ];
    let mut host = Host::new(running(ops));
    let frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    for _ in 0..3 {
        assert_eq!(host.send(1, &frame).len(), 1);
    }
    let expected = Learned::Fdb { datapath: datapath_key(SWITCH_A), port: port_key(1), mac: VM1 };
    assert_eq!(host.learned.try_iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(host.worker.counters().hits.get(), 2);
    host.now += 10_000_000_000;
    host.send(1, &frame);
    assert_eq!(host.learned.try_iter().collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_full_queue_is_counted_and_never_waited_for() {
    let mut host =
        Host::new(running(vec![Op::PutFdb { port: field::INPORT, mac: field::ETH_SRC }]));
    for last in 0..100 {
        host.send(1, &udp(None, ([2, 0, 0, 0, 0, last], 1, 1), (VM2, 1, 4), b"x"));
    }
    assert_eq!(host.learned.try_iter().count(), 64);
    assert_eq!(host.worker.counters().learn_overflows.get(), 36);
}

#[test]
fn a_binding_that_is_used_is_reported_as_used() {
    // ACT-34.
    let mut generation = running(vec![Op::MacCacheUse]);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let key = ovn_xdp_datapath::publish::Neighbour {
        port: port_key(1),
        family: Family::V4,
        address: v4(1, 1),
    };
    a.neighbours.insert_mut(key, VM1);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    let mut host = Host::new(generation);
    host.send(1, &udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x"));
    host.send(1, &udp(None, (BLUE, 1, 1), (VM2, 1, 4), b"another MAC address"));
    let found: Vec<_> = host.learned.try_iter().collect();
    assert!(matches!(found[..], [Learned::NeighbourUsed { mac: VM1, .. }]), "{found:?}");
}

#[test]
fn an_arp_request_is_answered_by_loads_alone() {
    let ops = vec![
        Op::Move { to: field::ETH_DST, from: field::ETH_SRC },
        Op::load(field::ETH_SRC, mac(VM2)),
        Op::load(field::ARP_OP, 2),
        Op::Move { to: field::ARP_THA, from: field::ARP_SHA },
        Op::load(field::ARP_SHA, mac(VM2)),
        Op::Exchange(field::ARP_SPA, field::ARP_TPA),
        Op::Move { to: field::OUTPORT, from: field::INPORT },
        Op::load(field::FLAGS.bits(0, 0).unwrap(), 1),
        Op::Output,
    ];
    let mut host = Host::new(running(ops));
    let sent = host.send(1, &arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]));
    let (_, bytes) = to_workload(&sent);
    let fixed = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2];
    let expected = [&VM1[..], &VM2, &fixed, &VM2, &[10, 0, 1, 4], &VM1, &[10, 0, 1, 1]].concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_solicitation_is_answered_in_place() {
    // ACT-24: the block that northd writes around it.
    for router in [false, true] {
        let then = vec![
            Op::load(field::ETH_SRC, mac(VM2)),
            Op::load(field::IP6_SRC, v6(1, 4)),
            Op::load(field::ND_TARGET, v6(1, 4)),
            Op::load(field::ND_TLL, mac(VM2)),
            Op::Move { to: field::OUTPORT, from: field::INPORT },
            Op::load(field::FLAGS.bits(0, 0).unwrap(), 1),
            Op::Output,
        ];
        let answer = Op::NeighbourAdvertisement { router, then: then.into() };
        let mut host = Host::new(running(vec![answer]));
        for asker in [v6(1, 1), 0] {
            let sent = host.send(1, &solicitation(VM1, asker, v6(1, 4)));
            let (_, bytes) = to_workload(&sent);
            assert_eq!(bytes[..12], [VM1, VM2].concat());
            let packet = SlicedPacket::from_ethernet(bytes).unwrap();
            let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("no IPv6") };
            assert_eq!(ip.header().hop_limit(), 255);
            assert_eq!(ip.header().source(), v6(1, 4).to_be_bytes());
            let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
            assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
            let solicited = if asker == 0 { 0 } else { 0x40 };
            let flags = 0x20 | solicited | if router { 0x80 } else { 0 };
            assert_eq!(icmp.slice()[..8], [136, 0, bytes[56], bytes[57], flags, 0, 0, 0]);
            assert_eq!(icmp.slice()[8..24], v6(1, 4).to_be_bytes());
            assert_eq!(icmp.slice()[24..], [&[2, 1][..], &VM2].concat());
        }
        assert_eq!(host.worker.cached(), 0, "neighbour discovery is walked each time");
    }
}

#[test]
fn what_is_no_solicitation_is_not_answered() {
    let answer = Op::NeighbourAdvertisement { router: false, then: [Op::Output].into() };
    let mut host = Host::new(running(vec![answer]));
    assert!(host.send(1, &udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x")).is_empty());
}
