//! A raft cluster of three: the client goes where it should, and loses nothing on the way.

use std::path::PathBuf;
use std::sync::Arc;

use ovn_xdp_ovsdb::client::{Client, Config, State};
use ovn_xdp_ovsdb::condition::Conditions;
use ovn_xdp_ovsdb::remote::Remote;
use ovn_xdp_ovsdb::transact::{Operand, TransactError, Transaction};
use ovn_xdp_ovsdb::value::Datum;
use serde_json::json;
use tempfile::TempDir;

use crate::database::{Peer, replicated};
use crate::follower::{Follower, config, failure, status, within_a_minute};
use crate::server::{DATABASE, SCHEMA, Server, run, text};

struct Cluster {
    members: Vec<Server>,
    _raft: TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let raft = TempDir::with_prefix("ovx-raft-").expect("a temporary directory");
        let address = |member: usize| {
            let path: PathBuf = raft.path().join(member.to_string());
            format!("unix:{}", text(&path))
        };
        let mut members = Vec::new();
        for member in 0..3 {
            let mut server = Server::stopped(&[]);
            let file = server.file();
            match member {
                0 => run("ovsdb-tool", &["create-cluster", text(&file), SCHEMA, &address(0)]),
                _ => run(
                    "ovsdb-tool",
                    &["join-cluster", text(&file), DATABASE, &address(member), &address(0)],
                ),
            }
            server.start();
            // The member has joined when it serves.
            Follower::spawn(config(vec![server.remote()])).initial().await;
            members.push(server);
        }
        Self { members, _raft: raft }
    }

    fn remotes(&self) -> Vec<Remote> {
        self.members.iter().map(Server::remote).collect()
    }

    fn config(&self, leader_only: bool) -> Config {
        Config { leader_only, ..config(self.remotes()) }
    }

    fn at(&mut self, remote: &Remote) -> &mut Server {
        let member = self.members.iter_mut().find(|member| member.remote() == *remote);
        member.expect("a member of the cluster")
    }
}

fn set_named(number: usize) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.insert(
        "Address_Set",
        [
            ("name", Operand::from(format!("set{number}"))),
            ("addresses", Operand::from(Datum::set(["192.0.2.1"]))),
        ],
    );
    transaction
}

/// Inserts address sets one after the other, whatever happens to the cluster meanwhile.
async fn write(writer: Client, count: usize, wrote: tokio::sync::watch::Sender<usize>) {
    for number in 0..count {
        loop {
            match writer.transact(set_named(number)).await {
                Ok(_) => break,
                // It may have been committed; then the next attempt says so.
                Err(TransactError::Disconnected { .. }) => {
                    status(&writer, |status| status.state == State::Connected).await;
                }
                Err(error) if error.to_string().contains("constraint violation") => break,
                Err(_) => tokio::task::yield_now().await,
            }
        }
        wrote.send_replace(number + 1);
    }
}

#[test]
fn when_the_leader_is_killed_the_client_goes_on_with_the_next_and_downloads_nothing_again() {
    within_a_minute(async {
        let mut cluster = Cluster::start().await;
        let mut follower = Follower::spawn(cluster.config(true));
        follower.initial().await;
        let writer = Client::spawn(cluster.config(false));
        status(&writer, |status| status.state == State::Connected).await;
        // A server remembers the last hundred transactions, so what is missed must be fewer.
        let (wrote, mut progress) = tokio::sync::watch::channel(0);
        let writing = tokio::spawn(write(writer, 120, wrote));

        progress.wait_for(|count| *count >= 50).await.expect("the writer writes");
        let leader = follower.client.status().remote.expect("a server");
        assert_eq!(follower.client.status().leader, Some(true));
        cluster.at(&leader).kill();
        follower.disconnected().await;
        follower.initial().await;
        let now = follower.client.status();
        assert_ne!(now.remote.as_ref(), Some(&leader));
        assert_eq!(now.leader, Some(true));
        assert_eq!((now.downloads, now.resumptions), (1, 1), "{now:?}");

        writing.await.expect("the writer ends");
        let survivor = cluster.members.iter().find(|member| member.remote() != leader);
        let mut peer = Peer::connect(&survivor.expect("a survivor").socket());
        follower.catch_up(&mut peer).await;
        assert_eq!(replicated(&follower.client), peer.content(None));
        assert_eq!(follower.client.replica().len("Address_Set"), 120);
        // 120 sets and the mark, each told exactly once.
        assert_eq!(follower.told, 121);
    });
}

#[test]
fn a_client_that_wants_the_leader_leaves_a_follower_and_one_that_does_not_stays() {
    within_a_minute(async {
        let cluster = Cluster::start().await;
        let leader = {
            let mut follower = Follower::spawn(cluster.config(true));
            follower.initial().await;
            follower.client.status().remote.expect("a server")
        };
        for member in cluster.remotes() {
            let mut any = Follower::spawn(config(vec![member.clone()]));
            any.initial().await;
            assert_eq!(any.client.status().leader, Some(member == leader));
            assert!(any.client.status().cluster.is_some());
            if member != leader {
                let picky = Config { leader_only: true, ..config(vec![member]) };
                let reason = failure(&Client::spawn(picky)).await;
                assert_eq!(reason, "the server is not the leader of its cluster");
            }
        }
    });
}

#[test]
fn a_member_that_loses_its_cluster_is_left_and_the_copy_stays() {
    within_a_minute(async {
        let mut cluster = Cluster::start().await;
        let mut follower = Follower::spawn(config(vec![cluster.members[2].remote()]));
        follower.initial().await;
        let mut peer = Peer::connect(&cluster.members[2].socket());
        peer.must(&[json!({"op": "insert", "table": "Address_Set", "row": {"name": "kept"}})]);
        follower.catch_up(&mut peer).await;
        cluster.members[0].kill();
        cluster.members[1].kill();
        let reason = follower.disconnected().await;
        assert_eq!(reason, "the server is disconnected from its cluster");
        assert_eq!(follower.client.replica().len("Address_Set"), 1);

        let generation = follower.client.set_conditions("Address_Set", Conditions::none());
        cluster.members[0].start();
        follower.settle(generation).await;
        assert_eq!(follower.client.replica().len("Address_Set"), 0);
        let now = follower.client.status();
        assert_eq!((now.downloads, now.resumptions), (1, 1), "{now:?}");
    });
}

#[test]
fn a_cluster_that_was_made_anew_under_the_same_address_is_followed() {
    within_a_minute(async {
        let raft = TempDir::with_prefix("ovx-raft-").expect("a temporary directory");
        let address = format!("unix:{}", text(&raft.path().join("0")));
        let mut server = Server::stopped(&[]);
        let create = |server: &Server| {
            let _ = std::fs::remove_file(server.file());
            run("ovsdb-tool", &["create-cluster", text(&server.file()), SCHEMA, &address]);
        };
        create(&server);
        server.start();
        let mut follower = Follower::spawn(config(vec![server.remote()]));
        follower.initial().await;
        let mut peer = Peer::connect(&server.socket());
        for name in ["a", "b", "c"] {
            let row = json!({"name": name});
            peer.must(&[json!({"op": "insert", "table": "Address_Set", "row": row})]);
        }
        follower.catch_up(&mut peer).await;
        server.kill();
        create(&server);
        server.start();
        let changes = follower.initial().await;
        assert!(changes.iter().all(|change| change.new.is_none()), "all rows are gone");
        let tables: Vec<Arc<str>> = changes.iter().map(|change| change.table.clone()).collect();
        assert_eq!(tables.iter().filter(|table| ***table == *"Address_Set").count(), 3);
    });
}
