//! A frame of a packet's fields, with right lengths and checksums and nothing behind its headers.

use ovn_xdp_datapath::checksum::{Crc32c, internet, pseudo_header};
use ovn_xdp_datapath::field::{self, Context, Slice};
use ovn_xdp_datapath::parse::{ethertype, protocol};

/// A frame with these fields, as far as a frame can have them.
pub fn frame(packet: &Context) -> Vec<u8> {
    let mut frame = Vec::new();
    put(&mut frame, packet, field::ETH_DST);
    put(&mut frame, packet, field::ETH_SRC);
    let tci = packet.get(field::VLAN_TCI) as u16;
    if tci & TAGGED != 0 {
        frame.extend(ethertype::VLAN.to_be_bytes());
        frame.extend((tci & !TAGGED).to_be_bytes());
    }
    put(&mut frame, packet, field::ETH_TYPE);
    match packet.get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 => ipv4(packet, &mut frame),
        ethertype::IPV6 => ipv6(packet, &mut frame),
        ethertype::ARP | ethertype::RARP => {
            frame.extend([0, 1, 8, 0, 6, 4]);
            frame.extend((packet.get(field::ARP_OP) as u16).to_be_bytes());
            for slice in [field::ARP_SHA, field::ARP_SPA, field::ARP_THA, field::ARP_TPA] {
                put(&mut frame, packet, slice);
            }
        }
        _ => {}
    }
    frame
}

/// vlan.tci of a frame that has a tag.
const TAGGED: u16 = 1 << 12;

/// Bits of ip.frag: a fragment, and one behind the first.
const FRAGMENT: u128 = 1;
const LATER: u128 = 2;

/// Appends a field of whole bytes.
fn put(frame: &mut Vec<u8>, packet: &Context, slice: Slice) {
    let bytes = packet.get(slice).to_be_bytes();
    frame.extend(&bytes[16 - slice.width() as usize / 8..]);
}

fn tos(packet: &Context) -> u8 {
    (packet.get(field::IP_DSCP) << 2 | packet.get(field::IP_ECN)) as u8
}

fn ipv4(packet: &Context, frame: &mut Vec<u8>) {
    let fragment = packet.get(field::IP_FRAG);
    let number = packet.get(field::IP_PROTO) as u8;
    let mut header = vec![0x45, tos(packet), 0, 0, 0, 0];
    // More follow the first, and one eight bytes on is the last.
    let offset: u16 = match fragment {
        _ if fragment & LATER != 0 => 1,
        _ if fragment & FRAGMENT != 0 => 1 << 13,
        _ => 0,
    };
    header.extend(offset.to_be_bytes());
    header.extend([packet.get(field::IP_TTL) as u8, number, 0, 0]);
    put(&mut header, packet, field::IP4_SRC);
    put(&mut header, packet, field::IP4_DST);
    let payload = match fragment & LATER {
        0 => transport(packet, &header[12..20]),
        _ => Vec::new(),
    };
    header[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    let checksum = internet(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(header);
    frame.extend(payload);
}

fn ipv6(packet: &Context, frame: &mut Vec<u8>) {
    let fragment = packet.get(field::IP_FRAG);
    let number = packet.get(field::IP_PROTO) as u8;
    let first = 6 << 28 | u32::from(tos(packet)) << 20 | packet.get(field::IP6_LABEL) as u32;
    let mut header = first.to_be_bytes().to_vec();
    let mut addresses = Vec::new();
    put(&mut addresses, packet, field::IP6_SRC);
    put(&mut addresses, packet, field::IP6_DST);
    let mut payload = Vec::new();
    if fragment != 0 {
        let offset = if fragment & LATER != 0 { 8 } else { 1 };
        payload.extend([number, 0, 0, offset, 0, 0, 0, 0]);
    }
    if fragment & LATER == 0 {
        payload.extend(transport(packet, &addresses));
    }
    header.extend((payload.len() as u16).to_be_bytes());
    header.push(if fragment == 0 { number } else { protocol::FRAGMENT });
    header.push(packet.get(field::IP_TTL) as u8);
    frame.extend(header);
    frame.extend(addresses);
    frame.extend(payload);
}

/// The transport header between two addresses.
fn transport(packet: &Context, addresses: &[u8]) -> Vec<u8> {
    let number = packet.get(field::IP_PROTO) as u8;
    let mut header = Vec::new();
    let pair = [packet.get(field::TP_SRC), packet.get(field::TP_DST)];
    let mut ports: Vec<u8> = pair.iter().flat_map(|port| (*port as u16).to_be_bytes()).collect();
    let checksum_at = match (number, addresses.len()) {
        (protocol::TCP, _) => {
            header.append(&mut ports);
            header.extend([0; 8]);
            header.extend((5 << 12 | packet.get(field::TCP_FLAGS) as u16).to_be_bytes());
            header.extend([0; 6]);
            16
        }
        (protocol::UDP, _) => {
            header.append(&mut ports);
            header.extend([0, 8, 0, 0]);
            6
        }
        (protocol::SCTP, _) => {
            header.append(&mut ports);
            header.extend([0; 8]);
            let mut sum = Crc32c::default();
            sum.add(&header);
            header[8..].copy_from_slice(&sum.finish());
            return header;
        }
        (protocol::ICMP, 8) | (protocol::ICMPV6, 32) => {
            header.extend(pair.map(|byte| byte as u8));
            header.extend([0; 6]);
            discovery(packet, &mut header);
            2
        }
        _ => return header,
    };
    let mut sum = match number {
        protocol::ICMP => Default::default(),
        _ => pseudo_header(addresses, &[], number, header.len()),
    };
    sum.add(&header);
    let checksum = match sum.finish() {
        0 if number == protocol::UDP => 0xffff,
        checksum => checksum,
    };
    header[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// What follows the header of a neighbour solicitation or advertisement.
fn discovery(packet: &Context, message: &mut Vec<u8>) {
    if packet.get(field::IP_PROTO) as u8 != protocol::ICMPV6
        || !matches!(message[..2], [135 | 136, 0])
    {
        return;
    }
    put(message, packet, field::ND_TARGET);
    for (kind, slice) in [(1, field::ND_SLL), (2, field::ND_TLL)] {
        if packet.get(slice) != 0 {
            message.extend([kind, 1]);
            put(message, packet, slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_datapath::parse::parse;
    use ovn_xdp_logical::canonical::{self, Names};
    use ovn_xdp_logical::symbol::Symbols;

    fn packet(text: &str) -> Context {
        let tree = canonical::parse(text, Symbols::flow(), &Names::NONE).unwrap();
        tree.microflow(Symbols::flow(), &|_| None).unwrap()
    }

    #[test]
    fn a_frame_has_the_fields_that_it_was_made_of() {
        for text in [
            "ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && ip.ttl == 64 && udp.src == 1 && udp.dst == 2",
            "ip4.src == 10.0.0.1 && ip.ttl == 1 && tcp.src == 1 && tcp.dst == 2 && tcp.flags == 0x12",
            "ip4 && ip.ttl == 9 && icmp4.type == 8 && icmp4.code == 1",
            "ip4 && ip.proto == 47 && vlan.vid == 7",
            "ip4 && ip.frag == 1 && udp.dst == 5",
            "ip4 && ip.frag == 3 && ip.proto == 17",
            "ip6.src == fd00::1 && ip6.dst == fd00::2 && ip6.label == 0x12345 && sctp.src == 3",
            "ip6.src == fd00::1 && ip.ttl == 3 && tcp.dst == 2",
            "ip6 && ip.frag == 1 && udp.dst == 5",
            "nd_ns && nd.target == fd00::7 && nd.sll == 02:00:00:00:00:01",
            "nd_na && nd.target == fd00::7 && nd.tll == 02:00:00:00:00:01",
            "icmp6.type == 128",
            "arp.op == 1 && arp.sha == 02:00:00:00:00:01 && arp.spa == 10.0.0.1 && arp.tpa == 10.0.0.2",
            "eth.type == 0x88cc",
        ] {
            let packet = packet(
                &format!("eth.src == 02::1:2 && {text}").replace("02::1:2", "02:00:00:00:01:02"),
            );
            let bytes = frame(&packet);
            let parsed = parse(&bytes, bytes.len(), None).unwrap();
            assert_eq!(parsed.context(&bytes).slots, packet.slots, "{text}");
        }
    }

    #[test]
    fn checksums_add_up() {
        let v4 = "ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2";
        let v6 = "ip6.src == fd00::1 && ip6.dst == fd00::2";
        for (addresses, at) in [(v4, 34), (v6, 54)] {
            for (text, number) in [("tcp.src == 9 && tcp.dst == 80", 6), ("udp.src == 9", 17)] {
                let bytes = frame(&packet(&format!("{addresses} && {text}")));
                let from = if at == 34 { 26 } else { 22 };
                let mut sum = pseudo_header(&bytes[from..at], &[], number, bytes.len() - at);
                sum.add(&bytes[at..]);
                assert_eq!(sum.finish(), 0, "{addresses} && {text}");
            }
        }
        let bytes = frame(&packet("ip4.src == 10.0.0.1 && icmp4.type == 8"));
        assert_eq!((internet(&bytes[14..34]), internet(&bytes[34..])), (0, 0));
    }
}
