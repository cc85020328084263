//! Random packets for a random [`Network`], as expressions of `ovn-trace`.

use crate::dice::Dice;
use crate::network::{End, Network, PUBLIC};

/// A packet from somewhere in the network: usually a sensible one, sometimes not.
pub fn microflow(dice: &mut Dice, network: &Network) -> String {
    let from = if dice.percent(80) { dice.of(&network.ends) } else { dice.of(&network.routers) };
    let v6 = dice.percent(35);
    let near: Vec<&End> = network.ends.iter().filter(|end| end.switch == from.switch).collect();
    let routers = network.routers.iter().filter(|end| end.switch == from.switch);
    let routers: Vec<&End> = routers.collect();
    let source_mac = match dice.below(12) {
        0 => "02:99:00:00:00:01".to_owned(),
        1 => dice.of(&network.ends).mac.clone(),
        _ => from.mac.clone(),
    };
    let mut terms =
        vec![format!("inport == \"{}\"", from.name), format!("eth.src == {source_mac}")];
    if from.switch == PUBLIC && dice.percent(20) {
        terms.push(format!("vlan.vid == {}", 1 + dice.below(50)));
    }
    let to = destination(dice, network, &near, v6);
    let target_mac = match dice.below(14) {
        0 => "ff:ff:ff:ff:ff:ff".to_owned(),
        1 => "02:99:00:00:00:02".to_owned(),
        2..=5 if !near.is_empty() => dice.of(&near).mac.clone(),
        _ if to.1.is_some() => to.1.clone().unwrap_or_default(),
        _ if !routers.is_empty() => dice.of(&routers).mac.clone(),
        _ => dice.of(&network.routers).mac.clone(),
    };
    let source = match dice.below(10) {
        0 => {
            if v6 {
                "fd99::1".into()
            } else {
                "192.168.9.9".into()
            }
        }
        1 => address(dice.of(&network.ends), v6),
        2 if v6 => link_local(&from.mac),
        _ => address(from, v6),
    };
    if dice.percent(18) {
        neighbours(dice, &mut terms, v6, &source_mac, &target_mac, &source, &to.0);
    } else if dice.percent(8) {
        requests(dice, &mut terms, v6);
    } else {
        terms.push(format!("eth.dst == {target_mac}"));
        ordinary(dice, &mut terms, v6, &source, &to.0);
    }
    terms.join(" && ")
}

fn address(end: &End, v6: bool) -> String {
    if v6 { end.ip6.clone() } else { end.ip4.clone() }
}

/// The address that an interface gives itself (RFC 4291, appendix A).
fn link_local(mac: &str) -> String {
    let octets: Vec<u8> =
        mac.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    match octets[..] {
        [a, b, c, d, e, f] => {
            format!(
                "fe80::{:x}:{:x}ff:fe{d:02x}:{e:x}{f:02x}",
                u16::from(a ^ 2) << 8 | u16::from(b),
                c
            )
        }
        _ => "fe80::1".into(),
    }
}

/// Where to, and the MAC address there if it is on the same switch.
fn destination(
    dice: &mut Dice,
    network: &Network,
    near: &[&End],
    v6: bool,
) -> (String, Option<String>) {
    match dice.below(10) {
        0..=2 if !near.is_empty() => {
            let end = dice.of(near);
            (address(end, v6), Some(end.mac.clone()))
        }
        3..=5 => (address(dice.of(&network.ends), v6), None),
        6 if v6 && !near.is_empty() && dice.percent(30) => {
            let end = dice.of(near);
            (link_local(&end.mac), Some(end.mac.clone()))
        }
        6 if v6 && dice.percent(40) => (link_local(&dice.of(&network.routers).mac), None),
        6 => (address(dice.of(&network.routers), v6), None),
        _ if v6 => (dice.of(&network.addresses6).clone(), None),
        _ => (dice.of(&network.addresses4).clone(), None),
    }
}

fn ordinary(dice: &mut Dice, terms: &mut Vec<String>, v6: bool, source: &str, to: &str) {
    let family = if v6 { "ip6" } else { "ip4" };
    terms.push(format!("{family}.src == {source}"));
    terms.push(format!("{family}.dst == {to}"));
    let ttl = *dice.of(&[64, 64, 64, 64, 64, 255, 1, 1, 2, 0]);
    terms.push(format!("ip.ttl == {ttl}"));
    let port = *dice.of(&[80, 80, 81, 22, 53, 8080, 443, 5353, 67]);
    match dice.below(12) {
        0..=3 => {
            terms.push(format!("tcp.src == 40000 && tcp.dst == {port}"));
            if dice.percent(30) {
                terms.push(format!("tcp.flags == {}", dice.of(&[2, 16, 4, 17, 18])));
            }
        }
        4..=6 => terms.push(format!("udp.src == 40001 && udp.dst == {port}")),
        7 => terms.push(format!("sctp.src == 40002 && sctp.dst == {port}")),
        8..=9 if v6 => {
            terms.push(format!("icmp6.type == {}", dice.of(&[128, 129, 1, 2, 3, 131, 143])));
        }
        8..=9 => terms.push(format!("icmp4.type == {}", dice.of(&[8, 0, 3, 11]))),
        10 => terms.push("ip.frag == 1 && ip.proto == 17".into()),
        // Protocols of the other family too, and IGMP and MLD to one host.
        _ if v6 => terms.push(format!("ip.proto == {}", dice.of(&[47, 50, 89, 1, 2]))),
        _ => terms.push(format!("ip.proto == {}", dice.of(&[47, 50, 89, 58, 2, 2]))),
    }
}

fn neighbours(
    dice: &mut Dice,
    terms: &mut Vec<String>,
    v6: bool,
    source_mac: &str,
    target_mac: &str,
    source: &str,
    target: &str,
) {
    if !v6 {
        let request = dice.percent(70);
        let to = if request && dice.percent(80) { "ff:ff:ff:ff:ff:ff" } else { target_mac };
        let target = if dice.percent(10) { source } else { target };
        terms.push(format!("eth.dst == {to} && arp.op == {}", if request { 1 } else { 2 }));
        terms
            .push(format!("arp.sha == {source_mac} && arp.spa == {source} && arp.tpa == {target}"));
        return;
    }
    match dice.below(5) {
        0..=1 => {
            terms.push("eth.dst == 33:33:ff:00:00:01 && nd_ns".into());
            let unspecified = dice.percent(15);
            terms.push(format!("ip6.src == {}", if unspecified { "::" } else { source }));
            terms.push(format!("ip6.dst == ff02::1:ff00:1 && nd.target == {target}"));
            if dice.percent(80) {
                terms.push(format!("nd.sll == {source_mac}"));
            }
        }
        2 => {
            terms.push(format!("eth.dst == {target_mac} && nd_na && ip6.src == {source}"));
            terms.push(format!(
                "ip6.dst == {target} && nd.target == {source} && nd.tll == {source_mac}"
            ));
        }
        3 => terms.push(format!(
            "eth.dst == 33:33:00:00:00:02 && nd_rs && ip6.src == {source} && ip6.dst == ff02::2"
        )),
        _ => terms.push(format!(
            "eth.dst == 33:33:00:00:00:16 && ip6.src == {source} && ip6.dst == ff02::16 \
             && ip.ttl == 1 && icmp6.type == 143"
        )),
    }
}

/// DHCP, DNS, group membership, and protocols that nobody knows.
fn requests(dice: &mut Dice, terms: &mut Vec<String>, v6: bool) {
    terms.push(match dice.below(11) {
        0 if v6 => "eth.dst == 33:33:00:01:00:02 && ip6.src == fe80::1 && ip6.dst == ff02::1:2 \
                    && ip.ttl == 1 && udp.src == 546 && udp.dst == 547"
            .into(),
        0 | 1 => {
            "eth.dst == ff:ff:ff:ff:ff:ff && ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255 \
                  && ip.ttl == 64 && udp.src == 68 && udp.dst == 67"
                .into()
        }
        2 => "eth.dst == 01:00:5e:00:00:16 && ip4.src == 10.0.1.1 && ip4.dst == 224.0.0.22 \
              && ip.proto == 2 && ip.ttl == 1"
            .into(),
        3 => "eth.dst == 01:00:5e:01:02:03 && ip4.src == 10.0.1.1 && ip4.dst == 239.1.2.3 \
              && ip.ttl == 8 && udp.dst == 5000"
            .into(),
        4 => "eth.dst == 33:33:00:00:12:34 && ip6.src == fd00:1::1 && ip6.dst == ff0e::1234 \
              && ip.ttl == 8 && udp.dst == 5000"
            .into(),
        5 => "eth.dst == 01:00:5e:00:00:01 && ip4.src == 10.0.2.250 && ip4.dst == 224.0.0.1 \
              && ip.proto == 2 && ip.ttl == 1"
            .into(),
        6 => format!(
            "eth.dst == {} && ip6.src == fe80::1 && ip6.dst == ff02::16 \
             && ip.ttl == 1 && icmp6.type == {}",
            dice.of(&["33:33:00:00:00:16", "33:33:00:00:00:16", "02:00:00:00:01:01"]),
            dice.of(&[130, 131, 132, 143])
        ),
        7 => format!(
            "eth.dst == {} && ip4.src == 172.16.0.7 && ip4.dst == 172.16.0.1 && ip.ttl == 255 \
             && udp.src == 49152 && udp.dst == {}",
            "02:00:00:00:f9:01",
            dice.of(&[3784, 4784])
        ),
        8 => "eth.dst == 33:33:00:00:00:01 && nd_ra && ip6.src == fe80::9 && ip6.dst == ff02::1"
            .into(),
        // The answer of a backend whose health is checked.
        9 => "eth.dst == 02:00:00:00:00:fe && ip4.src == 10.0.1.1 && ip4.dst == 10.0.1.253 \
              && ip.ttl == 64 && tcp.src == 8080 && tcp.dst == 50000"
            .into(),
        _ => format!(
            "eth.dst == ff:ff:ff:ff:ff:ff && eth.type == {}",
            dice.of(&["0x88cc", "0x8847"])
        ),
    });
}

/// States of connections for `--ct`.
pub fn states(dice: &mut Dice) -> Vec<String> {
    const STATES: [&str; 9] =
        ["new", "est", "est,rpl", "rel", "rel,rpl", "inv", "new,est", "est,dnat", "trk"];
    (0..dice.below(5)).map(|_| (*dice.of(&STATES)).to_owned()).collect()
}
