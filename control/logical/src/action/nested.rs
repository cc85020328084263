//! Actions with a block: they run others on a packet made from the flow's (ACT-21 to ACT-28).

/// How an action with a block makes its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NestedKind {
    /// `clone { … };` (ACT-21): a copy.
    Clone,
    /// `arp { … };` (ACT-22): an ARP request.
    Arp,
    /// `nd_ns { … };` (ACT-23): a neighbour solicitation.
    NdNs,
    /// `nd_na { … };` (ACT-24): a neighbour advertisement.
    NdNa,
    /// `nd_na_router { … };` (ACT-24): one with the router flag.
    NdNaRouter,
    /// `icmp4 { … };` (ACT-25)
    Icmp4,
    /// `icmp4_error { … };` (ACT-26)
    Icmp4Error,
    /// `icmp6 { … };` (ACT-25)
    Icmp6,
    /// `icmp6_error { … };` (ACT-26)
    Icmp6Error,
    /// `tcp_reset { … };` (ACT-27)
    TcpReset,
    /// `sctp_abort { … };` (ACT-27)
    SctpAbort,
    /// `reject { … };` (ACT-28): what the protocol calls for.
    Reject,
}

impl NestedKind {
    const ALL: [Self; 12] = [
        Self::Clone,
        Self::Arp,
        Self::NdNs,
        Self::NdNa,
        Self::NdNaRouter,
        Self::Icmp4,
        Self::Icmp4Error,
        Self::Icmp6,
        Self::Icmp6Error,
        Self::TcpReset,
        Self::SctpAbort,
        Self::Reject,
    ];

    /// The action's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Arp => "arp",
            Self::NdNs => "nd_ns",
            Self::NdNa => "nd_na",
            Self::NdNaRouter => "nd_na_router",
            Self::Icmp4 => "icmp4",
            Self::Icmp4Error => "icmp4_error",
            Self::Icmp6 => "icmp6",
            Self::Icmp6Error => "icmp6_error",
            Self::TcpReset => "tcp_reset",
            Self::SctpAbort => "sctp_abort",
            Self::Reject => "reject",
        }
    }

    /// What the packet must be. Without one, the block's own prerequisites count.
    pub(super) const fn prerequisite(self) -> Option<&'static str> {
        match self {
            Self::Clone | Self::Reject => None,
            Self::Arp | Self::NdNs => Some("ip"),
            Self::NdNa | Self::NdNaRouter => Some("nd_ns"),
            Self::Icmp4 | Self::Icmp4Error => Some("ip4"),
            Self::Icmp6 | Self::Icmp6Error => Some("ip6"),
            Self::TcpReset => Some("tcp"),
            Self::SctpAbort => Some("sctp"),
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
