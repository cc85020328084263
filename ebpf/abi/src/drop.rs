//! Why a packet went nowhere.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal;)*) => {
        /// Every reason there is to drop a packet. The label is what operators and metrics see.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])* $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A short stable label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// One sentence for the operator's manual.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*),)* }
            }
        }
    };
}

reasons! {
    /// No rule of a logical table matched, or the rule that did says drop.
    LogicalFlow = "logical-flow";
    /// The rule that matched holds an action that this version does not execute.
    NotExecuted = "action-not-executed";
    /// The frame came in on an interface that no logical port owns.
    NoPort = "no-port";
    /// The frame is shorter than its headers say.
    Truncated = "truncated";
    /// A header holds a value that cannot be.
    Malformed = "malformed";
    /// ip.ttl-- met a TTL of 1 or 0.
    TtlExpired = "ttl-expired";
    /// The logical output port exists, but no chassis has it.
    Unbound = "unbound-port";
    /// The logical output port is zero or unknown in its datapath.
    NoOutport = "no-outport";
    /// The packet would leave by the port it came in on.
    Loopback = "loopback";
    /// A packet of a localport, or one marked local only, would leave this chassis.
    LocalOnly = "local-only";
    /// The next hop of the tunnel is not resolved yet.
    NoNextHop = "no-next-hop";
    /// Too big for the tunnel, and no answer could be made of it.
    TooBig = "too-big";
    /// The packet crossed more than 2,048 tables, or its copies together more than 131,072.
    TooManyHops = "too-many-hops";
    /// A Geneve packet from an address that is no chassis.
    UnknownPeer = "unknown-peer";
    /// A Geneve packet with a VNI that is no datapath here.
    UnknownVni = "unknown-vni";
    /// A Geneve packet with a critical option that is not OVN's.
    UnknownOption = "unknown-option";
    /// A Geneve packet without OVN's option, or with keys that cannot be.
    BadTunnelKey = "bad-tunnel-key";
    /// A Geneve packet marked as control (the O bit): it is for the tunnel's end, not for a workload.
    TunnelControl = "tunnel-control";
    /// A tunnel packet marked as having met congestion, whose inner packet cannot carry the mark.
    Ecn = "ecn";
    /// The outer checksum is wrong.
    BadChecksum = "bad-checksum";
    /// No frame was free to copy or send with.
    NoBuffer = "no-buffer";
    /// An invariant of ours was broken: a defect, please report it.
    Internal = "internal";
}
