//! The chassis as one state machine: events in, bindings, tunnels and transactions out.
//!
//! It joins the parts of [`crate::southbound`], the tunnels, the compiler and the ports, and does
//! no input or output but through the two traits that it is generic over. [`Engine::turn`] is
//! called once for every batch of events and hands out one transaction per concern, or several of
//! claims after one was refused.

mod host;
pub mod local;

use super::barrier::Barrier;
use super::parts::{Compiler, Ports};
use super::quiet::Quiet;
use crate::config::Config;
use crate::host::hop::Unresolved;
use crate::host::link::Links;
use crate::southbound::binding::PortRow;
use crate::southbound::chassis::{ChassisRow, Conflict, EncapRow, PrivateRow, Registration};
use crate::southbound::claim::{Action, Claims, State, Write};
use crate::southbound::column;
use crate::southbound::learn::Learning;
use crate::southbound::monitor::{self, Facts};
use crate::southbound::northd::{Frozen, Northd};
use crate::tunnels::{self, Ourselves, Tunnels};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_ovsdb::condition::TableConditions;
use ovn_xdp_ovsdb::replica::Change;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// How long an interface that could not be attached is left alone.
const ATTACH_AGAIN: Duration = Duration::from_secs(2);

/// Whose transaction it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Concern {
    /// Chassis, Encap, Chassis_Private.
    Registration,
    /// Port_Binding: these rows.
    Claims(Vec<Uuid>),
    /// The barrier.
    Barrier,
    /// MAC_Binding and FDB.
    Learning,
}

impl Concern {
    /// For people.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Claims(_) => "claims",
            Self::Barrier => "barrier",
            Self::Learning => "learning",
        }
    }
}

/// What a turn asks for.
#[derive(Debug, Default)]
pub struct Turn {
    /// Conditions that changed; [`Engine::conditions_sent`] must tell their generation.
    pub conditions: Option<TableConditions>,
    /// Transactions; [`Engine::written`] must tell how each went.
    pub transactions: Vec<(Concern, Vec<Value>)>,
    /// Nothing changed for the workers, so no progress of theirs will call for the next turn: it
    /// is due now.
    pub again: bool,
}

/// Time of two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Since the daemon started.
    pub now: Duration,
    /// Since 1970.
    pub wall: Duration,
}

/// An interface of the configuration that is attached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Name of the host interface.
    pub name: String,
    /// Its index.
    pub link: u32,
    /// Its number among workers.
    pub id: InterfaceId,
}

/// A chassis.
pub struct Engine<C, P> {
    /// What the file says.
    pub config: Config,
    /// Claims of ports.
    pub claims: Claims,
    /// Our rows.
    pub registration: Registration,
    /// Ways to other chassis.
    pub tunnels: Tunnels,
    /// Facts on their way to the database.
    pub learning: Learning,
    /// The compiler.
    pub compiler: C,
    /// Sockets and eBPF.
    pub ports: P,
    /// Attached interfaces by logical port.
    pub attached: BTreeMap<String, Attached>,
    /// Why an interface of the configuration is not attached, by logical port.
    pub missing: BTreeMap<String, String>,
    /// Why a tunnel has no next hop.
    pub unresolved: BTreeMap<(IpAddr, IpAddr), Unresolved>,
    /// Why our rows cannot be made.
    pub conflict: Option<Conflict>,
    /// The newest generation, and the one that all workers run.
    pub generation: (u64, u64),
    /// What was logged lately.
    pub quiet: Quiet,
    /// Why everything stands still.
    pub frozen: Option<Frozen>,
    /// Rows of the control API.
    pub local: local::Local,
    northd: Northd,
    nics: BTreeMap<u32, u16>,
    barrier: Barrier,
    facts: Option<(Facts, BTreeSet<i64>)>,
    conditions: Option<u64>,
    initial: bool,
    offline: bool,
    /// There is no Southbound DB.
    alone: bool,
    stale_tunnels: bool,
    stale: bool,
    attach_again: Option<Duration>,
    /// Interfaces whose frames are not let in yet, and from which generation on they are.
    outside: BTreeMap<InterfaceId, Option<u64>>,
}

impl<C: Compiler, P: Ports> Engine<C, P> {
    /// A chassis that has seen nothing yet. `offline` says that the database is a file.
    pub fn new(config: Config, compiler: C, ports: P, offline: bool) -> Self {
        let mut claims = Claims::new(&config.system_id, &config.hostname);
        let alone = config.remote.is_empty();
        let offline = offline || alone;
        if offline {
            claims.offline();
        }
        Self {
            claims,
            registration: Registration::new(&config),
            tunnels: Tunnels::default(),
            learning: Learning::default(),
            compiler,
            ports,
            attached: BTreeMap::new(),
            missing: BTreeMap::new(),
            unresolved: BTreeMap::new(),
            conflict: None,
            generation: (0, 0),
            quiet: Quiet::default(),
            frozen: None,
            local: local::Local::default(),
            northd: Northd::default(),
            nics: BTreeMap::new(),
            barrier: Barrier::default(),
            facts: None,
            conditions: None,
            // Without a database there is nothing to wait for.
            initial: alone,
            offline,
            alone,
            stale_tunnels: true,
            stale: true,
            attach_again: None,
            outside: BTreeMap::new(),
            config,
        }
    }

    /// The configuration changed, as far as it can while we run.
    pub fn configure(&mut self, config: Config, links: &Links, now: Duration) {
        self.config.adopt(config);
        self.registration.configure(&self.config);
        self.claims.hostname(&self.config.hostname);
        self.ports.set_tunnel_addresses(&self.config.encap.addresses);
        self.stale_tunnels = true;
        self.links(links, now);
    }

    /// Rows changed. One call for each update of the server.
    pub fn changes(&mut self, changes: &[Change], now: Duration) {
        for change in changes {
            let (uuid, new) = (change.row, change.new.as_ref());
            match &*change.table {
                "Port_Binding" => self.claims.row(uuid, new.map(PortRow::read), now),
                "Chassis" => {
                    self.registration.chassis_row(uuid, new.map(ChassisRow::read));
                    self.stale_tunnels = true;
                }
                "Encap" => {
                    self.registration.encap_row(uuid, new.map(EncapRow::read));
                    self.stale_tunnels = true;
                }
                "Chassis_Private" => self.registration.private_row(uuid, new.map(PrivateRow::read)),
                "SB_Global" => {
                    if let Some(row) = new {
                        let nb_cfg = column::integer(row, "nb_cfg").unwrap_or(0);
                        let option = |key| column::option(row, "options", key);
                        let update = option("enable_chassis_nb_cfg_update");
                        self.barrier.global(nb_cfg, update.as_deref() != Some("false"));
                        let version = option("northd_internal_version");
                        self.northd.version(version.as_deref().unwrap_or_default());
                    }
                }
                "MAC_Binding" => self.learning.binding_row(uuid, new),
                "FDB" => self.learning.fdb_row(uuid, new),
                _ => {}
            }
        }
        self.compiler.apply(changes);
        self.settle_local(changes, now);
        self.stale = true;
    }

    /// The content of the database is complete: what is missing in it does not exist.
    pub fn initial(&mut self) {
        self.initial = true;
        self.stale = true;
    }

    /// Whether the content of the database is here.
    pub fn is_initial(&self) -> bool {
        self.initial
    }

    /// The database takes writes, or no longer does. What was under way may be lost.
    pub fn writable(&mut self, writable: bool, now: Duration) {
        self.claims.writable(writable);
        self.registration.written(true, now);
        self.learning.interrupted();
        self.barrier.pending = false;
        if !writable {
            self.initial = false;
        }
    }

    /// The conditions that [`Turn`] asked for will be settled in this generation.
    pub fn conditions_sent(&mut self, generation: u64) {
        self.conditions = Some(generation);
    }

    /// The server answered the conditions of this generation and all before.
    pub fn conditions_settled(&mut self, generation: u64) {
        if self.conditions.is_some_and(|sent| sent <= generation) {
            self.conditions = None;
            self.stale = true;
        }
    }

    /// How a transaction went.
    pub fn written(&mut self, concern: &Concern, committed: bool, now: Duration) {
        match concern {
            Concern::Registration => self.registration.written(committed, now),
            Concern::Claims(rows) => self.claims.written(rows, committed, now),
            Concern::Barrier => self.barrier.pending = false,
            Concern::Learning => self.learning.written(committed),
        }
    }

    /// A worker learned something.
    pub fn learned(&mut self, learned: Learned, now: Duration, jitter: Duration) {
        match self.is_local(&learned) {
            true => self.local.learning.learned(learned, now, jitter),
            false => self.learning.learned(learned, now, jitter),
        }
    }

    /// All workers run this generation.
    pub fn workers_at(&mut self, generation: u64) {
        self.generation.1 = self.generation.1.max(generation);
        self.claims.workers_at(generation);
        self.barrier.workers_at(generation);
    }

    fn tell(&mut self, changes: Vec<tunnels::Change>) {
        for change in changes {
            self.stale = true;
            match change {
                tunnels::Change::Set(id, way) => self.compiler.set_tunnel(id, &way),
                tunnels::Change::Remove(id) => self.compiler.remove_tunnel(id),
            }
        }
    }

    fn update_tunnels(&mut self) {
        if std::mem::take(&mut self.stale_tunnels) {
            let us = Ourselves {
                name: &self.config.system_id,
                zones: &self.config.transport_zones,
                interconn: self.config.interconn,
                encap: &self.config.encap,
            };
            let Registration { chassis, encaps, .. } = &self.registration;
            let changes = self.tunnels.update(chassis, encaps, us);
            self.tell(changes);
            self.compiler.set_peers(&self.tunnels.peers());
            self.claims.chassis(self.registration.ours(), self.registration.our_encaps());
        }
    }

    /// What follows from everything since the last turn.
    pub fn turn(&mut self, clock: Clock) -> Turn {
        let mut turn = Turn::default();
        if self.stands_still() {
            return turn;
        }
        self.remember(clock.now);
        self.remember_local(clock.now);
        self.update_tunnels();
        self.register(clock, &mut turn);
        let writes = self.bind(clock.now);
        self.condition(&mut turn);
        if std::mem::take(&mut self.stale) {
            let generation = self.compiler.publish();
            self.generation.0 = generation;
            let settled = self.initial && self.conditions.is_none() && turn.conditions.is_none();
            self.claims.published(generation, settled);
            if settled {
                self.barrier.published(generation);
            }
            turn.again = generation <= self.generation.1;
        }
        self.admit(turn.conditions.is_some());
        self.claim(writes, &mut turn);
        self.report(clock, &mut turn);
        let due = self.learning.deadline().is_some_and(|due| due <= clock.now);
        if due && self.initial && !self.offline {
            let names = self.compiler.names();
            let operations = self.learning.take(clock.now, clock.wall, &names);
            if !operations.is_empty() {
                turn.transactions.push((Concern::Learning, operations));
            }
        }
        turn
    }

    fn stands_still(&mut self) -> bool {
        let frozen = self.northd.frozen(self.config.match_northd_version);
        if frozen != self.frozen {
            match &frozen {
                Some(frozen) => tracing::warn!("{frozen}"),
                None => tracing::info!("ovn-northd is of our version again"),
            }
            self.frozen = frozen;
        }
        self.frozen.is_some()
    }

    /// With a file, nobody else writes down what was learned.
    fn remember(&mut self, now: Duration) {
        let due = self.learning.deadline().is_some_and(|due| due <= now);
        if due && self.offline && self.initial {
            let names = self.compiler.names();
            let changes = self.learning.remember(now, &names);
            if !changes.is_empty() {
                self.changes(&changes, now);
            }
        }
    }

    fn register(&mut self, clock: Clock, turn: &mut Turn) {
        if !self.initial || self.offline {
            return;
        }
        let conflict = self.registration.conflict();
        if let Some(conflict) = conflict.as_ref().filter(|new| self.conflict.as_ref() != Some(new))
        {
            tracing::error!("{conflict}");
        }
        self.conflict = conflict;
        let operations = self.registration.run(clock.now);
        if !operations.is_empty() {
            turn.transactions.push((Concern::Registration, operations));
        }
    }

    fn bind(&mut self, now: Duration) -> Vec<Write> {
        let mut writes = Vec::new();
        for action in self.claims.run(now) {
            match action {
                Action::Bind { row, port, interface, tag } => {
                    tracing::info!(%port, tag = tag.map(|tag| tag.vid.get()), "port bound");
                    self.compiler.bind(row, &port, interface, tag);
                    self.stale = true;
                }
                Action::Unbind { row, port } => {
                    tracing::info!(%port, "port unbound");
                    self.compiler.unbind(row, &port);
                    self.stale = true;
                }
                Action::Write(write) => writes.push(write),
            }
        }
        writes
    }

    fn claim(&self, writes: Vec<Write>, turn: &mut Turn) {
        let Some(me) = self.registration.ours() else { return };
        let encaps: Vec<Uuid> = self.registration.our_encaps().into_values().collect();
        let mut batches: BTreeMap<Option<u64>, (Vec<Uuid>, Vec<Value>)> = BTreeMap::new();
        for write in writes {
            let (rows, operations) = batches.entry(self.claims.batch(write.row())).or_default();
            rows.push(write.row());
            operations.extend(write.operations(me, &encaps));
        }
        let batches = batches.into_values();
        turn.transactions
            .extend(batches.map(|(rows, operations)| (Concern::Claims(rows), operations)));
    }

    fn condition(&mut self, turn: &mut Turn) {
        if self.alone {
            return;
        }
        let mut local = self.compiler.local_datapaths();
        local.retain(|(row, _)| self.local.database.row("Datapath_Binding", *row).is_none());
        let facts = Facts {
            name: self.config.system_id.clone(),
            chassis: self.registration.ours(),
            all: self.config.monitor_all,
            interface_ids: self.claims.interface_ids().cloned().collect(),
            datapaths: local.iter().map(|(uuid, _)| *uuid).collect(),
        };
        let keys: BTreeSet<i64> = local.iter().map(|(_, key)| i64::from(key.get())).collect();
        if self.facts.as_ref().is_none_or(|known| *known != (facts.clone(), keys.clone())) {
            turn.conditions = Some(monitor::conditions(&facts, &keys));
            self.facts = Some((facts, keys));
        }
    }

    fn report(&mut self, clock: Clock, turn: &mut Turn) {
        if !self.initial || self.offline {
            return;
        }
        if let Some(nb_cfg) = self.barrier.due()
            && let Some(operation) = self.registration.report(nb_cfg, clock.wall)
        {
            self.barrier.pending = true;
            turn.transactions.push((Concern::Barrier, vec![operation]));
        }
    }

    /// What a chassis that leaves for good writes last (CH-6).
    pub fn farewell(&self) -> Vec<Value> {
        let mut operations = Vec::new();
        if let Some(me) = self.registration.ours() {
            let encaps: Vec<Uuid> = self.registration.our_encaps().into_values().collect();
            let writes = self.claims.farewell();
            operations.extend(writes.iter().flat_map(|write| write.operations(me, &encaps)));
        }
        operations.extend(self.registration.removal());
        operations
    }

    /// When the next turn is due even if nothing happens.
    pub fn deadline(&self) -> Option<Duration> {
        if self.frozen.is_some() {
            return self.attach_again;
        }
        // What cannot be done now is not due, however long ago it was.
        let learning = self.learning.deadline().filter(|_| self.initial);
        let registration = self.registration.deadline().filter(|_| self.initial && !self.offline);
        let local = self.local.learning.deadline();
        let others = [self.claims.deadline(), registration, self.attach_again, learning, local];
        others.into_iter().flatten().min()
    }

    /// `nb_cfg` as seen, and as reached by the workers.
    pub fn nb_cfg(&self) -> (i64, i64) {
        (self.barrier.seen, self.barrier.reached)
    }
}

/// The name of a state, as section 3.2 has it.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Claimed => "CLAIMED",
        State::WaitingSbCond => "WAITING_SB_COND",
        State::InstallFlows(_) => "INSTALL_FLOWS",
        State::MarkUp => "MARK_UP",
        State::Installed => "INSTALLED",
    }
}

#[cfg(test)]
mod tests;
