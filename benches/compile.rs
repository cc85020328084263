//! From rows to tables, against the budgets of DESIGN: 100,000 logical flows in 1 s, and one change
//! in 1 ms.
//!
//! The flows have the shape that northd writes: twenty switches and a router, for each of their
//! ports what port security, the ARP and ND responders, the look-up of MAC addresses and the router
//! need, and 3,500 ACLs that share an address set of 450.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ovn_xdp_compile::{Compiler, Identity, LocalPort};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::symbol::Symbols;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::row::{Row, Shape};
use ovn_xdp_ovsdb::schema::ColumnType;
use ovn_xdp_ovsdb::value::{Atom, AtomType, Datum};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use uuid::Uuid;

const FLOWS: usize = 100_000;
const SWITCHES: usize = 20;
const ACLS: usize = 3_500;
const ADDRESSES: usize = 450;

/// Rows under way, with numbers for UUIDs.
#[derive(Default)]
struct Rows {
    shapes: HashMap<&'static str, Arc<Shape>>,
    changes: Vec<Change>,
    flows: usize,
}

impl Rows {
    fn add(&mut self, table: &'static str, columns: Vec<(&'static str, Datum)>) -> Uuid {
        let uuid = Uuid::from_u128(self.changes.len() as u128 + 1);
        let change = self.row(table, uuid, columns);
        self.changes.push(change);
        uuid
    }

    fn row(
        &mut self,
        table: &'static str,
        row: Uuid,
        mut columns: Vec<(&'static str, Datum)>,
    ) -> Change {
        columns.sort_by_key(|(name, _)| *name);
        let shape = self.shapes.entry(table).or_insert_with(|| {
            let kind = ColumnType::optional(AtomType::String);
            let columns = columns.iter().map(|(name, _)| (Arc::from(*name), kind.clone()));
            Arc::new(Shape::new(table, columns))
        });
        let values = columns.into_iter().map(|(_, value)| value).collect();
        let new = Some(Arc::new(Row::new(shape.clone(), values)));
        Change { table: table.into(), row, old: None, new }
    }

    fn flow(
        &mut self,
        datapath: Uuid,
        pipeline: &str,
        table: i64,
        priority: i64,
        matches: &str,
        actions: &str,
    ) {
        self.flows += 1;
        self.add(
            "Logical_Flow",
            vec![
                ("logical_datapath", Datum::from(datapath)),
                ("logical_dp_group", Datum::empty()),
                ("pipeline", Datum::from(pipeline)),
                ("table_id", Datum::from(table)),
                ("priority", Datum::from(priority)),
                ("match", Datum::from(matches)),
                ("actions", Datum::from(actions)),
                ("external_ids", Datum::map([("stage-name", "stage")])),
            ],
        );
    }

    fn port(&mut self, datapath: Uuid, key: i64, name: &str, kind: &str, options: &[(&str, &str)]) {
        self.add(
            "Port_Binding",
            vec![
                ("logical_port", Datum::from(name)),
                ("type", Datum::from(kind)),
                ("datapath", Datum::from(datapath)),
                ("tunnel_key", Datum::from(key)),
                ("options", Datum::map(options.iter().copied())),
                ("port_security", Datum::empty()),
            ],
        );
    }

    fn datapath(&mut self, key: i64, name: &str) -> Uuid {
        let ids = Datum::map([("name", name)]);
        self.add("Datapath_Binding", vec![("tunnel_key", Datum::from(key)), ("external_ids", ids)])
    }
}

fn addresses(count: usize) -> Datum {
    Datum::set((0..count).map(|n| Atom::from(format!("10.200.{}.{}", n / 250, n % 250))))
}

/// Everything, the address set first.
fn rows() -> Rows {
    let mut rows = Rows::default();
    rows.add("Address_Set", vec![("name", Datum::from("as")), ("addresses", addresses(ADDRESSES))]);
    let router = rows.datapath(1, "router");
    let switches: Vec<Uuid> =
        (0..SWITCHES).map(|n| rows.datapath(n as i64 + 2, &format!("sw{n}"))).collect();
    for (n, switch) in switches.iter().enumerate() {
        let (here, there) = (format!("sw{n}-lr"), format!("lr-sw{n}"));
        rows.port(*switch, 1, &here, "patch", &[("peer", &there)]);
        rows.port(router, n as i64 + 1, &there, "patch", &[("peer", &here)]);
    }
    for n in 0..ACLS {
        let matches = format!("outport == \"p0-{}\" && ip4.src == $as && tcp.dst == {n}", n % 100);
        rows.flow(switches[0], "egress", 4, 1000 + (n % 1000) as i64, &matches, "next;");
    }
    let mut port = 0;
    while rows.flows < FLOWS {
        let (n, host) = (port % SWITCHES, port / SWITCHES);
        let (switch, name) = (switches[n], format!("p{n}-{host}"));
        let mac = format!("0a:00:{:02x}:{:02x}:{:02x}:01", n, host / 256, host % 256);
        let (v4, v6) =
            (format!("10.{n}.{}.{}", host / 250, host % 250), format!("fd00:{n:x}::{host:x}"));
        rows.port(switch, host as i64 + 2, &name, "", &[]);
        rows.flow(
            switch,
            "ingress",
            0,
            70,
            &format!("inport == \"{name}\""),
            "reg0[15] = check_in_port_sec(); next;",
        );
        rows.flow(
            switch,
            "ingress",
            19,
            50,
            &format!("arp.tpa == {v4} && arp.op == 1"),
            &format!(
                "eth.dst = eth.src; eth.src = {mac}; arp.op = 2; /* ARP reply */ arp.tha = arp.sha; \
                 arp.sha = {mac}; arp.tpa = arp.spa; arp.spa = {v4}; outport = inport; \
                 flags.loopback = 1; output;"
            ),
        );
        rows.flow(
            switch,
            "ingress",
            19,
            50,
            &format!("nd_ns && ip6.dst == {{{v6}, ff02::1:ff00:{host:x}}} && nd.target == {v6}"),
            &format!(
                "nd_na {{ eth.src = {mac}; ip6.src = {v6}; nd.target = {v6}; nd.tll = {mac}; \
                 outport = inport; flags.loopback = 1; output; }};"
            ),
        );
        rows.flow(
            switch,
            "ingress",
            25,
            50,
            &format!("eth.dst == {mac}"),
            &format!("outport = \"{name}\"; output;"),
        );
        for (register, address) in [("reg0", &v4), ("xxreg0", &v6)] {
            rows.flow(
                router,
                "ingress",
                14,
                100,
                &format!("outport == \"lr-sw{n}\" && {register} == {address}"),
                &format!("eth.dst = {mac}; next;"),
            );
        }
        port += 1;
    }
    rows
}

fn compile(changes: &[Change]) -> Compiler {
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    compiler.set_interface(InterfaceId(1), "tap1");
    compiler.apply(changes);
    compiler.bind("p0-0", Some(LocalPort { interface: InterfaceId(1), tag: None }));
    compiler.publish();
    assert_eq!(compiler.skipped().count(), 0);
    compiler
}

/// What the texts alone cost, without names, tables or datapaths.
fn read(c: &mut Criterion) {
    let rows = rows();
    let text = |row: &Row, column| Arc::clone(row.string(column).expect("a flow has texts"));
    let texts: Vec<(Arc<str>, Arc<str>)> = rows
        .changes
        .iter()
        .filter(|change| *change.table == *"Logical_Flow")
        .filter_map(|change| change.new.as_ref())
        .map(|row| (text(row, "match"), text(row, "actions")))
        .collect();
    let none = OptionTable::default();
    let parameters = Parameters {
        symbols: Symbols::flow(),
        position: Position::new(Pipeline::Ingress, 0),
        dhcp_options: &none,
        dhcpv6_options: &none,
    };
    let mut group = c.benchmark_group("read");
    group.sample_size(10).throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function(format!("the texts of {} flows", texts.len()), |b| {
        b.iter(|| {
            for (matches, actions) in &texts {
                black_box(parse(matches, Symbols::flow()).unwrap().annotate());
                black_box(parse_actions(actions, &parameters).unwrap());
            }
        });
    });
    group.finish();
}

fn start(c: &mut Criterion) {
    let rows = rows();
    let flows = rows.flows;
    let mut group = c.benchmark_group("start");
    group.sample_size(10).throughput(Throughput::Elements(flows as u64));
    group.bench_function(format!("{flows} flows from rows to tables"), |b| {
        b.iter_batched(|| (), |()| compile(black_box(&rows.changes)), BatchSize::PerIteration);
    });
    group.finish();
}

fn change(c: &mut Criterion) {
    let mut rows = rows();
    let mut compiler = compile(&rows.changes);
    let set = rows.changes[0].row;
    let sets = [ADDRESSES, ADDRESSES + 1].map(|count| {
        rows.row(
            "Address_Set",
            set,
            vec![("name", Datum::from("as")), ("addresses", addresses(count))],
        )
    });
    let mut group = c.benchmark_group("change");
    let mut turn = 0;
    group.bench_function(format!("an address of a set that {ACLS} ACLs share"), |b| {
        b.iter(|| {
            turn += 1;
            compiler.apply(std::slice::from_ref(&sets[turn % 2]));
            black_box(compiler.publish());
        });
    });
    let (first, flow) = {
        let is = |change: &&Change| {
            let row = change.new.as_ref().unwrap();
            *change.table == *"Logical_Flow" && row.get("table_id") == Some(&Datum::from(4))
        };
        let first = rows.changes.iter().find(is).unwrap().clone();
        (first.clone(), Change { new: None, old: first.new.clone(), ..first })
    };
    let acl = [flow, first];
    group.bench_function(format!("an ACL of {ACLS}"), |b| {
        b.iter(|| {
            turn += 1;
            compiler.apply(std::slice::from_ref(&acl[turn % 2]));
            black_box(compiler.publish());
        });
    });
    let tag = None;
    group.bench_function("a port bound or released", |b| {
        b.iter(|| {
            turn += 1;
            let local = (turn % 2 == 0).then_some(LocalPort { interface: InterfaceId(1), tag });
            compiler.bind("p1-1", local);
            black_box(compiler.publish());
        });
    });
    group.finish();
}

criterion_group!(benches, read, start, change);
criterion_main!(benches);
