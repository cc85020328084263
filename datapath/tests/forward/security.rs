//! Port security, as ovn-controller means it (PSEC-1 to PSEC-8).

use crate::kit::*;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::parse::parse;
use ovn_xdp_datapath::publish::{Mac, Port, SecurityEntry};
use ovn_xdp_datapath::security::{link_local, may_receive, may_send};

/// Addresses and prefix lengths.
type Networks<'a> = &'a [(&'a str, u8)];

fn secured(entries: &[(Mac, Networks<'_>, Networks<'_>)]) -> Port {
    let mut port = port(1, "p", local(1, None));
    port.security = entries
        .iter()
        .map(|&(mac, v4, v6)| SecurityEntry {
            mac,
            ipv4: v4.iter().map(|(address, length)| (address.parse().unwrap(), *length)).collect(),
            ipv6: v6.iter().map(|(address, length)| (address.parse().unwrap(), *length)).collect(),
        })
        .collect();
    port
}

fn fields(bytes: &[u8]) -> Context {
    parse(bytes, bytes.len(), None).unwrap().context(bytes)
}

fn from_v4(mac: Mac, side: u8, host: u8) -> Context {
    fields(&udp(None, (mac, side, host), (VM2, 1, 4), b"x"))
}

fn to_v4(mac: Mac, side: u8, host: u8) -> Context {
    fields(&udp(None, (VM2, 1, 4), (mac, side, host), b"x"))
}

fn from_v6(mac: Mac, host: u8) -> Context {
    fields(&tcp6(None, (mac, 1, host), (VM2, 1, 4), b"x"))
}

#[test]
fn a_port_without_entries_may_do_anything() {
    let port = secured(&[]);
    assert!(may_send(&port, &from_v4(BLUE, 9, 9)) && may_receive(&port, &to_v4(BLUE, 9, 9)));
}

#[test]
fn a_mac_alone_allows_any_address_with_it_and_no_other_mac() {
    let port = secured(&[(VM1, &[], &[])]);
    assert!(may_send(&port, &from_v4(VM1, 9, 9)) && may_send(&port, &from_v6(VM1, 9)));
    assert!(!may_send(&port, &from_v4(BLUE, 1, 1)));
    assert!(may_receive(&port, &to_v4(VM1, 9, 9)) && !may_receive(&port, &to_v4(BLUE, 1, 1)));
    assert!(may_send(&port, &fields(&arp_request(VM1, [10, 9, 9, 9], [10, 0, 1, 4]))));
}

#[test]
fn listed_addresses_limit_their_own_family_and_shut_out_the_other() {
    let port = secured(&[(VM1, &[("10.0.1.1", 32)], &[])]);
    assert!(may_send(&port, &from_v4(VM1, 1, 1)) && !may_send(&port, &from_v4(VM1, 1, 2)));
    assert!(!may_send(&port, &from_v6(VM1, 1)), "IPv6 is not listed");
    assert!(may_receive(&port, &to_v4(VM1, 1, 1)) && !may_receive(&port, &to_v4(VM1, 1, 2)));
    let port = secured(&[(VM1, &[], &[("fd01::1", 128)])]);
    assert!(may_send(&port, &from_v6(VM1, 1)) && !may_send(&port, &from_v6(VM1, 2)));
    assert!(!may_send(&port, &from_v4(VM1, 1, 1)), "IPv4 is not listed");
    assert!(!may_send(&port, &fields(&arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]))));
}

#[test]
fn host_bits_make_a_network_one_address_and_its_broadcast() {
    let network = secured(&[(VM1, &[("10.0.1.0", 24)], &[])]);
    assert!(may_send(&network, &from_v4(VM1, 1, 77)) && !may_send(&network, &from_v4(VM1, 2, 77)));
    let host = secured(&[(VM1, &[("10.0.1.1", 24)], &[])]);
    assert!(may_send(&host, &from_v4(VM1, 1, 1)) && !may_send(&host, &from_v4(VM1, 1, 77)));
    assert!(may_receive(&host, &to_v4(VM1, 1, 1)) && may_receive(&host, &to_v4(VM1, 1, 255)));
    assert!(!may_receive(&host, &to_v4(VM1, 1, 77)));
}

#[test]
fn dhcp_requests_pass_before_there_is_an_address() {
    let port = secured(&[(VM1, &[("10.0.1.1", 32)], &[])]);
    let mut request = from_v4(VM1, 1, 1);
    for (field, value) in [
        (field::IP4_SRC, 0),
        (field::IP4_DST, 0xffff_ffff),
        (field::TP_SRC, 68),
        (field::TP_DST, 67),
    ] {
        request.set(field, value);
    }
    assert!(may_send(&port, &request));
    request.set(field::TP_DST, 68);
    assert!(!may_send(&port, &request));
}

#[test]
fn arp_may_not_claim_what_is_not_listed() {
    let port = secured(&[(VM1, &[("10.0.1.1", 32)], &[])]);
    assert!(may_send(&port, &fields(&arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]))));
    assert!(!may_send(&port, &fields(&arp_request(VM1, [10, 0, 1, 2], [10, 0, 1, 4]))));
    let mut lying = fields(&arp_request(VM1, [10, 0, 1, 1], [10, 0, 1, 4]));
    lying.set(field::ARP_SHA, mac(BLUE));
    assert!(!may_send(&port, &lying));
}

#[test]
fn the_link_local_address_of_the_mac_is_always_listed() {
    let port = secured(&[(VM1, &[], &[("fd01::1", 128)])]);
    let mut packet = from_v6(VM1, 1);
    packet.set(field::IP6_SRC, link_local(VM1));
    assert!(may_send(&port, &packet));
    assert_eq!(link_local(VM1), 0xfe80_0000_0000_0000_5200_00ff_fe00_0001);
    packet.set(field::IP6_SRC, link_local(BLUE));
    assert!(!may_send(&port, &packet));
}

#[test]
fn the_unspecified_address_may_only_look_for_itself() {
    let port = secured(&[(VM1, &[], &[("fd01::1", 128)])]);
    let mut packet = fields(&solicitation(VM1, 0, v6(1, 1)));
    assert!(may_send(&port, &packet), "duplicate address detection");
    packet.set(field::ICMP_TYPE, 143);
    assert!(may_send(&port, &packet), "multicast listener report");
    packet.set(field::ICMP_TYPE, 128);
    assert!(!may_send(&port, &packet));
}

#[test]
fn an_advertisement_may_only_offer_its_own_addresses() {
    let port = secured(&[(VM1, &[], &[("fd01::1", 128)])]);
    let mut packet = fields(&solicitation(VM1, v6(1, 1), v6(1, 1)));
    packet.set(field::ICMP_TYPE, 136);
    assert!(may_send(&port, &packet), "without a link-layer address");
    packet.set(field::ND_TLL, mac(VM1));
    assert!(may_send(&port, &packet));
    packet.set(field::ND_TLL, mac(BLUE));
    assert!(!may_send(&port, &packet));
    packet.set(field::ND_TLL, mac(VM1));
    packet.set(field::ND_TARGET, v6(1, 7));
    assert!(!may_send(&port, &packet));
}

#[test]
fn an_advertisement_from_another_mac_of_the_port_may_not_offer_the_addresses_of_the_first() {
    let port = secured(&[(VM1, &[], &[("fd01::1", 128)]), (RED, &[], &[("fd01::2", 128)])]);
    let mut packet = fields(&solicitation(RED, v6(1, 2), v6(1, 1)));
    packet.set(field::ICMP_TYPE, 136);
    packet.set(field::ND_TLL, mac(VM1));
    assert!(!may_send(&port, &packet));
    packet.set(field::ND_TARGET, link_local(VM1));
    assert!(may_send(&port, &packet), "upstream's rule for link-local targets names no source");
    packet.set(field::ND_TLL, mac(RED));
    packet.set(field::ND_TARGET, v6(1, 2));
    assert!(may_send(&port, &packet));
}

#[test]
fn multicast_addresses_reach_a_secured_port_only_by_its_own_mac() {
    let port = secured(&[(VM1, &[("10.0.1.1", 32)], &[("fd01::1", 128)])]);
    let mut group = to_v4(VM1, 1, 1);
    group.set(field::IP4_DST, 0xe000_0001);
    assert!(may_receive(&port, &group), "unicast MAC, multicast address");
    group.set(field::ETH_DST, 0x0100_5e00_0001);
    assert!(!may_receive(&port, &group), "northd's flows pass these by the check");
    assert!(!may_receive(&port, &to_v4([255; 6], 1, 255)));
    let mut group = fields(&tcp6(None, (VM2, 1, 4), (VM1, 1, 1), b"x"));
    group.set(field::IP6_DST, 0xff02 << 112 | 1);
    assert!(may_receive(&port, &group));
}

#[test]
fn frames_that_are_not_ip_reach_a_port_with_addresses_by_its_mac() {
    let port = secured(&[(VM1, &[("10.0.1.1", 32)], &[])]);
    let mut reply = fields(&arp_request(VM2, [10, 0, 1, 4], [10, 0, 9, 9]));
    reply.set(field::ETH_DST, mac(VM1));
    assert!(may_receive(&port, &reply));
    reply.set(field::ETH_DST, mac(BLUE));
    assert!(!may_receive(&port, &reply));
}

#[test]
fn an_entry_without_addresses_does_not_open_what_another_of_its_mac_limits() {
    let port = secured(&[(VM1, &[], &[]), (VM1, &[("10.0.1.1", 32)], &[])]);
    assert!(may_receive(&port, &to_v4(VM1, 1, 1)) && !may_receive(&port, &to_v4(VM1, 1, 2)));
}

#[test]
fn a_container_is_held_to_its_own_entries() {
    // PSEC-7, LP-14: the walk, not only the check.
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let mut red = secured(&[(RED, &[("10.0.1.2", 32)], &[])]);
    red.key = port_key(2);
    red.place = local(1, Some(RED_TAG));
    a.ports.insert(red.key, red.into());
    generation.datapaths.insert_mut(a.key, a.into());
    let mut host = Host::new(generation);
    assert_eq!(host.send(1, &udp(Some(RED_TAG), (RED, 1, 2), (VM2, 1, 4), b"x")).len(), 1);
    assert!(host.send(1, &udp(Some(RED_TAG), (VM1, 1, 2), (VM2, 1, 4), b"x")).is_empty());
    assert!(host.send(1, &udp(Some(RED_TAG), (RED, 1, 1), (VM2, 1, 4), b"x")).is_empty());
}
