//! The rows that the compiler has been given, and how they refer to each other.
//!
//! A change is applied to the rows and to every index at once; what it touched is returned with the
//! old and the new row, for the compiler to find out what must be made anew. A row that does not
//! read as its table promises is remembered as bad and otherwise not there.

use crate::flows::Flows;
use crate::index::{Index, Members};
use crate::southbound::*;
use hashbrown::HashMap;
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_datapath::publish::Mac;
use ovn_xdp_logical::dialect::Release;
use ovn_xdp_ovsdb::replica::Change;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A row before and after: inserted if there is no old, deleted if there is no new.
#[derive(Debug)]
pub(crate) struct Touched<R> {
    pub(crate) row: Uuid,
    pub(crate) old: Option<R>,
    pub(crate) new: Option<R>,
}

impl<R> Touched<R> {
    /// What there is of old and new.
    pub(crate) fn both(&self) -> impl Iterator<Item = &R> {
        self.old.iter().chain(&self.new)
    }
}

/// What an update touched, by table.
#[derive(Default, Debug)]
pub(crate) struct Update {
    pub(crate) flows: Vec<Touched<LogicalFlow>>,
    pub(crate) dp_groups: Vec<Touched<Arc<LogicalDpGroup>>>,
    pub(crate) datapaths: Vec<Touched<Arc<DatapathBinding>>>,
    pub(crate) ports: Vec<Touched<Arc<PortBinding>>>,
    pub(crate) multicast: Vec<Touched<Arc<MulticastGroup>>>,
    pub(crate) address_sets: Vec<Touched<Arc<AddressSet>>>,
    pub(crate) port_groups: Vec<Touched<Arc<PortGroup>>>,
    pub(crate) mac_bindings: Vec<Touched<Arc<MacBinding>>>,
    pub(crate) static_macs: Vec<Touched<Arc<StaticMacBinding>>>,
    pub(crate) fdb: Vec<Touched<Arc<Fdb>>>,
    pub(crate) chassis: Vec<Touched<Arc<Chassis>>>,
    pub(crate) encaps: Vec<Touched<Arc<Encap>>>,
    pub(crate) ha_groups: Vec<Touched<Arc<HaChassisGroup>>>,
    pub(crate) ha_chassis: Vec<Touched<Arc<HaChassis>>>,
    pub(crate) templates: Vec<Touched<Arc<ChassisTemplateVar>>>,
    pub(crate) globals: Vec<Touched<Arc<SbGlobal>>>,
    pub(crate) dhcp: Vec<Touched<Arc<DhcpOptions>>>,
    pub(crate) dhcpv6: Vec<Touched<Arc<Dhcpv6Options>>>,
}

type Rows<R> = HashMap<Uuid, Arc<R>>;

/// All rows, and their indices.
#[derive(Default, Debug)]
pub(crate) struct Database {
    pub(crate) flows: Flows,
    pub(crate) dp_groups: Rows<LogicalDpGroup>,
    pub(crate) datapaths: Rows<DatapathBinding>,
    pub(crate) ports: Rows<PortBinding>,
    pub(crate) multicast: Rows<MulticastGroup>,
    pub(crate) address_sets: Rows<AddressSet>,
    pub(crate) port_groups: Rows<PortGroup>,
    pub(crate) mac_bindings: Rows<MacBinding>,
    pub(crate) static_macs: Rows<StaticMacBinding>,
    pub(crate) fdb: Rows<Fdb>,
    pub(crate) chassis: Rows<Chassis>,
    pub(crate) encaps: Rows<Encap>,
    pub(crate) ha_groups: Rows<HaChassisGroup>,
    pub(crate) ha_chassis: Rows<HaChassis>,
    pub(crate) templates: Rows<ChassisTemplateVar>,
    pub(crate) globals: Rows<SbGlobal>,
    pub(crate) dhcp: Rows<DhcpOptions>,
    pub(crate) dhcpv6: Rows<Dhcpv6Options>,
    /// Rows that do not read.
    pub(crate) bad: BTreeMap<Uuid, BadRow>,

    /// Logical flows by `logical_datapath`.
    pub(crate) flows_of_datapath: Members<LogicalFlow>,
    /// Logical flows by `logical_dp_group`.
    pub(crate) flows_of_group: Members<LogicalFlow>,
    /// Groups of datapaths by member.
    pub(crate) groups_of_datapath: Index<Uuid>,
    pub(crate) datapath_by_key: Index<DatapathKey>,
    pub(crate) port_by_name: Index<Arc<str>>,
    pub(crate) ports_of_datapath: Index<Uuid>,
    /// Patch and l3gateway ports by datapath.
    pub(crate) patches_of_datapath: Index<Uuid>,
    pub(crate) localnets_of_datapath: Index<Uuid>,
    /// Ports by main or additional chassis.
    pub(crate) ports_of_chassis: Index<Uuid>,
    /// Ports by `options:peer`.
    pub(crate) ports_by_peer: Index<Arc<str>>,
    pub(crate) ports_of_ha_group: Index<Uuid>,
    pub(crate) multicast_of_datapath: Index<Uuid>,
    pub(crate) multicast_by_name: Index<(Uuid, Arc<str>)>,
    /// Multicast groups by member.
    pub(crate) multicast_of_port: Index<Uuid>,
    pub(crate) address_set_by_name: Index<Arc<str>>,
    pub(crate) port_group_by_name: Index<Arc<str>>,
    /// Port groups by the name of a member.
    pub(crate) port_groups_of_member: Index<Arc<str>>,
    pub(crate) mac_bindings_of_port: Index<Arc<str>>,
    pub(crate) mac_bindings_of: Index<(Arc<str>, IpAddr)>,
    pub(crate) static_macs_of_port: Index<Arc<str>>,
    pub(crate) static_macs_of: Index<(Arc<str>, IpAddr)>,
    pub(crate) fdb_of_datapath: Index<DatapathKey>,
    pub(crate) fdb_of: Index<(DatapathKey, Mac)>,
    pub(crate) chassis_by_name: Index<Arc<str>>,
    /// HA groups by row of HA_Chassis.
    pub(crate) ha_groups_of_member: Index<Uuid>,
    /// Rows of HA_Chassis by chassis.
    pub(crate) ha_chassis_of_chassis: Index<Uuid>,
    pub(crate) templates_of_chassis: Index<Arc<str>>,
}

impl Database {
    /// Applies one update of the server.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Update {
        let mut update = Update::default();
        let new = |change: &&Change| {
            change.new.is_some() && change.old.is_none() && *change.table == *LogicalFlow::TABLE
        };
        self.flows.reserve(changes.iter().filter(new).count());
        let bad = &mut self.bad;
        for change in changes {
            match &*change.table {
                LogicalFlow::TABLE => {
                    let new = read::<LogicalFlow>(bad, change);
                    let old = match &new {
                        Some(new) => self.flows.insert(LogicalFlow::clone(new)),
                        None => self.flows.remove(&change.row),
                    };
                    touch(change.row, old, new, &mut update.flows);
                }
                LogicalDpGroup::TABLE => {
                    store(&mut self.dp_groups, bad, change, &mut update.dp_groups);
                }
                DatapathBinding::TABLE => {
                    store(&mut self.datapaths, bad, change, &mut update.datapaths);
                }
                PortBinding::TABLE => store(&mut self.ports, bad, change, &mut update.ports),
                MulticastGroup::TABLE => {
                    store(&mut self.multicast, bad, change, &mut update.multicast);
                }
                AddressSet::TABLE => {
                    store(&mut self.address_sets, bad, change, &mut update.address_sets);
                }
                PortGroup::TABLE => {
                    store(&mut self.port_groups, bad, change, &mut update.port_groups);
                }
                MacBinding::TABLE => {
                    store(&mut self.mac_bindings, bad, change, &mut update.mac_bindings);
                }
                StaticMacBinding::TABLE => {
                    store(&mut self.static_macs, bad, change, &mut update.static_macs);
                }
                Fdb::TABLE => store(&mut self.fdb, bad, change, &mut update.fdb),
                Chassis::TABLE => store(&mut self.chassis, bad, change, &mut update.chassis),
                Encap::TABLE => store(&mut self.encaps, bad, change, &mut update.encaps),
                HaChassisGroup::TABLE => {
                    store(&mut self.ha_groups, bad, change, &mut update.ha_groups);
                }
                HaChassis::TABLE => {
                    store(&mut self.ha_chassis, bad, change, &mut update.ha_chassis);
                }
                ChassisTemplateVar::TABLE => {
                    store(&mut self.templates, bad, change, &mut update.templates);
                }
                DhcpOptions::TABLE => store(&mut self.dhcp, bad, change, &mut update.dhcp),
                Dhcpv6Options::TABLE => store(&mut self.dhcpv6, bad, change, &mut update.dhcpv6),
                SbGlobal::TABLE => store(&mut self.globals, bad, change, &mut update.globals),
                _ => {}
            }
        }
        self.index(&update);
        update
    }

    /// The port of that name.
    pub(crate) fn port(&self, name: &str) -> Option<&Arc<PortBinding>> {
        self.ports.get(&self.port_by_name.first(name)?)
    }

    /// The datapaths that a flow applies to, without repetition (EX-S11).
    pub(crate) fn datapaths_of(&self, flow: &LogicalFlow) -> impl Iterator<Item = Uuid> + '_ {
        let group = flow.group().and_then(|group| self.dp_groups.get(&group));
        let members = group.map_or(&[][..], |group| &group.datapaths);
        let own = flow.datapath();
        own.into_iter().chain(members.iter().copied().filter(move |member| Some(*member) != own))
    }

    /// Whether a flow applies to a datapath.
    pub(crate) fn applies(&self, flow: &LogicalFlow, datapath: Uuid) -> bool {
        flow.datapath() == Some(datapath)
            || flow
                .group()
                .and_then(|group| self.dp_groups.get(&group))
                .is_some_and(|group| group.datapaths.binary_search(&datapath).is_ok())
    }

    /// All flows that apply to a datapath; one may come twice.
    pub(crate) fn flows_for(&self, datapath: Uuid) -> impl Iterator<Item = &LogicalFlow> {
        let groups = self.groups_of_datapath.rows(&datapath);
        self.flows_of_datapath
            .rows(datapath)
            .chain(groups.flat_map(|group| self.flows_of_group.rows(group)))
    }

    /// The row of a chassis.
    pub(crate) fn chassis(&self, name: &str) -> Option<&Arc<Chassis>> {
        self.chassis.get(&self.chassis_by_name.first(name)?)
    }

    /// Whether a global option is set to true.
    pub(crate) fn global_flag(&self, name: &str) -> bool {
        let value =
            |global: &Arc<SbGlobal>| global.options.get(name).is_some_and(|v| **v == *"true");
        self.globals.values().any(value)
    }

    /// The release that northd is of, if it says so.
    pub(crate) fn release(&self) -> Option<Release> {
        let mut globals = self.globals.values();
        Release::read(globals.find_map(|global| global.options.get("northd_internal_version"))?)
    }

    fn index(&mut self, update: &Update) {
        self.index_flows(&update.flows);
        each(&update.dp_groups, &mut self.groups_of_datapath, |group, to| {
            to.extend(group.datapaths.iter().copied());
        });
        each(&update.datapaths, &mut self.datapath_by_key, |row, to| to.push(row.key));
        self.index_ports(update);
        each(&update.multicast, &mut self.multicast_of_datapath, |row, to| to.push(row.datapath));
        each(&update.multicast, &mut self.multicast_by_name, |row, to| {
            to.push((row.datapath, row.name.clone()));
        });
        each(&update.multicast, &mut self.multicast_of_port, |row, to| {
            to.extend(row.ports.iter().copied());
        });
        each(&update.address_sets, &mut self.address_set_by_name, |r, to| to.push(r.name.clone()));
        each(&update.port_groups, &mut self.port_group_by_name, |r, to| to.push(r.name.clone()));
        each(&update.port_groups, &mut self.port_groups_of_member, |row, to| {
            to.extend(row.ports.iter().cloned());
        });
        each(&update.mac_bindings, &mut self.mac_bindings_of_port, |row, to| {
            to.push(row.logical_port.clone());
        });
        each(&update.static_macs, &mut self.static_macs_of_port, |row, to| {
            to.push(row.logical_port.clone());
        });
        each(&update.mac_bindings, &mut self.mac_bindings_of, |row, to| {
            to.push((row.logical_port.clone(), row.ip));
        });
        each(&update.static_macs, &mut self.static_macs_of, |row, to| {
            to.push((row.logical_port.clone(), row.ip));
        });
        each(&update.fdb, &mut self.fdb_of_datapath, |row, to| to.push(row.dp_key));
        each(&update.fdb, &mut self.fdb_of, |row, to| to.push((row.dp_key, row.mac)));
        each(&update.chassis, &mut self.chassis_by_name, |row, to| to.push(row.name.clone()));
        each(&update.ha_groups, &mut self.ha_groups_of_member, |row, to| {
            to.extend(row.ha_chassis.iter().copied());
        });
        each(&update.ha_chassis, &mut self.ha_chassis_of_chassis, |r, to| to.extend(r.chassis));
        each(&update.templates, &mut self.templates_of_chassis, |row, to| {
            to.push(row.chassis.clone());
        });
    }

    fn index_flows(&mut self, flows: &[Touched<LogicalFlow>]) {
        let (of_datapath, of_group) = (&mut self.flows_of_datapath, &mut self.flows_of_group);
        for Touched { row, old, new } in flows {
            if let Some(old) = old {
                old.datapath().into_iter().for_each(|it| of_datapath.remove(it, *row));
                old.group().into_iter().for_each(|it| of_group.remove(it, *row));
            }
            if let Some(new) = new {
                new.datapath().into_iter().for_each(|it| of_datapath.insert(it, new.clone()));
                new.group().into_iter().for_each(|it| of_group.insert(it, new.clone()));
            }
        }
    }

    fn index_ports(&mut self, update: &Update) {
        let ports = &update.ports;
        each(ports, &mut self.port_by_name, |port, to| to.push(port.logical_port.clone()));
        each(ports, &mut self.ports_of_datapath, |port, to| to.push(port.datapath));
        each(ports, &mut self.patches_of_datapath, |port, to| {
            let joins = matches!(port.kind, PortType::Patch | PortType::L3Gateway);
            to.extend(joins.then_some(port.datapath));
        });
        each(ports, &mut self.localnets_of_datapath, |port, to| {
            to.extend((port.kind == PortType::Localnet).then_some(port.datapath));
        });
        each(ports, &mut self.ports_of_chassis, |port, to| {
            to.extend(port.chassis().into_iter().chain(port.additional_chassis()));
        });
        each(ports, &mut self.ports_by_peer, |port, to| to.extend(port.option("peer").cloned()));
        each(ports, &mut self.ports_of_ha_group, |port, to| to.extend(port.ha_chassis_group()));
    }
}

/// Puts the new state of a row in its table.
fn store<R: Record>(
    rows: &mut Rows<R>,
    bad: &mut BTreeMap<Uuid, BadRow>,
    change: &Change,
    touched: &mut Vec<Touched<Arc<R>>>,
) {
    let new = read::<R>(bad, change).map(Arc::new);
    let old = match &new {
        Some(new) => rows.insert(change.row, new.clone()),
        None => rows.remove(&change.row),
    };
    touch(change.row, old, new, touched);
}

/// The new state of a row, if there is one and it can be used.
fn read<R: Record>(bad: &mut BTreeMap<Uuid, BadRow>, change: &Change) -> Option<R> {
    bad.remove(&change.row);
    match R::from_row(change.row, change.new.as_ref()?) {
        Ok(record) => Some(record),
        Err(error) => {
            bad.insert(change.row, error);
            None
        }
    }
}

fn touch<R>(row: Uuid, old: Option<R>, new: Option<R>, touched: &mut Vec<Touched<R>>) {
    if old.is_some() || new.is_some() {
        touched.push(Touched { row, old, new });
    }
}

/// Keeps an index of the values that `values` finds in a row.
fn each<R, K: Eq + std::hash::Hash>(
    touched: &[Touched<R>],
    index: &mut Index<K>,
    values: impl Fn(&R, &mut Vec<K>),
) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for change in touched {
        change.old.iter().for_each(|old| values(old, &mut before));
        change.new.iter().for_each(|new| values(new, &mut after));
        if before == after {
            before.clear();
            after.clear();
            continue;
        }
        for key in before.drain(..) {
            index.remove(&key, change.row);
        }
        for key in after.drain(..) {
            index.insert(key, change.row);
        }
    }
}
