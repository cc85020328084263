//! The way of a packet without a worker: what `ovn-xdp trace --live` and offline checks run. It is
//! the workers' own walk, with an [`Observer`] watching, and their own rewriting of frames; nothing
//! is sent, counted or learned.

use crate::cache::Key;
use crate::counters::WorkerCounters;
use crate::flood;
use crate::frame::{Frame, VlanHeader};
use crate::geneve;
use crate::key::InterfaceId;
use crate::memory::{MemoryFrame, MemoryIo, Sent};
use crate::observe::Observer;
use crate::parse::parse;
use crate::pipeline::{Packet, Start, Surroundings, Walked, walk};
use crate::publish::{Attachment, Generation};
use crate::verdict::{Outputs, Target, Verdict};
use crate::worker::{demux, from_tunnel};
use ovn_xdp_abi::drop::DropReason;

/// Where a frame enters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// A workload would send it.
    Interface(InterfaceId),
    /// It enters at a port that is no workload's, such as a router's.
    Port(Attachment),
    /// A NIC, with the headers of a tunnel.
    Nic,
}

/// What became of a frame.
#[derive(Debug)]
pub struct Traced {
    /// The walk.
    pub walked: Walked,
    /// What would be sent, in the order of the verdict's outputs.
    pub leaving: Vec<Leaving>,
}

/// A frame that would be sent.
#[derive(Debug)]
pub struct Leaving {
    /// Where to.
    pub target: Target,
    /// All bytes that pass the wire, tags in their place, or why it cannot be made.
    pub frame: Result<Vec<u8>, DropReason>,
}

/// Follows a frame through the pipelines and out. `vlan` is a tag beside it, `seed` the workers', for
/// what hangs on the hash of its flow.
///
/// # Errors
/// [`DropReason::Truncated`], [`DropReason::NoPort`], and for a NIC those of
/// [`crate::worker::from_tunnel`]: there is nothing to walk. Other drops are verdicts.
pub fn trace<O: Observer, S: Surroundings>(
    generation: &Generation,
    entrance: Entrance,
    vlan: Option<VlanHeader>,
    frame: &[u8],
    seed: u64,
    surroundings: S,
    observer: &mut O,
) -> Result<Traced, DropReason> {
    let mut arriving = MemoryFrame::new(frame);
    let (parsed, start, key) = match entrance {
        Entrance::Interface(interface) => {
            let parsed = parse(frame, frame.len(), vlan)?;
            let start = demux(generation, interface, parsed.tci())?;
            (parsed, start, Key::interface(interface.0, &parsed))
        }
        Entrance::Port(port) => {
            let parsed = parse(frame, frame.len(), vlan)?;
            let interface = InterfaceId(0);
            let start = Start::Ingress { interface, port, nested: false };
            (parsed, start, Key::interface(interface.0, &parsed))
        }
        Entrance::Nic => {
            let known = |peer| generation.peers.contains_key(&peer);
            let (outer, parsed) = from_tunnel(&mut arriving, known)?;
            let key = Key::tunnel(outer.vni, outer.inport, outer.outport.get(), &parsed);
            (parsed, outer.start()?, key)
        }
    };
    let packet = Packet {
        head: arriving.head(),
        parsed: &parsed,
        wire_len: arriving.len() as u32 + if vlan.is_some() { 4 } else { 0 },
        hash: key.flow(seed),
    };
    let source_port = geneve::source_port(packet.hash);
    let walked = walk(generation, start, packet, surroundings, observer);
    let outputs = walked.verdict.outputs.iter();
    // A clone for each of the outputs would be one of all outputs each time.
    let mut alone = Verdict { drop: None, arrival: None, ..walked.verdict.clone() };
    let leaving = outputs.map(|output| {
        // What is counted on the way is thrown away with its counters.
        let (counters, mut io) = (WorkerCounters::default(), MemoryIo::default());
        alone.outputs = Outputs::One(output.clone());
        let copy = flood::Leaving {
            frame: io.receive(arriving.clone()),
            vlan,
            layers: parsed.layers,
            source_port,
        };
        flood::deliver(&alone, &walked.built, copy, &counters, &mut io);
        let failed = || DropReason::ALL.iter().copied().find(|why| counters.dropped(*why) > 0);
        let frame = match io.sent.pop() {
            Some(Sent::Interface(_, vlan, bytes)) => Ok(on_the_wire(vlan, bytes)),
            Some(Sent::Nic(_, bytes)) => Ok(bytes),
            None => Err(failed().unwrap_or(DropReason::Internal)),
        };
        Leaving { target: output.target.clone(), frame }
    });
    let leaving = leaving.collect();
    Ok(Traced { walked, leaving })
}

/// A frame with the tag that is beside it pushed in front of what it has.
pub fn on_the_wire(vlan: Option<VlanHeader>, mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(VlanHeader { tpid, tci }) = vlan {
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
        bytes.splice(12..12, [a, b, c, d]);
    }
    bytes
}
