//! The compiler and the publisher behind it, as the engine wants them.

use super::parts::Compiler;
use crate::southbound::learn::Names;
use crate::tunnels::Way;
use ovn_xdp_compile::report::Skipped;
use ovn_xdp_compile::southbound::{DatapathBinding, PortType, Record};
use ovn_xdp_compile::{Compiler as Compile, Identity, LocalPort, Objection};
use ovn_xdp_datapath::key::{DatapathKey, InterfaceId, PortKey, TunnelId};
use ovn_xdp_datapath::publish::{Generation, Place, Tag, Tunnel};
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_ovsdb::replica::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// The compiler, and the workers' end of what it makes.
pub struct Compiled {
    /// The compiler.
    pub compiler: Compile,
    publisher: Publisher,
    last: Option<Arc<Generation>>,
    number: u64,
    /// Which row of Port_Binding put a name where it is: a row that is made anew may be bound
    /// before its predecessor is let go.
    owners: HashMap<Arc<str>, Uuid>,
    ways: BTreeMap<TunnelId, Way>,
    datapaths: HashMap<Uuid, DatapathKey>,
    /// Flows that were logged as skipped; they are not logged again while they stay so.
    reported: HashSet<Uuid>,
    /// Flows that became skipped since somebody looked; not more than there is use for.
    pub news: Vec<Skipped>,
}

/// News that are kept at most.
const NEWS: usize = 1024;

/// Skipped flows that are logged one by one when many become so at once.
const LISTED: usize = 10;

impl Compiled {
    /// A compiler for the chassis of this name, that publishes to `publisher`.
    pub fn new(chassis: &str, publisher: Publisher) -> Self {
        Self {
            compiler: Compile::new(Identity { chassis: chassis.into() }),
            publisher,
            last: None,
            number: 0,
            owners: HashMap::new(),
            ways: BTreeMap::new(),
            datapaths: HashMap::new(),
            reported: HashSet::new(),
            news: Vec::new(),
        }
    }

    fn report_skipped(&mut self) {
        let skipped: Vec<_> = self.compiler.skipped().collect();
        let new: Vec<_> =
            skipped.iter().filter(|flow| !self.reported.contains(&flow.flow.uuid)).collect();
        for flow in new.iter().take(LISTED) {
            tracing::warn!("a flow cannot be used: {flow}");
        }
        if new.len() > LISTED {
            tracing::warn!(
                "{} more flows cannot be used: `ovs-appctl -t SOCKET debug/dump-skipped-flows`",
                new.len() - LISTED
            );
        }
        let room = NEWS.saturating_sub(self.news.len());
        self.news.extend(new.iter().take(room).map(|flow| (**flow).clone()));
        self.reported = skipped.iter().map(|flow| flow.flow.uuid).collect();
    }

    fn tell(&mut self, chassis: &str) {
        let mut ways: Vec<(TunnelId, &Way)> = self
            .ways
            .iter()
            .filter(|(_, way)| way.ends.chassis == chassis)
            .map(|(id, way)| (*id, way))
            .collect();
        ways.sort_by_key(|(id, way)| (!way.preferred, *id));
        let tunnels: Vec<(TunnelId, Arc<Tunnel>)> =
            ways.into_iter().map(|(id, way)| (id, Arc::new(way.tunnel.clone()))).collect();
        self.compiler.set_tunnel(chassis, tunnels);
    }
}

impl Compiler for Compiled {
    type Names = PortNames;

    fn apply(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| &*change.table == DatapathBinding::TABLE) {
            let row = change.new.as_ref();
            match row.and_then(|row| DatapathBinding::from_row(change.row, row).ok()) {
                Some(row) => self.datapaths.insert(change.row, row.key),
                None => self.datapaths.remove(&change.row),
            };
        }
        self.compiler.apply(changes);
    }

    fn knows(&self, table: &str, row: Uuid) -> bool {
        self.compiler.knows(table, row)
    }

    fn verify(&mut self, changes: &[Change]) -> Result<(), Objection> {
        self.compiler.verify(changes)
    }

    fn set_interface(&mut self, id: InterfaceId, name: &str) {
        self.compiler.set_interface(id, name);
    }

    fn remove_interface(&mut self, id: InterfaceId) {
        self.compiler.remove_interface(id);
    }

    fn bind(&mut self, row: Uuid, port: &Arc<str>, interface: InterfaceId, tag: Option<Tag>) {
        self.owners.insert(port.clone(), row);
        self.compiler.bind(port, Some(LocalPort { interface, tag }));
    }

    fn unbind(&mut self, row: Uuid, port: &Arc<str>) {
        if self.owners.get(port) == Some(&row) {
            self.owners.remove(port);
            self.compiler.bind(port, None);
        }
    }

    fn set_tunnel(&mut self, id: TunnelId, way: &Way) {
        self.ways.insert(id, way.clone());
        self.tell(&way.ends.chassis);
    }

    fn remove_tunnel(&mut self, id: TunnelId) {
        if let Some(way) = self.ways.remove(&id) {
            self.tell(&way.ends.chassis);
        }
    }

    fn set_peers(&mut self, peers: &BTreeSet<IpAddr>) {
        self.compiler.set_peers(peers.clone());
    }

    fn local_datapaths(&mut self) -> Vec<(Uuid, DatapathKey)> {
        let local = self.compiler.local_datapaths();
        local.iter().filter_map(|uuid| Some((*uuid, *self.datapaths.get(uuid)?))).collect()
    }

    fn publish(&mut self) -> u64 {
        let generation = self.compiler.publish();
        if self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &generation)) {
            self.number = self.publisher.publish((*generation).clone());
            self.last = Some(generation);
            self.report_skipped();
        }
        self.number
    }

    fn names(&self) -> PortNames {
        let keys = self.datapaths.iter().map(|(uuid, key)| (*key, *uuid)).collect();
        PortNames { keys, generation: self.last.clone().unwrap_or_default() }
    }
}

/// Names of ports in a generation.
pub struct PortNames {
    keys: HashMap<DatapathKey, Uuid>,
    generation: Arc<Generation>,
}

impl Names for PortNames {
    fn port(&self, datapath: DatapathKey, port: PortKey) -> Option<(Uuid, Arc<str>)> {
        let row = *self.keys.get(&datapath)?;
        let port = self.generation.datapaths.get(&datapath)?.ports.get(port)?;
        Some((row, port.name.clone()))
    }

    fn is_localnet(&self, datapath: DatapathKey, port: PortKey) -> bool {
        let datapath = self.generation.datapaths.get(&datapath);
        let port = datapath.and_then(|datapath| datapath.ports.get(port));
        port.is_some_and(|port| port.place == Place::NotExecuted(PortType::Localnet.label()))
    }
}
