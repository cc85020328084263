//! A random logical network, as the commands for `ovn-nbctl` that make it.
//!
//! Two or three switches on a distributed router, a provider network behind a distributed gateway
//! port, and a gateway router behind a join switch; on top of them whatever features the dice give,
//! among them always the one that the network is `about`, so that a row of networks has all of them.

mod balancer;
mod link;
mod policy;
mod port;
mod routing;
mod service;
mod translation;

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
    L2Gateway,
    Vtep,
    External,
    HealthChecks,
    BalancerGroups,
    Balancers6,
    Translation6,
    NatOptions,
    SecondGateway,
    BridgedRedirect,
    RouteTables,
    PolicyMarks,
    Rejects,
    DenyByDefault,
    AclOptions,
    Snooping6,
    Passthrough,
    LearningRouters,
    PrefixDelegation,
    TwinTags,
    Transit,
    LearnedGroups,
    ForceSnat,
    TaggedProvider,
    SeveralNetworks,
    SeveralAddresses,
    StatelessBalanced,
    GatewayPolicies,
    LinkedRouters,
    DhcpOptions,
    GlobalOptions,
}

/// Every feature.
pub const FEATURES: [Feature; 57] = [
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
    Feature::L2Gateway,
    Feature::Vtep,
    Feature::External,
    Feature::HealthChecks,
    Feature::BalancerGroups,
    Feature::Balancers6,
    Feature::Translation6,
    Feature::NatOptions,
    Feature::SecondGateway,
    Feature::BridgedRedirect,
    Feature::RouteTables,
    Feature::PolicyMarks,
    Feature::Rejects,
    Feature::DenyByDefault,
    Feature::AclOptions,
    Feature::Snooping6,
    Feature::Passthrough,
    Feature::LearningRouters,
    Feature::PrefixDelegation,
    Feature::TwinTags,
    Feature::Transit,
    Feature::LearnedGroups,
    Feature::ForceSnat,
    Feature::TaggedProvider,
    Feature::SeveralNetworks,
    Feature::SeveralAddresses,
    Feature::StatelessBalanced,
    Feature::GatewayPolicies,
    Feature::LinkedRouters,
    Feature::DhcpOptions,
    Feature::GlobalOptions,
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

impl End {
    fn new(name: &str, switch: usize, mac: &str, ip4: &str, ip6: &str) -> Self {
        Self { name: name.into(), switch, mac: mac.into(), ip4: ip4.into(), ip6: ip6.into() }
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it has.
    pub features: Vec<Feature>,
    /// Words of one `ovn-nbctl` command line that makes it, each command behind `--`.
    pub commands: Vec<String>,
    /// The same of a second, which needs what the first has made.
    pub more: Vec<String>,
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

/// Everything of a Northbound database that a network may have made, in the order in which it is taken
/// away: northd cannot delete a datapath to which something of it still refers.
const TABLES: [&[&str]; 3] = [
    &["Static_MAC_Binding", "DNS", "Load_Balancer"],
    &["Logical_Switch", "Logical_Router"],
    &[
        "Load_Balancer_Group",
        "Port_Group",
        "Address_Set",
        "DHCP_Options",
        "Chassis_Template_Var",
        "Meter",
        "HA_Chassis_Group",
        "Copp",
        "BFD",
    ],
];

/// Options of all networks that one of them may have set.
const OPTIONS: [&str; 6] = [
    "default_acl_drop",
    "debug_drop_collector_set",
    "debug_drop_domain_id",
    "controller_event",
    "ignore_lsp_down",
    "lb_hairpin_use_ct_mark",
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
            more: Vec::new(),
            ends: Vec::new(),
            routers: Vec::new(),
            addresses4: vec!["8.8.8.8".into(), "172.16.0.9".into(), "10.0.1.77".into()],
            addresses6: vec!["2001:db8::8".into(), "fd00:1::77".into()],
            backends: Vec::new(),
        };
        let switches = 2 + dice.below(2);
        network.switches(dice, switches);
        network.gateways();
        network.attachments();
        network.links();
        network.policy(dice);
        network.services(dice);
        network.balancers(dice);
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
        for commands in [&self.commands, &self.more] {
            let words: Vec<&str> = commands.iter().skip(1).map(String::as_str).collect();
            if !words.is_empty() {
                central.nbctl(&words)?;
            }
        }
        central.sync()?;
        if self.has(Feature::Neighbours) {
            learn(central)?;
        }
        if self.has(Feature::LearnedGroups) {
            join(central)?;
            central.sync()?;
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
        let options = [&["remove", "NB_Global", ".", "options"], &OPTIONS[..]].concat();
        central.nbctl(&options)?;
        let learned = ["MAC_Binding", "FDB", "IGMP_Group", "Chassis"];
        central.sb(&learned.map(|table| format!("--all destroy {table}")).join(" -- "))?;
        for tables in TABLES {
            let destroy = tables.iter().flat_map(|table| ["--", "--all", "destroy", table]);
            central.nbctl(&Vec::from_iter(["--wait=sb"].into_iter().chain(destroy)))?;
        }
        Ok(())
    }

    /// Whether it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn add(&mut self, words: &str) {
        Self::push(&mut self.commands, words);
    }

    fn then(&mut self, words: &str) {
        Self::push(&mut self.more, words);
    }

    fn push(commands: &mut Vec<String>, words: &str) {
        commands.push("--".into());
        // What stands between single quotes is part of one word, spaces and all.
        let (mut word, mut quoted) = (String::new(), false);
        for letter in words.chars().chain([' ']) {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    if !word.is_empty() {
                        commands.push(std::mem::take(&mut word));
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
        let end = End::new;
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

/// Members of multicast groups, as they would have joined behind two ports.
fn join(central: &Central) -> Result<()> {
    let find = |column: &str, port: &str| {
        let (column, port) = (format!("--columns={column}"), format!("logical_port={port}"));
        central.sbctl(&["--bare", &column, "find", "Port_Binding", &port])
    };
    let datapath = format!("datapath={}", find("datapath", "s1p1")?.trim());
    let ports = [find("_uuid", "s1p1")?, find("_uuid", "s1p2")?];
    let ports = format!("ports={},{}", ports[0].trim(), ports[1].trim());
    // northd forgets what no chassis says, and writes other flows for one that lacks a feature.
    let features =
        ["port-up-notif", "ct-no-masked-label", "ovn-ct-lb-related", "mac-binding-timestamp"];
    let features = features.map(|feature| format!("other_config:{feature}=true")).join(" ");
    central.sb(&format!(
        "--id=@encap create Encap type=geneve ip=192.0.2.7 chassis_name=hv7 -- --id=@chassis create \
         Chassis name=hv7 encaps=@encap {features}"
    ))?;
    let chassis = central.sb("--bare --columns=_uuid find Chassis name=hv7")?;
    let chassis = format!("chassis={}", chassis.trim());
    for address in ["239.1.2.3", "ff0e::1234"] {
        let address = format!("address=\"{address}\"");
        central.sbctl(&["create", "IGMP_Group", &address, &datapath, &ports, &chassis])?;
    }
    Ok(())
}
