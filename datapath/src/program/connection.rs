//! What a program asks of the connection tracker (ACT-08 to ACT-18, ACT-50, ACT-51, ACT-57, ACT-58,
//! ACT-60, ACT-62).
//!
//! An operation that sends the packet through the tracker forks it, as OVS's `ct(table=…)` does: one
//! copy goes on at the next table of the same pipeline with `ct_*` filled, the other with what
//! stands behind the operation, as it was. Which number a zone has is known to who runs the program,
//! by the registers of the datapath and of the port; a switch has one zone a port, whichever is named.

use super::Program;
use crate::field::Slice;
use std::net::IpAddr;

/// Which of a datapath's zones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TrackZone {
    /// A router's zone of destination NAT; the port's on a switch.
    Dnat,
    /// A router's zone of source NAT; the port's on a switch.
    Snat,
    /// The zone that a gateway router uses for both.
    Common,
}

/// Which end of the packet is translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Translated {
    /// Address and port of the destination.
    Destination,
    /// Address and port of the source.
    Source,
}

/// What a packet is translated to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatTarget {
    /// The address.
    pub address: IpAddr,
    /// The lowest and highest port to choose from, or none to keep the packet's if possible.
    pub ports: Option<(u16, u16)>,
}

/// Where a load balancer may send a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port, or zero to keep the packet's.
    pub port: u16,
}

/// How a load balancer notes its connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BalanceNote {
    /// In `ct_label.natted` (`ct_lb`).
    Label,
    /// In `ct_mark.natted` (`ct_lb_mark`).
    Mark,
    /// The same, backends of this chassis only (`ct_lb_mark_local`).
    MarkLocal,
}

/// What is noted about source NAT on a balanced connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BalanceSnat {
    /// `skip_snat`
    Skip,
    /// `force_snat`
    Force,
}

/// A field of the connection's original tuple.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OriginalField {
    /// `ct_nw_dst()`
    Ip4Destination,
    /// `ct_ip6_dst()`
    Ip6Destination,
    /// `ct_tp_dst()`
    PortDestination,
    /// `ct_proto()`
    Protocol,
}

/// One end of a connection that a client sticks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port, or zero for any.
    pub port: u16,
}

/// An operation on connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connection {
    /// `ct_next(zone);` (ACT-08): looks the packet up, and goes on at the next table.
    Lookup(TrackZone),
    /// `ct_commit { … };` (ACT-09, ACT-10): commits the packet's connection in the port's or DNAT
    /// zone. `writes` sets bits of ct_mark and ct_label from constants or fields of the packet.
    Commit {
        /// Loads and moves into the two.
        writes: Program,
        /// Bits of ct_mark that they write.
        mark: u32,
        /// Bits of ct_label that they write.
        label: u128,
    },
    /// `ct_commit_to_zone(zone);` (ACT-11): commits, and goes on at the next table.
    CommitToZone(TrackZone),
    /// `ct_commit_nat(zone);` (ACT-12): commits with the translation that is recorded, and goes on.
    CommitNat(TrackZone),
    /// `ct_dnat`, `ct_snat`, and both `_in_czone` (ACT-13 to ACT-15): translates, commits if there is
    /// a target, and goes on at the next table.
    Nat {
        /// Which end.
        end: Translated,
        /// Where.
        zone: TrackZone,
        /// What to, or none to apply what the connection has recorded.
        to: Option<NatTarget>,
    },
    /// `ct_lb_mark(…);` and its kin (ACT-16 to ACT-18): chooses a backend, translates to it and
    /// commits, and goes on at the next table. Without backends it applies what is recorded.
    Balance {
        /// Where the connection is noted.
        note: BalanceNote,
        /// To choose from.
        backends: Box<[Backend]>,
        /// Fields that are hashed; empty means the five-tuple.
        hash_fields: Box<[Slice]>,
        /// What to note about source NAT.
        snat: Option<BalanceSnat>,
    },
    /// `ct_snat_to_vip;` (ACT-51): a backend that talks to itself sees the VIP.
    SnatToVip,
    /// `R = chk_lb_hairpin();`, `R = chk_lb_hairpin_reply();` (ACT-50)
    CheckHairpin {
        /// One bit.
        result: Slice,
        /// Whether it is the backend's answer that is looked for.
        reply: bool,
    },
    /// `R = chk_lb_aff();` (ACT-58)
    CheckAffinity(Slice),
    /// `commit_lb_aff(…);` (ACT-58)
    CommitAffinity {
        /// Where clients connect to.
        vip: Endpoint,
        /// Where this one is sent.
        backend: Endpoint,
        /// IP protocol, if the VIP has a port.
        protocol: Option<u8>,
        /// Seconds without traffic.
        timeout: u16,
    },
    /// `commit_ecmp_nh(…);` (ACT-57): remembers the neighbour that a connection came by.
    CommitEcmp {
        /// Which protocol.
        ipv6: bool,
        /// IP protocol, if given.
        protocol: Option<u8>,
    },
    /// `R = chk_ecmp_nh();`, `R = chk_ecmp_nh_mac();` (ACT-57)
    CheckEcmp {
        /// One bit.
        result: Slice,
        /// Whether the neighbour's MAC address must be the packet's.
        mac: bool,
    },
    /// `R = ct_nw_dst();` and its kin (ACT-60)
    Original {
        /// As wide as the field.
        result: Slice,
        /// Which field.
        field: OriginalField,
    },
    /// `R = ct_state_save();` (ACT-62)
    SaveState(Slice),
}

impl Connection {
    /// The bit that is zero as long as there are no connections, if that is all the operation is.
    pub fn test(&self) -> Option<Slice> {
        match self {
            Self::CheckHairpin { result, .. }
            | Self::CheckAffinity(result)
            | Self::CheckEcmp { result, .. }
            | Self::Original { result, .. }
            | Self::SaveState(result) => Some(*result),
            _ => None,
        }
    }

    /// The action's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lookup(_) => "ct_next",
            Self::Commit { .. } => "ct_commit",
            Self::CommitToZone(_) => "ct_commit_to_zone",
            Self::CommitNat(_) => "ct_commit_nat",
            Self::Nat { end: Translated::Destination, zone: TrackZone::Common, .. } => {
                "ct_dnat_in_czone"
            }
            Self::Nat { end: Translated::Destination, .. } => "ct_dnat",
            Self::Nat { end: Translated::Source, zone: TrackZone::Common, .. } => {
                "ct_snat_in_czone"
            }
            Self::Nat { end: Translated::Source, .. } => "ct_snat",
            Self::Balance { note: BalanceNote::Label, .. } => "ct_lb",
            Self::Balance { note: BalanceNote::Mark, .. } => "ct_lb_mark",
            Self::Balance { note: BalanceNote::MarkLocal, .. } => "ct_lb_mark_local",
            Self::SnatToVip => "ct_snat_to_vip",
            Self::CheckHairpin { reply: false, .. } => "chk_lb_hairpin",
            Self::CheckHairpin { reply: true, .. } => "chk_lb_hairpin_reply",
            Self::CheckAffinity(_) => "chk_lb_aff",
            Self::CommitAffinity { .. } => "commit_lb_aff",
            Self::CommitEcmp { .. } => "commit_ecmp_nh",
            Self::CheckEcmp { mac: false, .. } => "chk_ecmp_nh",
            Self::CheckEcmp { mac: true, .. } => "chk_ecmp_nh_mac",
            Self::Original { field: OriginalField::Ip4Destination, .. } => "ct_nw_dst",
            Self::Original { field: OriginalField::Ip6Destination, .. } => "ct_ip6_dst",
            Self::Original { field: OriginalField::PortDestination, .. } => "ct_tp_dst",
            Self::Original { field: OriginalField::Protocol, .. } => "ct_proto",
            Self::SaveState(_) => "ct_state_save",
        }
    }
}
