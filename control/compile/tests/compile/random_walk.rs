//! Whatever happens in whatever order, the result is that of a fresh start.
//!
//! Rows of a recording go, come back, and change; ports are bound and released, tunnels and
//! interfaces come and go; now and then it is published. At the end a fresh compiler is given the
//! final state at once, and both must have made the same.

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
    /// Some rows of the recording go, or come back, in one update.
    Toggle(Vec<usize>),
    /// A column of a row loses an element, or becomes that of another row of its table.
    Change { row: usize, column: usize, other: usize, lose: bool },
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
    /// An interface gets a name, or goes.
    Interface { id: u32, name: Option<u8> },
    /// What there is is published.
    Publish,
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<usize>;
    prop_oneof![
        4 => prop::collection::vec(any(), 1..4).prop_map(Event::Toggle),
        6 => (any(), any(), any(), prop::bool::ANY)
            .prop_map(|(row, column, other, lose)| Event::Change { row, column, other, lose }),
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
        4 => Just(Event::Publish),
    ]
}

/// The final state, kept beside the compiler that hears of every step.
struct World {
    recorded: Vec<Change>,
    rows: BTreeMap<usize, Row>,
    ports: Vec<Arc<str>>,
    bound: BTreeMap<Arc<str>, LocalPort>,
    tunnels: BTreeMap<usize, Vec<(TunnelId, Arc<Tunnel>)>>,
    interfaces: BTreeMap<u32, String>,
    compiler: Compiler,
}

impl World {
    fn new(name: &str) -> Self {
        let recorded = recorded::changes(name);
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
        Self {
            recorded,
            rows,
            ports,
            bound: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            compiler,
        }
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

    /// A row that there is, and one more of its table.
    fn pair(&self, row: usize, other: usize) -> Option<(usize, usize)> {
        let (row, _) = self.rows.iter().nth(row % self.rows.len().max(1))?;
        let table = &self.recorded[*row].table;
        let alike: Vec<usize> =
            self.rows.keys().copied().filter(|o| self.recorded[*o].table == *table).collect();
        Some((*row, alike[other % alike.len()]))
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Toggle(which) => {
                let mut which: Vec<usize> =
                    which.iter().map(|index| index % self.recorded.len()).collect();
                which.sort_unstable();
                which.dedup();
                let toggled = which.into_iter().map(|index| match self.rows.get(&index) {
                    Some(_) => (index, None),
                    None => (index, self.recorded[index].new.clone()),
                });
                let toggled = toggled.collect();
                self.set_rows(toggled);
            }
            Event::Change { row, column, other, lose } => {
                let Some((row, other)) = self.pair(*row, *other) else { return };
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
                let Some((a, b)) = self.pair(*row, *other).filter(|(a, b)| a != b) else { return };
                let (one, two) = (&self.rows[&a], &self.rows[&b]);
                let column = column % one.values().len();
                let value = |row: &Row| (column, row.values()[column].clone());
                let left = one.with(one.shape(), [value(two)]);
                let right = two.with(two.shape(), [value(one)]);
                self.set_rows(vec![(a, Some(left)), (b, Some(right))]);
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
