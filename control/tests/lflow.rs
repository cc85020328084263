//! Matches and actions print as OVN 26.03 prints them, errors included: our answers are compared
//! with those of its `ovstest test-ovn`, which `scripts/record-ovstest` keeps.

use ovn_xdp_control::lflow::{Given, Layout, Lflow, Step};

/// Where we differ on purpose, and why.
const DIFFERENT: [(&str, &str); 2] = [
    ("beyond table 35", "OVN's main branch has a table more than 26.03"),
    ("hash_fields", "OVN passes over whatever stands behind the fields; we do not guess"),
];

fn lflow() -> Lflow {
    Lflow::new(Given { ovstest: true, table: 10, ..Given::default() }).unwrap()
}

fn answers(step: &Step, cases: &str) -> String {
    let mut output = Vec::new();
    lflow().answer_all(step, cases.as_bytes(), &mut output, std::io::sink()).unwrap();
    String::from_utf8(output).unwrap()
}

fn compare(step: &Step, recorded: &str) {
    let cases = include_str!("ovstest/expressions");
    let ours = answers(step, cases);
    assert_eq!(ours.lines().count(), recorded.lines().count());
    assert!(cases.lines().count() > 300);
    for ((case, ours), ovn) in cases.lines().zip(ours.lines()).zip(recorded.lines()) {
        assert_eq!(ours, ovn, "{case}");
    }
}

#[test]
fn a_match_reads_as_in_ovn() {
    compare(&Step::Parse, include_str!("ovstest/parse-expr"));
}

#[test]
fn a_match_gets_its_prerequisites_as_in_ovn() {
    compare(&Step::Annotate, include_str!("ovstest/annotate-expr"));
}

#[test]
fn a_match_is_simplified_as_in_ovn() {
    compare(&Step::Simplify, include_str!("ovstest/simplify-expr"));
}

#[test]
fn a_match_is_normalized_as_in_ovn() {
    compare(&Step::Normalize, include_str!("ovstest/normalize-expr"));
}

/// The answers to actions, one for each text, however many lines it has.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with("    ") => *block += &format!("\n{line}"),
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

#[test]
fn actions_read_and_print_as_in_ovn() {
    let cases = include_str!("ovstest/actions");
    let ours = blocks(&answers(&Step::Actions(Layout::Ovstest), cases));
    let ovn = blocks(include_str!("ovstest/parse-actions"));
    assert_eq!(ours.len(), ovn.len());
    assert!(ours.len() > 300);
    let differ: Vec<String> = ours
        .iter()
        .zip(&ovn)
        .filter(|(ours, ovn)| ours != ovn)
        .filter(|(ours, _)| !DIFFERENT.iter().any(|(text, _)| ours.contains(text)))
        .map(|(ours, ovn)| format!("ours: {ours}\n ovn: {ovn}\n"))
        .collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.concat());
}

#[test]
fn one_line_holds_the_actions_and_what_they_need() {
    let step = Step::Actions(Layout::Line);
    assert_eq!(lflow().answer(&step, "ip.ttl -- ;next ;").text, "ip.ttl--; next; has prereqs ip");
    assert_eq!(lflow().answer(&step, "output;").text, "output;");
    let wrong = lflow().answer(&step, "output; nxt;");
    assert_eq!((&*wrong.text, wrong.place), ("Syntax error at `nxt' expecting action.", Some(8)));
}

#[test]
fn a_packet_is_described_by_one_match_and_tested_by_others() {
    let lflow = lflow();
    let packet = lflow.microflow("ip4 && tcp.dst == 80 && inport == \"3\"").unwrap();
    for (case, holds) in [
        ("tcp.dst == {80, 443}", "1"),
        ("ip6 || tcp.dst > 80", "0"),
        ("inport == \"3\" && ip", "1"),
        ("ip4 &&", "Syntax error at end of input expecting constant."),
    ] {
        assert_eq!(lflow.answer(&packet, case).text, holds, "{case}");
    }
    let ambiguous = lflow.microflow("tcp.dst == 80").unwrap_err().to_string();
    assert!(ambiguous.starts_with("Constraints are ambiguous: tcp.dst == 0x50 && "), "{ambiguous}");
    let never = lflow.microflow("ip4 && ip6").unwrap_err();
    assert_eq!(never.to_string(), "Constraints are contradictory.");
}

#[test]
fn a_wrong_option_is_named_with_what_it_must_be() {
    let given = Given { ports: vec!["vm1".into()], ..Given::default() };
    let wrong = Lflow::new(given).unwrap_err();
    assert_eq!(wrong.to_string(), "--port vm1: expected NAME=TUNNEL_KEY");
}
