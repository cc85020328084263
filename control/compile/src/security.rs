//! `Port_Binding.port_security` as text (ovn-nb(5), "Port security").
//!
//! An entry is a MAC address, and behind it IPv4 and IPv6 addresses or networks, with blanks
//! between. What ovn-controller makes of a bad entry is kept: one that does not start with a MAC
//! address is left out, and reading stops at the first thing that is no address. If nothing is left
//! the port is not checked (PSEC-8).

use crate::mac;
use ovn_xdp_datapath::publish::SecurityEntry;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The entries of a port, in the order of the texts.
pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Box<[SecurityEntry]> {
    texts.into_iter().filter_map(entry).collect()
}

/// One entry, or `None` if it does not start with a MAC address.
pub fn entry(text: &str) -> Option<SecurityEntry> {
    let mut words = text.split_ascii_whitespace();
    let mac = mac::parse(words.next()?)?;
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for word in words {
        if let Some(network) = network::<Ipv4Addr>(word, 32) {
            ipv4.push(network);
        } else if let Some(network) = network::<Ipv6Addr>(word, 128) {
            ipv6.push(network);
        } else {
            break;
        }
    }
    Some(SecurityEntry { mac, ipv4: ipv4.into(), ipv6: ipv6.into() })
}

fn network<A: std::str::FromStr>(word: &str, bits: u8) -> Option<(A, u8)> {
    let (address, length) = match word.split_once('/') {
        None => (word, bits),
        Some((address, length)) => (address, length.parse().ok().filter(|l| *l <= bits)?),
    };
    Some((address.parse().ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_alone_allows_any_address() {
        let entry = entry("00:00:00:00:00:01").unwrap();
        assert!(entry.ipv4.is_empty() && entry.ipv6.is_empty());
    }

    #[test]
    fn networks_keep_their_host_bits_and_lengths() {
        let entry = entry("  0a:00:00:00:00:01 10.0.0.5/24 192.0.2.1 fd00::1/64 ").unwrap();
        assert_eq!(
            *entry.ipv4,
            [(Ipv4Addr::new(10, 0, 0, 5), 24), (Ipv4Addr::new(192, 0, 2, 1), 32)]
        );
        assert_eq!(*entry.ipv6, [("fd00::1".parse().unwrap(), 64)]);
    }

    #[test]
    fn reading_stops_at_what_is_no_address_and_entries_without_a_mac_are_left_out() {
        let entries =
            parse(["unknown", "", "0a:00:00:00:00:01 10.0.0.1 10.0.0.999 10.0.0.3", "10.0.0.1"]);
        assert_eq!(entries.len(), 1);
        assert_eq!(*entries[0].ipv4, [(Ipv4Addr::new(10, 0, 0, 1), 32)]);
        assert_eq!(entry("0a:00:00:00:00:01 10.0.0.1/33").unwrap().ipv4.len(), 0);
    }
}
