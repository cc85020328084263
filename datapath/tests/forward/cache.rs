//! A verdict from the cache does to a frame, byte for byte, what a walk does.

use crate::kit::*;
use ovn_xdp_datapath::field::{self, Slice};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::memory::{MemoryFrame, Sent};
use ovn_xdp_datapath::program::{Op, Pipeline, Select};
use ovn_xdp_datapath::publish::Generation;
use ovn_xdp_datapath::worker::WorkerConfig;
use proptest::prelude::*;
use std::sync::Arc;

/// Fields that programs of the property read and write.
const FIELDS: [Slice; 13] = [
    field::ETH_SRC,
    field::ETH_DST,
    field::VLAN_TCI,
    field::IP4_SRC,
    field::IP4_DST,
    field::IP6_DST,
    field::TP_SRC,
    field::TP_DST,
    field::IP_TTL,
    field::IP_DSCP,
    field::IP_ECN,
    field::IP6_LABEL,
    field::TCP_FLAGS,
];

fn op() -> impl Strategy<Value = Op> {
    let field = || proptest::sample::select(&FIELDS[..]);
    let simple = prop_oneof![
        4 => (field(), 0..200u128).prop_map(|(field, value)| Op::load(field, value & field.ones())),
        2 => (field(), 0..4u8).prop_map(|(from, n)| Op::Move { to: field::reg(n), from: word(from) }),
        2 => (field(), 0..4u8).prop_map(|(to, n)| Op::Move { to: word(to), from: field::reg(n) }),
        1 => (field(), field()).prop_map(|(one, other)| Op::Exchange(word(one), word(other))),
        1 => field().prop_map(Op::Push),
        1 => field().prop_map(Op::Pop),
        3 => Just(Op::DecrementTtl),
        1 => (0..4u8, 60..120u16).prop_map(|(n, limit)| Op::CheckPacketLarger {
            result: field::reg(n).bits(0, 0).unwrap(),
            limit
        }),
        1 => Just(Op::Select(Box::new(Select {
            result: field::reg(3).bits(0, 15).unwrap(),
            members: Box::new([(1, 10), (2, 20)]),
            hash_fields: Box::new([field::IP_DSCP]),
        }))),
    ];
    let output = (1..5u16).prop_map(|port| vec![Op::Load(field::OUTPORT, port.into()), Op::Output]);
    prop_oneof![
        12 => simple,
        1 => output.prop_map(|ops| Op::Clone(ops.into())),
    ]
}

/// The low 5 bits at most, so that moves are of one width.
fn word(field: Slice) -> Slice {
    field.bits(0, 1).unwrap()
}

fn literal() -> impl Strategy<Value = ovn_xdp_datapath::classify::Literal> {
    let fields = [&FIELDS[..], &[field::reg(0), field::reg(1), field::reg(2)]].concat();
    (proptest::sample::select(fields), 0..3u128, 1..4u128, any::<bool>())
        .prop_map(|(field, value, mask, negated)| one(field, value, mask, negated))
}

/// Priority, match, operations, and how the rule ends.
type Drawn = (u16, Vec<ovn_xdp_datapath::classify::Literal>, Vec<Op>, u8);

fn generation() -> impl Strategy<Value = Generation> {
    let ops = proptest::collection::vec(op(), 0..4);
    let literals = proptest::collection::vec(literal(), 0..3);
    let one = (0..4u16, literals, ops, 0..4u8);
    let tables_of = proptest::collection::vec(proptest::collection::vec(one, 1..12), 3);
    tables_of.prop_map(|lists| {
        let build = |(number, list): (usize, Vec<Drawn>)| {
            let mut rules: Vec<_> = list
                .into_iter()
                .map(|(priority, literals, mut ops, last)| {
                    match (number, last) {
                        (2, port) => {
                            ops.push(Op::Load(field::OUTPORT, u64::from(port) + 1));
                            ops.push(Op::Output);
                        }
                        (_, 3) => {}
                        _ => ops.push(next(number as u8 + 1)),
                    }
                    rule(priority + 1, literals, ops)
                })
                .collect();
            rules.push(rule(0, vec![], vec![next(number as u8 + 1)]));
            rules
        };
        let lists: Vec<_> = lists.into_iter().enumerate().map(build).collect();
        let mut generation = hypervisor(1);
        let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
        a.ingress = ingress(lists);
        a.egress = egress(vec![
            vec![
                rule(2, vec![is(field::IP_TTL, 60)], vec![Op::Load(field::IP_DSCP, 9), Op::Output]),
                rule(1, vec![], vec![Op::Next(Pipeline::Egress, 1)]),
            ],
            vec![rule(1, vec![], vec![Op::Output])],
        ]);
        generation.datapaths.insert_mut(a.key, Arc::new(a));
        generation
    })
}

#[derive(Clone, Debug)]
struct Shot {
    v6: bool,
    vid: Option<u16>,
    beside: bool,
    ttl: u8,
    tos: u8,
    flags: u8,
    length: usize,
}

fn shot() -> impl Strategy<Value = Shot> {
    (
        any::<bool>(),
        proptest::option::of(Just(RED_TAG)),
        any::<bool>(),
        59..63u8,
        0..8u8,
        0..3u8,
        0..60usize,
    )
        .prop_map(|(v6, vid, beside, ttl, tos, flags, length)| Shot {
            v6,
            vid,
            beside,
            ttl,
            tos,
            flags,
            length,
        })
}

impl Shot {
    fn frame(&self) -> (Option<VlanHeader>, Vec<u8>) {
        let payload = vec![3; self.length];
        let from = if self.vid.is_some() { (RED, 1, 2) } else { (VM1, 1, 1) };
        let inside = self.vid.filter(|_| !self.beside);
        let beside = self.vid.filter(|_| self.beside);
        let at = if inside.is_some() { 18 } else { 14 };
        let bytes = if self.v6 {
            let mut bytes = tcp6(inside, from, (VM2, 1, 4), &payload);
            bytes[at + 7] = self.ttl;
            bytes[at + 1] |= self.tos << 4;
            bytes[at + 40 + 13] = self.flags;
            bytes
        } else {
            let mut bytes = udp(inside, from, (VM2, 1, 4), &payload);
            bytes[at + 8] = self.ttl;
            bytes[at + 1] = self.tos;
            bytes[at + 10..at + 12].fill(0);
            let sum = ovn_xdp_datapath::checksum::internet(&bytes[at..at + 20]);
            bytes[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
            bytes
        };
        (beside.map(|tci| VlanHeader { tpid: 0x8100, tci }), bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn from_the_cache_and_by_a_walk_the_same_frames_leave(
        generation in generation(),
        shots in proptest::collection::vec(shot(), 1..30),
    ) {
        let mut cached = Host::new(generation.clone());
        for shot in shots {
            // A fresh host has nothing cached.
            let mut fresh = Host::new(generation.clone());
            let (vlan, bytes) = shot.frame();
            let walked = fresh.send_frame(1, vlan, MemoryFrame::new(&bytes));
            let found = cached.send_frame(1, vlan, MemoryFrame::new(&bytes));
            prop_assert_eq!(found, walked);
        }
    }
}

#[test]
fn packets_that_differ_where_the_walk_looked_do_not_share_a_verdict() {
    let ports = |to: u16| vec![Op::Load(field::OUTPORT, to.into()), Op::Output];
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    a.ingress = ingress(vec![vec![
        rule(5, vec![is(field::IP_DSCP, 1)], ports(3)),
        rule(4, vec![], ports(2)),
    ]]);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    let mut host = Host::new(generation);
    let mut frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    for (tos, tunnel, hits) in [(4, true, 0), (4, true, 1), (0, false, 1), (0, false, 2)] {
        frame[15] = tos;
        let sent = host.send(1, &frame);
        assert_eq!(matches!(sent[0], ovn_xdp_datapath::memory::Sent::Nic(..)), tunnel);
        assert_eq!(host.worker.counters().hits.get(), hits);
    }
    assert_eq!(host.worker.counters().guard_misses.get(), 1);
}

#[test]
fn what_the_walk_did_not_look_at_does_not_matter() {
    let mut host = Host::new(hypervisor(1));
    let mut frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    for tos in 0..10 {
        frame[15] = tos;
        assert_eq!(host.send(1, &frame).len(), 1);
    }
    assert_eq!(host.worker.counters().hits.get(), 9);
}

#[test]
fn the_cache_is_bounded_and_gives_up_what_was_not_used() {
    let config = WorkerConfig { cache_capacity: 32, hash_seed: 3, ..Default::default() };
    let mut host = Host::with(hypervisor(1), config);
    let often = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    host.send(1, &often);
    for round in 0..1000u32 {
        let mut other = often.clone();
        other[34..36].copy_from_slice(&(round as u16 + 2000).to_be_bytes());
        host.send(1, &other);
        host.send(1, &often);
    }
    assert!(host.worker.cached() <= 32);
    let counters = host.worker.counters();
    assert!(counters.evictions.get() > 900);
    assert!(counters.hits.get() > 900, "what is used stays: {}", counters.hits.get());
}

#[test]
fn a_batch_does_what_its_frames_do_one_by_one() {
    let to = |port: u16| {
        let mut frame = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame
    };
    let frames = [to(1), vec![1, 2, 3], to(2), to(1), to(3), to(2)];
    let mut one_by_one = Host::new(hypervisor(1));
    let sent: Vec<_> = frames.iter().flat_map(|frame| one_by_one.send(1, frame)).collect();
    let mut host = Host::new(hypervisor(1));
    for _ in 0..2 {
        let batch = frames.iter().map(|bytes| host.io.receive(MemoryFrame::new(bytes)));
        let mut batch: Vec<_> = batch.map(|frame| (InterfaceId(1), None, frame)).collect();
        host.worker.from_interfaces(1, &mut batch, &mut host.io);
        assert!(batch.is_empty());
        assert_eq!(host.io.outstanding, 0);
        assert_eq!(std::mem::take(&mut host.io.sent), sent);
    }
    assert_eq!(host.worker.counters().misses.get(), 3);
    assert_eq!(host.worker.counters().hits.get(), 7);

    let wire: Vec<_> = sent
        .iter()
        .filter_map(|sent| if let Sent::Nic(_, bytes) = sent { Some(bytes) } else { None })
        .collect();
    assert_eq!(wire.len(), 5);
    let mut one_by_one = Host::new(hypervisor(2));
    let sent: Vec<_> = wire.iter().flat_map(|frame| one_by_one.receive(frame)).collect();
    let mut host = Host::new(hypervisor(2));
    let mut batch: Vec<_> =
        wire.iter().map(|bytes| host.io.receive(MemoryFrame::new(bytes))).collect();
    host.worker.from_nics(1, 0, &mut batch, &mut host.io);
    assert_eq!((batch.len(), host.io.outstanding), (0, 0));
    assert_eq!((host.io.sent.len(), &host.io.sent), (5, &sent));
}
