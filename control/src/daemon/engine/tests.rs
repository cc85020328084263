use super::*;
use crate::host::hop::NextHop;
use crate::southbound::learn::Names;
use crate::tunnels::Way;
use ovn_xdp_compile::Objection;
use ovn_xdp_datapath::key::{DatapathKey, PortKey, TunnelId};
use ovn_xdp_datapath::publish::Tag;
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::value::{Atom, Datum};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use std::sync::Arc;
use world::{FakeCompiler, FakePorts, World, change, chassis, encap, of, port};

mod world;

const TEXT: &str = r#"
system-id = "hv1"
hostname = "hv1"
ovn-remote = "unix:/sb.sock"
ovn-encap-type = "geneve"
ovn-encap-ip = "192.0.2.1"
[[interface]]
name = "tap0"
iface-id = "vm1"
"#;

const ME: Uuid = Uuid::from_u128(1);
const PRIVATE: Uuid = Uuid::from_u128(2);
const ENCAP: Uuid = Uuid::from_u128(3);
const VM: Uuid = Uuid::from_u128(10);

#[test]
fn nothing_is_written_before_the_content_of_the_database_is_known() {
    let mut world = World::new(TEXT);
    world.link(5, "tap0");
    assert!(world.turn().transactions.is_empty());
}

#[test]
fn a_chassis_registers_claims_and_reports_up_only_after_workers_and_conditions() {
    let mut world = World::new(TEXT);
    world.link(5, "tap0");
    world.engine.initial();
    world.engine.writable(true, world.now);
    let turn = world.turn();
    assert!(of(&turn, &Concern::Registration).is_some());
    world.settle(&turn);
    world.engine.written(&Concern::Registration, true, world.now);
    world.connect();
    world.change(vec![change("Port_Binding", VM, Some(port(None, false)))]);
    let turn = world.turn();
    assert!(of(&turn, &Concern::Claims(vec![VM])).is_some(), "{turn:?}");
    assert!(turn.conditions.is_some(), "its datapath is local now");
    world.engine.conditions_sent(2);
    world.change(vec![change("Port_Binding", VM, Some(port(Some(ME), false)))]);
    world.engine.written(&Concern::Claims(vec![VM]), true, world.now);
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    assert!(of(&world.turn(), &Concern::Claims(vec![VM])).is_none(), "conditions are open");
    world.engine.conditions_settled(2);
    world.turn();
    assert!(of(&world.turn(), &Concern::Claims(vec![VM])).is_none(), "workers are behind");
    world.engine.workers_at(world.engine.generation.0);
    let turn = world.turn();
    let operations = of(&turn, &Concern::Claims(vec![VM])).unwrap();
    assert_eq!(operations[0]["row"], serde_json::json!({ "up": true }));
}

#[test]
fn the_barrier_waits_for_the_workers() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    world.nb_cfg(7);
    assert!(of(&world.turn(), &Concern::Barrier).is_none());
    world.engine.workers_at(world.engine.generation.0);
    let turn = world.turn();
    let operations = of(&turn, &Concern::Barrier).unwrap();
    assert_eq!(operations[0]["row"]["nb_cfg"], 7);
    assert!(of(&world.turn(), &Concern::Barrier).is_none(), "one is under way");
}

#[test]
fn the_barrier_does_not_wait_for_workers_that_have_nothing_to_take_up() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    world.engine.compiler.unchanged = true;
    world.nb_cfg(7);
    assert!(world.turn().again);
    world.engine.workers_at(world.engine.generation.0);
    let turn = world.turn();
    assert_eq!(of(&turn, &Concern::Barrier).unwrap()[0]["row"]["nb_cfg"], 7);
    assert!(!turn.again);
}

#[test]
fn a_cluster_that_wants_no_barrier_gets_none() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    let options = Datum::map([("enable_chassis_nb_cfg_update", "false")]);
    let row = Row::made("SB_Global", [("nb_cfg", Datum::from(7)), ("options", options)]);
    world.change(vec![change("SB_Global", Uuid::from_u128(4), Some(row))]);
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    assert!(of(&world.turn(), &Concern::Barrier).is_none());
}

#[test]
fn the_frames_of_an_interface_are_let_in_once_all_workers_know_whose_they_are() {
    let mut world = World::new(TEXT);
    world.link(5, "tap0");
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    world.turn();
    assert!(world.engine.ports.admitted.is_empty(), "its port may be in the database");
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    world.change(vec![change("Port_Binding", VM, Some(port(None, false)))]);
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    assert!(world.engine.ports.admitted.is_empty(), "the workers are behind");
    world.engine.workers_at(world.engine.generation.0);
    world.turn();
    assert_eq!(world.engine.ports.admitted, BTreeSet::from([InterfaceId(1)]));
}

#[test]
fn an_interface_without_a_port_is_let_in_when_the_database_is_known_to_have_none() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    world.link(5, "tap0");
    let turn = world.turn();
    assert!(turn.conditions.is_some(), "the server is asked for its port");
    world.engine.conditions_sent(2);
    world.engine.workers_at(world.engine.generation.0);
    world.turn();
    assert!(world.engine.ports.admitted.is_empty());
    world.engine.conditions_settled(2);
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    world.turn();
    assert_eq!(world.engine.ports.admitted.len(), 1);
}

#[test]
fn an_interface_that_is_replaced_while_the_server_is_away_is_let_in() {
    let mut world = World::new(TEXT);
    world.connect();
    world.link(5, "tap0");
    world.change(vec![change("Port_Binding", VM, Some(port(Some(ME), true)))]);
    let turn = world.turn();
    world.settle(&turn);
    world.engine.writable(false, world.now);
    world.links.remove(5);
    world.link(6, "tap0");
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    world.turn();
    assert_eq!(world.engine.ports.admitted, BTreeSet::from([InterfaceId(2)]));
}

#[test]
fn an_interface_that_is_replaced_is_let_go_and_attached_anew() {
    let mut world = World::new(TEXT);
    world.connect();
    world.change(vec![change("Port_Binding", VM, Some(port(None, false)))]);
    world.link(5, "tap0");
    world.turn();
    assert_eq!(world.engine.compiler.bound["vm1"], InterfaceId(1));
    world.links.remove(5);
    world.link(6, "tap0");
    world.turn();
    assert_eq!(world.engine.compiler.bound["vm1"], InterfaceId(2));
    assert_eq!(world.engine.ports.attached.len(), 1);
    world.links.remove(6);
    world.engine.links(&world.links.clone(), world.now);
    world.turn();
    assert!(world.engine.compiler.bound.is_empty() && world.engine.ports.attached.is_empty());
    assert!(world.engine.missing["vm1"].contains("does not exist"));
}

/// As Open vSwitch refuses them: what the host says to itself is no workload's.
#[test]
fn the_loopback_is_never_attached() {
    let mut world = World::new(TEXT);
    world.link_of(LinkLayerType::Loopback, 1, "tap0");
    assert!(world.engine.ports.attached.is_empty());
    assert!(world.engine.missing["vm1"].contains("no Ethernet device"));
}

#[test]
fn an_interface_that_cannot_be_attached_is_tried_again() {
    let mut world = World::new(TEXT);
    world.engine.ports.broken = true;
    world.link(5, "tap0");
    assert_eq!(world.engine.missing["vm1"], "no");
    let due = world.engine.deadline().unwrap();
    assert!(world.engine.attach_due(due) && !world.engine.attach_due(Duration::ZERO));
    world.engine.ports.broken = false;
    world.engine.links(&world.links.clone(), due);
    assert!(world.engine.missing.is_empty());
}

#[test]
fn a_tunnel_carries_packets_once_its_next_hop_is_known_and_its_nic_open() {
    let mut world = World::new(TEXT);
    world.connect();
    world.link(9, "eth1");
    let far = Uuid::from_u128(33);
    world.change(vec![
        change("Encap", far, Some(encap("192.0.2.2", "hv2"))),
        change("Chassis", Uuid::from_u128(32), Some(chassis("hv2", far))),
    ]);
    world.turn();
    let pair = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    assert_eq!(world.engine.tunnels.pairs(), BTreeSet::from([pair]));
    assert_eq!(world.engine.compiler.peers, BTreeSet::from([pair.1]));
    let hop = NextHop { link: 9, source: [1; 6], destination: [2; 6], mtu: 1500 };
    world.engine.hop(pair, Ok(hop), &world.links, world.now);
    let way = world.engine.compiler.tunnels.values().next().unwrap();
    assert_eq!(way.tunnel.link.unwrap().nic, 0);
    assert_eq!(world.engine.ports.nics, ["eth1"]);
    let error = Unresolved::NoNeighbour { link: 9, next: pair.1 };
    world.engine.hop(pair, Err(error), &world.links, world.now);
    let way = world.engine.compiler.tunnels.values().next().unwrap();
    assert_eq!(way.tunnel.link, None);
    world.engine.hop(pair, Ok(hop), &world.links, world.now);
    assert_eq!(world.engine.ports.nics.len(), 1, "the NIC is open already");
}

#[test]
fn a_lost_connection_changes_nothing_in_forwarding() {
    let mut world = World::new(TEXT);
    world.connect();
    world.change(vec![change("Port_Binding", VM, Some(port(Some(ME), true)))]);
    world.link(5, "tap0");
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    let (bound, generation) = (world.engine.compiler.bound.clone(), world.engine.generation.0);
    world.engine.writable(false, world.now);
    let turn = world.turn();
    assert!(turn.transactions.is_empty() && turn.conditions.is_none());
    assert_eq!(world.engine.compiler.bound, bound);
    assert_eq!(world.engine.generation.0, generation);
}

#[test]
fn a_file_is_never_written_but_its_ports_are_bound() {
    let config = Config::parse(TEXT).unwrap();
    let ports = FakePorts::default();
    let engine = Engine::new(config, FakeCompiler::default(), ports, true);
    let mut world = World { engine, links: Links::default(), now: Duration::ZERO };
    world.link(5, "tap0");
    world.change(vec![
        change("Port_Binding", VM, Some(port(None, false))),
        change("Chassis", ME, Some(chassis("hv1", ENCAP))),
    ]);
    world.engine.initial();
    world.nb_cfg(3);
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    world.engine.workers_at(world.engine.generation.0);
    assert!(world.turn().transactions.is_empty());
    assert_eq!(world.engine.claims.get(VM).unwrap().state, State::Installed);
}

#[test]
fn what_workers_learned_is_written_when_the_database_takes_it() {
    let mut world = World::new(TEXT);
    world.connect();
    let learned = Learned::Fdb {
        datapath: DatapathKey::new(1).unwrap(),
        port: PortKey::new(1).unwrap(),
        mac: [2; 6],
    };
    world.engine.learned(learned, world.now, Duration::from_millis(10));
    assert_eq!(world.engine.deadline(), Some(Duration::from_millis(10)));
    assert!(of(&world.turn(), &Concern::Learning).is_none());
    world.now = Duration::from_millis(10);
    assert!(of(&world.turn(), &Concern::Learning).is_some());
}

#[test]
fn conditions_are_asked_for_once() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    assert!(turn.conditions.is_some());
    world.settle(&turn);
    assert!(world.turn().conditions.is_none());
    let empty = Datum::set::<Atom>([]);
    let row = Row::made("Address_Set", [("addresses", empty)]);
    world.change(vec![change("Address_Set", Uuid::from_u128(9), Some(row))]);
    assert!(world.turn().conditions.is_none());
}

fn fdb() -> Learned {
    Learned::Fdb {
        datapath: DatapathKey::new(1).unwrap(),
        port: PortKey::new(1).unwrap(),
        mac: [2; 6],
    }
}

#[test]
fn on_a_file_what_workers_learned_reaches_the_compiler() {
    let config = Config::parse(TEXT).unwrap();
    let engine = Engine::new(config, FakeCompiler::default(), FakePorts::default(), true);
    let mut world = World { engine, links: Links::default(), now: Duration::ZERO };
    world.engine.initial();
    world.engine.learned(fdb(), world.now, Duration::from_millis(10));
    world.turn();
    assert!(world.engine.compiler.applied.is_empty());
    world.now = world.engine.deadline().unwrap();
    let before = world.engine.generation.0;
    world.turn();
    assert_eq!(world.engine.compiler.applied, ["FDB"]);
    assert!(world.engine.generation.0 > before);
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn what_was_learned_while_the_database_is_away_is_kept_within_bounds_and_written_later() {
    use crate::southbound::learn::{BATCH, QUEUE};
    let mut world = World::new(TEXT);
    world.connect();
    world.engine.writable(false, world.now);
    for number in 0..QUEUE as u32 + 5 {
        let Learned::Fdb { datapath, port, .. } = fdb() else { unreachable!() };
        let [a, b, c, d] = number.to_be_bytes();
        let learned = Learned::Fdb { datapath, port, mac: [2, 0, a, b, c, d] };
        world.engine.learned(learned, world.now, Duration::ZERO);
    }
    assert_eq!(world.engine.learning.lost, 5);
    assert!(of(&world.turn(), &Concern::Learning).is_none());
    assert_eq!(world.engine.deadline(), None, "nothing is due before the database is back");
    world.engine.initial();
    world.engine.writable(true, world.now);
    assert_eq!(of(&world.turn(), &Concern::Learning).unwrap().len(), BATCH);
}

#[test]
fn a_sync_does_not_return_while_flows_of_a_new_datapath_are_on_their_way() {
    let mut world = World::new(TEXT);
    world.connect();
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    world.change(vec![change("Port_Binding", VM, Some(port(None, false)))]);
    world.nb_cfg(7);
    world.link(5, "tap0");
    assert!(world.turn().conditions.is_some(), "its datapath is local now");
    world.engine.conditions_sent(2);
    for _ in 0..3 {
        world.engine.workers_at(world.engine.generation.0);
        assert!(of(&world.turn(), &Concern::Barrier).is_none());
    }
    world.engine.conditions_settled(2);
    assert!(of(&world.turn(), &Concern::Barrier).is_none(), "the workers are behind");
    world.engine.workers_at(world.engine.generation.0);
    assert!(of(&world.turn(), &Concern::Barrier).is_some());
}

fn northd(world: &mut World, version: &str) {
    let options = Datum::map([("northd_internal_version", version)]);
    let row = Row::made("SB_Global", [("nb_cfg", Datum::from(7)), ("options", options)]);
    world.change(vec![change("SB_Global", Uuid::from_u128(4), Some(row))]);
}

#[test]
fn a_chassis_that_matches_northd_stands_still_while_northd_is_another() {
    let mut world = World::new(&format!("ovn-match-northd-version = true\n{TEXT}"));
    world.connect();
    northd(&mut world, "23.03.1-20.27.0-70.6");
    let turn = world.turn();
    world.settle(&turn);
    world.turn();
    let generation = world.engine.generation.0;
    northd(&mut world, "24.03.0-20.33.0-72.6");
    world.change(vec![change("Port_Binding", VM, Some(port(None, false)))]);
    world.link(5, "tap0");
    world.engine.workers_at(generation);
    let turn = world.turn();
    assert!(turn.transactions.is_empty() && turn.conditions.is_none());
    assert_eq!(world.engine.generation.0, generation);
    assert_eq!(world.engine.deadline(), None);
    let frozen = world.engine.frozen.as_ref().unwrap().to_string();
    assert!(frozen.contains("24.03.0") && frozen.contains("restart"), "{frozen}");
    northd(&mut world, "23.03.1-20.27.0-70.6");
    let turn = world.turn();
    assert!(of(&turn, &Concern::Claims(vec![VM])).is_some());
    assert!(world.engine.generation.0 > generation);
}

#[test]
fn a_chassis_that_need_not_match_follows_any_northd() {
    let mut world = World::new(TEXT);
    world.connect();
    northd(&mut world, "23.03.1-20.27.0-70.6");
    world.turn();
    let generation = world.engine.generation.0;
    northd(&mut world, "24.03.0-20.33.0-72.6");
    world.turn();
    assert!(world.engine.generation.0 > generation && world.engine.frozen.is_none());
}

#[test]
fn a_nic_that_cannot_be_opened_is_named_as_the_reason() {
    let mut world = World::new(TEXT);
    world.engine.ports.broken = true;
    world.link(9, "eth1");
    let pair = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    let hop = NextHop { link: 9, source: [1; 6], destination: [2; 6], mtu: 1500 };
    world.engine.hop(pair, Ok(hop), &world.links, world.now);
    assert_eq!(world.engine.unresolved[&pair].to_string(), "cannot open the NIC eth1: no");
}

#[test]
fn nothing_is_due_while_the_server_is_away() {
    let mut world = World::new(TEXT);
    world.connect();
    world.engine.written(&Concern::Registration, false, world.now);
    world.engine.writable(false, world.now);
    world.turn();
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn a_chassis_that_leaves_lets_go_of_every_port_also_of_one_that_it_holds_beside_another() {
    let mut world = World::new(TEXT);
    world.connect();
    let columns = [
        ("logical_port", Datum::from("vm1")),
        ("type", Datum::from("")),
        ("chassis", Datum::from(Uuid::from_u128(77))),
        ("additional_chassis", Datum::from(ME)),
    ];
    world.change(vec![change("Port_Binding", VM, Some(Row::made("Port_Binding", columns)))]);
    world.turn();
    let operations = world.engine.farewell();
    let mutations: Vec<&Value> = operations[0]["mutations"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&mutations[0][0], &mutations[0][1]),
        (&"additional_chassis".into(), &"delete".into())
    );
    assert_eq!(mutations[1][0], "additional_encap");
    let ours = serde_json::json!(["chassis", "==", ["uuid", ME.to_string()]]);
    let released =
        operations.iter().find(|operation| operation["where"] == serde_json::json!([ours]));
    assert_eq!(released.unwrap()["row"]["chassis"], serde_json::json!(["set", []]));
    let last: Vec<&Value> = operations.iter().rev().take(2).map(|op| &op["table"]).collect();
    assert_eq!(last, ["Chassis_Private", "Chassis"]);
}
