//! The walk of a packet without a worker: what `ovn-xdp trace` and offline checks run. It is the
//! workers' own walk, with an [`Observer`] watching; nothing is sent, counted or learned.

use crate::cache::Key;
use crate::counters::WorkerCounters;
use crate::frame::VlanHeader;
use crate::key::InterfaceId;
use crate::observe::Observer;
use crate::parse::parse;
use crate::pipeline::{Packet, Walked, walk};
use crate::publish::Generation;
use crate::worker::demux;
use ovn_xdp_abi::drop::DropReason;

/// Walks a frame that a workload would send, all bytes in `frame`.
///
/// # Errors
/// [`DropReason::Truncated`] and [`DropReason::NoPort`]: there is nothing to walk. Other drops are
/// verdicts.
pub fn trace<O: Observer>(
    generation: &Generation,
    interface: InterfaceId,
    vlan: Option<VlanHeader>,
    frame: &[u8],
    observer: &mut O,
) -> Result<Walked, DropReason> {
    let parsed = parse(frame, frame.len(), vlan)?;
    let start = demux(generation, interface, parsed.tci())?;
    let packet = Packet {
        head: frame,
        parsed: &parsed,
        wire_len: frame.len() as u32 + if vlan.is_some() { 4 } else { 0 },
        hash: Key::interface(interface.0, &parsed).flow(0),
    };
    Ok(walk(generation, start, packet, &WorkerCounters::default(), observer))
}
