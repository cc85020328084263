//! After every change that a real `ovn-northd` makes, the compiled state is that of a fresh start.
//!
//! Networks are built a command at a time and then changed in random order, on the Northbound and on
//! the Southbound side, while a client follows. What it is sent goes into one compiler, step by step;
//! after each step another compiler is given a copy of the database, and both must have made the same.

use anyhow::Result;
use ovn_xdp_compile::check::insertions;
use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_compile::{Compiler, Identity, LocalPort, dump};
use ovn_xdp_control::contents;
use ovn_xdp_datapath::key::{InterfaceId, TunnelId};
use ovn_xdp_datapath::publish::Tunnel;
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::dice::Dice;
use ovn_xdp_kit::network::{FEATURES, Feature, Network};
use ovn_xdp_ovsdb::client::{Client, Event};
use ovn_xdp_ovsdb::replica::Replica;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Changes of a network, each the words of one `ovn-nbctl`; `VARIABLES` is the row of our chassis.
const NORTHBOUND: [&[&str]; 38] = [
    &["set", "Address_Set", "as4", "addresses=\"10.0.1.1\",\"10.0.9.9\""],
    &["set", "Address_Set", "as4", "addresses=\"10.0.2.0/24\""],
    &["set", "Address_Set", "as4", "addresses=[]"],
    &["pg-set-ports", "pg1", "s1p2"],
    &["pg-set-ports", "pg1", "s1p1", "s2p2"],
    &["pg-set-ports", "pg2", "s2p1"],
    &["pg-del", "pg1", "--", "pg-add", "pg1", "s1p1"],
    &["acl-del", "s1"],
    &["--may-exist", "acl-add", "s1", "to-lport", "900", "ip4.src == $as4 && tcp", "drop"],
    &["--may-exist", "acl-add", "s1", "to-lport", "901", "ip4.src < $as4", "drop"],
    &["--may-exist", "acl-add", "pg2", "from-lport", "902", "inport == @pg2 && ip4", "allow"],
    &["acl-del", "pg2"],
    &["--may-exist", "acl-add", "s2", "to-lport", "903", "ip6", "allow-related"],
    &["--if-exists", "lsp-del", "s1p2"],
    &["--may-exist", "lsp-add", "s1", "s1p2"],
    &["lsp-set-addresses", "s1p2", "02:00:00:00:01:02 10.0.1.2"],
    &["lsp-set-port-security", "s1p1", "02:00:00:00:01:01 10.0.1.1"],
    &["lsp-set-port-security", "s1p1"],
    &["set", "Logical_Switch_Port", "s1p1", "enabled=false"],
    &["set", "Logical_Switch_Port", "s1p1", "enabled=true"],
    &[
        "--may-exist",
        "lsp-add",
        "s2",
        "s2n",
        "s2p1",
        "77",
        "--",
        "lsp-set-addresses",
        "s2n",
        "unknown",
    ],
    &["--if-exists", "lsp-del", "s2n"],
    &["--if-exists", "lb-del", "lb7"],
    &[
        "--may-exist",
        "lb-add",
        "lb8",
        "10.96.0.8:80",
        "10.0.1.1:80",
        "--",
        "--may-exist",
        "ls-lb-add",
        "s1",
        "lb8",
    ],
    &["--if-exists", "lb-del", "lb8"],
    &["set", "Chassis_Template_Var", "VARIABLES", "variables:vip=10.96.0.70"],
    &["set", "Chassis_Template_Var", "VARIABLES", "variables:vip=10.96.0.71"],
    &["remove", "Chassis_Template_Var", "VARIABLES", "variables", "vip"],
    &["--if-exists", "lr-nat-del", "r0"],
    &["--may-exist", "lr-nat-add", "r0", "dnat_and_snat", "172.16.0.111", "10.0.1.1"],
    &["--if-exists", "lr-route-del", "r0", "0.0.0.0/0"],
    &["--may-exist", "lr-route-add", "r0", "0.0.0.0/0", "172.16.0.200"],
    &["--if-exists", "lr-policy-del", "r0"],
    &["--may-exist", "lr-policy-add", "r0", "100", "ip4.dst == 9.9.9.9", "drop"],
    &["lrp-set-gateway-chassis", "r0-pub", "hv2", "30"],
    &["lrp-set-gateway-chassis", "r0-pub", "hv2", "10"],
    &["set", "Logical_Switch", "s1", "other_config:mcast_snoop=true"],
    &["remove", "Logical_Switch", "s1", "other_config", "mcast_snoop"],
];

/// The same of `ovn-sbctl`: what chassis do.
const SOUTHBOUND: [&[&str]; 12] = [
    &["--may-exist", "lsp-bind", "s1p1", "hv1"],
    &["--if-exists", "lsp-unbind", "s1p1"],
    &["--may-exist", "lsp-bind", "s2p1", "hv2"],
    &["--if-exists", "lsp-unbind", "s2p1"],
    &["--may-exist", "lsp-bind", "cr-r0-pub", "hv1"],
    &["--if-exists", "lsp-unbind", "cr-r0-pub"],
    &["--may-exist", "lsp-bind", "cr-r0-pub", "hv2"],
    &["--may-exist", "chassis-add", "hv2", "geneve", "192.0.2.2"],
    &["--if-exists", "chassis-del", "hv2"],
    &["set", "Port_Binding", "s1p1", "up=true"],
    &["set", "SB_Global", ".", "options:always_tunnel=true"],
    &["remove", "SB_Global", ".", "options", "always_tunnel"],
];

/// A compiler that hears of every step, and what is beside the database.
struct Follower {
    client: Client,
    compiler: Compiler,
    bound: BTreeMap<&'static str, LocalPort>,
    updates: usize,
}

fn new_compiler(rows: &Replica, bound: &BTreeMap<&'static str, LocalPort>) -> Compiler {
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    compiler.set_interface(InterfaceId(1), "tap1");
    compiler.set_interface(InterfaceId(2), "tap2");
    let tunnel = Tunnel {
        epoch: 0,
        chassis: "hv2".into(),
        local: [192, 0, 2, 1].into(),
        remote: [192, 0, 2, 2].into(),
        link: None,
        csum: true,
        tos: None,
        df: true,
    };
    compiler.set_tunnel("hv2", vec![(TunnelId(1), Arc::new(tunnel))]);
    compiler.apply(&insertions(rows));
    for (port, local) in bound {
        compiler.bind(port, Some(*local));
    }
    compiler
}

/// All that can be seen of a compiler.
fn seen(compiler: &mut Compiler) -> [String; 4] {
    let published = dump(&compiler.publish());
    let local: Vec<_> = compiler.local_datapaths().iter().copied().collect();
    let skipped: Vec<_> = compiler.skipped().collect();
    let inert: Vec<_> = compiler.not_executed().collect();
    [published, format!("{local:?}"), format!("{skipped:#?}"), format!("{inert:#?}")]
}

/// All rows that are followed.
fn rows(replica: &Replica) -> BTreeMap<(&'static str, uuid::Uuid), String> {
    let of =
        |table| replica.rows(table).map(move |(uuid, row)| ((table, uuid), format!("{row:?}")));
    monitored().into_iter().flat_map(|(table, _)| of(table)).collect()
}

impl Follower {
    /// Follows until what a new client reads is there, and compares with a fresh start from that.
    async fn compare(&mut self, central: &Central, step: &[&str]) -> Result<()> {
        let now = contents::read(&central.remote(), None, false).await?;
        let wanted = rows(now.replica());
        while rows(self.client.replica()) != wanted {
            let event = tokio::time::timeout(Duration::from_secs(20), self.client.next_event());
            match event.await.unwrap_or_else(|_| panic!("no update after {step:?}")) {
                Event::Changes(changes) => {
                    self.updates += 1;
                    self.compiler.apply(&changes);
                }
                event => panic!("{event:?} after {step:?}"),
            }
        }
        let found = seen(&mut self.compiler);
        let fresh = seen(&mut new_compiler(now.replica(), &self.bound));
        for (found, fresh) in found.iter().zip(&fresh) {
            let differs = found.lines().zip(fresh.lines()).find(|(a, b)| a != b);
            let lines = (found.lines().count(), fresh.lines().count());
            assert!(found == fresh, "after {step:?}: {differs:#?}, lines {lines:?}");
        }
        Ok(())
    }
}

/// The commands that make a network, apart but for those that name each other's rows.
fn commands(network: &Network) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = vec![vec![]];
    for words in network.commands[1..].split(|word| word == "--") {
        let names = |words: &[&str]| words.iter().any(|word| word.starts_with("--id=@"));
        let refers = words.iter().any(|word| !word.starts_with("--id=") && word.contains('@'));
        let last = all.last_mut().unwrap();
        if names(last) && (refers || !last.contains(&"set")) {
            last.push("--");
            last.extend(words.iter().map(String::as_str));
        } else {
            all.push(words.iter().map(String::as_str).collect());
        }
    }
    all.split_off(1)
}

/// Runs a command of a list; what it asks for may be gone, which changes nothing.
fn change(central: &Central, dice: &mut Dice) -> Vec<&'static str> {
    let northbound = dice.percent(65);
    let words = if northbound { dice.of(&NORTHBOUND) } else { dice.of(&SOUTHBOUND) };
    let find = ["--bare", "--columns=_uuid", "find", "Chassis_Template_Var", "chassis=hv1"];
    let variables = central.nbctl(&find).unwrap_or_default().trim().to_owned();
    let filled: Vec<&str> =
        words.iter().map(|word| if *word == "VARIABLES" { &variables } else { *word }).collect();
    let _ = if northbound { central.nbctl(&filled) } else { central.sbctl(&filled) };
    words.to_vec()
}

#[test]
fn an_upgrade_of_northd_leaves_what_a_fresh_start_makes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut central = Central::new(Southbound::Standalone).unwrap();
    central.sbctl(&["chassis-add", "hv1", "geneve", "192.0.2.1"]).unwrap();
    let number = FEATURES.iter().position(|it| *it == Feature::Multicast).unwrap();
    let network = Network::random(&mut Dice::new(7), number);
    for words in commands(&network) {
        central.nbctl(&words).unwrap();
    }
    central.sync().unwrap();
    // It would write its own version again.
    central.stop_northd();
    runtime.block_on(async {
        let client = contents::read(&central.remote(), None, false).await.unwrap();
        let bound = BTreeMap::from([("s1p1", LocalPort { interface: InterfaceId(1), tag: None })]);
        let compiler = new_compiler(client.replica(), &bound);
        let mut follower = Follower { client, compiler, bound, updates: 0 };
        let mut generations = vec![follower.compiler.publish().number];
        for version in ["24.03.8-20.33.0-72.6", "26.03.1-21.8.0-82.14", "23.03.1-20.27.0-70.6"] {
            let option = format!("options:northd_internal_version={version}");
            let step = ["set", "SB_Global", ".", &option];
            central.sbctl(&step).unwrap();
            follower.compare(&central, &step).await.unwrap();
            generations.push(follower.compiler.publish().number);
        }
        let changed: Vec<bool> = generations.windows(2).map(|pair| pair[0] != pair[1]).collect();
        assert_eq!(changed, [true, false, true], "IGMP is another thing from 24.03.8 on");
    });
}

#[test]
fn every_step_of_a_real_northd_leaves_what_a_fresh_start_makes() {
    const STEPS: usize = 40;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let central = Central::new(Southbound::Standalone).unwrap();
    for chassis in [["hv1", "192.0.2.1"], ["hv2", "192.0.2.2"]] {
        central.sbctl(&["chassis-add", chassis[0], "geneve", chassis[1]]).unwrap();
    }
    central.sync().unwrap();
    let (mut grouped, mut updates) = (BTreeSet::new(), 0);
    for about in [Feature::Templates, Feature::StatefulAcls] {
        let mut dice = Dice::new(7 + updates as u64);
        let number = FEATURES.iter().position(|it| *it == about).unwrap();
        let network = Network::random(&mut dice, number);
        Network::clear(&central).unwrap();
        central.sync().unwrap();
        runtime.block_on(async {
            let client = contents::read(&central.remote(), None, false).await.unwrap();
            let local = |id| LocalPort { interface: InterfaceId(id), tag: None };
            let bound = BTreeMap::from([("s1p1", local(1)), ("s2p1", local(2))]);
            let compiler = new_compiler(client.replica(), &bound);
            let mut follower = Follower { client, compiler, bound, updates: 0 };
            for words in commands(&network) {
                central.nbctl(&words).unwrap();
                central.sync().unwrap();
                follower.compare(&central, &words).await.unwrap();
            }
            for step in 0..STEPS {
                let words = change(&central, &mut dice);
                central.sync().unwrap_or_else(|error| panic!("after {words:?}: {error:#}"));
                if step % 10 == 9 {
                    // A port comes to an interface of ours, or goes from it.
                    let port = *dice.of(&["s1p1", "s1p2", "s2p1"]);
                    let place = dice.percent(50).then_some(local(1));
                    follower.compiler.bind(port, place);
                    match place {
                        Some(place) => follower.bound.insert(port, place),
                        None => follower.bound.remove(port),
                    };
                }
                follower.compare(&central, &words).await.unwrap();
            }
            updates += follower.updates;
            let groups = follower.client.replica().rows("Logical_DP_Group");
            grouped.extend(groups.map(|(uuid, _)| uuid));
        });
    }
    assert!(updates > 80 && !grouped.is_empty(), "{updates} updates, {} groups", grouped.len());
}
