//! One worker: frames in, verdicts from the cache or from a walk, frames out.
//!
//! A worker owns all it writes (cache, counters, what it reported last) and shares only the
//! published generation, which it takes up at the start of a batch. A packet whose verdict is
//! cached and holds is parsed, looked up once, changed and sent, without a lock or an allocation;
//! any other walks the pipelines here and now.

use crate::cache::{Cache, Key};
use crate::counters::{MOST_FLOW_DROPS, PortCounters, PortId, WorkerCounters};
use crate::flood::{self, Leaving};
use crate::frame::{Frame, Io, VlanHeader};
use crate::geneve;
use crate::key::{DatapathKey, FlowId, InterfaceId, VlanId};
use crate::learn::{Learned, Learner};
use crate::listing::{self, Connection};
use crate::observe::Observer;
use crate::parse::{Network, Parsed, parse};
use crate::path::{Path, Trail};
use crate::pipeline::{self, Packet, Start, Surroundings, Walked};
use crate::publish::{Generation, Run};
use crate::publisher::Reader;
use crate::verdict::{Dependency, Drop, Target, Verdict};
use crossbeam_channel::Sender;
use hashbrown::HashMap;
use ovn_xdp_abi::drop::DropReason;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

/// What a worker is started with.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Connections that the cache holds at least.
    pub cache_capacity: usize,
    /// Random, so that nobody can aim at a set of the cache.
    pub hash_seed: u64,
    /// Errors about packets too big that may be sent in a second.
    pub errors_per_second: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { cache_capacity: 1 << 17, hash_seed: 0, errors_per_second: 1000 }
    }
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    reader: Reader,
    generation: Arc<Generation>,
    cache: Cache,
    /// Packets of a batch under way; empty between two.
    batch: Vec<Option<Arrived>>,
    seed: u64,
    counters: Arc<WorkerCounters>,
    ports: HashMap<PortId, Arc<PortCounters>>,
    blamed: HashMap<(DropReason, FlowId), Arc<Drop>>,
    learner: Learner,
    bucket: Bucket,
    trail: Trail,
    peers: Peers,
}

impl Worker {
    /// A worker that reads generations from `reader` and reports to `learned`.
    pub fn new(config: WorkerConfig, reader: Reader, learned: Sender<Learned>) -> Self {
        let generation = reader.current();
        let mut worker = Self {
            reader,
            generation,
            cache: Cache::new(config.cache_capacity),
            batch: Vec::new(),
            seed: config.hash_seed,
            counters: Arc::default(),
            ports: HashMap::new(),
            blamed: HashMap::new(),
            learner: Learner::new(learned),
            bucket: Bucket::new(config.errors_per_second),
            trail: Trail::default(),
            peers: Peers::default(),
        };
        worker.refresh();
        worker
    }

    /// Takes up the newest generation; call once per batch of frames, and when woken.
    pub fn refresh(&mut self) {
        self.reader.refresh(&mut self.generation);
        if let Some(question) = self.counters.listing.question() {
            self.list(question);
        }
    }

    /// Whether the worker may sleep; from then on [`Worker::refresh`] comes before anything else.
    pub fn sleep(&mut self) -> bool {
        self.reader.sleep(&self.generation)
    }

    #[cold]
    fn list(&mut self, question: u64) {
        let connection = |(key, verdict): (&Key, &Verdict)| Connection {
            from: key.from(),
            fields: Box::new(key.context()),
            interfaces: verdict
                .outputs
                .iter()
                .filter_map(|output| match output.target {
                    Target::Interface { to, .. } => Some(to),
                    Target::Tunnel(_) => None,
                })
                .collect(),
            tunnels: verdict
                .rests_on
                .iter()
                .filter_map(|it| match it {
                    Dependency::Tunnel(id, _) => Some(*id),
                    _ => None,
                })
                .collect(),
            drop: verdict.drop.as_ref().map(|drop| (drop.reason, drop.flow)),
            holds: verdict.rests_on.iter().all(|it| it.holds(&self.generation)),
        };
        let connections = self.cache.connections().take(listing::MOST).map(connection).collect();
        self.counters.listing.give(question, connections);
        self.reader.tell();
    }

    /// The generation this worker runs.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// The worker's counters, for control to read.
    pub fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    /// Connections in the cache; walks all of it, so it is not for every packet.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// Handles a frame from a workload; `vlan` is a tag that the kernel kept beside it, `now` any
    /// monotonic time in nanoseconds.
    #[inline]
    pub fn from_interface<I: Io>(
        &mut self,
        now: u64,
        interface: InterfaceId,
        vlan: Option<VlanHeader>,
        frame: I::Frame,
        io: &mut I,
    ) {
        match self.arrived_at_workload(now, interface, vlan, &frame) {
            Ok(arrived) => self.forward(arrived, frame, io),
            Err(()) => io.release(frame),
        }
    }

    /// Handles frames from workloads, each with its interface and the tag beside it, and leaves the
    /// vector empty. What the cache knows of them is fetched from memory for all of them at once.
    pub fn from_interfaces<I: Io>(
        &mut self,
        now: u64,
        frames: &mut Vec<(InterfaceId, Option<VlanHeader>, I::Frame)>,
        io: &mut I,
    ) {
        let mut batch = std::mem::take(&mut self.batch);
        for (interface, vlan, frame) in frames.iter() {
            batch.push(self.arrived_at_workload(now, *interface, *vlan, frame).ok());
        }
        self.fetch(&batch);
        for ((_, _, frame), arrived) in frames.drain(..).zip(batch.drain(..)) {
            match arrived {
                Some(arrived) => self.forward(arrived, frame, io),
                None => io.release(frame),
            }
        }
        self.batch = batch;
    }

    /// Handles a Geneve frame from a NIC.
    #[inline]
    pub fn from_nic<I: Io>(&mut self, now: u64, _nic: u16, mut frame: I::Frame, io: &mut I) {
        match self.arrived_by_tunnel(now, &mut frame) {
            Ok(arrived) => self.forward(arrived, frame, io),
            Err(()) => io.release(frame),
        }
    }

    /// Handles Geneve frames from a NIC, and leaves the vector empty.
    pub fn from_nics<I: Io>(
        &mut self,
        now: u64,
        _nic: u16,
        frames: &mut Vec<I::Frame>,
        io: &mut I,
    ) {
        let mut batch = std::mem::take(&mut self.batch);
        for frame in frames.iter_mut() {
            batch.push(self.arrived_by_tunnel(now, frame).ok());
        }
        self.fetch(&batch);
        for (frame, arrived) in frames.drain(..).zip(batch.drain(..)) {
            match arrived {
                Some(arrived) => self.forward(arrived, frame, io),
                None => io.release(frame),
            }
        }
        self.batch = batch;
    }

    /// Reads, for all of a batch before anything waits for one of them, what the cache keeps of each.
    #[inline]
    fn fetch(&self, batch: &[Option<Arrived>]) {
        let hashes = || batch.iter().flatten().map(|arrived| arrived.hash);
        black_box(hashes().fold(0, |read, hash| read ^ self.cache.approach(hash)));
        black_box(hashes().fold(0, |read, hash| read ^ self.cache.reach(hash)));
    }

    #[inline]
    fn arrived_at_workload<F: Frame>(
        &mut self,
        now: u64,
        interface: InterfaceId,
        vlan: Option<VlanHeader>,
        frame: &F,
    ) -> Result<Arrived, ()> {
        match parse(frame.head(), frame.len(), vlan) {
            Ok(parsed) => {
                let key = Key::interface(interface.0, &parsed);
                let hash = key.hash(self.seed);
                let origin = Origin::Interface(interface);
                Ok(Arrived { now, key, hash, parsed, vlan, origin })
            }
            Err(reason) => {
                self.drop_at(interface, vlan, reason);
                Err(())
            }
        }
    }

    #[inline]
    fn arrived_by_tunnel<F: Frame>(&mut self, now: u64, frame: &mut F) -> Result<Arrived, ()> {
        match from_tunnel(frame, |peer| self.peers.known(peer, &self.generation)) {
            Ok((outer, parsed)) => {
                self.counters.tunnel_rx.add(1);
                let key = Key::tunnel(outer.vni, outer.inport, outer.outport.get(), &parsed);
                let hash = key.hash(self.seed);
                Ok(Arrived { now, key, hash, parsed, vlan: None, origin: Origin::Tunnel(outer) })
            }
            Err(reason) => {
                self.counters.drops.count(reason);
                Err(())
            }
        }
    }

    #[inline]
    fn forward<I: Io>(&mut self, arrived: Arrived, frame: I::Frame, io: &mut I) {
        let Arrived { now, key, hash, parsed, vlan, .. } = &arrived;
        let wire_len = frame.len() as u32 + if vlan.is_some() { 4 } else { 0 };
        if let Some(place) = self.cache.find(*hash, key)
            && let Some(found) = self.cache.at(place)
        {
            let number = self.generation.number;
            if *found.generation != number
                && found.verdict.rests_on.iter().all(|it| it.holds(&self.generation))
            {
                *found.generation = number;
            }
            if *found.generation != number {
                self.counters.stale.add(1);
            } else if holds(found.verdict, parsed, wire_len) && *now < found.expires {
                self.counters.hits.add(1);
                let from_workload = matches!(arrived.origin, Origin::Interface(_));
                count_arrival(found.verdict, from_workload, wire_len);
                let source_port = found.source_port;
                let leaving = Leaving { frame, vlan: *vlan, layers: parsed.layers, source_port };
                return flood::deliver(found.verdict, &[], leaving, &self.counters, io);
            } else {
                self.counters.guard_misses.add(1);
            }
        } else {
            self.counters.misses.add(1);
        }
        self.miss(&arrived, wire_len, frame, io);
    }

    #[inline(never)]
    fn miss<I: Io>(&mut self, arrived: &Arrived, wire_len: u32, frame: I::Frame, io: &mut I) {
        let Arrived { now, key, hash, parsed, vlan, origin } = arrived;
        let flow = key.flow(self.seed);
        let walked = match self.walk(arrived, flow, wire_len, frame.head(), &mut ()) {
            Ok(walked) => walked,
            Err(reason) => {
                self.counters.drops.count(reason);
                return io.release(frame);
            }
        };
        let verdict = walked.verdict;
        for fact in walked.learned {
            self.learner.report(*now, fact, &self.counters);
        }
        count_arrival(&verdict, matches!(origin, Origin::Interface(_)), wire_len);
        let source_port = geneve::source_port(flow);
        let leaving = Leaving { frame, vlan: *vlan, layers: parsed.layers, source_port };
        flood::deliver(&verdict, &walked.built, leaving, &self.counters, io);
        if verdict.cacheable && verdict.outputs.len() <= MOST_OUTPUTS {
            let expires = now.saturating_add(verdict.expires);
            let number = self.generation.number;
            if self.cache.insert(*hash, *key, verdict, number, expires, source_port) {
                self.counters.evictions.add(1);
            }
        }
    }

    fn walk<O: Observer>(
        &mut self,
        arrived: &Arrived,
        hash: u64,
        wire_len: u32,
        head: &[u8],
        observer: &mut O,
    ) -> Result<Walked, DropReason> {
        let start = match &arrived.origin {
            Origin::Interface(interface) => {
                demux(&self.generation, *interface, arrived.parsed.tci())?
            }
            Origin::Tunnel(outer) => outer.start()?,
        };
        let packet = Packet { head, parsed: &arrived.parsed, wire_len, hash };
        let generation = Arc::clone(&self.generation);
        self.trail.clear();
        let surroundings = Own {
            ports: &mut self.ports,
            blamed: &mut self.blamed,
            counters: &self.counters,
            bucket: &mut self.bucket,
            trail: &mut self.trail,
            now: arrived.now,
        };
        Ok(pipeline::walk(&generation, start, packet, surroundings, observer))
    }

    fn drop_at(&mut self, interface: InterfaceId, vlan: Option<VlanHeader>, reason: DropReason) {
        let tci = vlan.map_or(0, |vlan| vlan.tci | 1 << 12);
        match demux(&self.generation, interface, tci) {
            Ok(Start::Ingress { port, .. }) => {
                self.counters.port((port.datapath, port.port)).drops.count(reason);
            }
            _ => self.counters.drops.count(reason),
        }
    }
}

/// Takes the outer headers of a frame from a NIC off; the congestion mark goes into the inner packet
/// (RFC 6040). `known` says whether an address is a chassis (ENC-13).
///
/// # Errors
/// Those of [`geneve::decapsulate`], of [`parse`] and of [`geneve::mark_congestion`], and
/// [`DropReason::UnknownPeer`].
#[inline]
pub fn from_tunnel<F: Frame>(
    frame: &mut F,
    known: impl FnOnce(IpAddr) -> bool,
) -> Result<(geneve::Arrival, Parsed), DropReason> {
    let outer = geneve::decapsulate(frame)?;
    if !known(outer.remote) {
        return Err(DropReason::UnknownPeer);
    }
    if !frame.pull_front(outer.header_len) {
        return Err(DropReason::Truncated);
    }
    if frame.len() > outer.payload_len {
        frame.truncate(outer.payload_len);
    }
    let mut parsed = parse(frame.head(), frame.len(), None)?;
    if outer.congestion && matches!(parsed.layers.network, Network::V4 | Network::V6) {
        geneve::mark_congestion(frame.head_mut(), &mut parsed)?;
    }
    Ok((outer, parsed))
}

impl geneve::Arrival {
    /// Where its packet starts.
    ///
    /// # Errors
    /// [`DropReason::UnknownVni`] if its VNI is no datapath's.
    #[inline]
    pub fn start(&self) -> Result<Start, DropReason> {
        Ok(Start::Tunnel {
            datapath: DatapathKey::new(self.vni).ok_or(DropReason::UnknownVni)?,
            inport: self.inport,
            outport: self.outport,
        })
    }
}

/// The logical port that a frame with this outermost tag belongs to: a child's if a child has the
/// tag, otherwise the parent's, the tag left where it is (TRAP-4).
///
/// # Errors
/// [`DropReason::NoPort`] if there is none.
#[inline]
pub fn demux(
    generation: &Generation,
    interface: InterfaceId,
    tci: u16,
) -> Result<Start, DropReason> {
    let found = generation.interfaces.get(interface).ok_or(DropReason::NoPort)?;
    let child = (tci & 1 << 12 != 0)
        .then(|| VlanId::new(tci & 0xfff))
        .flatten()
        .and_then(|tag| found.children.get(tag));
    let port = child.or(found.vif).ok_or(DropReason::NoPort)?;
    Ok(Start::Ingress { interface, port, nested: child.is_some() })
}

/// Verdicts with more outputs than this are walked each time, so that floods do not fill the cache.
const MOST_OUTPUTS: usize = 64;

#[derive(Debug)]
struct Arrived {
    now: u64,
    key: Key,
    hash: u64,
    parsed: Parsed,
    vlan: Option<VlanHeader>,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Interface(InterfaceId),
    Tunnel(geneve::Arrival),
}

#[inline]
fn holds(verdict: &Verdict, parsed: &Parsed, wire_len: u32) -> bool {
    parsed.guarded & verdict.guard.0 == verdict.guard.1
        && (verdict.lengths.0..=verdict.lengths.1).contains(&wire_len)
        && (verdict.ttl_above == 0 || parsed.guarded as u8 > verdict.ttl_above)
}

#[inline]
fn count_arrival(verdict: &Verdict, from_workload: bool, wire_len: u32) {
    if let (true, Some(port)) = (from_workload, &verdict.arrival) {
        port.rx_packets.add(1);
        port.rx_bytes.add(u64::from(wire_len));
    }
    if let Some(path) = &verdict.path {
        path.count(wire_len);
    }
}

struct Own<'w> {
    ports: &'w mut HashMap<PortId, Arc<PortCounters>>,
    blamed: &'w mut HashMap<(DropReason, FlowId), Arc<Drop>>,
    counters: &'w WorkerCounters,
    bucket: &'w mut Bucket,
    trail: &'w mut Trail,
    now: u64,
}

impl Surroundings for Own<'_> {
    fn port(&mut self, id: PortId) -> Arc<PortCounters> {
        Arc::clone(self.ports.entry(id).or_insert_with(|| self.counters.port(id)))
    }

    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<Drop> {
        if let Some(known) = self.blamed.get(&(reason, flow)) {
            return Arc::clone(known);
        }
        if self.blamed.len() >= MOST_FLOW_DROPS {
            self.blamed.clear();
        }
        let drop = self.counters.flow_drops.of(reason, flow);
        self.blamed.insert((reason, flow), Arc::clone(&drop));
        drop
    }

    fn passes(&mut self, flow: FlowId) {
        self.trail.passes(flow);
    }

    fn passes_run(&mut self, run: Run<'_>) {
        self.trail.passes_run(run);
    }

    fn path(&mut self) -> Option<Arc<Path>> {
        Some(self.counters.paths.of(self.trail))
    }

    fn may_send_error(&mut self) -> bool {
        let may = self.bucket.take(self.now);
        if !may {
            self.counters.suppressed_errors.add(1);
        }
        may
    }
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    tokens: u64,
    filled: u64,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, tokens: per_second, filled: 0 }
    }

    fn take(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.filled).min(1_000_000_000);
        let new = passed * self.per_second / 1_000_000_000;
        if new > 0 {
            self.tokens = (self.tokens + new).min(self.per_second);
            self.filled = now;
        }
        let may = self.tokens > 0;
        self.tokens -= u64::from(may);
        may
    }
}

/// Peers lately found to be chassis, so that the set is not searched for every frame.
#[derive(Debug)]
struct Peers([Option<(IpAddr, u64)>; 64]);

impl Default for Peers {
    fn default() -> Self {
        Self([None; 64])
    }
}

impl Peers {
    /// Whether the address is a chassis (ENC-13).
    #[inline]
    fn known(&mut self, peer: IpAddr, generation: &Generation) -> bool {
        let last = match peer {
            IpAddr::V4(peer) => peer.octets()[3],
            IpAddr::V6(peer) => peer.octets()[15],
        };
        let lately = &mut self.0[usize::from(last) % 64];
        if *lately == Some((peer, generation.number)) {
            return true;
        }
        let known = generation.peers.contains_key(&peer);
        if known {
            *lately = Some((peer, generation.number));
        }
        known
    }
}
