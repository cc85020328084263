//! A rewritten frame reads as the fields it was to have, and its receiver finds every checksum right.

use crate::kit::*;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use ovn_xdp_datapath::checksum::Crc32c;
use ovn_xdp_datapath::field::{self, GUARDED_SLOT, Slice};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::parse::parse;
use ovn_xdp_datapath::rewrite::{Rewrite, TtlChange};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Udp4,
    Tcp4,
    Icmp4,
    Sctp4,
    Udp6,
    Tcp6,
    Icmp6,
}

fn packet(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let link = || PacketBuilder::ethernet2(VM1, VM2);
    let four = || link().ipv4([10, 0, 1, 1], [10, 0, 1, 4], 64);
    let six = || link().ipv6(v6(1, 1).to_be_bytes(), v6(1, 4).to_be_bytes(), 64);
    let mut bytes = Vec::new();
    match kind {
        Kind::Udp4 => four().udp(5, 6).write(&mut bytes, payload),
        Kind::Tcp4 => four().tcp(5, 6, 7, 8).write(&mut bytes, payload),
        Kind::Icmp4 => four().icmpv4_echo_request(1, 2).write(&mut bytes, payload),
        Kind::Udp6 => six().udp(5, 6).write(&mut bytes, payload),
        Kind::Tcp6 => six().tcp(5, 6, 7, 8).write(&mut bytes, payload),
        Kind::Icmp6 => six().icmpv6_echo_request(1, 2).write(&mut bytes, payload),
        Kind::Sctp4 => {
            let chunk = [&[0, 5, 0, 6, 1, 2, 3, 4, 0, 0, 0, 0][..], payload].concat();
            four().write(&mut bytes, etherparse::IpNumber(132), &chunk).unwrap();
            let sum = sctp_sum(&bytes[34..]);
            bytes[42..46].copy_from_slice(&sum);
            Ok(())
        }
    }
    .unwrap();
    bytes
}

fn sctp_sum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc32c::default();
    crc.add(&bytes[..8]);
    crc.add(&[0; 4]);
    crc.add(&bytes[12..]);
    crc.finish()
}

fn checksums_hold(bytes: &[u8]) {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let four = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            Some(header)
        }
        _ => None,
    };
    let six = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv6(ip) => Some(ip.header().to_header()),
        _ => None,
    };
    match (packet.transport, four, six) {
        (Some(TransportSlice::Udp(udp)), four, six) => {
            let (found, payload) = (udp.to_header(), udp.payload());
            let sum = match (four, six) {
                (Some(ip), _) => found.calc_checksum_ipv4(&ip, payload),
                (_, Some(ip)) => found.calc_checksum_ipv6(&ip, payload),
                _ => panic!("no IP"),
            };
            assert_eq!(found.checksum, sum.unwrap());
        }
        (Some(TransportSlice::Tcp(tcp)), four, six) => {
            let (found, payload) = (tcp.to_header(), tcp.payload());
            let sum = match (four, six) {
                (Some(ip), _) => found.calc_checksum_ipv4(&ip, payload),
                (_, Some(ip)) => found.calc_checksum_ipv6(&ip, payload),
                _ => panic!("no IP"),
            };
            assert_eq!(found.checksum, sum.unwrap());
        }
        (Some(TransportSlice::Icmpv4(icmp)), ..) => {
            assert_eq!(ovn_xdp_datapath::checksum::internet(icmp.slice()), 0);
        }
        (Some(TransportSlice::Icmpv6(icmp)), _, Some(ip)) => {
            assert!(icmp.is_checksum_valid(ip.source, ip.destination));
        }
        (None, Some(ip), _) => {
            let at = bytes.len() - usize::from(ip.payload_len().unwrap());
            assert_eq!(bytes[at + 8..at + 12], sctp_sum(&bytes[at..]));
        }
        other => panic!("unexpected {other:?}"),
    }
}

const KINDS: [Kind; 7] =
    [Kind::Udp4, Kind::Tcp4, Kind::Icmp4, Kind::Sctp4, Kind::Udp6, Kind::Tcp6, Kind::Icmp6];

/// Fields of a packet that a program may write, and whether they exist in `kind`.
fn fields(kind: Kind) -> Vec<Slice> {
    let mut fields = vec![field::ETH_DST, field::ETH_SRC, field::IP_DSCP, field::IP_ECN];
    match kind {
        Kind::Udp4 | Kind::Tcp4 | Kind::Icmp4 | Kind::Sctp4 => {
            fields.extend([field::IP4_SRC, field::IP4_DST]);
        }
        _ => fields.extend([field::IP6_SRC, field::IP6_DST, field::IP6_LABEL]),
    }
    match kind {
        // Codes alone: another type would be another packet to the parser.
        Kind::Icmp4 | Kind::Icmp6 => fields.push(field::ICMP_CODE),
        _ => fields.extend([field::TP_SRC, field::TP_DST]),
    }
    fields
}

proptest! {
    #[test]
    fn a_rewritten_frame_reads_as_it_was_to_and_sums_as_it_should(
        kind in proptest::sample::select(&KINDS[..]),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u128>()), 0..6),
        ttl in prop_oneof![
            Just(TtlChange::Keep),
            (1..60u8).prop_map(TtlChange::Decrement),
            any::<u8>().prop_map(TtlChange::Set),
        ],
        tags in proptest::collection::vec(1..4095u16, 0..3),
        beside: bool,
        new_tag in proptest::option::of(proptest::option::of(1..4095u16)),
        cut in 120..400usize,
    ) {
        let mut bytes = packet(kind, &payload);
        let mut vlan = None;
        for (index, tag) in tags.iter().enumerate().rev() {
            if index == 0 && beside {
                vlan = Some(VlanHeader { tpid: 0x8100, tci: *tag });
            } else {
                let [high, low] = tag.to_be_bytes();
                bytes.splice(12..12, [0x81, 0, high, low]);
            }
        }
        let parsed = parse(&bytes, bytes.len(), vlan).unwrap();
        let before = parsed.context(&bytes);
        let mut after = before.clone();
        let mut written = 0;
        let fields = fields(kind);
        for (index, value) in changes {
            let field = fields[index.index(fields.len())];
            after.set(field, value);
            written |= if field.slot() == GUARDED_SLOT { field.mask() } else { 0 };
        }
        match ttl {
            TtlChange::Keep => {}
            TtlChange::Decrement(by) => after.set(field::IP_TTL, u128::from(64 - by)),
            TtlChange::Set(value) => after.set(field::IP_TTL, u128::from(value)),
        }
        // Only where the frame does not grow beyond what is looked through.
        if let Some(tag) = new_tag.filter(|_| tags.len() < 2) {
            after.set(field::VLAN_TCI, tag.map_or(0, |tag| u128::from(tag) | 1 << 12));
        }
        let rewrite = Rewrite::between(&before, &after, &parsed.layers, 0, ttl, written);
        let mut frame = MemoryFrame::segmented(&bytes, cut, 50);
        let length = bytes.len() as isize + if vlan.is_some() { 4 } else { 0 };
        rewrite.apply(&mut frame, &parsed.layers, &mut vlan).unwrap();
        ovn_xdp_datapath::rewrite::into_frame(&mut frame, &mut vlan).unwrap();
        let result = frame.bytes();
        prop_assert_eq!(result.len() as isize, length + rewrite.growth());
        let read = parse(&result, result.len(), None).unwrap().context(&result);
        prop_assert_eq!(read, after);
        checksums_hold(&result);
    }
}

#[test]
fn a_udp_checksum_of_zero_over_ipv4_stays_none() {
    let mut bytes = packet(Kind::Udp4, b"x");
    bytes[40..42].fill(0);
    let parsed = parse(&bytes, bytes.len(), None).unwrap();
    let before = parsed.context(&bytes);
    let mut after = before.clone();
    after.set(field::IP4_SRC, 0x01020304);
    let rewrite = Rewrite::between(&before, &after, &parsed.layers, 0, TtlChange::Keep, 0);
    let mut frame = MemoryFrame::new(&bytes);
    rewrite.apply(&mut frame, &parsed.layers, &mut None).unwrap();
    assert_eq!(frame.bytes()[40..42], [0, 0]);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut bytes = packet(Kind::Tcp4, b"x");
    bytes[50] ^= 0x10;
    let parsed = parse(&bytes, bytes.len(), None).unwrap();
    let before = parsed.context(&bytes);
    let mut after = before.clone();
    after.set(field::IP4_SRC, 0x01020304);
    let rewrite = Rewrite::between(&before, &after, &parsed.layers, 0, TtlChange::Keep, 0);
    let mut frame = MemoryFrame::new(&bytes);
    rewrite.apply(&mut frame, &parsed.layers, &mut None).unwrap();
    let right = std::panic::catch_unwind(|| checksums_hold(&frame.bytes()));
    assert!(right.is_err());
}

#[test]
fn behind_a_routing_header_the_next_stop_is_not_part_of_the_checksum() {
    // RFC 8200, 8.1: the pseudo header has the last stop, which is in the routing header.
    for (left, covered) in [(0, true), (1, false)] {
        let mut bytes = packet(Kind::Udp6, b"payload");
        bytes[20] = 43;
        bytes[19] += 8;
        bytes.splice(54..54, [17, 0, 0, left, 0, 0, 0, 0]);
        let sum = bytes[68..70].to_vec();
        let parsed = parse(&bytes, bytes.len(), None).unwrap();
        let before = parsed.context(&bytes);
        let mut after = before.clone();
        after.set(field::IP6_DST, v6(9, 9));
        let rewrite = Rewrite::between(&before, &after, &parsed.layers, 0, TtlChange::Keep, 0);
        let mut frame = MemoryFrame::new(&bytes);
        rewrite.apply(&mut frame, &parsed.layers, &mut None).unwrap();
        let bytes = frame.bytes();
        assert_eq!(bytes[38..54], v6(9, 9).to_be_bytes());
        assert_eq!(bytes[68..70] != sum[..], covered, "{left} stops left");
    }
}
