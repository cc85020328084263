use super::*;
use crate::southbound::binding::{Kind, Verdict};
use ovn_xdp_datapath::key::VlanId;
use proptest::prelude::*;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn at(millis: u64) -> Now {
    Duration::from_millis(millis)
}

fn port(name: &str) -> PortRow {
    PortRow {
        name: name.into(),
        kind: Kind::Vif,
        parent: None,
        tag: None,
        chassis: None,
        additional: Vec::new(),
        encap: None,
        up: Some(false),
        requested: None,
        iface_id_ver: None,
        ours: false,
    }
}

fn tagged(vid: u16) -> Option<Tag> {
    VlanId::new(vid).map(|vid| Tag { tpid: 0x8100, vid })
}

fn child(name: &str, parent: &str, tag: u16) -> PortRow {
    PortRow { parent: Some(parent.into()), tag: tagged(tag), ..port(name) }
}

/// A database of Port_Binding, workers, and the claims of one chassis between them.
struct World {
    claims: Claims,
    rows: BTreeMap<Uuid, PortRow>,
    now: Now,
    generation: u64,
    workers: u64,
    /// Generation that forwards for a row, once it was published after all conditions.
    forwards: HashMap<Uuid, Option<u64>>,
    writes: Vec<Write>,
    connected: bool,
}

impl World {
    fn new() -> Self {
        let mut claims = Claims::new("hv1", "hv1.example");
        claims.chassis(Some(ME), BTreeMap::new());
        claims.writable(true);
        claims.interfaces_complete();
        Self {
            claims,
            rows: BTreeMap::new(),
            now: at(0),
            generation: 0,
            workers: 0,
            forwards: HashMap::new(),
            writes: Vec::new(),
            connected: true,
        }
    }

    fn put(&mut self, id: u128, row: PortRow) -> Uuid {
        let uuid = Uuid::from_u128(id);
        self.rows.insert(uuid, row.clone());
        self.claims.row(uuid, Some(row), self.now);
        uuid
    }

    fn delete(&mut self, uuid: Uuid) {
        self.rows.remove(&uuid);
        self.claims.row(uuid, None, self.now);
    }

    fn plug(&mut self, name: &str, interface: u32) {
        let vif = Vif { interface: InterfaceId(interface), version: None, encap: None };
        self.claims.interface(name.into(), Some(vif));
    }

    fn unplug(&mut self, name: &str) {
        self.claims.interface(name.into(), None);
    }

    /// One turn of the daemon: run, publish, and let the database answer.
    fn turn(&mut self, settled: bool) -> Vec<Action> {
        let actions = self.claims.run(self.now);
        let mut changed = Vec::new();
        for action in &actions {
            match action {
                Action::Bind { row, .. } => {
                    self.forwards.insert(*row, None);
                }
                Action::Unbind { row, .. } => {
                    self.forwards.remove(row);
                }
                Action::Write(write) => {
                    self.check(write);
                    self.writes.push(write.clone());
                    changed.push(write.row());
                    if self.connected {
                        self.apply(write);
                    }
                }
            }
        }
        self.generation += 1;
        self.claims.published(self.generation, settled);
        if settled {
            for forwards in self.forwards.values_mut() {
                forwards.get_or_insert(self.generation);
            }
        }
        if self.connected {
            for row in &changed {
                if let Some(now) = self.rows.get(row) {
                    self.claims.row(*row, Some(now.clone()), self.now);
                }
            }
            self.claims.written(&changed, true, self.now);
        }
        actions
    }

    fn workers_catch_up(&mut self) {
        self.workers = self.generation;
        self.claims.workers_at(self.workers);
    }

    /// What must hold of every write.
    fn check(&self, write: &Write) {
        let Some(row) = self.rows.get(&write.row()) else { return };
        match write {
            Write::Up { row: uuid, up: true } => {
                let forwards = self.forwards.get(uuid).copied().flatten();
                assert!(
                    forwards.is_some_and(|generation| generation <= self.workers),
                    "{}: up before the workers forward for it",
                    row.name
                );
                if let Some(parent) = &row.parent {
                    let parent = self.rows.values().find(|row| row.name == *parent).unwrap();
                    assert_eq!(parent.up, Some(true), "{}: up before its parent", row.name);
                }
            }
            Write::Claim { .. } => {
                // A child is main or additional as its parent is, whatever its own order says.
                let own = row.verdict("hv1", "hv1.example");
                assert_ne!(own, Verdict::Never, "{}", row.name);
                assert!(own == Verdict::Main || row.is_child(), "{}", row.name);
            }
            _ => {}
        }
    }

    fn apply(&mut self, write: &Write) {
        let Some(row) = self.rows.get_mut(&write.row()) else { return };
        match write {
            Write::Claim { encap, lower, .. } => {
                row.chassis = Some(ME);
                row.encap = *encap;
                if *lower {
                    row.up = Some(false);
                }
            }
            Write::Release { lower, .. } if row.chassis == Some(ME) => {
                row.chassis = None;
                row.encap = None;
                if *lower {
                    row.up = Some(false);
                }
            }
            Write::Up { up, .. } if row.chassis == Some(ME) => row.up = Some(*up),
            Write::JoinAdditional { .. } => row.additional = vec![ME],
            Write::LeaveAdditional { .. } => row.additional.clear(),
            _ => {}
        }
    }

    /// Runs until nothing happens any more.
    fn rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..30 {
            self.now += POSTPONE + RETRY;
            quiet = if self.turn(true).is_empty() { quiet + 1 } else { 0 };
            self.workers_catch_up();
            if quiet == 3 {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.writes);
    }
}

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

#[derive(Clone, Debug)]
enum Step {
    Put { slot: u8, name: u8, parent: Option<u8>, requested: u8, tag: u16 },
    Delete(u8),
    Plug(u8),
    Unplug(u8),
    Steal(u8),
    Lower(u8),
    Turn(bool),
    Workers,
    Wait(u64),
    Disconnect,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..6u8, 0..5u8, proptest::option::of(0..5u8), 0..4u8, 1..9u16).prop_map(
        |(slot, name, parent, requested, tag)| Step::Put { slot, name, parent, requested, tag },
    );
    prop_oneof![
        4 => put,
        1 => (0..6u8).prop_map(Step::Delete),
        4 => (0..5u8).prop_map(Step::Plug),
        1 => (0..5u8).prop_map(Step::Unplug),
        1 => (0..6u8).prop_map(Step::Steal),
        1 => (0..6u8).prop_map(Step::Lower),
        6 => any::<bool>().prop_map(Step::Turn),
        4 => Just(Step::Workers),
        1 => (1..3000u64).prop_map(Step::Wait),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Reconnect),
    ]
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const REQUESTED: [Option<&str>; 4] = [None, Some("hv1"), Some("hv2"), Some("hv2,hv1")];

impl World {
    fn step(&mut self, step: Step) {
        let uuid = |slot: u8| Uuid::from_u128(100 + u128::from(slot));
        match step {
            Step::Put { slot, name, parent, requested, tag } => {
                let name = NAMES[usize::from(name)];
                // The index of the schema: a name has one row.
                if self.rows.iter().any(|(id, row)| *id != uuid(slot) && *row.name == *name) {
                    return;
                }
                let parent = parent.map(|parent| NAMES[usize::from(parent)]).filter(|p| *p != name);
                let old = self.rows.get(&uuid(slot)).filter(|old| *old.name == *name).cloned();
                let fresh = old.unwrap_or_else(|| port(name));
                let row = PortRow {
                    parent: parent.map(Arc::from),
                    tag: parent.and_then(|_| tagged(tag)),
                    requested: REQUESTED[usize::from(requested)].map(Arc::from),
                    ..fresh
                };
                self.put(100 + u128::from(slot), row);
            }
            Step::Delete(slot) => self.delete(uuid(slot)),
            Step::Plug(name) => {
                let interface = 1 + self.generation as u32 * 8 + u32::from(name);
                self.plug(NAMES[usize::from(name)], interface);
            }
            Step::Unplug(name) => self.unplug(NAMES[usize::from(name)]),
            Step::Steal(slot) => self.edit(uuid(slot), |row| row.chassis = Some(OTHER)),
            Step::Lower(slot) => self.edit(uuid(slot), |row| row.up = Some(false)),
            Step::Turn(settled) => drop(self.turn(settled)),
            Step::Workers => self.workers_catch_up(),
            Step::Wait(millis) => self.now += at(millis),
            Step::Disconnect => {
                self.connected = false;
                self.claims.writable(false);
            }
            Step::Reconnect => {
                self.connected = true;
                self.claims.writable(true);
            }
        }
    }

    fn edit(&mut self, uuid: Uuid, change: impl FnOnce(&mut PortRow)) {
        if let Some(mut row) = self.rows.get(&uuid).cloned() {
            change(&mut row);
            self.rows.insert(uuid, row.clone());
            self.claims.row(uuid, Some(row), self.now);
        }
    }

    /// Slow and obvious: as what a port belongs here, whatever happened before.
    fn belongs(&self, row: &PortRow, plugged: &HashSet<String>) -> Verdict {
        let own = row.verdict("hv1", "hv1.example");
        let Some(parent) = &row.parent else {
            return if plugged.contains(&*row.name) { own } else { Verdict::Never };
        };
        match self.rows.values().find(|other| other.name == *parent) {
            Some(parent) if own != Verdict::Never && !parent.is_child() => {
                self.belongs(parent, plugged)
            }
            _ => Verdict::Never,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens, no promise is broken on the way (see `World::check`), and in the end the
    /// database shows what an oracle without memory says.
    #[test]
    fn after_any_history_the_claims_are_those_of_a_fresh_start(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut world = World::new();
        let mut plugged = HashSet::new();
        for step in steps {
            match &step {
                Step::Plug(name) => { plugged.insert(NAMES[usize::from(*name)].to_owned()); }
                Step::Unplug(name) => { plugged.remove(NAMES[usize::from(*name)]); }
                _ => {}
            }
            world.step(step);
        }
        world.step(Step::Reconnect);
        world.rest();
        for (uuid, row) in &world.rows {
            let verdict = world.belongs(row, &plugged);
            prop_assert_eq!(row.chassis == Some(ME), verdict == Verdict::Main, "{:?}", row);
            let additional = row.additional.contains(&ME);
            prop_assert_eq!(additional, verdict == Verdict::Additional, "{:?}", row);
            if verdict == Verdict::Main {
                prop_assert_eq!(row.up, Some(true), "{:?}", row);
            }
            prop_assert_eq!(world.claims.get(*uuid).is_some(), verdict != Verdict::Never);
        }
    }
}
