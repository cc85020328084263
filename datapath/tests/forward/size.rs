//! Frames too big for a tunnel (section 5.11): the sender is told, and nobody else.

use crate::kit::*;
use etherparse::{Icmpv4Slice, Icmpv6Slice, NetSlice, SlicedPacket, TransportSlice};
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::field;
use ovn_xdp_datapath::program::Op;
use ovn_xdp_datapath::worker::WorkerConfig;
use std::sync::Arc;

/// The underlay of the kit carries 1558 bytes: an inner IP packet of 1500.
const LARGEST: usize = 1500;

fn v4_frame(length: usize) -> Vec<u8> {
    udp(Some(RED_TAG), (RED, 1, 2), (VM2, 1, 4), &vec![7; length - 28])
}

fn routed_v6_frame(length: usize) -> Vec<u8> {
    tcp6(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 5), &vec![7; length - 60])
}

#[test]
fn the_largest_packet_fits_and_one_byte_more_is_answered() {
    // The second time round the verdict is cached; its length limit sends the big one to the walk.
    let mut host = Host::new(hypervisor(1));
    for _ in 0..2 {
        let sent = host.send(1, &v4_frame(LARGEST));
        assert_eq!(to_nic(&sent).len(), 14 + 1558);
        let sent = host.send(1, &v4_frame(LARGEST + 1));
        let (tag, bytes) = to_workload(&sent);
        assert_eq!(tag, Some(RED_TAG));
        assert_eq!(bytes[..12], [RED, VM2].concat());
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
        assert_eq!(ip.header().source(), [10, 0, 1, 4], "as if by the destination");
        assert_eq!(ip.header().destination(), [10, 0, 1, 2]);
        assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
        let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!("no ICMP") };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 4));
        assert_eq!(u16::from_be_bytes([bytes[40], bytes[41]]), LARGEST as u16);
        assert_eq!(ovn_xdp_datapath::checksum::internet(icmp.slice()), 0);
        // Enough of the packet for its sender to know it: IP and more than eight bytes.
        assert_eq!(icmp.slice()[8..8 + 20], v4_frame(LARGEST + 1)[18..38]);
        let _: Icmpv4Slice<'_> = icmp;
    }
    assert_eq!(host.worker.counters().hits.get(), 1);
}

#[test]
fn through_a_router_the_answer_comes_back_through_it() {
    let mut host = Host::new(hypervisor(1));
    assert_eq!(host.send(1, &routed_v6_frame(LARGEST)).len(), 1);
    let sent = host.send(1, &routed_v6_frame(LARGEST + 1));
    let (tag, bytes) = to_workload(&sent);
    assert_eq!(tag, Some(RED_TAG));
    assert_eq!(bytes[..12], [RED, ROUTER_A].concat());
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("no IPv6") };
    assert_eq!(ip.header().destination(), v6(1, 2).to_be_bytes());
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("no ICMPv6") };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (2, 0));
    assert_eq!(icmp.slice()[4..8], (LARGEST as u32).to_be_bytes());
    assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
    let _: Icmpv6Slice<'_> = icmp;
}

#[test]
fn port_security_does_not_take_the_answer_for_a_forgery() {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let mut red = (**a.ports.get(port_key(2)).unwrap()).clone();
    red.security = Box::new([ovn_xdp_datapath::publish::SecurityEntry {
        mac: RED,
        ipv4: Box::new([([10, 0, 1, 2].into(), 32)]),
        ipv6: Box::new([]),
    }]);
    a.ports.insert(red.key, Arc::new(red));
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    let mut host = Host::new(generation);
    assert_eq!(to_workload(&host.send(1, &v4_frame(1600))).0, Some(RED_TAG));
}

#[test]
fn egress_rules_see_the_answer_come_from_the_destinations_port() {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let from_vm2 = vec![is(field::INPORT, 3), is(field::OUTPORT, 2)];
    a.egress = egress(vec![vec![rule(1, from_vm2, vec![Op::Output])]]);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    let mut host = Host::new(generation);
    assert_eq!(to_workload(&host.send(1, &v4_frame(1600))).0, Some(RED_TAG));
}

#[test]
fn errors_are_limited_and_what_is_not_answered_is_counted() {
    let config = WorkerConfig { errors_per_second: 3, cache_capacity: 8, hash_seed: 1 };
    let mut host = Host::with(hypervisor(1), config);
    let answers: usize = (0..10).map(|_| host.send(1, &v4_frame(1600)).len()).sum();
    assert_eq!(answers, 3);
    assert_eq!(host.worker.counters().dropped(DropReason::TooBig), 7);
    assert_eq!(host.worker.counters().suppressed_errors.get(), 7);
    host.now += 1_000_000_000;
    assert_eq!(host.send(1, &v4_frame(1600)).len(), 1);
}

#[test]
fn an_error_is_never_answered_with_an_error() {
    let mut error = v4_frame(1600);
    error[27] = 1;
    error[38] = 3;
    let mut fragment = error.clone();
    fragment[24] = 0x20;
    let mut host = Host::new(hypervisor(1));
    for frame in [error, fragment] {
        assert!(host.send(1, &frame).is_empty());
    }
    assert_eq!(host.worker.counters().dropped(DropReason::TooBig), 2);
}

#[test]
fn check_pkt_larger_holds_for_the_frame_at_hand_also_from_the_cache() {
    // ACT-45.
    let larger = field::reg(0).bits(0, 0).unwrap();
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    a.ingress = ingress(vec![
        vec![rule(0, vec![], vec![Op::CheckPacketLarger { result: larger, limit: 500 }, next(1)])],
        vec![
            rule(1, vec![is(larger, 1)], vec![]),
            rule(0, vec![is_not(larger, 1)], vec![Op::Load(field::OUTPORT, 3), Op::Output]),
        ],
    ]);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    let mut host = Host::new(generation);
    for length in [486, 487, 486, 486, 300, 487, 600] {
        let passes = length + 14 <= 500;
        assert_eq!(!host.send(1, &v4_frame(length)).is_empty(), passes, "{length}");
    }
    assert_eq!(host.worker.counters().hits.get(), 3);
}
