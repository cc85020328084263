//! Whether a server will do: its `_Server` database (ovsdb-server(5)).
//!
//! The row of our database says whether the server is part of a working cluster, whether it leads
//! it, and how far its log goes. A server that is behind what we have already seen would take us
//! back in time.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::monitor::Shapes;
use crate::replica::Replica;
use crate::row::{Row, RowError};
use crate::schema::ColumnType;
use crate::shape::Shape;
use crate::value::AtomType;

/// Why a server will not do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// The server does not have the database.
    #[error("the server has no database {name}; it has {has}")]
    NoDatabase {
        /// The database that was asked for.
        name: String,
        /// Those that it has.
        has: String,
    },
    /// The server lost its cluster, or the server that it relays.
    #[error("the server is disconnected from its cluster")]
    Disconnected,
    /// The server follows another.
    #[error("the server is not the leader of its cluster")]
    NotLeader,
    /// The server is behind.
    #[error("the server is behind: its log ends at {found}, and {seen} was seen before")]
    Stale {
        /// Where its log ends.
        found: i64,
        /// What was seen of the cluster.
        seen: i64,
    },
    /// The row cannot be read.
    #[error("database _Server: {0}")]
    Row(#[from] RowError),
}

/// The furthest index that was seen of each cluster.
pub type Seen = HashMap<Uuid, i64>;

/// A server's view of itself.
#[derive(Debug)]
pub struct Server {
    /// What of `_Server` is monitored.
    pub shapes: Shapes,
    /// Its rows.
    pub replica: Replica,
}

/// What a fit server says of our database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// The cluster; none for a database in no cluster.
    pub cluster: Option<Uuid>,
    /// Whether the server leads it; none for a database in no cluster.
    pub leader: Option<bool>,
}

/// How the `_Server` database is named in monitor requests.
pub const MONITOR_ID: &str = "server";

const COLUMNS: [(&str, AtomType, bool); 6] = [
    ("name", AtomType::String, false),
    ("model", AtomType::String, false),
    ("connected", AtomType::Boolean, false),
    ("leader", AtomType::Boolean, false),
    ("cid", AtomType::Uuid, true),
    ("index", AtomType::Integer, true),
];

impl Default for Server {
    fn default() -> Self {
        let columns = COLUMNS.map(|(name, kind, optional)| {
            let kind = match optional {
                true => ColumnType::optional(kind),
                false => ColumnType::scalar(kind),
            };
            (Arc::from(name), kind)
        });
        Self {
            shapes: Shapes::single(Shape::new("Database", columns)),
            replica: Replica::default(),
        }
    }
}

impl Server {
    /// The parameters of the request to monitor it.
    pub fn request() -> Value {
        let columns: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        json!(["_Server", MONITOR_ID, {"Database": [{"columns": columns}]}])
    }

    /// Whether the server will do for a database; what it says is remembered in `seen`.
    pub fn judge(
        &self,
        database: &str,
        leader_only: bool,
        seen: &mut Seen,
    ) -> Result<Membership, Unfit> {
        let is_ours = |row: &&Row| row.string("name").is_ok_and(|name| *name == *database);
        let row = self
            .replica
            .rows("Database")
            .map(|(_, row)| row)
            .find(is_ours)
            .ok_or_else(|| self.no_database(database))?;
        let model = row.string("model")?;
        if model == "standalone" {
            return Ok(Membership::default());
        }
        if !row.boolean("connected")? {
            return Err(Unfit::Disconnected);
        }
        if model != "clustered" {
            return Ok(Membership::default());
        }
        let leader = row.boolean("leader")?;
        if leader_only && !leader {
            return Err(Unfit::NotLeader);
        }
        let cluster = row.optional_uuid("cid")?;
        if let (Some(cluster), Some(found)) = (cluster, row.optional_integer("index")?) {
            let seen = seen.entry(cluster).or_insert(found);
            if found < *seen {
                return Err(Unfit::Stale { found, seen: *seen });
            }
            *seen = found;
        }
        Ok(Membership { cluster, leader: Some(leader) })
    }

    fn no_database(&self, name: &str) -> Unfit {
        let mut has: Vec<&str> =
            self.replica.rows("Database").filter_map(|(_, row)| row.string("name").ok()).collect();
        has.sort_unstable();
        Unfit::NoDatabase { name: name.to_owned(), has: has.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intern::Interner;
    use crate::monitor::{Notation, UpdatesSeed};

    const CLUSTER: &str = "11111111-1111-4111-8111-111111111111";

    fn server(connected: bool, leader: bool, index: i64) -> Server {
        let mut server = Server::default();
        let text = json!({"Database": {"22222222-2222-4222-8222-222222222222": {"initial": {
            "name": "D", "model": "clustered", "connected": connected, "leader": leader,
            "cid": ["uuid", CLUSTER], "index": index,
        }}}});
        let strings = &mut Interner::default();
        let seed = UpdatesSeed { shapes: &server.shapes, notation: Notation::Difference, strings };
        let updates = seed.parse(&text.to_string()).expect("updates");
        server.replica.apply(updates);
        server
    }

    #[test]
    fn a_server_without_its_cluster_is_left() {
        let verdict = server(false, true, 1).judge("D", false, &mut Seen::new());
        assert_eq!(verdict, Err(Unfit::Disconnected));
    }

    #[test]
    fn a_follower_will_do_unless_only_the_leader_does() {
        let follower = server(true, false, 1);
        assert!(follower.judge("D", false, &mut Seen::new()).is_ok());
        assert_eq!(follower.judge("D", true, &mut Seen::new()), Err(Unfit::NotLeader));
    }

    #[test]
    fn a_server_that_is_behind_what_was_seen_is_left() {
        let mut seen = Seen::new();
        assert!(server(true, true, 9).judge("D", false, &mut seen).is_ok());
        let verdict = server(true, true, 8).judge("D", false, &mut seen);
        assert_eq!(verdict, Err(Unfit::Stale { found: 8, seen: 9 }));
        assert!(server(true, true, 9).judge("D", false, &mut seen).is_ok());
    }

    #[test]
    fn a_server_without_our_database_says_what_it_has() {
        let error = server(true, true, 1).judge("E", false, &mut Seen::new()).expect_err("no E");
        assert_eq!(error.to_string(), "the server has no database E; it has D");
    }
}
