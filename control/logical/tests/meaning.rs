//! Clauses mean what the expression means, for every packet; and so does what is printed.

use ovn_xdp_datapath::classify::{Clause, Domain, Masked, SetId, Sets, SharedSet, Values};
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_logical::annotate::Annotated;
use ovn_xdp_logical::clauses::ClauseError;
use ovn_xdp_logical::evaluate::evaluate;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::resolve::{Resolve, SetError};
use ovn_xdp_logical::set::{fit, member};
use ovn_xdp_logical::symbol::Symbols;
use proptest::prelude::*;
use std::collections::HashMap;

/// Knows ports `p1` to `p3`, the group `pg`, and some sets.
#[derive(Default)]
struct Names {
    known: HashMap<(String, u32), SharedSet>,
    sets: Sets,
}

impl Names {
    fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, name: &str, domain: Domain, members: Vec<Masked>) -> SharedSet {
        let width = if let Domain::Width(width) = domain { width } else { 0 };
        let next = self.known.len() as u32;
        let set = SharedSet { id: SetId(next), domain };
        let set = *self.known.entry((name.to_owned(), width.into())).or_insert(set);
        for member in members {
            self.sets.insert(set, member);
        }
        set
    }
}

impl Resolve for Names {
    fn port(&mut self, name: &str) -> Option<u32> {
        match name {
            "p1" => Some(1),
            "p2" => Some(2),
            "p3" => Some(3),
            _ => None,
        }
    }

    fn address_set(&mut self, name: &str, width: u32) -> Result<SharedSet, SetError> {
        let members = self.address_list(name, width)?;
        Ok(self.set(name, Domain::Width(width as u8), members))
    }

    fn address_list(&mut self, name: &str, width: u32) -> Result<Vec<Masked>, SetError> {
        let texts: &[&str] = match name {
            "v4" => &["10.0.0.1", "10.0.0.2", "192.168.0.0/16"],
            "one" => &["10.0.0.1"],
            "mac" => &["0a:00:00:00:00:01"],
            "v6" => &["fd00::1", "fd00::/64"],
            "empty" => &[],
            _ => return Err(SetError::Unknown),
        };
        texts.iter().filter_map(|text| member(text)).map(|number| fit(&number, width)).collect()
    }

    fn has_no_members(&mut self, name: &str) -> bool {
        self.address_list(name, 128).is_ok_and(|list| list.is_empty())
    }

    fn port_group(&mut self, name: &str) -> Option<SharedSet> {
        let key = |value| Masked { value, mask: u32::MAX.into() };
        let domain = Domain::Ports(DatapathKey::new(1)?);
        (name == "pg").then(|| self.set(name, domain, vec![key(2), key(3)]))
    }

    fn is_chassis_resident(&mut self, port: &str) -> bool {
        port == "here"
    }
}

fn annotated(text: &str) -> Annotated {
    parse(text, Symbols::flow()).unwrap_or_else(|error| panic!("{text}: {error}")).annotate()
}

fn clauses(text: &str) -> Vec<Clause> {
    annotated(text).clauses(&mut Names::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Comparisons over few values, so that packets hit often.
fn leaf() -> impl Strategy<Value = String> {
    let relation = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let equality = || prop::sample::select(vec!["==", "!="]);
    prop_oneof![
        (
            prop::sample::select(vec![
                "tcp.dst",
                "udp.src",
                "ip4.src[0..3]",
                "reg0[0..3]",
                "vlan.vid"
            ]),
            relation(),
            0..12u32
        )
            .prop_map(|(field, relation, value)| format!("{field} {relation} {value}")),
        (
            prop::sample::select(vec!["tcp.dst", "ip4.dst", "reg0", "reg1[4..7]", "eth.src"]),
            equality(),
            prop::collection::vec(0..12u32, 1..4)
        )
            .prop_map(|(field, relation, values)| {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("{field} {relation} {{{}}}", values.join(", "))
            }),
        (
            prop::sample::select(vec!["ip4.src", "ip4.dst"]),
            equality(),
            prop::sample::select(vec![
                "$v4",
                "$one",
                "$empty",
                "{$one, 10.0.0.2}",
                "10.0.0.0/8",
                "10.0.0.1/0.0.0.255",
                "{10.0.0.1, 192.168.0.0/16}",
                "0/0"
            ])
        )
            .prop_map(|(field, relation, set)| format!("{field} {relation} {set}")),
        (prop::sample::select(vec![
            "ip4.src < $v4",
            "ip4.dst[0..15] <= $one",
            "ip4.src > $one",
            "$v4 <= ip4.dst",
            "ip6.src >= $one",
            "0 < ip4.src < $v4"
        ]))
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "ct.new",
            "ct.est",
            "ct.trk",
            "!ct.new",
            "!ct.est && ct.rel",
            "eth.mcast",
            "eth.bcast",
            "!eth.bcast",
            "reg0[1]",
            "!reg0[2]",
            "vlan.present",
            "!vlan.present",
            "ip.is_frag",
            "!ip.is_frag",
            "ip.first_frag",
            "ip4.mcast",
            "!ip4.src_mcast",
            "flags.loopback",
            "1",
            "0",
            "is_chassis_resident(\"here\")",
            "!is_chassis_resident(\"there\")",
            "eth.src[0..7] == $mac",
            "ip6.src == $v6",
            "ip6.src != $one",
            "1 <= reg0[0..3] < 6",
            "3 > ip4.dst[0..3] >= 1",
            "reg0[0..3] == 5/6",
        ])
        .prop_map(str::to_owned),
    ]
}

/// What may not stand behind `!`.
fn nominal() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "ip4",
        "ip6",
        "ip",
        "tcp",
        "udp",
        "arp",
        "icmp",
        "nd",
        "ip.proto == {6, 17}",
        "eth.type == 0x800",
        "inport == \"p1\"",
        "inport == {\"p1\", \"p2\", \"gone\"}",
        "outport == \"gone\"",
        "outport == \"none\"",
        "inport == @pg",
        "ip.ttl == 255",
    ])
    .prop_map(str::to_owned)
}

fn expression() -> impl Strategy<Value = String> {
    let negatable = leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|list| format!(
                "({})",
                list.iter().map(|e| format!("({e})")).collect::<Vec<_>>().join(" && ")
            )),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|list| format!(
                "({})",
                list.iter().map(|e| format!("({e})")).collect::<Vec<_>>().join(" || ")
            )),
            inner.prop_map(|e| format!("!({e})")),
        ]
    });
    let operand = prop_oneof![3 => negatable, 1 => nominal()];
    (prop::collection::vec(operand, 1..4), any::<bool>()).prop_map(|(list, and)| {
        let list: Vec<String> = list.iter().map(|e| format!("({e})")).collect();
        list.join(if and { " && " } else { " || " })
    })
}

/// Packets over the values that the expressions mention.
fn packet() -> impl Strategy<Value = Context> {
    (
        prop::sample::select(vec![0x800u128, 0x800, 0x86dd, 0x806, 0]),
        prop::sample::select(vec![6u128, 6, 17, 1, 58]),
        prop::sample::select(vec![0x0a00_0001u128, 0x0a00_0002, 0xc0a8_0105, 3, 11, 0xe000_0001]),
        prop::sample::select(vec![0x0a00_0001u128, 0x0a00_0002, 0xc0a8_0105, 3, 11, 0xe000_0001]),
        (0..12u128, 0..12u128, 0..256u128),
        (0..16u128, 0..16u128, 0..2u128),
        (0..4u128, 0..4u128, 0..4u128),
        prop::sample::select(vec![1u128, 5, 0x0a00_0000_0001, 0xffff_ffff_ffff, 0x0100_5e00_0001]),
        (any::<bool>(), 0..12u128, prop::sample::select(vec![255u128, 64])),
    )
        .prop_map(
            |(
                ty,
                proto,
                src,
                dst,
                (sport, dport, ct),
                (r0, r1, fl),
                (inp, outp, frag),
                mac,
                (v6, vid, ttl),
            )| {
                let mut context = Context::default();
                for (slice, value) in [
                    (field::ETH_TYPE, ty),
                    (field::IP_PROTO, proto),
                    (field::IP_TTL, ttl),
                    (field::IP4_SRC, src),
                    (field::IP4_DST, dst),
                    (field::TP_SRC, sport),
                    (field::TP_DST, dport),
                    (field::CT_STATE, ct),
                    (field::reg(0), r0),
                    (field::reg(1), r1 << 4),
                    (field::FLAGS, fl),
                    (field::INPORT, inp),
                    (field::OUTPORT, outp),
                    (field::IP_FRAG, frag),
                    (field::ETH_DST, mac),
                    (field::ETH_SRC, mac),
                    (field::VLAN_TCI, if ttl == 64 { vid | 0x1000 } else { 0 }),
                ] {
                    context.set(slice, value);
                }
                if v6 {
                    context.set(field::IP6_SRC, 0xfd00 << 112 | 1);
                }
                context
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn clauses_match_exactly_the_packets_that_the_expression_matches(
        text in expression(),
        packets in prop::collection::vec(packet(), 24),
    ) {
        let expr = annotated(&text);
        let mut names = Names::new();
        let clauses = match expr.clauses(&mut names) {
            Ok(clauses) => clauses,
            Err(ClauseError::TooMany) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{text}: {error}"))),
        };
        for packet in &packets {
            let matched = clauses.iter().any(|clause| clause.matches(packet, &names.sets));
            let sets = names.sets.clone();
            let wanted = evaluate(&expr, packet, &mut names, &sets);
            prop_assert_eq!(matched, wanted, "{}\n{:?}\n{:?}", text, clauses, packet);
        }
    }

    #[test]
    fn what_is_printed_has_the_same_meaning(
        text in expression(),
        packets in prop::collection::vec(packet(), 8),
    ) {
        let read = parse(&text, Symbols::flow()).unwrap();
        let printed = read.to_string();
        let again = match parse(&printed, Symbols::flow()) {
            Ok(again) => again,
            Err(error) => return Err(TestCaseError::fail(format!("{printed}: {error}"))),
        };
        prop_assert_eq!(again.to_string(), printed);
        let (read, again) = (read.annotate(), again.annotate());
        for packet in &packets {
            let mut names = Names::new();
            names.port_group("pg");
            let sets = names.sets.clone();
            prop_assert_eq!(
                evaluate(&read, packet, &mut names, &sets),
                evaluate(&again, packet, &mut names, &sets)
            );
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z0-9.$@^\"{}()<>=!&|, \\[\\]]{0,40}") {
        if let Ok(expr) = parse(&text, Symbols::flow()) {
            let _ = expr.annotate().clauses(&mut Names::new());
        }
    }
}

#[test]
fn a_set_is_one_literal_however_it_is_written() {
    for text in [
        "reg0 == {1, 2, 3}",
        "reg0 == 1 || reg0 == 2 || reg0 == 3",
        "(reg0 == 1 || reg0 == 3) || reg0 == {2, 3}",
    ] {
        let [clause] = &clauses(text)[..] else { panic!("{text}") };
        let [literal] = &clause.0[..] else { panic!("{text}: {clause:?}") };
        assert_eq!(literal.field(), field::reg(0));
        assert_eq!(literal.list().iter().map(|m| m.value).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(!literal.negated());
    }
}

#[test]
fn sets_of_two_fields_are_not_multiplied() {
    let found = clauses("ip4.src == $v4 && ip4.dst == {1.1.1.1, 2.2.2.2} && tcp.dst == {80, 443}");
    let [clause] = &found[..] else { panic!("{found:?}") };
    assert_eq!(clause.0.len(), 5, "with eth.type and ip.proto: {clause:?}");
    assert!(clause.0.iter().any(|l| matches!(l.values(), Values::Shared(_))));
}

#[test]
fn the_same_set_has_the_same_number() {
    let mut names = Names::new();
    let mut set = |text| {
        let clauses = annotated(text).clauses(&mut names).unwrap();
        clauses[0].0.iter().find(|l| l.field() == field::IP4_SRC).unwrap().clone()
    };
    assert_eq!(set("ip4.src == $v4"), set("ip4.src == $v4 && tcp"));
}

#[test]
fn unequal_is_one_negated_literal() {
    let found = clauses("ip4.src != {1.1.1.1, 2.2.2.0/24}");
    let [clause] = &found[..] else { panic!("{found:?}") };
    let literal = clause.0.iter().find(|l| l.field() == field::IP4_SRC).unwrap();
    assert!(literal.negated());
    assert_eq!(literal.list().len(), 2);
}

#[test]
fn a_range_is_one_literal_of_prefixes() {
    let found = clauses("1024 <= reg0 <= 4095");
    let [clause] = &found[..] else { panic!("{found:?}") };
    let [literal] = &clause.0[..] else { panic!("{clause:?}") };
    assert!(!literal.negated() && literal.list().len() <= 4, "{literal:?}");
}

#[test]
fn constants_fold() {
    let always = |text| matches!(&clauses(text)[..], [clause] if clause.0.is_empty());
    for text in [
        "1",
        "0 || 1",
        "reg0 == 0/0",
        "reg0 >= 0",
        "is_chassis_resident(\"here\")",
        // Nothing is compared, so nothing is presupposed.
        "ip4.src != $empty",
        "ip4.src != {$empty, $empty}",
        "!(ip4.src == $empty)",
        "ip4.src != $empty || ip4.src == 10.0.0.1",
        "tcp || (ip4.dst != $empty && 1)",
    ] {
        assert!(always(text), "{text}");
    }
    for text in [
        "0",
        "ip4 && ip6",
        "ip6 && ip4.src != {$empty, $one}",
        "tcp && udp",
        "reg0 == 1 && reg0 == 2",
        "reg0 < 0",
        "inport == \"gone\"",
        "reg0 == 1 && reg0 != 1",
        "ct.new && !ct.new",
        "!is_chassis_resident(\"here\") && ip4",
    ] {
        assert_eq!(clauses(text), [], "{text}");
    }
}

#[test]
fn register_bits_become_the_narrowest_slice() {
    let found = clauses("reg0[4..7] == 5 && ct.est");
    let fields: Vec<_> = found[0].0.iter().map(|l| l.field()).collect();
    assert!(fields.contains(&field::reg(0).bits(4, 7).unwrap()), "{fields:?}");
}

#[test]
fn members_of_a_set_fit_the_field_as_in_ovn() {
    let wide = annotated("ip4.src == $v6").clauses(&mut Names::new()).unwrap_err();
    assert_eq!(
        wide.to_string(),
        "128-bit constant in address set v6 is not compatible with 32-bit field ip4.src."
    );
    // An IPv4 address is an integer to a wider field.
    let mut names = Names::new();
    let found = annotated("ip6.src == $one").clauses(&mut names).unwrap();
    let literal = found[0].0.iter().find(|l| l.field() == field::IP6_SRC).unwrap();
    let Values::Shared(one) = literal.values() else { panic!("{literal:?}") };
    assert!(names.sets.contains(one, 0x0a00_0001) && !names.sets.contains(one, 0x0a00_0002));
}

#[test]
fn unknown_names_of_sets_are_errors_and_of_ports_are_false() {
    let error = |text| annotated(text).clauses(&mut Names::new()).unwrap_err().to_string();
    assert_eq!(error("ip4.src == $gone"), "Syntax error at `$gone' expecting address set name.");
    assert_eq!(
        error("0 && ip4.src == $gone"),
        "Syntax error at `$gone' expecting address set name."
    );
    assert_eq!(error("inport == @gone"), "Syntax error at `@gone' expecting port group name.");
    assert_eq!(clauses("inport == \"gone\" || inport == \"p2\"").len(), 1);
}

#[test]
fn an_order_with_a_set_is_one_with_all_its_members_as_in_ovn() {
    let mut names = Names::new();
    let mut value = |text: &str, source| {
        let mut packet = Context::default();
        packet.set(field::ETH_TYPE, 0x800);
        packet.set(field::IP4_SRC, source);
        let clauses = annotated(text).clauses(&mut names).unwrap();
        clauses.iter().any(|clause| clause.matches(&packet, &names.sets))
    };
    // 10.0.0.1, 10.0.0.2 and 192.168.0.0/16.
    for (text, source, holds) in [
        ("ip4.src < $v4", 0x0a00_0000, true),
        ("ip4.src < $v4", 0x0a00_0001, false),
        ("ip4.src > $v4", 0xc0a8_0001, false),
        ("ip4.src > $v4", 0xc0a9_0000, true),
        ("ip4 && !(ip4.src > $v4)", 0xc0a8_0001, true),
        ("ip4 && !(ip4.src > $v4)", 0xc0a9_0000, false),
    ] {
        assert_eq!(value(text, source), holds, "{text} of {source:#x}");
    }
    let refused = |text| annotated(text).clauses(&mut Names::new()).unwrap_err().to_string();
    assert_eq!(
        refused("ip4.src < $empty"),
        "Only == and != operators may be used to compare a field against an empty value set."
    );
    assert!(refused("ip6.src[0..63] < $v6").contains("masked constants"));
}

#[test]
fn a_product_beyond_the_limit_is_an_error_that_says_so() {
    let pair = |i: u32| format!("(reg{i} == 1 || eth.src == {i})");
    let text: Vec<String> = (0..10).map(pair).collect();
    clauses(&text.join(" && "));
    let text: Vec<String> =
        (0..10).map(|i| format!("(reg{i} == 1 || eth.src[0..15] == 1 || eth.dst[{i}])")).collect();
    let error = annotated(&text.join(" && ")).clauses(&mut Names::new()).unwrap_err();
    assert_eq!(error, ClauseError::TooMany);
    assert!(error.to_string().contains("4096"), "{error}");
}
