//! Geneve on the wire, byte by byte, over both families (ENC-*).

use crate::kit::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ovn_xdp_datapath::geneve::decapsulate;
use ovn_xdp_datapath::key::{InterfaceId, TunnelId};
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::publish::{Generation, Tunnel};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

fn tunnelled(mut generation: Generation, edit: impl FnOnce(&mut Tunnel)) -> Generation {
    let mut tunnel = (**generation.tunnels.get(&TunnelId(1)).unwrap()).clone();
    edit(&mut tunnel);
    generation.peers.insert_mut(tunnel.remote, ());
    generation.tunnels.insert_mut(TunnelId(1), Arc::new(tunnel));
    generation
}

fn underlay6(number: u8) -> Generation {
    let address = |number: u8| -> IpAddr { format!("2001:db8::{number}").parse().unwrap() };
    tunnelled(hypervisor(number), |tunnel| {
        tunnel.local = address(number);
        tunnel.remote = address(3 - number);
        tunnel.csum = false;
    })
}

fn frame(tos: u8) -> Vec<u8> {
    let mut frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"payload");
    frame[15] = tos;
    frame[24..26].fill(0);
    let sum = ovn_xdp_datapath::checksum::internet(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn sends(generation: Generation, frame: &[u8]) -> Vec<u8> {
    to_nic(&Host::new(generation).send(1, frame)).to_vec()
}

#[test]
fn the_outer_header_over_ipv4_is_as_ovn_expects_it() {
    let wire = sends(hypervisor(1), &frame(0));
    let packet = SlicedPacket::from_ethernet(&wire).unwrap();
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("no IPv4") };
    let header = ip.header();
    assert_eq!((header.source(), header.destination()), (UNDERLAY_1, UNDERLAY_2));
    assert_eq!((header.ttl(), header.dont_fragment(), header.identification()), (64, true, 0));
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
    assert_eq!(udp.destination_port(), 6081);
    assert!((32768..61000).contains(&udp.source_port()));
    let found = udp.to_header();
    let sum = found.calc_checksum_ipv4(&header.to_header(), udp.payload()).unwrap();
    assert_eq!(found.checksum, sum);
    assert_eq!(udp.payload()[16..], frame(0));
}

#[test]
fn over_ipv6_there_is_always_a_checksum_and_the_frame_arrives() {
    let wire = sends(underlay6(1), &frame(0));
    let packet = SlicedPacket::from_ethernet(&wire).unwrap();
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("no IPv6") };
    assert_eq!(ip.header().hop_limit(), 64);
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no UDP") };
    let found = udp.to_header();
    let sum = found.calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).unwrap();
    assert_eq!(found.checksum, sum);
    let sent = Host::new(underlay6(2)).receive(&wire);
    assert_eq!(to_workload(&sent), (None, &frame(0)[..]));
    let mut unsummed = wire.clone();
    unsummed[60..62].fill(0);
    assert!(Host::new(underlay6(2)).receive(&unsummed).is_empty());
}

#[test]
fn without_csum_the_outer_checksum_is_zero_over_ipv4() {
    let wire = sends(tunnelled(hypervisor(1), |tunnel| tunnel.csum = false), &frame(0));
    assert_eq!(wire[40..42], [0, 0]);
    assert_eq!(Host::new(hypervisor(2)).receive(&wire).len(), 1);
}

#[test]
fn dscp_is_given_or_inherited_and_ecn_always_inherited() {
    // ENC-15: (given, inner, outer). OVS writes the congestion mark as ECT(0).
    for (given, inner, outer) in [
        (None, 0b1010_1001, 0b1010_1001),
        (None, 0b1010_1011, 0b1010_1010),
        (Some(0b1110_0000), 0b1010_1010, 0b1110_0010),
        (Some(0), 0b1010_1000, 0),
    ] {
        let wire = sends(tunnelled(hypervisor(1), |tunnel| tunnel.tos = given), &frame(inner));
        assert_eq!(wire[15], outer, "{given:?} {inner:#b}");
    }
}

#[test]
fn a_congestion_mark_on_the_way_reaches_the_receiver() {
    let mut wire = sends(hypervisor(1), &frame(2));
    wire[15] |= 3;
    wire[24..26].fill(0);
    let sum = ovn_xdp_datapath::checksum::internet(&wire[14..34]);
    wire[24..26].copy_from_slice(&sum.to_be_bytes());
    let sent = Host::new(hypervisor(2)).receive(&wire);
    assert_eq!(to_workload(&sent).1, frame(3));
}

#[test]
fn padding_of_the_outer_frame_does_not_reach_the_receiver() {
    let mut wire = sends(hypervisor(1), &frame(0));
    wire.extend_from_slice(&[0; 9]);
    let sent = Host::new(hypervisor(2)).receive(&wire);
    assert_eq!(to_workload(&sent).1, frame(0));
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_in_however_many_segments(
        payload in proptest::collection::vec(any::<u8>(), 0..1400),
        head in 60..300usize,
        piece in 1..700usize,
        six: bool,
    ) {
        let frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), &payload);
        let (one, other) =
            if six { (underlay6(1), underlay6(2)) } else { (hypervisor(1), hypervisor(2)) };
        let mut hv1 = Host::new(one);
        let wire = hv1.send_frame(1, None, MemoryFrame::segmented(&frame, head, piece));
        let wire = to_nic(&wire);
        prop_assert!(decapsulate(&MemoryFrame::new(wire)).is_ok());
        let mut hv2 = Host::new(other);
        let cut = hv2.io.receive(MemoryFrame::segmented(wire, head + 80, piece));
        hv2.worker.from_nic(1, 0, cut, &mut hv2.io);
        let sent = std::mem::take(&mut hv2.io.sent);
        prop_assert_eq!(
            sent,
            vec![ovn_xdp_datapath::memory::Sent::Interface(InterfaceId(1), None, frame)]
        );
    }
}
