//! Port security (section 5.5): which addresses a port may speak with and be spoken to with.
//!
//! The meaning is that of ovn-controller's own tables, quirks included: every neighbour
//! solicitation that got past the source check is allowed, and an address with host bits under a
//! prefix length stands for itself only. A port without entries is not checked (PSEC-8).

use crate::field::{self, Context};
use crate::parse::{ethertype, protocol};
use crate::publish::{Mac, Port, SecurityEntry};

/// Whether a packet from `port` passes `check_in_port_sec` (PSEC-1 to PSEC-4).
pub fn may_send(port: &Port, context: &Context) -> bool {
    if port.security.is_empty() {
        return true;
    }
    let source = context.get(field::ETH_SRC) as u64;
    let entries = port.security.iter();
    let ethertype = context.get(field::ETH_TYPE) as u16;
    if ethertype == ethertype::ARP {
        return entries.filter(|entry| mac(entry.mac) == source).any(|entry| arp(entry, context));
    }
    let mut passes = false;
    for entry in entries.filter(|entry| mac(entry.mac) == source) {
        if entry.ipv4.is_empty() && entry.ipv6.is_empty() {
            passes = true;
        } else if ethertype == ethertype::IPV4 && !entry.ipv4.is_empty() {
            let address = context.get(field::IP4_SRC) as u32;
            passes |= v4(entry, address) || dhcp_request(context);
        } else if ethertype == ethertype::IPV6 && !entry.ipv6.is_empty() {
            let address = context.get(field::IP6_SRC);
            passes |= v6(entry, address) || address == 0 && from_unspecified(context);
        }
    }
    passes && (!is_advertisement(context) || advertisement(port, context))
}

/// Whether a packet to `port` passes `check_out_port_sec` (PSEC-5).
///
/// Broadcast and multicast frames fail like any other foreign destination: it is northd's flows
/// (`eth.mcast`) that keep them away from this check. An entry with addresses allows what is neither
/// IPv4 nor IPv6, and of these what it lists; several entries of one MAC address allow together.
pub fn may_receive(port: &Port, context: &Context) -> bool {
    if port.security.is_empty() {
        return true;
    }
    let destination = context.get(field::ETH_DST) as u64;
    let own = || port.security.iter().filter(|entry| mac(entry.mac) == destination);
    let limited = || own().any(|entry| !(entry.ipv4.is_empty() && entry.ipv6.is_empty()));
    match context.get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 if limited() => {
            let address = context.get(field::IP4_DST) as u32;
            own().any(|entry| to_v4(entry, address))
        }
        ethertype::IPV6 if limited() => {
            let address = context.get(field::IP6_DST);
            own().any(|entry| {
                !entry.ipv6.is_empty() && (v6(entry, address) || address >> 120 == 0xff)
            })
        }
        _ => own().next().is_some(),
    }
}

/// Own addresses, their broadcast addresses, and those of everyone and of groups.
fn to_v4(entry: &SecurityEntry, address: u32) -> bool {
    let broadcast = |&(own, length): &(std::net::Ipv4Addr, u8)| {
        let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
        let own = u32::from(own);
        own & hosts != 0 && address == own | hosts
    };
    !entry.ipv4.is_empty()
        && (v4(entry, address)
            || address == u32::MAX
            || address >> 28 == 0xe
            || entry.ipv4.iter().any(broadcast))
}

/// The link-local address that RFC 4291, appendix A, derives from a MAC address.
pub fn link_local(mac: Mac) -> u128 {
    let [a, b, c, d, e, f] = mac;
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    0xfe80 << 112 | u128::from(identifier)
}

fn mac(mac: Mac) -> u64 {
    mac.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn v4(entry: &SecurityEntry, address: u32) -> bool {
    entry.ipv4.iter().any(|&(own, length)| {
        let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
        let own = u32::from(own);
        if own & hosts != 0 { address == own } else { address & !hosts == own }
    })
}

fn v6(entry: &SecurityEntry, address: u128) -> bool {
    address == link_local(entry.mac)
        || entry.ipv6.iter().any(|&(own, length)| {
            let hosts = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let own = u128::from(own);
            if own & hosts != 0 { address == own } else { address & !hosts == own }
        })
}

fn arp(entry: &SecurityEntry, context: &Context) -> bool {
    if context.get(field::ARP_SHA) as u64 != mac(entry.mac) {
        return false;
    }
    match (entry.ipv4.is_empty(), entry.ipv6.is_empty()) {
        (true, true) => true,
        (true, false) => false,
        _ => v4(entry, context.get(field::ARP_SPA) as u32),
    }
}

fn dhcp_request(context: &Context) -> bool {
    context.get(field::IP4_SRC) == 0
        && context.get(field::IP4_DST) == u128::from(u32::MAX)
        && context.get(field::IP_PROTO) == u128::from(protocol::UDP)
        && context.get(field::TP_SRC) == 68
        && context.get(field::TP_DST) == 67
}

/// Multicast listener reports and duplicate address detection, before there is an address.
fn from_unspecified(context: &Context) -> bool {
    context.get(field::IP6_DST) >> 112 == 0xff02
        && context.get(field::IP_PROTO) == u128::from(protocol::ICMPV6)
        && matches!(context.get(field::ICMP_TYPE), 131 | 135 | 143)
        && context.get(field::ICMP_CODE) == 0
}

fn is_advertisement(context: &Context) -> bool {
    context.get(field::ETH_TYPE) == u128::from(ethertype::IPV6)
        && context.get(field::IP_PROTO) == u128::from(protocol::ICMPV6)
        && context.get(field::ICMP_TYPE) == 136
        && context.get(field::IP_TTL) == 255
}

/// What an advertisement may offer: any target if an entry has no IPv6 addresses, the link-local
/// address of an entry, or an address of the entry whose MAC address sends.
fn advertisement(port: &Port, context: &Context) -> bool {
    let source = context.get(field::ETH_SRC) as u64;
    let target = context.get(field::ND_TARGET);
    let link = context.get(field::ND_TLL) as u64;
    context.get(field::ICMP_CODE) == 0
        && port.security.iter().filter(|entry| link == 0 || link == mac(entry.mac)).any(|entry| {
            entry.ipv6.is_empty()
                || target == link_local(entry.mac)
                || mac(entry.mac) == source && v6(entry, target)
        })
}
