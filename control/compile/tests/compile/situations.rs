//! Single promises of the compiler, on recorded databases.

use crate::recorded;
use ovn_xdp_compile::{Compiler, Identity, LocalPort, dump};
use ovn_xdp_datapath::classify::{Domain, Literal, Range, Values};
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::key::{DatapathKey, InterfaceId, PortKey, TunnelId, VlanId};
use ovn_xdp_datapath::publish::{Datapath, Generation, Group, Place, Port, Tag, Tunnel};
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::value::Datum;
use std::collections::BTreeMap;
use std::sync::Arc;

const HV1: InterfaceId = InterfaceId(7);
const TO_HV2: TunnelId = TunnelId(2);

fn compiler(name: &str) -> Compiler {
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    compiler.apply(&recorded::changes(name));
    compiler.set_interface(HV1, "tap0");
    compiler.set_tunnel("hv2", vec![(TO_HV2, Arc::new(tunnel()))]);
    compiler
}

fn tunnel() -> Tunnel {
    Tunnel {
        epoch: 0,
        chassis: "hv2".into(),
        local: [192, 0, 2, 1].into(),
        remote: [192, 0, 2, 2].into(),
        link: None,
        csum: true,
        tos: None,
        df: true,
    }
}

fn on(tag: Option<u16>) -> Option<LocalPort> {
    let tag = tag.and_then(VlanId::new).map(|vid| Tag { tpid: 0x8100, vid });
    Some(LocalPort { interface: HV1, tag })
}

fn datapath<'a>(generation: &'a Generation, name: &str) -> &'a Arc<Datapath> {
    generation.datapaths.values().find(|datapath| datapath.name == name).unwrap()
}

fn port<'a>(datapath: &'a Datapath, name: &str) -> &'a Arc<Port> {
    datapath.ports.values().find(|port| *port.name == *name).unwrap()
}

fn find(table: &str, column: &str, value: &str, changes: &[Change]) -> Change {
    let is = |change: &&Change| {
        *change.table == *table
            && change.new.as_ref().unwrap().get(column) == Some(Datum::from(value))
    };
    changes.iter().find(is).unwrap().clone()
}

fn with(change: &Change, column: &str, value: Datum) -> Change {
    let row = change.new.as_ref().unwrap();
    let new = row.with(row.shape(), [(row.shape().index(column).unwrap(), value)]);
    Change { old: Some(row.clone()), new: Some(new), ..change.clone() }
}

fn deletion(change: &Change) -> Change {
    Change { old: change.new.clone(), new: None, ..change.clone() }
}

#[test]
fn nothing_is_local_until_a_port_is_bound_and_then_all_that_it_can_reach() {
    let mut compiler = compiler("stateless");
    assert!(compiler.publish().datapaths.is_empty());
    compiler.bind("lefta", on(None));
    assert_eq!(compiler.local_datapaths().len(), 3);
    assert_eq!(compiler.publish().datapaths.size(), 3);
    compiler.bind("lefta", None);
    assert!(compiler.publish().datapaths.is_empty());
}

#[test]
fn publishing_without_a_change_gives_the_same_generation() {
    let mut compiler = compiler("nested");
    compiler.bind("vmsa", on(None));
    let first = compiler.publish();
    assert!(Arc::ptr_eq(&first, &compiler.publish()));
    compiler.bind("vmsa", on(None));
    compiler.set_tunnel("hv2", vec![(TO_HV2, Arc::new(Tunnel { epoch: 99, ..tunnel() }))]);
    assert!(Arc::ptr_eq(&first, &compiler.publish()));
}

#[test]
fn a_nested_container_is_found_by_its_tag_and_sent_to_with_it() {
    let mut compiler = compiler("nested");
    compiler.bind("vmsa", on(None));
    compiler.bind("foo1", on(Some(101)));
    compiler.bind("bar1", on(Some(102)));
    let generation = compiler.publish();
    let interface = generation.interfaces.get(HV1).unwrap();
    let foo = datapath(&generation, "foo");
    let foo1 = port(foo, "foo1");
    let child = interface.children.get(VlanId::new(101).unwrap()).unwrap();
    assert_eq!((child.datapath, child.port), (foo.key, foo1.key));
    assert_eq!(interface.vif.unwrap().datapath, datapath(&generation, "vms").key);
    assert!(interface.children.get(VlanId::new(103).unwrap()).is_none());
    let Place::Local { interface, tag: Some(tag), .. } = foo1.place else { panic!("{foo1:?}") };
    assert_eq!((interface, tag.vid.get()), (HV1, 101));
    assert_eq!(port(foo, "foo2").place, Place::Remote([TO_HV2].into()));
}

#[test]
fn a_flood_group_names_local_ports_ports_of_the_sender_and_one_tunnel_a_chassis() {
    let mut compiler = compiler("nested");
    compiler.bind("vmsa", on(None));
    compiler.bind("foo1", on(Some(101)));
    let generation = compiler.publish();
    let foo = datapath(&generation, "foo");
    let key = |name| port(foo, name).key;
    let Group { local, ingress_only, remote, .. } =
        &**foo.groups.get(&PortKey::new(32768).unwrap()).unwrap();
    assert_eq!(**local, [key("foo1")]);
    assert_eq!(**ingress_only, [key("foo-lr0")]);
    assert_eq!(**remote, [TO_HV2]);
}

#[test]
fn one_new_child_leaves_every_other_datapath_as_it_was() {
    let mut compiler = compiler("nested");
    compiler.bind("vmsa", on(None));
    compiler.bind("foo1", on(Some(101)));
    let before = compiler.publish();
    compiler.bind("bar1", on(Some(102)));
    let after = compiler.publish();
    for name in ["vms", "foo", "lr0"] {
        assert!(Arc::ptr_eq(datapath(&before, name), datapath(&after, name)), "{name}");
    }
    let (before, after) = (datapath(&before, "bar"), datapath(&after, "bar"));
    assert!(before.epoch < after.epoch);
    for (old, new) in before.ingress.iter().zip(&after.ingress) {
        assert!(Arc::ptr_eq(old, new));
    }
}

#[test]
fn an_address_more_in_a_set_touches_no_datapath_and_only_what_is_said_of_that_address() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let before = compiler.publish();
    let set = find("Address_Set", "name", "servers", &changes);
    let more = Datum::set(["10.0.12.1", "10.0.12.2", "10.0.12.3"]);
    compiler.apply(&[with(&set, "addresses", more)]);
    let after = compiler.publish();
    assert_eq!(before.number + 1, after.number);
    for (key, datapath) in before.datapaths.iter() {
        assert!(Arc::ptr_eq(datapath, after.datapaths.get(key).unwrap()));
    }
    assert_ne!(dump(&before), dump(&after));
    let said =
        |generation: &Generation, address: u128| generation.sets.print(Domain::Width(32), address);
    assert_ne!(said(&before, 0x0a00_0c03), said(&after, 0x0a00_0c03));
    assert_eq!(said(&before, 0x0a00_0c02), said(&after, 0x0a00_0c02));
    assert_ne!(said(&before, 0x0a00_0c02), 0);
}

#[test]
fn who_excepts_nobody_asks_for_no_addresses_either() {
    let mut changes = recorded::changes("stateless");
    let set = find("Address_Set", "name", "servers", &changes);
    let flow = find("Logical_Flow", "match", "reg7 == 0 && ip4.dst == 10.9.0.0/16", &changes);
    let excepting = with(&flow, "match", Datum::from("ip4.dst != $servers"));
    let emptied = with(&set, "addresses", Datum::set([] as [&str; 0]));
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    compiler.apply(std::slice::from_ref(&excepting));
    let full = dump(&compiler.publish());
    compiler.apply(std::slice::from_ref(&emptied));
    let empty = compiler.publish();
    let rules = empty.datapaths.values().flat_map(|it| it.ingress.iter().chain(&it.egress));
    let rules: Vec<_> = rules.flat_map(|table| table.rules().collect::<Vec<_>>()).collect();
    let rule = rules.iter().find(|rule| rule.flow().0 == flow.row.as_u128()).unwrap();
    let mut packet = Context::default();
    packet.set(field::ETH_TYPE, 0x86dd);
    assert!(rule.matches(&packet, &empty.sets), "IPv6 too, as OVN reads it");
    for change in &mut changes {
        for new in [&excepting, &emptied] {
            if change.row == new.row {
                change.new.clone_from(&new.new);
            }
        }
    }
    let mut fresh = Compiler::new(Identity { chassis: "hv1".into() });
    fresh.apply(&changes);
    fresh.set_interface(HV1, "tap0");
    fresh.set_tunnel("hv2", vec![(TO_HV2, Arc::new(tunnel()))]);
    fresh.bind("lefta", on(None));
    assert_eq!(dump(&fresh.publish()), dump(&empty));
    let back = Change { old: emptied.new, new: set.new, ..set };
    compiler.apply(&[back]);
    assert_eq!(dump(&compiler.publish()), full);
}

#[test]
fn a_flow_whose_address_set_is_missing_is_skipped_until_the_set_appears() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let whole = dump(&compiler.publish());
    let set = find("Address_Set", "name", "servers", &changes);
    compiler.apply(&[deletion(&set)]);
    compiler.publish();
    let skipped: Vec<_> = compiler.skipped().collect();
    assert!(!skipped.is_empty());
    assert!(skipped.iter().all(|s| s.reason.contains("servers")), "{skipped:?}");
    compiler.apply(&[Change { old: None, ..set }]);
    assert_eq!(dump(&compiler.publish()), whole);
    assert_eq!(compiler.skipped().count(), 0);
}

#[test]
fn a_flow_that_does_not_read_is_shown_with_the_place_of_the_error_and_the_others_work() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let rules = |generation: &Generation| -> usize {
        let tables = generation.datapaths.values();
        tables.flat_map(|d| d.ingress.iter().chain(&d.egress)).map(|t| t.len()).sum()
    };
    let before = rules(&compiler.publish());
    let flow = find("Logical_Flow", "match", "reg7 == 0 && ip4.dst == 10.9.0.0/16", &changes);
    compiler.apply(&[with(&flow, "match", Datum::from("ip4 && tcp.dst == 99999"))]);
    let generation = compiler.publish();
    assert!(rules(&generation) < before);
    let skipped: Vec<_> = compiler.skipped().collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].flow.uuid, flow.row);
    assert!(skipped[0].to_string().contains('^'), "{}", skipped[0]);
}

#[test]
fn port_ranges_are_one_range_each_and_a_table_of_them_says_so() {
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let structures = |generation: &Generation| -> BTreeMap<&str, usize> {
        let tables = generation.datapaths.values().flat_map(|it| it.ingress.iter());
        tables.fold(BTreeMap::new(), |mut all, table| {
            *all.entry(table.structure()).or_default() += 1;
            all
        })
    };
    assert_eq!(structures(&compiler.publish()).get("ranges"), None);
    let changes = recorded::changes("stateless");
    let like = find("Logical_Flow", "match", "reg7 == 0 && ip4.dst == 10.9.0.0/16", &changes);
    let ranges: Vec<Change> = (0..40u16)
        .map(|n| {
            let text =
                format!("ip4 && tcp && {} <= tcp.dst && tcp.dst <= {}", n * 50 + 1, n * 60 + 99);
            let row = uuid::Uuid::from_u128(u128::from(n) + 1);
            Change { row, old: None, ..with(&like, "match", Datum::from(text.as_str())) }
        })
        .collect();
    compiler.apply(&ranges);
    let generation = compiler.publish();
    assert_eq!(structures(&generation).get("ranges"), Some(&1), "{:?}", structures(&generation));
    let tables = generation.datapaths.values().flat_map(|it| it.ingress.iter());
    let table = tables.into_iter().find(|table| table.structure() == "ranges").unwrap();
    for n in 0..40 {
        let rule = table.rules().find(|rule| rule.flow().0 == n + 1).unwrap();
        let (low, high) = (n * 50 + 1, n * 60 + 99);
        let is_it = |literal: &Literal| literal.values() == Values::Range(&Range { low, high });
        assert!(rule.clauses().next().unwrap().iter().any(is_it), "{rule:?}");
    }
    compiler.apply(&ranges.iter().map(deletion).collect::<Vec<_>>());
    assert_eq!(structures(&compiler.publish()).get("ranges"), None);
}

#[test]
fn igmp_and_mld_are_what_they_are_to_northd_and_become_another_thing_when_northd_is_upgraded() {
    let mut changes = recorded::changes("stateful");
    let at = changes.iter().position(|it| *it.table == *"SB_Global").unwrap();
    let recorded = changes.remove(at);
    let northd = |version| {
        let options = Datum::map([("northd_internal_version", version)]);
        Change { old: None, ..with(&recorded, "options", options) }
    };
    let flow = |text| find("Logical_Flow", "match", text, &changes).row.as_u128();
    let (igmp, mld) = (flow("igmp"), flow("mldv1 || mldv2"));
    // To one host: IGMP, and a report of MLDv1.
    let unicast = |version, slices: [(_, u128); 3]| {
        let mut packet = Context::default();
        packet.set(field::ETH_TYPE, version);
        slices.into_iter().for_each(|(slice, value)| packet.set(slice, value));
        packet
    };
    let to_host =
        unicast(0x800, [(field::IP_PROTO, 2), (field::IP4_DST, 0x0a00_0b01), (field::IP_TTL, 1)]);
    let report = (field::ICMP_TYPE, 131);
    let to_host6 =
        unicast(0x86dd, [(field::IP_PROTO, 58), (field::IP6_SRC, 0xfe80 << 112), report]);
    let snooped = |generation: &Generation| {
        let tables = generation.datapaths.values().flat_map(|it| it.ingress.iter());
        let rules: Vec<_> = tables.flat_map(|it| it.rules().collect::<Vec<_>>()).collect();
        [(igmp, &to_host), (mld, &to_host6)].map(|(flow, packet)| {
            let rule = rules.iter().find(|rule| rule.flow().0 == flow).unwrap();
            rule.matches(packet, &generation.sets)
        })
    };
    let started = |updates: &[&[Change]]| {
        let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
        updates.iter().for_each(|update| compiler.apply(update));
        compiler.bind("lefta", on(None));
        compiler
    };
    let (early, late) = (northd("24.03.2-20.33.0-72.6"), northd("24.03.8-20.33.0-72.6"));
    let mut running = started(&[&changes]);
    let unknown = running.publish();
    assert_eq!(snooped(&unknown), [false; 2], "nobody says which northd it is");
    let mut before = None;
    for (now, of_a_host) in [(&early, true), (&late, false), (&early, true)] {
        let old = before.replace(now).and_then(|it: &Change| it.new.clone());
        running.apply(&[Change { old, ..now.clone() }]);
        let followed = running.publish();
        assert_eq!(snooped(&followed), [of_a_host; 2], "{:?}", now.new);
        let global = std::slice::from_ref(now);
        let (first, last) = ([global, &changes].concat(), [&changes, global].concat());
        for order in [&[&*first][..], &[&*last], &[global, &changes], &[&changes, global]] {
            assert_eq!(dump(&started(order).publish()), dump(&followed));
        }
    }
    running.apply(&[deletion(&early)]);
    assert_eq!(dump(&running.publish()), dump(&unknown));
}

#[test]
fn an_upgrade_of_northd_touches_no_datapath_in_which_no_flow_is_about_igmp_or_mld() {
    let mut changes = recorded::changes("stateless");
    let is_about = |change: &Change| {
        let row = change.new.as_ref().unwrap();
        *change.table == *"Logical_Flow" && row.string("match").unwrap().contains("mldv")
    };
    let upgraded = changes.iter().find(|it| *it.table == *"SB_Global").unwrap().clone();
    let options = Datum::map([("northd_internal_version", "26.03.1-21.8.0-82.14")]);
    let upgraded = with(&upgraded, "options", options);
    changes.retain(|change| !is_about(change));
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    compiler.apply(&changes);
    compiler.bind("lefta", on(None));
    let before = compiler.publish();
    assert!(before.datapaths.size() > 1);
    compiler.apply(&[upgraded]);
    assert!(Arc::ptr_eq(&before, &compiler.publish()));
}

#[test]
fn a_static_neighbour_is_behind_a_learned_one_unless_it_overrides() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let fixed = find("Static_MAC_Binding", "ip", "10.0.12.78", &changes);
    let learned = find("MAC_Binding", "ip", "10.0.12.77", &changes);
    let same = with(&learned, "ip", Datum::from("10.0.12.78"));
    let mac = |compiler: &mut Compiler| {
        let generation = compiler.publish();
        let router = datapath(&generation, "lr0");
        let found = router.neighbours.iter().find(|(key, _)| key.address == 0x0a000c4e);
        found.map(|(_, mac)| mac[5])
    };
    assert_eq!(mac(&mut compiler), Some(0x78));
    compiler.apply(&[same]);
    assert_eq!(mac(&mut compiler), Some(0x77));
    compiler.apply(&[with(&fixed, "override_dynamic_mac", Datum::from(true))]);
    assert_eq!(mac(&mut compiler), Some(0x78));
}

#[test]
fn a_port_that_migrates_is_sent_to_on_both_chassis() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let (hv1, hv2) =
        (find("Chassis", "name", "hv1", &changes), find("Chassis", "name", "hv2", &changes));
    let moving = find("Port_Binding", "logical_port", "lefta", &changes);
    compiler.apply(&[with(&moving, "additional_chassis", Datum::from(hv2.row))]);
    let generation = compiler.publish();
    let Place::Local { also, .. } = &port(datapath(&generation, "left"), "lefta").place else {
        panic!("not local")
    };
    assert_eq!(**also, [TO_HV2]);
    let arriving = find("Port_Binding", "logical_port", "leftc", &changes);
    compiler.apply(&[with(&arriving, "additional_chassis", Datum::from(hv1.row))]);
    compiler.bind("leftc", on(Some(5)));
    let generation = compiler.publish();
    let Place::Local { also, .. } = &port(datapath(&generation, "left"), "leftc").place else {
        panic!("not local")
    };
    assert_eq!(**also, [TO_HV2]);
}

#[test]
fn what_leads_to_gateways_is_sent_to_the_chassis_that_has_them() {
    let mut compiler = compiler("stateful");
    compiler.set_tunnel("hv3", vec![(TunnelId(3), Arc::new(tunnel()))]);
    compiler.bind("lefta", on(None));
    let generation = compiler.publish();
    let router = datapath(&generation, "lr0");
    assert_eq!(port(router, "cr-lr0-public").place, Place::Remote([TunnelId(3)].into()));
    let right = datapath(&generation, "right");
    let gateway = &port(right, "right-gw").place;
    assert!(matches!(gateway, Place::Remote(_) | Place::Unbound), "{gateway:?}");
    let public = datapath(&generation, "public");
    assert_eq!(port(public, "ln").place, Place::NotExecuted("localnet"));
}

#[test]
fn keys_that_no_row_may_have_make_the_row_bad_and_nothing_else() {
    let changes = recorded::changes("stateless");
    let mut compiler = compiler("stateless");
    compiler.bind("lefta", on(None));
    let key = |generation: &Generation| datapath(generation, "left").key;
    let before: DatapathKey = key(&compiler.publish());
    let port = find("Port_Binding", "logical_port", "leftb", &changes);
    compiler.apply(&[with(&port, "tunnel_key", Datum::from(40000))]);
    let generation = compiler.publish();
    assert_eq!(key(&generation), before);
    assert!(datapath(&generation, "left").ports.values().all(|port| *port.name != *"leftb"));
    let bad: Vec<String> = compiler.bad_rows().map(ToString::to_string).collect();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].contains("40000") && bad[0].contains("1..32767"), "{}", bad[0]);
}
