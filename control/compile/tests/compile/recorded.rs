//! Databases that a real ovn-northd wrote, see `tests/fixtures/record.sh`.

use ovn_xdp_compile::check::insertions;
use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_ovsdb::file::FileDatabase;
use ovn_xdp_ovsdb::monitor::Wanted;
use ovn_xdp_ovsdb::replica::{Change, Replica};
use std::path::Path;

/// All recordings.
pub const ALL: [&str; 3] = ["stateless", "nested", "stateful"];

/// The rows of a recording.
pub fn rows(name: &str) -> Replica {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.db"));
    let wanted: Vec<Wanted> =
        monitored().into_iter().map(|(table, columns)| Wanted::columns(table, columns)).collect();
    FileDatabase::read(&path, "OVN_Southbound", &wanted).unwrap().replica
}

/// The rows of a recording as insertions, in an order that does not change.
pub fn changes(name: &str) -> Vec<Change> {
    let mut changes = insertions(&rows(name));
    changes.sort_by(|a, b| (&a.table, a.row).cmp(&(&b.table, b.row)));
    changes
}
