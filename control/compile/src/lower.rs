//! From the actions of the language to the operations of a program.
//!
//! Every action has a meaning here: it becomes operations, a zero where it asks for state that does
//! not exist without connections, or [`Op::NotExecuted`] under its own name.

use ovn_xdp_datapath::field::{self, Slice};
use ovn_xdp_datapath::key::PortKey;
use ovn_xdp_datapath::program::{Op, Program, port_operand};
use ovn_xdp_logical::action::{Action, Function, NestedKind};
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
        Program(ops.into())
    }

    fn action(&mut self, action: &Action, ops: &mut Vec<Op>) {
        ops.push(match action {
            Action::Output => Op::Output,
            Action::Next { pipeline, table, .. } => Op::Next(*pipeline, *table),
            Action::Load { to, value } => {
                let slice = to.slice();
                let mask = value.mask.unwrap_or(slice.ones()) & slice.ones();
                return ops.extend(
                    runs(slice, mask)
                        .map(|(part, low)| Op::Load(part, value.value >> low & part.ones())),
                );
            }
            Action::LoadPort { to, port } => {
                let key = match &**port {
                    "none" => None,
                    port => self.resolver.port(port),
                };
                let key = key.and_then(|key| PortKey::new(u16::try_from(key).ok()?));
                Op::Load(to.slice(), port_operand(key))
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
                match hash_fields.as_deref().map_or(Some(Vec::new()), hashed) {
                    Some(hash_fields) => Op::Select {
                        result: to.slice(),
                        members: members.as_slice().into(),
                        hash_fields: hash_fields.into(),
                    },
                    None => self.not_executed("select"),
                }
            }
            Action::Nested { kind, actions } => self.nested(*kind, actions),
            Action::Result { to, function } => match function {
                Function::CheckInPortSecurity => Op::CheckInPortSecurity(to.slice()),
                Function::CheckOutPortSecurity => Op::CheckOutPortSecurity(to.slice()),
                // There is no connection, load balancer or symmetric route to find.
                Function::CheckLbHairpin
                | Function::CheckLbHairpinReply
                | Function::CheckEcmpNh
                | Function::CheckEcmpNhMac
                | Function::CheckLbAffinity
                | Function::CtNwDst
                | Function::CtIp6Dst
                | Function::CtTpDst
                | Function::CtProto
                | Function::CtStateSave => Op::Zero(to.slice()),
            },
            other => self.not_executed(label(other)),
        });
    }

    fn nested(&mut self, kind: NestedKind, actions: &[Action]) -> Op {
        match kind {
            NestedKind::Clone => Op::Clone(self.program(actions)),
            NestedKind::NdNa | NestedKind::NdNaRouter => Op::NeighbourAdvertisement {
                router: kind == NestedKind::NdNaRouter,
                then: self.program(actions),
            },
            NestedKind::Arp
            | NestedKind::NdNs
            | NestedKind::Icmp4
            | NestedKind::Icmp4Error
            | NestedKind::Icmp6
            | NestedKind::Icmp6Error
            | NestedKind::TcpReset
            | NestedKind::SctpAbort
            | NestedKind::Reject => {
                // Still resolved, so that what the flow depends on does not hang on the version.
                self.program(actions);
                self.not_executed(kind.as_str())
            }
        }
    }

    fn not_executed(&mut self, name: &'static str) -> Op {
        self.inert.push(name);
        Op::NotExecuted(name)
    }
}

/// The runs of ones in a mask as parts of a slice, each with its lowest bit in the slice.
fn runs(slice: Slice, mask: u128) -> impl Iterator<Item = (Slice, u32)> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let low = rest.trailing_zeros();
        let length = (rest >> low).trailing_ones();
        rest = if low + length == 128 { 0 } else { rest >> (low + length) << (low + length) };
        Some((slice.bits(low as u8, (low + length - 1) as u8)?, low))
    })
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

/// The name of an action, for who asks why a packet was dropped.
fn label(action: &Action) -> &'static str {
    match action {
        Action::Output => "output",
        Action::Next { .. } => "next",
        Action::Load { .. } | Action::LoadPort { .. } | Action::Move { .. } => "=",
        Action::LoadErrorMessage { to, .. } => to.symbol.name,
        Action::Exchange(..) => "<->",
        Action::Push(_) => "push",
        Action::Pop(_) => "pop",
        Action::DecrementTtl => "ip.ttl--",
        Action::CtNext(_) => "ct_next",
        Action::CtCommit(_) | Action::CtCommitV1 { .. } => "ct_commit",
        Action::CtCommitToZone(_) => "ct_commit_to_zone",
        Action::CtCommitNat(_) => "ct_commit_nat",
        Action::CtNat { kind, .. } => kind.as_str(),
        Action::CtLb { kind, .. } => kind.as_str(),
        Action::Select { .. } => "select",
        Action::CtClear => "ct_clear",
        Action::Nested { kind, .. } => kind.as_str(),
        Action::Igmp => "igmp",
        Action::GetNeighbour { .. } => "get_arp",
        Action::PutNeighbour { .. } => "put_arp",
        Action::LookupNeighbour { .. } => "lookup_arp",
        Action::MacCacheUse => "mac_cache_use",
        Action::PutDhcpOpts { .. } => "put_dhcp_opts",
        Action::PutDhcpv6Opts { .. } => "put_dhcpv6_opts",
        Action::PutNdRaOpts { .. } => "put_nd_ra_opts",
        Action::HandleDhcpv6Reply => "handle_dhcpv6_reply",
        Action::DhcpRelayCheck { response: false, .. } => "dhcp_relay_req_chk",
        Action::DhcpRelayCheck { response: true, .. } => "dhcp_relay_resp_chk",
        Action::DnsLookup { .. } => "dns_lookup",
        Action::Log { .. } => "log",
        Action::TriggerEvent { .. } => "trigger_event",
        Action::SetQueue(_) => "set_queue",
        Action::SetMeter { .. } => "set_meter",
        Action::CheckPacketLarger { .. } => "check_pkt_larger",
        Action::BindVport { .. } => "bind_vport",
        Action::HandleServiceCheck(_) => "handle_svc_check",
        Action::HandleBfd => "handle_bfd_msg",
        Action::ForwardingGroup { .. } => "fwd_group",
        Action::Result { function, .. } => function.as_str(),
        Action::CtSnatToVip => "ct_snat_to_vip",
        Action::PutFdb { .. } => "put_fdb",
        Action::GetFdb { remote: false, .. } => "get_fdb",
        Action::GetFdb { remote: true, .. } => "get_remote_fdb",
        Action::LookupFdb { .. } => "lookup_fdb",
        Action::CommitEcmpNh { .. } => "commit_ecmp_nh",
        Action::CommitLbAffinity { .. } => "commit_lb_aff",
        Action::Sample { .. } => "sample",
        Action::FloodRemote => "flood_remote",
        Action::Mirror(_) => "mirror",
        Action::CheckEvpnArp { .. } => "chk_evpn_arp",
    }
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
            for (part, low) in runs(field::FLAGS, mask) {
                context.set(part, (0xaaaa_aaaa >> low) & part.ones());
            }
            assert_eq!(context.get(field::FLAGS), 0x5555_5555 & !mask | 0xaaaa_aaaa & mask);
        }
        let whole: Vec<_> = runs(field::XXREG0, u128::MAX).collect();
        assert_eq!(whole, [(field::XXREG0, 0)]);
    }
}
