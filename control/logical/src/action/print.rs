//! Actions as text, in OVN's own words: what is printed reads back as the same actions.

use super::{
    Action, Actions, AffinityAddress, Backend, BalanceKind, GivenOption, ObservationPoint,
    OptionValue, SnatFlag, Zone,
};
use crate::constant::Quoted;
use ovn_xdp_datapath::program::{Family, Pipeline};
use std::fmt::{self, Display, Formatter};

impl Display for Actions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        sequence(f, &self.list)
    }
}

fn sequence(f: &mut Formatter<'_>, list: &[Action]) -> fmt::Result {
    if list.is_empty() {
        return f.write_str("drop;");
    }
    separated(f, list, " ")
}

fn separated<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

fn block(f: &mut Formatter<'_>, name: &str, actions: &[Action]) -> fmt::Result {
    write!(f, "{name} {{ ")?;
    sequence(f, actions)?;
    f.write_str(" };")
}

fn protocol_name(number: u8) -> &'static str {
    match number {
        17 => "udp",
        132 => "sctp",
        _ => "tcp",
    }
}

fn of(family: Family, v4: &'static str, v6: &'static str) -> &'static str {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output => f.write_str("output;"),
            Self::Next { pipeline, table, from } => {
                if *pipeline != from.pipeline {
                    let name = match pipeline {
                        Pipeline::Ingress => "ingress",
                        Pipeline::Egress => "egress",
                    };
                    write!(f, "next(pipeline={name}, table={table});")
                } else if u32::from(*table) != u32::from(from.table) + 1 {
                    write!(f, "next({table});")
                } else {
                    f.write_str("next;")
                }
            }
            Self::Load { to, value } | Self::LoadErrorMessage { to, value } => {
                write!(f, "{to} = {value};")
            }
            Self::LoadPort { to, port } => write!(f, "{to} = {};", Quoted(port)),
            Self::Move { to, from } => write!(f, "{to} = {from};"),
            Self::Exchange(left, right) => write!(f, "{left} <-> {right};"),
            Self::Push(field) => write!(f, "push({field});"),
            Self::Pop(field) => write!(f, "pop({field});"),
            Self::DecrementTtl => f.write_str("ip.ttl--;"),
            Self::CtNext(zone) => write!(f, "ct_next({});", zone.as_str()),
            Self::CtCommit(actions) if actions.is_empty() => f.write_str("ct_commit;"),
            Self::CtCommit(actions) => block(f, "ct_commit", actions),
            Self::CtCommitV1 { mark, label } => {
                f.write_str("ct_commit(")?;
                if let Some(mark) = mark {
                    write!(f, "ct_mark={:#x}", mark.value)?;
                    if mark.mask != u128::from(u32::MAX) {
                        write!(f, "/{:#x}", mark.mask)?;
                    }
                }
                if let Some(label) = label {
                    f.write_str(if mark.is_some() { ", " } else { "" })?;
                    write!(f, "ct_label={:#x}", label.value)?;
                    if label.mask != u128::MAX {
                        write!(f, "/{:#x}", label.mask)?;
                    }
                }
                f.write_str(");")
            }
            Self::CtCommitToZone(zone) => zoned(f, "ct_commit_to_zone", *zone),
            Self::CtCommitNat(zone) => zoned(f, "ct_commit_nat", *zone),
            Self::CtNat { kind, address, ports } => {
                f.write_str(kind.as_str())?;
                if let Some(address) = address {
                    write!(f, "({address}")?;
                    if let Some(ports) = ports {
                        write!(f, ",{}", ports.low)?;
                        if let Some(high) = ports.high {
                            write!(f, "-{high}")?;
                        }
                    }
                    f.write_str(")")?;
                }
                f.write_str(";")
            }
            Self::CtLb { kind, backends, hash_fields, snat } => {
                balance(f, *kind, backends, hash_fields.as_deref(), *snat)
            }
            Self::Select { to, members, hash_fields } => {
                write!(f, "{to} = select({}", if hash_fields.is_some() { "values=(" } else { "" })?;
                for (i, (member, weight)) in members.iter().enumerate() {
                    write!(f, "{}{member}={weight}", if i > 0 { ", " } else { "" })?;
                }
                if let Some(fields) = hash_fields {
                    write!(f, "); hash_fields={}", Quoted(fields))?;
                }
                f.write_str(");")
            }
            Self::CtClear => f.write_str("ct_clear;"),
            Self::Nested { kind, actions } => block(f, kind.as_str(), actions),
            Self::Igmp => f.write_str("igmp;"),
            Self::GetNeighbour { family, port, address } => {
                write!(f, "{}({port}, {address});", of(*family, "get_arp", "get_nd"))
            }
            Self::PutNeighbour { family, port, address, mac } => {
                write!(f, "{}({port}, {address}, {mac});", of(*family, "put_arp", "put_nd"))
            }
            Self::LookupNeighbour { family, to, port, address, mac: Some(mac) } => {
                let name = of(*family, "lookup_arp", "lookup_nd");
                write!(f, "{to} = {name}({port}, {address}, {mac});")
            }
            Self::LookupNeighbour { family, to, port, address, mac: None } => {
                let name = of(*family, "lookup_arp_ip", "lookup_nd_ip");
                write!(f, "{to} = {name}({port}, {address});")
            }
            Self::MacCacheUse => f.write_str("mac_cache_use;"),
            Self::PutDhcpOpts { to, options } => put(f, to, "put_dhcp_opts", options),
            Self::PutDhcpv6Opts { to, options } => put(f, to, "put_dhcpv6_opts", options),
            Self::PutNdRaOpts { to, options } => put(f, to, "put_nd_ra_opts", options),
            Self::HandleDhcpv6Reply => f.write_str("handle_dhcpv6_reply;"),
            Self::DhcpRelayCheck { response, to, relay, server } => {
                let kind = if *response { "resp" } else { "req" };
                write!(f, "{to} = dhcp_relay_{kind}_chk({relay}, {server});")
            }
            Self::DnsLookup { to } => write!(f, "{to} = dns_lookup();"),
            Self::Log { name, verdict, severity, meter } => {
                f.write_str("log(")?;
                if let Some(name) = name {
                    write!(f, "name={}, ", Quoted(name))?;
                }
                write!(f, "verdict={}, severity={}", verdict.as_str(), severity.as_str())?;
                if let Some(meter) = meter {
                    write!(f, ", meter={}", Quoted(meter))?;
                }
                f.write_str(");")
            }
            Self::TriggerEvent { event, options } => {
                write!(f, "trigger_event(event = {}", Quoted(event))?;
                for option in options {
                    write!(f, ", {option}")?;
                }
                f.write_str(");")
            }
            Self::SetQueue(queue) => write!(f, "set_queue({queue});"),
            Self::SetMeter { rate, burst: 0 } => write!(f, "set_meter({rate});"),
            Self::SetMeter { rate, burst } => write!(f, "set_meter({rate}, {burst});"),
            Self::CheckPacketLarger { to, limit } => write!(f, "{to} = check_pkt_larger({limit});"),
            Self::BindVport { port, parent } => {
                write!(f, "bind_vport({}, {parent});", Quoted(port))
            }
            Self::HandleServiceCheck(port) => write!(f, "handle_svc_check({port});"),
            Self::HandleBfd => f.write_str("handle_bfd_msg();"),
            Self::ForwardingGroup { liveness, ports } => {
                f.write_str("fwd_group(")?;
                if *liveness {
                    f.write_str("liveness=\"true\", ")?;
                }
                if !ports.is_empty() {
                    f.write_str("childports=")?;
                    let quoted: Vec<Quoted<'_>> = ports.iter().map(|port| Quoted(port)).collect();
                    separated(f, &quoted, ", ")?;
                }
                f.write_str(");")
            }
            Self::Result { to, function } => write!(f, "{to} = {}();", function.as_str()),
            Self::CtSnatToVip => f.write_str("ct_snat_to_vip;"),
            Self::PutFdb { port, mac } => write!(f, "put_fdb({port}, {mac});"),
            Self::GetFdb { remote: false, to, mac } => write!(f, "{to} = get_fdb({mac});"),
            Self::GetFdb { remote: true, to, mac } => write!(f, "{to} = get_remote_fdb({mac});"),
            Self::LookupFdb { to, port, mac } => write!(f, "{to} = lookup_fdb({port}, {mac});"),
            Self::CommitEcmpNh { ipv6, protocol } => {
                let protocol = protocol_name(*protocol);
                write!(f, "commit_ecmp_nh(ipv6 = {ipv6}, proto = {protocol});")
            }
            Self::CommitLbAffinity { vip, backend, protocol, timeout } => {
                affinity(f, vip, backend, *protocol, *timeout)
            }
            Self::Sample { probability, collector_set, obs_domain, obs_point } => {
                write!(f, "sample(probability={probability},collector_set={collector_set}")?;
                write!(f, ",obs_domain={obs_domain},obs_point=")?;
                match obs_point {
                    ObservationPoint::Cookie => f.write_str("$cookie")?,
                    ObservationPoint::Number(number) => write!(f, "{number}")?,
                    ObservationPoint::Field(field) => write!(f, "{field}")?,
                }
                f.write_str(");")
            }
            Self::FloodRemote => f.write_str("flood_remote;"),
            Self::Mirror(port) => write!(f, "mirror({});", Quoted(port)),
            Self::CheckEvpnArp { to, address } => write!(f, "{to} = chk_evpn_arp({address});"),
        }
    }
}

fn zoned(f: &mut Formatter<'_>, name: &str, zone: Zone) -> fmt::Result {
    write!(f, "{name}({});", zone.as_str())
}

fn put(
    f: &mut Formatter<'_>,
    to: &impl Display,
    name: &str,
    options: &[GivenOption],
) -> fmt::Result {
    write!(f, "{to} = {name}(")?;
    separated(f, options, ", ")?;
    f.write_str(");")
}

fn balance(
    f: &mut Formatter<'_>,
    kind: BalanceKind,
    backends: &[Backend],
    hash_fields: Option<&str>,
    snat: Option<SnatFlag>,
) -> fmt::Result {
    f.write_str(kind.as_str())?;
    if backends.is_empty() {
        return f.write_str(";");
    }
    f.write_str("(backends=")?;
    separated(f, backends, ",")?;
    if let Some(fields) = hash_fields {
        write!(f, "; hash_fields={}", Quoted(fields))?;
    }
    f.write_str(match snat {
        Some(SnatFlag::Skip) => "; skip_snat",
        Some(SnatFlag::Force) => "; force_snat",
        None => "",
    })?;
    f.write_str(");")
}

fn affinity(
    f: &mut Formatter<'_>,
    vip: &AffinityAddress,
    backend: &AffinityAddress,
    protocol: Option<u8>,
    timeout: u16,
) -> fmt::Result {
    write!(f, "commit_lb_aff(vip = \"{vip}\", backend = \"{backend}\"")?;
    if let Some(protocol) = protocol {
        write!(f, ", proto = {}", protocol_name(protocol))?;
    }
    write!(f, ", timeout = {timeout});")
}

impl Display for Backend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(port) = &self.logical_port {
            write!(f, "{}:", Quoted(port))?;
        }
        match (self.address, self.port) {
            (address, 0) => write!(f, "{address}"),
            (address, port) if address.is_ipv6() => write!(f, "[{address}]:{port}"),
            (address, port) => write!(f, "{address}:{port}"),
        }
    }
}

impl Display for GivenOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.name)?;
        let braces = self.braces || self.is_many();
        f.write_str(if braces { "{" } else { "" })?;
        match &self.value {
            OptionValue::Numbers(numbers) => separated(f, numbers, ", ")?,
            OptionValue::Strings(strings) => {
                let quoted: Vec<Quoted<'_>> = strings.iter().map(|s| Quoted(s)).collect();
                separated(f, &quoted, ", ")?;
            }
        }
        f.write_str(if braces { "}" } else { "" })
    }
}
