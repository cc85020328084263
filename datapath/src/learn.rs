//! What workers tell control: neighbours, MAC addresses, and that they are used.
//!
//! The queue is bounded and a worker never waits for it: what finds it full is counted and lost,
//! and the next packet of the same kind reports it again. The same fact is not sent twice within
//! [`QUIET`], so one chatty neighbour cannot fill the queue.

use crate::counters::WorkerCounters;
use crate::key::{DatapathKey, PortKey};
use crate::program::Family;
use crate::publish::Mac;
use crossbeam_channel::Sender;
use std::hash::{BuildHasher, RandomState};

/// Nanoseconds for which a fact is not repeated.
pub const QUIET: u64 = 1_000_000_000;

/// A fact seen by a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Learned {
    /// `put_arp`, `put_nd` (ACT-31).
    Neighbour {
        /// Router.
        datapath: DatapathKey,
        /// Its port.
        port: PortKey,
        /// Which table.
        family: Family,
        /// IPv4 in the low 32 bits.
        address: u128,
        /// What it is bound to.
        mac: Mac,
    },
    /// `put_fdb` (ACT-52).
    Fdb {
        /// Switch.
        datapath: DatapathKey,
        /// Where the address was seen.
        port: PortKey,
        /// The address.
        mac: Mac,
    },
    /// `mac_cache_use` (ACT-34): the source of a packet, by its addresses.
    NeighbourUsed {
        /// Router.
        datapath: DatapathKey,
        /// Its port.
        port: PortKey,
        /// Which table.
        family: Family,
        /// IPv4 in the low 32 bits.
        address: u128,
        /// The MAC address it was seen with.
        mac: Mac,
    },
}

/// The worker's end of the queue.
#[derive(Debug)]
pub struct Learner {
    sender: Sender<Learned>,
    recent: Box<[Option<(Learned, u64)>]>,
    hasher: RandomState,
}

impl Learner {
    /// Reports into `sender`.
    pub fn new(sender: Sender<Learned>) -> Self {
        Self { sender, recent: vec![None; 1024].into(), hasher: RandomState::new() }
    }

    /// Reports a fact, unless it was reported just before.
    pub fn report(&mut self, now: u64, fact: Learned, counters: &WorkerCounters) {
        let index = self.hasher.hash_one(fact) as usize % self.recent.len();
        let recent = &mut self.recent[index];
        if recent.is_some_and(|(known, at)| known == fact && now.saturating_sub(at) < QUIET) {
            return;
        }
        match self.sender.try_send(fact) {
            Ok(()) => *recent = Some((fact, now)),
            Err(_) => counters.learn_overflows.add(1),
        }
    }
}
