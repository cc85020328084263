//! Counters of one worker: written by it alone, read by anyone.
//!
//! A counter is a relaxed atomic with a single writer, so counting is a load, an addition and a
//! store. A lock is taken only when a worker sees a port for the first time.

use crate::key::{DatapathKey, PortKey};
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
