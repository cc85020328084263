//! The actions of a logical flow (ACT-01 to ACT-65), as a tree.
//!
//! Names of ports stay names: who lowers the tree to a program resolves them for one datapath
//! (ACT-P6). Fields are [`FieldRef`]s, whose slices are those of the packet's context. Every
//! action adds prerequisites to its flow's match (ACT-P2); [`parse_actions`] returns them as one
//! expression, to be ANDed to the match before that is annotated.

mod balance;
mod connection;
mod context;
mod control;
mod function;
mod neighbour;
mod nested;
mod observe;
mod option;
mod print;
mod responder;

pub use balance::{AffinityAddress, Backend, BalanceKind, SnatFlag};
pub use connection::{CommitValue, NatKind, PortRange, Zone};
pub use context::{OptionKind, OptionTable, Parameters, Position, parse_actions};
pub use function::Function;
pub use nested::NestedKind;
pub use observe::{ObservationPoint, Severity, Verdict};
pub use option::{GivenOption, OptionValue};

use crate::constant::Number;
use crate::expr::Expr;
use crate::field::FieldRef;
use ovn_xdp_datapath::program::{Family, Pipeline};
use std::net::{IpAddr, Ipv4Addr};

/// The actions of a flow and what they need of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actions {
    /// In order; empty for `drop;`.
    pub list: Vec<Action>,
    /// What must hold for them to make sense, annotated or not (ACT-P2).
    pub prerequisites: Option<Expr>,
}

/// One action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `output;` (ACT-01)
    Output,
    /// `next(pipeline=P, table=T);` (ACT-02)
    Next {
        /// Where to go on.
        pipeline: Pipeline,
        /// Where to go on.
        table: u8,
        /// Where the flow is.
        from: Position,
    },
    /// `f = constant;` (ACT-03)
    Load {
        /// Written; only under the constant's mask if it has one.
        to: FieldRef,
        /// Fits the field.
        value: Number,
    },
    /// `outport = "port";` (ACT-03): a field that holds a port gets the key of one.
    LoadPort {
        /// Written.
        to: FieldRef,
        /// A port or multicast group; `"none"` and those unknown are key 0 (ACT-P6).
        port: Box<str>,
    },
    /// `icmp4.frag_mtu = 1500;` (ACT-65): for the agent that sends the message.
    LoadErrorMessage {
        /// Written.
        to: FieldRef,
        /// Fits the field.
        value: Number,
    },
    /// `f = g;` (ACT-04), both of one width or both ports.
    Move {
        /// Written.
        to: FieldRef,
        /// Read.
        from: FieldRef,
    },
    /// `f <-> g;` (ACT-05), both of one width or both ports.
    Exchange(FieldRef, FieldRef),
    /// `push(f);` (ACT-06)
    Push(FieldRef),
    /// `pop(f);` (ACT-06)
    Pop(FieldRef),
    /// `ip.ttl--;` (ACT-07)
    DecrementTtl,
    /// `ct_next;`, `ct_next(dnat);` (ACT-08)
    CtNext(Zone),
    /// `ct_commit { … };`, `ct_commit;` (ACT-09): the block writes ct_mark and ct_label.
    CtCommit(Vec<Action>),
    /// `ct_commit(ct_mark=…, ct_label=…);` (ACT-10)
    CtCommitV1 {
        /// ct_mark under its mask.
        mark: Option<CommitValue>,
        /// ct_label under its mask.
        label: Option<CommitValue>,
    },
    /// `ct_commit_to_zone(dnat);` (ACT-11)
    CtCommitToZone(Zone),
    /// `ct_commit_nat;` (ACT-12)
    CtCommitNat(Zone),
    /// `ct_dnat`, `ct_snat`, `ct_dnat_in_czone`, `ct_snat_in_czone` (ACT-13 to ACT-15)
    CtNat {
        /// Which of the four.
        kind: NatKind,
        /// The new address, or `None` to apply what the connection has recorded.
        address: Option<IpAddr>,
        /// The new port, chosen at random from a range.
        ports: Option<PortRange>,
    },
    /// `ct_lb_mark`, `ct_lb`, `ct_lb_mark_local` (ACT-16 to ACT-18)
    CtLb {
        /// Which of the three.
        kind: BalanceKind,
        /// One is chosen; none means to apply what the connection has recorded.
        backends: Vec<Backend>,
        /// Names of OpenFlow fields to hash, as written.
        hash_fields: Option<Box<str>>,
        /// What to note on the connection.
        snat: Option<SnatFlag>,
    },
    /// `R = select(1=50, 2=50);` (ACT-19)
    Select {
        /// Gets the number of the member chosen; at least 16 bits.
        to: FieldRef,
        /// Number and weight, at least two.
        members: Vec<(u16, u16)>,
        /// Names of OpenFlow fields to hash, as written.
        hash_fields: Option<Box<str>>,
    },
    /// `ct_clear;` (ACT-20)
    CtClear,
    /// An action that runs others on a packet made from this one (ACT-21 to ACT-28).
    Nested {
        /// How the packet is made.
        kind: NestedKind,
        /// What to do with it.
        actions: Vec<Action>,
    },
    /// `igmp;` (ACT-29)
    Igmp,
    /// `get_arp(P, A);`, `get_nd(P, A);` (ACT-30)
    GetNeighbour {
        /// Which protocol.
        family: Family,
        /// Port.
        port: FieldRef,
        /// Address.
        address: FieldRef,
    },
    /// `put_arp(P, A, E);`, `put_nd(P, A, E);` (ACT-31)
    PutNeighbour {
        /// Which protocol.
        family: Family,
        /// Port.
        port: FieldRef,
        /// Address.
        address: FieldRef,
        /// MAC address.
        mac: FieldRef,
    },
    /// `R = lookup_arp(P, A, M);`, `R = lookup_arp_ip(P, A);` and the same for ND (ACT-32, ACT-33)
    LookupNeighbour {
        /// Which protocol.
        family: Family,
        /// One bit.
        to: FieldRef,
        /// Port.
        port: FieldRef,
        /// Address.
        address: FieldRef,
        /// MAC address, if it counts.
        mac: Option<FieldRef>,
    },
    /// `mac_cache_use;` (ACT-34)
    MacCacheUse,
    /// `R = put_dhcp_opts(…);` (ACT-35)
    PutDhcpOpts {
        /// One bit.
        to: FieldRef,
        /// Among them offerip.
        options: Vec<GivenOption>,
    },
    /// `R = put_dhcpv6_opts(…);` (ACT-36)
    PutDhcpv6Opts {
        /// One bit.
        to: FieldRef,
        /// In order.
        options: Vec<GivenOption>,
    },
    /// `R = put_nd_ra_opts(…);` (ACT-37)
    PutNdRaOpts {
        /// One bit.
        to: FieldRef,
        /// Among them slla, and prefix unless stateful.
        options: Vec<GivenOption>,
    },
    /// `handle_dhcpv6_reply;` (ACT-38)
    HandleDhcpv6Reply,
    /// `R = dhcp_relay_req_chk(relay, server);`, `R = dhcp_relay_resp_chk(…);` (ACT-39)
    DhcpRelayCheck {
        /// Whether it is a response that is checked.
        response: bool,
        /// One bit.
        to: FieldRef,
        /// Address of the relay.
        relay: Ipv4Addr,
        /// Address of the server.
        server: Ipv4Addr,
    },
    /// `R = dns_lookup();` (ACT-40)
    DnsLookup {
        /// One bit.
        to: FieldRef,
    },
    /// `log(…);` (ACT-41)
    Log {
        /// Name of the ACL.
        name: Option<Box<str>>,
        /// What becomes of the packet.
        verdict: Verdict,
        /// How bad that is.
        severity: Severity,
        /// What limits the log.
        meter: Option<Box<str>>,
    },
    /// `trigger_event(event = "empty_lb_backends", …);` (ACT-42)
    TriggerEvent {
        /// The only event there is.
        event: Box<str>,
        /// What goes with it.
        options: Vec<GivenOption>,
    },
    /// `set_queue(n);` (ACT-43)
    SetQueue(u16),
    /// `set_meter(rate, burst);` (ACT-44)
    SetMeter {
        /// In kbit/s.
        rate: u64,
        /// In kbit; 0 if not given.
        burst: u64,
    },
    /// `R = check_pkt_larger(L);` (ACT-45)
    CheckPacketLarger {
        /// One bit.
        to: FieldRef,
        /// In bytes, the Ethernet header included.
        limit: u32,
    },
    /// `bind_vport("port", inport);` (ACT-46)
    BindVport {
        /// The virtual port.
        port: Box<str>,
        /// Holds its parent.
        parent: FieldRef,
    },
    /// `handle_svc_check(inport);` (ACT-47)
    HandleServiceCheck(FieldRef),
    /// `handle_bfd_msg();` (ACT-48)
    HandleBfd,
    /// `fwd_group(liveness="true", childports="a", "b");` (ACT-49)
    ForwardingGroup {
        /// Whether tunnels' states count.
        liveness: bool,
        /// Names of ports.
        ports: Vec<Box<str>>,
    },
    /// `R = f();` for a function of the packet and its connection alone (ACT-50, ACT-56 to
    /// ACT-58, ACT-60, ACT-62)
    Result {
        /// As wide as the result.
        to: FieldRef,
        /// Which.
        function: Function,
    },
    /// `ct_snat_to_vip;` (ACT-51)
    CtSnatToVip,
    /// `put_fdb(P, E);` (ACT-52)
    PutFdb {
        /// Port.
        port: FieldRef,
        /// MAC address.
        mac: FieldRef,
    },
    /// `R = get_fdb(E);` (ACT-53), `R = get_remote_fdb(E);` (ACT-55)
    GetFdb {
        /// Whether of other chassis.
        remote: bool,
        /// A port or 32 bits.
        to: FieldRef,
        /// MAC address.
        mac: FieldRef,
    },
    /// `R = lookup_fdb(P, E);` (ACT-54)
    LookupFdb {
        /// One bit.
        to: FieldRef,
        /// Port.
        port: FieldRef,
        /// MAC address.
        mac: FieldRef,
    },
    /// `commit_ecmp_nh(ipv6 = true, proto = tcp);` (ACT-57)
    CommitEcmpNh {
        /// Which protocol.
        ipv6: bool,
        /// IP protocol.
        protocol: u8,
    },
    /// `commit_lb_aff(…);` (ACT-58)
    CommitLbAffinity {
        /// Where clients connect to.
        vip: AffinityAddress,
        /// Where they go.
        backend: AffinityAddress,
        /// IP protocol, if the VIP has a port.
        protocol: Option<u8>,
        /// In seconds without traffic.
        timeout: u16,
    },
    /// `sample(…);` (ACT-59)
    Sample {
        /// In 1/65536.
        probability: u16,
        /// Who gets the samples.
        collector_set: u32,
        /// Upper 8 bits of the observation domain.
        obs_domain: u8,
        /// Where the sample was taken.
        obs_point: ObservationPoint,
    },
    /// `flood_remote;` (ACT-61)
    FloodRemote,
    /// `mirror("port");` (ACT-63)
    Mirror(Box<str>),
    /// `R = chk_evpn_arp(A);` (ACT-64)
    CheckEvpnArp {
        /// One bit.
        to: FieldRef,
        /// IPv4 or IPv6 address.
        address: FieldRef,
    },
}
