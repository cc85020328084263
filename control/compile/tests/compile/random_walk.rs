//! Whatever happens in whatever order, the result is that of a fresh start.
//!
//! Rows of a recording go, come back, and change; ports are bound and released, on this chassis and
//! in the database, tunnels and interfaces come and go; now and then it is published. At the end a
//! fresh compiler is given the final state at once, and both must have made the same. Of what the
//! recordings have little of, rows are planted beside theirs: template variables, groups of
//! datapaths, and flows that rest on them and on where ports reside.

use crate::recorded;
use ovn_xdp_compile::report::{NotExecuted, Skipped};
use ovn_xdp_compile::{Compiler, Identity, LocalPort, dump};
use ovn_xdp_datapath::key::{InterfaceId, TunnelId, VlanId};
use ovn_xdp_datapath::publish::{Tag, Tunnel};
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::row::Row;
use ovn_xdp_ovsdb::value::Datum;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// One event. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Event {
    /// Some rows go, or come back, in one update; one of them may be among the planted.
    Toggle(Vec<usize>, Option<usize>),
    /// A column of a row, perhaps a planted one, loses an element, or becomes that of another row of
    /// its table.
    Change { row: usize, planted: bool, column: usize, other: usize, lose: bool },
    /// A port is said to be on a chassis, or on none.
    Reside { port: usize, chassis: Option<usize> },
    /// Two rows of a table swap the values of a column in one update.
    Swap { row: usize, column: usize, other: usize },
    /// A changed row becomes as it was recorded.
    Restore(usize),
    /// A port appears on an interface.
    Bind { port: usize, interface: u32, tag: Option<u16> },
    /// A port goes from its interface.
    Release(usize),
    /// A chassis gets this many tunnels.
    Tunnels { chassis: usize, count: u32, address: u8 },
    /// northd is of the early dialect, or of the late one.
    Northd { early: bool },
    /// An interface gets a name, or goes.
    Interface { id: u32, name: Option<u8> },
    /// What there is is published.
    Publish,
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<usize>;
    prop_oneof![
        4 => (prop::collection::vec(any(), 1..4), prop::option::of(any()))
            .prop_map(|(which, planted)| Event::Toggle(which, planted)),
        8 => (any(), prop::bool::ANY, any(), any(), prop::bool::ANY).prop_map(
            |(row, planted, column, other, lose)| {
                Event::Change { row, planted, column, other, lose }
            }
        ),
        3 => (any(), prop::option::weighted(0.8, any()))
            .prop_map(|(port, chassis)| Event::Reside { port, chassis }),
        2 => (any(), any(), any())
            .prop_map(|(row, column, other)| Event::Swap { row, column, other }),
        2 => any().prop_map(Event::Restore),
        4 => (any(), 0..3_u32, prop::option::of(100..103_u16))
            .prop_map(|(port, interface, tag)| Event::Bind { port, interface, tag }),
        2 => any().prop_map(Event::Release),
        2 => (any(), 0..3_u32, 1..3_u8)
            .prop_map(|(chassis, count, address)| Event::Tunnels { chassis, count, address }),
        2 => (0..3_u32, prop::option::of(0..2_u8))
            .prop_map(|(id, name)| Event::Interface { id, name }),
        1 => prop::bool::ANY.prop_map(|early| Event::Northd { early }),
        4 => Just(Event::Publish),
    ]
}

/// The final state, kept beside the compiler that hears of every step.
struct World {
    recorded: Vec<Change>,
    /// How many of them were recorded; the others are planted.
    planted_from: usize,
    rows: BTreeMap<usize, Row>,
    ports: Vec<Arc<str>>,
    bound: BTreeMap<Arc<str>, LocalPort>,
    tunnels: BTreeMap<usize, Vec<(TunnelId, Arc<Tunnel>)>>,
    interfaces: BTreeMap<u32, String>,
    compiler: Compiler,
}

impl World {
    fn new(name: &str) -> Self {
        let mut recorded = recorded::changes(name);
        let planted_from = recorded.len();
        let planted = planted(&recorded);
        recorded.extend(planted);
        let rows = recorded.iter().enumerate();
        let rows = rows.map(|(index, change)| (index, change.new.clone().unwrap())).collect();
        let mut ports: Vec<Arc<str>> = recorded
            .iter()
            .filter(|change| *change.table == *"Port_Binding")
            .map(|change| change.new.as_ref().unwrap().string("logical_port").unwrap().into())
            .collect();
        ports.sort_unstable();
        let mut compiler = new_compiler();
        compiler.apply(&recorded);
        let mut world = Self {
            recorded,
            planted_from,
            rows,
            ports,
            bound: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            compiler,
        };
        // From the start something is local.
        world.happen(&Event::Interface { id: 0, name: Some(0) });
        for port in [0, 2] {
            world.happen(&Event::Bind { port, interface: 0, tag: None });
        }
        world
    }

    /// Applies one update, unless a server would refuse it.
    fn set_rows(&mut self, rows: Vec<(usize, Option<Row>)>) {
        let mut after = self.rows.clone();
        for (index, new) in &rows {
            match new {
                Some(new) => after.insert(*index, new.clone()),
                None => after.remove(index),
            };
        }
        let mut seen = BTreeSet::new();
        for row in after.values() {
            for columns in unique(row.table()) {
                let values: Vec<String> =
                    columns.iter().map(|column| row.get(column).unwrap().to_string()).collect();
                if !seen.insert((row.table().clone(), *columns, values)) {
                    return;
                }
            }
        }
        let mut changes = Vec::new();
        for (index, new) in rows {
            let old = match &new {
                Some(new) => self.rows.insert(index, new.clone()),
                None => self.rows.remove(&index),
            };
            let Change { table, row, .. } = &self.recorded[index];
            changes.push(Change { table: table.clone(), row: *row, old, new });
        }
        self.compiler.apply(&changes);
    }

    /// A row that there is, perhaps a planted one, and one more of its table.
    fn pair(&self, planted: bool, row: usize, other: usize) -> Option<(usize, usize)> {
        let from = if planted { self.planted_from } else { 0 };
        let mut rows: Vec<usize> = self.rows.range(from..).map(|(at, _)| *at).collect();
        let mut row = row;
        if planted {
            // Each table as often as another.
            let tables: BTreeSet<_> = rows.iter().map(|at| &*self.recorded[*at].table).collect();
            let table = *tables.iter().nth(row % tables.len().max(1))?;
            row /= tables.len();
            rows.retain(|at| *self.recorded[*at].table == *table);
        }
        let row = rows.get(row % rows.len().max(1))?;
        let table = &self.recorded[*row].table;
        let alike: Vec<usize> =
            self.rows.keys().copied().filter(|o| self.recorded[*o].table == *table).collect();
        Some((*row, alike[other % alike.len()]))
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Toggle(which, planted) => {
                let mut which: Vec<usize> =
                    which.iter().map(|index| index % self.recorded.len()).collect();
                let many = self.recorded.len() - self.planted_from;
                which.extend(planted.map(|index| self.planted_from + index % many));
                which.sort_unstable();
                which.dedup();
                let toggled = which.into_iter().map(|index| match self.rows.get(&index) {
                    Some(_) => (index, None),
                    None => (index, self.recorded[index].new.clone()),
                });
                let toggled = toggled.collect();
                self.set_rows(toggled);
            }
            Event::Change { row, planted, column, other, lose } => {
                let Some((row, other)) = self.pair(*planted, *row, *other) else { return };
                let (old, other) = (&self.rows[&row], &self.rows[&other]);
                let column = column % old.values().len();
                let mut values = old.values();
                values[column] = match (*lose, &values[column]) {
                    (true, Datum::Set(atoms)) if !atoms.is_empty() => {
                        Datum::set(atoms[1..].iter().cloned())
                    }
                    (true, Datum::Map(pairs)) if !pairs.is_empty() => {
                        Datum::map(pairs[1..].iter().cloned())
                    }
                    (_, _) => other.values()[column].clone(),
                };
                let new = old.with(old.shape(), values.into_iter().enumerate());
                self.set_rows(vec![(row, Some(new))]);
            }
            Event::Swap { row, column, other } => {
                let Some((a, b)) = self.pair(false, *row, *other).filter(|(a, b)| a != b) else {
                    return;
                };
                let (one, two) = (&self.rows[&a], &self.rows[&b]);
                let column = column % one.values().len();
                let value = |row: &Row| (column, row.values()[column].clone());
                let left = one.with(one.shape(), [value(two)]);
                let right = two.with(two.shape(), [value(one)]);
                self.set_rows(vec![(a, Some(left)), (b, Some(right))]);
            }
            Event::Reside { port, chassis } => {
                let of = |table: &'static str| {
                    let rows = self.rows.keys().copied();
                    rows.filter(|at| *self.recorded[*at].table == *table).collect::<Vec<_>>()
                };
                let (ports, all) = (of("Port_Binding"), of("Chassis"));
                let Some(&port) = ports.get(port % ports.len().max(1)) else { return };
                let chassis = chassis.and_then(|it| all.get(it % all.len().max(1)));
                let chassis = chassis.map(|at| self.recorded[*at].row);
                let row = with(&self.rows[&port], "chassis", Datum::set(chassis));
                self.set_rows(vec![(port, Some(row))]);
            }
            Event::Restore(index) => {
                let index = index % self.recorded.len();
                let row = self.recorded[index].new.clone();
                self.set_rows(vec![(index, row)]);
            }
            Event::Bind { port, interface, tag } => {
                let port = self.ports[port % self.ports.len()].clone();
                let tag = tag.and_then(VlanId::new).map(|vid| Tag { tpid: 0x8100, vid });
                let local = LocalPort { interface: InterfaceId(*interface), tag };
                self.compiler.bind(&port, Some(local));
                self.bound.insert(port, local);
            }
            Event::Release(port) => {
                let port = &self.ports[port % self.ports.len()];
                self.compiler.bind(port, None);
                self.bound.remove(port);
            }
            Event::Tunnels { chassis, count, address } => {
                let chassis = 1 + chassis % 3;
                let tunnels = tunnels(chassis, *count, *address);
                self.compiler.set_tunnel(&format!("hv{chassis}"), tunnels.clone());
                self.tunnels.insert(chassis, tunnels);
            }
            Event::Interface { id, name } => match name {
                Some(name) => {
                    self.compiler.set_interface(InterfaceId(*id), &format!("tap{name}"));
                    self.interfaces.insert(*id, format!("tap{name}"));
                }
                None => {
                    self.compiler.remove_interface(InterfaceId(*id));
                    self.interfaces.remove(id);
                }
            },
            Event::Northd { early } => {
                let mut rows = self.rows.iter();
                let Some((&at, row)) = rows.find(|(_, row)| **row.table() == *"SB_Global") else {
                    return;
                };
                let version = if *early { "23.03.1-20.27.0-70.6" } else { "26.03.1-21.8.0-82.14" };
                let options = Datum::map([("northd_internal_version", version)]);
                let row = with(row, "options", options);
                self.set_rows(vec![(at, Some(row))]);
            }
            Event::Publish => {
                self.compiler.publish();
            }
        }
    }

    /// A compiler that hears only of the final state.
    fn afresh(&self) -> Compiler {
        let mut compiler = new_compiler();
        let rows: Vec<Change> = self
            .rows
            .iter()
            .map(|(index, row)| {
                let Change { table, row: uuid, .. } = &self.recorded[*index];
                Change { table: table.clone(), row: *uuid, old: None, new: Some(row.clone()) }
            })
            .collect();
        compiler.apply(&rows);
        for (port, local) in &self.bound {
            compiler.bind(port, Some(*local));
        }
        for (chassis, tunnels) in &self.tunnels {
            compiler.set_tunnel(&format!("hv{chassis}"), tunnels.clone());
        }
        for (id, name) in &self.interfaces {
            compiler.set_interface(InterfaceId(*id), name);
        }
        compiler
    }
}

/// The indexes of a table in the schema: no two rows have the same values in all their columns.
fn unique(table: &str) -> &'static [&'static [&'static str]] {
    match table {
        "Address_Set" | "Chassis" | "HA_Chassis_Group" | "Port_Group" => &[&["name"]],
        "Chassis_Template_Var" => &[&["chassis"]],
        "Datapath_Binding" => &[&["tunnel_key"]],
        "Encap" => &[&["type", "ip"]],
        "FDB" => &[&["mac", "dp_key"]],
        "MAC_Binding" | "Static_MAC_Binding" => &[&["logical_port", "ip"]],
        "Multicast_Group" => &[&["datapath", "name"], &["datapath", "tunnel_key"]],
        "Port_Binding" => &[&["logical_port"], &["datapath", "tunnel_key"]],
        _ => &[],
    }
}

fn with(row: &Row, column: &str, value: Datum) -> Row {
    row.with(row.shape(), [(row.shape().index(column).unwrap(), value)])
}

/// Variables of this chassis and of another, groups of datapaths, and flows that rest on them and on
/// where ports are.
fn planted(recorded: &[Change]) -> Vec<Change> {
    let of = |table: &'static str| recorded.iter().filter(move |it| *it.table == *table);
    let datapaths: Vec<Uuid> = of("Datapath_Binding").map(|it| it.row).collect();
    let ports = of("Port_Binding").filter_map(|it| it.new.as_ref()?.string("logical_port").ok());
    let ports: Vec<&str> = ports.collect();
    let mut planted: Vec<Change> = Vec::new();
    let mut plant = |table: &str, row: Row| {
        let uuid = Uuid::from_u128(0xf0_0000 + planted.len() as u128);
        planted.push(Change { table: table.into(), row: uuid, old: None, new: Some(row) });
        uuid
    };
    for (chassis, vip) in [("hv1", "10.0.0.1"), ("hv2", "10.0.0.2"), ("hv3", "")] {
        let variables =
            Datum::map([("vip", vip), ("what", "tcp"), ("more", "80"), ("snooped", "igmp")]);
        let columns = [("chassis", Datum::from(chassis)), ("variables", variables)];
        plant("Chassis_Template_Var", Row::made("Chassis_Template_Var", columns));
    }
    let mut homes: Vec<(Datum, Datum)> = Vec::new();
    for pair in datapaths.windows(2) {
        let columns = [("datapaths", Datum::set(pair.iter().copied()))];
        let row = Row::made("Logical_DP_Group", columns);
        homes.push((Datum::empty(), Datum::from(plant("Logical_DP_Group", row))));
    }
    homes.extend(datapaths.iter().map(|datapath| (Datum::from(*datapath), Datum::empty())));
    let like = of("Logical_Flow").find_map(|it| it.new.as_ref()).unwrap();
    for (number, (datapath, group)) in homes.into_iter().enumerate() {
        let port = ports[number % ports.len()];
        for (matching, actions) in [
            ("ip4.dst == ^vip && ^what.dst == ^more".to_owned(), "reg0 = ^vip; next;".to_owned()),
            (format!("is_chassis_resident(\"{port}\") && ip4"), "next;".to_owned()),
            (format!("!is_chassis_resident(\"{port}\") && ^what"), "drop;".to_owned()),
            ("^snooped".to_owned(), "next;".to_owned()),
            (format!("outport == \"{port}\""), format!("outport = \"{port}\"; output;")),
        ] {
            let mut row = like.clone();
            for (column, value) in [
                ("logical_datapath", datapath.clone()),
                ("logical_dp_group", group.clone()),
                ("match", Datum::from(&*matching)),
                ("actions", Datum::from(&*actions)),
                ("priority", Datum::from(number as i64)),
            ] {
                row = with(&row, column, value);
            }
            plant("Logical_Flow", row);
        }
    }
    planted
}

fn new_compiler() -> Compiler {
    Compiler::new(Identity { chassis: "hv1".into() })
}

fn tunnels(chassis: usize, count: u32, address: u8) -> Vec<(TunnelId, Arc<Tunnel>)> {
    let tunnel = |n| Tunnel {
        epoch: 0,
        chassis: format!("hv{chassis}"),
        local: [192, 0, 2, 200].into(),
        remote: [192, 0, n as u8 + address, chassis as u8].into(),
        link: None,
        csum: true,
        tos: None,
        df: true,
    };
    (0..count).map(|n| (TunnelId(10 * chassis as u32 + n), Arc::new(tunnel(n)))).collect()
}

/// All that can be seen of a compiler.
fn seen(compiler: &mut Compiler) -> (String, Vec<Uuid>, Vec<Skipped>, Vec<NotExecuted>) {
    let published = dump(&compiler.publish());
    let local = compiler.local_datapaths().iter().copied().collect();
    (published, local, compiler.skipped().collect(), compiler.not_executed().collect())
}

fn walk(name: &str, events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new(name);
    events.iter().for_each(|event| world.happen(event));
    let (found, found_local, found_skipped, found_inert) = seen(&mut world.compiler);
    let (expected, expected_local, expected_skipped, expected_inert) = seen(&mut world.afresh());
    if found != expected {
        let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        let lines = (found.lines().count(), expected.lines().count());
        return Err(TestCaseError::fail(format!("{name}: {differs:#?}, lines {lines:?}")));
    }
    prop_assert_eq!(found_local, expected_local);
    prop_assert_eq!(found_skipped, expected_skipped);
    prop_assert_eq!(found_inert, expected_inert);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..Default::default() })]

    #[test]
    fn after_any_changes_of_switches_and_routers_all_is_as_after_a_fresh_start(
        events in prop::collection::vec(event(), 1..60)
    ) {
        walk("stateless", &events)?;
    }

    #[test]
    fn after_any_changes_of_nested_containers_all_is_as_after_a_fresh_start(
        events in prop::collection::vec(event(), 1..60)
    ) {
        walk("nested", &events)?;
    }

    #[test]
    fn after_any_changes_of_gateways_all_is_as_after_a_fresh_start(
        events in prop::collection::vec(event(), 1..60)
    ) {
        walk("stateful", &events)?;
    }
}
