//! Flows on their way from texts to rules, by several readers if they are many.
//!
//! To read a text needs nothing but the rows, so at a start, when all texts come at once, each core
//! reads some of them while the tables are made of what was read before. What was read is taken in
//! the order of the flows, however many readers there are. A set that nobody has asked for yet can
//! only be made by one; a flow that names such a set is left for later.

use crate::database::Database;
use crate::local::{Local, Stage};
use crate::locality::Own;
use crate::names::{Name, Names};
use crate::sets::{Access, Sets};
use crate::southbound::DatapathBinding;
use crate::text::{Compiled, Problem, Texts, World};
use hashbrown::HashMap;
use ovn_xdp_datapath::classify::Rule;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_datapath::program::Pipeline;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// One flow in some datapaths.
pub(crate) type Places<'a> = &'a [(Uuid, Uuid)];

/// What a flow asked for in a datapath, and what it is there.
type Outcome = (Vec<Name>, Result<(Rule, Arc<[&'static str]>), Problem>);

/// What came of a flow.
pub(crate) struct Made {
    pub(crate) flow: Uuid,
    pub(crate) place: (Pipeline, u8),
    /// By datapath; none where it does not apply.
    pub(crate) outcomes: Vec<(Uuid, Option<Outcome>)>,
}

/// Where it goes: the tables under way.
pub(crate) struct Entering<'a> {
    pub(crate) database: &'a Database,
    pub(crate) locals: &'a mut HashMap<Uuid, Local>,
    pub(crate) names: &'a mut Names,
    pub(crate) touched: &'a mut BTreeSet<Uuid>,
}

impl Entering<'_> {
    /// Takes what came of a flow, as far as its datapaths are local.
    pub(crate) fn enter(&mut self, made: Made) {
        for (datapath, outcome) in made.outcomes {
            let Some(local) = self.locals.get_mut(&datapath) else { continue };
            let changed = match outcome {
                Some((asked, result)) => {
                    self.names.note(made.flow, asked);
                    local.set(made.place, made.flow, result)
                }
                None => local.remove(made.place.0, made.place.1, made.flow),
            };
            if changed {
                self.touched.insert(datapath);
            }
        }
    }

    /// Makes tables of what was taken, a table by each core if it is of many flows.
    pub(crate) fn finish(self, readers: Readers, flows: usize) {
        /// Flows for which a thread pays.
        const MANY: usize = 512;
        if readers.many < 2 || flows < readers.many * readers.fewest.max(MANY) {
            for datapath in &*self.touched {
                let local = self.locals.get_mut(datapath);
                local.into_iter().flat_map(Local::coming).for_each(Stage::enter);
            }
            return;
        }
        let mut stages: Vec<_> = self.locals.values_mut().flat_map(Local::coming).collect();
        // Taken from the end: the largest first.
        stages.sort_by_key(|stage| stage.coming());
        let stages = Mutex::new(stages);
        let next = || stages.lock().unwrap_or_else(PoisonError::into_inner).pop();
        std::thread::scope(|scope| {
            for _ in 0..readers.many {
                scope.spawn(|| std::iter::from_fn(next).for_each(Stage::enter));
            }
        });
    }
}

/// Who reads if there is much to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readers {
    pub(crate) many: usize,
    /// Flows that each takes at a time at least. What does not give each so many is read by one.
    pub(crate) fewest: usize,
}

impl Default for Readers {
    fn default() -> Self {
        /// More would only wait for who makes the tables.
        const MOST: usize = 4;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { many: cores.min(MOST), fewest: 256 }
    }
}

impl Readers {
    /// How many flows each takes at a time: so many that handing them over costs little, so few that
    /// who makes the tables has something to do soon, and nobody waits for the last.
    fn at_a_time(self, flows: usize) -> usize {
        const MOST: usize = 512;
        (flows / (4 * self.many)).min(MOST).max(self.fewest)
    }
}

/// Reads one flow, if it is still there.
pub(crate) fn read(places: Places<'_>, texts: &mut Texts, world: &mut World<'_>) -> Option<Made> {
    let flow = world.database.flows.get(&places.first()?.0)?;
    let mut outcomes = Vec::with_capacity(places.len());
    let mut targets: Vec<&DatapathBinding> = Vec::with_capacity(places.len());
    for (_, datapath) in places {
        if !world.database.applies(flow, *datapath) {
            outcomes.push((*datapath, None));
        } else if let Some(row) = world.database.datapaths.get(datapath) {
            targets.push(row);
        }
    }
    let (uuid, priority) = (flow.uuid(), flow.priority());
    let mut shared: Option<(Compiled, Rule)> = None;
    texts.compile(flow, &targets, world, |datapath, outcome| {
        let result = outcome.result.map(|compiled| {
            // One rule for all datapaths in which it is the same.
            let (compiled, rule) = match shared.take() {
                Some(known) if known.0 == compiled => known,
                _ => {
                    let program = compiled.program.clone();
                    let id = FlowId(uuid.as_u128());
                    let rule = Rule::new(priority, &compiled.clauses, program, id);
                    (compiled, rule)
                }
            };
            let inert = compiled.inert.clone();
            shared = Some((compiled, rule.clone()));
            (rule, inert)
        });
        outcomes.push((datapath.uuid, Some((outcome.asked, result))));
    });
    Some(Made { flow: uuid, place: (flow.pipeline(), flow.table()), outcomes })
}

/// Reads flows by several readers if they are many, and gives what came of them to `enter` one
/// after the other; returns those that are left to read.
pub(crate) fn read_by_several<'a>(
    readers: Readers,
    flows: &[Places<'a>],
    texts: &Texts,
    (database, own, sets): (&Database, &Own, &Sets),
    enter: &mut impl FnMut(Made),
) -> Vec<Places<'a>> {
    let Readers { many, fewest } = readers;
    if many < 2 || flows.len() < many * fewest {
        return flows.to_vec();
    }
    let at_a_time = readers.at_a_time(flows.len());
    let (next, mut left) = (AtomicUsize::new(0), Vec::new());
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(2 * many);
        for _ in 0..many {
            let (sender, next, mut texts) = (sender.clone(), &next, texts.another());
            scope.spawn(move || {
                let mut world = World { database, own, sets: Access::shared(sets) };
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(some) = flows.chunks(at_a_time).nth(at) else { return };
                    let made = some.iter().map(|flow| {
                        let made = read(flow, &mut texts, &mut world);
                        if world.sets.lacked() { Err(*flow) } else { Ok(made) }
                    });
                    if sender.send((at, made.collect::<Vec<_>>())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (at, made) in receiver {
            early.insert(at, made);
            while let Some(made) = early.remove(&due) {
                due += 1;
                for made in made {
                    match made {
                        Ok(made) => made.into_iter().for_each(&mut *enter),
                        Err(flow) => left.push(flow),
                    }
                }
            }
        }
    });
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::insertions;
    use crate::southbound::monitored;
    use crate::{Compiler, Identity, dump};
    use ovn_xdp_ovsdb::file::FileDatabase;
    use ovn_xdp_ovsdb::monitor::Wanted;
    use std::path::Path;

    #[test]
    fn several_readers_make_what_one_makes() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let wanted: Vec<Wanted> = monitored()
            .into_iter()
            .map(|(table, columns)| Wanted::columns(table, columns))
            .collect();
        let mut named = 0;
        for entry in std::fs::read_dir(fixtures).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|it| it != "db") {
                continue;
            }
            let file = FileDatabase::read(&path, "OVN_Southbound", &wanted).unwrap();
            let made = |many| {
                let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
                compiler.readers = Readers { many, fewest: 3 };
                compiler.all = true;
                compiler.locality.stale = true;
                compiler.apply(&insertions(&file.replica));
                let generation = dump(&compiler.publish());
                let skipped: Vec<_> = compiler.skipped().collect();
                let inert: Vec<_> = compiler.not_executed().collect();
                (generation, skipped, inert)
            };
            let one = made(1);
            named += usize::from(one.0.contains("in set"));
            assert!(one == made(4), "{}", path.display());
        }
        assert!(named > 0, "no fixture names a set");
    }
}
