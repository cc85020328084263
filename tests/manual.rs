//! The operator's manual says what the program says.

use std::collections::BTreeSet;

use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_abi::map::Counter;
use ovn_xdp_port::statistics::WorkerStatistics;

const MANUAL: &str = include_str!("../docs/drops.md");
const OUTSIDE: &str = "## Lost outside the pipelines";

fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_reason_for_a_drop_has_its_line_in_the_manual_and_the_manual_has_no_other() {
    let (reasons, _) = MANUAL.split_once(OUTSIDE).unwrap();
    let rows = rows(reasons);
    let expected: Vec<[String; 2]> = DropReason::ALL
        .iter()
        .map(|reason| [format!("`{}`", reason.label()), reason.description().trim().to_owned()])
        .collect();
    let found: Vec<[String; 2]> =
        rows.iter().map(|row| [row[0].to_owned(), row[1].to_owned()]).collect();
    assert_eq!(found, expected);
    for row in rows {
        assert!(row.len() == 3 && row[2].len() > 20, "{} says nothing to do: {row:?}", row[0]);
    }
}

#[test]
fn every_label_of_a_loss_outside_the_pipelines_has_its_line_in_the_manual_and_there_is_no_other() {
    let (_, outside) = MANUAL.split_once(OUTSIDE).unwrap();
    let told: BTreeSet<&str> = rows(outside).iter().map(|row| row[0].trim_matches('`')).collect();
    let worker = WorkerStatistics::default();
    let kernel = Counter::LOSSES.iter().map(|counter| counter.label());
    let counted: BTreeSet<&str> = worker.losses().map(|(label, _)| label).chain(kernel).collect();
    assert_eq!(told, counted);
    assert_eq!(worker.losses().count(), 8, "a label that no number has");
}
