//! What is read of a frame, header by header, and that no bytes do harm.

use crate::kit::*;
use etherparse::PacketBuilder;
use ovn_xdp_datapath::field::{self, Context, Slice};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::parse::parse;
use proptest::prelude::*;

fn fields(bytes: &[u8]) -> Context {
    parse(bytes, bytes.len(), None).unwrap().context(bytes)
}

#[track_caller]
fn reads(context: &Context, expected: &[(Slice, u128)]) {
    for (field, value) in expected {
        assert_eq!(context.get(*field), *value, "{field:?}");
    }
}

fn tagged(tags: &[u16]) -> Vec<u8> {
    let mut bytes = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    for tag in tags.iter().rev() {
        let [high, low] = tag.to_be_bytes();
        bytes.splice(12..12, [0x81, 0, high, low]);
    }
    bytes
}

#[test]
fn the_network_header_is_read_through_two_tags_and_the_outermost_tag_is_the_packets() {
    // TRAP-5, FLD-28.
    let ip = (field::IP4_SRC, v4(1, 1));
    reads(&fields(&tagged(&[])), &[ip, (field::VLAN_TCI, 0), (field::ETH_TYPE, 0x0800)]);
    reads(&fields(&tagged(&[5])), &[ip, (field::VLAN_TCI, 0x1005), (field::ETH_TYPE, 0x0800)]);
    reads(&fields(&tagged(&[5, 6])), &[ip, (field::VLAN_TCI, 0x1005), (field::ETH_TYPE, 0x0800)]);
    let three = fields(&tagged(&[5, 6, 7]));
    reads(&three, &[(field::IP4_SRC, 0), (field::VLAN_TCI, 0x1005), (field::ETH_TYPE, 0x8100)]);
}

#[test]
fn a_tag_beside_the_frame_counts_as_the_outermost() {
    for tags in [&[][..], &[6], &[6, 7]] {
        let beside = tagged(tags);
        let vlan = Some(VlanHeader { tpid: 0x8100, tci: 5 });
        let inside = tagged(&[&[5], tags].concat());
        let one = parse(&beside, beside.len(), vlan).unwrap().context(&beside);
        assert_eq!(one, fields(&inside), "{tags:?}");
    }
}

#[test]
fn tcp_flags_ttl_dscp_and_ecn_are_read() {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(VM1, VM2)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17)
        .tcp(1, 2, 3, 4)
        .syn()
        .write(&mut bytes, &[])
        .unwrap();
    bytes[15] = 0b10101011;
    let expected = [
        (field::TCP_FLAGS, 2),
        (field::IP_TTL, 17),
        (field::IP_DSCP, 0b101010),
        (field::IP_ECN, 3),
        (field::TP_SRC, 1),
        (field::TP_DST, 2),
        (field::IP_PROTO, 6),
    ];
    reads(&fields(&bytes), &expected);
}

#[test]
fn fragments_are_told_apart_and_none_has_ports() {
    // FLD-33, and what OVS makes of the first one.
    let mut bytes = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    reads(&fields(&bytes), &[(field::IP_FRAG, 0), (field::TP_DST, 2000)]);
    bytes[20] = 0x20;
    reads(&fields(&bytes), &[(field::IP_FRAG, 1), (field::TP_DST, 0), (field::IP_PROTO, 17)]);
    bytes[21] = 1;
    reads(&fields(&bytes), &[(field::IP_FRAG, 3), (field::TP_DST, 0), (field::IP_PROTO, 17)]);
}

/// An IPv6 packet of these extension headers (number, bytes) and then UDP.
fn extended(extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [&VM2[..], &VM1[..], &[0x86, 0xdd, 0x6a, 0xb1, 0x23, 0x45]].concat();
    let udp = [0, 9, 0, 10, 0, 8, 0, 0];
    let length: usize = extensions.iter().map(|(_, it)| it.len()).sum::<usize>() + udp.len();
    bytes.extend_from_slice(&(length as u16).to_be_bytes());
    bytes.push(extensions.first().map_or(17, |it| it.0));
    bytes.push(64);
    bytes.extend_from_slice(&v6(1, 1).to_be_bytes());
    bytes.extend_from_slice(&v6(1, 4).to_be_bytes());
    for (index, (_, extension)) in extensions.iter().enumerate() {
        let at = bytes.len();
        bytes.extend_from_slice(extension);
        bytes[at] = extensions.get(index + 1).map_or(17, |it| it.0);
    }
    bytes.extend_from_slice(&udp);
    bytes
}

#[test]
fn extension_headers_are_skipped_to_the_transport_header() {
    // CT-19: hop by hop, routing, destination options, authentication, fragment.
    let options = |words: u8| [vec![0, words], vec![0; 6 + 8 * usize::from(words)]].concat();
    let authentication = [vec![0, 4], vec![0; 22]].concat();
    let whole = vec![0; 8];
    let chain =
        [(0, options(1)), (43, options(0)), (60, options(2)), (51, authentication), (44, whole)];
    for length in 0..=chain.len() {
        let context = fields(&extended(&chain[..length]));
        let expected = [
            (field::IP_PROTO, 17),
            (field::TP_SRC, 9),
            (field::TP_DST, 10),
            (field::IP_FRAG, 0),
            (field::IP_DSCP, 0xab >> 2),
            (field::IP6_LABEL, 0x12345),
            (field::IP6_SRC, v6(1, 1)),
        ];
        reads(&context, &expected);
    }
    let first = fields(&extended(&[(44, vec![0, 0, 0, 1, 0, 0, 0, 0])]));
    reads(&first, &[(field::IP_FRAG, 1), (field::TP_DST, 0), (field::IP_PROTO, 17)]);
    let later = fields(&extended(&[(44, vec![0, 0, 0, 8, 0, 0, 0, 0])]));
    reads(&later, &[(field::IP_FRAG, 3), (field::TP_DST, 0), (field::IP_PROTO, 44)]);
}

#[test]
fn icmp_types_and_arp_are_read() {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(VM1, VM2)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .icmpv4_echo_request(7, 8)
        .write(&mut bytes, &[])
        .unwrap();
    reads(&fields(&bytes), &[(field::ICMP_TYPE, 8), (field::ICMP_CODE, 0)]);
    let arp = arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]);
    let expected = [
        (field::ARP_OP, 1),
        (field::ARP_SHA, mac(VM1)),
        (field::ARP_SPA, v4(1, 1)),
        (field::ARP_TPA, v4(1, 4)),
    ];
    reads(&fields(&arp), &expected);
    reads(&fields(&arp[..41]), &[(field::ARP_OP, 0), (field::ARP_SPA, 0)]);
}

#[test]
fn a_solicitations_target_and_link_layer_address_are_read() {
    let mut bytes = solicitation(VM1, v6(1, 1), v6(1, 4));
    let expected = [(field::ND_TARGET, v6(1, 4)), (field::ND_SLL, mac(VM1)), (field::ND_TLL, 0)];
    reads(&fields(&bytes), &expected);
    // The same option twice makes the message worthless, as in OVS.
    let option = bytes[78..86].to_vec();
    bytes.extend_from_slice(&option);
    bytes[19] += 8;
    reads(&fields(&bytes), &[(field::ND_TARGET, 0), (field::ND_SLL, 0)]);
}

#[test]
fn a_frame_of_8023_has_a_type_only_by_snap() {
    let mut bytes = [&VM2[..], &VM1[..], &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x06]].concat();
    reads(&fields(&bytes), &[(field::ETH_TYPE, 0x0806)]);
    bytes[14] = 0x42;
    reads(&fields(&bytes), &[(field::ETH_TYPE, 0x05ff)]);
}

#[test]
fn a_packet_cut_short_is_zero_from_the_header_that_is_not_whole() {
    let bytes = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    // The IP header says more than there is.
    let context = fields(&bytes[..bytes.len() - 1]);
    reads(&context, &[(field::ETH_TYPE, 0x0800), (field::IP4_SRC, 0), (field::TP_DST, 0)]);
    // Ethernet padding is not part of the packet.
    let padded = [&bytes[..], &[0; 20]].concat();
    assert_eq!(fields(&padded), fields(&bytes));
}

/// As OVS 3.1 has it; older ones did not believe more than 255 bytes.
#[test]
fn an_ip_packet_ends_where_it_says_whatever_follows() {
    let v4 = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    let v6 = tcp6(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    for bytes in [v4, v6] {
        for padding in [1, 255, 256, 9000] {
            assert_eq!(fields(&[&bytes[..], &vec![0; padding]].concat()), fields(&bytes));
        }
    }
}

#[test]
fn an_ipv4_header_longer_than_its_packet_is_not_read_and_its_version_is_not_looked_at() {
    let mut bytes = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    bytes[14] = 0x65;
    reads(&fields(&bytes), &[(field::IP4_SRC, v4(1, 1)), (field::TP_DST, 2000)]);
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&[0, 19]);
    reads(&fields(&bytes), &[(field::IP4_SRC, 0), (field::IP_PROTO, 0), (field::IP_TTL, 0)]);
}

#[test]
fn a_tcp_header_cut_short_has_no_ports_and_no_flags() {
    let mut bytes = tcp6(None, (VM1, 1, 1), (VM2, 1, 4), b"");
    bytes.pop();
    bytes[19] -= 1;
    let expected = [(field::IP_PROTO, 6), (field::TP_SRC, 0), (field::TCP_FLAGS, 0)];
    reads(&fields(&bytes), &expected);
}

#[test]
fn icmpv6_needs_its_eight_bytes() {
    let mut bytes = solicitation(VM1, v6(1, 1), v6(1, 4));
    bytes.truncate(54 + 7);
    bytes[19] = 7;
    reads(&fields(&bytes), &[(field::IP_PROTO, 58), (field::ICMP_TYPE, 0)]);
    bytes.push(0);
    bytes[19] = 8;
    reads(&fields(&bytes), &[(field::ICMP_TYPE, 135), (field::ND_TARGET, 0)]);
}

#[test]
fn neighbour_discovery_with_a_code_has_no_target_and_no_addresses() {
    let mut bytes = solicitation(VM1, v6(1, 1), v6(1, 4));
    bytes[55] = 1;
    let expected = [(field::ICMP_CODE, 1), (field::ND_TARGET, 0), (field::ND_SLL, 0)];
    reads(&fields(&bytes), &expected);
}

/// Frames with headers that begin right, so that deep code is reached.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let starts: Vec<Vec<u8>> = vec![
        vec![],
        udp(None, (VM1, 1, 1), (VM2, 1, 4), b"xy"),
        tagged(&[RED_TAG, 6, 7]),
        tcp6(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 5), b"z"),
        arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]),
        solicitation(VM1, v6(1, 1), v6(1, 4)),
        extended(&[(0, vec![0; 8]), (44, vec![0; 8]), (51, vec![0; 8])]),
    ];
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    let tail = proptest::collection::vec(any::<u8>(), 0..60);
    (proptest::sample::select(starts), any::<proptest::sample::Index>(), changes, tail).prop_map(
        |(mut bytes, cut, changes, tail)| {
            if cut.index(3) == 0 {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes.extend_from_slice(&tail);
            for (at, value) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_from_a_workload_do_harm(
        bytes in hostile(),
        head in 0..200usize,
        tci: Option<u16>,
    ) {
        let vlan = tci.map(|tci| VlanHeader { tpid: 0x8100, tci });
        let mut host = Host::new(hypervisor(1));
        for _ in 0..2 {
            // Each frame is sent or released once; the kit holds it.
            host.send_frame(1, vlan, MemoryFrame::segmented(&bytes, head, 16));
        }
    }

    #[test]
    fn no_bytes_from_the_underlay_do_harm(
        mut wire in proptest::collection::vec(any::<u8>(), 0..100),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        real: bool,
    ) {
        if real {
            let mut hv1 = Host::new(hypervisor(1));
            wire = to_nic(&hv1.send(1, &udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x"))).to_vec();
        }
        for (at, value) in changes {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] = value;
            }
        }
        let mut host = Host::new(hypervisor(2));
        host.receive(&wire);
        if wire.len() > 42 {
            wire[40..42].fill(0);
        }
        host.receive(&wire);
    }
}
