//! A client under test, and what it was told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ovn_xdp_ovsdb::client::{Client, Config, Event, Status};
use ovn_xdp_ovsdb::remote::Remote;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::row::Row;
use serde_json::json;
use uuid::Uuid;

use crate::database::Peer;
use crate::server::DATABASE;

/// The usual settings, with pauses that do not hold up a test.
pub fn config(remotes: Vec<Remote>) -> Config {
    Config {
        shuffle: false,
        shortest_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(100),
        ..Config::new(remotes, DATABASE)
    }
}

/// A client, and a copy of the database kept only from the changes it tells.
pub struct Follower {
    pub client: Client,
    copy: HashMap<(Arc<str>, Uuid), Row>,
    /// The generation that settled last.
    pub settled: u64,
    /// How many changes were told.
    pub told: usize,
    marks: u64,
}

impl Follower {
    pub fn spawn(config: Config) -> Self {
        let client = Client::spawn(config);
        Self { client, copy: HashMap::new(), settled: 0, told: 0, marks: 0 }
    }

    /// The next event; fails the test if a change does not fit what was told before.
    pub async fn event(&mut self) -> Event {
        let event = self.client.next_event().await;
        match &event {
            Event::Initial(changes) | Event::Changes(changes) => {
                changes.iter().for_each(|change| self.check(change));
            }
            Event::ConditionsSettled { generation } => {
                assert!(*generation > self.settled, "generations grow");
                self.settled = *generation;
            }
            Event::Connected { .. } | Event::Disconnected { .. } => {}
        }
        event
    }

    fn check(&mut self, change: &Change) {
        let key = (change.table.clone(), change.row);
        assert_ne!(change.old, change.new, "a change changes something");
        let before = match &change.new {
            Some(new) => self.copy.insert(key, new.clone()),
            None => self.copy.remove(&key),
        };
        assert_eq!(before, change.old, "the old row is the one that was told before");
        self.told += 1;
    }

    /// Waits for an event of a kind.
    pub async fn until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        loop {
            let event = self.event().await;
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Waits for the first content of the next connection.
    pub async fn initial(&mut self) -> Vec<Change> {
        let event = self.until(|event| matches!(event, Event::Initial(_))).await;
        let Event::Initial(changes) = event else { unreachable!("just matched") };
        changes
    }

    pub async fn disconnected(&mut self) -> String {
        let event = self.until(|event| matches!(event, Event::Disconnected { .. })).await;
        let Event::Disconnected { reason } = event else { unreachable!("just matched") };
        reason
    }

    /// Waits until everything that the peer did is here. The mark is in SB_Global, which must be
    /// monitored whole.
    pub async fn catch_up(&mut self, peer: &mut Peer) {
        self.marks += 1;
        let mark = self.marks.to_string();
        let row = json!({"external_ids": ["map", [["mark", mark]]]});
        let count =
            peer.must(&[json!({"op": "update", "table": "SB_Global", "where": [], "row": row})]);
        if count[0]["count"] == 0 {
            peer.must(&[json!({"op": "insert", "table": "SB_Global", "row": row})]);
        }
        while !self.has_mark(&mark) {
            self.event().await;
        }
        let told: usize =
            self.client.replica().tables().map(|t| self.client.replica().len(t)).sum();
        assert_eq!(self.copy.len(), told, "what was told is what the replica holds");
    }

    fn has_mark(&self, mark: &str) -> bool {
        self.client.replica().rows("SB_Global").any(|(_, row)| {
            let ids = row.map("external_ids").expect("a map of strings");
            ids.get("mark").is_some_and(|found| **found == *mark)
        })
    }

    /// Waits until the conditions of a generation are in force.
    pub async fn settle(&mut self, generation: u64) {
        while self.settled < generation {
            self.event().await;
        }
    }
}

/// Waits until the status is as wanted.
pub async fn status(client: &Client, is_it: impl FnMut(&Status) -> bool) -> Status {
    let mut status = client.handle().watch_status();
    status.wait_for(is_it).await.expect("the client lives").clone()
}

/// Waits for a failed attempt to connect.
pub async fn failure(client: &Client) -> String {
    let status = status(client, |status| status.last_error.is_some()).await;
    status.last_error.expect("just seen")
}

/// Runs a test that ends with an error instead of hanging.
pub fn within_a_minute(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let test = tokio::time::timeout(Duration::from_secs(60), test);
        test.await.expect("the test waits for something that does not happen");
    });
}
