//! What anybody expects of a command, whatever it is about.

use std::path::Path;
use std::process::{Command, Stdio};

/// As `ovn-xdp … | head` does.
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/recorded/southbound.db");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    command.args(["check", "--db"]).arg(format!("file:{}", database.display()));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", output.status);
}
