//! Any history of rows, interfaces, workers and connections, against an oracle without memory.

use super::*;
use proptest::prelude::*;

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
