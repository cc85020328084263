//! `ovn-xdp run`: carries events to the engine, and what it asks for to where it belongs.
//!
//! One task, one loop: wait for an event, take all others that are there, let the engine make one
//! turn, and send off what came of it. Nothing here decides anything about OVN.

mod attachments;
mod barrier;
mod central;
mod compiled;
mod connections;
pub mod engine;
pub mod events;
mod lists;
mod local;
pub mod parts;
pub mod quiet;
mod read;
mod report;
mod trace;

use crate::api::command::{self, Command, Section};
use crate::api::unixctl::{Answer, ApiError, Request, Server};
use crate::config::{Config, Fault};
use crate::host::netlink::{self, Host, HostError};
use crate::host::path::Paths;
use crate::southbound::binding::PortRow;
use crate::southbound::chassis::{ChassisRow, EncapRow, PrivateRow};
use crate::southbound::learn;
use attachments::Attachments;
use central::Central;
use compiled::Compiled;
use engine::{Clock, Concern, Engine, Turn};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_local::schema;
use ovn_xdp_local::store::{Store, StoreError};
use ovn_xdp_ovsdb::client::{self, Event};
use ovn_xdp_ovsdb::monitor::Wanted;
use ovn_xdp_ovsdb::remote::{Remote, RemoteError};
use ovn_xdp_ovsdb::transact::{TransactError, Transaction};
use ovn_xdp_port::PortsError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

/// How long a clean exit waits for the database.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long clients of the API get to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Requests of clients that wait for the engine at most.
const REQUESTS: usize = 64;
/// Events of one turn at most, so that a flood cannot keep the engine from its turn.
const BATCH: usize = 1000;

/// Why the daemon does not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The file.
    #[error("{}", lines(.0))]
    Config(Vec<Fault>),
    /// `ovn-remote`.
    #[error("ovn-remote: {0}")]
    Remote(#[from] RemoteError),
    /// Sockets, eBPF, kernel.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// Netlink.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The API's socket.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The file of local rows.
    #[error(transparent)]
    Local(#[from] StoreError),
    /// Signals, threads.
    #[error("the system refused a signal handler or a thread: {0}")]
    System(#[from] std::io::Error),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

impl DaemonError {
    /// The exit status: 2 for a configuration that cannot be, 1 for the rest.
    pub fn status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Remote(_) | Self::Api(ApiError::Group { .. }) => 2,
            _ => 1,
        }
    }
}

type Written = Pin<Box<dyn Future<Output = (Concern, Result<(), TransactError>)>>>;

/// A running daemon.
pub struct Daemon {
    path: PathBuf,
    started: Instant,
    engine: Engine<Compiled, Attachments>,
    publisher: Publisher,
    host: Host,
    paths: Paths,
    central: Central,
    /// Version of the Southbound's schema.
    schema: Option<String>,
    answers: local::Answers,
    listings: connections::Listings,
    traces: Vec<trace::Asked>,
    lists: Vec<lists::Wanted>,
    events: events::Events,
    writes: FuturesUnordered<Written>,
    jitter: RandomState,
    ends: Option<Ending>,
}

/// How the daemon ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// Our rows are removed.
    Clean,
    /// They stay, for the daemon that comes after (CH-6).
    Keep,
}

/// Runs a chassis with the configuration at `path` until it is told to end.
///
/// # Errors
/// What kept it from starting.
pub async fn run(path: &Path) -> Result<(), DaemonError> {
    let config = Config::load(path).map_err(DaemonError::Config)?;
    let remotes = match config.remote.as_str() {
        "" => Vec::new(),
        list => Remote::parse_list(list)?,
    };
    let kept = config.control.local_rows.as_deref().map(Store::open).transpose()?;
    let server = Server::bind(&config.control.socket, config.control.group.as_deref()).await?;
    let (learned_in, learned_out) = crossbeam_channel::bounded(learn::QUEUE);
    let (to_loop, mut learned) = mpsc::channel(learn::QUEUE);
    // A worker's queue is waited for by a thread of its own: it knows nothing of tasks.
    std::thread::Builder::new().name("learned".to_owned()).spawn(move || {
        while let Ok(fact) = learned_out.recv() {
            if to_loop.blocking_send(fact).is_err() {
                return;
            }
        }
    })?;
    let publisher = Publisher::new();
    let progress = Arc::new(Notify::new());
    let notify = Arc::clone(&progress);
    publisher.on_progress(move || notify.notify_one());
    let attachments = Attachments::start(&config, &publisher, &learned_in)?;
    drop(learned_in);
    tracing::info!("devices:\n{}", attachments.devices().trim_end());
    let host = Host::open().await?;
    let offline = matches!(remotes.as_slice(), [Remote::File(_)]);
    let central = match remotes.is_empty() {
        true => Central::none(),
        false => Central::connect(client_config(&config, remotes)),
    };
    let compiled = Compiled::new(&config.system_id, publisher.clone());
    let mut daemon = Daemon {
        path: path.to_owned(),
        started: Instant::now(),
        engine: Engine::new(config, compiled, attachments, offline),
        publisher,
        host,
        paths: Paths::default(),
        central,
        schema: None,
        answers: local::Answers::default(),
        listings: connections::Listings::default(),
        traces: Vec::new(),
        lists: Vec::new(),
        events: events::Events::default(),
        writes: FuturesUnordered::new(),
        jitter: RandomState::new(),
        ends: None,
    };
    if let Some((store, rows)) = kept {
        daemon.engine.keep_local(store, rows, Duration::ZERO);
    }
    let (to_api, mut requests) = mpsc::channel(REQUESTS);
    let ended = tokio::select! {
        () = server.serve(to_api) => Ok(()),
        ended = daemon.serve(&mut requests, &mut learned, &progress) => ended,
    };
    daemon.engine.ports.stop();
    drop(requests);
    // Who told us to end is told that we did.
    let _ = tokio::time::timeout(LAST_ANSWERS, server.drain()).await;
    ended
}

fn client_config(config: &Config, remotes: Vec<Remote>) -> client::Config {
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let ours: [(&str, &[&str]); 7] = [
        ("Chassis", ChassisRow::COLUMNS),
        ("Encap", EncapRow::COLUMNS),
        ("Chassis_Private", PrivateRow::COLUMNS),
        ("Port_Binding", PortRow::COLUMNS),
        ("SB_Global", &["nb_cfg", "options"]),
        ("MAC_Binding", &["logical_port", "ip", "mac", "timestamp", "datapath"]),
        ("FDB", &["mac", "dp_key", "port_key", "timestamp"]),
    ];
    for (table, columns) in monitored().into_iter().chain(ours) {
        tables.entry(table).or_default().extend(columns);
    }
    let wanted = |(table, columns): (&str, Vec<&str>)| Wanted::columns(table, &columns);
    let mut settings = client::Config::new(remotes, "OVN_Southbound");
    settings.tables = tables.into_iter().map(wanted).collect();
    settings.tls = config.tls.clone();
    settings.probe = Some(config.probe_interval).filter(|interval| !interval.is_zero());
    settings
}

impl Daemon {
    async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        learned: &mut mpsc::Receiver<Learned>,
        progress: &Notify,
    ) -> Result<(), DaemonError> {
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let now = self.now();
        self.engine.links(&self.host.links, now);
        loop {
            self.turn().await?;
            if let Some(ending) = self.ends {
                return self.end(ending).await;
            }
            self.settle_answers();
            self.settle_listings();
            self.settle_traces();
            self.settle_lists();
            self.tell_watchers();
            let due = [self.engine.deadline(), self.events.deadline()].into_iter().flatten().min();
            let due = due.map(|due| self.started + due);
            let alarm = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.central.next_event() => self.event(event),
                change = self.host.changed() => self.host_changed(change).await?,
                Some((concern, outcome)) = self.writes.next() => self.written(&concern, outcome),
                Some(fact) = learned.recv() => self.learned(fact),
                () = progress.notified() => {}
                Some(request) = requests.recv() => self.request(request),
                _ = hang_up.recv() => self.reload(),
                () = any(&mut stop) => self.ends = Some(Ending::Keep),
                () = alarm => {}
            }
            self.take_more(learned, requests);
        }
    }

    /// Takes what else is there already, so that one turn serves it all.
    fn take_more(
        &mut self,
        learned: &mut mpsc::Receiver<Learned>,
        requests: &mut mpsc::Receiver<Request>,
    ) {
        for _ in 0..BATCH {
            if let Some(event) = self.central.next_event().now_or_never() {
                self.event(event);
            } else if let Ok(fact) = learned.try_recv() {
                self.learned(fact);
            } else if let Ok(request) = requests.try_recv() {
                self.request(request);
            } else if let Some(Some((concern, outcome))) = self.writes.next().now_or_never() {
                self.written(&concern, outcome);
            } else {
                return;
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn clock(&self) -> Clock {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { now: self.now(), wall }
    }

    /// One turn of the engine, and again if its own tunnels ask for more.
    async fn turn(&mut self) -> Result<(), DaemonError> {
        let now = self.now();
        if self.engine.attach_due(now) {
            self.engine.links(&self.host.links, now);
        }
        self.turn_engine();
        self.paths.want(&self.engine.tunnels.pairs());
        if self.paths.pending() {
            for (pair, hop) in self.paths.resolve(&self.host).await {
                self.engine.hop(pair, hop, &self.host.links, now);
            }
            self.turn_engine();
        }
        Ok(())
    }

    fn turn_engine(&mut self) {
        self.commit();
        loop {
            self.engine.workers_at(self.publisher.seen_by_all());
            let turn = self.engine.turn(self.clock());
            let again = turn.again;
            self.carry_out(turn);
            if !again {
                return;
            }
        }
    }

    fn carry_out(&mut self, turn: Turn) {
        let Some(handle) = self.central.handle() else { return };
        if let Some(conditions) = turn.conditions {
            let generation = handle.set_conditions(conditions);
            self.engine.conditions_sent(generation);
        }
        for (concern, operations) in turn.transactions {
            let handle = handle.clone();
            self.writes.push(Box::pin(async move {
                let outcome = handle.transact(transaction(operations)).await;
                (concern, outcome.map(drop))
            }));
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Connected { remote, schema } => {
                tracing::info!(%remote, "connected to the Southbound DB");
                let has = |table: &str| {
                    let table = schema.tables.get(table);
                    table.is_some_and(|table| table.columns.contains_key("timestamp"))
                };
                self.engine.learning.timestamps(has("MAC_Binding"), has("FDB"));
                self.schema = Some(schema.version.clone());
                let remote = remote.to_string();
                self.events.tell(&json!({ "event": "connected", "remote": remote }));
            }
            Event::Initial(changes) => {
                self.engine.changes(&changes, now);
                self.engine.initial();
                if !self.central.is_file() {
                    self.engine.writable(true, now);
                }
            }
            Event::Changes(changes) => self.engine.changes(&changes, now),
            Event::ConditionsSettled { generation } => self.engine.conditions_settled(generation),
            Event::Disconnected { reason } => {
                if let Some(withheld) = self.engine.quiet.say("disconnected", "", now) {
                    tracing::warn!(
                        %reason, withheld, "disconnected from the Southbound DB; forwarding goes on"
                    );
                }
                self.events.tell(&json!({ "event": "disconnected", "reason": reason }));
                self.engine.writable(false, now);
            }
        }
    }

    fn written(&mut self, concern: &Concern, outcome: Result<(), TransactError>) {
        let now = self.now();
        if let Err(error) = &outcome
            && let Some(withheld) = self.engine.quiet.say("refused", concern.label(), now)
        {
            let what = concern.label();
            tracing::warn!(what, %error, withheld, "the Southbound DB did not take a transaction");
        }
        self.engine.written(concern, outcome.is_ok(), now);
    }

    fn learned(&mut self, fact: Learned) {
        let now = self.now();
        let random = self.jitter.hash_one(now.as_nanos()) % learn::DELAY.as_micros() as u64;
        self.engine.learned(fact, now, Duration::from_micros(random));
    }

    async fn host_changed(&mut self, change: netlink::Change) -> Result<(), DaemonError> {
        if change == netlink::Change::Lost {
            tracing::warn!("the kernel dropped netlink messages; reading links anew");
            self.host.reload().await?;
        }
        let now = self.now();
        match change {
            netlink::Change::Links => self.engine.links(&self.host.links, now),
            netlink::Change::Link(index) => self.engine.ports.look_at_offloads(Some(index)),
            netlink::Change::Lost => {
                self.engine.links(&self.host.links, now);
                self.engine.ports.look_at_offloads(None);
            }
            netlink::Change::Routes | netlink::Change::Neighbour(..) => {}
        }
        self.paths.changed(change);
        Ok(())
    }

    fn reload(&mut self) {
        match Config::load(&self.path) {
            Ok(new) => {
                for key in self.engine.config.needs_restart(&new) {
                    tracing::warn!("{key} changed: it takes effect after a restart");
                }
                let now = self.now();
                self.engine.configure(new, &self.host.links, now);
                tracing::info!("configuration read again");
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!("configuration not read again: {fault}");
                }
            }
        }
    }

    fn request(&mut self, Request { method, params, answer }: Request) {
        let outcome = match Command::parse(&method, params) {
            Ok(Command::Transact { operations, as_text }) => {
                return self.transact(&operations, as_text, answer);
            }
            Ok(Command::Read { section: Section::Connections, json, .. }) => {
                return self.list_connections(json, answer);
            }
            Ok(Command::Read {
                section: section @ (Section::Flows | Section::Tables),
                datapath,
                json,
            }) => {
                return self.lists.push(lists::Wanted { section, datapath, json, answer });
            }
            Ok(Command::Trace(question)) => return self.traces.push((question, answer)),
            Ok(Command::Watch(wish)) => {
                let receiver = self.events.watch(wish, self.scene());
                Ok(Answer::Stream("watching".into(), receiver))
            }
            Ok(Command::LogSet(words)) => {
                crate::log::set(&words).map(|()| Answer::Result("".into())).map_err(Value::String)
            }
            Ok(Command::Databases) => Ok(Answer::Result(json!([command::DATABASE]))),
            Ok(Command::Schema) => {
                Ok(Answer::Result(serde_json::from_str(schema::TEXT).unwrap_or_default()))
            }
            Ok(command) => Ok(self.command(command).into()),
            Err(text) => Err(text.into()),
        };
        let _ = answer.send(outcome);
    }

    /// A command that is answered at once, with a text.
    fn command(&mut self, command: Command) -> String {
        match command {
            Command::List => command::LIST.to_owned(),
            Command::Version => command::version(),
            Command::Exit { restart } => {
                self.ends = Some(if restart { Ending::Keep } else { Ending::Clean });
                String::new()
            }
            Command::ConnectionStatus => match self.central.is_connected() {
                true => "connected\n".to_owned(),
                false => "not connected\n".to_owned(),
            },
            Command::Show { json: true } => self.report().json(),
            Command::Show { json: false } => self.report().to_string(),
            Command::Read { section, json, .. } => self.read(section, json),
            Command::Skipped => self.skipped(),
            Command::LocalBindings => self.local_bindings(),
            Command::LocalDatapaths => self.local_datapaths(),
            Command::ResetCluster => {
                if let Some(handle) = self.central.handle() {
                    handle.forget_clusters();
                }
                String::new()
            }
            Command::Coverage => self.coverage(),
            Command::LogList => crate::log::list(),
            // Answered in other ways.
            Command::LogSet(_)
            | Command::Databases
            | Command::Schema
            | Command::Trace(_)
            | Command::Transact { .. }
            | Command::Watch(_) => String::new(),
        }
    }

    async fn end(&mut self, ending: Ending) -> Result<(), DaemonError> {
        if ending == Ending::Clean && self.central.handle().is_some() {
            match tokio::time::timeout(FAREWELL, self.leave()).await {
                Ok(Ok(())) => tracing::info!("our rows are removed"),
                Ok(Err(error)) => tracing::warn!(%error, "our rows could not be removed"),
                Err(_) => tracing::warn!("our rows could not be removed: no answer in 5 s"),
            }
        }
        if ending == Ending::Clean {
            // Whoever comes after us asks for the neighbours of its own tunnels.
            self.paths.release(&self.host).await;
        }
        Ok(())
    }

    /// Removes our rows. Which these are is known when the database's content is there, and what was
    /// written meanwhile is answered.
    async fn leave(&mut self) -> Result<(), TransactError> {
        while !self.engine.is_initial() || !self.writes.is_empty() {
            tokio::select! {
                event = self.central.next_event() => self.event(event),
                Some((concern, outcome)) = self.writes.next() => self.written(&concern, outcome),
            }
        }
        let Some(handle) = self.central.handle() else { return Ok(()) };
        handle.transact(transaction(self.engine.farewell())).await.map(drop)
    }
}

fn transaction(operations: Vec<Value>) -> Transaction {
    let mut transaction = Transaction::new();
    for operation in operations {
        transaction.operation(operation);
    }
    transaction
}

async fn any(signals: &mut [Signal; 2]) {
    let [first, second] = signals;
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}
