//! Some of a worker's verdicts, copied when control asks.
//!
//! The cache is the worker's own, so the worker looks through it itself, between two batches, and
//! stops at the bound; one that is not asked pays for two loads a batch.

use crate::cache::Key;
use crate::field::{self, Context, Slice};
use crate::key::{FlowId, InterfaceId, TunnelId};
use ovn_xdp_abi::drop::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Verdicts of one worker that are listed at most.
pub const MOST: usize = 4096;

/// A verdict of the cache.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where its packets come from.
    pub from: Origin,
    /// The fields that it is found by: addresses, protocol, ports.
    pub fields: Box<Context>,
    /// Interfaces that its packets are delivered to.
    pub interfaces: Vec<InterfaceId>,
    /// Tunnels that it rests on.
    pub tunnels: Vec<TunnelId>,
    /// Why its packets are dropped, if they are, and by which flow.
    pub drop: Option<(DropReason, FlowId)>,
    /// Whether it holds in the generation that the worker runs.
    pub holds: bool,
}

/// Where packets come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A workload's interface.
    Interface(InterfaceId),
    /// A tunnel: the datapath's key.
    Tunnel(u32),
}

impl Key {
    /// Where the packets come from.
    pub fn from(&self) -> Origin {
        match self.origin >> 64 & 1 {
            1 => Origin::Tunnel((self.origin >> 32) as u32),
            _ => Origin::Interface(InterfaceId(self.origin as u32)),
        }
    }

    /// The fields of the packets that the key holds; others are zero.
    pub fn context(&self) -> Context {
        let mut context = Context::default();
        let slots =
            [field::ETH_DST, field::IP6_SRC, field::IP6_DST, field::IP_PROTO].map(Slice::slot);
        for (slot, word) in slots.into_iter().zip(self.fields) {
            context.slots[slot] = word;
        }
        context
    }
}

/// A question to one worker, and its answer.
#[derive(Default, Debug)]
pub struct Listing {
    asked: AtomicU64,
    answered: AtomicU64,
    answer: Mutex<Vec<Connection>>,
}

impl Listing {
    /// Asks; the worker must be woken after that. The number of the question.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the worker listed, if it has answered this question or a later one.
    pub fn answer(&self, question: u64) -> Option<Vec<Connection>> {
        (self.answered.load(Ordering::Acquire) >= question)
            .then(|| self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The question that waits. For the worker.
    #[inline]
    pub(crate) fn question(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Relaxed);
        (asked != self.answered.load(Ordering::Relaxed)).then_some(asked)
    }

    pub(crate) fn give(&self, question: u64, connections: Vec<Connection>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = connections;
        self.answered.store(question, Ordering::Release);
    }
}
