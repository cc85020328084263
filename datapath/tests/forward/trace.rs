//! What an observer of a walk sees.

use crate::kit::*;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::counters::WorkerCounters;
use ovn_xdp_datapath::field::Context;
use ovn_xdp_datapath::key::{FlowId, InterfaceId};
use ovn_xdp_datapath::observe::{Decision, Lookup, Observer, Step};
use ovn_xdp_datapath::program::Op;
use ovn_xdp_datapath::publish::{Datapath, Mac};
use ovn_xdp_datapath::trace::{Entrance, Traced, trace};

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
