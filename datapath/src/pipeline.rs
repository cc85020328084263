//! The walk of one packet through the logical pipelines, to its verdict.
//!
//! A walk is a list of branches, worked off depth first: `clone`, multicast groups and patch ports
//! add branches, never recursion, so the only limits are [`MAX_PATH`] tables on the way of one
//! packet and [`MAX_TABLES`] for all its copies, and passing them is counted (TRAP-10). Each branch is a
//! copy of the packet's fields; the frame itself is not touched. What is consulted outside the cache's
//! key is noted for the verdict.

use crate::answer;
use crate::classify::{Domain, Found};
use crate::counters::{PortCounters, WorkerCounters};
use crate::field::{self, Context, GUARDED_SLOT, Slice, flag};
use crate::geneve::Outer;
use crate::key::{DatapathKey, FlowId, InterfaceId, PortKey, TunnelId};
use crate::learn::Learned;
use crate::observe::{Decision, Lookup, Observer};
use crate::parse::{Layers, Parsed};
use crate::path::Path;
use crate::program::{Agent, Connection, Message, Op, Pipeline, Select};
use crate::publish::{Attachment, Datapath, Generation, Place, Port, Run};
use crate::rewrite::{Rewrite, TtlChange};
use crate::security;
use crate::verdict::{Dependency, Drop, Output, Source, Target, Verdict};
use ovn_xdp_abi::drop::DropReason;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

mod execute;
mod output;
mod whole;

pub use whole::follow;

/// Tables that one copy of a packet may pass.
pub const MAX_PATH: u32 = 2048;

/// Tables that all copies of a packet may pass together: 32 for each of a flood to 4094 children. Where the
/// network goes round in a circle, a guest has a worker do 5 ms for one packet.
pub const MAX_TABLES: u32 = 1 << 17;

/// Nanoseconds after which a walk that reports something to control is made again.
pub const REPORT_AGAIN: u64 = 5_000_000_000;

/// Where a packet starts its walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// From a workload (PHY-I1, PHY-I2).
    Ingress {
        /// The interface it came in on.
        interface: InterfaceId,
        /// Its logical port.
        port: Attachment,
        /// It is a nested container's: its tag is taken off.
        nested: bool,
    },
    /// From a tunnel (PHY-I5): at the output decision.
    Tunnel {
        /// From the VNI.
        datapath: DatapathKey,
        /// Ingress port key of the option, or zero.
        inport: u16,
        /// Egress port or group key.
        outport: PortKey,
    },
}

/// The packet that walks.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The contiguous start of its frame.
    pub head: &'a [u8],
    /// Its fields and layers.
    pub parsed: &'a Parsed,
    /// Bytes of the frame with a tag beside it counted.
    pub wire_len: u32,
    /// Hash of its flow: the source port of tunnels, the choice of `select`.
    pub hash: u64,
}

/// A verdict, and what else came of the walk.
#[derive(Debug)]
pub struct Walked {
    /// The verdict.
    pub verdict: Verdict,
    /// Frames that the walk built, for its outputs.
    pub built: Vec<Vec<u8>>,
    /// What control is to learn.
    pub learned: Vec<Learned>,
}

/// What comes of an operation that a walk's surroundings decide about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing executes it here: the packet is dropped.
    NotExecuted,
    /// It is done, with the packet as it is now; the program goes on.
    Done,
    /// The packet, as it is now, goes on at the next table, in the operation's block or, if the agent
    /// has made a copy of it, in the egress pipeline; the program goes on with the packet as it was.
    Forks,
}

/// What a walk asks of who runs it: a worker, or a trace.
pub trait Surroundings {
    /// Whether the whole logical network is walked, with no chassis in it (`ovn-xdp trace`): each
    /// port is within reach, nothing is sent, and what is not there is said rather than dropped.
    const WHOLE: bool = false;

    /// An operation on the packet's connection.
    fn connection(
        &mut self,
        _operation: &Connection,
        _datapath: &Datapath,
        _packet: &mut Context,
    ) -> Outcome {
        Outcome::NotExecuted
    }

    /// A packet made from this one.
    fn message(&mut self, _message: Message, _packet: &mut Context) -> Outcome {
        Outcome::NotExecuted
    }

    /// An operation of the agent.
    fn agent(
        &mut self,
        _operation: &Agent,
        _datapath: &Datapath,
        _packet: &mut Context,
    ) -> Outcome {
        Outcome::NotExecuted
    }

    /// The member that `select` is to choose, if it is not the hash that decides.
    fn select(&mut self, _members: &[(u16, u16)]) -> Option<u16> {
        None
    }

    /// Whether a port may send the packet.
    fn may_send(&mut self, port: &Port, packet: &Context) -> bool {
        security::may_send(port, packet)
    }

    /// Whether a port may receive the packet.
    fn may_receive(&mut self, port: &Port, packet: &Context) -> bool {
        security::may_receive(port, packet)
    }

    /// Counters of a port.
    fn port(&mut self, id: (DatapathKey, PortKey)) -> Arc<PortCounters>;

    /// What counts the packets that a flow drops for a reason.
    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<Drop>;

    /// A copy of the packet passes a flow.
    fn passes(&mut self, _flow: FlowId) {}

    /// A copy of the packet passes the flows of a run of tables.
    fn passes_run(&mut self, run: Run<'_>) {
        run.flows.iter().for_each(|flow| self.passes(*flow));
    }

    /// What counts the packets that pass the flows that this one passed, if anything does.
    fn path(&mut self) -> Option<Arc<Path>> {
        None
    }

    /// Whether another error about a packet too big may be sent now.
    fn may_send_error(&mut self) -> bool;
}

impl Surroundings for &WorkerCounters {
    fn port(&mut self, id: (DatapathKey, PortKey)) -> Arc<PortCounters> {
        WorkerCounters::port(self, id)
    }

    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<Drop> {
        self.flow_drops.of(reason, flow)
    }

    fn may_send_error(&mut self) -> bool {
        true
    }
}

/// Walks `packet` through `generation`.
pub fn walk<O: Observer, S: Surroundings>(
    generation: &Generation,
    start: Start,
    packet: Packet<'_>,
    surroundings: S,
    observer: &mut O,
) -> Walked {
    let base = Base {
        context: packet.parsed.context(packet.head),
        layers: packet.parsed.layers,
        popped: 0,
        len: packet.wire_len,
    };
    let mut walk = Walk::new(generation, packet, base, surroundings, observer);
    let arrival = walk.start(start);
    while let Some(branch) = walk.work.pop() {
        walk.run(branch);
    }
    let drop = walk.drop.filter(|_| walk.outputs.is_empty());
    let drop = drop.map(|(reason, flow)| walk.surroundings.dropped(reason, flow));
    let path = walk.surroundings.path();
    let guarded = packet.parsed.guarded;
    let expires = if walk.learned.is_empty() { u64::MAX } else { REPORT_AGAIN };
    Walked {
        verdict: Verdict {
            outputs: walk.outputs.into(),
            drop,
            arrival,
            path,
            guard: (walk.guard, guarded & walk.guard),
            lengths: walk.lengths,
            ttl_above: walk.ttl_above,
            expires,
            rests_on: walk.rests_on[..].into(),
            cacheable: walk.cacheable,
        },
        built: walk.built,
        learned: walk.learned,
    }
}

/// A frame that outputs start from: the one that came, or an answer.
struct Base {
    context: Context,
    layers: Layers,
    popped: u8,
    len: u32,
}

struct Walk<'g, 'p, 'o, O: Observer, S> {
    generation: &'g Generation,
    packet: Packet<'p>,
    /// What most walks have is kept in place, so that a walk allocates little.
    bases: SmallVec<[Base; 1]>,
    built: Vec<Vec<u8>>,
    learned: Vec<Learned>,
    outputs: SmallVec<[Output; 1]>,
    drop: Option<(DropReason, FlowId)>,
    guard: u128,
    lengths: (u32, u32),
    ttl_above: u8,
    rests_on: SmallVec<[Dependency; 8]>,
    cacheable: bool,
    tables: u32,
    work: SmallVec<[Branch<'g, O::Place>; 1]>,
    /// In the whole network: the packet as the last branch left it.
    ended: Option<Context>,
    surroundings: S,
    observer: &'o mut O,
}

/// One copy of the packet, and what it does next.
#[derive(Clone)]
struct Branch<'g, P> {
    context: Context,
    place: P,
    /// In the whole network: goes on with what the branch before it left of the packet.
    continues: bool,
    datapath: &'g Datapath,
    at: At<'g>,
    base: usize,
    /// The interface that must not get it back, if any.
    arrival: Option<InterfaceId>,
    /// It came from a tunnel, and has not been routed since.
    from_tunnel: bool,
    stack: Vec<u128>,
    path: u32,
    flow: FlowId,
    /// Bits of the guarded slot that no longer are the packet's own.
    written: u128,
    /// What happened to the TTL, while its bits are still derived from the packet's.
    ttl: TtlChange,
}

impl<'g, P> Branch<'g, P> {
    /// At the first ingress table of a datapath.
    fn new(context: Context, place: P, datapath: &'g Datapath) -> Self {
        Self {
            context,
            place,
            continues: false,
            datapath,
            at: At::Table(Pipeline::Ingress, 0),
            base: 0,
            arrival: None,
            from_tunnel: false,
            stack: Vec::new(),
            path: 0,
            flow: FlowId::default(),
            written: 0,
            ttl: TtlChange::Keep,
        }
    }
}

#[derive(Clone, Copy)]
enum At<'g> {
    Table(Pipeline, u8),
    /// Operations of a rule of this table, from the one of that index on.
    Program(Pipeline, u8, &'g [Op], usize),
    /// The output decision, with the group whose member is meant taken apart.
    Output,
    /// Local output to a port, past any group (PHY-05).
    Local(PortKey),
}

impl<'g, 'p, 'o, O: Observer, S: Surroundings> Walk<'g, 'p, 'o, O, S> {
    fn new(
        generation: &'g Generation,
        packet: Packet<'p>,
        base: Base,
        surroundings: S,
        observer: &'o mut O,
    ) -> Self {
        Self {
            generation,
            packet,
            bases: smallvec![base],
            built: Vec::new(),
            learned: Vec::new(),
            outputs: SmallVec::new(),
            drop: None,
            guard: 0,
            lengths: (0, u32::MAX),
            ttl_above: 0,
            rests_on: SmallVec::new(),
            cacheable: !packet.parsed.is_resolution(),
            tables: 0,
            work: SmallVec::new(),
            ended: None,
            surroundings,
            observer,
        }
    }

    fn start(&mut self, start: Start) -> Option<Arc<PortCounters>> {
        let (key, inport) = match start {
            Start::Ingress { interface, port, .. } => {
                let epoch = self.generation.interfaces.get(interface).map_or(0, |it| it.epoch);
                self.rests_on.push(Dependency::Interface(interface, epoch));
                (port.datapath, u32::from(port.port.get()))
            }
            Start::Tunnel { datapath, inport, .. } => (datapath, u32::from(inport)),
        };
        let Some(datapath) = self.datapath(key) else {
            let reason = match start {
                Start::Ingress { .. } => DropReason::NoPort,
                Start::Tunnel { .. } => DropReason::UnknownVni,
            };
            self.dropped(O::Place::default(), reason, FlowId::default());
            return None;
        };
        let mut branch = Branch::new(self.bases[0].context.clone(), O::Place::default(), datapath);
        branch.context.set(field::INPORT, u128::from(inport));
        let counted = match start {
            Start::Ingress { interface, port, nested } => {
                branch.arrival = Some(interface);
                let mut flags = 0;
                if nested {
                    flags |= flag::NESTED_CONTAINER;
                    branch.context.set(field::VLAN_TCI, u128::from(self.packet.parsed.second_tci));
                    self.bases[0].context = branch.context.clone();
                    self.bases[0].popped = 1;
                    self.bases[0].len -= 4;
                }
                if datapath.ports.get(port.port).is_some_and(|port| port.localport) {
                    flags |= flag::LOCALPORT;
                }
                branch.context.set(field::FLAGS, u128::from(flags));
                port.port
            }
            Start::Tunnel { outport, inport, .. } => {
                branch.from_tunnel = true;
                branch.context.set(field::OUTPORT, u128::from(outport.get()));
                // Upstream looks up the egress key alone; ENC-13 asks for both, as egress rules may
                // match on the ingress port.
                let known = |key: PortKey| datapath.ports.get(key).is_some();
                let exists = known(outport) || datapath.groups.contains_key(&outport);
                if !exists || PortKey::new(inport).is_some_and(|inport| !known(inport)) {
                    self.dropped(O::Place::default(), DropReason::BadTunnelKey, FlowId::default());
                    return None;
                }
                branch.at = At::Output;
                outport
            }
        };
        if let Start::Ingress { .. } = start {
            branch.place = self.observer.enter(datapath, &branch.context);
        }
        self.work.push(branch);
        (!counted.is_multicast()).then(|| self.surroundings.port((key, counted)))
    }

    fn run(&mut self, mut branch: Branch<'g, O::Place>) {
        if S::WHOLE {
            self.take_up(&mut branch);
        }
        loop {
            let went_on = match branch.at {
                At::Table(pipeline, table) => self.table(&mut branch, pipeline, table),
                At::Program(pipeline, table, ops, index) => {
                    self.program(&mut branch, (pipeline, table), ops, index)
                }
                At::Output if S::WHOLE => self.decide_whole(&mut branch),
                At::Output => self.decide(&mut branch),
                At::Local(port) => self.local(&mut branch, port),
            };
            match went_on {
                Ok(true) => continue,
                Ok(false) => {}
                Err(reason) => self.dropped(branch.place, reason, branch.flow),
            }
            if S::WHOLE {
                self.ended = Some(branch.context);
            }
            return;
        }
    }

    fn table(&mut self, branch: &mut Branch<'g, O::Place>, pipeline: Pipeline, table: u8) -> Step {
        let (mut pipeline, mut table) = (pipeline, table);
        let datapath: &'g Datapath = branch.datapath;
        let most = if S::WHOLE { whole::MAX_PATH } else { MAX_PATH };
        let most = most.saturating_sub(branch.path).min(MAX_TABLES - self.tables);
        let mut passed = 0;
        let found = loop {
            passed += 1;
            if passed > most {
                return Err(DropReason::TooManyHops);
            }
            let stages = match pipeline {
                Pipeline::Ingress => &datapath.ingress,
                Pipeline::Egress => &datapath.egress,
            };
            let Some(found) = stages.get(usize::from(table)) else {
                let found = Lookup { datapath, pipeline, table, rule: None };
                branch.place = self.observer.table(branch.place, found, &branch.context);
                return Err(DropReason::LogicalFlow);
            };
            let Some(run) = stages.run(table) else { break found };
            if O::SEES {
                let rule = found.lookup(&branch.context, &self.generation.sets);
                let found = Lookup { datapath, pipeline, table, rule };
                branch.place = self.observer.table(branch.place, found, &branch.context);
                let at = crate::observe::Step { datapath, pipeline, index: 0 };
                let (flow, to) = run.step((pipeline, table));
                let op = Op::Next(to.0, to.1);
                branch.place = self.observer.op(branch.place, at, &op, &branch.context);
                branch.flow = flow;
                self.surroundings.passes(flow);
                (pipeline, table) = to;
                continue;
            }
            let others = run.flows.len() as u32 - 1;
            branch.flow = run.flows[others.min(most - passed) as usize];
            if others > most - passed {
                return Err(DropReason::TooManyHops);
            }
            passed += others;
            self.surroundings.passes_run(run);
            (pipeline, table) = run.to;
        };
        branch.path += passed;
        self.tables += passed;
        let sets = &self.generation.sets;
        let Found { rule, asked }: Found<'g> = found.find(&branch.context, sets);
        let lookup = Lookup { datapath, pipeline, table, rule };
        branch.place = self.observer.table(branch.place, lookup, &branch.context);
        let consulted = found.consulted(&branch.context, sets, rule);
        self.consult(branch, consulted);
        if asked != 0 {
            for (field, domain) in found.pairs(asked) {
                self.belong(domain, branch.context.get(field));
            }
        }
        let Some(rule) = rule else {
            return Err(DropReason::LogicalFlow);
        };
        branch.flow = rule.flow();
        self.surroundings.passes(branch.flow);
        branch.at = At::Program(pipeline, table, rule.program(), 0);
        Ok(true)
    }

    /// Notes that bits of the guarded slot decided something.
    fn consult(&mut self, branch: &Branch<'g, O::Place>, bits: u128) {
        if branch.base != 0 || bits == 0 {
            return;
        }
        self.guard |= bits & !branch.written;
        if bits & field::IP_TTL.mask() != 0 && matches!(branch.ttl, TtlChange::Decrement(_)) {
            self.guard |= field::IP_TTL.mask();
        }
    }

    fn read(&mut self, branch: &Branch<'g, O::Place>, slice: Slice) -> u128 {
        if slice.slot() == GUARDED_SLOT {
            self.consult(branch, slice.mask());
        }
        branch.context.get(slice)
    }

    fn write(&mut self, branch: &mut Branch<'g, O::Place>, slice: Slice, value: u128) {
        branch.context.set(slice, value);
        if slice.slot() == GUARDED_SLOT {
            branch.written |= slice.mask();
            if slice.overlaps(field::IP_TTL) {
                // A write of part of the TTL leaves the rest as it was, which then decides it.
                if !matches!(branch.ttl, TtlChange::Set(_)) && slice.mask() & 0xff != 0xff {
                    self.guard |= field::IP_TTL.mask();
                }
                branch.written |= field::IP_TTL.mask();
                branch.ttl = TtlChange::Set(branch.context.get(field::IP_TTL) as u8);
            }
        }
    }

    fn datapath(&mut self, key: DatapathKey) -> Option<&'g Datapath> {
        let found: Option<&'g Arc<Datapath>> = self.generation.datapaths.get(&key);
        self.rest_on(Dependency::Datapath(key, found.map_or(0, |it| it.epoch)));
        found.map(|it| &**it)
    }

    fn rest_on(&mut self, dependency: Dependency) {
        if !self.rests_on.contains(&dependency) {
            self.rests_on.push(dependency);
        }
    }

    /// Notes that it mattered which sets a value belongs to.
    fn belong(&mut self, domain: Domain, value: u128) {
        let value = [(value >> 64) as u64, value as u64];
        let known = self.rests_on.iter().any(|it| {
            matches!(it, Dependency::Membership { domain: d, value: v, .. } if (*d, *v) == (domain, value))
        });
        if !known {
            let word = u128::from(value[0]) << 64 | u128::from(value[1]);
            let print = self.generation.sets.print(domain, word);
            self.rests_on.push(Dependency::Membership { domain, value, print });
        }
    }

    fn dropped(&mut self, place: O::Place, reason: DropReason, flow: FlowId) {
        self.observer.drop(place, reason, flow);
        self.drop = Some((reason, flow));
    }
}

/// Whether the branch goes on, or why it ended.
type Step = Result<bool, DropReason>;
