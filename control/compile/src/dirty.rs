//! What a change reaches: from touched rows to what must be made anew.
//!
//! Marking may name too much, because what comes out equal is not published; it must never name too
//! little. Relations are followed as they are now; what they were before is in the old rows, and a
//! row that stopped referring to something was touched itself.

use crate::compiler::Compiler;
use crate::database::{Touched, Update};
use crate::names::Name;
use crate::sets::split_group;
use crate::southbound::{LogicalFlow, PortBinding, PortType};
use hashbrown::{HashMap, HashSet};
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_datapath::publish::{Mac, Port};
use ovn_xdp_logical::action::OptionTable;
use ovn_xdp_logical::dialect::Dialect;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// What is out of date.
#[derive(Default, Debug)]
pub(crate) struct Dirty {
    /// All of it.
    pub(crate) everything: bool,
    /// Flows, each in one local datapath.
    pub(crate) flows: Vec<(Uuid, Uuid)>,
    pub(crate) ports: HashSet<Uuid>,
    pub(crate) groups: HashSet<Uuid>,
    pub(crate) neighbours: HashSet<(Arc<str>, IpAddr)>,
    pub(crate) fdb: HashSet<(DatapathKey, Mac)>,
    pub(crate) address_sets: HashSet<Arc<str>>,
    pub(crate) port_groups: HashSet<(DatapathKey, Arc<str>)>,
}

impl Compiler {
    /// Marks what an update reaches.
    pub(crate) fn mark(&mut self, update: &Update) {
        self.mark_options(update);
        self.mark_dialect(update);
        self.mark_chassis_rows(update);
        self.mark_datapaths(update);
        self.mark_flows(update);
        self.mark_sets(update);
        for touched in &update.ports {
            self.mark_port(touched);
        }
        self.mark_groups(update);
        for touched in &update.mac_bindings {
            let keys = touched.both().map(|row| (row.logical_port.clone(), row.ip));
            self.dirty.neighbours.extend(keys);
        }
        for touched in &update.static_macs {
            let keys = touched.both().map(|row| (row.logical_port.clone(), row.ip));
            self.dirty.neighbours.extend(keys);
        }
        for touched in &update.fdb {
            self.dirty.fdb.extend(touched.both().map(|row| (row.dp_key, row.mac)));
        }
    }

    /// Marks the flows that asked for a name, in one datapath or in all.
    pub(crate) fn mark_name(&mut self, name: &Name, datapath: Option<Uuid>) {
        for uuid in self.names.flows(name) {
            match datapath {
                Some(datapath) if self.locals.contains_key(&datapath) => {
                    self.dirty.flows.push((uuid, datapath));
                }
                Some(_) => {}
                None => {
                    let Some(flow) = self.database.flows.get(&uuid) else { continue };
                    let all = self.database.datapaths_of(flow);
                    let local = all.filter(|datapath| self.locals.contains_key(datapath));
                    self.dirty.flows.extend(local.map(|datapath| (uuid, datapath)));
                }
            }
        }
    }

    /// Marks all that a datapath is made of.
    pub(crate) fn mark_datapath(&mut self, datapath: Uuid) {
        self.touched.insert(datapath);
        let database = &self.database;
        self.dirty.flows.extend(database.flows_for(datapath).map(|flow| (flow.uuid(), datapath)));
        self.dirty.groups.extend(database.multicast_of_datapath.rows(&datapath));
        for port in database.ports_of_datapath.rows(&datapath) {
            self.dirty.ports.insert(port);
            let name = &database.ports[&port].logical_port;
            self.dirty.neighbours.extend(addresses(database, name).map(|ip| (name.clone(), ip)));
        }
        if let Some(row) = database.datapaths.get(&datapath) {
            let fdb = database.fdb_of_datapath.rows(&row.key);
            let entries = fdb.filter_map(|entry| database.fdb.get(&entry));
            self.dirty.fdb.extend(entries.map(|entry| (entry.dp_key, entry.mac)));
        }
    }

    /// Marks the ports that lead to a chassis.
    pub(crate) fn mark_chassis(&mut self, chassis: Uuid) {
        self.dirty.ports.extend(self.database.ports_of_chassis.rows(&chassis));
        let members: Vec<Uuid> = self.database.ha_chassis_of_chassis.rows(&chassis).collect();
        for member in members {
            let groups: Vec<Uuid> = self.database.ha_groups_of_member.rows(&member).collect();
            groups.into_iter().for_each(|group| self.mark_ha_group(group));
        }
    }

    fn mark_ha_group(&mut self, group: Uuid) {
        let ports: Vec<Arc<PortBinding>> = self
            .database
            .ports_of_ha_group
            .rows(&group)
            .map(|port| self.database.ports[&port].clone())
            .collect();
        for port in ports {
            self.dirty.ports.insert(port.uuid());
            self.mark_name(&Name::Resident(port.logical_port.clone()), None);
            self.update_root(&port);
            self.locality.stale = true;
        }
    }

    fn mark_options(&mut self, update: &Update) {
        if update.dhcp.is_empty() && update.dhcpv6.is_empty() {
            return;
        }
        // In order of UUIDs, so that of two options with one name it is always the same that counts.
        let mut v4: Vec<_> = self.database.dhcp.values().collect();
        v4.sort_by_key(|row| row.uuid);
        let v4 = v4.into_iter().map(|row| (&*row.name, row.code.into(), &*row.kind));
        self.texts.dhcp = Arc::new(OptionTable::new(v4));
        let mut v6: Vec<_> = self.database.dhcpv6.values().collect();
        v6.sort_by_key(|row| row.uuid);
        let v6 = v6.into_iter().map(|row| (&*row.name, row.code.into(), &*row.kind));
        self.texts.dhcpv6 = Arc::new(OptionTable::new(v6));
        self.dirty.everything = true;
    }

    /// Marks the flows that a northd of another release means otherwise, when it is of another.
    fn mark_dialect(&mut self, update: &Update) {
        if update.globals.is_empty() {
            return;
        }
        let dialect = Dialect::of(self.database.release());
        if std::mem::replace(&mut self.texts.dialect, dialect) == dialect {
            return;
        }
        self.texts.clear();
        // What a template variable stands for is not in the text.
        let concerned = |text: &str| Dialect::matters(text) || text.contains('^');
        for datapath in self.locals.keys() {
            let flows = self.database.flows_for(*datapath);
            let flows = flows.filter(|flow| concerned(flow.matches()));
            self.dirty.flows.extend(flows.map(|flow| (flow.uuid(), *datapath)));
        }
    }

    fn mark_chassis_rows(&mut self, update: &Update) {
        let own = self.database.chassis(&self.own.name).map(|row| row.uuid);
        if own != self.own.uuid {
            self.own.uuid = own;
            self.dirty.everything = true;
        }
        for touched in &update.chassis {
            self.mark_chassis(touched.row);
        }
        for touched in &update.encaps {
            for encap in touched.both() {
                if let Some(chassis) = self.database.chassis_by_name.first(&encap.chassis_name) {
                    self.mark_chassis(chassis);
                }
            }
        }
        for touched in &update.ha_groups {
            self.mark_ha_group(touched.row);
        }
        for touched in &update.ha_chassis {
            let groups: Vec<Uuid> = self.database.ha_groups_of_member.rows(&touched.row).collect();
            groups.into_iter().for_each(|group| self.mark_ha_group(group));
        }
        for touched in &update.templates {
            let own = touched.both().filter(|row| row.chassis == self.own.name);
            let names: HashSet<Arc<str>> =
                own.flat_map(|row| row.variables.keys().cloned()).collect();
            names.into_iter().for_each(|name| self.mark_name(&Name::Template(name), None));
        }
        let tunnelled = |row: &Option<Arc<crate::southbound::SbGlobal>>| {
            row.as_ref().and_then(|row| row.options.get("always_tunnel").cloned())
        };
        if update.globals.iter().any(|t| tunnelled(&t.old) != tunnelled(&t.new)) {
            let locals: Vec<Uuid> = self.locals.keys().copied().collect();
            locals.into_iter().for_each(|datapath| self.mark_ports_of(datapath));
        }
    }

    fn mark_datapaths(&mut self, update: &Update) {
        for touched in &update.datapaths {
            let what = |row: &Arc<crate::southbound::DatapathBinding>| (row.key, row.name());
            if touched.old.as_ref().map(what) == touched.new.as_ref().map(what) {
                continue;
            }
            self.drop_local(touched.row);
            self.locality.stale = true;
            // Attachments carry the key: those of interfaces, and of patch ports elsewhere.
            let ports: Vec<Arc<PortBinding>> = self
                .database
                .ports_of_datapath
                .rows(&touched.row)
                .map(|port| self.database.ports[&port].clone())
                .collect();
            for port in ports {
                self.interfaces.touch(&self.bound, &port.logical_port);
                if let Some(peer) = port.option("peer").and_then(|peer| self.database.port(peer)) {
                    self.dirty.ports.insert(peer.uuid());
                }
            }
            // A port group's name starts with the key.
            for row in touched.both() {
                let prefix = format!("{}_", row.key);
                let groups = self.database.port_groups.values();
                let named = groups.filter_map(|group| group.name.strip_prefix(&*prefix));
                self.dirty.port_groups.extend(named.map(|name| (row.key, name.into())));
            }
        }
    }

    fn mark_flows(&mut self, update: &Update) {
        let before: HashMap<Uuid, &[Uuid]> = update
            .dp_groups
            .iter()
            .map(|t| (t.row, t.old.as_ref().map_or(&[][..], |old| &old.datapaths)))
            .collect();
        for touched in &update.flows {
            if let Some(old) = &touched.old {
                self.names.forget();
                let group = old.group().map_or(&[][..], |group| match before.get(&group) {
                    Some(before) => before,
                    None => self.database.dp_groups.get(&group).map_or(&[], |g| &g.datapaths),
                });
                for datapath in old.datapath().iter().chain(group) {
                    remove(&mut self.locals, &mut self.touched, old, *datapath);
                }
            }
            if let Some(new) = &touched.new {
                let all = self.database.datapaths_of(new);
                let local = all.filter(|datapath| self.locals.contains_key(datapath));
                self.dirty.flows.extend(local.map(|datapath| (touched.row, datapath)));
            }
        }
        self.names.sweep(&self.database.flows);
        for touched in &update.dp_groups {
            let old = touched.old.as_ref().map_or(&[][..], |row| &row.datapaths);
            let new = touched.new.as_ref().map_or(&[][..], |row| &row.datapaths);
            for datapath in new.iter().filter(|one| !old.contains(one)) {
                if self.locals.contains_key(datapath) {
                    let flows = self.database.flows_of_group.rows(touched.row);
                    self.dirty.flows.extend(flows.map(|flow| (flow.uuid(), *datapath)));
                }
            }
            // Now, not when publishing: by then the flow may be gone, and where it was with it.
            for datapath in old.iter().filter(|one| !new.contains(one)) {
                for flow in self.database.flows_of_group.rows(touched.row) {
                    if !self.database.applies(flow, *datapath) {
                        remove(&mut self.locals, &mut self.touched, flow, *datapath);
                    }
                }
            }
        }
    }

    fn mark_sets(&mut self, update: &Update) {
        for touched in &update.address_sets {
            self.dirty.address_sets.extend(touched.both().map(|row| row.name.clone()));
        }
        for touched in &update.port_groups {
            let names = touched.both().filter_map(|row| split_group(&row.name));
            self.dirty.port_groups.extend(names.map(|(key, name)| (key, Arc::from(name))));
        }
    }

    fn mark_port(&mut self, touched: &Touched<Arc<PortBinding>>) {
        self.dirty.ports.insert(touched.row);
        let identity = |row: &Arc<PortBinding>| (row.logical_port.clone(), row.datapath, row.key);
        let renamed = touched.old.as_ref().map(identity) != touched.new.as_ref().map(identity);
        for port in touched.both() {
            self.mark_name(&Name::Resident(port.logical_port.clone()), None);
            self.dirty.ports.extend(self.database.ports_by_peer.rows(&port.logical_port));
            self.interfaces.touch(&self.bound, &port.logical_port);
            let joins = matches!(port.kind, PortType::Patch | PortType::L3Gateway);
            if joins || port.kind == PortType::ChassisRedirect {
                self.locality.stale = true;
            }
            if port.kind == PortType::Localnet {
                self.mark_ports_of(port.datapath);
            }
            if renamed {
                self.mark_renamed(port);
            }
            self.update_root(port);
        }
        if renamed && let Some(old) = &touched.old {
            self.retire(old);
        }
    }

    fn mark_renamed(&mut self, port: &PortBinding) {
        let name = &port.logical_port;
        self.mark_name(&Name::Port(name.clone()), Some(port.datapath));
        let database = &self.database;
        self.dirty.neighbours.extend(addresses(database, name).map(|ip| (name.clone(), ip)));
        let groups = database.port_groups_of_member.rows(name);
        let names = groups.filter_map(|row| split_group(&database.port_groups[&row].name));
        self.dirty.port_groups.extend(names.map(|(key, name)| (key, Arc::from(name))));
        self.dirty.groups.extend(database.multicast_of_port.rows(&port.uuid()));
    }

    /// Takes away what stands under a key that a port no longer has.
    fn retire(&mut self, old: &PortBinding) {
        let Some(local) = self.locals.get_mut(&old.datapath) else { return };
        // A row that is taken back may have had the key of another, which keeps it.
        let taken = |port: &Arc<Port>| *port.name != *old.logical_port;
        if local.ports.get(old.key).is_some_and(taken) {
            return;
        }
        // So may one that has its name as well, which is made again.
        self.dirty.ports.extend(self.database.port_by_name.rows(&old.logical_port));
        let mut changed = local.ports.remove(old.key);
        let neighbours: Vec<_> =
            local.neighbours.keys().filter(|key| key.port == old.key).copied().collect();
        for neighbour in &neighbours {
            changed |= local.neighbours.remove_mut(neighbour);
        }
        if changed {
            self.touched.insert(old.datapath);
        }
    }

    fn mark_groups(&mut self, update: &Update) {
        for touched in &update.multicast {
            self.dirty.groups.insert(touched.row);
            let identity = |row: &Arc<crate::southbound::MulticastGroup>| {
                (row.name.clone(), row.datapath, row.key)
            };
            if touched.old.as_ref().map(identity) == touched.new.as_ref().map(identity) {
                continue;
            }
            for group in touched.both() {
                self.mark_name(&Name::Port(group.name.clone()), Some(group.datapath));
            }
            if let Some(old) = &touched.old
                && let Some(local) = self.locals.get_mut(&old.datapath)
                && local.groups.remove_mut(&old.key)
            {
                self.touched.insert(old.datapath);
                // A row that is taken back may have had the key of another, which keeps it.
                let groups = &self.database.multicast;
                let others = self.database.multicast_of_datapath.rows(&old.datapath);
                let same = |row: &Uuid| groups.get(row).is_some_and(|row| row.key == old.key);
                self.dirty.groups.extend(others.filter(same));
            }
        }
    }

    fn mark_ports_of(&mut self, datapath: Uuid) {
        self.dirty.ports.extend(self.database.ports_of_datapath.rows(&datapath));
        self.dirty.groups.extend(self.database.multicast_of_datapath.rows(&datapath));
    }
}

/// The addresses that neighbours of a port have.
fn addresses<'a>(
    database: &'a crate::database::Database,
    port: &str,
) -> impl Iterator<Item = IpAddr> + use<'a> {
    let learned = database.mac_bindings_of_port.rows(port);
    let learned = learned.filter_map(|row| database.mac_bindings.get(&row).map(|row| row.ip));
    let given = database.static_macs_of_port.rows(port);
    learned.chain(given.filter_map(|row| database.static_macs.get(&row).map(|row| row.ip)))
}

fn remove(
    locals: &mut HashMap<Uuid, crate::local::Local>,
    touched: &mut std::collections::BTreeSet<Uuid>,
    flow: &LogicalFlow,
    datapath: Uuid,
) {
    if let Some(local) = locals.get_mut(&datapath)
        && local.remove(flow.pipeline(), flow.table(), flow.uuid())
    {
        touched.insert(datapath);
    }
}
