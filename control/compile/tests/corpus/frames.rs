//! Frames from workloads and from the wire, whatever they hold, through a worker whose tables are of
//! a real ovn-northd: each is sent or released exactly once, and what is sent is what a walk without
//! any cache comes to.

use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_compile::check::insertions;
use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_compile::{Compiler, Identity, LocalPort};
use ovn_xdp_datapath::checksum::internet;
use ovn_xdp_datapath::counters::WorkerCounters;
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::geneve;
use ovn_xdp_datapath::key::{InterfaceId, TunnelId, VlanId};
use ovn_xdp_datapath::memory::{MemoryFrame, MemoryIo, Sent};
use ovn_xdp_datapath::publish::{Generation, Link, Tag, Tunnel};
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_datapath::trace::{Entrance, Leaving, on_the_wire, trace};
use ovn_xdp_datapath::verdict::Target;
use ovn_xdp_datapath::worker::{Worker, WorkerConfig};
use ovn_xdp_ovsdb::file::FileDatabase;
use ovn_xdp_ovsdb::monitor::Wanted;
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Our end of the tunnel, and the other.
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

const SEED: u64 = 7;

/// The chassis of a VM with two nested containers and of two other workloads; a switch of each kind
/// also has a port on another chassis.
static GENERATION: LazyLock<Arc<Generation>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = ["tests/fixtures/nested.db", "../control/compile/tests/fixtures/nested.db"];
    let path = names.iter().map(|name| path.join(name)).find(|path| path.exists());
    let wanted: Vec<Wanted> =
        monitored().into_iter().map(|(table, columns)| Wanted::columns(table, columns)).collect();
    let file = FileDatabase::read(&path.expect("the recording"), "OVN_Southbound", &wanted);
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    compiler.apply(&insertions(&file.expect("a database").replica));
    let tag = |vid| VlanId::new(vid).map(|vid| Tag { tpid: 0x8100, vid });
    for (interface, port, vid) in
        [(1, "vmsa", 0), (1, "foo1", 101), (1, "bar1", 102), (2, "fooa", 0), (3, "bara", 0)]
    {
        let interface = InterfaceId(interface);
        compiler.set_interface(interface, &format!("tap{}", interface.0));
        compiler.bind(port, Some(LocalPort { interface, tag: tag(vid) }));
    }
    let link = Link { nic: 0, source: [2; 6], destination: [4; 6], mtu: 1558 };
    let tunnel = Tunnel {
        epoch: 0,
        chassis: "hv2".into(),
        local: ENDS[0].into(),
        remote: ENDS[1].into(),
        link: Some(link),
        csum: true,
        tos: None,
        df: true,
    };
    compiler.set_tunnel("hv2", vec![(TunnelId(1), Arc::new(tunnel))]);
    compiler.set_peers([ENDS[1].into()].into());
    compiler.publish()
});

thread_local! {
    static WORKER: RefCell<(Worker, u64)> = {
        let publisher = Publisher::new();
        publisher.publish((**GENERATION).clone());
        let config = WorkerConfig {
            cache_capacity: 256,
            hash_seed: SEED,
            errors_per_second: u32::MAX,
        };
        // Nobody listens to what is learned: then it is dropped, and counted.
        let (sender, _) = crossbeam_channel::bounded(1);
        RefCell::new((Worker::new(config, publisher.join(|| ()), sender), 0))
    };
}

/// How a frame comes, from the first bytes of an input.
struct Arriving<'a> {
    /// The interface, or none: the NIC.
    interface: Option<InterfaceId>,
    vlan: Option<VlanHeader>,
    /// Bytes of the first piece, if it comes in pieces.
    pieces: Option<usize>,
    /// It gets the outer headers that the other chassis would give it, with these keys.
    wrapped: Option<[u8; 7]>,
    bytes: &'a [u8],
}

impl<'a> Arriving<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let ([how, tci @ .., first], rest) = input.split_first_chunk::<4>()?;
        let interface = (how & 3 != 0).then(|| InterfaceId(u32::from(how & 3)));
        let vlan = (how & 4 != 0 && interface.is_some())
            .then_some(VlanHeader { tpid: 0x8100, tci: u16::from_be_bytes(*tci) });
        let pieces = (how & 8 != 0).then_some(usize::from(*first));
        let (wrapped, bytes) = match how & 16 != 0 && interface.is_none() {
            true => rest.split_first_chunk::<7>().map(|(keys, rest)| (Some(*keys), rest))?,
            false => (None, rest),
        };
        Some(Self { interface, vlan, pieces, wrapped, bytes })
    }

    fn frame(&self) -> Vec<u8> {
        match (&self.wrapped, self.interface) {
            (Some(keys), _) => wrap(keys, self.bytes),
            (None, None) => mended(self.bytes.to_vec()),
            (None, Some(_)) => self.bytes.to_vec(),
        }
    }
}

/// A frame in a tunnel from the other chassis: VNI, ingress and egress key as given.
fn wrap([v0, v1, v2, keys @ ..]: &[u8; 7], inner: &[u8]) -> Vec<u8> {
    let udp = (8 + 16 + inner.len()) as u16;
    let mut frame = vec![2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0, 0x45, 0];
    frame.extend((20 + udp).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(ENDS[1].octets());
    frame.extend(ENDS[0].octets());
    frame.extend([0xc0, 0, 0x17, 0xc1]);
    frame.extend(udp.to_be_bytes());
    frame.extend([0, 0, 2, 0x40, 0x65, 0x58, *v0, *v1, *v2, 0, 1, 2, 0x80, 1]);
    frame.extend(keys);
    frame.extend(inner);
    mended(frame)
}

/// The same frame with a right checksum of its IPv4 header, which chance would never give it.
fn mended(mut frame: Vec<u8>) -> Vec<u8> {
    let header = usize::from(frame.get(14).map_or(0, |byte| byte & 15)) * 4;
    if frame.get(12..14) == Some(&[8, 0])
        && let Some(header) = frame.get_mut(14..14 + header)
        && header.len() >= 20
    {
        header[10..12].fill(0);
        let sum = internet(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// A frame on the wire: towards which workload's interface, or none for the NIC.
type Out = (Option<InterfaceId>, Vec<u8>);

/// Lets a frame arrive twice, and checks what becomes of it.
pub fn frames(input: &[u8]) {
    let Some(arriving) = Arriving::read(input) else { return };
    let bytes = arriving.frame();
    WORKER.with_borrow_mut(|(worker, now)| {
        let first = arrive(worker, now, &arriving, &bytes);
        // By now the verdict may be cached.
        assert_eq!(first, arrive(worker, now, &arriving, &bytes));
        if arriving.pieces.is_none() {
            assert_eq!(first, walked(&arriving, &bytes));
        }
        for (to, bytes) in &first {
            if to.is_none() {
                let outer = geneve::decapsulate(&MemoryFrame::new(bytes));
                let outer = outer.expect("our own headers read");
                assert_eq!(outer.remote, ENDS[0]);
                assert_eq!(outer.header_len + outer.payload_len, bytes.len());
            }
        }
    });
}

fn arrive(worker: &mut Worker, now: &mut u64, from: &Arriving<'_>, bytes: &[u8]) -> Vec<Out> {
    *now += 1_000_000_000;
    let mut io = MemoryIo::default();
    let frame = match from.pieces {
        Some(first) => MemoryFrame::segmented(bytes, first, 100),
        None => MemoryFrame::new(bytes),
    };
    let frame = io.receive(frame);
    let counters = worker.counters().clone();
    let dropped = || DropReason::ALL.iter().map(|why| counters.dropped(*why)).sum::<u64>();
    let before = dropped();
    match from.interface {
        Some(interface) => worker.from_interface(*now, interface, from.vlan, frame, &mut io),
        None => worker.from_nic(*now, 0, frame, &mut io),
    }
    assert_eq!(io.outstanding, 0, "a frame was neither sent nor released");
    assert!(!io.sent.is_empty() || dropped() > before, "nothing says why it went nowhere");
    let out = |sent| match sent {
        Sent::Interface(to, vlan, bytes) => (Some(to), on_the_wire(vlan, bytes)),
        Sent::Nic(_, bytes) => (None, bytes),
    };
    io.sent.into_iter().map(out).collect()
}

/// What a walk without a cache comes to.
fn walked(from: &Arriving<'_>, bytes: &[u8]) -> Vec<Out> {
    let entrance = from.interface.map_or(Entrance::Nic, Entrance::Interface);
    let counters = WorkerCounters::default();
    let traced = trace(&GENERATION, entrance, from.vlan, bytes, SEED, &counters, &mut ());
    let leaving = traced.map_or_else(|_| Vec::new(), |traced| traced.leaving);
    let out = |leaving: Leaving| match leaving.target {
        Target::Interface { to, .. } => Some((Some(to), leaving.frame.ok()?)),
        Target::Tunnel(_) => Some((None, leaving.frame.ok()?)),
    };
    leaving.into_iter().filter_map(out).collect()
}
