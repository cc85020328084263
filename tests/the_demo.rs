//! `ovn-xdp demo` does what it shows, leaves nothing behind, and says so by its status.

use std::process::Command;

fn demo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ovn-xdp")).arg("demo").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaints}");
    said
}

#[test]
fn the_demo_reaches_all_pairs_on_a_recorded_database() {
    let said = demo(&[]);
    assert!(said.contains("All 120 of 120 attempts got through."), "{said}");
    assert!(said.contains("802.1Q     tag 101"), "{said}");
    assert!(said.contains("option     class 0x0102, type 0x80"), "{said}");
}

#[test]
fn the_live_demo_adds_a_container_while_traffic_runs() {
    let said = demo(&["--live"]);
    assert!(said.contains("All 120 of 120 attempts got through."), "{said}");
    assert!(said.contains("first delivered packet"), "{said}");
    assert!(said.contains(" 0 lost"), "{said}");
}
