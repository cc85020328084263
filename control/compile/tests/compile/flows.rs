//! Every flow that a real ovn-northd wrote compiles.

use crate::recorded;

use ovn_xdp_compile::check;
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
