//! Applies a verdict to a frame: every copy is changed, wrapped and sent, and each frame is sent or
//! released exactly once.

use crate::counters::{Drops, WorkerCounters};
use crate::frame::{Frame, Io, VlanHeader};
use crate::parse::{self, Layers, ethertype};
use crate::rewrite::{into_frame, push};
use crate::verdict::{Output, Source, Target, Verdict};
use ovn_xdp_abi::drop::DropReason;

/// A frame on its way out.
pub struct Leaving<F> {
    /// The frame.
    pub frame: F,
    /// Its tag beside it.
    pub vlan: Option<VlanHeader>,
    /// Its layers, before any change.
    pub layers: Layers,
    /// Source port of the tunnel packet that it may become.
    pub source_port: u16,
}

/// Sends a frame wherever `verdict` says; `built` are the frames that the walk made. Counts what was
/// sent and what failed.
#[inline]
pub fn deliver<I: Io>(
    verdict: &Verdict,
    built: &[Vec<u8>],
    leaving: Leaving<I::Frame>,
    counters: &WorkerCounters,
    io: &mut I,
) {
    let drops = verdict.arrival.as_deref().map_or(&counters.drops, |port| &port.drops);
    if let Some(drop) = &verdict.drop {
        drops.count(drop.reason);
        drop.frames.add(1);
    }
    let Leaving { frame, vlan, layers, source_port } = leaving;
    let last = verdict.outputs.iter().rposition(|output| output.frame == Source::Arrived);
    let mut frame = Some(frame);
    for (index, output) in verdict.outputs.iter().enumerate() {
        let leaving = match output.frame {
            Source::Arrived => {
                let copy = if Some(index) == last {
                    frame.take()
                } else {
                    frame.as_ref().and_then(|frame| io.duplicate(frame))
                };
                copy.map(|frame| Leaving { frame, vlan, layers, source_port })
            }
            Source::Built(at) => built.get(at).and_then(|bytes| written(bytes, source_port, io)),
        };
        match leaving {
            Some(leaving) => send(output, leaving, drops, counters, io),
            None => drops.count(DropReason::NoBuffer),
        }
    }
    if let Some(frame) = frame {
        io.release(frame);
    }
}

#[inline]
fn send<I: Io>(
    output: &Output,
    mut leaving: Leaving<I::Frame>,
    drops: &Drops,
    counters: &WorkerCounters,
    io: &mut I,
) {
    if let Err(reason) = change(output, &mut leaving) {
        drops.count(reason);
        return io.release(leaving.frame);
    }
    match &output.target {
        Target::Interface { to, port, .. } => {
            port.tx_packets.add(1);
            port.tx_bytes.add(leaving.frame.len() as u64);
            io.to_interface(leaving.frame, *to, leaving.vlan);
        }
        Target::Tunnel(outer) => {
            counters.tunnel_tx.add(1);
            io.to_nic(leaving.frame, outer.nic);
        }
    }
}

#[inline]
fn change<F: Frame>(output: &Output, leaving: &mut Leaving<F>) -> Result<(), DropReason> {
    let Leaving { frame, vlan, layers, source_port } = leaving;
    output.rewrite.apply(frame, layers, vlan)?;
    match &output.target {
        Target::Interface { tag: None, .. } => Ok(()),
        Target::Interface { tag: Some(tag), .. } => {
            push(frame, vlan, VlanHeader { tpid: tag.tpid, tci: tag.vid.get() })
        }
        Target::Tunnel(outer) => {
            into_frame(frame, vlan)?;
            let tos = tos(frame.head());
            outer.encapsulate(frame, tos, *source_port)
        }
    }
}

/// The ToS or traffic class of a frame as it is sent, behind any tags.
#[inline]
fn tos(head: &[u8]) -> Option<u8> {
    let mut at = 12;
    for _ in 0..=parse::MAX_TAGS {
        let [high, low, first, second] = head.get(at..)?.first_chunk::<4>()?;
        match u16::from_be_bytes([*high, *low]) {
            ethertype::IPV4 => return Some(*second),
            ethertype::IPV6 => return Some(first << 4 | second >> 4),
            other if parse::is_vlan(other) => at += 4,
            _ => return None,
        }
    }
    None
}

fn written<I: Io>(bytes: &[u8], source_port: u16, io: &mut I) -> Option<Leaving<I::Frame>> {
    let layers = parse::parse(bytes, bytes.len(), None).ok()?.layers;
    let mut frame = io.allocate()?;
    if !frame.push_back(bytes) {
        io.release(frame);
        return None;
    }
    Some(Leaving { frame, vlan: None, layers, source_port })
}
