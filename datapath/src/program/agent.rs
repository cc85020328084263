//! What a program asks of the chassis's agent: packets made from a packet, answers to requests, and
//! what it only tells (ACT-22 to ACT-29, ACT-35 to ACT-42, ACT-44, ACT-46 to ACT-49, ACT-59, ACT-61,
//! ACT-63).

use crate::field::Slice;
use crate::key::PortKey;
use std::net::Ipv4Addr;

/// A packet that is made from the one that came, for the block behind the action.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// `arp { … };` (ACT-22): an ARP request for `ip4.dst`; the packet waits for the answer.
    Arp,
    /// `nd_ns { … };` (ACT-23): the same for `ip6.dst`.
    NeighbourSolicitation,
    /// `icmp4 { … };`, `icmp4_error { … };` (ACT-25, ACT-26): destination unreachable unless the
    /// block says otherwise.
    Icmp4 {
        /// About an error of the datapath's own: quotes as much as fits.
        error: bool,
    },
    /// `icmp6 { … };`, `icmp6_error { … };`
    Icmp6 {
        /// As above.
        error: bool,
    },
    /// `tcp_reset { … };` (ACT-27)
    TcpReset,
    /// `sctp_abort { … };` (ACT-27)
    SctpAbort,
    /// `reject { … };` (ACT-28): what the protocol calls for, back to the sender.
    Reject,
}

impl Message {
    /// The action's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::NeighbourSolicitation => "nd_ns",
            Self::Icmp4 { error: false } => "icmp4",
            Self::Icmp4 { error: true } => "icmp4_error",
            Self::Icmp6 { error: false } => "icmp6",
            Self::Icmp6 { error: true } => "icmp6_error",
            Self::TcpReset => "tcp_reset",
            Self::SctpAbort => "sctp_abort",
            Self::Reject => "reject",
        }
    }
}

/// An option of DHCP or of a router advertisement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenOption {
    /// Its number on the wire.
    pub code: u16,
    /// How its values are written there, as the table of options has it.
    pub kind: Box<str>,
    /// Its values.
    pub values: OptionValues,
}

/// Values of an option, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OptionValues {
    /// Integers and addresses, with their masks.
    Numbers(Box<[(u128, Option<u128>)]>),
    /// Texts.
    Texts(Box<[Box<str>]>),
}

/// An operation of the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Agent {
    /// `R = put_dhcp_opts(…);`, `R = put_dhcpv6_opts(…);` (ACT-35, ACT-36): the packet becomes the
    /// answer if it is a request.
    Dhcp {
        /// One bit: whether it was.
        result: Slice,
        /// Of DHCPv6.
        v6: bool,
        /// In order.
        options: Box<[GivenOption]>,
    },
    /// `R = put_nd_ra_opts(…);` (ACT-37): the packet becomes a router advertisement.
    RouterAdvertisement {
        /// One bit.
        result: Slice,
        /// In order.
        options: Box<[GivenOption]>,
    },
    /// `R = dns_lookup(…);` (ACT-40): the packet becomes the answer if a record is known.
    Dns(Slice),
    /// `R = dhcp_relay_req_chk(…);`, `R = dhcp_relay_resp_chk(…);` (ACT-39)
    DhcpRelay {
        /// One bit.
        result: Slice,
        /// Whether it is a response that is checked.
        response: bool,
        /// Address of the relay.
        relay: Ipv4Addr,
        /// Address of the server.
        server: Ipv4Addr,
    },
    /// `handle_dhcpv6_reply;` (ACT-38)
    Dhcpv6Reply,
    /// `igmp;` (ACT-29)
    Igmp,
    /// `handle_bfd_msg();` (ACT-48)
    Bfd,
    /// `handle_svc_check(inport);` (ACT-47): the field that holds the port's key.
    ServiceCheck(Slice),
    /// `bind_vport("port", inport);` (ACT-46): the virtual port is where this packet came from.
    BindVirtual {
        /// The virtual port, if there is one.
        port: Option<PortKey>,
        /// Field that holds its parent's key.
        parent: Slice,
    },
    /// `trigger_event(…);` (ACT-42)
    Event(Box<str>),
    /// `log(…);` (ACT-41)
    Log {
        /// Name of the ACL.
        name: Option<Box<str>>,
        /// `allow`, `drop`, `reject` or `pass`.
        verdict: &'static str,
        /// `alert` to `debug`.
        severity: &'static str,
        /// What limits the log.
        meter: Option<Box<str>>,
    },
    /// `set_meter(rate, burst);` (ACT-44), in kbit/s and kbit.
    Meter {
        /// Rate.
        rate: u64,
        /// Burst; zero if not given.
        burst: u64,
    },
    /// `sample(…);` (ACT-59)
    Sample {
        /// In 1/65536.
        probability: u16,
        /// Who gets the samples.
        collector_set: u32,
    },
    /// `fwd_group(…);` (ACT-49): to one of the ports, chosen by hash.
    ForwardingGroup {
        /// Whether tunnels' states count.
        liveness: bool,
        /// To choose from.
        ports: Box<[PortKey]>,
    },
    /// `flood_remote;` (ACT-61)
    FloodRemote,
    /// `mirror("port");` (ACT-63)
    Mirror(Option<PortKey>),
    /// `icmp4.frag_mtu = …;` and its kin (ACT-65): for the message that is being made.
    ErrorField {
        /// The field.
        name: &'static str,
        /// Its value.
        value: u128,
    },
}

impl Agent {
    /// The action's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dhcp { v6: false, .. } => "put_dhcp_opts",
            Self::Dhcp { v6: true, .. } => "put_dhcpv6_opts",
            Self::RouterAdvertisement { .. } => "put_nd_ra_opts",
            Self::Dns(_) => "dns_lookup",
            Self::DhcpRelay { response: false, .. } => "dhcp_relay_req_chk",
            Self::DhcpRelay { response: true, .. } => "dhcp_relay_resp_chk",
            Self::Dhcpv6Reply => "handle_dhcpv6_reply",
            Self::Igmp => "igmp",
            Self::Bfd => "handle_bfd_msg",
            Self::ServiceCheck(_) => "handle_svc_check",
            Self::BindVirtual { .. } => "bind_vport",
            Self::Event(_) => "trigger_event",
            Self::Log { .. } => "log",
            Self::Meter { .. } => "set_meter",
            Self::Sample { .. } => "sample",
            Self::ForwardingGroup { .. } => "fwd_group",
            Self::FloodRemote => "flood_remote",
            Self::Mirror(_) => "mirror",
            Self::ErrorField { name, .. } => name,
        }
    }
}
