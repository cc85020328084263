//! Values and packets as OVN's tools write them.

use ovn_xdp_datapath::field::{self, Context, Slice};
use ovn_xdp_datapath::parse::{ethertype, protocol};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A MAC address.
pub fn mac(value: u128) -> String {
    let [.., a, b, c, d, e, f] = value.to_be_bytes();
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// An IPv4 address.
pub fn ip4(value: u128) -> String {
    Ipv4Addr::from(value as u32).to_string()
}

/// An IPv6 address.
pub fn ip6(value: u128) -> String {
    Ipv6Addr::from(value).to_string()
}

/// How a value is written.
type Written = fn(u128) -> String;

/// Fields that are read as what they are, rather than as bits.
const KNOWN: [(Slice, Written); 19] = [
    (field::ETH_SRC, mac),
    (field::ETH_DST, mac),
    (field::ARP_SHA, mac),
    (field::ARP_THA, mac),
    (field::ND_SLL, mac),
    (field::ND_TLL, mac),
    (field::IP4_SRC, ip4),
    (field::IP4_DST, ip4),
    (field::ARP_SPA, ip4),
    (field::ARP_TPA, ip4),
    (field::IP6_SRC, ip6),
    (field::IP6_DST, ip6),
    (field::ND_TARGET, ip6),
    (field::TP_SRC, decimal),
    (field::TP_DST, decimal),
    (field::ICMP_TYPE, decimal),
    (field::ICMP_CODE, decimal),
    (field::IP_TTL, decimal),
    (field::ARP_OP, decimal),
];

fn decimal(value: u128) -> String {
    value.to_string()
}

/// The value of a field or of a part of one.
pub fn value(slice: Slice, packet: &Context) -> String {
    let value = packet.get(slice);
    match KNOWN.iter().find(|(known, _)| *known == slice) {
        Some((_, text)) => text(value),
        None => format!("{value:#x}"),
    }
}

/// Names of the bits of ct_state, the lowest first.
pub const CT_STATES: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

/// A state of a connection.
pub fn ct_state(state: u128) -> String {
    let names = (0..8).filter(|bit| state >> bit & 1 == 1).map(|bit| CT_STATES[bit]);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

const TCP_FLAGS: [&str; 12] =
    ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];

fn tcp_flags(flags: u128) -> String {
    let names = (0..12).filter(|bit| flags >> bit & 1 == 1).map(|bit| TCP_FLAGS[bit]);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;

/// A packet's fields as `ovs-ofctl` writes a flow that matches all of them.
pub fn packet(packet: &Context) -> String {
    let get = |slice| packet.get(slice);
    let mut out = String::new();
    let kind = get(field::ETH_TYPE) as u16;
    let number = get(field::IP_PROTO) as u8;
    let v4 = kind == ethertype::IPV4;
    let v6 = kind == ethertype::IPV6;
    let arp = matches!(kind, ethertype::ARP | ethertype::RARP);
    if get(field::PKT_MARK) != 0 {
        let _ = write!(out, "pkt_mark={:#x},", get(field::PKT_MARK));
    }
    connection(packet, &mut out);
    let keyword = match (kind, number) {
        (ethertype::IPV4, protocol::ICMP) => "icmp,",
        (ethertype::IPV4, protocol::TCP) => "tcp,",
        (ethertype::IPV4, protocol::UDP) => "udp,",
        (ethertype::IPV4, protocol::SCTP) => "sctp,",
        (ethertype::IPV4, _) => "ip,",
        (ethertype::IPV6, protocol::ICMPV6) => "icmp6,",
        (ethertype::IPV6, protocol::TCP) => "tcp6,",
        (ethertype::IPV6, protocol::UDP) => "udp6,",
        (ethertype::IPV6, protocol::SCTP) => "sctp6,",
        (ethertype::IPV6, _) => "ipv6,",
        (ethertype::ARP, _) => "arp,",
        (ethertype::RARP, _) => "rarp,",
        (MPLS | MPLS_MULTICAST, _) => "mpls,",
        _ => "",
    };
    out.push_str(keyword);
    let zones = [field::DNAT_ZONE, field::SNAT_ZONE, field::PORT_ZONE];
    let registers = (0..10).map(field::reg).chain([field::FLAGS]).chain(zones);
    for (index, slice) in registers.chain([field::INPORT, field::OUTPORT]).enumerate() {
        if get(slice) != 0 {
            let _ = write!(out, "reg{index}={:#x},", get(slice));
        }
    }
    let tci = get(field::VLAN_TCI);
    if tci & 0x1000 != 0 {
        let _ = write!(out, "dl_vlan={},dl_vlan_pcp={},vlan_tci1=0x0000,", tci & 0xfff, tci >> 13);
    } else {
        let _ = write!(out, "vlan_tci={tci:#06x},");
        if tci != 0 {
            out.push_str("vlan_tci1=0x0000,");
        }
    }
    let _ = write!(out, "dl_src={},", mac(get(field::ETH_SRC)));
    let _ = write!(out, "dl_dst={},", mac(get(field::ETH_DST)));
    if keyword.is_empty() {
        let _ = write!(out, "dl_type={kind:#06x},");
    }
    if v6 {
        let _ = write!(out, "ipv6_src={},", ip6(get(field::IP6_SRC)));
        let _ = write!(out, "ipv6_dst={},", ip6(get(field::IP6_DST)));
        let _ = write!(out, "ipv6_label={:#07x},", get(field::IP6_LABEL));
    } else if v4 {
        let _ = write!(out, "nw_src={},", ip4(get(field::IP4_SRC)));
        let _ = write!(out, "nw_dst={},", ip4(get(field::IP4_DST)));
    } else if arp {
        let _ = write!(out, "arp_spa={},", ip4(get(field::ARP_SPA)));
        let _ = write!(out, "arp_tpa={},", ip4(get(field::ARP_TPA)));
        let _ = write!(out, "arp_op={},", get(field::ARP_OP));
        let _ = write!(out, "arp_sha={},", mac(get(field::ARP_SHA)));
        let _ = write!(out, "arp_tha={},", mac(get(field::ARP_THA)));
    }
    if keyword == "mpls," {
        // The language has no name for any of it.
        out.push_str("mpls_label=0,mpls_tc=0,mpls_ttl=0,mpls_bos=0,mpls_lse1=0,mpls_lse2=0,");
    }
    if v4 || v6 {
        network(packet, matches!(keyword, "ip," | "ipv6,").then_some(number), &mut out);
    }
    out.pop();
    out
}

fn connection(packet: &Context, out: &mut String) {
    let get = |slice| packet.get(slice);
    if get(field::CT_STATE) != 0 {
        let _ = write!(out, "ct_state={},", ct_state(get(field::CT_STATE)));
    }
    if get(field::CT_MARK) != 0 {
        let _ = write!(out, "ct_mark={:#x},", get(field::CT_MARK));
    }
    if get(field::CT_LABEL) != 0 {
        let _ = write!(out, "ct_label={:#x},", get(field::CT_LABEL));
    }
    if get(field::CT_PROTO) != 0 && is_of_a_connection(get(field::CT_STATE)) {
        tuple(packet, out);
    }
}

/// Whether a state says that there is a connection, or will be.
fn is_of_a_connection(state: u128) -> bool {
    use super::script::state::{INVALID, TRACKED};
    state & !(TRACKED | INVALID) != 0 || state & (TRACKED | INVALID) == TRACKED
}

/// The tuple of a connection.
fn tuple(packet: &Context, out: &mut String) {
    let get = |slice| packet.get(slice);
    let addresses = [get(field::CT_IP_SRC), get(field::CT_IP_DST)];
    let [source, destination] = match get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 => addresses.map(ip4),
        _ => addresses.map(ip6),
    };
    let family = if get(field::ETH_TYPE) as u16 == ethertype::IPV4 { "nw" } else { "ipv6" };
    let _ = write!(out, "ct_{family}_src={source},ct_{family}_dst={destination},");
    let _ = write!(out, "ct_nw_proto={},", get(field::CT_PROTO));
    let (from, to) = (get(field::CT_TP_SRC), get(field::CT_TP_DST));
    let _ = write!(out, "ct_tp_src={from},ct_tp_dst={to},");
}

/// What IPv4 and IPv6 have in common; `number` if the protocol has no word of its own.
fn network(packet: &Context, number: Option<u8>, out: &mut String) {
    let get = |slice| packet.get(slice);
    if let Some(number) = number {
        let _ = write!(out, "nw_proto={number},");
    }
    let _ = write!(out, "nw_tos={},", get(field::IP_DSCP) << 2);
    let _ = write!(out, "nw_ecn={},", get(field::IP_ECN));
    let _ = write!(out, "nw_ttl={},", get(field::IP_TTL));
    let fragment = match get(field::IP_FRAG) {
        0 => "no",
        1 => "first",
        2 => "<error>",
        _ => "later",
    };
    let _ = write!(out, "nw_frag={fragment},");
    let protocols = (get(field::ETH_TYPE) as u16, get(field::IP_PROTO) as u8);
    // OVS has looked at ICMPv6 to see whether it is neighbour discovery, and shows it for that; at the
    // type only where the code says that it may be.
    let later = get(field::IP_FRAG) & 2 != 0;
    if later && protocols != (ethertype::IPV6, protocol::ICMPV6) {
        return;
    }
    match protocols {
        (ethertype::IPV4, protocol::ICMP) | (ethertype::IPV6, protocol::ICMPV6) => {
            if !later || get(field::TP_DST) == 0 {
                let _ = write!(out, "icmp_type={},", get(field::TP_SRC));
            }
            let _ = write!(out, "icmp_code={},", get(field::TP_DST));
            let v6 = get(field::ETH_TYPE) as u16 == ethertype::IPV6;
            if v6 && matches!(get(field::TP_SRC), 135 | 136) && get(field::TP_DST) == 0 {
                let _ = write!(out, "nd_target={},", ip6(get(field::ND_TARGET)));
                let _ = write!(out, "nd_sll={},", mac(get(field::ND_SLL)));
                let _ = write!(out, "nd_tll={},", mac(get(field::ND_TLL)));
            }
        }
        // OVS has looked for ports in all of these, ICMP of the other family and IGMP too.
        (
            _,
            number @ (protocol::TCP
            | protocol::UDP
            | protocol::SCTP
            | protocol::ICMP
            | protocol::ICMPV6
            | protocol::IGMP),
        ) => {
            let _ = write!(out, "tp_src={},tp_dst={},", get(field::TP_SRC), get(field::TP_DST));
            if number == protocol::TCP {
                let _ = write!(out, "tcp_flags={},", tcp_flags(get(field::TCP_FLAGS)));
            }
        }
        _ => {}
    }
}
