//! Actions read, print and fail as OVN's do (ACT-01 to ACT-65).

use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{Action, Actions, OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::error::Error;
use ovn_xdp_logical::symbol::Symbols;
use proptest::prelude::*;

fn read_at(text: &str, position: Position) -> Result<Actions, Error> {
    let dhcp_options = OptionTable::new([
        ("offerip", 0, "ipv4"),
        ("netmask", 1, "ipv4"),
        ("router", 3, "ipv4"),
        ("dns_server", 6, "ipv4"),
        ("hostname", 12, "str"),
        ("ip_forward_enable", 19, "bool"),
        ("mtu", 26, "uint16"),
        ("lease_time", 51, "uint32"),
        ("tftp_server", 66, "host_id"),
        ("domain_search_list", 119, "domains"),
        ("classless_static_route", 121, "static_routes"),
    ]);
    let dhcpv6_options = OptionTable::new([
        ("server_id", 2, "mac"),
        ("ia_addr", 5, "ipv6"),
        ("dns_server", 23, "ipv6"),
        ("domain_search", 24, "str"),
    ]);
    let parameters = Parameters {
        symbols: Symbols::flow(),
        position,
        dhcp_options: &dhcp_options,
        dhcpv6_options: &dhcpv6_options,
    };
    parse_actions(text, &parameters)
}

fn read(text: &str) -> Result<Actions, Error> {
    read_at(text, Position::new(Pipeline::Ingress, 10))
}

/// Reads, prints, and expects what is printed to read as the same actions.
fn printed(text: &str) -> String {
    let actions = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let printed = actions.to_string();
    let again = read(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again, actions, "{text}");
    printed
}

/// Texts that print as they are.
const CANONICAL: &[&str] = &[
    "drop;",
    "output;",
    "next;",
    "next(5);",
    "next(pipeline=egress, table=3);",
    "tcp.dst = 80;",
    "reg0[4..7] = 0xf;",
    "ip4.src = 10.0.0.1;",
    "eth.dst = 0a:00:00:00:00:01;",
    "ip6.dst = fe80::1;",
    "vlan.pcp[1..2] = 2;",
    "outport = \"lp\";",
    "outport = inport;",
    "eth.dst = eth.src;",
    "reg0[0..15] = tcp.src;",
    "ip4.src <-> ip4.dst;",
    "inport <-> outport;",
    "push(xxreg0);",
    "pop(xxreg1[0..63]);",
    "ip.ttl--;",
    "ct_next(dnat);",
    "ct_next(snat);",
    "ct_commit;",
    "ct_commit { ct_mark = 1; };",
    "ct_commit { ct_mark.blocked = 1; ct_label = 0x10/0xff; };",
    "ct_commit(ct_mark=0x1, ct_label=0x10/0xf0);",
    "ct_commit_to_zone(snat);",
    "ct_commit_nat(dnat);",
    "ct_dnat;",
    "ct_dnat(192.168.1.2);",
    "ct_dnat(fd11::2);",
    "ct_snat(192.168.1.2,1-3000);",
    "ct_snat(192.168.1.2,592);",
    "ct_dnat_in_czone(192.168.1.2);",
    "ct_snat_in_czone;",
    "ct_lb_mark;",
    "ct_lb;",
    "ct_lb_mark(backends=192.168.1.2:80,192.168.1.3:80);",
    "ct_lb_mark(backends=192.168.1.2,192.168.1.3);",
    "ct_lb_mark(backends=fd0f::2,fd0f::3);",
    "ct_lb_mark(backends=[fd0f::2]:80; hash_fields=\"ip_src,ip_dst\"; skip_snat);",
    "ct_lb_mark(backends=10.0.0.2:8080; force_snat);",
    "ct_lb_mark_local(backends=\"sw0-p1\":10.0.0.2:80,\"sw0-p2\":[fd0f::2]:80);",
    "reg9[16..31] = select(1=50, 2=100, 3=25);",
    "reg0 = select(values=(1=50, 2=100); hash_fields=\"ip_src,ip_dst\");",
    "ct_clear;",
    "clone { ip4.dst = 255.255.255.255; output; };",
    "clone { clone { output; }; next; };",
    "arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };",
    "nd_ns { nd.target = xxreg0; output; };",
    "nd_na { eth.src = 12:34:56:78:9a:bc; nd.tll = 12:34:56:78:9a:bc; outport = inport; output; };",
    "nd_na_router { drop; };",
    "icmp4 { eth.dst = ff:ff:ff:ff:ff:ff; icmp4.type = 3; output; };",
    "icmp4_error { icmp4.frag_mtu = 1500; output; };",
    "icmp6 { icmp6.type = 1; output; };",
    "icmp6_error { icmp6.frag_mtu = 1500; output; };",
    "tcp_reset { outport <-> inport; output; };",
    "sctp_abort { output; };",
    "reject { outport <-> inport; output; };",
    "igmp;",
    "get_arp(outport, ip4.dst);",
    "get_nd(outport, xxreg0);",
    "put_arp(inport, arp.spa, arp.sha);",
    "put_nd(inport, nd.target, nd.sll);",
    "reg0[0] = lookup_arp(inport, arp.spa, arp.sha);",
    "reg0[0] = lookup_nd(inport, ip6.src, eth.src);",
    "reg0[0] = lookup_arp_ip(inport, arp.spa);",
    "reg0[0] = lookup_nd_ip(inport, ip6.src);",
    "mac_cache_use;",
    "reg1[0] = put_dhcp_opts(offerip = 1.2.3.4, router = 10.0.0.1);",
    "reg2[5] = put_dhcp_opts(offerip = 1.2.3.4, dns_server = {8.8.8.8, 7.7.7.7}, \
     hostname = \"h\", mtu = 1400, ip_forward_enable = 1, \
     classless_static_route = {30.0.0.0/24, 10.0.0.4, 0.0.0.0/0, 10.0.0.1}, \
     tftp_server = 172.16.1.1, domain_search_list = \"ovn.org,abc.ovn.org\");",
    "reg1[0] = put_dhcpv6_opts(ia_addr = ae70::4, server_id = 00:00:00:00:10:02);",
    "reg1[0] = put_dhcpv6_opts();",
    "reg1[0] = put_nd_ra_opts(addr_mode = \"slaac\", mtu = 1500, prefix = aef0::/64, \
     slla = ae:01:02:03:04:05);",
    "reg1[0] = put_nd_ra_opts(addr_mode = \"dhcpv6_stateful\", slla = ae:01:02:03:04:05, \
     router_preference = \"HIGH\", dnssl = \"a.b.c\", rdnss = fd00::1, \
     route_info = \"HIGH-aef1::1/48\");",
    "handle_dhcpv6_reply;",
    "reg9[7] = dhcp_relay_req_chk(192.168.1.1, 172.16.1.1);",
    "reg9[7] = dhcp_relay_resp_chk(192.168.1.1, 172.16.1.1);",
    "reg1[0] = dns_lookup();",
    "log(verdict=allow, severity=info);",
    "log(name=\"a \\\"b\\\"\", verdict=drop, severity=alert, meter=\"m\");",
    "trigger_event(event = \"empty_lb_backends\", vip = \"10.0.0.1:80\", protocol = \"tcp\", \
     load_balancer = \"12345678-abcd-9876-fedc-11119f8e7d6c\");",
    "set_queue(0);",
    "set_queue(61440);",
    "set_meter(100);",
    "set_meter(100, 1000);",
    "reg0[0] = check_pkt_larger(1500);",
    "bind_vport(\"xyzzy\", inport);",
    "handle_svc_check(inport);",
    "handle_bfd_msg();",
    "fwd_group(liveness=\"true\", childports=\"eth0\", \"lsp1\");",
    "fwd_group(childports=\"eth0\", \"lsp1\");",
    "reg0[0] = chk_lb_hairpin();",
    "reg2[2] = chk_lb_hairpin_reply();",
    "ct_snat_to_vip;",
    "put_fdb(inport, eth.src);",
    "outport = get_fdb(eth.dst);",
    "reg0 = get_fdb(eth.dst);",
    "outport = get_remote_fdb(eth.dst);",
    "reg0[0] = lookup_fdb(inport, eth.src);",
    "reg0[0] = check_in_port_sec();",
    "reg0[0] = check_out_port_sec();",
    "commit_ecmp_nh(ipv6 = true, proto = tcp);",
    "commit_ecmp_nh(ipv6 = false, proto = sctp);",
    "reg9[5] = chk_ecmp_nh();",
    "reg9[5] = chk_ecmp_nh_mac();",
    "commit_lb_aff(vip = \"172.16.0.123:8080\", backend = \"10.0.0.3:8080\", proto = tcp, \
     timeout = 30);",
    "commit_lb_aff(vip = \"[::1]\", backend = \"[::2]\", timeout = 30);",
    "reg9[6] = chk_lb_aff();",
    "sample(probability=100,collector_set=200,obs_domain=0,obs_point=1000);",
    "sample(probability=65535,collector_set=1,obs_domain=7,obs_point=$cookie);",
    "sample(probability=1,collector_set=1,obs_domain=7,obs_point=ct_label.obs_point_id);",
    "reg1 = ct_nw_dst();",
    "xxreg1 = ct_ip6_dst();",
    "reg1[0..15] = ct_tp_dst();",
    "reg1[16..23] = ct_proto();",
    "flood_remote;",
    "reg4[0..7] = ct_state_save();",
    "mirror(\"lp\");",
    "reg0[11] = chk_evpn_arp(arp.tpa);",
    "reg0[11] = chk_evpn_arp(nd.target);",
    "icmp4.inner_ip4.src = 10.0.0.1;",
    "flags.loopback = 1; output;",
];

#[test]
fn every_action_prints_as_it_is_written_canonically() {
    for text in CANONICAL {
        assert_eq!(printed(text), *text);
    }
}

#[test]
fn other_spellings_print_canonically() {
    for (text, canonical) in [
        ("", "drop;"),
        ("next(11);", "next;"),
        ("next(pipeline=ingress);", "next;"),
        ("next(table=5);", "next(5);"),
        ("next(pipeline=ingress, table=12);", "next(12);"),
        ("ct_next;", "ct_next(dnat);"),
        ("ct_commit_nat;", "ct_commit_nat(dnat);"),
        ("ct_commit { };", "ct_commit;"),
        ("ct_commit{drop;};", "ct_commit;"),
        ("ct_lb_mark();", "ct_lb_mark;"),
        (
            "ct_lb_mark(backends=192.168.1.2:80, 192.168.1.3:80,);",
            "ct_lb_mark(backends=192.168.1.2:80,192.168.1.3:80);",
        ),
        ("reg9[16..31] = select(1=50, 2, 3=50);", "reg9[16..31] = select(1=50, 2=100, 3=50);"),
        ("log(severity=notice, verdict=reject);", "log(verdict=reject, severity=notice);"),
        ("fwd_group(liveness=false, childports=\"eth0\");", "fwd_group(childports=\"eth0\");"),
        ("icmp4 {};", "icmp4 { drop; };"),
        ("ip4.src=ip4.dst;", "ip4.src = ip4.dst;"),
        ("reg0[0..31] = 5;", "reg0 = 5;"),
        (
            "sample(probability=9);",
            "sample(probability=9,collector_set=0,obs_domain=0,obs_point=0);",
        ),
    ] {
        assert_eq!(printed(text), canonical, "{text}");
    }
}

#[test]
fn every_error_says_where_what_and_in_ovns_words() {
    for (text, offset, message) in [
        ("xyzzy;", 0, "Syntax error at `xyzzy' expecting action."),
        (";", 0, "Syntax error at `;'."),
        ("drop; next;", 6, "Syntax error at `next' expecting end of input."),
        ("next; drop;", 6, "Syntax error at `drop' expecting action."),
        ("output", 6, "Syntax error at end of input expecting `;'."),
        ("output; garbage;", 8, "Syntax error at `garbage' expecting action."),
        ("next();", 5, "Syntax error at `)' expecting \"pipeline\" or \"table\"."),
        ("next(10;", 7, "Syntax error at `;' expecting `)'."),
        ("next(35);", 8, "\"next\" action cannot advance beyond table 35."),
        ("next(pipeline=egress, table=29);", 31, "\"next\" action cannot advance beyond table 29."),
        (
            "next(table=ingress, pipeline=egress);",
            11,
            "Syntax error at `ingress' expecting small integer.",
        ),
        ("ip.proto = 6;", 11, "Field ip.proto is not modifiable."),
        ("eth.type = 0x800;", 11, "Field eth.type is not modifiable."),
        ("ct.new = 1;", 9, "Field ct.new is not modifiable."),
        ("ct_mark = 1;", 10, "Field ct_mark is not modifiable."),
        ("ct_commit { reg0 = 1; };", 19, "Field reg0 is not modifiable."),
        ("ip4 = 1;", 4, "Predicate symbol ip4 used where lvalue required."),
        ("tcp.dst = 0x10000;", 17, "17-bit constant is not compatible with 16-bit field tcp.dst."),
        ("inport = 5;", 10, "String field inport is not compatible with integer constant."),
        ("reg0 = \"a\";", 10, "Integer field reg0 is not compatible with string constant."),
        ("reg0 = $as;", 7, "Syntax error at `$as' expecting address set name."),
        ("reg0 = ^var;", 7, "Unexpanded template."),
        ("^var;", 0, "Unexpanded template."),
        ("reg0[0] = vlan.pcp;", 18, "Can't assign 3-bit value to 1-bit destination."),
        ("inport = reg0;", 13, "Can't assign integer field (reg0) to string field (inport)."),
        ("inport <-> reg0;", 15, "Can't exchange string field (inport) with integer field (reg0)."),
        ("reg0[0] <-> vlan.pcp;", 20, "Can't exchange 1-bit field with 3-bit field."),
        ("ip.proto = reg0[0..7];", 21, "Field ip.proto is not modifiable."),
        ("reg0[0..7] <-> ip.proto;", 23, "Field ip.proto is not modifiable."),
        ("reg0 == 1;", 0, "Syntax error at `reg0' expecting action."),
        ("pop(eth.type);", 12, "Field eth.type is not modifiable."),
        ("ct_next(foo);", 8, "\"ct_next\" action accepts only \"dnat\" or \"snat\" parameter."),
        ("ct_dnat(foo);", 8, "Syntax error at `foo' expecting IPv4 or IPv6 address."),
        ("ct_dnat(1.2.3.4/24);", 8, "Syntax error at `1.2.3.4/24' expecting IPv4 or IPv6 address."),
        (
            "ct_dnat(1.2.3.4, 5-4);",
            19,
            "Syntax error at `4' range high should be greater than range low.",
        ),
        ("ct_dnat(1.2.3.4, 0);", 17, "Syntax error at `0' range can't be 0."),
        ("ct_lb_mark(backends=fd0f::2:80x);", 20, "Invalid numeric constant."),
        ("ct_lb_mark(foo);", 11, "Syntax error at `foo' expecting backends."),
        (
            "ct_lb_mark(backends=[1.2.3.4]:80);",
            21,
            "Syntax error at `1.2.3.4' expecting IPv6 address.",
        ),
        (
            "reg0[0..14] = select(1, 2);",
            14,
            "cannot use 15-bit field reg0[0..14] for \"select\", which requires at least 16 bits.",
        ),
        ("reg0 = select(1);", 16, "Syntax error at `;' expecting at least 2 group members."),
        ("reg0 = select(1=0, 2);", 17, "Syntax error at `,' weight can't be 0."),
        ("reg0 = select(1=65536, 2);", 16, "Syntax error at `65536' expecting weight."),
        (
            "get_arp(outport, ip6.dst);",
            24,
            "Cannot use 128-bit field ip6.dst[0..127] where 32-bit field is required.",
        ),
        (
            "get_arp(reg0, ip4.dst);",
            12,
            "Cannot use numeric field reg0 where string field is required.",
        ),
        (
            "get_arp(outport, inport);",
            23,
            "Cannot use string field inport where numeric field is required.",
        ),
        (
            "reg0 = lookup_arp(inport, arp.spa, arp.sha);",
            7,
            "Cannot use 32-bit field reg0[0..31] where 1-bit field is required.",
        ),
        (
            "reg0[0] = put_dhcp_opts(router = 10.0.0.1);",
            42,
            "put_dhcp_opts requires offerip to be specified.",
        ),
        (
            "reg0[0] = put_dhcp_opts(x = 1.1.1.1);",
            24,
            "Syntax error at `x' expecting DHCPv4 option name.",
        ),
        (
            "reg0[0] = put_dhcp_opts(offerip = \"xyzzy\");",
            41,
            "DHCPv4 option offerip requires numeric value.",
        ),
        (
            "reg0[0] = put_dhcpv6_opts(domain_search = 1.1.1.1);",
            49,
            "DHCPv6 option domain_search requires string value.",
        ),
        (
            "reg0[0] = put_nd_ra_opts(addr_mode = \"slaac\", prefix = aef0::/64);",
            65,
            "slla option not present",
        ),
        (
            "reg0[0] = put_nd_ra_opts(addr_mode = \"slaac\", slla = ae:01:02:03:04:05);",
            71,
            "prefix option needs to be set when address mode is slaac/dhcpv6_stateless.",
        ),
        (
            "reg0[0] = put_nd_ra_opts(addr_mode = \"maybe\", slla = ae:01:02:03:04:05);",
            71,
            "Invalid value for \"addr_mode\" option",
        ),
        ("reg0[0] = dns_lookup(foo);", 21, "dns_lookup doesn't take any parameters"),
        ("reg0[0] = chk_lb_hairpin(foo);", 25, "chk_lb_hairpin doesn't take any parameters"),
        ("log(verdict=bad);", 12, "Syntax error at `bad' unknown verdict."),
        ("log(verdict=drop, severity=foo);", 27, "Syntax error at `foo' unknown severity."),
        ("log();", 5, "Syntax error at `;' expecting verdict."),
        ("log(foo);", 4, "Syntax error at `foo'."),
        ("set_queue(61441);", 16, "Queue ID 61441 for set_queue is not in valid range 0 to 61440."),
        ("set_meter(0);", 12, "Rate 0 for set_meter is not in valid."),
        ("trigger_event(event = \"x\");", 22, "Syntax error at `\"x\"' Unknown event '-1'."),
        (
            "trigger_event(event = \"empty_lb_backends\", vip = \"10:80\");",
            57,
            "Invalid load balancer VIP '10:80'",
        ),
        (
            "trigger_event(event = \"empty_lb_backends\", protocol = \"aarp\");",
            61,
            "Load balancer protocol 'aarp' is not 'tcp', 'udp', or 'sctp'",
        ),
        (
            "trigger_event(event = \"empty_lb_backends\", load_balancer = \"x\");",
            63,
            "Load balancer 'x' is not a UUID",
        ),
        ("sample();", 8, "probability must be greater than zero"),
        ("sample(probability=0);", 21, "probability must be greater than zero"),
        ("sample(probability=10,foo=bar);", 22, "Syntax error at `foo' unknown argument."),
        (
            "sample(probability=10,obs_domain=300);",
            33,
            "Syntax error at `300' obs_domain must be 8-bit long.",
        ),
        (
            "commit_lb_aff(vip = \"1.1.1.1:8080\", backend = \"[::1]:8080\", proto = tcp, timeout = 30);",
            46,
            "Syntax error at `\"[::1]:8080\"' invalid protocol family.",
        ),
        ("clone {", 7, "Syntax error at end of input."),
        ("clone { output };", 15, "Syntax error at `}' expecting `;'."),
    ] {
        let error = match read(text) {
            Ok(actions) => panic!("{text} reads as {actions}"),
            Err(error) => error,
        };
        assert_eq!((error.offset, error.to_string()), (offset, message.to_owned()), "{text}");
    }
}

#[test]
fn actions_ask_for_what_they_need_of_a_packet() {
    for (text, prerequisites) in [
        ("output;", None),
        ("next;", None),
        ("tcp.dst = 80;", Some("tcp")),
        ("ip4.src <-> ip4.dst;", Some("ip4")),
        ("ip.ttl--;", Some("ip")),
        ("ct_next;", Some("ip")),
        ("ct_commit { ct_mark = 1; };", Some("ip")),
        ("ct_lb_mark;", Some("ip")),
        ("vlan.vid = 5;", Some("vlan.present")),
        ("arp { ip4.src = 1.2.3.4; output; };", Some("ip")),
        ("nd_na { output; };", Some("nd_ns")),
        ("icmp4 { tcp.dst = 5; output; };", Some("ip4")),
        ("icmp6_error { output; };", Some("ip6")),
        ("tcp_reset { output; };", Some("tcp")),
        ("clone { tcp.dst = 5; output; };", Some("tcp")),
        ("clone { output; };", None),
        ("reject { output; };", None),
        ("put_arp(inport, arp.spa, arp.sha);", Some("arp && arp")),
        ("reg0[0] = dns_lookup();", Some("udp")),
        (
            "reg0[0] = put_nd_ra_opts(addr_mode = \"dhcpv6_stateful\", slla = ae:01:02:03:04:05);",
            Some("ip6"),
        ),
    ] {
        let meaning = |expr: ovn_xdp_logical::expr::Expr| expr.annotate().expr().to_string();
        let found = read(text).unwrap().prerequisites.map(meaning);
        let wanted = prerequisites
            .map(|text| meaning(ovn_xdp_logical::parse::parse(text, Symbols::flow()).unwrap()));
        let terms = |text: Option<String>| {
            let mut terms: Vec<String> =
                text.iter().flat_map(|t| t.split(" && ").map(str::to_owned)).collect();
            terms.sort();
            terms.dedup();
            terms
        };
        assert_eq!(terms(found), terms(wanted), "{text}");
    }
}

#[test]
fn blocks_nest_thirty_one_deep_and_no_deeper() {
    let nested = |depth| format!("{}output;{}", "clone{".repeat(depth), "};".repeat(depth));
    read(&nested(31)).unwrap();
    let error = read(&nested(32)).unwrap_err().to_string();
    assert_eq!(error, "maximum depth of nested actions reached");
    read(&"clone{".repeat(100_000)).unwrap_err();
}

#[test]
fn the_largest_pipelines_of_any_version_are_accepted() {
    read_at("next;", Position::new(Pipeline::Ingress, 33)).unwrap();
    read_at("next(28);", Position::new(Pipeline::Egress, 3)).unwrap();
    read_at("next;", Position::new(Pipeline::Ingress, 34)).unwrap_err();
    read_at("ct_next;", Position::new(Pipeline::Ingress, 34)).unwrap();
    let error = read_at("ct_next;", Position::new(Pipeline::Ingress, 35)).unwrap_err();
    assert_eq!(error.to_string(), "\"ct_next\" action not allowed in last table.");
}

#[test]
fn a_masked_load_keeps_its_mask() {
    let actions = read("reg0 = 0x10/0xf0;").unwrap();
    let [Action::Load { to, value }] = &actions.list[..] else { panic!("{actions:?}") };
    assert_eq!(to.slice(), ovn_xdp_datapath::field::reg(0));
    assert_eq!((value.value, value.mask), (0x10, Some(0xf0)));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn no_mutilated_action_makes_the_reader_panic(
        which in 0..CANONICAL.len(),
        cut in any::<prop::sample::Index>(),
        put in "[]{}();=<>\\-\"$@^0-9a-f:.,/ ]{0,4}",
    ) {
        let text = CANONICAL[which];
        let cut = cut.index(text.len());
        let mutilated = format!("{}{put}{}", &text[..cut], &text[(cut + 1).min(text.len())..]);
        if let Ok(actions) = read(&mutilated) {
            let printed = actions.to_string();
            let again = read(&printed);
            prop_assert_eq!(again.as_ref().map(ToString::to_string), Ok(printed.clone()), "{}", mutilated);
        }
    }
}

#[test]
fn what_actions_need_has_a_name_in_both_tables_of_symbols() {
    for name in ["ip", "ip4", "ip6", "tcp", "udp", "sctp", "nd_ns"] {
        for symbols in [Symbols::flow(), Symbols::acl_ct_translation()] {
            assert!(symbols.get(name).is_some_and(|symbol| symbol.predicate.is_some()), "{name}");
        }
    }
}
