//! The task behind a client: finds a server that will do, follows it, and starts over when it ends.
//!
//! A connection goes through these steps: connect; read the server's `_Server` database and judge
//! it; read the schema; monitor, from the last transaction on if there is one; then follow until
//! the connection ends, or the server stops being one that will do. Whatever ends it, transactions
//! that wait for an answer fail, and the next remote is tried.

mod following;
mod meeting;
mod reading;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::client::{Command, Config, Report, State, Status};
use crate::condition::ConditionBook;
use crate::connection::{ConnectOptions, Connection, ConnectionError};
use crate::file::{FileDatabase, FileError};
use crate::intern::Interner;
use crate::monitor::{Method, Notation, RowUpdate, Shapes, UpdatesSeed};
use crate::remote::Remote;
use crate::schema::{Schema, SchemaError};
use crate::server::{Seen, Server, Unfit};
use crate::transact::{Results, TransactError, Transaction};
use crate::wire::{Kind, Message, Part, WireError};

/// How our monitor of the database is named.
const MONITOR_ID: &str = "data";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the server refuses {method}: {error}")]
    Refused { method: &'static str, error: Value },
    #[error("the server ended the monitoring: its schema, or its set of databases, changed")]
    Canceled,
    #[error("starting over with a full download: {0}")]
    Resync(String),
    #[error("another server was asked for")]
    Reconnect,
    #[error("the client was dropped")]
    Dropped,
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Connection(error.into())
    }
}

type Answer = oneshot::Sender<Result<Results, TransactError>>;

/// The state of the task.
pub(crate) struct Session {
    config: Config,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::UnboundedSender<Report>,
    status: watch::Sender<Status>,
    conditions: ConditionBook,
    strings: Interner,
    seen: Seen,
    last_txn: Uuid,
    known: Option<(Arc<Schema>, Arc<Shapes>)>,
    waiting: HashMap<u64, (Transaction, Answer)>,
}

/// A connection that has its content.
struct Following {
    connection: Connection,
    server: Option<Server>,
    schema: Arc<Schema>,
    shapes: Arc<Shapes>,
    method: Method,
    change: Option<u64>,
}

impl Session {
    pub(crate) fn new(
        mut config: Config,
        commands: mpsc::UnboundedReceiver<Command>,
        reports: mpsc::UnboundedSender<Report>,
        status: watch::Sender<Status>,
    ) -> Self {
        if config.shuffle {
            for last in (1..config.remotes.len()).rev() {
                config.remotes.swap(last, random() as usize % (last + 1));
            }
        }
        Self {
            conditions: ConditionBook::new(std::mem::take(&mut config.conditions)),
            config,
            commands,
            reports,
            status,
            strings: Interner::default(),
            seen: Seen::new(),
            last_txn: Uuid::nil(),
            known: None,
            waiting: HashMap::new(),
        }
    }

    /// Runs until nobody wants to know any more.
    pub(crate) async fn run(mut self) {
        let remotes = self.config.remotes.clone();
        let (shortest, longest) = (self.config.shortest_pause, self.config.longest_pause);
        let mut backoff = Backoff::new(shortest, longest, remotes.len());
        let mut turn = 0;
        while self.pause(backoff.pause(random())).await.is_ok() {
            let Some(remote) = remotes.get(turn % remotes.len().max(1)) else { return };
            self.enter(State::Connecting, remote);
            let mut since = None;
            let Err(why) = self.serve(remote, &mut since).await;
            if matches!(why, End::Dropped) || self.reports.is_closed() {
                return;
            }
            self.leave(&why, since.is_some());
            backoff.served(since.map(|since: Instant| since.elapsed()).unwrap_or_default());
            // These are no fault of the server's; any other end is a reason to try the next one.
            if !matches!(why, End::Canceled | End::Resync(_)) {
                turn += 1;
            }
        }
    }

    fn enter(&self, state: State, remote: &Remote) {
        self.status.send_modify(|status| {
            status.state = state;
            status.remote = Some(remote.clone());
            status.since = SystemTime::now();
            if state != State::Connected {
                (status.leader, status.cluster, status.method) = (None, None, None);
            }
        });
    }

    /// A connection, or an attempt, ended.
    fn leave(&mut self, why: &End, was_connected: bool) {
        let (database, reason) = (&self.config.database, why.to_string());
        tracing::info!(%database, %reason, was_connected, "database connection ended");
        for (_, (_, answer)) in self.waiting.drain() {
            let reason = reason.clone();
            let _ = answer.send(Err(TransactError::Disconnected { sent: true, reason }));
        }
        if matches!(why, End::Resync(_)) {
            self.last_txn = Uuid::nil();
        }
        self.status.send_modify(|status| {
            status.state = State::Pausing;
            status.since = SystemTime::now();
            status.last_error = Some(reason.clone());
        });
        if was_connected {
            let _ = self.reports.send(Report::Disconnected { reason });
        }
    }

    /// Waits, and deals with what is asked meanwhile; also once if there is nothing to wait for.
    async fn pause(&mut self, length: Duration) -> Result<(), End> {
        let pause = sleep(length);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return Ok(()),
                command = self.commands.recv() => match command.ok_or(End::Dropped)? {
                    Command::Transact(_, answer) => {
                        let reason = self.status.borrow().last_error.clone();
                        let reason = reason.unwrap_or_else(|| "not connected yet".to_owned());
                        let error = TransactError::Disconnected { sent: false, reason };
                        let _ = answer.send(Err(error));
                    }
                    Command::Conditions(changes, generation) => {
                        self.conditions.want(changes, generation);
                    }
                    Command::ForgetClusters => self.seen.clear(),
                    Command::Resync(_) => self.last_txn = Uuid::nil(),
                    Command::Reconnect => {}
                },
            }
        }
    }

    /// Connects to a remote and follows it; `since` is set once the content is there.
    async fn serve(
        &mut self,
        remote: &Remote,
        since: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, End> {
        if let Remote::File(path) = remote {
            let config = (path.clone(), self.config.database.clone(), self.config.tables.clone());
            let read = tokio::task::spawn_blocking(move || {
                FileDatabase::read(&config.0, &config.1, &config.2)
            });
            let file = read.await.map_err(|_| End::Dropped)??;
            *since = Some(Instant::now());
            return self.serve_file(remote, file).await;
        }
        let options = ConnectOptions {
            tls: self.config.tls.as_ref(),
            probe: self.config.probe,
            limit: self.config.limit,
        };
        let mut connection = Connection::open(remote, options).await?;
        let server = self.meet(&mut connection).await?;
        let schema = self.schema(&mut connection).await?;
        let mut following = self.monitor(connection, server, schema, remote).await?;
        *since = Some(Instant::now());
        loop {
            self.settle(&mut following);
            tokio::select! {
                message = following.connection.next() => self.hear(&mut following, message?)?,
                command = self.commands.recv() => {
                    self.obey(&mut following, command.ok_or(End::Dropped)?)?;
                    while let Ok(command) = self.commands.try_recv() {
                        self.obey(&mut following, command)?;
                    }
                }
            }
        }
    }

    fn report(&self, report: Report) -> Result<(), End> {
        self.reports.send(report).map_err(|_| End::Dropped)
    }

    fn updates(
        &mut self,
        message: &Message,
        part: &Part,
        shapes: &Shapes,
        notation: Notation,
    ) -> Result<Vec<RowUpdate>, WireError> {
        let seed = UpdatesSeed { shapes, notation, strings: &mut self.strings };
        seed.parse(message.text(part)).map_err(|error| message.wrong(part, &error))
    }
}

fn result(reply: &Message) -> Part {
    match &reply.kind {
        Kind::Reply { outcome: Ok(part), .. } => part.clone(),
        _ => Part::default(),
    }
}

/// A number that is different on every hypervisor; nothing depends on its quality.
fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
