//! From the actions of the language to the operations of a program.
//!
//! Every action has a meaning here: it becomes one operation, in the same place, so that who knows
//! the text of an action knows the text of its operation. The names of those that the workers do
//! not execute are listed beside the program.

use ovn_xdp_datapath::classify::Masked;
use ovn_xdp_datapath::field::{self, Slice};
use ovn_xdp_datapath::key::PortKey;
use ovn_xdp_datapath::program::{
    Agent, Backend, BalanceNote, BalanceSnat, Connection, Endpoint, GivenOption, Message,
    NatTarget, Op, OptionValues, OriginalField, Program, Select, TrackZone, Translated,
    port_operand,
};
use ovn_xdp_logical::action::{
    self, Action, AffinityAddress, BalanceKind, CommitValue, Function, NatKind, NestedKind,
    OptionValue, SnatFlag, Zone,
};
use ovn_xdp_logical::resolve::Resolve;

/// The program of a list of actions, and the names of those that are not executed.
pub(crate) fn lower(
    actions: &[Action],
    resolver: &mut impl Resolve,
) -> (Program, Vec<&'static str>) {
    let mut lowering = Lowering { resolver, inert: Vec::new() };
    let program = lowering.program(actions);
    lowering.inert.sort_unstable();
    lowering.inert.dedup();
    (program, lowering.inert)
}

struct Lowering<'a, R> {
    resolver: &'a mut R,
    inert: Vec<&'static str>,
}

impl<R: Resolve> Lowering<'_, R> {
    fn program(&mut self, actions: &[Action]) -> Program {
        let mut ops = Vec::with_capacity(actions.len());
        for action in actions {
            self.action(action, &mut ops);
        }
        ops.into()
    }

    fn action(&mut self, action: &Action, ops: &mut Vec<Op>) {
        ops.push(match action {
            Action::Output => Op::Output,
            Action::Next { pipeline, table, .. } => Op::Next(*pipeline, *table),
            Action::Load { to, value } => {
                let slice = to.slice();
                let mask = value.mask.unwrap_or(slice.ones()) & slice.ones();
                load(slice, value.value, mask)
            }
            Action::LoadPort { to, port } => {
                let key = if **port == *"none" { None } else { self.port(port) };
                Op::load(to.slice(), port_operand(key))
            }
            Action::Move { to, from } => Op::Move { to: to.slice(), from: from.slice() },
            Action::Exchange(one, other) => Op::Exchange(one.slice(), other.slice()),
            Action::Push(field) => Op::Push(field.slice()),
            Action::Pop(field) => Op::Pop(field.slice()),
            Action::DecrementTtl => Op::DecrementTtl,
            Action::CtClear => Op::CtClear,
            Action::GetNeighbour { family, port, address } => {
                Op::GetNeighbour { family: *family, port: port.slice(), address: address.slice() }
            }
            Action::PutNeighbour { family, port, address, mac } => Op::PutNeighbour {
                family: *family,
                port: port.slice(),
                address: address.slice(),
                mac: mac.slice(),
            },
            Action::LookupNeighbour { family, to, port, address, mac } => Op::LookupNeighbour {
                family: *family,
                result: to.slice(),
                port: port.slice(),
                address: address.slice(),
                mac: mac.map(|mac| mac.slice()),
            },
            Action::MacCacheUse => Op::MacCacheUse,
            Action::PutFdb { port, mac } => Op::PutFdb { port: port.slice(), mac: mac.slice() },
            // Without EVPN there is no address of a remote VTEP.
            Action::GetFdb { remote: true, to, .. } | Action::CheckEvpnArp { to, .. } => {
                Op::Zero(to.slice())
            }
            Action::GetFdb { remote: false, to, mac } => {
                Op::GetFdb { result: to.slice(), mac: mac.slice() }
            }
            Action::LookupFdb { to, port, mac } => {
                Op::LookupFdb { result: to.slice(), port: port.slice(), mac: mac.slice() }
            }
            Action::SetQueue(queue) => Op::SetQueue(*queue),
            Action::CheckPacketLarger { to, limit } => match u16::try_from(*limit) {
                Ok(limit) => Op::CheckPacketLarger { result: to.slice(), limit },
                Err(_) => Op::Zero(to.slice()),
            },
            Action::Select { to, members, hash_fields } => {
                // An action that names a field it does not know is refused when it is read.
                let hash_fields = hash_fields.as_deref().and_then(hashed).unwrap_or_default();
                Op::Select(Box::new(Select {
                    result: to.slice(),
                    members: members.as_slice().into(),
                    hash_fields: hash_fields.into(),
                }))
            }
            Action::Nested { kind, actions } => self.nested(*kind, actions),
            Action::Result { to, function } => match function {
                Function::CheckInPortSecurity => Op::CheckInPortSecurity(to.slice()),
                Function::CheckOutPortSecurity => Op::CheckOutPortSecurity(to.slice()),
                Function::CheckLbHairpin => hairpin(to.slice(), false),
                Function::CheckLbHairpinReply => hairpin(to.slice(), true),
                Function::CheckEcmpNh => symmetric(to.slice(), false),
                Function::CheckEcmpNhMac => symmetric(to.slice(), true),
                Function::CheckLbAffinity => connection(Connection::CheckAffinity(to.slice())),
                Function::CtNwDst => original(to.slice(), OriginalField::Ip4Destination),
                Function::CtIp6Dst => original(to.slice(), OriginalField::Ip6Destination),
                Function::CtTpDst => original(to.slice(), OriginalField::PortDestination),
                Function::CtProto => original(to.slice(), OriginalField::Protocol),
                Function::CtStateSave => connection(Connection::SaveState(to.slice())),
            },
            other => match self.connection(other) {
                Some(operation) => {
                    self.inert.push(operation.name());
                    connection(operation)
                }
                None => {
                    let Some(operation) = self.agent(other) else { return };
                    self.inert.push(operation.name());
                    Op::Agent(Box::new(operation))
                }
            },
        });
    }

    /// What is for the connection tracker.
    fn connection(&mut self, action: &Action) -> Option<Connection> {
        Some(match action {
            Action::CtNext(zone) => Connection::Lookup(track(*zone)),
            Action::CtCommit(actions) => self.commit(actions),
            Action::CtCommitV1 { mark, label } => commit_values(*mark, *label),
            Action::CtCommitToZone(zone) => Connection::CommitToZone(track(*zone)),
            Action::CtCommitNat(zone) => Connection::CommitNat(track(*zone)),
            Action::CtNat { kind, address, ports } => {
                let (end, zone) = match kind {
                    NatKind::Dnat => (Translated::Destination, TrackZone::Dnat),
                    NatKind::Snat => (Translated::Source, TrackZone::Snat),
                    NatKind::DnatInCommonZone => (Translated::Destination, TrackZone::Common),
                    NatKind::SnatInCommonZone => (Translated::Source, TrackZone::Common),
                };
                let ports = ports.map(|ports| (ports.low, ports.high.unwrap_or(ports.low)));
                let to = address.map(|address| NatTarget { address, ports });
                Connection::Nat { end, zone, to }
            }
            Action::CtLb { kind, backends, hash_fields, snat } => Connection::Balance {
                note: match kind {
                    BalanceKind::Label => BalanceNote::Label,
                    BalanceKind::Mark => BalanceNote::Mark,
                    BalanceKind::MarkLocal => BalanceNote::MarkLocal,
                },
                backends: backends
                    .iter()
                    .map(|backend| Backend { address: backend.address, port: backend.port })
                    .collect(),
                hash_fields: hash_fields.as_deref().and_then(hashed).unwrap_or_default().into(),
                snat: snat.map(|snat| match snat {
                    SnatFlag::Skip => BalanceSnat::Skip,
                    SnatFlag::Force => BalanceSnat::Force,
                }),
            },
            Action::CtSnatToVip => Connection::SnatToVip,
            Action::CommitEcmpNh { ipv6, protocol } => {
                Connection::CommitEcmp { ipv6: *ipv6, protocol: Some(*protocol) }
            }
            Action::CommitLbAffinity { vip, backend, protocol, timeout } => {
                Connection::CommitAffinity {
                    vip: endpoint(vip),
                    backend: endpoint(backend),
                    protocol: *protocol,
                    timeout: *timeout,
                }
            }
            _ => return None,
        })
    }

    fn commit(&mut self, actions: &[Action]) -> Connection {
        let writes = self.program(actions);
        let (mut mark, mut label) = (0, 0);
        for op in &*writes {
            let (slice, mask) = match op {
                Op::Load(slice, _) | Op::LoadWide(slice, _) | Op::Move { to: slice, .. } => {
                    (*slice, slice.ones())
                }
                Op::LoadMasked(slice, masked) => (*slice, masked.mask),
                _ => continue,
            };
            let bits = mask << slice.shift();
            if slice.overlaps(field::CT_MARK) {
                mark |= (bits >> field::CT_MARK.shift()) as u32;
            } else if slice.overlaps(field::CT_LABEL) {
                label |= bits;
            }
        }
        Connection::Commit { writes, mark, label }
    }

    /// What is for the chassis's agent.
    fn agent(&mut self, action: &Action) -> Option<Agent> {
        Some(match action {
            Action::LoadErrorMessage { to, value } => {
                Agent::ErrorField { name: to.symbol.name, value: value.value }
            }
            Action::Igmp => Agent::Igmp,
            Action::PutDhcpOpts { to, options } => {
                Agent::Dhcp { result: to.slice(), v6: false, options: given(options) }
            }
            Action::PutDhcpv6Opts { to, options } => {
                Agent::Dhcp { result: to.slice(), v6: true, options: given(options) }
            }
            Action::PutNdRaOpts { to, options } => {
                Agent::RouterAdvertisement { result: to.slice(), options: given(options) }
            }
            Action::HandleDhcpv6Reply => Agent::Dhcpv6Reply,
            Action::DhcpRelayCheck { response, to, relay, server } => Agent::DhcpRelay {
                result: to.slice(),
                response: *response,
                relay: *relay,
                server: *server,
            },
            Action::DnsLookup { to, .. } => Agent::Dns(to.slice()),
            Action::Log { name, verdict, severity, meter } => Agent::Log {
                name: name.clone(),
                verdict: verdict.as_str(),
                severity: severity.as_str(),
                meter: meter.clone(),
            },
            Action::TriggerEvent { event, .. } => Agent::Event(event.clone()),
            Action::SetMeter { rate, burst } => Agent::Meter { rate: *rate, burst: *burst },
            Action::BindVport { port, parent } => {
                Agent::BindVirtual { port: self.port(port), parent: parent.slice() }
            }
            Action::HandleServiceCheck(port) => Agent::ServiceCheck(port.slice()),
            Action::HandleBfd => Agent::Bfd,
            Action::ForwardingGroup { liveness, ports } => Agent::ForwardingGroup {
                liveness: *liveness,
                ports: ports.iter().filter_map(|port| self.port(port)).collect(),
            },
            Action::Sample { probability, collector_set, .. } => {
                Agent::Sample { probability: *probability, collector_set: *collector_set }
            }
            Action::FloodRemote => Agent::FloodRemote,
            Action::Mirror(port) => Agent::Mirror(self.port(port)),
            _ => return None,
        })
    }

    fn port(&mut self, name: &str) -> Option<PortKey> {
        let key = self.resolver.port(name)?;
        PortKey::new(u16::try_from(key).ok()?)
    }

    fn nested(&mut self, kind: NestedKind, actions: &[Action]) -> Op {
        match kind {
            NestedKind::Clone => Op::Clone(self.program(actions)),
            NestedKind::NdNa | NestedKind::NdNaRouter => Op::NeighbourAdvertisement {
                router: kind == NestedKind::NdNaRouter,
                then: self.program(actions),
            },
            NestedKind::Arp => self.message(Message::Arp, actions),
            NestedKind::NdNs => self.message(Message::NeighbourSolicitation, actions),
            NestedKind::Icmp4 => self.message(Message::Icmp4 { error: false }, actions),
            NestedKind::Icmp4Error => self.message(Message::Icmp4 { error: true }, actions),
            NestedKind::Icmp6 => self.message(Message::Icmp6 { error: false }, actions),
            NestedKind::Icmp6Error => self.message(Message::Icmp6 { error: true }, actions),
            NestedKind::TcpReset => self.message(Message::TcpReset, actions),
            NestedKind::SctpAbort => self.message(Message::SctpAbort, actions),
            NestedKind::Reject => self.message(Message::Reject, actions),
        }
    }

    fn message(&mut self, kind: Message, actions: &[Action]) -> Op {
        self.inert.push(kind.name());
        Op::Message { kind, then: self.program(actions) }
    }
}

fn load(slice: Slice, value: u128, mask: u128) -> Op {
    match run(mask) {
        Some((low, high)) => match slice.bits(low, high) {
            Some(part) => Op::load(part, value >> low & part.ones()),
            None => Op::load(slice, value),
        },
        None => Op::LoadMasked(slice, Box::new(Masked { value: value & mask, mask })),
    }
}

fn connection(operation: Connection) -> Op {
    Op::Connection(Box::new(operation))
}

fn hairpin(result: Slice, reply: bool) -> Op {
    connection(Connection::CheckHairpin { result, reply })
}

fn symmetric(result: Slice, mac: bool) -> Op {
    connection(Connection::CheckEcmp { result, mac })
}

fn original(result: Slice, field: OriginalField) -> Op {
    connection(Connection::Original { result, field })
}

fn track(zone: Zone) -> TrackZone {
    match zone {
        Zone::Dnat => TrackZone::Dnat,
        Zone::Snat => TrackZone::Snat,
    }
}

fn endpoint(address: &AffinityAddress) -> Endpoint {
    Endpoint { address: address.address, port: address.port }
}

/// `ct_commit(ct_mark=…, ct_label=…)`
fn commit_values(mark: Option<CommitValue>, label: Option<CommitValue>) -> Connection {
    let write = |slice, value: CommitValue| load(slice, value.value, value.mask);
    let writes = mark
        .map(|mark| write(field::CT_MARK, mark))
        .into_iter()
        .chain(label.map(|label| write(field::CT_LABEL, label)))
        .collect();
    Connection::Commit {
        writes,
        mark: mark.map_or(0, |mark| mark.mask as u32),
        label: label.map_or(0, |label| label.mask),
    }
}

fn given(options: &[action::GivenOption]) -> Box<[GivenOption]> {
    let values = |value: &OptionValue| match value {
        OptionValue::Numbers(numbers) => OptionValues::Numbers(
            numbers.iter().map(|number| (number.value, number.mask)).collect(),
        ),
        OptionValue::Strings(texts) => OptionValues::Texts(texts.iter().cloned().collect()),
    };
    options
        .iter()
        .map(|option| GivenOption {
            code: option.code,
            kind: option.kind.clone(),
            values: values(&option.value),
        })
        .collect()
}

/// The lowest and highest bit of a mask that is one run of ones.
fn run(mask: u128) -> Option<(u8, u8)> {
    if mask == 0 {
        return None;
    }
    let (low, bits) = (mask.trailing_zeros(), mask.count_ones());
    (mask >> low == u128::MAX >> (128 - bits)).then_some((low as u8, (low + bits - 1) as u8))
}

/// The fields that `hash_fields` names, in OpenFlow's words; `None` if one is not known.
fn hashed(names: &str) -> Option<Vec<Slice>> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            Some(match name {
                "eth_src" | "dl_src" => field::ETH_SRC,
                "eth_dst" | "dl_dst" => field::ETH_DST,
                "eth_type" | "dl_type" => field::ETH_TYPE,
                "ip_src" | "nw_src" => field::IP4_SRC,
                "ip_dst" | "nw_dst" => field::IP4_DST,
                "ipv6_src" => field::IP6_SRC,
                "ipv6_dst" => field::IP6_DST,
                "ip_proto" | "nw_proto" => field::IP_PROTO,
                "tcp_src" | "udp_src" | "sctp_src" | "tp_src" => field::TP_SRC,
                "tcp_dst" | "udp_dst" | "sctp_dst" | "tp_dst" => field::TP_DST,
                _ => return None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_datapath::field::Context;

    #[test]
    fn a_masked_load_writes_the_bits_under_the_mask_and_no_others() {
        for mask in [0, 1, 0x8000_0001, 0xffff_ffff, 0x00ff_0f01_u128] {
            let mut context = Context::default();
            context.set(field::FLAGS, 0x5555_5555);
            match load(field::FLAGS, 0xaaaa_aaaa, mask) {
                Op::Load(part, value) => context.set(part, value.into()),
                Op::LoadMasked(slice, masked) => {
                    let kept = context.get(slice) & !masked.mask;
                    context.set(slice, kept | masked.value);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(context.get(field::FLAGS), 0x5555_5555 & !mask | 0xaaaa_aaaa & mask);
        }
        assert_eq!(load(field::XXREG0, 7, u128::MAX), Op::Load(field::XXREG0, 7));
    }
}
