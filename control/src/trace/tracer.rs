//! Sees a walk and writes it down as `ovn-trace` does.

use super::Passed;
use super::names::Names;
use super::script::Script;
use super::text;
use super::tree::{Kind, Node, Tree};
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_compile::southbound::{LogicalFlow, PortBinding};
use ovn_xdp_datapath::classify::Rule;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::key::{FlowId, PortKey};
use ovn_xdp_datapath::observe::{Decision, Lookup, Observer, Step};
use ovn_xdp_datapath::program::{Agent, Op, Pipeline};
use ovn_xdp_datapath::publish::Datapath;
use ovn_xdp_logical::action::Action;
use ovn_xdp_logical::dialect::Release;
use ovn_xdp_logical::field::FieldRef;
use ovn_xdp_ovsdb::replica::Replica;
use std::cell::RefCell;
use std::rc::Rc;

/// Where a branch of the walk writes, and the actions that its operations come from.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place {
    pub(super) node: Node,
    list: usize,
}

/// The first release that has a zone in `ct_next` and `ct_commit_nat`.
const ZONES: Release = Release::new(24, 9, 0);

/// The list of actions of a table that is not shown.
const HIDDEN: usize = usize::MAX;

/// Actions of a rule or of a block in it.
#[derive(Clone, Debug)]
struct List {
    actions: Rc<[Action]>,
    /// The flow names the zone of `ct_next` or `ct_commit_nat`, as newer versions of northd do.
    zoned: bool,
}

/// What is written so far.
#[derive(Default, Debug)]
pub(super) struct Record {
    pub(super) tree: Tree,
    lists: Vec<List>,
    /// Where the operation under way writes.
    pub(super) now: Node,
    /// The action of the operation under way.
    pub(super) action: Option<(usize, usize)>,
    /// Where what it leads to writes, if its surroundings made a node for that.
    pub(super) forked: Option<Place>,
    /// `IN` or `OUT`, by the pipeline under way.
    pub(super) direction: &'static str,
    pub(super) script: Script,
    passed: Vec<Passed>,
}

impl Record {
    /// The action under way.
    pub(super) fn action(&self) -> Option<&Action> {
        let (list, index) = self.action?;
        self.lists.get(list)?.actions.get(index)
    }

    /// What the operation under way leads to is written below a node.
    pub(super) fn forked_at(&mut self, node: Node) {
        self.forked = Some(Place { node, list: HIDDEN });
    }

    /// The action under way as text.
    fn text(&self) -> Option<String> {
        let zoned = self.action.and_then(|(list, _)| Some(self.lists.get(list)?.zoned));
        let text = self.action()?.to_string();
        if zoned == Some(true) {
            return Some(text);
        }
        let text = text.replace("ct_next(dnat);", "ct_next;");
        Some(text.replace("ct_commit_nat(dnat);", "ct_commit_nat;"))
    }

    /// Adds a node where the operation under way writes.
    pub(super) fn add(&mut self, kind: Kind, text: impl Into<String>) -> Node {
        let now = self.now;
        self.tree.add(now, kind, text)
    }
}

/// The observer and the surroundings of a trace.
#[derive(Debug)]
pub struct Tracer<'a> {
    pub(super) names: Names<'a>,
    pub(super) rows: &'a Replica,
    /// No chassis is looked at.
    whole: bool,
    /// `ovn-trace` of the same release names the zones of connections, and keeps their tuples.
    pub(super) zones: bool,
    pub(super) record: RefCell<Record>,
}

impl<'a> Tracer<'a> {
    /// A tracer that has seen nothing yet.
    pub fn new(names: Names<'a>, rows: &'a Replica, whole: bool, script: Script) -> Self {
        let record = RefCell::new(Record { script, ..Record::default() });
        let zones = names.network.release().is_some_and(|release| release >= ZONES);
        Self { names, rows, whole, zones, record }
    }

    /// What was seen.
    pub fn end(self) -> (Tree, Vec<Passed>) {
        let Record { tree, passed, .. } = self.record.into_inner();
        (tree, passed)
    }

    fn title(&self, found: Lookup<'_>, flow: Option<&LogicalFlow>) -> String {
        let table = found.table;
        let Some((flow, rule)) = flow.zip(found.rule) else {
            let stage = self.names.network.stage(found.datapath.key, found.pipeline, table);
            let stage = stage.map_or_else(String::new, |stage| format!("{stage}: "));
            return format!("{table:2}. {stage}no match (implicit drop)");
        };
        let place = match (flow.stage(), flow.source()) {
            ("", None) => String::new(),
            ("", Some(source)) => format!("({source}): "),
            (stage, None) => format!("{stage}: "),
            (stage, Some(source)) => format!("{stage} ({source}): "),
        };
        format!(
            "{table:2}. {place}{}, priority {}, uuid {:08x}",
            self.names.in_text(flow.matches()),
            rule.priority(),
            flow.uuid().as_u128() >> 96
        )
    }

    /// Actions as they are named by the places of what runs them.
    fn list(record: &mut Record, place: Node, actions: &[Action], zoned: bool) -> Place {
        if actions.is_empty() {
            record.tree.add(place, Kind::Action, "drop;");
        }
        record.lists.push(List { actions: actions.into(), zoned });
        Place { node: place, list: record.lists.len() - 1 }
    }

    /// The place of a block's actions, below a node of its own.
    pub(super) fn block(record: &mut Record, title: &str) -> Place {
        let nested: Vec<Action> = match record.action() {
            Some(Action::Nested { actions, .. }) => actions.clone(),
            _ => Vec::new(),
        };
        let node = record.add(Kind::Transformation, title);
        let zoned = record.action.is_some_and(|(list, _)| record.lists[list].zoned);
        Self::list(record, node, &nested, zoned)
    }
}

/// Whether a table is left out: its rule takes whatever comes, and goes on with the next table.
fn is_omitted(found: Lookup<'_>) -> bool {
    let passes = |rule: &Rule| {
        rule.holds_always()
            && matches!(**rule.program(), [Op::Next(_, table)] if table == found.table + 1)
    };
    found.rule.is_some_and(passes)
}

/// Whether a field can be seen from outside.
pub(super) fn is_visible(field: &FieldRef) -> bool {
    let slice = field.slice();
    slice.slot() > 3 || slice.overlaps(field::PKT_MARK)
}

fn without_semicolon(action: &Action) -> String {
    let text = action.to_string();
    text.strip_suffix(';').unwrap_or(&text).to_owned()
}

impl Observer for &Tracer<'_> {
    type Place = Place;

    fn enter(&mut self, datapath: &Datapath, packet: &Context) -> Place {
        let name = self.names.datapath(datapath.key);
        let inport = packet.get(field::INPORT) as u16;
        let port = self.names.port_row(datapath.key, inport);
        let port = port.map_or_else(|| "(unnamed)".into(), |port| self.names.of_port(port));
        let text = format!("ingress(dp=\"{name}\", inport=\"{port}\")");
        let node = self.record.borrow_mut().tree.add(Node::default(), Kind::Pipeline, text);
        Place { node, list: HIDDEN }
    }

    fn table(&mut self, place: Place, found: Lookup<'_>, packet: &Context) -> Place {
        let flow = found.rule.and_then(|rule| self.names.network.flow(rule.flow()));
        if let Some(flow) = flow {
            let (flow, datapath) = (flow.uuid(), found.datapath.key);
            let passed = Passed { flow, datapath, packet: packet.clone() };
            self.record.borrow_mut().passed.push(passed);
        }
        if is_omitted(found) {
            return Place { list: HIDDEN, ..place };
        }
        let mut record = self.record.borrow_mut();
        let node = record.tree.add(place.node, Kind::Table, self.title(found, flow));
        let actions = flow.and_then(|flow| Some((flow, self.names.network.actions(flow)?)));
        match actions {
            Some((flow, actions)) => {
                let named = ["ct_next(", "ct_commit_nat("];
                let zoned =
                    self.zones || named.iter().any(|action| flow.actions().contains(action));
                Tracer::list(&mut record, node, &actions.list, zoned)
            }
            None => Place { node, list: HIDDEN },
        }
    }

    fn op(&mut self, place: Place, at: Step<'_>, op: &Op, packet: &Context) -> Place {
        if place.list == HIDDEN {
            return place;
        }
        let mut record = self.record.borrow_mut();
        record.now = place.node;
        record.direction = if at.pipeline == Pipeline::Ingress { "IN" } else { "OUT" };
        record.action = Some((place.list, at.index));
        record.forked = None;
        let Some(action) = record.action().cloned() else { return place };
        let text = self.names.in_text(&record.text().unwrap_or_default());
        record.add(Kind::Action, text);
        match (&action, op) {
            (Action::Next { pipeline, .. }, _) if *pipeline != at.pipeline => {
                let (name, direction, port) = match pipeline {
                    Pipeline::Ingress => ("ingress", "inport", field::INPORT),
                    Pipeline::Egress => ("egress", "outport", field::OUTPORT),
                };
                let port = self.names.port(at.datapath.key, packet.get(port) as u16);
                let datapath = self.names.datapath(at.datapath.key);
                let title = format!("{name}(dp=\"{datapath}\", {direction}=\"{port}\")");
                let node = record.add(Kind::Pipeline, title);
                return Place { node, list: HIDDEN };
            }
            (Action::Load { to, .. }, _) if is_visible(to) => {
                record.add(Kind::Modify, without_semicolon(&action));
            }
            (Action::Move { to, from }, _) if is_visible(to) => {
                let value = text::value(from.slice(), packet);
                record.add(Kind::Modify, format!("{to} = {value}"));
            }
            (Action::Exchange(one, other), _) => {
                for (to, from) in [(one, other), (other, one)] {
                    if is_visible(to) {
                        let value = text::value(from.slice(), packet);
                        record.add(Kind::Modify, format!("{to} = {value}"));
                    }
                }
            }
            (Action::Push(field), _) => {
                let value = packet.get(field.slice());
                record.add(Kind::Modify, format!("push({field}) -> {value:#x}"));
            }
            (Action::DecrementTtl, _) => {
                match packet.get(field::IP_TTL) {
                    0 => record.add(Kind::Error, "*** TTL underflow"),
                    _ => record.add(Kind::Modify, "ip.ttl--"),
                };
            }
            (_, Op::Clone(_)) => return Tracer::block(&mut record, "clone"),
            (_, Op::NeighbourAdvertisement { .. }) => return Tracer::block(&mut record, "nd_na"),
            (_, Op::Agent(agent)) => {
                if matches!(**agent, Agent::FloodRemote) {
                    record.add(Kind::Output, "/* Flood to all remote chassis */");
                }
            }
            _ => {}
        }
        place
    }

    fn place(&mut self, place: Place) -> Place {
        self.record.borrow_mut().forked.take().unwrap_or(place)
    }

    fn ran(&mut self, place: Place, op: &Op, packet: &Context) {
        let mut record = self.record.borrow_mut();
        let action = record.action().cloned();
        record.now = place.node;
        match (op, action) {
            (Op::Pop(_), Some(Action::Pop(field))) => {
                let value = packet.get(field.slice());
                record.add(Kind::Modify, format!("pop({field}) <- {value:#x}"));
            }
            (Op::GetNeighbour { .. }, _) => {
                let mac = text::mac(packet.get(field::ETH_DST));
                match packet.get(field::ETH_DST) {
                    0 => record.add(Kind::Action, "/* No MAC binding. */"),
                    _ => record.add(Kind::Action, format!("/* MAC binding to {mac}. */")),
                };
                record.add(Kind::Modify, format!("eth.dst = {mac}"));
            }
            (&Op::LookupNeighbour { result, mac, .. }, _) => {
                let note = match (packet.get(result), mac) {
                    (0, _) => "/* lookup failed - No MAC binding. */".into(),
                    (_, Some(_)) => format!(
                        "/* MAC binding to {} found. */",
                        text::mac(packet.get(field::ETH_DST))
                    ),
                    (_, None) => "/* MAC binding found. */".into(),
                };
                record.add(Kind::Action, note);
            }
            (&Op::LookupFdb { result, .. }, _) => {
                let note = match packet.get(result) {
                    0 => "/* lookup mac failed in mac learning table. */".into(),
                    _ => format!(
                        "/* MAC lookup for {} found in FDB. */",
                        text::mac(packet.get(field::ETH_DST))
                    ),
                };
                record.add(Kind::Action, note);
            }
            _ => {}
        }
    }

    fn output(
        &mut self,
        place: Place,
        datapath: &Datapath,
        outport: u16,
        decision: Decision,
        packet: &Context,
    ) -> Place {
        let mut record = self.record.borrow_mut();
        let mut add = |kind, text: String| record.tree.add(place.node, kind, text);
        let below = |node| Place { node, list: HIDDEN };
        let dp = self.names.datapath(datapath.key);
        let port: Option<&PortBinding> = self.names.port_row(datapath.key, outport);
        let group = || self.names.network.group(datapath.key, outport);
        let name = match port {
            Some(port) => self.names.of_port(port),
            None => group().map_or_else(|| "(unnamed)".into(), |group| group.name.to_string()),
        };
        let inport = self.names.port(datapath.key, packet.get(field::INPORT) as u16);
        let egress = || format!("egress(dp=\"{dp}\", inport=\"{inport}\", outport=\"{name}\")");
        match decision {
            Decision::Group => {
                let text = format!("multicast(dp=\"{dp}\", mcgroup=\"{name}\")");
                return Place { list: GROUP, ..below(add(Kind::Pipeline, text)) };
            }
            Decision::Local => {
                let node = add(Kind::Pipeline, egress());
                record.tree.always_indent(node, place.list == GROUP);
                return below(node);
            }
            Decision::Omitted => {
                // A chassis sees that before it enters the egress pipeline.
                let node = match place.list {
                    GROUP => add(Kind::Pipeline, egress()),
                    _ => place.node,
                };
                let why = "/* omitting output because inport == outport && !flags.loopback */";
                record.tree.add(node, Kind::Output, why);
                record.tree.always_indent(node, false);
            }
            Decision::Distributed(to) => {
                let kind = port.map_or("", |port| port.kind.label());
                let to = self.names.port(datapath.key, to.get());
                let text = format!(
                    "/* Replacing type \"{kind}\" outport \"{name}\" with distributed port \
                     \"{to}\". */"
                );
                add(Kind::Output, text);
            }
            Decision::Unknown if outport == 0 => {
                add(Kind::Error, "*** output to null logical port".into());
            }
            Decision::Unknown => match port {
                Some(port) => {
                    let kind = port.kind.label();
                    let text = format!(
                        "*** output to type \"{kind}\" port \"{name}\" with no or invalid \
                         distributed port"
                    );
                    add(Kind::Error, text);
                }
                None => {
                    let text = format!("*** unknown port or multicast group {outport}");
                    add(Kind::Error, text);
                }
            },
            Decision::Deliver | Decision::Patch => {
                let kind = port.map_or("", |port| port.kind.label());
                add(Kind::Output, format!("/* output to \"{name}\", type \"{kind}\" */"));
                let port = PortKey::new(outport).and_then(|key| datapath.ports.get(key));
                let Some(ovn_xdp_datapath::publish::Place::Patch(peer)) = port.map(|it| &it.place)
                else {
                    add(Kind::Modify, format!("output(\"{name}\")"));
                    return place;
                };
                let dp = self.names.datapath(peer.datapath);
                let inport = self.names.port(peer.datapath, peer.port.get());
                let text = format!("ingress(dp=\"{dp}\", inport=\"{inport}\")");
                return below(add(Kind::Pipeline, text));
            }
            Decision::Tunnel(id) => {
                let tunnel = self.names.generation.tunnels.get(&id);
                let chassis = tunnel.map_or("", |tunnel| &tunnel.chassis);
                let text = format!(
                    "/* output to \"{name}\", by tunnel to chassis \"{chassis}\", which goes on \
                     with its egress pipeline */"
                );
                add(Kind::Output, text);
            }
        }
        place
    }

    fn drop(&mut self, place: Place, reason: DropReason, _flow: FlowId) {
        // What is not sent back to its own port has been said.
        if !self.whole && reason != DropReason::Loopback {
            let text = format!("/* dropped: {} */", reason.label());
            self.record.borrow_mut().tree.add(place.node, Kind::Output, text);
        }
    }
}

/// The place of a multicast group, whose members are set off from each other.
const GROUP: usize = usize::MAX - 1;
