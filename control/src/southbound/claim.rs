//! Which logical ports this chassis binds, and what it writes about them.
//!
//! A pure state machine (rows PBT-1, PBT-2, PBT-4, NEST-*, section 3.2): rows, interfaces and the
//! progress of the workers go in, bindings for the compiler and changes for the database come out
//! of [`Claims::run`]. It compares what should be with what the database shows, so that a lost
//! write, a reconnect or somebody else's edit heals by itself.
//!
//! What must stay true: `up` is written only when every worker runs a generation that forwards for
//! the port, compiled after the server answered all conditions (TRAP-8, TRAP-12); a child's only
//! after its parent's shows in the database; a port that requests another chassis is never claimed.

mod wanted;
mod write;

pub use write::Write;

use super::binding::PortRow;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::publish::Tag;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Time since the daemon started, handed in.
pub type Now = Duration;

/// How soon after a claim a chassis may take the same port back from another one (section 3.2):
/// two chassis that both have the interface hand it to and fro at this pace, and not faster.
///
/// ovn-controller's own threshold is 500 ms between claims of one port (`controller/binding.c`), so
/// a port that was claimed longer ago than that is taken back at once. Ours is the same: with a
/// longer one we would lose every such contest against a stock chassis.
pub const POSTPONE: Duration = Duration::from_millis(500);

/// How long a refused write waits before it is tried again.
pub const RETRY: Duration = Duration::from_secs(1);

/// A workload interface that exists and is attached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vif {
    /// The attachment.
    pub interface: InterfaceId,
    /// `iface-id-ver` of the interface.
    pub version: Option<Arc<str>>,
    /// `encap-ip` of the interface.
    pub encap: Option<IpAddr>,
}

/// Where a local port stands (the names of section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Bound here; the compiler was told.
    Claimed,
    /// Published, but the server has yet to answer a condition.
    WaitingSbCond,
    /// Waits for the workers to reach this generation.
    InstallFlows(u64),
    /// The workers forward; the database does not show `up` yet.
    MarkUp,
    /// Nothing left to do.
    Installed,
}

/// A port bound here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// `logical_port`.
    pub port: Arc<str>,
    /// Its attachment.
    pub interface: InterfaceId,
    /// Tag of a nested container.
    pub tag: Option<Tag>,
    /// As what it is bound.
    pub role: Role,
    /// Where it stands.
    pub state: State,
    encap: Option<IpAddr>,
}

impl Local {
    /// Whether both are the same port in the same place.
    fn is_at(&self, other: &Self) -> bool {
        (&self.port, self.interface, self.tag) == (&other.port, other.interface, other.tag)
    }
}

/// As what a port is bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Column `chassis`.
    Main,
    /// Column `additional_chassis`.
    Additional,
    /// A localport: used, not claimed.
    Unclaimed,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The port's frames come and go by this interface, with this tag.
    Bind {
        /// Row of Port_Binding.
        row: Uuid,
        /// `logical_port`.
        port: Arc<str>,
        /// Attachment.
        interface: InterfaceId,
        /// Tag of a nested container.
        tag: Option<Tag>,
    },
    /// The port is not here any more.
    Unbind {
        /// Row of Port_Binding.
        row: Uuid,
        /// `logical_port`.
        port: Arc<str>,
    },
    /// A change for the database; [`Claims::written`] must tell how it went.
    Write(Write),
}

/// The claims of one chassis.
#[derive(Debug, Default)]
pub struct Claims {
    name: String,
    hostname: String,
    chassis: Option<Uuid>,
    encaps: BTreeMap<IpAddr, Uuid>,
    writable: bool,
    offline: bool,
    complete: bool,
    rows: HashMap<Uuid, PortRow>,
    by_name: HashMap<Arc<str>, Uuid>,
    children: HashMap<Arc<str>, BTreeSet<Uuid>>,
    interfaces: HashMap<Arc<str>, Vif>,
    local: BTreeMap<Uuid, Local>,
    unfinished: BTreeSet<Uuid>,
    postponed: HashMap<Arc<str>, Now>,
    claimed: HashMap<Arc<str>, Now>,
    held: HashMap<Uuid, Now>,
    pending: HashSet<Uuid>,
    suspects: HashMap<Uuid, u64>,
    next_batch: u64,
    dirty: BTreeSet<Uuid>,
}

impl Claims {
    /// No claims yet, for the chassis with this name and host name.
    pub fn new(name: &str, hostname: &str) -> Self {
        Self { name: name.to_owned(), hostname: hostname.to_owned(), ..Self::default() }
    }

    /// A row of Port_Binding was inserted, changed or deleted.
    pub fn row(&mut self, uuid: Uuid, row: Option<PortRow>, now: Now) {
        let old = match row {
            Some(row) => self.insert(uuid, row, now),
            None => {
                self.pending.remove(&uuid);
                self.held.remove(&uuid);
                self.suspects.remove(&uuid);
                self.rows.remove(&uuid)
            }
        };
        if let Some(old) = old {
            let new = self.rows.get(&uuid);
            if new.is_none_or(|new| new.name != old.name)
                && self.by_name.get(&old.name) == Some(&uuid)
            {
                self.by_name.remove(&old.name);
                self.claimed.remove(&old.name);
            }
            if new.is_none_or(|new| new.parent != old.parent)
                && let Some(parent) = &old.parent
                && let Some(siblings) = self.children.get_mut(parent)
            {
                siblings.remove(&uuid);
                if siblings.is_empty() {
                    self.children.remove(parent);
                }
            }
            self.touch_children(&old.name);
        }
        self.dirty.insert(uuid);
    }

    fn insert(&mut self, uuid: Uuid, row: PortRow, now: Now) -> Option<PortRow> {
        if let Some(parent) = &row.parent {
            self.children.entry(parent.clone()).or_default().insert(uuid);
        }
        // A row that was made anew may arrive before its predecessor goes (NEST-05).
        if let Some(previous) = self.by_name.insert(row.name.clone(), uuid) {
            self.dirty.insert(previous);
        }
        let lost = self.chassis.is_some()
            && row.chassis.is_some()
            && row.chassis != self.chassis
            && self.rows.get(&uuid).is_some_and(|old| old.chassis == self.chassis);
        if lost && self.local.get(&uuid).is_some_and(|local| local.role == Role::Main) {
            let until = self.claimed.get(&row.name).map_or(now, |claimed| *claimed + POSTPONE);
            if until > now {
                self.postponed.insert(row.name.clone(), until);
            }
        }
        self.touch_children(&row.name);
        self.rows.insert(uuid, row)
    }

    /// An interface with this `iface-id` appeared, changed or went.
    pub fn interface(&mut self, iface_id: Arc<str>, vif: Option<Vif>) {
        if let Some(&row) = self.by_name.get(&iface_id) {
            self.dirty.insert(row);
        }
        match vif {
            Some(vif) => self.interfaces.insert(iface_id, vif),
            None => self.interfaces.remove(&iface_id),
        };
    }

    /// All interfaces that exist were told of: ports bound here by a former life, and without an
    /// interface now, can be released.
    pub fn interfaces_complete(&mut self) {
        if !self.complete {
            self.complete = true;
            self.dirty.extend(self.rows.keys());
        }
    }

    /// Our rows of Chassis and Encap, as far as they exist.
    pub fn chassis(&mut self, chassis: Option<Uuid>, encaps: BTreeMap<IpAddr, Uuid>) {
        if (self.chassis, &self.encaps) != (chassis, &encaps) {
            self.chassis = chassis;
            self.encaps = encaps;
            self.touch_ours();
        }
    }

    /// Our host name changed.
    pub fn hostname(&mut self, hostname: &str) {
        if self.hostname != hostname {
            self.hostname = hostname.to_owned();
            self.dirty.extend(self.rows.keys());
        }
    }

    /// Whether the database takes writes now. What was under way when it stopped is tried again.
    pub fn writable(&mut self, writable: bool) {
        if self.writable != writable {
            self.writable = writable;
            self.pending.clear();
            self.held.clear();
            self.suspects.clear();
            self.touch_ours();
        }
    }

    /// The database is a file: nothing will ever be written, and a port counts as installed when
    /// the workers forward for it.
    pub fn offline(&mut self) {
        self.offline = true;
    }

    /// How the writes of these rows went. The rows themselves arrive by [`Claims::row`].
    ///
    /// The server takes all writes of a transaction or none. A refused one is tried again in two
    /// halves, so that a row that it will not have ends up alone, and holds up no other.
    pub fn written(&mut self, rows: &[Uuid], committed: bool, now: Now) {
        let halves = [self.next_batch, self.next_batch + 1];
        self.next_batch += 2;
        for (number, row) in rows.iter().enumerate() {
            let pending = self.pending.remove(row);
            if committed {
                self.suspects.remove(row);
            } else if pending {
                self.suspects.insert(*row, halves[usize::from(2 * number >= rows.len())]);
                if rows.len() == 1 {
                    self.held.insert(*row, now + RETRY);
                }
            }
            self.dirty.insert(*row);
        }
    }

    /// Which transaction a row's write belongs into: writes of one batch go out together.
    pub fn batch(&self, row: Uuid) -> Option<u64> {
        self.suspects.get(&row).copied()
    }

    /// A generation was published that holds all bindings handed out so far. `settled` says whether
    /// the server had answered every condition before.
    pub fn published(&mut self, generation: u64, settled: bool) {
        for row in &self.unfinished {
            if let Some(local) = self.local.get_mut(row)
                && matches!(local.state, State::Claimed | State::WaitingSbCond)
            {
                let ours = self.rows.get(row).is_some_and(|row| row.ours);
                local.state = match settled || ours {
                    true => State::InstallFlows(generation),
                    false => State::WaitingSbCond,
                };
            }
        }
    }

    /// All workers run this generation, or a later one.
    pub fn workers_at(&mut self, generation: u64) {
        for row in &self.unfinished {
            if let Some(local) = self.local.get_mut(row)
                && matches!(local.state, State::InstallFlows(wanted) if wanted <= generation)
            {
                local.state = State::MarkUp;
                self.dirty.insert(*row);
            }
        }
    }

    /// When [`Claims::run`] has something to do even if nothing happens.
    pub fn deadline(&self) -> Option<Now> {
        self.postponed.values().chain(self.held.values()).min().copied()
    }

    /// Names of interfaces whose port is not bound in what we see: the server is asked for rows of
    /// these names (MON-1).
    pub fn interface_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.interfaces.keys()
    }

    /// Ports bound here.
    pub fn local(&self) -> impl Iterator<Item = (&Uuid, &Local, &PortRow)> {
        self.local.iter().filter_map(|(row, local)| Some((row, local, self.rows.get(row)?)))
    }

    /// What a chassis that leaves for good writes of the ports that it holds beside another one.
    /// The reference to it would go with its row; `additional_encap` would stay.
    pub fn farewell(&self) -> Vec<Write> {
        let Some(me) = self.chassis else { return Vec::new() };
        let additional = self.rows.iter().filter(|(_, row)| row.additional.contains(&me));
        additional.map(|(uuid, _)| Write::LeaveAdditional { row: *uuid }).collect()
    }

    /// Where a port stands that is bound here.
    pub fn state_of(&self, port: &str) -> Option<State> {
        Some(self.local.get(self.by_name.get(port)?)?.state)
    }

    /// A port bound here.
    pub fn get(&self, row: Uuid) -> Option<&Local> {
        self.local.get(&row)
    }

    /// What follows from everything that was told since the last call.
    pub fn run(&mut self, now: Now) -> Vec<Action> {
        self.wake(now);
        let mut actions = Vec::new();
        // Parents first: what becomes of a child follows from its parent.
        let (children, parents): (Vec<Uuid>, Vec<Uuid>) =
            std::mem::take(&mut self.dirty).into_iter().partition(|row| self.is_child(*row));
        for row in parents {
            self.settle(row, now, &mut actions);
        }
        let mut later = std::mem::take(&mut self.dirty);
        later.extend(children);
        for row in later {
            self.settle(row, now, &mut actions);
        }
        actions
    }

    fn wake(&mut self, now: Now) {
        let due: Vec<Arc<str>> = self
            .postponed
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.postponed.remove(&name);
            self.dirty.extend(self.by_name.get(&name));
        }
        let due: Vec<Uuid> =
            self.held.iter().filter(|(_, until)| **until <= now).map(|(row, _)| *row).collect();
        for row in due {
            self.held.remove(&row);
            self.dirty.insert(row);
        }
    }

    fn is_child(&self, row: Uuid) -> bool {
        self.rows.get(&row).is_some_and(PortRow::is_child)
    }

    fn touch_children(&mut self, parent: &Arc<str>) {
        if let Some(children) = self.children.get(parent) {
            self.dirty.extend(children);
        }
    }

    /// Rows whose write may have changed with who we are: the local ones, and leftovers.
    fn touch_ours(&mut self) {
        self.dirty.extend(self.local.keys());
        self.dirty.extend(self.rows.iter().filter_map(|(uuid, row)| {
            let ours = self.chassis.is_some()
                && (row.chassis == self.chassis
                    || self.chassis.is_some_and(|me| row.additional.contains(&me)));
            (ours || !row.is_child()).then_some(*uuid)
        }));
    }

    /// Brings one row's binding and its columns to what they should be.
    fn settle(&mut self, uuid: Uuid, now: Now, actions: &mut Vec<Action>) {
        let wanted = self.wanted(uuid);
        let before = self.local.get(&uuid).cloned();
        let same = match (&before, &wanted) {
            (Some(before), Some(wanted)) => before.is_at(wanted),
            _ => false,
        };
        if let Some(before) = before.as_ref().filter(|_| !same) {
            self.local.remove(&uuid);
            self.unfinished.remove(&uuid);
            if wanted.as_ref().is_none_or(|wanted| wanted.port != before.port) {
                actions.push(Action::Unbind { row: uuid, port: before.port.clone() });
            }
        }
        if let Some(mut wanted) = wanted {
            if let Some(before) = before.as_ref().filter(|_| same) {
                wanted.state = before.state;
            } else {
                actions.push(Action::Bind {
                    row: uuid,
                    port: wanted.port.clone(),
                    interface: wanted.interface,
                    tag: wanted.tag,
                });
                self.unfinished.insert(uuid);
            }
            self.local.insert(uuid, wanted);
        }
        self.finish(uuid);
        if self.local.get(&uuid) != before.as_ref()
            && let Some(name) = self.rows.get(&uuid).map(|row| row.name.clone())
        {
            self.touch_children(&name);
        }
        if let Some(write) = self.write(uuid) {
            self.pending.insert(uuid);
            if let Write::Claim { .. } = write
                && let Some(row) = self.rows.get(&uuid).filter(|row| row.chassis != self.chassis)
            {
                self.claimed.insert(row.name.clone(), now);
            }
            actions.push(Action::Write(write));
        }
    }

    /// From MARK_UP to INSTALLED once the database shows what it should.
    fn finish(&mut self, uuid: Uuid) {
        let shows = match (self.local.get(&uuid), self.rows.get(&uuid)) {
            (Some(_), Some(row)) if self.offline || row.ours => true,
            (Some(local), Some(row)) => match local.role {
                Role::Main => row.chassis == self.chassis && row.up != Some(false),
                Role::Additional => self.chassis.is_some_and(|me| row.additional.contains(&me)),
                Role::Unclaimed => true,
            },
            _ => return,
        };
        if let Some(local) = self.local.get_mut(&uuid)
            && shows
            && local.state == State::MarkUp
        {
            local.state = State::Installed;
            self.unfinished.remove(&uuid);
        }
    }
}

#[cfg(test)]
mod tests;
