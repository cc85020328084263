//! Port security as `ovn-trace` takes it, by the rows alone.

use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::parse::{ethertype, protocol};
use ovn_xdp_datapath::publish::{Port, SecurityEntry};
use ovn_xdp_datapath::security::link_local;

/// Whether a port may send the packet.
pub fn may_send(port: &Port, packet: &Context) -> bool {
    let source = mac(packet.get(field::ETH_SRC));
    let Some(entry) = port.security.iter().find(|entry| entry.mac == source) else {
        return port.security.is_empty();
    };
    match packet.get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 => sends_ip4(entry, packet),
        ethertype::ARP => {
            mac(packet.get(field::ARP_SHA)) == entry.mac
                && (entry.ipv4.is_empty() || has_ip4(entry, packet.get(field::ARP_SPA)))
        }
        ethertype::IPV6 => sends_ip6(entry, packet),
        _ => true,
    }
}

/// Whether a port may receive the packet.
pub fn may_receive(port: &Port, packet: &Context) -> bool {
    let destination = mac(packet.get(field::ETH_DST));
    let Some(entry) = port.security.iter().find(|entry| entry.mac == destination) else {
        return port.security.is_empty();
    };
    let any = entry.ipv4.is_empty() && entry.ipv6.is_empty();
    match packet.get(field::ETH_TYPE) as u16 {
        ethertype::IPV4 => {
            let address = packet.get(field::IP4_DST);
            let common = address == u128::from(u32::MAX) || address >> 28 == 0xe;
            any || !entry.ipv4.is_empty() && (has_ip4(entry, address) || common)
        }
        ethertype::IPV6 => {
            let address = packet.get(field::IP6_DST);
            let common = address == link_local(entry.mac) || address >> 120 == 0xff;
            any || !entry.ipv6.is_empty() && (has_ip6(entry, address) || common)
        }
        _ => true,
    }
}

fn mac(value: u128) -> [u8; 6] {
    let [.., a, b, c, d, e, f] = value.to_be_bytes();
    [a, b, c, d, e, f]
}

fn has_ip4(entry: &SecurityEntry, address: u128) -> bool {
    entry.ipv4.iter().any(|(own, _)| u128::from(u32::from(*own)) == address)
}

fn has_ip6(entry: &SecurityEntry, address: u128) -> bool {
    entry.ipv6.iter().any(|(own, _)| u128::from(*own) == address)
}

fn sends_ip4(entry: &SecurityEntry, packet: &Context) -> bool {
    let get = |slice| packet.get(slice);
    let request = get(field::IP_PROTO) == u128::from(protocol::UDP)
        && get(field::TP_SRC) == 68
        && get(field::TP_DST) == 67
        && get(field::IP4_SRC) == 0
        && get(field::IP4_DST) == u128::from(u32::MAX);
    entry.ipv4.is_empty() && entry.ipv6.is_empty() || has_ip4(entry, get(field::IP4_SRC)) || request
}

fn sends_ip6(entry: &SecurityEntry, packet: &Context) -> bool {
    let get = |slice| packet.get(slice);
    if entry.ipv4.is_empty() && entry.ipv6.is_empty() {
        return true;
    }
    let own = |address| has_ip6(entry, address) || address == link_local(entry.mac);
    if !own(get(field::IP6_SRC)) {
        return false;
    }
    let named = |slice| get(slice) == 0 || mac(get(slice)) == entry.mac;
    match (get(field::IP_PROTO) as u8, get(field::TP_SRC)) {
        (protocol::ICMPV6, 135) => named(field::ND_SLL),
        (protocol::ICMPV6, 136) => {
            named(field::ND_TLL) && (entry.ipv6.is_empty() || own(get(field::ND_TARGET)))
        }
        _ => true,
    }
}
