//! What an observer of a walk sees.

use crate::kit::*;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::classify::Rule;
use ovn_xdp_datapath::counters::WorkerCounters;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::key::{FlowId, InterfaceId};
use ovn_xdp_datapath::observe::{Decision, Lookup, Observer, Step};
use ovn_xdp_datapath::pipeline::MAX_TABLES;
use ovn_xdp_datapath::program::{Op, Program};
use ovn_xdp_datapath::publish::{Datapath, Mac};
use ovn_xdp_datapath::trace::{Entrance, Traced, trace};
use std::collections::HashMap;

/// Writes down the walk as a person would.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    type Place = ();

    fn table(&mut self, (): (), found: Lookup<'_>, _context: &Context) {
        let Lookup { datapath, pipeline, table, rule } = found;
        let priority = rule.map(|rule| rule.priority());
        self.0.push(format!("{} {pipeline:?} {table}: {priority:?}", datapath.key));
    }

    fn op(&mut self, (): (), _at: Step<'_>, op: &Op, _context: &Context) {
        if matches!(op, Op::DecrementTtl) {
            self.0.push("ttl".into());
        }
    }

    fn output(
        &mut self,
        (): (),
        datapath: &Datapath,
        outport: u16,
        decision: Decision,
        _context: &Context,
    ) {
        self.0.push(format!("{} to {outport}: {decision:?}", datapath.key));
    }

    fn drop(&mut self, (): (), reason: DropReason, flow: FlowId) {
        self.0.push(format!("drop {} by {}", reason.label(), flow.0));
    }
}

fn follow(tag: u16, from: (Mac, u8, u8), to: (Mac, u8, u8), notes: &mut Notes) -> Traced {
    let frame = udp(Some(tag), from, to, b"x");
    let entrance = Entrance::Interface(InterfaceId(1));
    let counters = WorkerCounters::default();
    trace(&hypervisor(1), entrance, None, &frame, 0, &counters, notes).unwrap()
}

#[test]
fn a_trace_names_each_table_decision_and_drop_on_the_way() {
    let mut notes = Notes::default();
    let traced = follow(RED_TAG, (RED, 1, 2), (ROUTER_A, 2, 5), &mut notes);
    assert_eq!(traced.leaving.len(), 1);
    let expected = [
        "1 Ingress 0: Some(50)",
        "1 Ingress 1: Some(0)",
        "1 Ingress 2: Some(50)",
        "1 to 9: Local",
        "1 Egress 0: Some(0)",
        "1 to 9: Patch",
        "3 Ingress 0: Some(50)",
        "3 Ingress 1: Some(0)",
        "3 Ingress 2: Some(49)",
        "ttl",
        "3 Ingress 3: Some(10)",
        "3 Ingress 4: Some(0)",
        "3 to 2: Local",
        "3 Egress 0: Some(0)",
        "3 to 2: Patch",
        "2 Ingress 0: Some(50)",
        "2 Ingress 1: Some(0)",
        "2 Ingress 2: Some(50)",
        "2 to 2: Tunnel(TunnelId(1))",
    ];
    assert_eq!(notes.0, expected);

    let mut notes = Notes::default();
    let traced = follow(999, (VM1, 1, 1), (VM2, 1, 4), &mut notes);
    assert_eq!(traced.walked.verdict.drop.as_ref().map(|drop| drop.flow), Some(FlowId(100)));
    assert_eq!(notes.0, ["1 Ingress 0: Some(100)", "drop logical-flow by 100"]);
}

/// Counts tables, and keeps none.
#[derive(Default)]
struct Count(u32);

impl Observer for Count {
    type Place = ();

    fn table(&mut self, (): (), _table: Lookup<'_>, _context: &Context) {
        self.0 += 1;
    }
}

#[test]
fn a_trace_of_ever_more_copies_ends_before_it_fills_the_host() {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    // Twice as many at each step.
    let copies = vec![Op::Clone(Program::from([next(0)])), next(0)];
    a.ingress = ingress(vec![vec![rule(0, vec![], copies)]]);
    generation.datapaths.insert_mut(a.key, a.into());
    let frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    let (mut seen, counters) = (Count::default(), WorkerCounters::default());
    let entrance = Entrance::Interface(InterfaceId(1));
    let traced = trace(&generation, entrance, None, &frame, 0, &counters, &mut seen).unwrap();
    let reason = traced.walked.verdict.drop.map(|drop| drop.reason);
    assert_eq!((seen.0, reason), (MAX_TABLES, Some(DropReason::TooManyHops)));
}

#[test]
fn tables_that_only_pass_on_are_each_traced_and_their_flows_counted() {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let numbered = |number, rule: Rule| vec![rule.of_flow(FlowId(number))];
    let pass =
        |table: u8| numbered(100 + u128::from(table), rule(0, vec![], vec![next(table + 1)]));
    let output = vec![Op::Load(field::OUTPORT, 3), Op::Output];
    let last = numbered(104, rule(0, vec![], output));
    // Table 2 looks at something, so there are two runs.
    let mut chooses = pass(2);
    let drops = rule(1, vec![is(field::IP_TTL, 1)], vec![]);
    chooses.extend(numbered(99, drops));
    a.ingress = ingress(vec![pass(0), pass(1), chooses, pass(3), last]);
    generation.datapaths.insert_mut(a.key, a.into());

    let frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    let mut notes = Notes::default();
    let entrance = Entrance::Interface(InterfaceId(1));
    let counters = WorkerCounters::default();
    trace(&generation, entrance, None, &frame, 0, &counters, &mut notes).unwrap();
    let tables: Vec<String> = (0..5).map(|table| format!("1 Ingress {table}: Some(0)")).collect();
    assert_eq!(notes.0[..5], tables);

    let mut host = Host::new(generation);
    for _ in 0..3 {
        assert_eq!(host.send(1, &frame).len(), 1);
    }
    let mut passed = HashMap::new();
    host.worker.counters().paths.sum(&mut passed);
    let packets = |flow| passed.get(&FlowId(flow)).map_or(0, |passed| passed.0);
    assert_eq!([100, 101, 102, 103, 104, 99].map(packets), [3, 3, 3, 3, 3, 0]);
}
