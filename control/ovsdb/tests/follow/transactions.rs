//! Transactions: their results, and each way in which one can fail.

use ovn_xdp_ovsdb::client::{Client, State};
use ovn_xdp_ovsdb::condition::Clause;
use ovn_xdp_ovsdb::transact::{
    Mutator, Operand, OperationError, Outcome, Results, TransactError, Transaction, Until,
};
use ovn_xdp_ovsdb::value::Datum;

use crate::follower::{Follower, config, status, within_a_minute};
use crate::server::Server;

async fn connected(server: &Server) -> Client {
    let client = Client::spawn(config(vec![server.remote()]));
    status(&client, |status| status.state == State::Connected).await;
    client
}

async fn commit(
    client: &Client,
    fill: impl FnOnce(&mut Transaction),
) -> Result<Results, TransactError> {
    let mut transaction = Transaction::new();
    fill(&mut transaction);
    client.transact(transaction).await
}

async fn failed(client: &Client, fill: impl FnOnce(&mut Transaction)) -> TransactError {
    commit(client, fill).await.expect_err("the transaction cannot succeed")
}

fn operation_error(error: TransactError) -> OperationError {
    match error {
        TransactError::Operation { error, .. } | TransactError::Commit { error } => error,
        other => panic!("expected an operation's error, found {other}"),
    }
}

#[test]
fn rows_that_refer_to_each_other_are_inserted_together_and_read_back_typed() {
    within_a_minute(async {
        let server = Server::standalone();
        let client = connected(&server).await;
        let results = commit(&client, |tx| {
            let encaps: Vec<_> = ["192.0.2.1", "2001:db8::1"]
                .map(|ip| {
                    tx.insert(
                        "Encap",
                        [("type", "geneve"), ("ip", ip), ("chassis_name", "hv1")]
                            .map(|(column, text)| (column, Operand::from(text))),
                    )
                })
                .into();
            tx.insert(
                "Chassis",
                [
                    ("name", Operand::from("hv1")),
                    ("encaps", Operand::references(&encaps)),
                    ("external_ids", Operand::from(Datum::map([("k", "v")]))),
                ],
            );
            tx.comment("hv1 comes");
        })
        .await
        .expect("a good transaction");
        let uuids: Vec<_> = results.inserted().collect();
        assert_eq!(uuids.len(), 3);
        assert_eq!(results.0[3], Outcome::Done);

        let this = [Clause::row(uuids[2])];
        let results = commit(&client, |tx| {
            tx.mutate("Chassis", &this, [("nb_cfg", Mutator::Add, 3)]);
            let ids = Datum::map([("k", "new"), ("l", "w")]);
            tx.mutate("Chassis", &this, [("external_ids", Mutator::Insert, ids)]);
            tx.update("Chassis", &this, [("hostname", "host")]);
            tx.select("Chassis", &this, None);
        })
        .await
        .expect("a good transaction");
        assert_eq!(results.count(), 3);
        let row = &results.rows()[0];
        assert_eq!(row.uuid("_uuid"), Ok(uuids[2]));
        assert_eq!(row.integer("nb_cfg"), Ok(3));
        assert_eq!(row.string("hostname"), Ok("host"));
        let encaps: std::collections::BTreeSet<_> = row.uuids("encaps").expect("UUIDs").collect();
        assert_eq!(encaps, uuids[..2].iter().copied().collect());
        let ids: Vec<_> = row.map("external_ids").expect("a map").iter().collect();
        assert_eq!(ids, [(&"k".into(), &"v".into()), (&"l".into(), &"w".into())]);
    });
}

#[test]
fn each_way_to_fail_is_told_apart_and_nothing_is_done() {
    within_a_minute(async {
        let server = Server::standalone();
        let client = connected(&server).await;
        let set = |name: &'static str| [("name", name)];
        commit(&client, |tx| {
            tx.insert("Address_Set", set("a"));
        })
        .await
        .expect("a good transaction");

        let twice = failed(&client, |tx| {
            tx.insert("Address_Set", set("a"));
        });
        let twice = twice.await;
        assert!(matches!(twice, TransactError::Commit { .. }), "{twice}");
        assert!(matches!(operation_error(twice), OperationError::ConstraintViolation(_)));

        let dangling = failed(&client, |tx| {
            tx.insert("Chassis", [("name", "hv1")]);
        });
        assert!(matches!(operation_error(dangling.await), OperationError::ReferentialIntegrity(_)));

        let is_b = |tx: &mut Transaction| {
            let a = [Clause::equal("name", "a")];
            tx.wait("Address_Set", &a, Until::NotEqual, [vec![("name", "a")]], 0);
        };
        let timed_out = failed(&client, |tx| {
            tx.insert("Address_Set", set("b"));
            is_b(tx);
            tx.insert("Address_Set", set("c"));
        });
        let timed_out = timed_out.await;
        assert!(
            timed_out.to_string().starts_with("operation 1 (wait Address_Set): timed out: "),
            "{timed_out}"
        );

        let lock = failed(&client, |tx| tx.assert("somebody_elses")).await;
        assert!(matches!(operation_error(lock), OperationError::NotOwner(_)));

        let no_table = failed(&client, |tx| tx.delete("Nothing", &[])).await;
        assert!(no_table.to_string().contains("operation 0 (delete Nothing)"), "{no_table}");

        let results = commit(&client, |tx| tx.select("Address_Set", &[], Some(&["name"]))).await;
        assert_eq!(results.expect("a good transaction").rows().len(), 1);
    });
}

#[test]
fn a_transaction_without_a_server_fails_at_once_and_says_so() {
    within_a_minute(async {
        let mut server = Server::standalone();
        let mut follower = Follower::spawn(config(vec![server.remote()]));
        follower.initial().await;
        server.kill();
        follower.disconnected().await;
        let error = failed(&follower.client, |tx| tx.comment("hello")).await;
        assert!(matches!(&error, TransactError::Disconnected { sent: false, .. }), "{error}");
        assert!(error.to_string().starts_with("disconnected from the database: "), "{error}");
    });
}

#[test]
fn a_transaction_that_was_sent_to_a_server_that_dies_may_have_been_committed() {
    within_a_minute(async {
        let mut server = Server::standalone();
        let client = connected(&server).await;
        server.freeze();
        // Joined, so that the server dies only after the transaction was handed to the task.
        let transaction = failed(&client, |tx| tx.comment("hello"));
        let death = async {
            tokio::task::yield_now().await;
            server.kill();
        };
        let (error, ()) = tokio::join!(transaction, death);
        assert!(matches!(error, TransactError::Disconnected { .. }), "{error}");
    });
}

#[test]
fn many_transactions_at_once_get_their_own_answers() {
    within_a_minute(async {
        let server = Server::standalone();
        let client = connected(&server).await;
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let handle = client.handle().clone();
                tokio::spawn(async move {
                    let name = format!("set{number}");
                    let mut insert = Transaction::new();
                    insert.insert("Address_Set", [("name", name.as_str())]);
                    let results = handle.transact(insert).await.expect("a good transaction");
                    let uuid = results.inserted().next().expect("a UUID");
                    let mut select = Transaction::new();
                    select.select("Address_Set", &[Clause::row(uuid)], Some(&["name"]));
                    let results = handle.transact(select).await.expect("a good transaction");
                    assert_eq!(results.rows()[0].string("name"), Ok(&*name));
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the right answer");
        }
    });
}
