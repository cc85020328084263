//! The task behind a client: finds a server that will do, follows it, and starts over when it ends.
//!
//! A connection goes through these steps: connect; read the server's `_Server` database and judge
//! it; read the schema; monitor, from the last transaction on if there is one; then follow until
//! the connection ends, or the server stops being one that will do. Whatever ends it, transactions
//! that wait for an answer fail, and the next remote is tried.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::client::{Command, Config, Content, Report, State, Status};
use crate::condition::ConditionBook;
use crate::connection::{ConnectOptions, Connection, ConnectionError};
use crate::file::{FileDatabase, FileError};
use crate::intern::Interner;
use crate::monitor::{self, Method, Notation, RowChange, RowUpdate, Shapes, UpdatesSeed};
use crate::remote::Remote;
use crate::schema::{Schema, SchemaError};
use crate::server::{self, Seen, Server, Unfit};
use crate::transact::{OperationError, Results, TransactError, Transaction};
use crate::wire::{Kind, Message, Part, WireError};

/// How our monitor of the database is named.
const MONITOR_ID: &str = "data";

/// How long a server that has just started may take to say what it serves.
const START_LIMIT: Duration = Duration::from_secs(5);

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

    /// Reads what the server says of itself; one before OVS 2.9 says nothing.
    async fn meet(&mut self, connection: &mut Connection) -> Result<Option<Server>, End> {
        let mut server = Server::default();
        let reply = match connection.call("monitor_cond", &Server::request()).await? {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, "the server has no _Server database");
                return Ok(None);
            }
        };
        // Without this, the server would close the connection instead of telling what changes.
        let aware = connection.call("set_db_change_aware", &json!([true])).await?;
        if let Err(error) = aware {
            tracing::debug!(%error, "the server does not tell of changes of databases");
        }
        let part = result(&reply);
        let updates = self.updates(&reply, &part, &server.shapes, Notation::Difference)?;
        server.replica.apply(updates);
        // A server that has just started listens before it has written down what it serves.
        let written = async {
            while server.replica.is_empty() {
                let message = connection.next().await?;
                self.hear_of_server(&mut server, &message)?;
            }
            Ok::<(), End>(())
        };
        if let Ok(written) = timeout(START_LIMIT, written).await {
            written?;
        }
        self.judge(&server)?;
        Ok(Some(server))
    }

    /// Takes in a notification if it is about the `_Server` database.
    fn hear_of_server(&mut self, server: &mut Server, message: &Message) -> Result<(), End> {
        let Kind::Notification { method, params } = &message.kind else { return Ok(()) };
        if method != "update2" {
            return Ok(());
        }
        let elements = message.elements(params)?;
        let [id, updates] = &elements[..] else {
            return Err(message.unexpected(params, "an update's parameters").into());
        };
        if message.read::<Value>(id)?.as_str() == Some(server::MONITOR_ID) {
            let updates = self.updates(message, updates, &server.shapes, Notation::Difference)?;
            server.replica.apply(updates);
        }
        Ok(())
    }

    fn judge(&mut self, server: &Server) -> Result<(), End> {
        let member =
            server.judge(&self.config.database, self.config.leader_only, &mut self.seen)?;
        self.status.send_if_modified(|status| {
            let changed = (status.leader, status.cluster) != (member.leader, member.cluster);
            (status.leader, status.cluster) = (member.leader, member.cluster);
            changed
        });
        Ok(())
    }

    async fn schema(&mut self, connection: &mut Connection) -> Result<Arc<Schema>, End> {
        const METHOD: &str = "get_schema";
        let reply = connection
            .call(METHOD, &json!([self.config.database]))
            .await?
            .map_err(|error| End::Refused { method: METHOD, error })?;
        let schema = Schema::from_json(&reply.read(&result(&reply))?)?;
        Ok(match &self.known {
            Some((known, _)) if **known == schema => known.clone(),
            _ => Arc::new(schema),
        })
    }

    /// Asks for the content, in the best dialect that the server knows, and reports it.
    async fn monitor(
        &mut self,
        mut connection: Connection,
        server: Option<Server>,
        schema: Arc<Schema>,
        remote: &Remote,
    ) -> Result<Following, End> {
        let shapes = match &self.known {
            Some((known, shapes)) if Arc::ptr_eq(known, &schema) => shapes.clone(),
            _ => {
                // Rows of another schema cannot be built upon.
                self.last_txn = Uuid::nil();
                Arc::new(Shapes::of(&schema, &self.config.tables))
            }
        };
        let mut method = self.config.method;
        let (reply, resumable) = loop {
            let can_resume = method == Method::MonitorCondSince && !self.last_txn.is_nil();
            let (conditions, resume) = self.conditions.reconnect(can_resume);
            let last_txn = if resume { self.last_txn } else { Uuid::nil() };
            let names = (&*self.config.database, MONITOR_ID);
            let params = monitor::request(method, names, &shapes, conditions, &schema, last_txn);
            match connection.call(method.name(), &params).await? {
                Ok(reply) => break (reply, resume),
                Err(error) => match method.fallback() {
                    Some(fallback) if error.to_string().contains("unknown method") => {
                        method = fallback;
                    }
                    _ => return Err(End::Refused { method: method.name(), error }),
                },
            }
        };
        let part = result(&reply);
        let (found, part) = match method {
            Method::MonitorCondSince => {
                let elements = reply.elements(&part)?;
                let [found, txn, updates] = &elements[..] else {
                    return Err(reply.unexpected(&part, "[found, last-txn-id, updates]").into());
                };
                self.last_txn = reply.read(txn)?;
                (reply.read::<bool>(found)? && resumable, updates.clone())
            }
            _ => {
                self.last_txn = Uuid::nil();
                (false, part)
            }
        };
        // Whatever fails from here on, the content was not taken over.
        let last_txn = std::mem::take(&mut self.last_txn);
        let updates = self.updates(&reply, &part, &shapes, notation(method))?;
        self.last_txn = last_txn;
        self.known = Some((schema.clone(), shapes.clone()));
        let content = match found {
            true => Content::Missed,
            false => Content::Everything(shapes.clone()),
        };
        self.enter(State::Connected, remote);
        self.status.send_modify(|status| {
            status.method = Some(method);
            status.last_txn = Some(last_txn).filter(|txn| !txn.is_nil());
            *(if found { &mut status.resumptions } else { &mut status.downloads }) += 1;
        });
        let (database, rows) = (&self.config.database, updates.len());
        let method_name = method.name();
        tracing::info!(%database, %remote, method_name, found, rows, "database connected");
        self.report(Report::Connected { remote: remote.clone(), schema: schema.clone() })?;
        self.report(Report::Content { content, updates })?;
        Ok(Following { connection, server, schema, shapes, method, change: None })
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

    /// Asks for the next change of conditions, or tells that there is none any more.
    fn settle(&mut self, following: &mut Following) {
        while let Some(changes) = self.conditions.next_change() {
            let request = match following.method {
                Method::Monitor => None,
                _ => monitor::change_request(
                    MONITOR_ID,
                    &following.shapes,
                    &changes,
                    &following.schema,
                ),
            };
            match request {
                Some(params) => {
                    following.change =
                        Some(following.connection.send("monitor_cond_change", &params));
                }
                None => self.conditions.answered(),
            }
        }
        if let Some(generation) = self.conditions.news() {
            let _ = self.reports.send(Report::Settled { generation });
        }
    }

    fn obey(&mut self, following: &mut Following, command: Command) -> Result<(), End> {
        match command {
            Command::Conditions(changes, generation) => self.conditions.want(changes, generation),
            Command::Transact(transaction, answer) => {
                let params = transaction.request(&self.config.database);
                let id = following.connection.send("transact", &params);
                self.waiting.insert(id, (transaction, answer));
            }
            Command::ForgetClusters => self.seen.clear(),
            Command::Resync(reason) => return Err(End::Resync(reason)),
            Command::Reconnect => return Err(End::Reconnect),
        }
        Ok(())
    }

    /// Deals with what the server says.
    fn hear(&mut self, following: &mut Following, message: Message) -> Result<(), End> {
        match &message.kind {
            Kind::Notification { method, params } => {
                let notation = match method.as_str() {
                    "update" => Notation::OldAndNew,
                    "update2" | "update3" => Notation::Difference,
                    "monitor_canceled" => return Err(End::Canceled),
                    _ => return Ok(()),
                };
                if let (Some(server), "update2") = (&mut following.server, method.as_str()) {
                    self.hear_of_server(server, &message)?;
                    self.judge(server)?;
                }
                let elements = message.elements(params)?;
                let (id, txn, updates) = match (&elements[..], method.as_str()) {
                    ([id, txn, updates], "update3") => (id, Some(txn), updates),
                    ([id, updates], "update" | "update2") => (id, None, updates),
                    _ => return Err(message.unexpected(params, "an update's parameters").into()),
                };
                if message.read::<Value>(id)?.as_str() == Some(MONITOR_ID) {
                    let updates = self.updates(&message, updates, &following.shapes, notation)?;
                    if let Some(txn) = txn {
                        self.received(message.read(txn)?);
                    }
                    self.report(Report::Content { content: Content::Changes, updates })?;
                }
            }
            Kind::Reply { id, outcome } => {
                let Some(id) = id.as_u64() else { return Ok(()) };
                if following.change == Some(id) {
                    following.change = None;
                    if let Err(error) = outcome {
                        let method = "monitor_cond_change";
                        return Err(End::Refused { method, error: error.clone() });
                    }
                    self.conditions.answered();
                } else if let Some((transaction, answer)) = self.waiting.remove(&id) {
                    let result = match outcome {
                        Ok(part) => message
                            .read::<Value>(part)
                            .map_err(|error| TransactError::Unreadable {
                                expected: "the results of a transaction",
                                found: error.to_string(),
                            })
                            .and_then(|json| transaction.results(&following.schema, &json)),
                        Err(error) => Err(TransactError::Refused {
                            error: OperationError::from_json(error).unwrap_or_else(|| {
                                OperationError::Other {
                                    error: "an error of no known form".to_owned(),
                                    details: error.to_string(),
                                }
                            }),
                        }),
                    };
                    let _ = answer.send(result);
                }
            }
            Kind::Request { .. } => {}
        }
        Ok(())
    }

    fn received(&mut self, txn: Uuid) {
        self.last_txn = txn;
        let txn = Some(txn).filter(|txn| !txn.is_nil());
        // Nobody is woken for each transaction; who looks sees it.
        self.status.send_if_modified(|status| {
            status.last_txn = txn;
            false
        });
    }

    /// Follows a file, which does not change; the conditions are applied here.
    async fn serve_file(
        &mut self,
        remote: &Remote,
        file: FileDatabase,
    ) -> Result<std::convert::Infallible, End> {
        let FileDatabase { schema, shapes, replica } = file;
        let shapes = Arc::new(shapes);
        self.conditions.reconnect(false);
        self.enter(State::File, remote);
        self.status.send_modify(|status| status.downloads += 1);
        self.report(Report::Connected { remote: remote.clone(), schema: Arc::new(schema) })?;
        let mut everything = Some(Content::Everything(shapes.clone()));
        loop {
            let changed = self.conditions.next_change().is_some();
            self.conditions.answered();
            if changed || everything.is_some() {
                let updates = self.matching(&shapes, &replica);
                let content = everything.take().unwrap_or(Content::Selection(shapes.clone()));
                self.report(Report::Content { content, updates })?;
            }
            if let Some(generation) = self.conditions.news() {
                self.report(Report::Settled { generation })?;
            }
            match self.commands.recv().await.ok_or(End::Dropped)? {
                Command::Conditions(changes, generation) => {
                    self.conditions.want(changes, generation);
                }
                Command::Transact(_, answer) => {
                    let error = TransactError::ReadOnly { remote: remote.to_string() };
                    let _ = answer.send(Err(error));
                }
                Command::Reconnect => return Err(End::Reconnect),
                Command::Resync(_) | Command::ForgetClusters => {}
            }
        }
    }

    fn matching(&self, shapes: &Shapes, replica: &crate::replica::Replica) -> Vec<RowUpdate> {
        let wanted = self.conditions.wanted();
        let mut updates = Vec::new();
        for shape in shapes.iter() {
            let conditions = wanted.get(shape.table());
            for (uuid, row) in replica.rows(shape.table()) {
                if conditions.is_none_or(|conditions| conditions.matches(uuid, row)) {
                    let change = RowChange::Insert(row.values().into());
                    updates.push(RowUpdate { shape: shape.clone(), row: uuid, change });
                }
            }
        }
        updates
    }
}

fn notation(method: Method) -> Notation {
    match method {
        Method::Monitor => Notation::OldAndNew,
        Method::MonitorCond | Method::MonitorCondSince => Notation::Difference,
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
