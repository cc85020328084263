//! In networks of many kinds, our chassis delivers what a stock chassis delivers in its place: the same
//! frames to the same ports, byte for byte, and nothing else.
//!
//! Frames of every kind that a guest may send go in at every port, twice: what was learned from the
//! first round is known to all in the second. A disagreement is asked again, since a busy machine may
//! lose a frame. ICMP errors are left out: actions that make them are not executed yet.

#[path = "topologies/frames.rs"]
mod frames;
#[path = "topologies/networks.rs"]
mod networks;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use frames::Shape;
use networks::{Network, Plugged};
use ovn_xdp_kit::twins::{Plug, Received, Twins};

#[test]
fn two_routers_in_a_row_and_a_third_without_a_switch_between() {
    agree(networks::transit());
}

#[test]
fn ports_with_several_addresses_and_ports_with_unknown_ones() {
    agree(networks::addresses());
}

#[test]
fn port_groups_and_address_sets_in_acls_of_both_directions() {
    agree(networks::groups());
}

#[test]
fn parents_with_containers_on_their_own_switch_and_on_others() {
    agree(networks::nested());
}

#[test]
fn dynamic_addresses_localports_and_ports_that_are_disabled() {
    agree(networks::dynamic());
}

#[test]
fn static_routes_equal_cost_paths_and_policies() {
    agree(networks::routing());
}

/// How long the slower of the two may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Frames under way at a time: fewer than a stock chassis' socket holds.
const BATCH: usize = 24;
const ATTEMPTS: usize = 3;

fn agree(network: Network) {
    let plugs: Vec<Plug> = network.plugs.iter().map(Plugged::plug).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let mut twins = Twins::start(binary, &plugs, |central| network.build(central)).unwrap();
    let hosts = network.hosts(&twins.stock.central);
    assert_eq!(hosts, network.hosts(&twins.mixed.central), "the twins are alike");
    let shapes = network.shapes(&hosts);
    let all: Vec<usize> = (0..shapes.len()).collect();
    let mut counter = 0;
    // The first round opens the stock chassis' tunnels and teaches addresses.
    round(&mut twins, &network, &shapes, &all, &mut counter);
    for side in [&twins.stock, &twins.mixed] {
        side.settle("FDB", network.learned).unwrap();
    }
    let (mut disagreeing, mut delivered) = (all, 0);
    let mut last = Vec::new();
    for attempt in 0..ATTEMPTS {
        last = round(&mut twins, &network, &shapes, &disagreeing, &mut counter);
        if attempt == 0 {
            delivered = last.iter().filter(|it| !it.received[0].is_empty()).count();
        }
        last.retain(|it| it.received[0] != it.received[1]);
        disagreeing = last.iter().map(|it| it.shape).collect();
    }
    let told: Vec<String> = last.iter().map(|it| it.tell(&shapes)).collect();
    println!("{} frames, {delivered} of them delivered to somebody", shapes.len());
    assert!(told.is_empty(), "{}\n{}", told.join("\n"), twins.account());
    assert!(delivered > shapes.len() / 4, "most frames go nowhere: {delivered}");
}

/// What came of one frame in both networks.
struct Outcome {
    shape: usize,
    received: [Received; 2],
}

impl Outcome {
    fn tell(&self, shapes: &[Shape]) -> String {
        let Shape { from, what, .. } = &shapes[self.shape];
        let lines = |received: &Received| {
            received
                .iter()
                .map(|((link, bytes), times)| {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("\n    {times} x {link}: {hex}")
                })
                .collect::<String>()
        };
        let [stock, ours] = self.received.each_ref().map(lines);
        format!("{from}: {what}\n  stock delivers{stock}\n  ours delivers{ours}")
    }
}

fn round(
    twins: &mut Twins,
    network: &Network,
    shapes: &[Shape],
    which: &[usize],
    counter: &mut u32,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for batch in which.chunks(BATCH) {
        let mut marks = BTreeMap::new();
        let frames: Vec<_> = batch
            .iter()
            .map(|shape| {
                *counter += 1;
                let mark = frames::mark(*counter);
                marks.insert(mark, *shape);
                (shapes[*shape].from, (shapes[*shape].make)(&mark))
            })
            .collect();
        let received =
            twins.exchange(&frames, PATIENCE, |link, bytes| network.read(link, bytes)).unwrap();
        let mut by_shape: BTreeMap<usize, [Received; 2]> =
            batch.iter().map(|shape| (*shape, Default::default())).collect();
        for (side, received) in received.into_iter().enumerate() {
            for ((link, bytes), times) in received {
                let answer = || batch.iter().copied().find(|it| shapes[*it].asks_for(&bytes));
                let shape = frames::marked(&bytes).and_then(|mark| marks.get(&mark).copied());
                // What bears no mark of this batch was made by a pipeline, or comes late.
                if let Some(shape) = shape.or_else(answer) {
                    let seen = &mut by_shape.entry(shape).or_default()[side];
                    *seen.entry((link, bytes)).or_default() += times;
                }
            }
        }
        outcomes.extend(by_shape.into_iter().map(|(shape, received)| Outcome { shape, received }));
    }
    outcomes
}
