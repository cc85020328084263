use super::*;
use ovn_xdp_ovsdb::value::Datum;
use proptest::prelude::*;
use std::collections::HashSet;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

struct Router;

impl Names for Router {
    fn port(&self, _: DatapathKey, port: PortKey) -> Option<(Uuid, Arc<str>)> {
        (port.get() < 100).then(|| (Uuid::from_u128(9), Arc::from(format!("lrp{port}"))))
    }

    fn is_localnet(&self, _: DatapathKey, port: PortKey) -> bool {
        port.get() == 50
    }
}

fn neighbour(address: u128, mac: Mac) -> Learned {
    Learned::Neighbour {
        datapath: DatapathKey::new(1).unwrap(),
        port: PortKey::new(1).unwrap(),
        family: Family::V4,
        address,
        mac,
    }
}

fn binding(ip: &str, mac: &str) -> Row {
    Row::made(
        "MAC_Binding",
        [
            ("logical_port", Datum::from("lrp1")),
            ("ip", Datum::from(ip)),
            ("mac", Datum::from(mac)),
            ("timestamp", Datum::from(1000)),
        ],
    )
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn facts_wait_for_company_and_go_out_together() {
    let mut learning = Learning::new(true, true);
    learning.learned(neighbour(0x0a000001, MAC), at(0), at(20));
    learning.learned(neighbour(0x0a000002, MAC), at(5), at(20));
    assert_eq!(learning.deadline(), Some(at(20)));
    assert!(learning.take(at(19), at(0), &Router).is_empty());
    let operations = learning.take(at(20), at(77), &Router);
    assert_eq!(operations.len(), 2);
    assert_eq!(operations[0]["row"]["ip"], "10.0.0.1");
    assert_eq!(operations[0]["row"]["logical_port"], "lrp1");
    assert_eq!(operations[0]["row"]["mac"], "02:00:00:00:00:01");
    assert_eq!(operations[0]["row"]["timestamp"], 77);
}

#[test]
fn no_fact_waits_longer_than_fifty_milliseconds() {
    let mut learning = Learning::default();
    learning.learned(neighbour(1, MAC), at(0), at(5000));
    assert_eq!(learning.deadline(), Some(DELAY));
}

#[test]
fn what_the_database_says_already_is_skipped_and_another_mac_is_an_update() {
    let mut learning = Learning::new(true, true);
    learning.binding_row(Uuid::from_u128(5), Some(&binding("10.0.0.1", "02:00:00:00:00:01")));
    learning.learned(neighbour(0x0a000001, MAC), at(0), at(0));
    assert!(learning.take(at(0), at(0), &Router).is_empty());
    learning.learned(neighbour(0x0a000001, [2, 0, 0, 0, 0, 9]), at(0), at(0));
    let operations = learning.take(at(0), at(0), &Router);
    assert_eq!(operations[0]["op"], "update");
    assert_eq!(operations[0]["row"]["mac"], "02:00:00:00:00:09");
}

#[test]
fn a_table_without_timestamps_is_written_without() {
    let mut learning = Learning::new(false, false);
    learning.learned(neighbour(1, MAC), at(0), at(0));
    let operations = learning.take(at(0), at(0), &Router);
    assert!(operations[0]["row"].get("timestamp").is_none());
}

#[test]
fn a_mac_address_that_moved_is_an_update_of_the_fdb() {
    let mut learning = Learning::new(true, true);
    let row = Row::made(
        "FDB",
        [
            ("mac", Datum::from("02:00:00:00:00:01")),
            ("dp_key", Datum::from(3)),
            ("port_key", Datum::from(4)),
        ],
    );
    learning.fdb_row(Uuid::from_u128(6), Some(&row));
    let fact = |port| Learned::Fdb {
        datapath: DatapathKey::new(3).unwrap(),
        port: PortKey::new(port).unwrap(),
        mac: MAC,
    };
    learning.learned(fact(4), at(0), at(0));
    assert!(learning.take(at(0), at(0), &Router).is_empty());
    learning.learned(fact(5), at(0), at(0));
    let operations = learning.take(at(0), at(0), &Router);
    assert_eq!(operations[0]["op"], "update");
    assert_eq!(operations[0]["row"]["port_key"], 5);
}

#[test]
fn a_refused_batch_is_tried_one_by_one_and_given_up_after_a_few_times() {
    let mut learning = Learning::default();
    learning.learned(neighbour(1, MAC), at(0), at(0));
    learning.learned(neighbour(2, MAC), at(0), at(0));
    assert_eq!(learning.take(at(0), at(0), &Router).len(), 2);
    learning.written(false);
    for _ in 0..2 * (ATTEMPTS - 1) {
        assert_eq!(learning.take(at(0), at(0), &Router).len(), 1);
        learning.written(false);
    }
    assert_eq!((learning.waiting(), learning.deadline()), (0, None));
}

#[test]
fn nothing_is_lost_when_the_connection_goes_while_a_transaction_is_under_way() {
    let mut learning = Learning::default();
    learning.learned(neighbour(1, MAC), at(0), at(0));
    assert_eq!(learning.take(at(0), at(0), &Router).len(), 1);
    learning.interrupted();
    assert_eq!(learning.take(at(9), at(0), &Router).len(), 1);
}

#[test]
fn a_binding_in_use_is_refreshed_but_not_with_every_packet() {
    let mut learning = Learning::new(true, true);
    learning.binding_row(Uuid::from_u128(5), Some(&binding("10.0.0.1", "02:00:00:00:00:01")));
    let used = Learned::NeighbourUsed {
        datapath: DatapathKey::new(1).unwrap(),
        port: PortKey::new(1).unwrap(),
        family: Family::V4,
        address: 0x0a000001,
        mac: MAC,
    };
    learning.learned(used, at(0), at(0));
    assert!(learning.take(at(0), at(11_000), &Router).is_empty());
    learning.learned(used, at(0), at(0));
    let operations = learning.take(at(0), at(11_001), &Router);
    assert_eq!(operations[0]["row"], serde_json::json!({ "timestamp": 11_001 }));
}

proptest! {
    /// However much the workers report, the queue is bounded, no transaction holds more than a
    /// batch, and every distinct fact that was accepted is written exactly once.
    #[test]
    fn the_queue_is_bounded_and_every_accepted_fact_is_written_once(
        addresses in proptest::collection::vec(1..3000u128, 1..2500)
    ) {
        let mut learning = Learning::default();
        for address in &addresses {
            learning.learned(neighbour(*address, MAC), at(0), at(0));
            prop_assert!(learning.waiting() <= QUEUE);
        }
        let distinct: HashSet<u128> = addresses.iter().copied().collect();
        let mut written = 0;
        loop {
            let operations = learning.take(at(1), at(0), &Router);
            if operations.is_empty() {
                break;
            }
            prop_assert!(operations.len() <= BATCH);
            written += operations.len();
            learning.written(true);
        }
        prop_assert_eq!(written, distinct.len().min(QUEUE));
    }
}

fn seen(port: u16, mac: Mac) -> Learned {
    Learned::Fdb { datapath: DatapathKey::new(1).unwrap(), port: PortKey::new(port).unwrap(), mac }
}

fn fdb(port: i64) -> Row {
    let mac = ("mac", Datum::from("02:00:00:00:00:01"));
    Row::made("FDB", [mac, ("dp_key", Datum::from(1)), ("port_key", Datum::from(port))])
}

#[test]
fn the_address_of_a_workload_is_not_taken_away_by_its_own_frame_coming_back_from_outside() {
    let row = Uuid::from_u128(5);
    for (known, port, written) in [(2, 50, 0), (50, 2, 1), (2, 3, 1), (3, 3, 0)] {
        let mut learning = Learning::new(true, true);
        learning.fdb_row(row, Some(&fdb(known)));
        learning.learned(seen(port, MAC), at(0), at(0));
        let operations = learning.take(at(0), at(0), &Router);
        assert_eq!(operations.len(), written, "from {known} to {port}");
    }
}

/// What a daemon on a file does with what is due.
fn remember(learning: &mut Learning, now: Duration) -> usize {
    let changes = learning.remember(now, &Router);
    for change in &changes {
        match &*change.table {
            "MAC_Binding" => learning.binding_row(change.row, change.new.as_ref()),
            "FDB" => learning.fdb_row(change.row, change.new.as_ref()),
            table => panic!("{table}"),
        }
    }
    changes.len()
}

#[test]
fn on_a_file_what_was_learned_is_remembered_and_an_address_that_moves_is_followed() {
    let mut learning = Learning::default();
    learning.binding_row(Uuid::from_u128(5), Some(&binding("10.0.0.1", "02:00:00:00:00:01")));
    learning.learned(neighbour(0x0a000001, MAC), at(0), at(10));
    assert_eq!(remember(&mut learning, at(9)), 0, "not due");
    assert_eq!(remember(&mut learning, at(10)), 0, "the file says so");
    learning.learned(neighbour(0x0a000001, [2; 6]), at(20), at(0));
    learning.learned(neighbour(0x0a000002, MAC), at(20), at(0));
    learning.learned(seen(2, MAC), at(20), at(0));
    assert_eq!(remember(&mut learning, at(20)), 3);
    assert_eq!(learning.binding_rows.len(), 2, "the row of the file was changed, not doubled");
    learning.learned(seen(3, MAC), at(30), at(0));
    assert_eq!(remember(&mut learning, at(30)), 1);
    assert_eq!(learning.fdb.values().map(|(_, port)| *port).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_is_remembered_is_bounded_and_the_rest_is_counted() {
    let mut learning = Learning::default();
    for address in 0..u128::from(ROWS) + 7 {
        learning.learned(neighbour(address, MAC), at(0), at(0));
        remember(&mut learning, at(0));
    }
    assert_eq!((learning.binding_rows.len() as u64, learning.lost), (ROWS, 7));
}
