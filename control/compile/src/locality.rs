//! Which datapaths concern this chassis (MON-8).
//!
//! It starts from the datapaths of ports that live here and goes over patch ports, recursively, but
//! not over a distributed gateway port that always redirects to another chassis: what is behind it
//! is that chassis's concern.

use crate::database::Database;
use crate::southbound::{PortBinding, PortType};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// This chassis, as the database knows it.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// `Chassis.name`.
    pub(crate) name: Arc<str>,
    /// `Chassis._uuid`, once there is a row.
    pub(crate) uuid: Option<Uuid>,
    /// No chassis at all: the whole logical network, each port of it resident and within reach.
    pub(crate) whole: bool,
}

/// The local datapaths, kept up with the ports that make them so.
#[derive(Default, Debug)]
pub(crate) struct Locality {
    /// The datapath that a port makes local.
    roots: HashMap<Uuid, Uuid>,
    /// How many ports make a datapath local.
    counts: HashMap<Uuid, usize>,
    /// Whether [`Locality::recompute`] may find something else than before.
    pub(crate) stale: bool,
    /// The result.
    pub(crate) local: BTreeSet<Uuid>,
}

impl Locality {
    /// Notes whether a port makes its datapath local, after either has changed.
    pub(crate) fn root(&mut self, port: Uuid, datapath: Option<Uuid>) {
        let before = match datapath {
            Some(datapath) => self.roots.insert(port, datapath),
            None => self.roots.remove(&port),
        };
        if before == datapath {
            return;
        }
        if let Some(before) = before
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
                self.stale = true;
            }
        }
        if let Some(datapath) = datapath {
            let count = self.counts.entry(datapath).or_insert(0);
            *count += 1;
            self.stale |= *count == 1;
        }
    }

    /// The local datapaths by now; `all` makes every datapath local.
    pub(crate) fn recompute(&mut self, database: &Database, own: &Own, all: bool) {
        self.stale = false;
        if all {
            self.local = database.datapaths.keys().copied().collect();
            return;
        }
        let known = |datapath: &Uuid| database.datapaths.contains_key(datapath);
        let mut open: Vec<Uuid> = self.counts.keys().copied().filter(known).collect();
        self.local = open.iter().copied().collect();
        while let Some(datapath) = open.pop() {
            for port in database.patches_of_datapath.rows(&datapath) {
                let port = &database.ports[&port];
                if let Some(peer) = peer(database, port)
                    && extends(database, own, port)
                    && known(&peer.datapath)
                    && self.local.insert(peer.datapath)
                {
                    open.push(peer.datapath);
                }
            }
        }
    }
}

/// The datapath that becomes local by this port, if it does; `bound` says that it is a workload on
/// an interface here.
pub(crate) fn root(
    database: &Database,
    own: &Own,
    port: &PortBinding,
    bound: bool,
) -> Option<Uuid> {
    let here = own.uuid.is_some() && port.chassis() == own.uuid;
    let named = |option| port.option(option) == Some(&own.name);
    let roots = match port.kind {
        PortType::Vif => bound,
        PortType::L3Gateway => here || named("l3gateway-chassis"),
        PortType::L2Gateway => here || named("l2gateway-chassis"),
        PortType::ChassisRedirect | PortType::External => {
            here || own.uuid.is_some_and(|own| is_member(database, port, own))
        }
        PortType::Virtual => here,
        PortType::Localnet
        | PortType::Localport
        | PortType::Patch
        | PortType::Remote
        | PortType::Vtep
        | PortType::Mirror
        | PortType::Unknown => false,
    };
    roots.then_some(port.datapath)
}

/// The other end of a patch or l3gateway port: of the same type, and it says so as well (PBT-5).
pub(crate) fn peer<'a>(database: &'a Database, port: &PortBinding) -> Option<&'a Arc<PortBinding>> {
    let peer = database.port(port.option("peer")?)?;
    let mutual = peer.kind == port.kind && peer.option("peer") == Some(&port.logical_port);
    mutual.then_some(peer)
}

/// Whether what is behind a patch port concerns who has this side.
fn extends(database: &Database, own: &Own, port: &PortBinding) -> bool {
    if port.kind != PortType::Patch {
        return true;
    }
    let Some(redirect) = port.option("chassis-redirect-port") else { return true };
    let Some(redirect) = database.port(redirect) else { return false };
    redirect.option("always-redirect").is_none_or(|value| **value != *"true")
        || own.uuid.is_some_and(|own| is_member(database, redirect, own))
}

/// Whether a chassis is in the HA group of a port.
pub(crate) fn is_member(database: &Database, port: &PortBinding, chassis: Uuid) -> bool {
    members(database, port).any(|(_, member)| member == chassis)
}

/// The chassis that a centralised port is on (PBT-7): the one that has claimed it, or the preferred
/// one of its HA group as long as none has.
pub(crate) fn active(database: &Database, port: &PortBinding) -> Option<Uuid> {
    if port.ha_chassis_group().is_none() {
        return port.chassis();
    }
    port.chassis().filter(|chassis| is_member(database, port, *chassis)).or_else(|| {
        members(database, port)
            .max_by_key(|(priority, chassis)| (*priority, std::cmp::Reverse(*chassis)))
            .map(|(_, chassis)| chassis)
    })
}

fn members(database: &Database, port: &PortBinding) -> impl Iterator<Item = (i64, Uuid)> {
    let group = port.ha_chassis_group().and_then(|group| database.ha_groups.get(&group));
    let rows = group.map_or(&[][..], |group| &group.ha_chassis);
    rows.iter().filter_map(|member| {
        let member = database.ha_chassis.get(member)?;
        Some((member.priority, member.chassis?))
    })
}
