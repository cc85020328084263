//! A machine that `scripts/install test` has prepared has every command that the tests call.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Commands of packages that every Debian has.
const ESSENTIAL: [&str; 5] = ["cat", "kill", "sleep", "taskset", "true"];

/// Calls whose first string is the name of a command.
const CALLS: [&str; 3] = ["Command::new(\"", ".command(\"", "run(\""];

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_command_that_the_tests_call_is_named_in_the_install_script() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(root.join("scripts/install")).unwrap();
    let (lists, _) = script.split_once("case ").unwrap();
    let named: BTreeSet<&str> = lists
        .split(|c: char| " \n()=".contains(c))
        .filter_map(|w| w.split_once(':'))
        .map(|w| w.0)
        .collect();
    assert!(named.contains("ovn-northd") && named.contains("ping"), "{named:?}");

    let mut texts = Vec::new();
    for folder in
        ["tests", "demo/src", "datapath/port/tests", "control/ovsdb/tests", "control/compile/tests"]
    {
        sources(&root.join(folder), &mut texts);
    }
    let mut called = BTreeSet::new();
    for text in &texts {
        for call in CALLS {
            for rest in text.split(call).skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                if name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(' ') {
                    called.insert(name);
                }
            }
        }
    }
    assert!(called.contains("ovn-trace") && called.contains("ip"), "{called:?}");
    // The demo, where it offers to install what `--live` needs.
    called.remove("apt-get");
    let missing: Vec<_> =
        called.iter().filter(|name| !named.contains(**name) && !ESSENTIAL.contains(name)).collect();
    assert!(missing.is_empty(), "not in scripts/install: {missing:?}");
}
