//! The definitions of the symbols, in the order and with the meaning of ovn-sb(5) (FLD-01 to
//! FLD-51).

use crate::dialect::Dialect;
use crate::symbol::{Definitions, Level, Symbols, Writable};
use ovn_xdp_datapath::field::{self, Slice};

use Level::{Nominal, Ordinal};
use Writable::{Commit, Never, Packet};

/// `icmp4.inner_ip4.src` (FLD-50): no IPv4 packet has the neighbour discovery target whose bits it
/// shares.
const INNER_IP4_SRC: Slice = Slice::new(13, 0, 32);

/// The symbols of logical flows.
pub(crate) fn flow(dialect: Dialect) -> Symbols {
    let mut symbols = flow_definitions(dialect);
    symbols.finish().expect("the vocabulary is consistent")
}

/// Those and five that are defined wrong, under the names that OVN's `ovstest` gives them.
pub(crate) fn ovstest() -> Symbols {
    let mut symbols = flow_definitions(Dialect::Late);
    symbols.finish().expect("the vocabulary is consistent");
    for (name, prerequisite) in [
        ("bad_prereq", "xyzzy"),
        ("self_recurse", "self_recurse != 0"),
        ("mutual_recurse_1", "mutual_recurse_2 != 0"),
        ("mutual_recurse_2", "mutual_recurse_1 != 0"),
    ] {
        symbols.field(name, field::reg(0), Ordinal, Some(prerequisite), Packet);
    }
    symbols.port("big_string", field::XXREG0);
    symbols.as_symbols()
}

fn flow_definitions(dialect: Dialect) -> Definitions {
    let mut symbols = Definitions::default();
    metadata(&mut symbols);
    connection(&mut symbols);
    link(&mut symbols);
    network(&mut symbols, dialect);
    neighbours(&mut symbols, dialect);
    for (protocol, number, source, destination) in [
        ("tcp", "ip.proto == 6", "tcp.src", "tcp.dst"),
        ("udp", "ip.proto == 17", "udp.src", "udp.dst"),
        ("sctp", "ip.proto == 132", "sctp.src", "sctp.dst"),
    ] {
        symbols
            .predicate(protocol, number)
            .field(source, field::TP_SRC, Ordinal, Some(protocol), Packet)
            .field(destination, field::TP_DST, Ordinal, Some(protocol), Packet);
    }
    last(&mut symbols);
    symbols
}

/// The symbols of ACLs that read transport fields from the connection (FLD-51).
pub(crate) fn acl_ct_translation() -> Symbols {
    let mut symbols = Definitions::default();
    metadata(&mut symbols);
    connection(&mut symbols);
    link(&mut symbols);
    network(&mut symbols, Dialect::Late);
    neighbours(&mut symbols, Dialect::Late);
    symbols.field("ct_proto", field::CT_PROTO, Nominal, Some("ct.trk"), Never);
    for (protocol, meaning, source, destination) in [
        ("tcp", "ct.trk && !ct.inv && ct_proto == 6", "tcp.src", "tcp.dst"),
        ("udp", "ct.trk && !ct.inv && ct_proto == 17", "udp.src", "udp.dst"),
        ("sctp", "ct.trk && !ct.inv && ct_proto == 132", "sctp.src", "sctp.dst"),
    ] {
        symbols
            .predicate(protocol, meaning)
            .field(source, field::CT_TP_SRC, Ordinal, Some(protocol), Never)
            .field(destination, field::CT_TP_DST, Ordinal, Some(protocol), Never);
    }
    last(&mut symbols);
    symbols.finish().expect("the vocabulary is consistent")
}

/// FLD-01 to FLD-15.
fn metadata(symbols: &mut Definitions) {
    symbols
        .port("inport", field::INPORT)
        .port("outport", field::OUTPORT)
        .field("__inport", field::INPORT, Ordinal, None, Packet)
        .field("__outport", field::OUTPORT, Ordinal, None, Packet)
        .predicate("from_evpn_vtep", "__inport[31]")
        .predicate("to_evpn_vtep", "__outport[31]")
        .port("remote_outport", field::reg(1))
        .field("xxreg0", field::XXREG0, Ordinal, None, Packet)
        .field("xxreg1", field::XXREG1, Ordinal, None, Packet)
        .field("xreg4", field::XREG4, Ordinal, None, Packet);
    for (name, parent, low) in [
        ("xreg0", "xxreg0", 64),
        ("xreg1", "xxreg0", 0),
        ("xreg2", "xxreg1", 64),
        ("xreg3", "xxreg1", 0),
    ] {
        symbols.subfield(name, parent, low, low + 63, None);
    }
    for (name, parent, low) in [
        ("reg0", "xxreg0", 96),
        ("reg1", "xxreg0", 64),
        ("reg2", "xxreg0", 32),
        ("reg3", "xxreg0", 0),
        ("reg4", "xxreg1", 96),
        ("reg5", "xxreg1", 64),
        ("reg6", "xxreg1", 32),
        ("reg7", "xxreg1", 0),
        ("reg8", "xreg4", 32),
        ("reg9", "xreg4", 0),
    ] {
        symbols.subfield(name, parent, low, low + 31, None);
    }
    symbols.field("flags", field::FLAGS, Ordinal, None, Packet);
    for (name, bit) in [
        ("flags.loopback", 0),
        ("flags.force_snat_for_dnat", 2),
        ("flags.force_snat_for_lb", 3),
        ("flags.skip_snat_for_lb", 9),
        ("flags.use_snat_zone", 11),
        ("flags.localnet", 15),
        ("flags.tunnel_rx", 16),
        ("flags.icmp_snat", 17),
        ("flags.from_ctrl", 19),
        ("flags.unsnat_new", 20),
        ("flags.unsnat_not_tracked", 21),
        ("flags.igmp_loopback", 22),
        ("flags.pkt_sampled", 23),
    ] {
        symbols.subfield(name, "flags", bit, bit, None);
    }
    symbols.subfield("flags.network_id", "flags", 28, 31, None);
}

/// FLD-17 to FLD-24.
fn connection(symbols: &mut Definitions) {
    symbols
        .field("ct_mark", field::CT_MARK, Ordinal, None, Commit)
        .field("ct_label", field::CT_LABEL, Ordinal, None, Commit)
        .field("ct_state", field::CT_STATE, Ordinal, None, Never);
    for (name, low, high) in [
        ("ct_mark.blocked", 0, 0),
        ("ct_mark.natted", 1, 1),
        ("ct_mark.skip_snat", 2, 2),
        ("ct_mark.force_snat", 3, 3),
        ("ct_mark.obs_stage", 4, 5),
        ("ct_mark.allow_established", 6, 6),
        ("ct_mark.ecmp_reply_port", 16, 31),
        ("ct_mark.obs_collector_id", 16, 23),
    ] {
        symbols.subfield(name, "ct_mark", low, high, None);
    }
    for (name, low, high) in [
        ("ct_label.blocked", 0, 0),
        ("ct_label.natted", 1, 1),
        ("ct_label.skip_snat", 2, 2),
        ("ct_label.force_snat", 3, 3),
        ("ct_label.nf", 7, 7),
        ("ct_label.tun_if", 8, 8),
        ("ct_label.nf_id", 17, 24),
        ("ct_label.ecmp_reply_eth", 32, 79),
        ("ct_label.ecmp_reply_port", 80, 95),
        ("ct_label.acl_id", 80, 95),
        ("ct_label.tun_if_id", 80, 95),
        ("ct_label.label", 96, 127),
        ("ct_label.obs_point_id", 96, 127),
        ("ct_label.obs_unused", 0, 95),
    ] {
        symbols.subfield(name, "ct_label", low, high, None);
    }
    symbols.subfield("ct.trk", "ct_state", 5, 5, None);
    for (name, bit) in [
        ("ct.new", 0),
        ("ct.est", 1),
        ("ct.rel", 2),
        ("ct.rpl", 3),
        ("ct.inv", 4),
        ("ct.snat", 6),
        ("ct.dnat", 7),
    ] {
        symbols.subfield(name, "ct_state", bit, bit, Some("ct.trk"));
    }
}

/// FLD-25 to FLD-29.
fn link(symbols: &mut Definitions) {
    symbols
        .field("eth.src", field::ETH_SRC, Ordinal, None, Packet)
        .field("eth.dst", field::ETH_DST, Ordinal, None, Packet)
        .field("eth.type", field::ETH_TYPE, Nominal, None, Never)
        .predicate("eth.bcast", "eth.dst == ff:ff:ff:ff:ff:ff")
        .subfield("eth.mcast", "eth.dst", 40, 40, None)
        .predicate("eth.mcastv6", "eth.dst[32..47] == 0x3333")
        .field("vlan.tci", field::VLAN_TCI, Ordinal, None, Packet)
        .predicate("vlan.present", "vlan.tci[12]")
        .subfield("vlan.pcp", "vlan.tci", 13, 15, Some("vlan.present"))
        .subfield("vlan.vid", "vlan.tci", 0, 11, Some("vlan.present"));
}

/// FLD-30 to FLD-41.
fn network(symbols: &mut Definitions, dialect: Dialect) {
    let igmp = match dialect {
        Dialect::Early => "ip4 && ip.proto == 2",
        Dialect::Late => "ip4.mcast && ip.proto == 2",
    };
    symbols
        .predicate("ip4", "eth.type == 0x800")
        .predicate("ip6", "eth.type == 0x86dd")
        .predicate("ip", "ip4 || ip6")
        .field("ip.proto", field::IP_PROTO, Nominal, Some("ip"), Never)
        .field("ip.dscp", field::IP_DSCP, Nominal, Some("ip"), Packet)
        .field("ip.ecn", field::IP_ECN, Nominal, Some("ip"), Packet)
        .field("ip.ttl", field::IP_TTL, Nominal, Some("ip"), Packet)
        .field("ip4.src", field::IP4_SRC, Ordinal, Some("ip4"), Packet)
        .field("ip4.dst", field::IP4_DST, Ordinal, Some("ip4"), Packet)
        .predicate("ip4.src_mcast", "ip4.src[28..31] == 0xe")
        .predicate("ip4.mcast", "eth.mcast && ip4.dst[28..31] == 0xe")
        .predicate("icmp4", "ip4 && ip.proto == 1")
        .field("icmp4.type", field::ICMP_TYPE, Nominal, Some("icmp4"), Packet)
        .field("icmp4.code", field::ICMP_CODE, Nominal, Some("icmp4"), Packet)
        .predicate("igmp", igmp)
        .field("ip6.src", field::IP6_SRC, Ordinal, Some("ip6"), Packet)
        .field("ip6.dst", field::IP6_DST, Ordinal, Some("ip6"), Packet)
        .field("ip6.label", field::IP6_LABEL, Ordinal, Some("ip6"), Packet)
        .predicate(
            "ip6.mcast_rsvd",
            "ip6.dst == {ff00::, ff01::, ff02::, ff03::, ff04::, ff05::, ff06::, ff07::, ff08::, \
             ff09::, ff0a::, ff0b::, ff0c::, ff0d::, ff0e::, ff0f::}",
        )
        .predicate("ip6.mcast_all_nodes", "ip6.dst == {ff01::1, ff02::1}")
        .predicate("ip6.mcast_all_rtrs", "ip6.dst == {ff01::2, ff02::2, ff05::2}")
        .predicate("ip6.mcast_sol_node", "ip6.dst == ff02::1:ff00:0000/104")
        .predicate(
            "ip6.mcast_flood",
            "eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || ip6.mcast_all_rtrs \
             || ip6.mcast_sol_node)",
        )
        .predicate("ip6.mcast", "eth.mcastv6 && ip6.dst[120..127] == 0xff")
        .predicate("icmp6", "ip6 && ip.proto == 58")
        .field("icmp6.type", field::ICMP_TYPE, Nominal, Some("icmp6"), Packet)
        .field("icmp6.code", field::ICMP_CODE, Nominal, Some("icmp6"), Packet)
        .predicate("icmp", "icmp4 || icmp6")
        .field("ip.frag", field::IP_FRAG, Ordinal, Some("ip"), Never)
        .predicate("ip.is_frag", "ip.frag[0]")
        .predicate("ip.later_frag", "ip.frag[1]")
        .predicate("ip.first_frag", "ip.is_frag && !ip.later_frag");
}

/// FLD-42 to FLD-46.
fn neighbours(symbols: &mut Definitions, dialect: Dialect) {
    let [mldv1, mldv2] = match dialect {
        Dialect::Early => [
            "ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}",
            "ip6.dst == ff02::16 && icmp6.type == 143",
        ],
        Dialect::Late => [
            "eth.mcastv6 && ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}",
            "eth.mcastv6 && ip6.dst == ff02::16 && icmp6.type == 143",
        ],
    };
    for (protocol, meaning, names) in [
        ("arp", "eth.type == 0x806", ["arp.op", "arp.spa", "arp.sha", "arp.tpa", "arp.tha"]),
        ("rarp", "eth.type == 0x8035", ["rarp.op", "rarp.spa", "rarp.sha", "rarp.tpa", "rarp.tha"]),
    ] {
        let [op, spa, sha, tpa, tha] = names;
        symbols
            .predicate(protocol, meaning)
            .field(op, field::ARP_OP, Nominal, Some(protocol), Packet)
            .field(spa, field::ARP_SPA, Ordinal, Some(protocol), Packet)
            .field(sha, field::ARP_SHA, Ordinal, Some(protocol), Packet)
            .field(tpa, field::ARP_TPA, Ordinal, Some(protocol), Packet)
            .field(tha, field::ARP_THA, Ordinal, Some(protocol), Packet);
    }
    symbols
        .predicate("nd", "icmp6.type == {135, 136} && icmp6.code == 0 && ip.ttl == 255")
        .predicate("nd_ns", "icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255")
        .predicate(
            "nd_ns_mcast",
            "ip6.mcast && icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255",
        )
        .predicate("nd_na", "icmp6.type == 136 && icmp6.code == 0 && ip.ttl == 255")
        .predicate("nd_rs", "icmp6.type == 133 && icmp6.code == 0 && ip.ttl == 255")
        .predicate("nd_ra", "icmp6.type == 134 && icmp6.code == 0 && ip.ttl == 255")
        .field("nd.target", field::ND_TARGET, Ordinal, Some("nd"), Packet)
        .field("nd.sll", field::ND_SLL, Ordinal, Some("nd_ns"), Packet)
        .field("nd.tll", field::ND_TLL, Ordinal, Some("nd_na"), Packet)
        .predicate("mldv1", mldv1)
        .predicate("mldv2", mldv2);
}

/// What stands behind the transport protocols: tcp.flags, FLD-49 and FLD-50.
fn last(symbols: &mut Definitions) {
    let mtu4 = field::ICMP_FRAG_MTU.bits(0, 15).expect("the field has 32 bits");
    symbols
        .field("tcp.flags", field::TCP_FLAGS, Ordinal, Some("tcp"), Never)
        .field("pkt.mark", field::PKT_MARK, Ordinal, None, Packet)
        .error_message("icmp4.frag_mtu", mtu4)
        .error_message("icmp6.frag_mtu", field::ICMP_FRAG_MTU)
        .error_message("icmp4.inner_ip4.src", INNER_IP4_SRC);
}
