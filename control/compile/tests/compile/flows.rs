//! Every flow that a real ovn-northd wrote compiles.

use crate::recorded;

use ovn_xdp_compile::check;
use ovn_xdp_compile::check::check_with;
use std::collections::BTreeSet;

#[test]
fn every_recorded_flow_compiles() {
    for name in recorded::ALL {
        let report = check(&recorded::rows(name));
        assert!(report.flows > 100, "{name}: {}", report.flows);
        let skipped: Vec<String> = report.skipped.iter().map(ToString::to_string).collect();
        assert!(skipped.is_empty(), "{name}:\n{}", skipped.join("\n"));
        assert!(report.bad_rows.is_empty(), "{name}: {:?}", report.bad_rows);
    }
}

#[test]
fn flows_with_actions_that_are_not_executed_are_listed_with_the_names_of_the_actions() {
    let report = check(&recorded::rows("stateful"));
    let names: BTreeSet<&str> =
        report.not_executed.iter().flat_map(|flow| flow.names.iter().copied()).collect();
    for expected in
        ["ct_next", "ct_commit", "ct_lb_mark", "put_dhcp_opts", "log", "reject", "arp", "icmp4"]
    {
        assert!(names.contains(expected), "{expected} is not in {names:?}");
    }
    for executed in ["get_arp", "put_arp", "nd_na", "lookup_nd", "chk_lb_aff", "clone"] {
        assert!(!names.contains(executed), "{executed} is in {names:?}");
    }
}

#[test]
fn the_report_of_a_check_is_text_for_people_and_json_for_programs() {
    let report = check(&recorded::rows("stateful"));
    let text = report.to_string();
    let json = serde_json::to_value(&report).unwrap();
    assert!(text.contains("flows that do not compile: 0"), "{text}");
    assert_eq!(json["flows"], report.flows);
    let first = &json["not_executed"][0];
    assert!(text.contains(first["flow"]["uuid"].as_str().unwrap()));
}

#[test]
fn a_check_counts_what_there_is_and_is_clean_only_if_all_of_it_works() {
    for name in recorded::ALL {
        let rows = recorded::rows(name);
        let mut seen = Vec::new();
        let report = check_with(&rows, |done, all| seen.push((done, all)));
        assert_eq!(report.flows, rows.len("Logical_Flow"));
        assert_eq!(seen.first(), Some(&(0, report.flows)));
        assert_eq!(seen.last(), Some(&(report.flows, report.flows)));
        let rules: usize = report.tables.values().map(|of| of.rules).sum();
        assert_eq!(rules, report.rules);
        assert!(report.expressions <= report.flows && report.programs <= report.rules);
        let bytes = report.bytes;
        assert!([bytes.tables, bytes.matches, bytes.programs].iter().all(|it| *it > 0));
        let works = report.skipped.is_empty() && report.not_executed.is_empty();
        assert_eq!(report.is_clean(), works, "{name}");
        assert!(!works || name != "stateful");
    }
}
