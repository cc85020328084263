//! The compiler: rows and bindings in, generations out.
//!
//! [`Compiler::apply`] and its siblings only take note of what is touched; [`Compiler::publish`]
//! makes that anew, and nothing else. What must hold: whatever the order and number of changes, the
//! generation is that of a fresh compiler that was given the final state, apart from epochs and
//! numbers.

use crate::database::Database;
use crate::dirty::Dirty;
use crate::interface::{Interfaces, LocalPort};
use crate::local::Local;
use crate::locality::{Locality, Own, root};
use crate::names::{Name, Names};
use crate::place::{Map, Tunnels};
use crate::reading::{Entering, Made, Places, Readers, read, read_by_several};
use crate::sets::{Access, Sets};
use crate::southbound::{BadRow, PortBinding};
use crate::text::{Texts, World};
use hashbrown::HashMap;
use ovn_xdp_datapath::key::{InterfaceId, TunnelId};
use ovn_xdp_datapath::publish::{Generation, Tunnel};
use ovn_xdp_ovsdb::replica::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// Who this chassis is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// `Chassis.name`, the system-id (CH-1).
    pub chassis: Arc<str>,
}

/// Compiles the Southbound DB for one chassis.
#[derive(Debug)]
pub struct Compiler {
    pub(crate) database: Database,
    pub(crate) own: Own,
    /// Treat every datapath as local (`ovn-xdp check`).
    pub(crate) all: bool,
    pub(crate) bound: BTreeMap<Arc<str>, LocalPort>,
    pub(crate) interfaces: Interfaces,
    pub(crate) tunnels: Tunnels,
    peers: BTreeSet<IpAddr>,
    pub(crate) locality: Locality,
    pub(crate) locals: HashMap<Uuid, Local>,
    pub(crate) names: Names,
    pub(crate) sets: Sets,
    pub(crate) texts: Texts,
    pub(crate) readers: Readers,
    pub(crate) dirty: Dirty,
    /// Local datapaths whose published form is out of date.
    pub(crate) touched: BTreeSet<Uuid>,
    next: Generation,
    changed: bool,
    published: Arc<Generation>,
    pub(crate) epoch: u64,
}

impl Compiler {
    /// A compiler that has seen no rows yet.
    pub fn new(identity: Identity) -> Self {
        Self {
            database: Database::default(),
            own: Own { name: identity.chassis, uuid: None, whole: false },
            all: false,
            bound: BTreeMap::new(),
            interfaces: Interfaces::default(),
            tunnels: HashMap::new(),
            peers: BTreeSet::new(),
            locality: Locality::default(),
            locals: HashMap::new(),
            names: Names::default(),
            sets: Sets::default(),
            texts: Texts::default(),
            readers: Readers::default(),
            dirty: Dirty::default(),
            touched: BTreeSet::new(),
            next: Generation::default(),
            changed: false,
            published: Arc::default(),
            epoch: 0,
        }
    }

    /// Takes one atomic update of the database.
    pub fn apply(&mut self, changes: &[Change]) {
        let update = self.database.apply(changes);
        self.mark(&update);
    }

    /// Puts a logical port on an interface of this host, or takes it away.
    pub fn bind(&mut self, logical_port: &str, local: Option<LocalPort>) {
        let name = self
            .database
            .port(logical_port)
            .map_or_else(|| Arc::from(logical_port), |port| port.logical_port.clone());
        let before = match local {
            Some(local) => self.bound.insert(name.clone(), local),
            None => self.bound.remove(&name),
        };
        if before == local {
            return;
        }
        if let Some(before) = before {
            self.interfaces.detach(before, &name);
        }
        if let Some(local) = local {
            self.interfaces.attach(local, &name);
        }
        if let Some(port) = self.database.port(&name).cloned() {
            self.dirty.ports.insert(port.uuid());
            self.update_root(&port);
        }
    }

    /// Names an interface of this host, which is published from then on.
    pub fn set_interface(&mut self, id: InterfaceId, name: &str) {
        self.interfaces.set_name(id, name);
    }

    /// Takes an interface away. Ports on it stay bound until [`Compiler::bind`] says otherwise.
    pub fn remove_interface(&mut self, id: InterfaceId) {
        if self.interfaces.remove_name(id) {
            self.changed |= self.next.interfaces.remove(id);
        }
    }

    /// The tunnels to a chassis, in order of preference; none to forget it. Epochs are given here,
    /// those of the arguments do not matter.
    pub fn set_tunnel(&mut self, chassis: &str, tunnels: Vec<(TunnelId, Arc<Tunnel>)>) {
        let before = self.tunnels.remove(chassis).unwrap_or_default();
        for (id, _) in &before {
            if !tunnels.iter().any(|(kept, _)| kept == id) {
                self.changed |= self.next.tunnels.remove_mut(id);
            }
        }
        let ends = |list: &[(TunnelId, Arc<Tunnel>)]| {
            list.iter().map(|(id, tunnel)| (*id, tunnel.remote)).collect::<Vec<_>>()
        };
        let moved = ends(&before) != ends(&tunnels);
        for (id, tunnel) in &tunnels {
            let known = self.next.tunnels.get(id);
            let same = |known: &Arc<Tunnel>| {
                Tunnel { epoch: 0, ..(**known).clone() }
                    == Tunnel { epoch: 0, ..(**tunnel).clone() }
            };
            if !known.is_some_and(same) {
                self.epoch += 1;
                let tunnel = Tunnel { epoch: self.epoch, ..(**tunnel).clone() };
                self.next.tunnels.insert_mut(*id, Arc::new(tunnel));
                self.changed = true;
            }
        }
        if !tunnels.is_empty() {
            self.tunnels.insert(Arc::from(chassis), tunnels);
        }
        if moved {
            self.update_peers();
            if let Some(chassis) = self.database.chassis_by_name.first(chassis) {
                self.mark_chassis(chassis);
            }
        }
    }

    /// Addresses from which tunnel packets are accepted beside those of the tunnels (ENC-13).
    pub fn set_peers(&mut self, peers: BTreeSet<IpAddr>) {
        self.peers = peers;
        self.update_peers();
    }

    /// The state of everything that has been told, the same allocation if nothing has changed.
    pub fn publish(&mut self) -> Arc<Generation> {
        self.update_localities();
        self.refresh_sets();
        self.compile_flows();
        if let Some(sets) = self.sets.changed() {
            self.next.sets = sets;
            self.changed = true;
        }
        self.place_ports();
        self.merge_neighbours();
        self.attach_interfaces();
        for datapath in std::mem::take(&mut self.touched) {
            if let Some(local) = self.locals.get_mut(&datapath) {
                self.epoch += 1;
                let datapath = local.publish(self.epoch);
                self.next.datapaths.insert_mut(datapath.key, Arc::new(datapath));
                self.changed = true;
            }
        }
        if std::mem::take(&mut self.changed) {
            self.next.number += 1;
            self.published = Arc::new(self.next.clone());
        }
        self.published.clone()
    }

    /// The datapaths that concern this chassis, for the conditions of the monitor (MON-8). It
    /// follows what has been told at once, before it is published.
    pub fn local_datapaths(&mut self) -> &BTreeSet<Uuid> {
        if self.locality.stale {
            let mut ahead = Locality::default();
            std::mem::swap(&mut ahead, &mut self.locality);
            ahead.recompute(&self.database, &self.own, self.all);
            // What is published has not followed yet.
            ahead.stale = true;
            self.locality = ahead;
        }
        &self.locality.local
    }

    /// Rows that do not hold what their table promises. They are ignored.
    pub fn bad_rows(&self) -> impl Iterator<Item = &BadRow> {
        self.database.bad.values()
    }

    pub(crate) fn map(&self) -> Map<'_> {
        Map { database: &self.database, own: &self.own, bound: &self.bound, tunnels: &self.tunnels }
    }

    /// Finds out again whether a port makes its datapath local.
    pub(crate) fn update_root(&mut self, port: &PortBinding) {
        let current = self.database.ports.get(&port.uuid());
        let datapath = current.and_then(|port| {
            let bound = self.bound.contains_key(&port.logical_port);
            root(&self.database, &self.own, port, bound)
        });
        self.locality.root(port.uuid(), datapath);
    }

    fn update_peers(&mut self) {
        let tunnels = self.tunnels.values().flatten().map(|(_, tunnel)| tunnel.remote);
        let peers: BTreeSet<IpAddr> = tunnels.chain(self.peers.iter().copied()).collect();
        let known: BTreeSet<IpAddr> = self.next.peers.keys().copied().collect();
        for gone in known.difference(&peers) {
            self.changed |= self.next.peers.remove_mut(gone);
        }
        for new in peers.difference(&known) {
            self.next.peers.insert_mut(*new, ());
            self.changed = true;
        }
    }

    fn update_localities(&mut self) {
        if std::mem::take(&mut self.dirty.everything) {
            for (_, local) in self.locals.drain() {
                self.next.datapaths.remove_mut(&local.binding.key);
            }
            self.changed = true;
            self.names = Names::default();
            self.texts.clear();
            self.interfaces.touch_all();
            self.locality.stale = true;
            let ports: Vec<_> = self.database.ports.values().cloned().collect();
            ports.iter().for_each(|port| self.update_root(port));
        }
        if !std::mem::take(&mut self.locality.stale) {
            return;
        }
        self.locality.recompute(&self.database, &self.own, self.all);
        let gone: Vec<Uuid> = self.locals.keys().copied().collect();
        for datapath in gone {
            if !self.locality.local.contains(&datapath) {
                self.drop_local(datapath);
            }
        }
        let new: Vec<Uuid> = self.locality.local.iter().copied().collect();
        for datapath in new {
            if !self.locals.contains_key(&datapath)
                && let Some(binding) = self.database.datapaths.get(&datapath)
            {
                let local = Local::new(binding.clone());
                self.locals.insert(datapath, local);
                self.mark_datapath(datapath);
            }
        }
    }

    /// Forgets what was made of a datapath.
    pub(crate) fn drop_local(&mut self, datapath: Uuid) {
        if let Some(local) = self.locals.remove(&datapath) {
            self.changed |= self.next.datapaths.remove_mut(&local.binding.key);
        }
        self.touched.remove(&datapath);
    }

    pub(crate) fn refresh_sets(&mut self) {
        for name in std::mem::take(&mut self.dirty.address_sets) {
            let refreshed = self.sets.refresh_addresses(&self.database, &name);
            if refreshed.itself {
                self.mark_name(&Name::AddressSet(name.clone()), None);
            }
            if refreshed.members {
                self.mark_name(&Name::Members(name.clone()), None);
            }
            if refreshed.emptiness {
                self.mark_name(&Name::Emptiness(name), None);
            }
        }
        for (key, name) in std::mem::take(&mut self.dirty.port_groups) {
            if self.sets.refresh_group(&self.database, key, &name) {
                let datapath = self.database.datapath_by_key.first(&key);
                self.mark_name(&Name::PortGroup(name), datapath);
            }
        }
    }

    fn compile_flows(&mut self) {
        let mut open = std::mem::take(&mut self.dirty.flows);
        open.sort_unstable();
        open.dedup();
        let flows: Vec<Places<'_>> = open.chunk_by(|a, b| a.0 == b.0).collect();
        self.read_flows(&flows, |entering, made| entering.enter(made));
    }

    /// Reads flows, each in some datapaths, and gives what came of them to `each` one after the other.
    pub(crate) fn read_flows(
        &mut self,
        flows: &[Places<'_>],
        mut each: impl FnMut(&mut Entering<'_>, Made),
    ) {
        let Self { database, own, sets, texts, readers, locals, names, touched, .. } = self;
        let mut entering = Entering { database, locals, names, touched };
        let mut enter = |made| each(&mut entering, made);
        let rest = read_by_several(*readers, flows, texts, (database, own, sets), &mut enter);
        let mut world = World { database, own, sets: Access::Alone(sets) };
        for flow in rest {
            if let Some(made) = read(flow, texts, &mut world) {
                enter(made);
            }
        }
        entering.finish(*readers, flows.len());
    }

    fn attach_interfaces(&mut self) {
        let attachment = |name: &Arc<str>| {
            let map = Map {
                database: &self.database,
                own: &self.own,
                bound: &self.bound,
                tunnels: &self.tunnels,
            };
            map.attachment(self.database.port(name)?)
        };
        let published = &self.next.interfaces;
        for (id, interface) in self.interfaces.refresh(published, attachment, &mut self.epoch) {
            self.next.interfaces.insert(id, interface);
            self.changed = true;
        }
    }
}
