//! The client: follows one database, whatever server it is on.
//!
//! [`Client::spawn`] starts a task that keeps a connection (`session.rs`); the [`Client`]
//! holds the replica and hands out what happened, one [`Event`] after the other. One notification
//! of the server, which is one transaction of the database, is one event (TRAP-12). While there is
//! no connection the replica stays as it was.
//!
//! Events wait in memory until they are asked for; a user that stops asking should drop the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::condition::{Conditions, TableConditions};
use crate::monitor::{Method, RowUpdate, Shapes, Wanted};
use crate::remote::Remote;
use crate::replica::{Change, Replica};
use crate::schema::Schema;
use crate::session::Session;
use crate::tls::TlsFiles;
use crate::transact::{Results, TransactError, Transaction};
use crate::wire;

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, tried in turn; or one file.
    pub remotes: Vec<Remote>,
    /// The name of the database, such as `OVN_Southbound`.
    pub database: String,
    /// The tables and columns to monitor, as far as the server has them; everything if empty.
    pub tables: Vec<Wanted>,
    /// Which rows to monitor at first; every row of a table that is not named.
    pub conditions: TableConditions,
    /// The certificates, for `ssl:` remotes.
    pub tls: Option<TlsFiles>,
    /// How long the server may be silent before it is probed, and then again before it is given
    /// up (`ovn-remote-probe-interval`); none for never.
    pub probe: Option<Duration>,
    /// Whether only the leader of a cluster will do. OVN's controllers talk to any member.
    pub leader_only: bool,
    /// Whether the remotes are tried in an order of chance, so that hypervisors spread over the
    /// members of a cluster.
    pub shuffle: bool,
    /// The shortest pause between attempts to connect.
    pub shortest_pause: Duration,
    /// The longest pause between attempts to connect.
    pub longest_pause: Duration,
    /// The first dialect to try; others are for servers that do not know it.
    pub method: Method,
    /// The longest message that is accepted, in bytes.
    pub limit: usize,
}

impl Config {
    /// A client of all of a database, with the usual settings.
    pub fn new(remotes: Vec<Remote>, database: &str) -> Self {
        Self {
            remotes,
            database: database.to_owned(),
            tables: Vec::new(),
            conditions: TableConditions::new(),
            tls: None,
            probe: Some(Duration::from_secs(5)),
            leader_only: false,
            shuffle: true,
            shortest_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(8),
            method: Method::default(),
            limit: wire::DEFAULT_LIMIT,
        }
    }

    /// The probe interval from `ovn-remote-probe-interval`: milliseconds, 0 for off; what is below
    /// a second counts as a second (RBAC-4).
    pub fn set_probe_interval_ms(&mut self, ms: u64) {
        self.probe = (ms > 0).then(|| Duration::from_millis(ms.max(1000)));
    }
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A connection is established; [`Event::Initial`] follows.
    Connected {
        /// The server.
        remote: Remote,
        /// The server's schema.
        schema: Arc<Schema>,
    },
    /// The first content of this connection, as changes to what was known before: everything at
    /// first, and what was missed after a reconnection.
    Initial(Vec<Change>),
    /// One transaction's changes, or what a change of conditions brought.
    Changes(Vec<Change>),
    /// The conditions of this generation, and all before it, are in force, and the rows that they
    /// brought have been in earlier events.
    ConditionsSettled {
        /// What [`Handle::set_conditions`] returned.
        generation: u64,
    },
    /// The connection ended; the replica stays.
    Disconnected {
        /// Why.
        reason: String,
    },
}

/// Where the connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Not connected: on the way to a server.
    #[default]
    Connecting,
    /// Not connected: a pause before the next attempt.
    Pausing,
    /// Connected, and the content is complete.
    Connected,
    /// The database is a file, and it was read.
    File,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Pausing => "pausing",
            Self::Connected => "connected",
            Self::File => "file",
        })
    }
}

/// The state of the connection, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The server that is connected, or tried.
    pub remote: Option<Remote>,
    /// Where the connection stands.
    pub state: State,
    /// Since when it stands there.
    pub since: SystemTime,
    /// Why the last connection, or attempt, ended.
    pub last_error: Option<String>,
    /// Whether the server leads its cluster; none if it is in no cluster.
    pub leader: Option<bool>,
    /// The cluster.
    pub cluster: Option<Uuid>,
    /// The last transaction that was received, if the server names them.
    pub last_txn: Option<Uuid>,
    /// The dialect in use.
    pub method: Option<Method>,
    /// How often the whole content was downloaded.
    pub downloads: u64,
    /// How often a connection went on where the last one had ended.
    pub resumptions: u64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            remote: None,
            state: State::default(),
            since: SystemTime::now(),
            last_error: None,
            leader: None,
            cluster: None,
            last_txn: None,
            method: None,
            downloads: 0,
            resumptions: 0,
        }
    }
}

/// What the session's task is told.
#[derive(Debug)]
pub(crate) enum Command {
    Conditions(Vec<(Arc<str>, Conditions)>, u64),
    Transact(Transaction, oneshot::Sender<Result<Results, TransactError>>),
    Resync(String),
    Reconnect,
    ForgetClusters,
}

/// What the session's task tells.
#[derive(Debug)]
pub(crate) enum Report {
    Connected { remote: Remote, schema: Arc<Schema> },
    Content { content: Content, updates: Vec<RowUpdate> },
    Settled { generation: u64 },
    Disconnected { reason: String },
}

/// How updates relate to what is known.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// They are everything there is.
    Everything(Arc<Shapes>),
    /// They are everything that conditions let through now.
    Selection(Arc<Shapes>),
    /// They are what was missed since the last connection.
    Missed,
    /// They are what changed just now.
    Changes,
}

/// A client of one database.
#[derive(Debug)]
pub struct Client {
    reports: mpsc::UnboundedReceiver<Report>,
    replica: Replica,
    handle: Handle,
}

/// What can be asked of a client from anywhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    generation: Arc<AtomicU64>,
}

impl Client {
    /// Starts a client; the task ends when the client and all its handles are dropped. Needs a
    /// tokio runtime with time and I/O.
    pub fn spawn(config: Config) -> Self {
        let (to_session, commands) = mpsc::unbounded_channel();
        let (to_client, reports) = mpsc::unbounded_channel();
        let (to_watchers, status) = watch::channel(Status::default());
        tokio::spawn(Session::new(config, commands, to_client, to_watchers).run());
        let handle =
            Handle { commands: to_session, status, generation: Arc::new(AtomicU64::new(0)) };
        Self { reports, replica: Replica::default(), handle }
    }

    /// What can be asked from anywhere.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The rows as of the last event that was returned.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The next event. It may be awaited in a `select!`: nothing is lost if it is dropped.
    ///
    /// # Panics
    /// Never: the task lives as long as the client.
    pub async fn next_event(&mut self) -> Event {
        loop {
            let Some(report) = self.reports.recv().await else {
                // Only a runtime that is shutting down ends the task before the client.
                return std::future::pending().await;
            };
            if let Some(event) = self.take(report) {
                return event;
            }
        }
    }

    fn take(&mut self, report: Report) -> Option<Event> {
        Some(match report {
            Report::Connected { remote, schema } => Event::Connected { remote, schema },
            Report::Settled { generation } => Event::ConditionsSettled { generation },
            Report::Disconnected { reason } => Event::Disconnected { reason },
            Report::Content { content: Content::Everything(shapes), updates } => {
                Event::Initial(self.replica.replace(&shapes, updates))
            }
            Report::Content { content: Content::Selection(shapes), updates } => {
                Event::Changes(self.replica.replace(&shapes, updates))
            }
            Report::Content { content, updates } => {
                let (changes, unknown) = self.replica.apply(updates);
                if let Some(unknown) = unknown {
                    let _ = self.handle.commands.send(Command::Resync(unknown.to_string()));
                }
                match content {
                    Content::Changes if changes.is_empty() => return None,
                    Content::Changes => Event::Changes(changes),
                    _ => Event::Initial(changes),
                }
            }
        })
    }

    /// See [`Handle::set_conditions`].
    pub fn set_conditions(&self, table: &str, conditions: Conditions) -> u64 {
        self.handle.set_conditions([(Arc::from(table), conditions)])
    }

    /// See [`Handle::transact`].
    pub async fn transact(&self, transaction: Transaction) -> Result<Results, TransactError> {
        self.handle.transact(transaction).await
    }

    /// See [`Handle::status`].
    pub fn status(&self) -> Status {
        self.handle.status()
    }
}

impl Handle {
    /// Monitors other rows of some tables. What equals the conditions in force is not sent; what
    /// is asked for in short succession goes out together. Returns the generation that
    /// [`Event::ConditionsSettled`] will name, or one after it.
    pub fn set_conditions(
        &self,
        conditions: impl IntoIterator<Item = (Arc<str>, Conditions)>,
    ) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let conditions = conditions.into_iter().collect();
        let _ = self.commands.send(Command::Conditions(conditions, generation));
        generation
    }

    /// Carries out a transaction. Fails at once while there is no connection, and when the
    /// connection ends before the answer; set a timeout around it if the server may be slow.
    pub async fn transact(&self, transaction: Transaction) -> Result<Results, TransactError> {
        let gone = || TransactError::Disconnected {
            sent: false,
            reason: "the client was stopped".to_owned(),
        };
        let (sender, answer) = oneshot::channel();
        self.commands.send(Command::Transact(transaction, sender)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The state of the connection.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The state of the connection, to wait for changes of it.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Leaves the server for the next one.
    pub fn reconnect(&self) {
        let _ = self.commands.send(Command::Reconnect);
    }

    /// Forgets how far the clusters were, so that one that was restored from a backup is followed
    /// although it is behind (`sb-cluster-state-reset`, RBAC-3).
    pub fn forget_clusters(&self) {
        let _ = self.commands.send(Command::ForgetClusters);
    }
}
