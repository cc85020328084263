//! A random logical network, as the commands for `ovn-nbctl` that make it.
//!
//! Two or three switches on a distributed router, a provider network behind a distributed gateway
//! port, and a gateway router behind a join switch; on top of them whatever features the dice give,
//! among them always the one that the network is `about`, so that a row of networks has all of them.

use crate::central::Central;
use crate::dice::Dice;
use anyhow::Result;

/// What a network may have. The list is walked by [`Network::random`]'s `about`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is named for what it is in ovn-nb(5)")]
pub enum Feature {
    PortSecurity,
    StatelessAcls,
    StatefulAcls,
    Dhcp,
    Dns,
    Nested,
    SwitchBalancer,
    RouterBalancer,
    Affinity,
    SourceNat,
    FloatingAddresses,
    GatewayNat,
    Policies,
    StaticRoutes,
    Ecmp,
    Multicast,
    Qos,
    Unknown,
    Virtual,
    Neighbours,
    GatewayMtu,
    RouterAdvertisements,
    ForwardingGroup,
    Templates,
    ArpProxy,
    Localport,
}

/// Every feature.
pub const FEATURES: [Feature; 26] = [
    Feature::PortSecurity,
    Feature::StatelessAcls,
    Feature::StatefulAcls,
    Feature::Dhcp,
    Feature::Dns,
    Feature::Nested,
    Feature::SwitchBalancer,
    Feature::RouterBalancer,
    Feature::Affinity,
    Feature::SourceNat,
    Feature::FloatingAddresses,
    Feature::GatewayNat,
    Feature::Policies,
    Feature::StaticRoutes,
    Feature::Ecmp,
    Feature::Multicast,
    Feature::Qos,
    Feature::Unknown,
    Feature::Virtual,
    Feature::Neighbours,
    Feature::GatewayMtu,
    Feature::RouterAdvertisements,
    Feature::ForwardingGroup,
    Feature::Templates,
    Feature::ArpProxy,
    Feature::Localport,
];

/// A port that a packet may come from or go to.
#[derive(Clone, Debug)]
pub struct End {
    /// Its name.
    pub name: String,
    /// The number of its switch, or of the provider network.
    pub switch: usize,
    /// Its MAC address.
    pub mac: String,
    /// Its IPv4 address.
    pub ip4: String,
    /// Its IPv6 address.
    pub ip6: String,
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it has.
    pub features: Vec<Feature>,
    /// Words of one `ovn-nbctl` command line that makes it.
    pub commands: Vec<String>,
    /// Ports of workloads.
    pub ends: Vec<End>,
    /// Ports of routers, of both sides, with the router's addresses.
    pub routers: Vec<End>,
    /// Other addresses that mean something: of load balancers, NAT, the world outside.
    pub addresses4: Vec<String>,
    /// The same of IPv6.
    pub addresses6: Vec<String>,
    /// Backends of load balancers, for `--lb-dst`.
    pub backends: Vec<String>,
}

/// The provider network's number.
pub const PUBLIC: usize = 9;

/// Everything of a Northbound database that a network may have made.
const TABLES: [&str; 10] = [
    "Logical_Switch",
    "Logical_Router",
    "Load_Balancer",
    "Port_Group",
    "Address_Set",
    "DHCP_Options",
    "DNS",
    "Static_MAC_Binding",
    "Chassis_Template_Var",
    "Meter",
];

impl Network {
    /// A network about one of the [`FEATURES`].
    pub fn random(dice: &mut Dice, about: usize) -> Self {
        let about = FEATURES[about % FEATURES.len()];
        let features =
            FEATURES.iter().copied().filter(|it| *it == about || dice.percent(35)).collect();
        let mut network = Self {
            features,
            commands: Vec::new(),
            ends: Vec::new(),
            routers: Vec::new(),
            addresses4: vec!["8.8.8.8".into(), "172.16.0.9".into(), "10.0.1.77".into()],
            addresses6: vec!["2001:db8::8".into(), "fd00:1::77".into()],
            backends: Vec::new(),
        };
        let switches = 2 + dice.below(2);
        network.switches(dice, switches);
        network.gateways();
        network.policy(dice);
        network.services(dice);
        network.translation(dice);
        network.routing(dice);
        network.learned();
        network
    }

    /// Makes it in place of what a central has, with what chassis would have learned by now.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn build(&self, central: &Central) -> Result<()> {
        Self::clear(central)?;
        let words: Vec<&str> = self.commands[1..].iter().map(String::as_str).collect();
        central.nbctl(&words)?;
        central.sync()?;
        if self.has(Feature::Neighbours) {
            learn(central)?;
        }
        Ok(())
    }

    /// Takes out whatever a central has.
    ///
    /// # Errors
    /// If a tool fails.
    pub fn clear(central: &Central) -> Result<()> {
        central.nb("set NB_Global . options:use_ct_inv_match=true")?;
        // northd throws dice for it otherwise.
        central.nb("set NB_Global . options:svc_monitor_mac=\"02:00:00:00:00:fe\"")?;
        let clear = TABLES.iter().flat_map(|table| ["--", "--all", "destroy", table]);
        central.nbctl(&clear.skip(1).collect::<Vec<_>>()).map(drop)
    }

    /// Whether it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn add(&mut self, words: &str) {
        self.commands.push("--".into());
        // What stands between single quotes is part of one word, spaces and all.
        let (mut word, mut quoted) = (String::new(), false);
        for letter in words.chars().chain([' ']) {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    if !word.is_empty() {
                        self.commands.push(std::mem::take(&mut word));
                    }
                }
                other => word.push(other),
            }
        }
    }

    fn switches(&mut self, dice: &mut Dice, switches: usize) {
        self.add("lr-add r0");
        for switch in 1..=switches {
            self.add(&format!("ls-add s{switch}"));
            let router = format!("02:00:00:00:f{switch}:01");
            self.add(&format!(
                "lrp-add r0 r0-s{switch} {router} 10.0.{switch}.254/24 fd00:{switch}::fe/64"
            ));
            self.patch(&format!("s{switch}"), &format!("s{switch}-r0"), &format!("r0-s{switch}"));
            let ends = [(format!("r0-s{switch}"), 254), (format!("s{switch}-r0"), 254)];
            self.routers.extend(ends.into_iter().map(|(name, host)| End {
                name,
                switch,
                mac: router.clone(),
                ip4: format!("10.0.{switch}.{host}"),
                ip6: format!("fd00:{switch}::fe"),
            }));
            for host in 1..=2 + dice.below(2) {
                let nested = self.has(Feature::Nested) && host == 2 && switch > 1;
                let tag = if nested { format!(" s1p1 {}", 40 + switch) } else { String::new() };
                self.workload(switch, host, &tag);
            }
        }
        if self.has(Feature::Unknown) {
            self.add("lsp-add s1 s1u -- lsp-set-addresses s1u unknown");
            self.end("s1u", 1, "02:00:00:00:01:aa", 170);
        }
        if self.has(Feature::Localport) {
            self.add("lsp-add s1 s1l -- lsp-set-type s1l localport");
            self.add(r#"lsp-set-addresses s1l '02:00:00:00:01:bb 10.0.1.187'"#);
            self.end("s1l", 1, "02:00:00:00:01:bb", 187);
        }
        if self.has(Feature::Virtual) {
            self.add("lsp-add s1 s1v -- lsp-set-type s1v virtual");
            self.add(r#"lsp-set-addresses s1v '02:00:00:00:01:cc 10.0.1.204'"#);
            self.add(r#"set Logical_Switch_Port s1v options:virtual-ip=10.0.1.204 options:virtual-parents='"s1p1,s1p2"'"#);
            self.addresses4.push("10.0.1.204".into());
        }
    }

    fn workload(&mut self, switch: usize, host: usize, tag: &str) {
        let name = format!("s{switch}p{host}");
        let mac = format!("02:00:00:00:0{switch}:0{host}");
        let addresses = format!("{mac} 10.0.{switch}.{host} fd00:{switch}::{host}");
        self.add(&format!("lsp-add s{switch} {name}{tag}"));
        self.add(&format!("lsp-set-addresses {name} '{addresses}'"));
        if self.has(Feature::PortSecurity) {
            let allowed = match (switch + host) % 4 {
                0 => mac.clone(),
                1 => format!("{mac} 10.0.{switch}.{host}"),
                _ => addresses,
            };
            self.add(&format!("lsp-set-port-security {name} '{allowed}'"));
        }
        self.end(&name, switch, &mac, host);
    }

    fn end(&mut self, name: &str, switch: usize, mac: &str, host: usize) {
        self.ends.push(End {
            name: name.into(),
            switch,
            mac: mac.into(),
            ip4: format!("10.0.{switch}.{host}"),
            ip6: format!("fd00:{switch}::{host:x}"),
        });
    }

    fn patch(&mut self, switch: &str, port: &str, router: &str) {
        self.add(&format!("lsp-add {switch} {port} -- lsp-set-type {port} router"));
        self.add(&format!("lsp-set-addresses {port} router"));
        self.add(&format!("lsp-set-options {port} router-port={router}"));
    }

    /// A distributed gateway port to the provider network, and a gateway router.
    fn gateways(&mut self) {
        self.add("ls-add pub -- lsp-add pub ln -- lsp-set-type ln localnet");
        self.add("lsp-set-addresses ln unknown -- lsp-set-options ln network_name=phys");
        self.add("lrp-add r0 r0-pub 02:00:00:00:f9:01 172.16.0.1/24 2001:db8::1/64");
        self.add("lrp-set-gateway-chassis r0-pub hv1 20 -- lrp-set-gateway-chassis r0-pub hv2 10");
        self.patch("pub", "pub-r0", "r0-pub");
        self.add("lrp-add r0 r0-join 02:00:00:00:f8:01 100.64.0.1/24 fd64::1/64");
        self.add("ls-add join");
        self.patch("join", "join-r0", "r0-join");
        self.add("lr-add gw -- set Logical_Router gw options:chassis=hv1");
        self.add("lrp-add gw gw-join 02:00:00:00:f8:02 100.64.0.2/24 fd64::2/64");
        self.patch("join", "join-gw", "gw-join");
        self.add("ls-add out -- lsp-add out out1");
        self.add(r#"lsp-set-addresses out1 '02:00:00:00:0a:05 172.30.0.5 2001:db8:30::5'"#);
        self.add("lrp-add gw gw-out 02:00:00:00:fa:01 172.30.0.1/24 2001:db8:30::1/64");
        self.patch("out", "out-gw", "gw-out");
        self.add("lr-route-add gw 10.0.0.0/16 100.64.0.1 -- lr-route-add gw fd00::/16 fd64::1");
        self.add("lr-route-add r0 172.30.0.0/24 100.64.0.2");
        self.add("lr-route-add r0 2001:db8:30::/64 fd64::2");
        let end = |name: &str, switch, mac: &str, ip4: &str, ip6: &str| End {
            name: name.into(),
            switch,
            mac: mac.into(),
            ip4: ip4.into(),
            ip6: ip6.into(),
        };
        let world = end("ln", PUBLIC, "02:00:00:00:09:09", "172.16.0.200", "2001:db8::c8");
        let out = end("out1", 10, "02:00:00:00:0a:05", "172.30.0.5", "2001:db8:30::5");
        let routers = [
            end("r0-pub", PUBLIC, "02:00:00:00:f9:01", "172.16.0.1", "2001:db8::1"),
            end("gw-out", 10, "02:00:00:00:fa:01", "172.30.0.1", "2001:db8:30::1"),
            end("gw-join", 11, "02:00:00:00:f8:02", "100.64.0.2", "fd64::2"),
        ];
        self.ends.extend([world, out]);
        self.routers.extend(routers);
    }

    /// ACLs, QoS.
    fn policy(&mut self, dice: &mut Dice) {
        if self.has(Feature::StatelessAcls) || self.has(Feature::StatefulAcls) {
            self.add(r#"create Address_Set name=as4 addresses='"10.0.1.1","10.0.2.0/24","172.16.0.200"'"#);
            self.add("pg-add pg1 s1p1 s2p1 -- pg-add pg2 s1p2 s2p1");
        }
        let stateful = self.has(Feature::StatefulAcls);
        if self.has(Feature::StatelessAcls) {
            self.acl(
                dice,
                "s1",
                "from-lport",
                1001,
                "ip4.src == $as4 && udp.dst == 81",
                &["drop", "allow"],
            );
            self.acl(
                dice,
                "pg1",
                "to-lport",
                1002,
                "outport == @pg1 && tcp.dst == {22, 81}",
                &["drop", "reject"],
            );
            self.acl(
                dice,
                "s2",
                "to-lport",
                1000,
                "ip6 && ip6.dst == fd00:2::2",
                &["allow", "drop"],
            );
        }
        if stateful {
            self.acl(
                dice,
                "s1",
                "from-lport",
                1003,
                "inport == @pg1 && ip4 && tcp",
                &["allow-related"],
            );
            self.acl(
                dice,
                "pg2",
                "to-lport",
                1004,
                "outport == @pg2 && ip && tcp.dst == 80",
                &["allow-related", "reject"],
            );
            self.acl(
                dice,
                "s2",
                "to-lport",
                1005,
                "ip4.src == $as4 && icmp4",
                &["reject", "allow-related", "drop"],
            );
            self.acl(
                dice,
                "s2",
                "from-lport",
                1006,
                "udp && udp.dst == 5353",
                &["reject", "allow-stateless"],
            );
            self.add(
                "--log --severity=alert --name=logged acl-add s1 to-lport 1010 'ip6 && tcp' reject",
            );
        }
        if self.has(Feature::Qos) {
            self.add("qos-add s1 from-lport 100 'ip4 && udp' dscp=48");
            self.add("qos-add s2 to-lport 101 'ip6' rate=1000 burst=100 dscp=10");
        }
    }

    fn acl(
        &mut self,
        dice: &mut Dice,
        on: &str,
        way: &str,
        priority: u16,
        matching: &str,
        verdicts: &[&str],
    ) {
        let verdict = dice.of(verdicts);
        self.add(&format!("acl-add {on} {way} {priority} '{matching}' {verdict}"));
    }

    /// DHCP, DNS, load balancers, multicast, router advertisements.
    fn services(&mut self, dice: &mut Dice) {
        if self.has(Feature::Dhcp) {
            self.add(r#"--id=@d4 create DHCP_Options cidr='"10.0.1.0/24"' options:server_id=10.0.1.254 options:server_mac='"02:00:00:00:f1:01"' options:lease_time=3600 options:router=10.0.1.254"#);
            self.add(r#"--id=@d6 create DHCP_Options cidr='"fd00:1::/64"' options:server_id='"02:00:00:00:f1:01"'"#);
            self.add("set Logical_Switch_Port s1p1 dhcpv4_options=@d4 dhcpv6_options=@d6");
        }
        if self.has(Feature::Dns) {
            self.add("--id=@dns create DNS records:vm1.ovn.org=10.0.1.1");
            self.add("set Logical_Switch s1 dns_records=@dns");
        }
        if self.has(Feature::SwitchBalancer) {
            let reject = if dice.percent(50) { "--reject " } else { "" };
            self.balancer(
                reject,
                "lb1",
                "10.96.0.1:80",
                "10.0.1.1:8080,10.0.2.1:8080",
                "tcp",
                "s1",
            );
            self.balancer("", "lb2", "10.96.0.2", "10.0.1.2", "", "s1");
            self.balancer("", "lb3", "[fd96::1]:80", "[fd00:1::1]:8080", "tcp", "s1");
            self.add("ls-lb-add s2 lb1");
        }
        if self.has(Feature::RouterBalancer) {
            self.balancer("", "lb4", "172.16.0.50:80", "10.0.1.1:80,10.0.2.1:80", "tcp", "");
            self.balancer("", "lb5", "172.30.0.50:53", "10.0.2.1:53", "udp", "");
            self.add("lr-lb-add r0 lb4 -- lr-lb-add gw lb5");
            if dice.percent(50) {
                self.add("set Logical_Router gw options:lb_force_snat_ip=100.64.0.2");
            } else {
                self.add("set Load_Balancer lb5 options:skip_snat=true");
            }
        }
        if self.has(Feature::Affinity) {
            self.balancer("", "lb6", "10.96.0.6:80", "10.0.2.1:80", "tcp", "s2");
            self.add("set Load_Balancer lb6 options:affinity_timeout=60");
        }
        if self.has(Feature::Templates) {
            self.add(r#"create Chassis_Template_Var chassis=hv1 variables:vip=10.96.0.7 variables:backends='"10.0.1.1:80"'"#);
            self.add("--template lb-add lb7 '^vip:80' '^backends' tcp ipv4 -- ls-lb-add s1 lb7");
        }
        if self.has(Feature::Multicast) {
            self.add(r#"set Logical_Switch s1 other_config:mcast_snoop=true other_config:mcast_querier=true other_config:mcast_eth_src='"02:00:00:00:01:ee"' other_config:mcast_ip4_src=10.0.1.250 other_config:mcast_flood_unregistered=true"#);
            self.add("set Logical_Router r0 options:mcast_relay=true");
            self.add("set Logical_Switch_Port s1p2 options:mcast_flood=true options:mcast_flood_reports=true");
        }
        if self.has(Feature::RouterAdvertisements) {
            self.add("set Logical_Router_Port r0-s1 ipv6_ra_configs:address_mode=slaac ipv6_ra_configs:mtu=1400");
            self.add("set Logical_Router_Port r0-s2 ipv6_ra_configs:address_mode=dhcpv6_stateful");
        }
        if self.has(Feature::ForwardingGroup) {
            self.add("fwd-group-add fwd1 s1 10.0.1.240 02:00:00:00:01:f0 s1p1 s1p2");
            self.addresses4.push("10.0.1.240".into());
        }
        if self.has(Feature::ArpProxy) {
            self.add(
                r#"set Logical_Switch_Port s1-r0 options:arp_proxy='"10.0.1.99 169.254.0.1"'"#,
            );
            self.addresses4.extend(["10.0.1.99".into(), "169.254.0.1".into()]);
        }
    }

    fn balancer(&mut self, flags: &str, name: &str, vip: &str, to: &str, protocol: &str, on: &str) {
        self.add(&format!("{flags}lb-add {name} {vip} {to} {protocol}"));
        if !on.is_empty() {
            self.add(&format!("ls-lb-add {on} {name}"));
        }
        let address = vip.trim_start_matches('[').split(']').next().unwrap_or(vip);
        if vip.starts_with('[') {
            self.addresses6.push(address.into());
        } else {
            self.addresses4.push(vip.split(':').next().unwrap_or(vip).into());
        }
        self.backends.extend(to.split(',').map(str::to_owned));
    }

    fn translation(&mut self, dice: &mut Dice) {
        if self.has(Feature::SourceNat) {
            self.add("lr-nat-add r0 snat 172.16.0.1 10.0.1.0/24");
            if dice.percent(50) {
                self.add("lr-nat-add r0 snat 2001:db8::1 fd00:1::/64");
            }
        }
        if self.has(Feature::FloatingAddresses) {
            self.add("lr-nat-add r0 dnat_and_snat 172.16.0.101 10.0.1.1 s1p1 02:00:00:00:01:01");
            self.add("lr-nat-add r0 dnat_and_snat 172.16.0.102 10.0.2.1");
            self.add("lr-nat-add r0 dnat 172.16.0.103 10.0.1.2");
            self.addresses4.extend((101..=103).map(|host| format!("172.16.0.{host}")));
        }
        if self.has(Feature::GatewayNat) {
            self.add("lr-nat-add gw snat 172.30.0.1 10.0.0.0/16");
            self.add("lr-nat-add gw dnat_and_snat 172.30.0.101 10.0.1.1");
            self.add("lr-nat-add gw dnat 172.30.0.102 10.0.2.1");
            self.addresses4.extend(["172.30.0.101".into(), "172.30.0.102".into()]);
            if dice.percent(50) {
                self.add("set Logical_Router gw options:dnat_force_snat_ip=100.64.0.2");
            }
        }
    }

    fn routing(&mut self, dice: &mut Dice) {
        if self.has(Feature::Policies) {
            self.add("lr-policy-add r0 100 'ip4.src == 10.0.1.1 && udp' reroute 172.16.0.7");
            self.add("lr-policy-add r0 101 'ip4.dst == 8.8.8.8 && tcp' drop");
            self.add("lr-policy-add r0 102 'ip6.dst == 2001:db8::8' allow");
            self.add(
                "lr-policy-add r0 99 'ip4.src == 10.0.2.1 && icmp4' reroute 172.16.0.7,172.16.0.8",
            );
        }
        if self.has(Feature::StaticRoutes) {
            self.add("lr-route-add r0 0.0.0.0/0 172.16.0.200 -- lr-route-add r0 ::/0 2001:db8::c8");
            self.add("--policy=src-ip lr-route-add r0 10.0.2.0/25 172.16.0.7");
            self.add("lr-route-add r0 192.0.2.0/24 discard");
            self.addresses4.extend(["192.0.2.1".into(), "198.51.100.1".into()]);
        }
        if self.has(Feature::Ecmp) {
            let symmetric = if dice.percent(50) { "--ecmp-symmetric-reply" } else { "--ecmp" };
            for hop in ["172.30.0.5", "172.30.0.6"] {
                self.add(&format!("{symmetric} lr-route-add gw 203.0.113.0/24 {hop}"));
                self.add(&format!("--ecmp lr-route-add r0 203.0.113.0/24 172.16.0.{}", &hop[9..]));
            }
            self.addresses4.extend(["203.0.113.1".into(), "203.0.113.2".into()]);
        }
        if self.has(Feature::GatewayMtu) {
            self.add("set Logical_Router_Port r0-pub options:gateway_mtu=1400");
        }
    }

    fn learned(&mut self) {
        if self.has(Feature::Neighbours) {
            self.add("static-mac-binding-add r0-s1 10.0.1.55 02:00:00:00:01:55");
            self.addresses4.push("10.0.1.55".into());
            self.addresses4.push("10.0.1.56".into());
        }
    }
}

/// Neighbours of a router, an address behind a port.
fn learn(central: &Central) -> Result<()> {
    let found = ["--bare", "--columns=datapath", "find", "Port_Binding", "logical_port=r0-s1"];
    let datapath = format!("datapath={}", central.sbctl(&found)?.trim());
    for (ip, mac) in [("10.0.1.56", "02:00:00:00:01:56"), ("fd00:1::77", "02:00:00:00:01:77")] {
        let (ip, mac) = (format!("ip=\"{ip}\""), format!("mac=\"{mac}\""));
        central.sbctl(&["create", "MAC_Binding", "logical_port=r0-s1", &datapath, &ip, &mac])?;
    }
    let switch = format!("dp_key={}", central.datapath_key("s1")?);
    let port = format!("port_key={}", central.port_key("s1p1")?);
    central.sbctl(&["create", "FDB", &switch, &port, "mac=\"02:99:00:00:00:02\""])?;
    Ok(())
}
