//! The program that a logical flow's actions are compiled to.
//!
//! Names (ports, groups) are resolved before: a program belongs to one datapath. Everything a
//! program can do is one of [`Op`]. What connections and the agent have to do is said by
//! [`Op::Connection`], [`Op::Message`] and [`Op::Agent`]; what comes of it is a matter of the walk's
//! surroundings, and where those execute nothing the packet is dropped under its own reason.

mod agent;
mod connection;

pub use agent::{Agent, GivenOption, Message, OptionValues};
pub use connection::{
    Backend, BalanceNote, BalanceSnat, Connection, Endpoint, NatTarget, OriginalField, TrackZone,
    Translated,
};

use crate::classify::Masked;
use crate::field::Slice;
use crate::key::PortKey;
use std::fmt;
use std::ops::Deref;
use triomphe::ThinArc;

/// Actions of one logical flow, in order. Ends by falling off the end, which drops the packet
/// unless `Output` or `Next` took it before.
///
/// A pointer to one allocation, so that rules with equal actions share it and an operation that
/// has a block of its own stays small.
#[derive(Clone, PartialEq, Eq)]
pub struct Program(ThinArc<(), Op>);

impl Program {
    /// Bytes that it takes, but for what its operations point to.
    pub fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        COUNTS + size_of_val(&**self)
    }

    /// Where it is, to count shared ones once.
    pub fn address(&self) -> *const Op {
        self.as_ptr()
    }
}

impl Deref for Program {
    type Target = [Op];

    #[inline]
    fn deref(&self) -> &[Op] {
        &self.0.slice
    }
}

impl<T: Into<Vec<Op>>> From<T> for Program {
    fn from(ops: T) -> Self {
        let ops: Vec<Op> = ops.into();
        Self(ThinArc::from_header_and_iter((), ops.into_iter()))
    }
}

impl FromIterator<Op> for Program {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        ops.into_iter().collect::<Vec<_>>().into()
    }
}

impl Default for Program {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Ingress or egress pipeline of a datapath.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pipeline {
    /// `Logical_Flow.pipeline = "ingress"`.
    Ingress,
    /// `Logical_Flow.pipeline = "egress"`.
    Egress,
}

/// Which protocol's neighbour table: MAC_Binding holds both families.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// ARP.
    V4,
    /// Neighbour discovery.
    V6,
}

/// One step, in two words: most of what a chassis holds are these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// `output;` (ACT-01): from ingress to the output decision, from egress to the port.
    Output,
    /// `next(pipeline=P, table=T);` (ACT-02).
    Next(Pipeline, u8),
    /// `f = constant;` (ACT-03); [`Op::load`] makes this or the next.
    Load(Slice, u64),
    /// The same with a constant that is wider.
    LoadWide(Slice, Box<u128>),
    /// Only the bits under a mask.
    LoadMasked(Slice, Box<Masked>),
    /// `destination = source;` (ACT-04), both of one width.
    Move {
        /// Written.
        to: Slice,
        /// Read.
        from: Slice,
    },
    /// `f <-> g;` (ACT-05), both of one width.
    Exchange(Slice, Slice),
    /// `push(f);` (ACT-06).
    Push(Slice),
    /// `pop(f);`: the top of the stack, truncated or zero-extended.
    Pop(Slice),
    /// `ip.ttl--;` (ACT-07): a packet whose TTL was 1 or 0 ends here.
    DecrementTtl,
    /// `clone { … };` (ACT-21): runs on a copy.
    Clone(Program),
    /// `ct_clear;` (ACT-20).
    CtClear,
    /// `R = check_in_port_sec();` (ACT-56).
    CheckInPortSecurity(Slice),
    /// `R = check_out_port_sec();`.
    CheckOutPortSecurity(Slice),
    /// `get_arp(P, A);`, `get_nd(P, A);` (ACT-30): eth.dst, or zero when unknown.
    GetNeighbour {
        /// Which table.
        family: Family,
        /// Field that holds the port key.
        port: Slice,
        /// Field that holds the address.
        address: Slice,
    },
    /// `put_arp(P, A, E);`, `put_nd(P, A, E);` (ACT-31).
    PutNeighbour {
        /// Which table.
        family: Family,
        /// Field that holds the port key.
        port: Slice,
        /// Field that holds the address.
        address: Slice,
        /// Field that holds the MAC address.
        mac: Slice,
    },
    /// `R = lookup_arp(P, A, M);`, `R = lookup_nd(P, A, M);`, and without `mac` `R =
    /// lookup_arp_ip(P, A);`, `R = lookup_nd_ip(P, A);` (ACT-32, ACT-33).
    LookupNeighbour {
        /// Which table.
        family: Family,
        /// One bit.
        result: Slice,
        /// Field that holds the port key.
        port: Slice,
        /// Field that holds the address.
        address: Slice,
        /// Field that holds the MAC address that must be bound to it.
        mac: Option<Slice>,
    },
    /// `mac_cache_use;` (ACT-34).
    MacCacheUse,
    /// `put_fdb(P, A);` (ACT-52).
    PutFdb {
        /// Field that holds the port key.
        port: Slice,
        /// Field that holds the MAC address.
        mac: Slice,
    },
    /// `R = get_fdb(A);` (ACT-53): the port key, or zero when unknown.
    GetFdb {
        /// Port key.
        result: Slice,
        /// Field that holds the MAC address.
        mac: Slice,
    },
    /// `R = lookup_fdb(P, A);` (ACT-54).
    LookupFdb {
        /// One bit.
        result: Slice,
        /// Field that holds the port key.
        port: Slice,
        /// Field that holds the MAC address.
        mac: Slice,
    },
    /// `nd_na { … };`, `nd_na_router { … };` (ACT-24): answers in place, then runs the block.
    NeighbourAdvertisement {
        /// Sets the router flag.
        router: bool,
        /// What to do with the answer.
        then: Program,
    },
    /// `R = select(…);` (ACT-19): a weighted choice by hash, with which the packet goes on at the
    /// next table.
    Select(Box<Select>),
    /// `R = check_pkt_larger(L);` (ACT-45): the frame with its Ethernet header is longer.
    CheckPacketLarger {
        /// One bit.
        result: Slice,
        /// Bytes.
        limit: u16,
    },
    /// `set_queue(n);` (ACT-43).
    SetQueue(u16),
    /// `R = get_remote_fdb(…);` and others that look for what this version never has: zero.
    Zero(Slice),
    /// What is for the connection tracker.
    Connection(Box<Connection>),
    /// `arp { … };` and others (ACT-22 to ACT-28): runs the block on a packet made from this one.
    Message {
        /// What is made.
        kind: Message,
        /// What to do with it.
        then: Program,
    },
    /// What is for the chassis's agent.
    Agent(Box<Agent>),
}

/// A choice by hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    /// Written with the identifier of the member chosen.
    pub result: Slice,
    /// `(identifier, weight)`.
    pub members: Box<[(u16, u16)]>,
    /// Fields that are hashed; empty means the five-tuple.
    pub hash_fields: Box<[Slice]>,
}

impl Op {
    /// `f = constant;`
    pub fn load(to: Slice, value: u128) -> Self {
        match u64::try_from(value) {
            Ok(value) => Self::Load(to, value),
            Err(_) => Self::LoadWide(to, Box::new(value)),
        }
    }
}

/// The key of the port a program names, or zero for one that does not exist (ACT-P6).
pub fn port_operand(key: Option<PortKey>) -> u128 {
    key.map_or(0, |key| u128::from(key.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_takes_two_words() {
        assert_eq!(size_of::<Op>(), 16);
    }
}
