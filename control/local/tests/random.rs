//! Whatever transactions come, in whatever order: what is refused changed nothing, what is taken means
//! the same as a fresh start with the rows that are there, and the file has just these rows.

use ovn_xdp_local::Database;
use ovn_xdp_local::store::Store;
use ovn_xdp_local::transaction::{Operations, stage};
use ovn_xdp_ovsdb::replica::Change;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

#[path = "corpus/requests.rs"]
mod requests;

/// A switch with one port, which all sequences begin with.
fn switch() -> Value {
    json!([
        { "op": "insert", "table": "Datapath_Binding", "uuid": uuid("Datapath_Binding", 0),
          "row": { "tunnel_key": 1 } },
        { "op": "insert", "table": "Port_Binding", "uuid": uuid("Port_Binding", 0), "row": {
            "logical_port": "vm1", "tunnel_key": 1,
            "datapath": ["uuid", uuid("Datapath_Binding", 0)] } },
    ])
}

/// One of a few UUIDs of a table, so that operations meet.
fn uuid(table: &str, number: u8) -> String {
    format!("00000000-0000-4000-80{:02x}-{number:012x}", table.len())
}

fn reference(table: &'static str) -> impl Strategy<Value = Value> {
    (0..3u8).prop_map(move |number| json!(["uuid", uuid(table, number)]))
}

fn texts(all: &'static [&'static str]) -> impl Strategy<Value = Value> {
    subsequence(all, 0..=all.len()).prop_map(|some| json!(["set", some]))
}

fn flow() -> impl Strategy<Value = Value> {
    let matches = [
        "1",
        "ip4",
        "ip4.src == $a",
        "ip4.dst == {$a, $b} && tcp.dst == 80",
        "inport == \"vm1\"",
        "inport == \"vm2\" && ip4.src == 192.0.2.0/24",
        "inport == @g && udp",
        "ip4.src == ",
    ];
    let actions =
        ["drop;", "next;", "outport = \"vm1\"; output;", "outport = \"_MC_x\"; output;", "x;"];
    let home = prop_oneof![
        8 => reference("Datapath_Binding").prop_map(|row| ("logical_datapath", row)),
        1 => reference("Logical_DP_Group").prop_map(|row| ("logical_dp_group", row)),
    ];
    (home, 0..2u8, 0..3u16, select(matches.to_vec()), select(actions.to_vec()), any::<bool>())
        .prop_map(|((home, row), table, priority, matches, actions, egress)| {
            json!({ home: row, "table_id": table, "priority": priority, "match": matches,
                    "actions": actions, "pipeline": if egress { "egress" } else { "ingress" } })
        })
}

fn row() -> impl Strategy<Value = (&'static str, Value)> {
    const ADDRESSES: &[&str] = &["192.0.2.1", "192.0.2.2", "198.51.100.0/24", "2001:db8::1"];
    let datapath = (1..4u8).prop_map(|key| json!({ "tunnel_key": key }));
    let port = (select(vec!["vm1", "vm2", "vm3"]), reference("Datapath_Binding"), 1..4u8).prop_map(
        |(name, home, key)| json!({ "logical_port": name, "datapath": home, "tunnel_key": key }),
    );
    let group = (reference("Datapath_Binding"), reference("Port_Binding")).prop_map(|(home, port)| {
        json!({ "datapath": home, "name": "_MC_x", "tunnel_key": 32768, "ports": port })
    });
    let addresses = (select(vec!["a", "b"]), texts(ADDRESSES))
        .prop_map(|(name, addresses)| json!({ "name": name, "addresses": addresses }));
    let ports = (1..3u8, texts(&["vm1", "vm2"]))
        .prop_map(|(key, ports)| json!({ "name": format!("{key}_g"), "ports": ports }));
    let datapaths = reference("Datapath_Binding").prop_map(|row| json!({ "datapaths": row }));
    prop_oneof![
        1 => datapath.prop_map(|row| ("Datapath_Binding", row)),
        2 => port.prop_map(|row| ("Port_Binding", row)),
        1 => group.prop_map(|row| ("Multicast_Group", row)),
        2 => addresses.prop_map(|row| ("Address_Set", row)),
        1 => ports.prop_map(|row| ("Port_Group", row)),
        1 => datapaths.prop_map(|row| ("Logical_DP_Group", row)),
        8 => flow().prop_map(|row| ("Logical_Flow", row)),
    ]
}

fn operation() -> impl Strategy<Value = Value> {
    (row(), 0..3u8, 0..10u8).prop_map(|((table, row), number, kind)| {
        let uuid = uuid(table, number);
        let these = json!([["_uuid", "==", ["uuid", uuid]]]);
        match kind {
            0..5 => json!({ "op": "insert", "table": table, "uuid": uuid, "row": row }),
            5..8 => json!({ "op": "update", "table": table, "where": these, "row": row }),
            _ => json!({ "op": "delete", "table": table, "where": these }),
        }
    })
}

fn transactions() -> impl Strategy<Value = Vec<Value>> {
    let one = prop::collection::vec(operation(), 1..4).prop_map(Value::from);
    prop::collection::vec(one, 1..16).prop_map(|mut all| {
        all.insert(0, switch());
        all
    })
}

proptest! {
    #[test]
    fn what_runs_is_what_a_fresh_start_makes_of_the_same_rows(all in transactions()) {
        let stream: String = all
            .iter()
            .map(|operations| json!({ "method": "transact", "params": operations }).to_string())
            .collect();
        requests::requests(stream.as_bytes());
    }

    /// However many of them are written together.
    #[test]
    fn the_file_has_the_rows_that_are_there(all in transactions(), together in 1..5usize) {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("local.db");
        let (mut store, mut database) = Store::open(&path)?;
        for some in all.chunks(together) {
            let mut taken: Vec<Vec<Change>> = Vec::new();
            for operations in some {
                let staged = stage(&database, &Operations::from(operations), &|_, _| false);
                if let Ok(staged) = staged {
                    database.apply(&staged.changes);
                    taken.push(staged.changes);
                }
            }
            let taken: Vec<&[Change]> = taken.iter().map(|changes| &**changes).collect();
            store.append(&taken, &database)?;
        }
        let sorted = |database: &Database| {
            let mut rows = database.insertions();
            rows.sort_by_key(|change| change.row);
            rows
        };
        prop_assert_eq!(sorted(&Store::open(&path)?.1), sorted(&database));
    }
}
