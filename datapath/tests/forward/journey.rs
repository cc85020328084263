//! From a workload on one hypervisor to a workload on another, and all that can happen on the way.

use crate::kit::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Verifies the checksums of the IP and transport headers, as a receiver does.
fn checksums_hold(bytes: &[u8]) {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    match (packet.net.unwrap(), packet.transport.unwrap()) {
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let found = udp.to_header();
            assert_eq!(found.checksum, found.calc_checksum_ipv4(&header, udp.payload()).unwrap());
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            let found = tcp.to_header();
            assert_eq!(found.checksum, found.calc_checksum_ipv6(&header, tcp.payload()).unwrap());
        }
        other => panic!("unexpected packet {other:?}"),
    }
}

#[test]
fn a_nested_container_reaches_a_nested_container_on_the_other_hypervisor() {
    let mut hv1 = Host::new(hypervisor(1));
    let mut hv2 = Host::new(hypervisor(2));
    for round in 0..3 {
        let sent = hv1.send(1, &udp(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 5), b"ping"));
        let wire = to_nic(&sent);
        // ENC-1, ENC-2: switch B, from its router port 9 to green, port 2 (LP-7).
        assert_eq!(&wire[42..58], [2, 0x40, 0x65, 0x58, 0, 0, 2, 0, 1, 2, 0x80, 1, 0, 9, 0, 2]);
        let sent = hv2.receive(wire);
        let (tag, bytes) = to_workload(&sent);
        assert_eq!(tag, Some(GREEN_TAG), "round {round}");
        assert_eq!(bytes[..12], [GREEN, ROUTER_B].concat());
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
        assert_eq!(ip.header().ttl(), 63);
        checksums_hold(bytes);

        let sent = hv2.send(1, &udp(Some(GREEN_TAG), (GREEN, 2, 5), (ROUTER_B, 1, 2), b"pong"));
        let sent = hv1.receive(to_nic(&sent));
        let (tag, bytes) = to_workload(&sent);
        assert_eq!(tag, Some(RED_TAG));
        assert_eq!(bytes[..12], [RED, ROUTER_A].concat());
        checksums_hold(bytes);
    }
    assert_eq!(hv1.worker.counters().hits.get(), 4);
    assert_eq!(hv1.worker.counters().misses.get(), 2);
}

#[test]
fn ipv6_goes_the_same_way() {
    let mut hv1 = Host::new(hypervisor(1));
    let mut hv2 = Host::new(hypervisor(2));
    for _ in 0..2 {
        let sent = hv1.send(1, &tcp6(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 5), b"hello"));
        let sent = hv2.receive(to_nic(&sent));
        let (tag, bytes) = to_workload(&sent);
        assert_eq!(tag, Some(GREEN_TAG));
        assert_eq!(bytes[21], 63);
        checksums_hold(bytes);
    }
}
