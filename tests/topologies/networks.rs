//! The networks, as lines for `ovn-nbctl`, and who is plugged into them.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use ovn_xdp_kit::central::Central;
use ovn_xdp_kit::link::Mac;
use ovn_xdp_kit::twins::Plug;
use ovn_xdp_kit::workload::Addresses;

use crate::frames::{self, Shape};

/// A guest behind an interface: a VM, or a container behind a tag of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its logical port, or what tells it from another of the same port.
    pub name: &'static str,
    /// The interface that it sends on.
    pub link: &'static str,
    /// Its tag there.
    pub tag: Option<u16>,
    /// The number of its network.
    pub network: u8,
    /// Its addresses.
    pub mac: Mac,
    /// Of IPv4.
    pub v4: Ipv4Addr,
    /// Of IPv6.
    pub v6: Ipv6Addr,
    /// The MAC address of its router.
    pub router: Mac,
    /// Whether its MAC addresses are learned.
    pub learns: bool,
}

impl Host {
    /// The addresses of its router.
    pub fn gateways(&self) -> (Ipv4Addr, Ipv6Addr) {
        let router = Addresses::router(self.network);
        (router.v4, router.v6)
    }
}

/// A guest as a network lists it.
#[derive(Clone, Copy)]
pub struct Plugged {
    name: &'static str,
    port: &'static str,
    /// The VM and the tag, of a container.
    nested: Option<(&'static str, u16)>,
    on: usize,
    network: u8,
    host: u8,
    learns: bool,
}

impl Plugged {
    /// Its interface; a container's is its VM's.
    pub fn plug(&self) -> Plug {
        Plug { link: self.name, port: self.port, on: self.on }
    }

    fn addresses(&self) -> Addresses {
        Addresses::nth(self.network, self.host)
    }
}

/// A network.
pub struct Network {
    lines: Vec<String>,
    /// Guests with interfaces of their own.
    pub plugs: Vec<Plugged>,
    containers: Vec<Plugged>,
    /// Rows of FDB when all guests have spoken.
    pub learned: usize,
    /// Guests of which either may receive what a hash sends to one of them.
    either: &'static [&'static str],
    more: fn(&[Host]) -> Vec<Shape>,
}

impl Network {
    fn new() -> Self {
        Self {
            lines: Vec::new(),
            plugs: Vec::new(),
            containers: Vec::new(),
            learned: 0,
            either: &[],
            more: |_| Vec::new(),
        }
    }

    /// Writes it to the Northbound database.
    pub fn build(&self, central: &Central) -> Result<()> {
        self.lines.iter().try_for_each(|line| central.nb(line).map(drop))
    }

    /// The guests, with the addresses that they were given.
    pub fn hosts(&self, central: &Central) -> Vec<Host> {
        let all = self.plugs.iter().chain(&self.containers);
        all.map(|plugged| {
            let mut addresses = plugged.addresses();
            let port = ["get", "Logical_Switch_Port", plugged.port, "dynamic_addresses"];
            let given = central.nbctl(&port).unwrap();
            if let [_, v4, v6] = given.trim().trim_matches('"').split(' ').collect::<Vec<_>>()[..] {
                (addresses.v4, addresses.v6) = (v4.parse().unwrap(), v6.parse().unwrap());
            }
            Host {
                name: plugged.name,
                link: plugged.nested.map_or(plugged.name, |(vm, _)| vm),
                tag: plugged.nested.map(|(_, tag)| tag),
                network: plugged.network,
                mac: addresses.mac,
                v4: addresses.v4,
                v6: addresses.v6,
                router: Addresses::router(plugged.network).mac,
                learns: plugged.learns,
            }
        })
        .collect()
    }

    /// All that the guests send.
    pub fn shapes(&self, hosts: &[Host]) -> Vec<Shape> {
        let mut shapes: Vec<Shape> =
            hosts.iter().flat_map(|from| frames::of(from, hosts)).collect();
        shapes.extend((self.more)(hosts));
        shapes
    }

    /// What of a received frame is compared.
    pub fn read(&self, link: &'static str, mut frame: Vec<u8>) -> Option<(&'static str, Vec<u8>)> {
        if frames::is_left_out(&frame) {
            return None;
        }
        if self.either.contains(&link) {
            frame[..6].fill(0);
            return Some(("one of several", frame));
        }
        Some((link, frame))
    }

    fn line(&mut self, line: impl Into<String>) -> &mut Self {
        self.lines.push(line.into());
        self
    }

    /// A switch with the number of its network, on routers.
    fn switch(&mut self, name: &str, network: u8, routers: &[&str]) -> &mut Self {
        self.line(format!("ls-add {name}"));
        for (index, router) in routers.iter().enumerate() {
            self.router_port(name, network, router, index as u8 + 1);
        }
        self
    }

    /// The n-th router of a switch: its address ends in n.
    fn router_port(&mut self, switch: &str, network: u8, router: &str, n: u8) -> &mut Self {
        let Addresses { mac, v4, v6 } = match n {
            1 => Addresses::router(network),
            n => Addresses { mac: Mac([2, 0, 0, 0xff, network, n]), ..Addresses::nth(network, n) },
        };
        self.line(format!("lrp-add {router} {router}-{switch} {mac} {v4}/24 {v6}/64"));
        self.line(format!(
            "lsp-add {switch} {switch}-{router} -- lsp-set-type {switch}-{router} router \
             -- lsp-set-addresses {switch}-{router} router \
             -- lsp-set-options {switch}-{router} router-port={router}-{switch}"
        ))
    }

    /// A VM with a port of its addresses, which it must use.
    fn vm(
        &mut self,
        switch: &str,
        name: &'static str,
        (network, host): (u8, u8),
        on: usize,
    ) -> &mut Self {
        let addresses = Addresses::nth(network, host).words();
        self.plain(name, (network, host), on);
        self.line(format!(
            "lsp-add {switch} {name} -- lsp-set-addresses {name} '{addresses}' \
             -- lsp-set-port-security {name} '{addresses}'"
        ))
    }

    /// A guest whose port is made elsewhere.
    fn plain(&mut self, name: &'static str, (network, host): (u8, u8), on: usize) -> &mut Plugged {
        let plugged = Plugged { name, port: name, nested: None, on, network, host, learns: false };
        self.plugs.push(plugged);
        self.plugs.last_mut().expect("just pushed")
    }

    /// A container in a VM.
    fn container(
        &mut self,
        switch: &str,
        name: &'static str,
        (network, host): (u8, u8),
        (vm, tag): (&'static str, u16),
    ) -> &mut Self {
        let addresses = Addresses::nth(network, host).words();
        let nested = Some((vm, tag));
        let on = 0;
        self.containers.push(Plugged {
            name,
            port: name,
            nested,
            on,
            network,
            host,
            learns: false,
        });
        self.line(format!(
            "lsp-add {switch} {name} {vm} {tag} -- lsp-set-addresses {name} '{addresses}' \
             -- lsp-set-port-security {name} '{addresses}'"
        ))
    }
}

fn v6(network: u8, host: u8) -> Ipv6Addr {
    Addresses::nth(network, host).v6
}

/// a — r1 — join — r2 — b, and r2 — r3 — c with the routers' ports as peers.
pub fn transit() -> Network {
    let mut it = Network::new();
    for router in ["r1", "r2", "r3"] {
        it.line(format!("lr-add {router}"));
    }
    it.switch("a", 1, &["r1"]).switch("b", 2, &["r2"]).switch("c", 3, &["r3"]);
    it.switch("join", 9, &["r1", "r2"]);
    it.line(format!("lrp-add r2 r2-r3 02:00:00:fe:08:01 10.0.8.1/24 {}/64 peer=r3-r2", v6(8, 1)));
    it.line(format!("lrp-add r3 r3-r2 02:00:00:fe:08:02 10.0.8.2/24 {}/64 peer=r2-r3", v6(8, 2)));
    for (router, network, hop) in
        [("r1", 2, (9, 2)), ("r1", 3, (9, 2)), ("r2", 1, (9, 1)), ("r2", 3, (8, 2))]
    {
        let hop = Addresses::nth(hop.0, hop.1);
        it.line(format!("lr-route-add {router} 10.0.{network}.0/24 {}", hop.v4));
        it.line(format!("lr-route-add {router} {}/64 {}", v6(network, 0), hop.v6));
    }
    it.line("lr-route-add r3 0.0.0.0/0 10.0.8.1")
        .line(format!("lr-route-add r3 ::/0 {}", v6(8, 1)));
    it.vm("a", "a1", (1, 11), 0).vm("a", "a2", (1, 12), 1);
    it.vm("b", "b1", (2, 11), 0).vm("b", "b2", (2, 12), 1);
    it.vm("c", "c1", (3, 11), 1).vm("join", "j1", (9, 11), 0);
    it
}

/// Three switches on a router; ports with several addresses, prefixes, no addresses, `unknown`.
pub fn addresses() -> Network {
    let mut it = Network::new();
    it.line("lr-add r");
    for (switch, network) in [("s1", 1), ("s2", 2), ("s3", 3)] {
        it.switch(switch, network, &["r"]);
    }
    it.vm("s1", "one", (1, 11), 0).vm("s1", "other", (1, 12), 1).vm("s2", "far", (2, 11), 1);
    // Two MAC addresses, each with addresses of its own, and a prefix.
    let (first, second) = (Addresses::nth(1, 21), Addresses::nth(1, 22));
    let several = format!(
        "'{first} 10.0.1.23 10.0.1.64/26' '{second}'",
        first = first.words(),
        second = second.words()
    );
    it.line(format!(
        "lsp-add s1 several -- lsp-set-addresses several '{}' '{}'",
        first.words(),
        second.words()
    ));
    it.line(format!("lsp-set-port-security several {several}"));
    it.plain("several", (1, 21), 0);
    // Only a MAC address; nothing at all is checked; nothing is known.
    let mac = Addresses::nth(2, 12);
    it.line(format!(
        "lsp-add s2 macs -- lsp-set-addresses macs '{}' -- lsp-set-port-security macs '{}'",
        mac.words(),
        mac.mac
    ));
    it.plain("macs", (2, 12), 0);
    it.line(format!(
        "lsp-add s2 free -- lsp-set-addresses free '{}'",
        Addresses::nth(2, 13).words()
    ));
    it.plain("free", (2, 13), 1);
    for (name, host, on) in [("u1", 11, 0), ("u2", 12, 1)] {
        it.line(format!("lsp-add s3 {name} -- lsp-set-addresses {name} unknown"));
        it.plain(name, (3, host), on).learns = true;
    }
    it.learned = 2;
    it.more = |hosts| {
        let named = |name| hosts.iter().find(|host| host.name == name).expect("listed above");
        let (several, other) = (named("several"), named("other"));
        let mut shapes = Vec::new();
        for (mac, host) in [(21, 23), (21, 70), (21, 200), (22, 22), (22, 21), (22, 23)] {
            let source = Addresses { v4: Ipv4Addr::new(10, 0, 1, host), ..Addresses::nth(1, mac) };
            let from = Host { mac: source.mac, v4: source.v4, ..several.clone() };
            shapes.extend(frames::of(&from, std::slice::from_ref(other)));
        }
        for (mac, host) in [(21, 22), (22, 21), (21, 23), (21, 70)] {
            let target = Addresses::nth(1, mac).mac;
            let to = Host { mac: target, v4: Ipv4Addr::new(10, 0, 1, host), ..several.clone() };
            shapes.extend(frames::of(other, &[to]));
        }
        shapes
    };
    it
}

/// Port groups with drops in both directions, address sets, port ranges, and higher allows. (No `ip.dscp`: of a test
/// of it ovn-controller 23.03 makes a flow without any.)
pub fn groups() -> Network {
    let mut it = Network::new();
    it.line("lr-add r").switch("s1", 1, &["r"]).switch("s2", 2, &["r"]);
    it.vm("s1", "g1", (1, 11), 0).vm("s1", "g2", (1, 12), 1).vm("s1", "g3", (1, 13), 0);
    it.vm("s2", "h1", (2, 11), 1).vm("s2", "h2", (2, 12), 0);
    it.line("pg-add inner g1 h1").line("pg-add outer g2 h2 g3").line("pg-add drops g1 g2 g3 h1 h2");
    it.line("create Address_Set name=some addresses='10.0.1.12,10.0.2.0/28'");
    it.line(format!("create Address_Set name=six addresses='\"{}\",\"{}\"'", v6(1, 12), v6(2, 12)));
    for (entity, direction, priority, matching, verdict) in [
        ("drops", "to-lport", 900, "outport == @drops && udp.dst == 81", "drop"),
        ("drops", "from-lport", 900, "inport == @drops && icmp4.type == 8", "drop"),
        ("inner", "to-lport", 1000, "outport == @inner && ip4.src == $some", "drop"),
        (
            "inner",
            "to-lport",
            1001,
            "outport == @inner && ip4.src == $some && udp.dst == 80",
            "allow",
        ),
        ("outer", "from-lport", 1000, "inport == @outer && ip6.dst == $six", "drop"),
        ("outer", "from-lport", 1002, "inport == @outer && ip6 && tcp.dst == {22, 80}", "allow"),
        ("outer", "to-lport", 1000, "outport == @outer && ip4.src == $inner_ip4 && tcp", "drop"),
        ("s1", "to-lport", 1101, "udp.dst == 80 && ip.first_frag", "drop"),
        ("s1", "to-lport", 1101, "tcp.dst == 0 && ip.first_frag", "drop"),
        ("s1", "to-lport", 1100, "tcp.flags == 0x29/0x29", "drop"),
        ("s2", "from-lport", 1100, "ip.ttl == {1, 3} || ip.proto == 99 || ip.later_frag", "drop"),
        (
            "s2",
            "to-lport",
            1100,
            "(100 < udp.dst <= 4999 && ip.is_frag) || eth.type == 0x88cc",
            "drop",
        ),
    ] {
        it.line(format!("acl-add {entity} {direction} {priority} '{matching}' {verdict}"));
    }
    // Ranges across each other, as security groups have them.
    for n in 0..12 {
        let (low, high, verdict) = (70 + n, 79 + n % 4, ["drop", "allow"][n % 2]);
        let matching = format!("outport == @outer && udp && udp.dst >= {low} && udp.dst <= {high}");
        let priority = 1010 + n * 7 % 12;
        it.line(format!("acl-add outer to-lport {priority} '{matching}' {verdict}"));
    }
    it
}

/// Containers on their VM's switch, on another, of both hypervisors, beside a switch that lets tags
/// pass.
pub fn nested() -> Network {
    let mut it = Network::new();
    it.line("lr-add r").switch("s1", 1, &["r"]).switch("s2", 2, &["r"]);
    it.line("ls-add through -- set Logical_Switch through other_config:vlan-passthru=true");
    it.vm("s1", "vm1", (1, 11), 0).vm("s1", "vm2", (1, 12), 1);
    it.container("s1", "same", (1, 21), ("vm1", 7)).container(
        "s2",
        "other",
        (2, 21),
        ("vm1", 4094),
    );
    it.container("s2", "second", (2, 22), ("vm1", 8)).container("s2", "away", (2, 23), ("vm2", 7));
    it.vm("through", "t1", (3, 11), 0).vm("through", "t2", (3, 12), 1);
    it
}

/// Addresses that northd chooses, a localport on both hypervisors, a port and a router port disabled.
pub fn dynamic() -> Network {
    let mut it = Network::new();
    it.line("lr-add r").switch("s1", 1, &["r"]).switch("s2", 2, &["r"]).switch("s3", 3, &["r"]);
    it.line(format!(
        "set Logical_Switch s1 other_config:subnet=10.0.1.0/24 other_config:ipv6_prefix='\"{}\"' \
         other_config:exclude_ips=10.0.1.2..10.0.1.40",
        v6(1, 0)
    ));
    for (name, host, on) in [("d1", 51, 0), ("d2", 52, 1), ("d3", 53, 0)] {
        let mac = Addresses::nth(1, host).mac;
        it.line(format!("lsp-add s1 {name} -- lsp-set-addresses {name} '{mac} dynamic'"));
        it.plain(name, (1, host), on);
    }
    it.vm("s2", "e1", (2, 11), 0).vm("s2", "off", (2, 12), 0).vm("s3", "f1", (3, 11), 1);
    it.line("lsp-set-enabled off disabled").line("lrp-set-enabled r-s3 disabled");
    let meta = Addresses::nth(1, 99);
    it.line(format!(
        "lsp-add s1 meta -- lsp-set-type meta localport -- lsp-set-addresses meta '{}'",
        meta.words()
    ));
    for (name, on) in [("meta0", 0), ("meta1", 1)] {
        it.plain(name, (1, 99), on).port = "meta";
    }
    it
}

/// Routes by source, to nowhere, over equal paths, past policies; a path with a smaller MTU.
pub fn routing() -> Network {
    let mut it = Network::new();
    it.line("lr-add r").switch("s1", 1, &["r"]).switch("s2", 2, &["r"]).switch("hops", 7, &["r"]);
    it.vm("s1", "p1", (1, 11), 0).vm("s1", "p2", (1, 12), 1).vm("s2", "q1", (2, 11), 0);
    // Next hops, which take what is not for them.
    for (name, host, on) in [("n1", 11, 0), ("n2", 12, 1), ("n3", 13, 1)] {
        let addresses = Addresses::nth(7, host);
        it.line(format!("lsp-add hops {name} -- lsp-set-addresses {name} '{}'", addresses.words()));
        it.plain(name, (7, host), on);
    }
    it.either = &["n1", "n2"];
    for line in [
        "--ecmp lr-route-add r 203.0.113.0/24 10.0.7.11",
        "--ecmp lr-route-add r 203.0.113.0/24 10.0.7.12",
        "lr-route-add r 198.51.100.0/24 10.0.7.13",
        "lr-route-add r 198.51.100.128/25 discard",
        "lr-route-add r 198.51.100.192/26 10.0.7.11",
        "--policy=src-ip lr-route-add r 10.0.2.11/32 10.0.7.13",
        "lr-policy-add r 1000 'ip4.src == 10.0.1.11 && udp.dst == 81' reroute 10.0.7.13",
        "lr-policy-add r 1001 'ip4.src == 10.0.1.12 && udp.dst == 81' reroute 10.0.7.11,10.0.7.12",
        "lr-policy-add r 1002 'ip4.dst == 198.51.100.9' drop",
        "lr-policy-add r 1003 'ip4.src == 10.0.1.12 && ip4.dst == 198.51.100.9' allow",
        "set Logical_Router_Port r-s2 options:gateway_mtu=1200",
    ] {
        it.line(line);
    }
    it.line(format!("--ecmp lr-route-add r 2001:db8:1::/48 {}", v6(7, 11)));
    it.line(format!("--ecmp lr-route-add r 2001:db8:1::/48 {}", v6(7, 12)));
    it.line(format!("lr-route-add r 2001:db8:2::/48 {}", v6(7, 13)));
    it.more = |hosts| {
        let mut shapes = Vec::new();
        for from in hosts.iter().filter(|host| host.network != 7) {
            for (v4, six) in [
                ([203, 0, 113, 7], "2001:db8:1::7"),
                ([203, 0, 113, 8], "2001:db8:1::8"),
                ([198, 51, 100, 9], "2001:db8:2::9"),
                ([198, 51, 100, 10], "2001:db8:3::9"),
                ([198, 51, 100, 130], "2001:db8:2::a"),
                ([198, 51, 100, 200], "2001:db8:2::b"),
            ] {
                let to = Host {
                    name: "outside",
                    network: 0,
                    v4: v4.into(),
                    v6: six.parse().expect("an address"),
                    ..from.clone()
                };
                shapes.extend(frames::of(from, &[to]));
            }
        }
        shapes
    };
    it
}
