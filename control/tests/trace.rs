//! A trace through a database of OVN 26.03 is what its `ovn-trace` says, line for line; both were
//! kept by `scripts/record-ovntrace`.

use ovn_xdp_compile::whole::Whole;
use ovn_xdp_control::contents;
use ovn_xdp_control::trace::{Question, in_network};
use std::path::Path;

#[test]
fn a_trace_through_a_database_of_ovn_26_03_is_what_its_ovn_trace_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ovntrace");
    let database = format!("file:{}", directory.join("southbound.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(contents::read(&database, None, false)).unwrap();
    let whole = Whole::new(client.replica());
    let recorded = std::fs::read_to_string(directory.join("traces")).unwrap();
    let mut compared = 0;
    for block in recorded.split("? ").filter(|block| !block.is_empty()) {
        let (arguments, theirs) = block.split_once('\n').unwrap();
        let arguments: Vec<String> = serde_json::from_str(arguments).unwrap();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let question = Question::parse(&arguments).unwrap();
        let answer = in_network(&whole, client.replica(), &question).unwrap();
        assert_eq!(answer.text, theirs, "{arguments:?}");
        compared += 1;
    }
    assert!(compared >= 40);
}
