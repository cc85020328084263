//! The sets that matches refer to, as one allocation each, and what names mean in a datapath.
//!
//! A set stays a set: all rules that name it share its values (DESIGN, "Sets stay sets"). The
//! allocation is kept as long as the values are the same, because rules are compared by it.

use crate::database::Database;
use crate::locality::{Own, active};
use crate::names::Name;
use crate::southbound::{DatapathBinding, PortType};
use hashbrown::HashMap;
use ovn_xdp_datapath::classify::{Masked, SharedSet};
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_logical::resolve::{Resolve, SetError};
use ovn_xdp_logical::set::AddressSet;
use std::sync::Arc;

/// Shared values of sets, by name.
#[derive(Default, Debug)]
pub(crate) struct Sets {
    addresses: HashMap<Arc<str>, Addresses>,
    groups: HashMap<(DatapathKey, Arc<str>), SharedSet>,
}

#[derive(Debug)]
struct Addresses {
    set: AddressSet,
    /// By width of the field that they are compared with.
    fitted: Vec<(u32, Result<SharedSet, SetError>)>,
}

impl Sets {
    /// Takes note that an address set may have changed; returns whether anybody can see it.
    pub(crate) fn refresh_addresses(&mut self, database: &Database, name: &Arc<str>) -> bool {
        let now = read(database, name);
        let Some(known) = self.addresses.get(name) else { return now.is_some() };
        if now.as_ref() == Some(&known.set) {
            return false;
        }
        self.addresses.remove(name);
        true
    }

    /// Takes note that a port group of a datapath, or a member's key, may have changed; returns
    /// whether anybody can see it.
    pub(crate) fn refresh_group(
        &mut self,
        database: &Database,
        datapath: DatapathKey,
        name: &Arc<str>,
    ) -> bool {
        let key = (datapath, name.clone());
        let now = members(database, datapath, name);
        let Some(known) = self.groups.get(&key) else { return now.is_some() };
        if now.as_deref() == Some(&*known.0) {
            return false;
        }
        self.groups.remove(&key);
        true
    }
}

fn read(database: &Database, name: &str) -> Option<AddressSet> {
    let row = database.address_sets.get(&database.address_set_by_name.first(name)?)?;
    Some(AddressSet::new(row.addresses.iter().map(|text| &**text)))
}

/// The keys of a port group's members in one datapath (EX-S6).
fn members(database: &Database, datapath: DatapathKey, name: &str) -> Option<Vec<Masked>> {
    let row = database.port_group_by_name.first(&*format!("{datapath}_{name}"))?;
    let row = database.port_groups.get(&row)?;
    let of = database.datapath_by_key.first(&datapath)?;
    let key = |name: &Arc<str>| {
        let port = database.port(name).filter(|port| port.datapath == of)?;
        Some(Masked { value: port.key.get().into(), mask: u32::MAX.into() })
    };
    let mut keys: Vec<Masked> = row.ports.iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    Some(keys)
}

/// A port group's name apart from the datapath's key that SB puts in front.
pub(crate) fn split_group(name: &str) -> Option<(DatapathKey, &str)> {
    let (key, name) = name.split_once('_')?;
    Some((DatapathKey::new(key.parse().ok()?)?, name))
}

/// What names mean in one datapath. Every question is noted in `asked`.
pub(crate) struct Resolver<'a> {
    pub(crate) database: &'a Database,
    pub(crate) own: &'a Own,
    pub(crate) datapath: &'a DatapathBinding,
    pub(crate) sets: &'a mut Sets,
    pub(crate) asked: Vec<Name>,
}

impl Resolver<'_> {
    fn ask(&mut self, name: Name) {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
    }
}

impl Resolve for Resolver<'_> {
    fn port(&mut self, name: &str) -> Option<u32> {
        let port = self.database.port(name);
        let shared = port.map_or_else(|| Arc::from(name), |port| port.logical_port.clone());
        self.ask(Name::Port(shared.clone()));
        let own = self.datapath.uuid;
        if let Some(port) = port.filter(|port| port.datapath == own) {
            return Some(port.key.get().into());
        }
        let group = self.database.multicast_by_name.first(&(own, shared))?;
        Some(self.database.multicast.get(&group)?.key.get().into())
    }

    fn address_set(&mut self, name: &str, width: u32) -> Result<SharedSet, SetError> {
        let shared: Arc<str> = match self.sets.addresses.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => Arc::from(name),
        };
        self.ask(Name::AddressSet(shared.clone()));
        if !self.sets.addresses.contains_key(name) {
            let set = read(self.database, name).ok_or(SetError::Unknown)?;
            let addresses = Addresses { set, fitted: Vec::new() };
            self.sets.addresses.insert(shared, addresses);
        }
        let known = self.sets.addresses.get_mut(name).ok_or(SetError::Unknown)?;
        if let Some((_, fitted)) = known.fitted.iter().find(|(known, _)| *known == width) {
            return fitted.clone();
        }
        let fitted = known.set.fit(width).map(SharedSet);
        known.fitted.push((width, fitted.clone()));
        fitted
    }

    fn port_group(&mut self, name: &str) -> Option<SharedSet> {
        let shared: Arc<str> = Arc::from(name);
        self.ask(Name::PortGroup(shared.clone()));
        let key = (self.datapath.key, shared);
        if let Some(known) = self.sets.groups.get(&key) {
            return Some(known.clone());
        }
        let set = SharedSet(members(self.database, key.0, name)?.into());
        self.sets.groups.insert(key, set.clone());
        Some(set)
    }

    fn is_chassis_resident(&mut self, name: &str) -> bool {
        let port = self.database.port(name);
        let shared = port.map_or_else(|| Arc::from(name), |port| port.logical_port.clone());
        self.ask(Name::Resident(shared));
        if self.own.whole {
            return port.is_some() || name.is_empty();
        }
        let Some(port) = port else { return false };
        let chassis = match port.kind {
            PortType::ChassisRedirect => active(self.database, port),
            _ => port.chassis,
        };
        self.own.uuid.is_some() && chassis == self.own.uuid
    }
}
