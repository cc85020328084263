//! Rows that somebody else than northd gives, checked before anything is made of them.
//!
//! northd's rows are skipped when they are wrong, and the others work. Who gives rows by the control
//! API is answered: after [`Compiler::apply`] and before [`Compiler::publish`], [`Compiler::verify`]
//! says whether each touched row can be used, and if it cannot the inverse changes take them back.

use crate::compiler::Compiler;
use crate::database::Database;
use crate::names::Name;
use crate::reading::{Entering, Made, Places};
use crate::sets::{Access, split_group};
use crate::southbound::*;
use crate::text::{Problem, World};
use hashbrown::{HashMap, HashSet};
use ovn_xdp_datapath::key::PortKey;
use ovn_xdp_ovsdb::replica::Change;
use std::sync::Arc;
use uuid::Uuid;

/// What stands against a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Objection {
    /// The row.
    pub row: Uuid,
    /// Why it cannot be used, with what was expected and found.
    pub reason: String,
}

impl Compiler {
    /// Whether the compiler has been given a row of a table.
    pub fn knows(&self, table: &str, row: Uuid) -> bool {
        let database = &self.database;
        match table {
            LogicalFlow::TABLE => database.flows.contains(&row),
            LogicalDpGroup::TABLE => database.dp_groups.contains_key(&row),
            DatapathBinding::TABLE => database.datapaths.contains_key(&row),
            PortBinding::TABLE => database.ports.contains_key(&row),
            MulticastGroup::TABLE => database.multicast.contains_key(&row),
            AddressSet::TABLE => database.address_sets.contains_key(&row),
            PortGroup::TABLE => database.port_groups.contains_key(&row),
            StaticMacBinding::TABLE => database.static_macs.contains_key(&row),
            _ => false,
        }
    }

    /// Another row with the name or tunnel key of a row, which must be its alone.
    fn rival(&self, table: &str, row: Uuid) -> Option<(Uuid, String)> {
        let database = &self.database;
        let other = |mut rows: crate::index::RowsIter<'_>, what: String| {
            rows.find(|other| *other != row).map(|other| (other, what))
        };
        match table {
            DatapathBinding::TABLE => {
                let key = database.datapaths.get(&row)?.key;
                other(database.datapath_by_key.rows(&key), format!("tunnel_key {key}"))
            }
            PortBinding::TABLE => {
                let name = &database.ports.get(&row)?.logical_port;
                other(database.port_by_name.rows(name), format!("logical_port {name}"))
            }
            MulticastGroup::TABLE => {
                let group = database.multicast.get(&row)?;
                let name = (group.datapath, group.name.clone());
                let what = format!("name {} in its datapath", group.name);
                other(database.multicast_by_name.rows(&name), what)
            }
            AddressSet::TABLE => {
                let name = &database.address_sets.get(&row)?.name;
                other(database.address_set_by_name.rows(name), format!("name {name}"))
            }
            PortGroup::TABLE => {
                let name = &database.port_groups.get(&row)?.name;
                other(database.port_group_by_name.rows(name), format!("name {name}"))
            }
            _ => None,
        }
    }

    /// Of the ports and multicast groups of a datapath two that have the same tunnel key.
    fn same_key(&self, datapath: Uuid) -> Option<(Uuid, Uuid, PortKey)> {
        let database = &self.database;
        let ports = database.ports_of_datapath.rows(&datapath);
        let ports = ports.filter_map(|row| Some((row, database.ports.get(&row)?.key)));
        let groups = database.multicast_of_datapath.rows(&datapath);
        let groups = groups.filter_map(|row| Some((row, database.multicast.get(&row)?.key)));
        let mut seen = HashMap::new();
        ports.chain(groups).find_map(|(row, key)| Some((seen.insert(key, row)?, row, key)))
    }

    /// Whether the rows that these changes brought can be used: each reads, has its name and key for
    /// itself, and each flow compiles in all of its datapaths, whether they are local or not, with
    /// every name in it known there. What flows came to is kept for the next generation.
    ///
    /// # Errors
    /// What stands against the first row that cannot be used.
    pub fn verify(&mut self, changes: &[Change]) -> Result<(), Objection> {
        let present = || changes.iter().filter(|change| change.new.is_some());
        for change in present() {
            let object = |reason| Objection { row: change.row, reason };
            if let Some(bad) = self.database.bad.get(&change.row) {
                return Err(object(bad.to_string()));
            }
            if let Some((other, what)) = self.rival(&change.table, change.row) {
                return Err(object(format!("{what}: row {other} has it already")));
            }
        }
        let touched: HashSet<Uuid> = present().map(|change| change.row).collect();
        let datapaths: HashSet<Uuid> = touched.iter().filter_map(|row| self.home(*row)).collect();
        for datapath in datapaths {
            if let Some((one, other, key)) = self.same_key(datapath) {
                let (row, other) =
                    if touched.contains(&other) { (other, one) } else { (one, other) };
                let reason =
                    format!("tunnel_key {key}: row {other} of its datapath has it already");
                return Err(Objection { row, reason });
            }
        }
        self.refresh_sets();
        let flows: Vec<Uuid> = present()
            .filter(|change| &*change.table == LogicalFlow::TABLE)
            .map(|change| change.row)
            .collect();
        self.verify_flows(&flows)?;
        for change in changes {
            for flow in self.bereft(change) {
                let reason = |problem| format!("flow {flow} names it: {problem}");
                self.verify_flow(flow)
                    .map_err(|problem| Objection { row: change.row, reason: reason(problem) })?;
            }
        }
        Ok(())
    }

    /// The flows that were compiled with a set or port group which is not there any more.
    fn bereft(&self, change: &Change) -> Vec<Uuid> {
        let gone = change.old.as_ref().and_then(|old| old.string("name").ok());
        let name = match &*change.table {
            AddressSet::TABLE => gone.map(|name| Name::AddressSet(name.into())),
            PortGroup::TABLE => {
                gone.and_then(split_group).map(|(_, name)| Name::PortGroup(name.into()))
            }
            _ => None,
        };
        name.map(|name| self.names.flows(&name).collect()).unwrap_or_default()
    }

    /// The datapath of a port or multicast group.
    fn home(&self, row: Uuid) -> Option<Uuid> {
        let port = self.database.ports.get(&row).map(|port| port.datapath);
        port.or_else(|| self.database.multicast.get(&row).map(|group| group.datapath))
    }

    /// Compiles flows in all of their datapaths, once: what they are in those that are local goes
    /// into the tables under way.
    fn verify_flows(&mut self, flows: &[Uuid]) -> Result<(), Objection> {
        let places: Vec<(Uuid, Uuid)> = flows
            .iter()
            .filter_map(|row| self.database.flows.get(row))
            .flat_map(|flow| {
                self.database.datapaths_of(flow).map(|datapath| (flow.uuid(), datapath))
            })
            .collect();
        let places: Vec<Places<'_>> = places.chunk_by(|a, b| a.0 == b.0).collect();
        let mut objections = HashMap::new();
        self.read_flows(&places, |entering, made| match entering.objection(&made) {
            Some(reason) => {
                objections.insert(made.flow, reason);
            }
            None if objections.is_empty() => entering.enter(made),
            None => {}
        });
        if objections.is_empty() {
            let flows: HashSet<Uuid> = flows.iter().copied().collect();
            self.dirty.flows.retain(|(flow, _)| !flows.contains(flow));
            return Ok(());
        }
        // What was entered is still marked: it is made again when the rows are taken back.
        let first = flows.iter().find_map(|row| Some((*row, objections.remove(row)?)));
        first.map_or(Ok(()), |(row, reason)| Err(Objection { row, reason }))
    }

    fn verify_flow(&mut self, row: Uuid) -> Result<(), String> {
        let Some(flow) = self.database.flows.get(&row).cloned() else { return Ok(()) };
        let rows = self.database.datapaths_of(&flow);
        let datapaths: Vec<Arc<DatapathBinding>> =
            rows.filter_map(|datapath| self.database.datapaths.get(&datapath).cloned()).collect();
        let targets: Vec<&DatapathBinding> = datapaths.iter().map(|row| &**row).collect();
        let database = &self.database;
        let mut world = World { database, own: &self.own, sets: Access::Alone(&mut self.sets) };
        let mut first = None;
        self.texts.compile(&flow, &targets, &mut world, |datapath, outcome| {
            if first.is_none() {
                let result = outcome.result.as_ref().map(drop);
                first = objection(database, datapath, &outcome.asked, result);
            }
        });
        first.map_or(Ok(()), Err)
    }
}

impl Entering<'_> {
    /// What stands against a flow.
    fn objection(&self, made: &Made) -> Option<String> {
        made.outcomes.iter().find_map(|(datapath, outcome)| {
            let (asked, result) = outcome.as_ref()?;
            let datapath = self.database.datapaths.get(datapath)?;
            objection(self.database, datapath, asked, result.as_ref().map(drop))
        })
    }
}

/// What stands against a flow in a datapath, by what it asked for and what came of it.
fn objection(
    database: &Database,
    datapath: &DatapathBinding,
    asked: &[Name],
    result: Result<(), &Problem>,
) -> Option<String> {
    if let Err(problem) = result {
        return Some(problem.to_string());
    }
    let unknown = asked.iter().find_map(|name| unknown(database, datapath, name));
    unknown.map(|name| format!("{name} is not known in datapath {}", datapath.name()))
}

/// A name in a flow that means nothing in a datapath, for people.
fn unknown(database: &Database, datapath: &DatapathBinding, name: &Name) -> Option<String> {
    let (known, what) = match name {
        Name::Port(port) => {
            let here = database.port(port).is_some_and(|row| row.datapath == datapath.uuid);
            let group = database.multicast_by_name.contains(&(datapath.uuid, port.clone()));
            (here || group || port.is_empty() || **port == *"none", format!("port {port:?}"))
        }
        Name::Resident(port) => (database.port(port).is_some(), format!("port {port:?}")),
        Name::AddressSet(set) | Name::Members(set) | Name::Emptiness(set) => {
            (database.address_set_by_name.contains(set), format!("address set ${set}"))
        }
        Name::PortGroup(group) => {
            let row = format!("{}_{group}", datapath.key);
            (database.port_group_by_name.contains(&*row), format!("port group @{group}"))
        }
        Name::Template(_) => return None,
    };
    (!known).then_some(what)
}
