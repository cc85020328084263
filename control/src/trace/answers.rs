//! What a packet meets in a trace: connections, backends, DHCP and the like, as `ovn-trace` assumes
//! them. Nothing is looked up in any chassis.

use super::script::state;
use super::security;
use super::text;
use super::tracer::Tracer;
use super::tree::Kind;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_compile::southbound::{LoadBalancer, Record as _};
use ovn_xdp_datapath::counters::PortCounters;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::key::{DatapathKey, FlowId, PortKey};
use ovn_xdp_datapath::parse::{ethertype, protocol};
use ovn_xdp_datapath::pipeline::{Outcome, Surroundings};
use ovn_xdp_datapath::program::{
    Agent, Backend, BalanceNote, Connection, Message, NatTarget, OriginalField, TrackZone,
    Translated,
};
use ovn_xdp_datapath::publish::{Datapath, Port};
use ovn_xdp_datapath::verdict::Drop;
use ovn_xdp_logical::action::Action;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// RST of tcp.flags.
const RESET: u128 = 1 << 2;

impl Surroundings for &Tracer<'_> {
    const WHOLE: bool = true;

    fn port(&mut self, _id: (DatapathKey, PortKey)) -> Arc<PortCounters> {
        Arc::default()
    }

    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<Drop> {
        Arc::new(Drop { reason, flow, frames: Arc::default() })
    }

    fn may_send_error(&mut self) -> bool {
        false
    }

    fn connection(
        &mut self,
        operation: &Connection,
        datapath: &Datapath,
        packet: &mut Context,
    ) -> Outcome {
        let before = packet.clone();
        let outcome = match operation {
            Connection::Lookup(_) => self.look_up(packet),
            Connection::Commit { .. }
            | Connection::CommitAffinity { .. }
            | Connection::CommitEcmp { .. }
            | Connection::CheckAffinity(_)
            | Connection::CheckEcmp { .. } => Outcome::Done,
            Connection::Original { result, field } => {
                // What it was sent to is assumed to be what it is sent to now, but for its address.
                let from = match field {
                    OriginalField::PortDestination => Some(field::TP_DST),
                    OriginalField::Protocol => Some(field::IP_PROTO),
                    OriginalField::Ip4Destination | OriginalField::Ip6Destination => None,
                };
                if let Some(from) = from {
                    let value = packet.get(from);
                    packet.set(*result, value);
                    self.say_result(Kind::Modify, |to| format!("{to} = {value}"));
                }
                Outcome::Done
            }
            Connection::CommitNat(_) => {
                self.commit(packet, "ct_commit_nat /* assuming no un-nat entry, so no change */")
            }
            Connection::CommitToZone(zone) => {
                let zone = if *zone == TrackZone::Snat { "snat" } else { "dnat" };
                self.commit(packet, &format!("ct_commit_to_zone({zone})"))
            }
            Connection::Nat { end, zone, to } => {
                if *end == Translated::Source && to.is_none() && self.has_gateway(datapath) {
                    return Outcome::Done;
                }
                self.translate(*end, *zone, to.as_ref(), packet)
            }
            Connection::Balance { note, backends, .. } => self.balance(*note, backends, packet),
            Connection::CheckHairpin { result, reply } => {
                let found = u128::from(self.is_hairpin(*reply, packet));
                packet.set(*result, found);
                self.say_result(Kind::Modify, |to| format!("{to} = {found}"));
                Outcome::Done
            }
            Connection::SnatToVip => {
                let tuple = (packet.get(field::CT_IP_DST), packet.get(field::CT_TP_DST));
                if let Some((_, port, vip)) = self.vip(packet)
                    && u128::from(port) == tuple.1
                {
                    let text = format!("/* nat(src={vip}) */");
                    self.record.borrow_mut().add(Kind::Action, text);
                }
                Outcome::Done
            }
            Connection::SaveState(result) => {
                let state = packet.get(field::CT_STATE) & 0xff;
                let state = if state & state::TRACKED == 0 { 0 } else { state };
                packet.set(*result, state);
                self.say_result(Kind::Action, |to| format!("/* {to} = {state}; */"));
                Outcome::Done
            }
        };
        if self.zones && outcome == Outcome::Forks {
            keep_tuple(&before, packet);
        }
        outcome
    }

    fn message(&mut self, message: Message, packet: &mut Context) -> Outcome {
        let v4 = packet.get(field::ETH_TYPE) as u16 == ethertype::IPV4;
        let (title, back) = match message {
            Message::Arp => {
                request(packet);
                ("arp", false)
            }
            Message::NeighbourSolicitation => {
                solicit(packet);
                ("nd_ns", false)
            }
            Message::Icmp4 { .. } => ("icmp4", false),
            Message::Icmp6 { .. } => ("icmp6", false),
            Message::TcpReset => ("tcp_reset", false),
            Message::SctpAbort => ("sctp_abort", false),
            Message::Reject => match packet.get(field::IP_PROTO) as u8 {
                protocol::TCP => ("tcp_reset", true),
                protocol::SCTP => ("sctp_abort", true),
                _ if v4 => ("icmp4", true),
                _ => ("icmp6", true),
            },
        };
        let unreachable = match title {
            "icmp4" => Some((protocol::ICMP, 3)),
            "icmp6" => Some((protocol::ICMPV6, 1)),
            _ => None,
        };
        // An answer to an answer would go on for ever.
        let again = match unreachable {
            Some((_, kind)) => packet.get(field::TP_SRC) == kind,
            None => packet.get(field::TCP_FLAGS) == RESET,
        };
        if back && again {
            return Outcome::Done;
        }
        if back {
            turn(packet);
        }
        if let Some((number, kind)) = unreachable {
            packet.set(field::IP_PROTO, number.into());
            packet.set(field::IP_TTL, 255);
            packet.set(field::TP_SRC, kind);
            packet.set(field::TP_DST, 1);
        } else if matches!(title, "tcp_reset" | "sctp_abort") {
            let number = if title == "sctp_abort" && v4 { protocol::SCTP } else { protocol::TCP };
            packet.set(field::IP_PROTO, number.into());
            packet.set(field::IP_TTL, 255);
            packet.set(field::TCP_FLAGS, RESET);
        }
        let mut record = self.record.borrow_mut();
        let place = Tracer::block(&mut record, title);
        record.forked = Some(place);
        Outcome::Forks
    }

    fn agent(&mut self, operation: &Agent, _datapath: &Datapath, packet: &mut Context) -> Outcome {
        match operation {
            Agent::Dhcp { result, v6, .. } => {
                let mut record = self.record.borrow_mut();
                record.add(Kind::Error, ASSUMED_REQUEST);
                drop(record);
                self.put(if *v6 { "put_dhcpv6_opts" } else { "put_dhcp_opts" });
                packet.set(*result, 1);
            }
            Agent::RouterAdvertisement { result, .. } => {
                self.put("put_nd_ra_opts");
                packet.set(*result, 1);
            }
            Agent::DhcpRelay { result, response: false, .. } => {
                self.record.borrow_mut().add(Kind::Error, ASSUMED_REQUEST);
                self.say_visible();
                packet.set(*result, 1);
            }
            Agent::DhcpRelay { result, response: true, .. } => {
                self.record.borrow_mut().add(Kind::Error, ASSUMED_RESPONSE);
                packet.set(field::IP4_DST, u128::from(u32::MAX));
                packet.set(field::ETH_DST, field::ETH_DST.ones());
                self.say_visible();
                packet.set(*result, 1);
            }
            Agent::Dns(result) => {
                packet.set(*result, 0);
                let text = "*** dns_lookup action not implemented";
                self.record.borrow_mut().add(Kind::Error, text);
            }
            Agent::Log { name, verdict, severity, .. } => {
                let mut record = self.record.borrow_mut();
                let name = name.as_deref().unwrap_or("<unnamed>");
                let direction = record.direction;
                let packet = text::packet(packet);
                let text = format!(
                    "LOG: ACL name={name}, direction={direction}, verdict={verdict}, \
                     severity={severity}, packet=\"{packet}\""
                );
                record.add(Kind::Transformation, text);
            }
            Agent::ErrorField { name, value } => {
                // Both fields are shown as sixteen bits.
                let text = format!("{name} = {}", value & 0xffff);
                self.record.borrow_mut().add(Kind::Modify, text);
            }
            Agent::Dhcpv6Reply
            | Agent::Igmp
            | Agent::Bfd
            | Agent::ServiceCheck(_)
            | Agent::BindVirtual { .. }
            | Agent::Event(_)
            | Agent::Meter { .. }
            | Agent::Sample { .. }
            | Agent::ForwardingGroup { .. }
            | Agent::FloodRemote => {}
            Agent::Mirror(Some(port)) => {
                let mut record = self.record.borrow_mut();
                let node = record.add(Kind::Transformation, "clone");
                record.forked_at(node);
                packet.set(field::INPORT, 0);
                packet.set(field::OUTPORT, port.get().into());
                return Outcome::Forks;
            }
            Agent::Mirror(None) => {
                let text = "/* omitting output because no taget port found. */";
                self.record.borrow_mut().add(Kind::Error, text);
            }
        }
        Outcome::Done
    }

    fn select(&mut self, members: &[(u16, u16)]) -> Option<u16> {
        let mut record = self.record.borrow_mut();
        let wanted = record.script.member;
        let given = wanted.filter(|wanted| members.iter().any(|(member, _)| member == wanted));
        let chosen = match given {
            Some(member) => member,
            None => members[record.script.any_below(members.len())].0,
        };
        let said = if given.is_some() {
            ""
        } else {
            " /* Randomly selected. Use --select-id to specify. */"
        };
        let Some(Action::Select { to, .. }) = record.action() else { return Some(chosen) };
        let text = format!("select: {to} = {chosen}{said}");
        let node = record.add(Kind::Transformation, text);
        record.forked_at(node);
        Some(chosen)
    }

    fn may_send(&mut self, port: &Port, packet: &Context) -> bool {
        security::may_send(port, packet)
    }

    fn may_receive(&mut self, port: &Port, packet: &Context) -> bool {
        security::may_receive(port, packet)
    }
}

/// What a packet was before it was tracked becomes the tuple of its connection.
fn keep_tuple(before: &Context, packet: &mut Context) {
    let addresses = match before.get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 => Some((field::IP4_SRC, field::IP4_DST)),
        ethertype::IPV6 => Some((field::IP6_SRC, field::IP6_DST)),
        _ => None,
    };
    if let Some((source, destination)) = addresses {
        packet.set(field::CT_IP_SRC, before.get(source));
        packet.set(field::CT_IP_DST, before.get(destination));
    }
    packet.set(field::CT_PROTO, before.get(field::IP_PROTO));
    packet.set(field::CT_TP_SRC, before.get(field::TP_SRC));
    packet.set(field::CT_TP_DST, before.get(field::TP_DST));
}

/// What a packet meets on a chassis: what it meets in a worker, but for what the options say of
/// connections, backends and members of `select`.
#[derive(Debug)]
pub struct Worker<'t, 'a>(pub &'t Tracer<'a>);

impl Surroundings for Worker<'_, '_> {
    fn port(&mut self, id: (DatapathKey, PortKey)) -> Arc<PortCounters> {
        self.0.port(id)
    }

    fn dropped(&mut self, reason: DropReason, flow: FlowId) -> Arc<Drop> {
        self.0.dropped(reason, flow)
    }

    fn may_send_error(&mut self) -> bool {
        true
    }

    fn connection(
        &mut self,
        operation: &Connection,
        datapath: &Datapath,
        packet: &mut Context,
    ) -> Outcome {
        let told = self.0.record.borrow().script.told;
        if told { self.0.connection(operation, datapath, packet) } else { Outcome::NotExecuted }
    }

    fn select(&mut self, members: &[(u16, u16)]) -> Option<u16> {
        let told = self.0.record.borrow().script.member.is_some();
        if told { self.0.select(members) } else { None }
    }
}

const ASSUMED_REQUEST: &str = "/* We assume that this packet is DHCPDISCOVER or DHCPREQUEST. */";

const ASSUMED_RESPONSE: &str = "/* We assume that this packet is DHCPOFFER or DHCPACK and DHCP \
    broadcast flag is set. Dest IP is set to broadcast. Dest MAC is set to broadcast but in real \
    network this is unicast which is extracted from DHCP header. */";

impl Tracer<'_> {
    fn look_up(&self, packet: &mut Context) -> Outcome {
        let mut record = self.record.borrow_mut();
        let (state, said) = record.script.next_state();
        let text = format!("ct_next(ct_state={}{said})", text::ct_state(state));
        let node = record.add(Kind::Transformation, text);
        record.forked_at(node);
        packet.set(field::CT_STATE, state);
        Outcome::Forks
    }

    /// Looks the packet up if nobody has yet, and goes on.
    fn commit(&self, packet: &mut Context, title: &str) -> Outcome {
        let mut record = self.record.borrow_mut();
        let mut title = title.to_owned();
        let state = packet.get(field::CT_STATE);
        if state & state::TRACKED == 0 {
            let (next, said) = record.script.next_state();
            title.push_str(said);
            packet.set(field::CT_STATE, state | next);
        }
        let node = record.add(Kind::Transformation, title);
        record.forked_at(node);
        Outcome::Forks
    }

    fn translate(
        &self,
        end: Translated,
        zone: TrackZone,
        to: Option<&NatTarget>,
        packet: &mut Context,
    ) -> Outcome {
        let (letter, direction, bit) = match end {
            Translated::Destination => ('d', "dst", state::DESTINATION_NAT),
            Translated::Source => ('s', "src", state::SOURCE_NAT),
        };
        let common = if zone == TrackZone::Common { "in_czone" } else { "" };
        let mut title = format!("ct_{letter}nat{common}");
        match to.map(|to| to.address) {
            Some(address) => {
                let family = if address.is_ipv4() { "ip4" } else { "ip6" };
                title.push_str(&format!("({family}.{direction}={address})"));
                let (field, value) = match (end, address) {
                    (Translated::Destination, IpAddr::V4(ip)) => {
                        (field::IP4_DST, u32::from(ip).into())
                    }
                    (Translated::Source, IpAddr::V4(ip)) => (field::IP4_SRC, u32::from(ip).into()),
                    (Translated::Destination, IpAddr::V6(ip)) => (field::IP6_DST, u128::from(ip)),
                    (Translated::Source, IpAddr::V6(ip)) => (field::IP6_SRC, u128::from(ip)),
                };
                packet.set(field, value);
                packet.set(field::CT_STATE, packet.get(field::CT_STATE) | bit);
            }
            None => {
                title.push_str(&format!(" /* assuming no un-{letter}nat entry, so no change */"))
            }
        }
        self.commit(packet, &title)
    }

    fn balance(&self, note: BalanceNote, backends: &[Backend], packet: &mut Context) -> Outcome {
        let mut record = self.record.borrow_mut();
        let v4 = match packet.get(field::ETH_TYPE) as u16 {
            ethertype::IPV4 => Some(true),
            ethertype::IPV6 => Some(false),
            _ => None,
        };
        let mut said = "";
        if let Some(v4) = v4 {
            let fits = |address: &IpAddr| address.is_ipv4() == v4;
            let wanted = record.script.backend.filter(|(address, _)| fits(address));
            let mut chosen = None;
            if backends.is_empty() {
                chosen = wanted;
            } else {
                let backends: Vec<_> = backends.iter().filter(|it| fits(&it.address)).collect();
                let named =
                    backends.iter().find(|it| wanted.is_some_and(|(ip, _)| ip == it.address));
                if let Some(backend) = named {
                    record.script.backend = None;
                    chosen = Some((backend.address, backend.port));
                } else if !backends.is_empty() {
                    let any = backends[record.script.any_below(backends.len())];
                    chosen = Some((any.address, any.port));
                }
                if chosen.is_none() {
                    let text = "*** no load balancing destination (use --lb-dst)";
                    record.add(Kind::Error, text);
                }
            }
            let mut state = packet.get(field::CT_STATE);
            if let Some((address, port)) = chosen {
                let (slice, value) = match address {
                    IpAddr::V4(ip) => (field::IP4_DST, u32::from(ip).into()),
                    IpAddr::V6(ip) => (field::IP6_DST, u128::from(ip)),
                };
                packet.set(field::CT_IP_DST, packet.get(slice));
                packet.set(slice, value);
                packet.set(field::CT_TP_DST, packet.get(field::TP_DST));
                if port != 0 {
                    packet.set(field::TP_DST, port.into());
                }
                state |= state::DESTINATION_NAT;
            }
            let (next, note) = record.script.next_state();
            said = note;
            packet.set(field::CT_STATE, state | next);
        }
        let name = if note == BalanceNote::Mark { "ct_lb_mark" } else { "ct_lb" };
        let node = record.add(Kind::Transformation, format!("{name}{said}"));
        record.forked_at(node);
        Outcome::Forks
    }

    /// The load balancer's address that the packet was sent to.
    fn vip(&self, packet: &Context) -> Option<(IpAddr, u16, String)> {
        let to = packet.get(field::CT_IP_DST);
        let mut vips = self.rows.rows(LoadBalancer::TABLE).filter_map(|(uuid, row)| {
            let row = LoadBalancer::from_row(uuid, row).ok()?;
            row.vips.keys().find_map(|key| {
                let (address, port) = vip(key)?;
                let value = match address {
                    IpAddr::V4(ip) => u32::from(ip).into(),
                    IpAddr::V6(ip) => u128::from(ip),
                };
                (value == to).then(|| (address, port, address.to_string()))
            })
        });
        vips.next()
    }

    fn is_hairpin(&self, reply: bool, packet: &Context) -> bool {
        let Some((_, port, _)) = self.vip(packet) else { return false };
        let same = match packet.get(field::ETH_TYPE) as u16 {
            ethertype::IPV4 => packet.get(field::IP4_SRC) == packet.get(field::IP4_DST),
            ethertype::IPV6 => packet.get(field::IP6_SRC) == packet.get(field::IP6_DST),
            _ => return false,
        };
        let seen = packet.get(if reply { field::TP_DST } else { field::CT_TP_DST });
        let translated = packet.get(field::CT_STATE) & state::DESTINATION_NAT != 0;
        translated && same && seen == u128::from(port)
    }

    /// Whether a router is on one chassis alone.
    fn has_gateway(&self, datapath: &Datapath) -> bool {
        let Some(row) = self.names.network.datapath(datapath.key) else { return false };
        self.names
            .network
            .ports()
            .any(|port| port.datapath == row.uuid && port.kind.label() == "l3gateway")
    }

    /// Says what the action under way writes, in terms of the field that it writes to.
    fn say_result(&self, kind: Kind, text: impl FnOnce(String) -> String) {
        let mut record = self.record.borrow_mut();
        if let Some(Action::Result { to, .. }) = record.action() {
            let text = text(to.to_string());
            record.add(kind, text);
        }
    }

    fn say_visible(&self) {
        let mut record = self.record.borrow_mut();
        if let Some(Action::DhcpRelayCheck { to, .. }) = record.action()
            && super::tracer::is_visible(to)
        {
            let text = format!("{to} = 1");
            record.add(Kind::Modify, text);
        }
    }

    fn put(&self, name: &str) {
        let mut record = self.record.borrow_mut();
        let (to, options) = match record.action() {
            Some(
                Action::PutDhcpOpts { to, options }
                | Action::PutDhcpv6Opts { to, options }
                | Action::PutNdRaOpts { to, options },
            ) => (*to, options),
            _ => return,
        };
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        record.add(Kind::Modify, format!("{name}({})", options.join(", ")));
        if super::tracer::is_visible(&to) {
            record.add(Kind::Modify, format!("{to} = 1"));
        }
    }
}

/// The packet becomes an ARP request for its destination.
fn request(packet: &mut Context) {
    let (from, to) = (packet.get(field::IP4_SRC), packet.get(field::IP4_DST));
    let sender = packet.get(field::ETH_SRC);
    packet.set(field::ETH_TYPE, ethertype::ARP.into());
    for slice in [field::IP_FRAG, field::IP_DSCP, field::IP_ECN, field::IP_TTL, field::TCP_FLAGS] {
        packet.set(slice, 0);
    }
    packet.set(field::ARP_OP, 1);
    packet.set(field::ARP_SHA, sender);
    packet.set(field::ARP_THA, 0);
    packet.set(field::ARP_SPA, from);
    packet.set(field::ARP_TPA, to);
}

/// The packet becomes a neighbour solicitation for its destination.
fn solicit(packet: &mut Context) {
    let wanted = packet.get(field::ETH_DST);
    let node = packet.get(field::IP6_DST) & 0x00ff_ffff;
    packet.set(field::ETH_DST, 0x3333_ff00_0000 | node);
    packet.set(field::TP_SRC, 135);
    packet.set(field::ND_SLL, 0);
    packet.set(field::ND_TLL, wanted);
}

/// Exchanges the ends of a packet.
fn turn(packet: &mut Context) {
    for (one, other) in [(field::ETH_SRC, field::ETH_DST), (field::IP6_SRC, field::IP6_DST)] {
        let values = (packet.get(one), packet.get(other));
        packet.set(one, values.1);
        packet.set(other, values.0);
    }
}

/// A load balancer's key: `10.0.0.1`, `10.0.0.1:80`, `[fd00::1]:80`.
fn vip(key: &str) -> Option<(IpAddr, u16)> {
    if let Ok(address) = key.parse::<IpAddr>() {
        return Some((address, 0));
    }
    let socket: SocketAddr = key.parse().ok()?;
    Some((socket.ip(), socket.port()))
}
