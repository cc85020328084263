//! Database files: read as a server would read them, and refused where they are damaged.

use std::path::Path;

use ovn_xdp_ovsdb::client::{Client, Event, State};
use ovn_xdp_ovsdb::condition::{Clause, Conditions};
use ovn_xdp_ovsdb::file::{FileDatabase, FileError};
use ovn_xdp_ovsdb::remote::Remote;
use ovn_xdp_ovsdb::transact::{TransactError, Transaction};
use proptest::prelude::*;
use serde_json::json;

use crate::database::{Peer, replicated};
use crate::follower::{Follower, config, failure, within_a_minute};
use crate::server::{DATABASE, SCHEMA, Server, run, text};
use crate::walk::operations;

async fn read_and_compare(transactions: Vec<Vec<serde_json::Value>>, options: &[String]) {
    let mut server = Server::stopped(options);
    run("ovsdb-tool", &["create", text(&server.file()), SCHEMA]);
    server.start();
    let mut peer = Peer::connect(&server.socket());
    for operations in transactions {
        peer.transact(&operations);
    }
    let expected = peer.content(None);
    for compacted in [false, true] {
        if compacted {
            server.control(&["ovsdb-server/compact"]);
        }
        let mut follower = Follower::spawn(config(vec![Remote::File(server.file())]));
        follower.initial().await;
        assert_eq!(replicated(&follower.client), expected, "compacted: {compacted}");
        assert_eq!(follower.client.status().state, State::File);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_file_holds_what_its_server_says(
        transactions in prop::collection::vec(operations(), 1..30),
    ) {
        within_a_minute(read_and_compare(transactions, &[]));
    }

    #[test]
    fn a_file_of_whole_values_holds_what_its_server_says(
        transactions in prop::collection::vec(operations(), 1..30),
    ) {
        within_a_minute(read_and_compare(transactions, &["--disable-file-column-diff".to_owned()]));
    }
}

fn recorded() -> Vec<u8> {
    let server = Server::standalone();
    let mut peer = Peer::connect(&server.socket());
    for name in ["a", "b"] {
        peer.must(&[json!({"op": "insert", "table": "Address_Set",
                           "row": {"name": name, "addresses": ["set", ["192.0.2.1", name]]}})]);
    }
    std::fs::read(server.file()).expect("the database file")
}

fn parse(bytes: &[u8]) -> Result<FileDatabase, FileError> {
    FileDatabase::parse(Path::new("db"), bytes, DATABASE, &[])
}

#[test]
fn a_changed_byte_anywhere_is_found_and_a_short_file_is_told_where_it_ends() {
    let good = recorded();
    assert_eq!(parse(&good).expect("a good file").replica.len("Address_Set"), 2);
    let tail = good.len() - 900;
    for at in (0..300).chain(tail..good.len()) {
        let mut bad = good.clone();
        // Another character, of another case too.
        bad[at] = if bad[at] == b'!' { b'?' } else { b'!' };
        let Err(error) = parse(&bad) else { panic!("byte {at} may be anything") };
        assert!(error.to_string().starts_with("db, at byte "), "{error}");
    }
    let mut whole = 0;
    for length in tail..good.len() {
        match parse(&good[..length]) {
            Ok(_) => whole += 1,
            Err(error) => assert!(error.to_string().contains("at byte"), "{error}"),
        }
    }
    assert!(whole <= 2, "only a file that ends between records is whole");
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let good = recorded();
    proptest!(|(at in prop::collection::vec((0..good.len(), any::<u8>()), 0..8), cut in 0..good.len())| {
        let mut bytes = good.clone();
        for (at, byte) in at {
            bytes[at] = byte;
        }
        let _ = parse(&bytes[..cut]);
    });
}

#[test]
fn a_file_of_a_cluster_is_refused_with_the_way_out() {
    within_a_minute(async {
        let server = Server::stopped(&[]);
        let raft = format!("unix:{}", text(&server.path("raft")));
        run("ovsdb-tool", &["create-cluster", text(&server.file()), SCHEMA, &raft]);
        let client = Client::spawn(config(vec![Remote::File(server.file())]));
        let reason = failure(&client).await;
        assert!(reason.contains("a clustered database file; connect to its server"), "{reason}");
        assert!(reason.contains("ovsdb-tool cluster-to-standalone"), "{reason}");
    });
}

#[test]
fn a_missing_file_and_one_of_another_database_are_named() {
    within_a_minute(async {
        let server = Server::standalone();
        let client = Client::spawn(config(vec![Remote::File(server.path("none"))]));
        assert!(failure(&client).await.contains("none: No such file"));
        let mut other = config(vec![Remote::File(server.file())]);
        other.database = "OVN_Northbound".to_owned();
        let reason = failure(&Client::spawn(other)).await;
        assert!(reason.ends_with("expected a database OVN_Northbound, found OVN_Southbound"));
    });
}

#[test]
fn a_file_is_followed_like_a_server_that_never_changes() {
    within_a_minute(async {
        let server = Server::stopped(&[]);
        std::fs::write(server.file(), recorded()).expect("a file");
        let mut follower = Follower::spawn(config(vec![Remote::File(server.file())]));
        assert_eq!(follower.initial().await.len(), 2);
        let only_a = Conditions::any([Clause::equal("name", "a")]);
        let generation = follower.client.set_conditions("Address_Set", only_a);
        let event = follower.event().await;
        assert!(matches!(event, Event::Changes(changes) if changes.len() == 1));
        follower.settle(generation).await;
        assert_eq!(follower.client.replica().len("Address_Set"), 1);
        let mut transaction = Transaction::new();
        transaction.delete("Address_Set", &[]);
        let error = follower.client.transact(transaction).await.expect_err("a file");
        assert!(matches!(&error, TransactError::ReadOnly { .. }));
        assert!(error.to_string().contains("is a database file, which is read only"), "{error}");
    });
}
