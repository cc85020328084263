//! Two hypervisors' worth of generations, and frames to send through them.
//!
//! Both hypervisors hold the same two switches and the router between them; what differs is where
//! the ports are. hv1 has vm1 with the nested containers red (tag 100) and blue (tag 200); hv2 has
//! vm2 with the nested container green (tag 100).

use etherparse::PacketBuilder;
use ovn_xdp_datapath::classify::{Clause, Literal, Masked, Rule, Table, Values};
use ovn_xdp_datapath::field::{self, Slice};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::key::*;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::memory::{MemoryFrame, MemoryIo, Sent};
use ovn_xdp_datapath::program::{Op, Pipeline};
use ovn_xdp_datapath::publish::*;
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_datapath::worker::{Worker, WorkerConfig};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

pub const VM1: Mac = [0x50, 0, 0, 0, 0, 1];
pub const RED: Mac = [0x50, 0, 0, 0, 0, 2];
pub const BLUE: Mac = [0x50, 0, 0, 0, 0, 3];
pub const VM2: Mac = [0x50, 0, 0, 0, 0, 4];
pub const GREEN: Mac = [0x50, 0, 0, 0, 0, 5];
pub const ROUTER_A: Mac = [0x50, 0, 0, 0, 1, 1];
pub const ROUTER_B: Mac = [0x50, 0, 0, 0, 1, 2];

/// Switch A: 10.0.1.0/24, fd01::/64. vm1 1, red 2, vm2 3, router 9.
pub const SWITCH_A: u32 = 1;
/// Switch B: 10.0.2.0/24, fd02::/64. blue 1, green 2, router 9.
pub const SWITCH_B: u32 = 2;
/// Router: port 1 to A, port 2 to B.
pub const ROUTER: u32 = 3;
/// Every port of a switch.
pub const FLOOD: u16 = 0x8000;

pub const RED_TAG: u16 = 100;
pub const BLUE_TAG: u16 = 200;
pub const GREEN_TAG: u16 = 100;

pub const UNDERLAY_1: [u8; 4] = [192, 0, 2, 1];
pub const UNDERLAY_2: [u8; 4] = [192, 0, 2, 2];

pub fn datapath_key(key: u32) -> DatapathKey {
    DatapathKey::new(key).unwrap()
}

pub fn port_key(key: u16) -> PortKey {
    PortKey::new(key).unwrap()
}

pub fn tag(vid: u16) -> VlanId {
    VlanId::new(vid).unwrap()
}

pub fn is(field: Slice, value: u128) -> Literal {
    one(field, value, field.ones(), false)
}

pub fn is_not(field: Slice, value: u128) -> Literal {
    one(field, value, field.ones(), true)
}

pub fn one(field: Slice, value: u128, mask: u128, negated: bool) -> Literal {
    Literal::new(field, Values::One(&Masked { value: value & mask, mask }), negated)
}

pub fn rule(priority: u16, literals: Vec<Literal>, ops: Vec<Op>) -> Rule {
    Rule::new(priority, &[Clause(literals.into())], ops.into(), FlowId(u128::from(priority)))
}

pub fn next(table: u8) -> Op {
    Op::Next(Pipeline::Ingress, table)
}

pub fn mac(mac: Mac) -> u128 {
    mac.iter().fold(0, |word, byte| word << 8 | u128::from(*byte))
}

/// Tables of rules; a rule whose flow another one of its table has gets one of its own.
pub fn tables(tables: Vec<Vec<Rule>>) -> Vec<Arc<Table>> {
    let apart = |mut rules: Vec<Rule>| {
        let mut known = BTreeSet::new();
        for (at, rule) in rules.iter_mut().enumerate() {
            if !known.insert(rule.flow()) {
                *rule = rule.of_flow(FlowId(rule.flow().0 | (at as u128) << 32));
            }
        }
        Arc::new(Table::new(rules))
    };
    tables.into_iter().map(apart).collect()
}

/// The ingress pipeline of these tables.
pub fn ingress(rules: Vec<Vec<Rule>>) -> Stages {
    Stages::new(Pipeline::Ingress, tables(rules))
}

/// The egress pipeline of these tables.
pub fn egress(rules: Vec<Vec<Rule>>) -> Stages {
    Stages::new(Pipeline::Egress, tables(rules))
}

pub fn port(key: u16, name: &str, place: Place) -> Port {
    Port { key: port_key(key), name: name.into(), place, security: Box::new([]), localport: false }
}

pub fn local(interface: u32, vid: Option<u16>) -> Place {
    let tag = vid.map(|vid| Tag { tpid: 0x8100, vid: tag(vid) });
    Place::Local { interface: InterfaceId(interface), tag, also: Box::new([]) }
}

pub fn remote() -> Place {
    Place::Remote(Box::new([TunnelId(1)]))
}

pub fn patch(datapath: u32, port: u16) -> Place {
    Place::Patch(Attachment { datapath: datapath_key(datapath), port: port_key(port) })
}

pub fn datapath(key: u32, ports: Vec<Port>, to: Vec<Vec<Rule>>, from: Vec<Vec<Rule>>) -> Datapath {
    Datapath {
        epoch: u64::from(key),
        key: datapath_key(key),
        name: format!("datapath-{key}"),
        ingress: ingress(to),
        egress: egress(from),
        ports: ports.into_iter().map(|port| (port.key, Arc::new(port))).collect(),
        groups: Default::default(),
        neighbours: Default::default(),
        fdb: Default::default(),
    }
}

pub fn switch(key: u32, ports: Vec<Port>, macs: &[(Mac, u16)]) -> Datapath {
    let mut lookup = vec![
        rule(
            100,
            vec![one(field::ETH_DST, 1 << 40, 1 << 40, false)],
            vec![Op::Load(field::OUTPORT, FLOOD.into()), Op::Output],
        ),
        rule(0, vec![], vec![]),
    ];
    for &(address, key) in macs {
        lookup.push(rule(
            50,
            vec![is(field::ETH_DST, mac(address))],
            vec![Op::Load(field::OUTPORT, key.into()), Op::Output],
        ));
    }
    let present = field::VLAN_TCI.bits(12, 12).unwrap();
    let admit = vec![
        rule(100, vec![is(present, 1)], vec![]),
        rule(
            50,
            vec![],
            vec![Op::CheckInPortSecurity(field::reg(0).bits(15, 15).unwrap()), next(1)],
        ),
    ];
    let secure = vec![
        rule(50, vec![is(field::reg(0).bits(15, 15).unwrap(), 1)], vec![]),
        rule(0, vec![], vec![next(2)]),
    ];
    let mut local_members = Vec::new();
    let mut ingress_only = Vec::new();
    let mut tunnels = Vec::new();
    for port in &ports {
        match &port.place {
            Place::Local { .. } => local_members.push(port.key),
            Place::Patch(_) => ingress_only.push(port.key),
            Place::Remote(_) if tunnels.is_empty() => tunnels.push(TunnelId(1)),
            _ => {}
        }
    }
    let mut switch = datapath(
        key,
        ports,
        vec![admit, secure, lookup],
        vec![vec![rule(0, vec![], vec![Op::Output])]],
    );
    let group = Group {
        epoch: 1,
        local: local_members.into(),
        ingress_only: ingress_only.into(),
        remote: tunnels.into(),
    };
    switch.groups.insert_mut(port_key(FLOOD), Arc::new(group));
    switch
}

/// A router with a route per side, neighbours from the table, and TTL handling.
pub fn router() -> Datapath {
    let mut admit = vec![];
    for (key, address) in [(1, ROUTER_A), (2, ROUTER_B)] {
        let literals = vec![is(field::INPORT, key), is(field::ETH_DST, mac(address))];
        admit.push(rule(50, literals, vec![next(1)]));
    }
    let ttl = vec![
        rule(30, vec![is(field::IP_TTL, 1)], vec![]),
        rule(30, vec![is(field::IP_TTL, 0)], vec![]),
        rule(0, vec![], vec![next(2)]),
    ];
    let mut routes = vec![];
    for (side, address) in [(1u128, ROUTER_A), (2, ROUTER_B)] {
        let leave = vec![
            Op::DecrementTtl,
            Op::load(field::ETH_SRC, mac(address)),
            Op::load(field::OUTPORT, side),
            Op::Load(field::FLAGS.bits(0, 0).unwrap(), 1),
            next(3),
        ];
        let v4 = one(field::IP4_DST, 0x0a00_0000 | side << 8, 0xffff_ff00, false);
        routes.push(rule(49, vec![is(field::ETH_TYPE, 0x0800), v4], leave.clone()));
        let prefix = (0xfd00 | side) << 112;
        let v6 = one(field::IP6_DST, prefix, u128::MAX << 64, false);
        routes.push(rule(49, vec![is(field::ETH_TYPE, 0x86dd), v6], leave));
    }
    use ovn_xdp_datapath::program::Family;
    let resolve = vec![
        rule(
            10,
            vec![is(field::ETH_TYPE, 0x0800)],
            vec![
                Op::GetNeighbour {
                    family: Family::V4,
                    port: field::OUTPORT,
                    address: field::IP4_DST,
                },
                next(4),
            ],
        ),
        rule(
            10,
            vec![is(field::ETH_TYPE, 0x86dd)],
            vec![
                Op::GetNeighbour {
                    family: Family::V6,
                    port: field::OUTPORT,
                    address: field::IP6_DST,
                },
                next(4),
            ],
        ),
    ];
    let deliver =
        vec![rule(100, vec![is(field::ETH_DST, 0)], vec![]), rule(0, vec![], vec![Op::Output])];
    let ports = vec![port(1, "r-a", patch(SWITCH_A, 9)), port(2, "r-b", patch(SWITCH_B, 9))];
    let mut router = datapath(
        ROUTER,
        ports,
        vec![admit, ttl, routes, resolve, deliver],
        vec![vec![rule(0, vec![], vec![Op::Output])]],
    );
    for (side, host, address) in
        [(1, 1, VM1), (1, 2, RED), (1, 4, VM2), (2, 3, BLUE), (2, 5, GREEN)]
    {
        for (family, address_of) in [(Family::V4, v4(side, host)), (Family::V6, v6(side, host))] {
            let key = Neighbour { port: port_key(u16::from(side)), family, address: address_of };
            router.neighbours.insert_mut(key, address);
        }
    }
    router
}

pub fn v4(side: u8, host: u8) -> u128 {
    u128::from(u32::from_be_bytes([10, 0, side, host]))
}

pub fn v6(side: u8, host: u8) -> u128 {
    (0xfd00 | u128::from(side)) << 112 | u128::from(host)
}

/// What hypervisor 1 or 2 forwards by.
pub fn hypervisor(number: u8) -> Generation {
    let first = number == 1;
    let here = |first_has: bool, place: Place| if first_has == first { place } else { remote() };
    let a = switch(
        SWITCH_A,
        vec![
            port(1, "vm1", here(true, local(1, None))),
            port(2, "red", here(true, local(1, Some(RED_TAG)))),
            port(3, "vm2", here(false, local(1, None))),
            port(9, "a-r", patch(ROUTER, 1)),
        ],
        &[(VM1, 1), (RED, 2), (VM2, 3), (ROUTER_A, 9)],
    );
    let b = switch(
        SWITCH_B,
        vec![
            port(1, "blue", here(true, local(1, Some(BLUE_TAG)))),
            port(2, "green", here(false, local(1, Some(GREEN_TAG)))),
            port(9, "b-r", patch(ROUTER, 2)),
        ],
        &[(BLUE, 1), (GREEN, 2), (ROUTER_B, 9)],
    );
    let mut children = Children::default();
    let attach = |datapath: u32, port: u16| {
        Some(Attachment { datapath: datapath_key(datapath), port: port_key(port) })
    };
    let vif = if first {
        children.set(tag(RED_TAG), attach(SWITCH_A, 2));
        children.set(tag(BLUE_TAG), attach(SWITCH_B, 1));
        attach(SWITCH_A, 1)
    } else {
        children.set(tag(GREEN_TAG), attach(SWITCH_B, 2));
        attach(SWITCH_A, 3)
    };
    let mut generation = Generation::default();
    let interface = Interface { epoch: 1, name: "tap".into(), vif, children };
    generation.interfaces.insert(InterfaceId(1), Arc::new(interface));
    for datapath in [a, b, router()] {
        generation.datapaths.insert_mut(datapath.key, Arc::new(datapath));
    }
    let (ours, theirs) = if first { (UNDERLAY_1, UNDERLAY_2) } else { (UNDERLAY_2, UNDERLAY_1) };
    let tunnel = Tunnel {
        epoch: 1,
        chassis: "other".into(),
        local: ours.into(),
        remote: theirs.into(),
        link: Some(Link {
            nic: 0,
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            mtu: 1558,
        }),
        csum: true,
        tos: None,
        df: true,
    };
    generation.tunnels.insert_mut(TunnelId(1), Arc::new(tunnel));
    generation.peers.insert_mut(IpAddr::from(theirs), ());
    generation
}

/// A hypervisor with one worker.
pub struct Host {
    pub publisher: Publisher,
    pub worker: Worker,
    pub io: MemoryIo,
    pub learned: crossbeam_channel::Receiver<Learned>,
    pub now: u64,
}

impl Host {
    pub fn new(generation: Generation) -> Self {
        Self::with(
            generation,
            WorkerConfig { cache_capacity: 64, hash_seed: 7, ..Default::default() },
        )
    }

    pub fn with(generation: Generation, config: WorkerConfig) -> Self {
        let publisher = Publisher::new();
        publisher.publish(generation);
        let (sender, learned) = crossbeam_channel::bounded(64);
        let worker = Worker::new(config, publisher.join(|| ()), sender);
        Self { publisher, worker, io: MemoryIo::default(), learned, now: 1 }
    }

    /// Publishes a change of the current generation, which the worker takes up.
    pub fn change(&mut self, change: impl FnOnce(&mut Generation)) {
        let mut generation = Generation::clone(&self.publisher.current());
        change(&mut generation);
        self.publisher.publish(generation);
        self.worker.refresh();
    }

    pub fn send_frame(
        &mut self,
        interface: u32,
        vlan: Option<VlanHeader>,
        frame: MemoryFrame,
    ) -> Vec<Sent> {
        let frame = self.io.receive(frame);
        self.worker.from_interface(self.now, InterfaceId(interface), vlan, frame, &mut self.io);
        self.done()
    }

    pub fn send(&mut self, interface: u32, bytes: &[u8]) -> Vec<Sent> {
        self.send_frame(interface, None, MemoryFrame::new(bytes))
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Sent> {
        let frame = self.io.receive(MemoryFrame::new(bytes));
        self.worker.from_nic(self.now, 0, frame, &mut self.io);
        self.done()
    }

    fn done(&mut self) -> Vec<Sent> {
        assert_eq!(self.io.outstanding, 0, "each frame is sent or released exactly once");
        std::mem::take(&mut self.io.sent)
    }
}

/// The one frame to a NIC.
pub fn to_nic(sent: &[Sent]) -> &[u8] {
    match sent {
        [Sent::Nic(0, bytes)] => bytes,
        other => panic!("expected one frame to the NIC, found {other:?}"),
    }
}

/// The one frame to a workload: its tag and bytes.
pub fn to_workload(sent: &[Sent]) -> (Option<u16>, &[u8]) {
    match sent {
        [Sent::Interface(_, vlan, bytes)] => (vlan.map(|vlan| vlan.tci), bytes),
        other => panic!("expected one frame to a workload, found {other:?}"),
    }
}

/// A UDP frame, tagged if `vid` is given.
pub fn udp(vid: Option<u16>, from: (Mac, u8, u8), to: (Mac, u8, u8), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.0, to.0);
    let source = [10, 0, from.1, from.2];
    let destination = [10, 0, to.1, to.2];
    let mut bytes = Vec::new();
    match vid {
        Some(vid) => builder
            .single_vlan(vid.try_into().unwrap())
            .ipv4(source, destination, 64)
            .udp(1000, 2000)
            .write(&mut bytes, payload),
        None => builder.ipv4(source, destination, 64).udp(1000, 2000).write(&mut bytes, payload),
    }
    .unwrap();
    bytes
}

/// A TCP frame over IPv6, tagged if `vid` is given.
pub fn tcp6(vid: Option<u16>, from: (Mac, u8, u8), to: (Mac, u8, u8), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.0, to.0);
    let source = v6(from.1, from.2).to_be_bytes();
    let destination = v6(to.1, to.2).to_be_bytes();
    let mut bytes = Vec::new();
    match vid {
        Some(vid) => builder
            .single_vlan(vid.try_into().unwrap())
            .ipv6(source, destination, 64)
            .tcp(1000, 2000, 7, 8)
            .write(&mut bytes, payload),
        None => {
            builder.ipv6(source, destination, 64).tcp(1000, 2000, 7, 8).write(&mut bytes, payload)
        }
    }
    .unwrap();
    bytes
}

/// An ARP request.
pub fn arp_request(from: Mac, source: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let fixed = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1];
    [&[255; 6], &from[..], &fixed, &from, &source, &[0; 6], &target].concat()
}

/// A neighbour solicitation with its source link-layer address.
pub fn solicitation(from: Mac, source: u128, target: u128) -> Vec<u8> {
    let target = target.to_be_bytes();
    let group = [&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff][..], &target[13..]].concat();
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target, &[1, 1], &from].concat();
    let mut frame = [
        &[0x33, 0x33, 0xff][..],
        &target[13..],
        &from,
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255],
    ]
    .concat();
    frame.extend_from_slice(&source.to_be_bytes());
    frame.extend_from_slice(&group);
    frame.extend_from_slice(&message);
    let mut sum = ovn_xdp_datapath::checksum::pseudo_header(&frame[22..38], &frame[38..54], 58, 32);
    sum.add(&frame[54..]);
    let sum = sum.finish().to_be_bytes();
    frame[56..58].copy_from_slice(&sum);
    frame
}
