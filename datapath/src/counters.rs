//! Counters of one worker: written by it alone, read by anyone.
//!
//! A counter is a relaxed atomic with a single writer, so counting is a load, an addition and a
//! store. A lock is taken only when a worker sees a port for the first time.

use crate::key::{DatapathKey, FlowId, PortKey};
use crate::listing::Listing;
use crate::path::Paths;
use crate::verdict::Drop;
use ovn_xdp_abi::drop::DropReason;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only goes up.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, from the worker that owns the counter.
    #[inline]
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by drop reason.
#[derive(Debug)]
pub struct Drops([Counter; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Drops {
    /// Counts one.
    #[inline]
    pub fn count(&self, reason: DropReason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.add(1);
        }
    }

    /// How many were dropped for this reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).map_or(0, Counter::get)
    }
}

/// A logical port, as this worker saw it.
#[derive(Default, Debug)]
pub struct PortCounters {
    /// Frames from the workload.
    pub rx_packets: Counter,
    /// Their bytes, with tags.
    pub rx_bytes: Counter,
    /// Frames to the workload.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Frames of the workload that went nowhere, or frames from a tunnel for it.
    pub drops: Drops,
}

/// How many pairs of a reason and a flow a worker counts apart; the rest it counts together.
pub const MOST_FLOW_DROPS: usize = 4096;

/// Drops by reason and by the logical flow that decided, as many as there is room for.
#[derive(Default, Debug)]
pub struct FlowDrops {
    apart: Mutex<Apart>,
    other: Arc<Counter>,
}

#[derive(Default, Debug)]
struct Apart {
    drops: HashMap<(DropReason, FlowId), Arc<Drop>>,
    /// Pairs that found no room.
    refused: usize,
}

impl FlowDrops {
    /// What counts the drops of a flow for a reason. For the worker; takes a lock.
    pub fn of(&self, reason: DropReason, flow: FlowId) -> Arc<Drop> {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = apart.drops.get(&(reason, flow)) {
            return Arc::clone(known);
        }
        if apart.drops.len() >= MOST_FLOW_DROPS {
            if apart.refused.is_multiple_of(MOST_FLOW_DROPS) {
                self.forget_unused(&mut apart.drops);
            }
            apart.refused += 1;
        }
        if apart.drops.len() >= MOST_FLOW_DROPS {
            return Arc::new(Drop { reason, flow, frames: Arc::clone(&self.other) });
        }
        let drop = Arc::new(Drop { reason, flow, frames: Arc::default() });
        apart.drops.insert((reason, flow), Arc::clone(&drop));
        drop
    }

    /// Those that are counted apart and have happened.
    pub fn apart(&self) -> Vec<Arc<Drop>> {
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        apart.drops.values().filter(|drop| drop.frames.get() > 0).map(Arc::clone).collect()
    }

    /// Frames dropped by flows that are not counted apart.
    pub fn other(&self) -> u64 {
        self.other.get()
    }

    /// What no verdict and nobody else counts with gives its place to others: most such flows are
    /// no longer in the database.
    fn forget_unused(&self, drops: &mut HashMap<(DropReason, FlowId), Arc<Drop>>) {
        drops.retain(|_, drop| {
            let used = Arc::strong_count(drop) > 1;
            if !used {
                self.other.add(drop.frames.get());
            }
            used
        });
    }
}

/// A logical port by its keys.
pub type PortId = (DatapathKey, PortKey);

/// All counters of a worker.
#[derive(Default, Debug)]
pub struct WorkerCounters {
    /// Frames whose verdict was in the cache and held.
    pub hits: Counter,
    /// Frames without a verdict in the cache.
    pub misses: Counter,
    /// Frames whose verdict was there, but did not hold for them.
    pub guard_misses: Counter,
    /// Frames whose verdict was there, but rested on something that has changed.
    pub stale: Counter,
    /// Verdicts that had to go for others.
    pub evictions: Counter,
    /// Events for control that found the queue full.
    pub learn_overflows: Counter,
    /// Errors about frames too big that were not sent because of the rate limit.
    pub suppressed_errors: Counter,
    /// Frames sent into tunnels.
    pub tunnel_tx: Counter,
    /// Frames received from tunnels.
    pub tunnel_rx: Counter,
    /// Drops that belong to no port.
    pub drops: Drops,
    /// Drops of packets that walked, by flow; each is among the drops of its port or above as well.
    pub flow_drops: FlowDrops,
    /// What packets that walked passed, by flow.
    pub paths: Paths,
    /// What control asks to see of the cache.
    pub listing: Listing,
    ports: Mutex<HashMap<PortId, Arc<PortCounters>>>,
}

impl WorkerCounters {
    /// Counters of a port, new ones at first sight. Takes a lock; not for every packet.
    pub fn port(&self, id: PortId) -> Arc<PortCounters> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ports.entry(id).or_default())
    }

    /// All ports seen so far.
    pub fn ports(&self) -> Vec<(PortId, Arc<PortCounters>)> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.iter().map(|(id, port)| (*id, Arc::clone(port))).collect()
    }

    /// Drops for a reason, over all ports and none.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let ports: u64 = self.ports().iter().map(|(_, port)| port.drops.get(reason)).sum();
        ports + self.drops.get(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: DropReason = DropReason::LogicalFlow;

    #[test]
    fn a_flow_too_many_is_counted_with_others_until_an_unused_one_makes_room() {
        let drops = FlowDrops::default();
        let most = MOST_FLOW_DROPS as u128;
        let held: Vec<_> = (0..most).map(|flow| drops.of(REASON, FlowId(flow))).collect();
        held.iter().for_each(|drop| drop.frames.add(1));
        let late = drops.of(REASON, FlowId(most));
        late.frames.add(1);
        assert_eq!((late.reason, late.flow), (REASON, FlowId(most)), "who it was is still known");
        assert_eq!((drops.apart().len(), drops.other()), (MOST_FLOW_DROPS, 1));
        assert!(Arc::ptr_eq(&drops.of(REASON, FlowId(7)), &held[7]));

        std::mem::drop(held);
        let room = || drops.of(REASON, FlowId(most)).frames.get() == 0;
        assert!((0..=MOST_FLOW_DROPS).any(|_| room()), "no place is ever given up");
        assert_eq!(drops.apart().len(), 0);
        assert_eq!(drops.other(), most as u64 + 1, "no drop is forgotten");
    }
}
