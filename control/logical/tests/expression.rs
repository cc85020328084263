//! Matches read, print and fail as OVN's do (EX-G1 to EX-G14, EX-E1 to EX-E19).

use ovn_xdp_datapath::field;
use ovn_xdp_logical::expr::Expr;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::symbol::{Definitions, Level, SymbolError, Symbols, Writable};
use ovn_xdp_logical::template;

fn read(text: &str) -> Expr {
    match parse(text, Symbols::flow()) {
        Ok(expr) => expr,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn refused(text: &str) -> (usize, String) {
    match parse(text, Symbols::flow()) {
        Ok(expr) => panic!("{text} reads as {expr}"),
        Err(error) => (error.offset, error.to_string()),
    }
}

#[test]
fn a_match_prints_in_canonical_notation() {
    for (text, printed) in [
        ("1", "1"),
        ("0||1", "0 || 1"),
        ("ip4.src == 10.0.0.1", "ip4.src == 0xa000001"),
        ("10.0.0.0/8 == ip4.src", "ip4.src[24..31] == 0xa"),
        ("ip4.src == 10.0.0.1/255.0.0.255", "ip4.src == 0xa000001/0xff0000ff"),
        ("tcp.dst == {80, 443}", "tcp.dst == {0x50, 0x1bb}"),
        ("tcp.dst == {80 443}", "tcp.dst == {0x50, 0x1bb}"),
        ("tcp.dst != {80, 443,}", "tcp.dst != {0x50, 0x1bb}"),
        ("!(tcp.dst == {80, 443})", "tcp.dst != {0x50, 0x1bb}"),
        ("5 < tcp.dst", "tcp.dst > 0x5"),
        ("1024 <= tcp.dst < 2048", "tcp.dst >= 0x400 && tcp.dst < 0x800"),
        ("2048 > tcp.dst > 0", "tcp.dst < 0x800 && tcp.dst > 0"),
        ("!(tcp.dst < 5)", "tcp.dst >= 0x5"),
        ("ip4", "ip4"),
        ("ct.new && !ct.rel", "ct.new && !ct.rel"),
        ("reg0[7]", "reg0[7]"),
        ("reg0[7] == 0", "!reg0[7]"),
        ("!reg0[4..8]", "reg0[4..8] == 0"),
        ("!reg0", "reg0 == 0"),
        ("(ip4 && tcp) && udp", "ip4 && tcp && udp"),
        ("ip4 && (tcp || udp)", "ip4 && (tcp || udp)"),
        ("((((ip4))))", "ip4"),
        ("!(ct.new && ct.est)", "!ct.new || !ct.est"),
        ("inport == \"a\\\"b\"", "inport == \"a\\\"b\""),
        ("inport == {\"a\", \"b\"}", "inport == {\"a\", \"b\"}"),
        ("inport == @pg1 && ip4.src == $as1", "inport == @pg1 && ip4.src == $as1"),
        ("ip4.src != {$as1, 1.2.3.4}", "ip4.src != 0x1020304 && ip4.src != $as1"),
        ("ip4.src == {$as1, 1.2.3.4}", "ip4.src == 0x1020304 || ip4.src == $as1"),
        ("eth.src[0..15] == $macs", "eth.src[0..15] == $macs"),
        ("$as1 > ip4.src", "ip4.src < $as1"),
        ("!(ip4.src[0..7] < $as1)", "!(ip4.src[0..7] < $as1)"),
        ("is_chassis_resident(\"lrp\")", "is_chassis_resident(\"lrp\")"),
        ("!is_chassis_resident(\"lrp\")", "!is_chassis_resident(\"lrp\")"),
        ("ip4.dst == 0/0", "ip4.dst == 0x0/0x0"),
        ("eth.dst[40]", "eth.dst[40]"),
        ("!(eth.type != 0x800)", "eth.type == 0x800"),
        ("__inport[31]", "__inport[31]"),
        ("vlan.vid == 5", "vlan.vid == 0x5"),
        ("eth.type == 0x1234 && reg9 == 0xffffffff", "eth.type == 0x1234 && reg9 == 0xffffffff"),
    ] {
        let expr = read(text);
        assert_eq!(expr.to_string(), printed, "{text}");
        assert_eq!(read(printed).to_string(), printed, "{text}");
    }
}

#[test]
fn every_error_says_where_what_and_in_ovns_words() {
    for (text, offset, message) in [
        ("", 0, "Syntax error at end of input expecting constant."),
        ("xyzzy", 0, "Syntax error at `xyzzy' expecting field name."),
        ("ip4.src == $", 11, "`$' must be followed by a valid identifier."),
        ("ip4 && tcp || udp", 11, "&& and || must be parenthesized when used together."),
        ("ip4 || tcp && udp", 11, "&& and || must be parenthesized when used together."),
        ("ip4 &&", 6, "Syntax error at end of input expecting constant."),
        ("&& ip4", 0, "Syntax error at `&&' expecting constant."),
        ("ip4.src ==", 10, "Syntax error at end of input expecting constant."),
        ("tcp.dst == xyz", 11, "Syntax error at `xyz' expecting constant."),
        ("1 == xyz", 5, "Syntax error at `xyz' expecting field name."),
        ("5", 1, "Syntax error at end of input expecting relational operator."),
        ("{0}", 3, "Syntax error at end of input expecting relational operator."),
        ("0x1", 3, "Syntax error at end of input expecting relational operator."),
        ("inport", 6, "Syntax error at end of input expecting relational operator."),
        ("reg0[7] = 1", 8, "Syntax error at `=' expecting relational operator."),
        ("ip4.src == ::1", 14, "128-bit constant is not compatible with 32-bit field ip4.src."),
        (
            "reg0[0..7] == 0x1ffffffff",
            25,
            "33-bit constant is not compatible with 32-bit field reg0.",
        ),
        ("inport == 5", 11, "String field inport is not compatible with integer constant."),
        ("tcp.dst == \"a\"", 14, "Integer field tcp.dst is not compatible with string constant."),
        ("inport == {\"a\", 5}", 16, "Syntax error at `5' expecting string."),
        ("tcp.dst == {5, \"a\"}", 15, "Syntax error at `\"a\"' expecting integer."),
        ("tcp.dst < {1, 2}", 16, "Only == and != operators may be used with value sets."),
        ("ip4.src < {$as}", 15, "Only == and != operators may be used with value sets."),
        ("ip.proto > 6", 12, "Only == and != operators may be used with nominal field ip.proto."),
        ("eth.bcast < 1", 13, "Only == and != operators may be used with Boolean field eth.bcast."),
        (
            "eth.type != 0x800",
            17,
            "Nominal field eth.type may only be tested for equality (taking enclosing `!' operators \
             into account).",
        ),
        (
            "!(ip.proto == 6)",
            15,
            "Nominal field ip.proto may only be tested for equality (taking enclosing `!' operators \
             into account).",
        ),
        (
            "!ip4",
            4,
            "Nominal predicate ip4 may only be tested positively, e.g. `ip4' or `ip4 == 1' but not \
             `!ip4' or `ip4 == 0'.",
        ),
        (
            "inport != \"a\"",
            13,
            "Nominal field inport may only be tested for equality (taking enclosing `!' operators \
             into account).",
        ),
        (
            "tcp.dst",
            7,
            "Explicit `!= 0' is required for inequality test of multibit field against 0.",
        ),
        ("!tcp.dst == 80", 14, "Missing parentheses around operand of !."),
        ("inport[0..3] == 1", 7, "Cannot select subfield of string field inport."),
        ("reg0[8..7] == 0", 11, "Invalid bit range 8 to 7."),
        ("reg0[0..32] == 0", 12, "Cannot select bits 0 to 32 of 32-bit field reg0."),
        ("ip.ttl[0..3] == 0", 13, "Cannot select subfield of nominal field ip.ttl."),
        ("reg0[x] == 0", 5, "Syntax error at `x' expecting small integer."),
        ("reg0[0", 6, "Syntax error at end of input expecting `]'."),
        ("ip4.src == {}", 12, "Syntax error at `}' expecting constant."),
        ("(ip4", 4, "Syntax error at end of input expecting `)'."),
        ("ip4)", 3, "Syntax error at `)' expecting end of input."),
        ("ip4 tcp", 4, "Syntax error at `tcp' expecting end of input."),
        ("ip4.src == {1.2.3.4", 19, "Syntax error at end of input expecting constant."),
        ("ip4.src == ^vip", 11, "Unexpanded template."),
        ("^vip", 0, "Unexpanded template."),
        ("foo(\"x\")", 0, "parsing function name"),
        ("is_chassis_resident(x)", 20, "Syntax error at `x' expecting string."),
        ("is_chassis_resident(\"x\"", 23, "Syntax error at end of input expecting `)'."),
        ("tcp.dst & 1", 8, "`&' is only valid as part of `&&'."),
        ("icmp4.frag_mtu == 5", 19, "Field icmp4.frag_mtu can only be assigned, not matched."),
    ] {
        assert_eq!(refused(text), (offset, message.to_owned()), "{text}");
    }
    assert!(refused("1 < tcp.dst > 2").1.starts_with("Range expressions must have the form"));
    assert!(refused("1 == tcp.dst == 2").1.starts_with("Range expressions must have the form"));
    let masked = refused("eth.src > 00:00:00:00:11:11/00:00:00:00:ff:ff").1;
    assert!(masked.starts_with("Only == and != operators may be used with masked constants."));
}

#[test]
fn a_hundred_parentheses_are_accepted_and_one_more_is_not() {
    let nested = |depth| format!("{}ip4{}", "(".repeat(depth), ")".repeat(depth));
    read(&nested(100));
    assert_eq!(refused(&nested(101)).1, "Parentheses nested too deeply.");
    assert_eq!(refused(&"(".repeat(100_000)).1, "Parentheses nested too deeply.");
}

#[test]
fn annotation_adds_prerequisites_once_and_outside_of_not() {
    for (text, annotated) in [
        ("ip4.src == 1.2.3.4", "ip4.src == 0x1020304 && eth.type == 0x800"),
        ("!(ip4.src == 1.2.3.4)", "ip4.src != 0x1020304 && eth.type == 0x800"),
        (
            "ip4.src == 1.2.3.4 || ip4.src == 5.6.7.8",
            "(ip4.src == 0x1020304 || ip4.src == 0x5060708) && eth.type == 0x800",
        ),
        ("tcp", "ip.proto == 0x6 && (eth.type == 0x800 || eth.type == 0x86dd)"),
        ("ct.est", "ct_state[1] && ct_state[5]"),
        ("!ct.est", "!ct_state[1] && ct_state[5]"),
        ("reg0[3] == 1", "xxreg0[99]"),
        ("reg9[0..7] == 9", "xreg4[0..7] == 0x9"),
        ("vlan.vid == 7", "vlan.tci[0..11] == 0x7 && vlan.tci[12]"),
        ("flags.loopback", "flags[0]"),
        ("eth.mcast", "eth.dst[40]"),
        (
            "tcp.dst == 80",
            "tcp.dst == 0x50 && ip.proto == 0x6 && (eth.type == 0x800 || eth.type == 0x86dd)",
        ),
        ("!ip.is_frag", "!ip.frag[0] || (eth.type != 0x800 && eth.type != 0x86dd)"),
    ] {
        let expr = read(text).annotate();
        assert_eq!(expr.expr().to_string(), annotated, "{text}");
    }
}

#[test]
fn a_symbol_that_needs_itself_is_refused() {
    let mut definitions = Definitions::default();
    definitions.field("a", field::PKT_MARK, Level::Ordinal, Some("a != 0"), Writable::Packet);
    assert_eq!(definitions.finish().unwrap_err(), SymbolError::Recursive("a"));

    let mut definitions = Definitions::default();
    definitions
        .field("a", field::PKT_MARK, Level::Ordinal, Some("b != 0"), Writable::Packet)
        .field("b", field::FLAGS, Level::Ordinal, Some("a != 0"), Writable::Packet);
    let error = definitions.finish().unwrap_err().to_string();
    assert_eq!(error, "Recursive expansion of symbol `a'.");

    let mut definitions = Definitions::default();
    definitions.field("a", field::PKT_MARK, Level::Ordinal, Some("nothing"), Writable::Packet);
    assert_eq!(
        definitions.finish().unwrap_err().to_string(),
        "Error parsing expression `nothing' encountered as prerequisite or predicate of initial \
         expression: Syntax error at `nothing' expecting field name."
    );
}

#[test]
fn the_levels_of_measurement_are_those_of_ovn() {
    let level = |name: &str| Symbols::flow().get(name).unwrap().level;
    for name in ["eth.type", "ip.proto", "ip.ttl", "ip.dscp", "icmp4.type", "arp.op", "inport"] {
        assert_eq!(level(name), Level::Nominal, "{name}");
    }
    for name in ["ip4", "ip", "tcp", "icmp", "nd", "arp", "ip6.mcast_all_nodes"] {
        let expected = match name {
            "ip6.mcast_all_nodes" => Level::Boolean,
            _ => Level::Nominal,
        };
        assert_eq!(level(name), expected, "{name}");
    }
    for name in ["ip4.src", "eth.dst", "reg5", "ct.new", "vlan.vid", "tcp.flags", "arp.spa"] {
        assert_eq!(level(name), Level::Ordinal, "{name}");
    }
    for name in ["vlan.present", "eth.bcast", "ip.is_frag", "ip.first_frag"] {
        assert_eq!(level(name), Level::Boolean, "{name}");
    }
}

#[test]
fn registers_overlap_as_the_datapath_lays_them_out() {
    for n in 0..10 {
        let symbol = Symbols::flow().get(&format!("reg{n}")).unwrap();
        assert_eq!(symbol.slice, field::reg(n), "reg{n}");
    }
    for n in 0..5 {
        let symbol = Symbols::flow().get(&format!("xreg{n}")).unwrap();
        assert_eq!(symbol.slice, field::xreg(n), "xreg{n}");
    }
}

#[test]
fn acls_with_ct_translation_read_ports_from_the_connection() {
    let symbols = Symbols::acl_ct_translation();
    let expr = parse("tcp.dst == 80", symbols).unwrap().annotate();
    assert_eq!(
        expr.expr().to_string(),
        "tcp.dst == 0x50 && ct_state[5] && !ct_state[4] && ct_state[5] && ct_proto == 0x6 && \
         ct_state[5]"
    );
    assert_eq!(symbols.get("tcp.dst").unwrap().slice, field::CT_TP_DST);
}

#[test]
fn a_match_lists_what_it_depends_on() {
    let expr = read(
        "inport == {\"a\", \"b\"} && (ip4.src == $as || outport == @pg) \
         && !is_chassis_resident(\"cr-a\")",
    );
    let found = expr.references();
    assert_eq!(found.ports.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(found.address_sets.into_iter().collect::<Vec<_>>(), ["as"]);
    assert_eq!(found.port_groups.into_iter().collect::<Vec<_>>(), ["pg"]);
    assert_eq!(found.residents.into_iter().collect::<Vec<_>>(), ["cr-a"]);
}

#[test]
fn template_variables_are_replaced_before_reading() {
    let value = |name: &str| match name {
        "vip" => Some("10.0.0.1"),
        "vip2" => Some("10.0.0.2"),
        _ => None,
    };
    let expand = |text| template::expand(text, value).map(std::borrow::Cow::into_owned);
    assert_eq!(expand("ip4.dst == ^vip").unwrap(), "ip4.dst == 10.0.0.1");
    assert_eq!(expand("{^vip, ^vip2}").unwrap(), "{10.0.0.1, 10.0.0.2}");
    assert_eq!(expand("no variable").unwrap(), "no variable");
    let error = expand("ip4.dst == ^gone").unwrap_err();
    assert_eq!(error.offset, 11);
    assert!(error.to_string().starts_with("Template variable gone has no value"), "{error}");
}
