//! The operator's manual says what the program says.

use ovn_xdp_abi::drop::DropReason;

#[test]
fn every_reason_for_a_drop_has_its_line_in_the_manual_and_the_manual_has_no_other() {
    let manual = include_str!("../docs/drops.md");
    let rows: Vec<Vec<&str>> = manual
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
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
