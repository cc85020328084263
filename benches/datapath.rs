//! The user tier in memory: demultiplexing, cache hits and misses, Geneve, and the allocations of
//! each. The budgets are those of DESIGN.md: a hit of at most 250 cycles from one connection to a
//! million and without an allocation, a miss of 3 µs with one ACL or 100,000.
//!
//! `cargo bench --bench datapath` counts allocations, and instructions with valgrind, then takes
//! times; `-- --count` only counts allocations, `-- --instructions` instructions, `-- --run CLAIM
//! TIMES` times one claim. A frame's memory is filled anew for each packet, which is part of every
//! number; `refill` says how much.

use criterion::{BatchSize, Criterion, Throughput};
use ovn_xdp_datapath::classify::{Clause, Literal, Masked, Rule, Table, Values};
use ovn_xdp_datapath::field::{self, Slice};
use ovn_xdp_datapath::frame::{Frame, Io, VlanHeader};
use ovn_xdp_datapath::geneve;
use ovn_xdp_datapath::key::{DatapathKey, FlowId, InterfaceId, PortKey, TunnelId, VlanId};
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::program::{Family, Op, Pipeline};
use ovn_xdp_datapath::publish::{
    Attachment, Children, Datapath, Generation, Interface, Link, Mac, Neighbour, Place, Port,
    Stages, Tunnel,
};
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_datapath::worker::{Worker, WorkerConfig, demux};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Sockets that give frames back to the bench.
#[derive(Default)]
struct Loop(Vec<MemoryFrame>);

impl Io for Loop {
    type Frame = MemoryFrame;

    fn allocate(&mut self) -> Option<MemoryFrame> {
        None
    }

    fn duplicate(&mut self, _frame: &MemoryFrame) -> Option<MemoryFrame> {
        None
    }

    fn to_interface(&mut self, frame: MemoryFrame, _to: InterfaceId, vlan: Option<VlanHeader>) {
        black_box(vlan);
        self.0.push(frame);
    }

    fn to_nic(&mut self, frame: MemoryFrame, _nic: u16) {
        self.0.push(frame);
    }

    fn release(&mut self, frame: MemoryFrame) {
        self.0.push(frame);
    }
}

const VM: Mac = [2, 0, 0, 0, 0, 1];
const FAR: Mac = [2, 0, 0, 0, 0, 2];
const ROUTER: [Mac; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]];

fn key(key: u32) -> DatapathKey {
    DatapathKey::new(key).expect("a datapath key")
}

fn port_key(key: u16) -> PortKey {
    PortKey::new(key).expect("a port key")
}

fn number(mac: Mac) -> u128 {
    mac.iter().fold(0, |word, byte| word << 8 | u128::from(*byte))
}

fn masked(field: Slice, value: u128, mask: u128) -> Literal {
    Literal::new(field, Values::One(&Masked { value, mask }), false)
}

fn is(field: Slice, value: u128) -> Literal {
    masked(field, value, field.ones())
}

fn rule(priority: u16, literals: Vec<Literal>, ops: Vec<Op>) -> Rule {
    Rule::new(priority, &[Clause(literals.into())], ops.into(), FlowId(0))
}

fn next(table: u8) -> Op {
    Op::Next(Pipeline::Ingress, table)
}

fn tables(pipeline: Pipeline, rules: Vec<Vec<Rule>>) -> Stages {
    let numbered = |rules: Vec<Rule>| {
        let rules = rules.into_iter().zip(0..);
        Table::new(rules.map(|(rule, number)| rule.of_flow(FlowId(number))).collect())
    };
    Stages::new(pipeline, rules.into_iter().map(|rules| Arc::new(numbered(rules))))
}

fn port(number: u16, place: Place) -> (PortKey, Arc<Port>) {
    let key = port_key(number);
    let port = Port { key, name: "".into(), place, security: Box::new([]), localport: false };
    (key, Arc::new(port))
}

fn patch(datapath: u32, port: u16) -> Place {
    Place::Patch(Attachment { datapath: key(datapath), port: port_key(port) })
}

/// A switch of as many stages as northd makes, ACLs in one of each pipeline.
fn switch(
    number_of: u32,
    ports: Vec<(PortKey, Arc<Port>)>,
    macs: &[(Mac, u16)],
    acls: u32,
) -> Datapath {
    const STAGES: u8 = 27;
    let pass = |table: u8| vec![rule(0, vec![], vec![next(table + 1)])];
    let mut ingress: Vec<_> = (0..STAGES).map(pass).collect();
    let mut filter: Vec<_> = (0..acls)
        .map(|index| {
            let literals = vec![
                is(field::ETH_TYPE, 0x0800),
                masked(field::IP4_SRC, u128::from(0x0b00_0000 + (index << 4)), 0xffff_fff0),
                is(field::IP_PROTO, 6),
                is(field::TP_DST, u128::from(index & 0xffff)),
            ];
            rule(1000, literals, vec![])
        })
        .collect();
    filter.push(rule(1, vec![is(field::ETH_TYPE, 0x0800)], vec![next(9)]));
    filter.push(rule(0, vec![], vec![next(9)]));
    ingress[8] = filter;
    ingress.push(
        macs.iter()
            .map(|&(mac, port)| {
                let ops = vec![Op::Load(field::OUTPORT, port.into()), Op::Output];
                rule(50, vec![is(field::ETH_DST, number(mac))], ops)
            })
            .collect(),
    );
    let mut egress: Vec<_> = (0..10u8)
        .map(|table| vec![rule(0, vec![], vec![Op::Next(Pipeline::Egress, table + 1)])])
        .collect();
    egress.push(vec![rule(0, vec![], vec![Op::Output])]);
    datapath(number_of, ports, ingress, egress)
}

fn datapath(
    number: u32,
    ports: Vec<(PortKey, Arc<Port>)>,
    ingress: Vec<Vec<Rule>>,
    egress: Vec<Vec<Rule>>,
) -> Datapath {
    Datapath {
        epoch: 1,
        key: key(number),
        name: String::new(),
        ingress: tables(Pipeline::Ingress, ingress),
        egress: tables(Pipeline::Egress, egress),
        ports: ports.into_iter().collect(),
        groups: Default::default(),
        neighbours: Default::default(),
        fdb: Default::default(),
    }
}

fn router() -> Datapath {
    let mut ingress: Vec<_> =
        (0..20u8).map(|table| vec![rule(0, vec![], vec![next(table + 1)])]).collect();
    ingress[0] = vec![rule(50, vec![is(field::ETH_DST, number(ROUTER[0]))], vec![next(1)])];
    ingress[3] = vec![
        rule(30, vec![is(field::ETH_TYPE, 0x0800), is(field::IP_TTL, 1)], vec![]),
        rule(0, vec![], vec![next(4)]),
    ];
    ingress[12] = (0..64u128)
        .map(|net| {
            let ops = vec![
                Op::DecrementTtl,
                Op::load(field::ETH_SRC, number(ROUTER[1])),
                Op::Load(field::OUTPORT, 2),
                Op::Load(field::FLAGS.bits(0, 0).expect("a bit"), 1),
                next(13),
            ];
            rule(49, vec![masked(field::IP4_DST, 0x0a00_0000 | net << 8, 0xffff_ff00)], ops)
        })
        .collect();
    let resolve =
        Op::GetNeighbour { family: Family::V4, port: field::OUTPORT, address: field::IP4_DST };
    ingress[15] = vec![rule(0, vec![], vec![resolve, next(16)])];
    ingress.push(vec![rule(0, vec![], vec![Op::Output])]);
    let egress = vec![vec![rule(0, vec![], vec![Op::Output])]];
    let ports = vec![port(1, patch(1, 9)), port(2, patch(2, 9))];
    let mut router = datapath(3, ports, ingress, egress);
    let neighbour = Neighbour { port: port_key(2), family: Family::V4, address: 0x0a00_0202 };
    router.neighbours.insert_mut(neighbour, FAR);
    router
}

/// Switch, router, switch, tunnel.
fn generation(acls: u32) -> Generation {
    let interface = InterfaceId(1);
    let here = Place::Local { interface, tag: None, also: Box::new([]) };
    let there = Place::Remote(Box::new([TunnelId(1)]));
    let near =
        switch(1, vec![port(1, here), port(9, patch(3, 1))], &[(VM, 1), (ROUTER[0], 9)], acls);
    let far =
        switch(2, vec![port(2, there), port(9, patch(3, 2))], &[(FAR, 2), (ROUTER[1], 9)], acls);
    let mut generation = Generation::default();
    for datapath in [near, far, router()] {
        generation.datapaths.insert_mut(datapath.key, Arc::new(datapath));
    }
    let vif = Some(Attachment { datapath: key(1), port: port_key(1) });
    let attached = Interface { epoch: 1, name: String::new(), vif, children: Children::default() };
    generation.interfaces.insert(interface, Arc::new(attached));
    let tunnel = tunnel();
    generation.peers.insert_mut(tunnel.remote, ());
    generation.tunnels.insert_mut(TunnelId(1), Arc::new(tunnel));
    generation
}

fn tunnel() -> Tunnel {
    Tunnel {
        epoch: 1,
        chassis: String::new(),
        local: [192, 0, 2, 1].into(),
        remote: [192, 0, 2, 2].into(),
        link: Some(Link { nic: 0, source: VM, destination: FAR, mtu: 1600 }),
        csum: true,
        tos: None,
        df: true,
    }
}

/// A routed UDP frame of 64 bytes; `flow` tells connections apart.
fn frame(flow: u32) -> [u8; 64] {
    let mut frame = [0; 64];
    frame[..6].copy_from_slice(&ROUTER[0]);
    frame[6..12].copy_from_slice(&VM);
    frame[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0, 50]);
    frame[22] = 64;
    frame[23] = 17;
    frame[26..30].copy_from_slice(&[10, 0, 1, (flow >> 16) as u8]);
    frame[30..34].copy_from_slice(&[10, 0, 2, 2]);
    frame[34..36].copy_from_slice(&(flow as u16).to_be_bytes());
    frame[36..40].copy_from_slice(&[0, 9, 0, 30]);
    frame
}

fn worker(acls: u32, capacity: usize) -> Worker {
    let publisher = Publisher::new();
    publisher.publish(generation(acls));
    let (learned, _) = crossbeam_channel::bounded(16);
    let config = WorkerConfig { cache_capacity: capacity, hash_seed: 42, ..Default::default() };
    Worker::new(config, publisher.join(|| ()), learned)
}

/// Frames that a worker is given at once.
const BATCH: usize = 32;

/// Frames of many connections through one worker, one at a time or a batch, whose memory is used
/// again and again.
struct Traffic {
    worker: Worker,
    io: Loop,
    batch: Vec<(InterfaceId, Option<VlanHeader>, MemoryFrame)>,
    flow: u32,
    flows: u32,
    stride: u32,
    at_once: usize,
}

impl Traffic {
    fn new(acls: u32, flows: u32, at_once: usize) -> Self {
        let worker = worker(acls, flows as usize * 2);
        let io = Loop(vec![MemoryFrame::new(&[0; 2048]); at_once]);
        let batch = Vec::with_capacity(at_once);
        let mut traffic = Self { worker, io, batch, flow: 0, flows, stride: 1, at_once };
        (0..flows.next_multiple_of(at_once as u32)).for_each(|_| traffic.step());
        // Prime to all counts, and another than at first: neighbours in time are strangers in memory.
        traffic.stride = 7919;
        traffic
    }

    /// One frame more; the worker gets it when the batch is whole.
    fn step(&mut self) {
        self.flow = (self.flow + self.stride) % self.flows;
        let mut one = self.io.0.pop().expect("the frames came back");
        one.refill(&frame(self.flow));
        if self.at_once == 1 {
            return self.worker.from_interface(1, InterfaceId(1), None, one, &mut self.io);
        }
        self.batch.push((InterfaceId(1), None, one));
        if self.batch.len() == self.at_once {
            self.worker.from_interfaces(1, &mut self.batch, &mut self.io);
        }
    }
}

/// A tunnel frame and a worker of the hypervisor that it is for.
struct Inbound {
    worker: Worker,
    io: Loop,
    wire: Vec<u8>,
}

impl Inbound {
    fn new(csum: bool) -> Self {
        let mut traffic = Traffic::new(1, 1, 1);
        traffic.step();
        let mut wire = traffic.io.0.pop().expect("the frame came back").head().to_vec();
        if !csum {
            wire[40..42].fill(0);
        }
        let mut far = generation(1);
        let mut b = (**far.datapaths.get(&key(2)).expect("the switch")).clone();
        let interface = InterfaceId(1);
        let (number, green) = port(2, Place::Local { interface, tag: None, also: Box::new([]) });
        b.ports.insert(number, green);
        far.datapaths.insert_mut(b.key, Arc::new(b));
        far.peers.insert_mut([192, 0, 2, 1].into(), ());
        let publisher = Publisher::new();
        publisher.publish(far);
        let (learned, _) = crossbeam_channel::bounded(16);
        let worker = Worker::new(WorkerConfig::default(), publisher.join(|| ()), learned);
        let io = Loop(vec![MemoryFrame::new(&[0; 2048])]);
        let mut inbound = Self { worker, io, wire };
        inbound.step();
        inbound
    }

    fn step(&mut self) {
        let mut one = self.io.0.pop().expect("the frame came back");
        one.refill(&self.wire);
        self.worker.from_nic(1, 0, one, &mut self.io);
    }
}

/// A miss on every frame: a cache of one set, and many connections.
fn misses(acls: u32) -> Traffic {
    let mut traffic = Traffic::new(acls, 1, 1);
    traffic.flows = 1 << 16;
    traffic
}

fn children() -> Generation {
    let mut generation = Generation::default();
    let mut children = Children::default();
    for tag in 1..4095 {
        let child = Attachment { datapath: key(1), port: port_key(tag) };
        children.set(VlanId::new(tag).expect("a tag"), Some(child));
    }
    let parent = Interface { epoch: 1, name: String::new(), vif: None, children };
    generation.interfaces.insert(InterfaceId(1), Arc::new(parent));
    generation
}

fn many_ports() -> Generation {
    let mut generation = Generation::default();
    for id in 0..100_000 {
        let vif = Some(Attachment { datapath: key(1 + id), port: port_key(1) });
        let one = Interface { epoch: 1, name: String::new(), vif, children: Children::default() };
        generation.interfaces.insert(InterfaceId(id), Arc::new(one));
    }
    generation
}

/// Allocations of each of `times` runs, on the average, after one to warm up.
fn allocations(name: &str, times: u64, mut run: impl FnMut()) -> f64 {
    run();
    let counted = allocation_counter::measure(|| (0..times).for_each(|_| run()));
    let each = counted.count_total as f64 / times as f64;
    println!("{name:<40} {each:>8.4} allocations per packet");
    each
}

fn count() {
    for (flows, at_once) in [(1, 1), (1_000, 1), (1_000, BATCH), (100_000, BATCH)] {
        let mut traffic = Traffic::new(1, flows, at_once);
        let name = format!("hit, {flows} connections, {at_once} at once");
        let each = allocations(&name, 10_000, || traffic.step());
        assert_eq!(each, 0.0, "a hit allocates nothing");
        let hits = traffic.worker.counters().hits.get();
        assert!(
            hits > 10_000 - BATCH as u64,
            "only {hits} hits: the bench measures something else"
        );
    }
    for csum in [true, false] {
        let mut inbound = Inbound::new(csum);
        let each = allocations(&format!("decap and hit, csum {csum}"), 10_000, || inbound.step());
        assert_eq!(each, 0.0, "a hit allocates nothing");
    }
    let generation = children();
    let mut tag = 0;
    allocations("demux, 4094 children", 10_000, || {
        tag = tag % 4094 + 1;
        black_box(demux(&generation, InterfaceId(1), 1 << 12 | tag).is_ok());
    });
    for acls in [1, 100_000] {
        let mut traffic = misses(acls);
        allocations(&format!("miss, {acls} ACLs"), 1_000, || traffic.step());
    }
}

/// How long most misses take, and how long one in a hundred takes at least.
fn spread_of_misses() {
    for acls in [1, 100_000] {
        let mut traffic = misses(acls);
        let mut taken = |_| {
            let start = Instant::now();
            traffic.step();
            start.elapsed().as_nanos()
        };
        let mut times: Vec<_> = (0..50_000).map(&mut taken).collect();
        times.sort_unstable();
        let [median, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
        println!("miss, {acls} ACLs: median {median} ns, p99 {p99} ns");
    }
}

fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("demux");
    let generation = children();
    let mut tag = 0;
    group.bench_function("4094 children of a parent", |bencher| {
        bencher.iter(|| {
            tag = tag % 4094 + 1;
            demux(&generation, InterfaceId(1), 1 << 12 | tag)
        });
    });
    let generation = many_ports();
    let mut id = 0;
    group.bench_function("100000 ports", |bencher| {
        bencher.iter(|| {
            id = (id + 7919) % 100_000;
            demux(&generation, InterfaceId(id), 0)
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("hit");
    group.throughput(Throughput::Elements(1));
    for flows in [1, 1_000, 100_000, 1_000_000] {
        for at_once in [1, BATCH] {
            let mut traffic = Traffic::new(1, flows, at_once);
            group.bench_function(format!("{flows} connections, {at_once} at once"), |bencher| {
                bencher.iter(|| traffic.step());
            });
        }
    }
    for (name, csum) in [("decap, checksum", true), ("decap, no checksum", false)] {
        let mut inbound = Inbound::new(csum);
        group.bench_function(name, |bencher| bencher.iter(|| inbound.step()));
    }
    group.finish();

    let mut group = criterion.benchmark_group("miss");
    for acls in [1, 100_000] {
        let mut traffic = misses(acls);
        group.bench_function(format!("switch, router, switch, {acls} ACLs"), |bencher| {
            bencher.iter(|| traffic.step());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("geneve");
    let link = Link { nic: 0, source: VM, destination: FAR, mtu: 9000 };
    for (length, csum) in [(64, false), (64, true), (1514, false), (1514, true)] {
        let payload = vec![7; length];
        let mut tunnel = tunnel();
        tunnel.csum = csum;
        let outer = geneve::Outer::new(&tunnel, &link, key(1), 1, port_key(2));
        let outer = outer.expect("headers of one family");
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("encap {length} bytes, checksum {csum}"), |bencher| {
            bencher.iter_batched_ref(
                || MemoryFrame::new(&payload),
                |frame| outer.encapsulate(frame, Some(0), 40_000),
                BatchSize::SmallInput,
            );
        });
        let mut wire = MemoryFrame::new(&payload);
        outer.encapsulate(&mut wire, Some(0), 40_000).expect("it fits");
        group.bench_function(format!("decap {length} bytes, checksum {csum}"), |bencher| {
            bencher.iter(|| geneve::decapsulate(black_box(&wire)));
        });
    }
    group.finish();
}

/// One claim, by name, as often as asked: what [`instructions`] measures.
fn run(claim: &str, times: u32) {
    let repeat = |step: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..times).for_each(|_| step());
        println!("{:.1} ns", start.elapsed().as_nanos() as f64 / f64::from(times));
    };
    let mut words = claim.split(' ');
    let kind = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    match kind {
        "hit" => {
            let mut traffic = Traffic::new(1, number, 1);
            repeat(&mut || traffic.step());
        }
        "batch" => {
            let mut traffic = Traffic::new(1, number, BATCH);
            repeat(&mut || traffic.step());
        }
        "decap" => {
            let mut inbound = Inbound::new(number == 1);
            repeat(&mut || inbound.step());
        }
        "miss" => {
            let mut traffic = misses(number);
            repeat(&mut || traffic.step());
        }
        "demux" => {
            let generation = children();
            let mut tag = 0;
            repeat(&mut || {
                tag = tag % 4094 + 1;
                black_box(demux(&generation, InterfaceId(1), 1 << 12 | tag).is_ok());
            });
        }
        "encap" => {
            let link = Link { nic: 0, source: VM, destination: FAR, mtu: 9000 };
            let tunnel = tunnel();
            let outer = geneve::Outer::new(&tunnel, &link, key(1), 1, port_key(2));
            let outer = outer.expect("headers of one family");
            let mut memory = MemoryFrame::new(&[0; 2048]);
            repeat(&mut || {
                memory.refill(&frame(7));
                black_box(outer.encapsulate(&mut memory, Some(0), 40_000)).expect("it fits");
            });
        }
        "refill" => {
            let mut memory = MemoryFrame::new(&[0; 2048]);
            repeat(&mut || black_box(&mut memory).refill(&frame(7)));
        }
        other => panic!("no claim is called {other:?}"),
    }
}

/// Instructions per packet, which noise cannot move, by valgrind: two runs of one claim differ by
/// the packets alone.
fn instructions() {
    let own = std::env::current_exe().expect("the bench's own path");
    let collected = |claim: &str, times: u32| -> u64 {
        let output = std::process::Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&own)
            .args(["--run", claim, &times.to_string()])
            .output()
            .expect("valgrind is installed");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find_map(|line| line.split("Collected :").nth(1));
        line.and_then(|line| line.trim().parse().ok()).expect("callgrind's count")
    };
    let hits = ["refill", "hit 1", "hit 1000", "batch 1000", "decap 1", "decap 0"];
    for claim in hits.into_iter().chain(["demux", "encap", "miss 1", "miss 100000"]) {
        // Whole batches.
        let each = (collected(claim, 1120) - collected(claim, 160)) / 960;
        println!("{claim:<40} {each:>8} instructions per packet");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |option: &str| arguments.iter().position(|argument| argument == option);
    if let Some(at) = has("--run") {
        let times = arguments.get(at + 2).and_then(|times| times.parse().ok());
        let (Some(claim), Some(times)) = (arguments.get(at + 1), times) else {
            panic!("expected: --run CLAIM TIMES");
        };
        return run(claim, times);
    }
    if has("--instructions").is_some() {
        return instructions();
    }
    count();
    if has("--count").is_some() {
        return;
    }
    instructions();
    spread_of_misses();
    let mut criterion = Criterion::default().configure_from_args();
    time(&mut criterion);
    criterion.final_summary();
}
