//! The promises of a claim, one by one.

use super::*;
use crate::southbound::binding::{Kind, Verdict};
use ovn_xdp_datapath::key::VlanId;
use world::{World, at, child, port, tagged};

mod walk;
mod world;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

#[test]
fn a_port_is_up_only_when_the_workers_forward_for_it() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.turn(true);
    assert_eq!(world.rows[&vm].chassis, Some(ME));
    world.turn(true);
    assert_eq!(world.rows[&vm].up, Some(false), "the workers are not there yet");
    world.workers_catch_up();
    world.turn(true);
    assert_eq!(world.rows[&vm].up, Some(true));
    world.turn(true);
    assert_eq!(world.claims.get(vm).unwrap().state, State::Installed);
}

#[test]
fn a_port_waits_for_the_answer_to_the_condition_of_its_datapath() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.turn(false);
    world.workers_catch_up();
    world.turn(false);
    assert_eq!(world.claims.get(vm).unwrap().state, State::WaitingSbCond);
    assert_eq!(world.rows[&vm].up, Some(false));
    world.rest();
    assert_eq!(world.rows[&vm].up, Some(true));
}

#[test]
fn a_child_that_was_there_first_is_claimed_with_its_parent_and_comes_up_after_it() {
    let mut world = World::new();
    let foo = world.put(11, child("foo", "vm1", 7));
    world.turn(true);
    assert!(world.writes.is_empty(), "nobody has its parent");
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.rest();
    assert_eq!((world.rows[&vm].up, world.rows[&foo].up), (Some(true), Some(true)));
    let ups: Vec<Uuid> = world
        .writes
        .iter()
        .filter(|write| matches!(write, Write::Up { .. }))
        .map(Write::row)
        .collect();
    assert_eq!(ups, [vm, foo]);
    assert_eq!(world.claims.get(foo).unwrap().tag, tagged(7));
}

#[test]
fn a_child_does_not_come_up_by_an_up_that_its_parent_has_from_another_chassis() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.turn(true);
    world.workers_catch_up();
    world.turn(true);
    assert_eq!(world.rows[&vm].up, Some(true));
    world.put(11, child("foo", "vm1", 7));
    world.turn(true);
    world.workers_catch_up();
    world.edit(vm, |row| row.chassis = Some(OTHER));
    // `World::check` looks at each write.
    world.rest();
}

#[test]
fn a_child_that_comes_changes_and_goes_does_not_bounce_its_parent() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.rest();
    world.writes.clear();
    let foo = world.put(11, child("foo", "vm1", 7));
    world.rest();
    world.put(11, child("foo", "vm1", 8));
    world.rest();
    world.delete(foo);
    let actions = world.turn(true);
    assert_eq!(actions.len(), 1);
    assert!(matches!(&actions[0], Action::Unbind { row, .. } if *row == foo));
    assert!(world.writes.iter().all(|write| write.row() != vm), "{:?}", world.writes);
    assert_eq!(world.rows[&vm].up, Some(true));
}

#[test]
fn when_the_interface_goes_the_port_and_its_children_are_released_and_down() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    let foo = world.put(11, child("foo", "vm1", 7));
    world.plug("vm1", 1);
    world.rest();
    world.unplug("vm1");
    world.rest();
    for row in [vm, foo] {
        assert_eq!((world.rows[&row].chassis, world.rows[&row].up), (None, Some(false)));
    }
    assert_eq!(world.claims.local().count(), 0);
}

#[test]
fn children_are_released_when_the_row_of_their_parent_goes() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    let foo = world.put(11, child("foo", "vm1", 7));
    world.plug("vm1", 1);
    world.rest();
    world.delete(vm);
    world.rest();
    assert_eq!((world.rows[&foo].chassis, world.rows[&foo].up), (None, Some(false)));
}

#[test]
fn an_interface_that_is_replaced_under_the_same_name_is_bound_anew_without_a_release() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.rest();
    world.writes.clear();
    world.plug("vm1", 2);
    world.rest();
    assert_eq!(
        world.writes,
        [Write::Up { row: vm, up: false }, Write::Up { row: vm, up: true }],
        "down while the new attachment has no flows, chassis untouched"
    );
}

#[test]
fn a_row_that_is_made_anew_in_one_update_is_claimed_again_in_either_order() {
    for insert_first in [true, false] {
        let mut world = World::new();
        let old = world.put(10, port("vm1"));
        let foo = world.put(11, child("foo", "vm1", 7));
        world.plug("vm1", 1);
        world.rest();
        if insert_first {
            world.put(20, port("vm1"));
            world.delete(old);
        } else {
            world.delete(old);
            world.put(20, port("vm1"));
        }
        world.rest();
        let new = Uuid::from_u128(20);
        assert_eq!((world.rows[&new].chassis, world.rows[&new].up), (Some(ME), Some(true)));
        assert_eq!(world.rows[&foo].up, Some(true));
        assert_eq!(world.claims.local().count(), 2);
    }
}

#[test]
fn a_vif_that_becomes_a_container_in_one_update_leaves_its_interface() {
    let mut world = World::new();
    world.put(10, port("vm1"));
    let foo = world.put(11, port("foo"));
    world.plug("vm1", 1);
    world.plug("foo", 2);
    world.rest();
    assert_eq!(world.claims.get(foo).unwrap().interface, InterfaceId(2));
    let again = world.put(12, child("foo", "vm1", 9));
    world.delete(foo);
    world.rest();
    let local = world.claims.get(again).unwrap();
    assert_eq!((local.interface, local.tag), (InterfaceId(1), tagged(9)));
    assert_eq!(world.rows[&again].up, Some(true));
}

#[test]
fn requested_chassis_is_obeyed_by_name_and_by_host_name() {
    for (requested, claimed) in
        [("hv1", true), ("hv1.example", true), ("hv2", false), ("", true), ("hv2,hv3", false)]
    {
        let mut world = World::new();
        let requested = (!requested.is_empty()).then(|| Arc::from(requested));
        let vm = world.put(10, PortRow { requested, ..port("vm1") });
        world.plug("vm1", 1);
        world.rest();
        assert_eq!(world.rows[&vm].chassis == Some(ME), claimed, "{:?}", world.rows[&vm].requested);
    }
}

#[test]
fn during_a_live_migration_the_second_chassis_is_additional_and_its_children_with_it() {
    let mut world = World::new();
    let requested = Some(Arc::from("hv2,hv1"));
    let row = PortRow { chassis: Some(OTHER), up: Some(true), ..port("vm1") };
    let vm = world.put(10, PortRow { requested, ..row.clone() });
    let foo =
        world.put(11, PortRow { chassis: Some(OTHER), up: Some(true), ..child("foo", "vm1", 7) });
    world.plug("vm1", 1);
    world.rest();
    for uuid in [vm, foo] {
        assert_eq!(world.rows[&uuid].chassis, Some(OTHER));
        assert_eq!(world.rows[&uuid].additional, [ME]);
        assert_eq!(world.rows[&uuid].up, Some(true));
    }
    // The migration ends: this chassis is the only one that is requested.
    let mut row = world.rows[&vm].clone();
    row.requested = Some(Arc::from("hv1"));
    world.put(10, row);
    world.rest();
    for uuid in [vm, foo] {
        assert_eq!(world.rows[&uuid].chassis, Some(ME));
        assert!(world.rows[&uuid].additional.is_empty());
        assert_eq!(world.rows[&uuid].up, Some(true));
    }
}

#[test]
fn only_the_instance_with_the_right_version_is_bound() {
    let mut world = World::new();
    let vm = world.put(10, PortRow { iface_id_ver: Some("b".into()), ..port("vm1") });
    let mut vif = Vif { interface: InterfaceId(1), version: Some("a".into()), encap: None };
    world.claims.interface("vm1".into(), Some(vif.clone()));
    world.rest();
    assert_eq!(world.rows[&vm].chassis, None);
    vif.version = Some("b".into());
    world.claims.interface("vm1".into(), Some(vif));
    world.rest();
    assert_eq!(world.rows[&vm].chassis, Some(ME));
}

#[test]
fn two_chassis_that_both_have_a_port_hand_it_to_and_fro_only_every_half_second() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.turn(true);
    let claimed = world.now;
    assert_eq!(world.rows[&vm].chassis, Some(ME));
    world.now += at(100);
    world.put(10, PortRow { chassis: Some(OTHER), ..world.rows[&vm].clone() });
    let actions = world.turn(true);
    assert!(matches!(&actions[..], [Action::Unbind { .. }]), "{actions:?}");
    assert_eq!(world.claims.deadline(), Some(claimed + POSTPONE));
    world.now = claimed + POSTPONE - at(1);
    assert!(world.turn(true).is_empty());
    world.now += at(1);
    world.turn(true);
    assert_eq!(world.rows[&vm].chassis, Some(ME));
}

#[test]
fn a_port_that_was_ours_for_long_is_taken_back_at_once_as_ovn_controller_does() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.rest();
    world.put(10, PortRow { chassis: Some(OTHER), ..world.rows[&vm].clone() });
    world.turn(true);
    assert_eq!(world.rows[&vm].chassis, Some(ME));
}

#[test]
fn one_row_that_the_server_refuses_does_not_hold_up_the_others() {
    let names: Vec<String> = (0..33).map(|number| format!("vm{number}")).collect();
    let mut claims = Claims::new("hv1", "");
    claims.chassis(Some(ME), BTreeMap::new());
    claims.writable(true);
    let mut rows = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        let uuid = Uuid::from_u128(100 + number as u128);
        rows.insert(uuid, port(name));
        claims.row(uuid, Some(port(name)), at(0));
        let vif = Vif { interface: InterfaceId(number as u32), version: None, encap: None };
        claims.interface(name.as_str().into(), Some(vif));
    }
    let bad = Uuid::from_u128(117);
    for _ in 0..8 {
        // All of this happens before the first retry is due.
        let mut batches: BTreeMap<Option<u64>, Vec<Uuid>> = BTreeMap::new();
        for action in claims.run(at(1)) {
            if let Action::Write(write) = action {
                batches.entry(claims.batch(write.row())).or_default().push(write.row());
            }
        }
        for batch in batches.into_values() {
            let committed = !batch.contains(&bad);
            for uuid in batch.iter().filter(|_| committed) {
                let row = rows.get_mut(uuid).unwrap();
                row.chassis = Some(ME);
                claims.row(*uuid, Some(row.clone()), at(1));
            }
            claims.written(&batch, committed, at(1));
        }
    }
    let unclaimed: Vec<&Uuid> =
        rows.iter().filter(|(_, row)| row.chassis.is_none()).map(|(uuid, _)| uuid).collect();
    assert_eq!(unclaimed, [&bad]);
    assert_eq!(claims.deadline(), Some(at(1) + RETRY));
}

#[test]
fn a_port_of_a_former_life_without_an_interface_is_released_once_all_interfaces_are_known() {
    let mut claims = Claims::new("hv1", "");
    claims.chassis(Some(ME), BTreeMap::new());
    claims.writable(true);
    let vm = Uuid::from_u128(10);
    claims.row(vm, Some(PortRow { chassis: Some(ME), up: Some(true), ..port("vm1") }), at(0));
    assert!(claims.run(at(0)).is_empty(), "its interface may be yet to be found");
    claims.interfaces_complete();
    assert_eq!(claims.run(at(0)), [Action::Write(Write::Release { row: vm, lower: true })]);
}

#[test]
fn a_restart_keeps_a_port_that_is_still_plugged_in() {
    let mut world = World::new();
    let vm = world.put(10, PortRow { chassis: Some(ME), ..port("vm1") });
    world.plug("vm1", 1);
    world.rest();
    assert_eq!(world.writes, [Write::Up { row: vm, up: true }]);
}

#[test]
fn a_localport_is_used_and_never_claimed() {
    let mut world = World::new();
    let row = world.put(10, PortRow { kind: Kind::Localport, ..port("metadata") });
    world.plug("metadata", 1);
    world.rest();
    assert!(world.writes.is_empty());
    assert_eq!(world.claims.get(row).unwrap().role, Role::Unclaimed);
}

#[test]
fn up_is_not_written_where_northd_does_not_ask_for_it() {
    let mut world = World::new();
    let vm = world.put(10, PortRow { up: None, ..port("vm1") });
    let foo = world.put(11, PortRow { up: None, ..child("foo", "vm1", 7) });
    world.plug("vm1", 1);
    world.rest();
    assert!(world.writes.iter().all(|write| matches!(write, Write::Claim { .. })));
    assert_eq!((world.rows[&vm].chassis, world.rows[&foo].chassis), (Some(ME), Some(ME)));
}

#[test]
fn writes_that_a_lost_connection_swallowed_are_made_again_after_the_reconnect() {
    let mut world = World::new();
    let vm = world.put(10, port("vm1"));
    world.plug("vm1", 1);
    world.connected = false;
    world.turn(true);
    assert_eq!(world.rows[&vm].chassis, None);
    world.claims.writable(false);
    world.turn(true);
    world.connected = true;
    world.claims.writable(true);
    world.rest();
    assert_eq!((world.rows[&vm].chassis, world.rows[&vm].up), (Some(ME), Some(true)));
}

#[test]
fn a_write_that_the_server_refuses_is_tried_again_after_a_while() {
    let mut claims = Claims::new("hv1", "");
    claims.chassis(Some(ME), BTreeMap::new());
    claims.writable(true);
    claims.interfaces_complete();
    let vm = Uuid::from_u128(10);
    claims.row(vm, Some(port("vm1")), at(0));
    let vif = Vif { interface: InterfaceId(1), version: None, encap: None };
    claims.interface("vm1".into(), Some(vif));
    assert_eq!(claims.run(at(0)).len(), 2);
    claims.written(&[vm], false, at(0));
    assert!(claims.run(at(0)).is_empty());
    assert_eq!(claims.deadline(), Some(RETRY));
    assert_eq!(claims.run(RETRY).len(), 1);
}

#[test]
fn the_encap_of_an_interface_is_written_for_its_port_and_for_the_children() {
    let mut world = World::new();
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let encap = Uuid::from_u128(77);
    world.claims.chassis(Some(ME), BTreeMap::from([(address, encap)]));
    let vm = world.put(10, port("vm1"));
    let foo = world.put(11, child("foo", "vm1", 7));
    let vif = Vif { interface: InterfaceId(1), version: None, encap: Some(address) };
    world.claims.interface("vm1".into(), Some(vif));
    world.rest();
    assert_eq!((world.rows[&vm].encap, world.rows[&foo].encap), (Some(encap), Some(encap)));
}
