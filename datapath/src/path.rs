//! The logical flows on the way of packets, and how many packets and bytes went it.
//!
//! A verdict counts once, on its [`Path`], which it shares with all verdicts of the worker whose
//! packets pass the same flows; what passed a flow is the sum over the paths that it is on, made when
//! somebody asks. The number of paths is bounded: those that no verdict has any more are folded into
//! sums by flow, and what finds no room is counted together.

use crate::cache::mix;
use crate::counters::Counter;
use crate::key::FlowId;
use crate::publish::Run;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Paths that a worker counts apart.
pub const MOST_PATHS: usize = 16_384;
/// Flows whose share of paths that are gone is remembered.
pub const MOST_FOLDED: usize = 65_536;
/// Flows on one path; a walk that passes more is counted with others.
pub const LONGEST: usize = 1024;

/// Flows in the order in which packets passed them, and what went this way.
#[derive(Default, Debug)]
pub struct Path {
    /// The flows; one that was passed twice is there twice.
    pub flows: Box<[FlowId]>,
    /// Frames.
    pub packets: Counter,
    /// Their bytes, as they arrived.
    pub bytes: Counter,
}

impl Path {
    /// Counts a frame, from the worker that owns the path.
    #[inline]
    pub fn count(&self, bytes: u32) {
        self.packets.add(1);
        self.bytes.add(u64::from(bytes));
    }
}

/// Frames and bytes.
pub type Passed = (u64, u64);

/// The paths of a worker.
#[derive(Default, Debug)]
pub struct Paths {
    kept: Mutex<Kept>,
    other: Arc<Path>,
}

#[derive(Default, Debug)]
struct Kept {
    /// With the hashes of their flows.
    paths: HashTable<(u64, Arc<Path>)>,
    folded: HashMap<FlowId, Passed>,
    /// Walks that found no room.
    refused: usize,
}

/// The flows that a walk passes, as it passes them.
#[derive(Default, Debug)]
pub struct Trail {
    /// One more than [`LONGEST`] at most.
    flows: Vec<FlowId>,
    hash: u64,
}

impl Trail {
    /// At the start of a walk.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.hash = 0;
    }

    /// The walk passes a flow, whose number is as good as random already.
    #[inline]
    pub fn passes(&mut self, flow: FlowId) {
        if self.flows.len() <= LONGEST {
            self.flows.push(flow);
            self.hash = (self.hash.rotate_left(5) ^ flow.0 as u64).wrapping_mul(SEED);
        }
    }

    /// The walk passes the flows of a run of tables.
    #[inline]
    pub fn passes_run(&mut self, run: Run<'_>) {
        let room = (LONGEST + 1).saturating_sub(self.flows.len());
        self.flows.extend_from_slice(&run.flows[..run.flows.len().min(room)]);
        self.hash = (self.hash.rotate_left(5) ^ run.print).wrapping_mul(SEED);
    }

    fn is(&self, path: &Path) -> bool {
        path.flows[..] == self.flows[..]
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Paths {
    /// What counts packets that pass these flows. For the worker, once a walk; takes a lock.
    pub fn of(&self, trail: &Trail) -> Arc<Path> {
        if trail.flows.len() > LONGEST {
            return Arc::clone(&self.other);
        }
        let hash = mix(trail.hash, SEED);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = kept.paths.find(hash, |(_, path)| trail.is(path)) {
            return Arc::clone(known);
        }
        if kept.paths.len() >= MOST_PATHS {
            if kept.refused.is_multiple_of(MOST_PATHS) {
                self.fold_unused(&mut kept);
            }
            kept.refused += 1;
        }
        if kept.paths.len() >= MOST_PATHS {
            return Arc::clone(&self.other);
        }
        let path = Arc::new(Path { flows: trail.flows[..].into(), ..Path::default() });
        kept.paths.insert_unique(hash, (hash, Arc::clone(&path)), |(hash, _)| *hash);
        path
    }

    /// Adds what passed each flow.
    pub fn sum(&self, into: &mut HashMap<FlowId, Passed>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (flow, passed) in &kept.folded {
            add(into.entry(*flow).or_default(), *passed);
        }
        for (_, path) in &kept.paths {
            let passed = (path.packets.get(), path.bytes.get());
            for flow in &path.flows {
                add(into.entry(*flow).or_default(), passed);
            }
        }
    }

    /// What is not counted by flow.
    pub fn other(&self) -> Passed {
        (self.other.packets.get(), self.other.bytes.get())
    }

    fn fold_unused(&self, kept: &mut Kept) {
        let Kept { paths, folded, .. } = kept;
        paths.retain(|(_, path)| {
            let used = Arc::strong_count(path) > 1;
            if !used {
                let passed = (path.packets.get(), path.bytes.get());
                for flow in &path.flows {
                    if folded.len() < MOST_FOLDED || folded.contains_key(flow) {
                        add(folded.entry(*flow).or_default(), passed);
                    }
                }
            }
            used
        });
    }
}

fn add(to: &mut Passed, passed: Passed) {
    to.0 += passed.0;
    to.1 += passed.1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Pipeline;

    fn flows(numbers: &[u128]) -> Trail {
        let mut trail = Trail::default();
        numbers.iter().for_each(|number| trail.passes(FlowId(*number)));
        trail
    }

    #[test]
    fn what_passed_a_flow_is_the_sum_of_the_paths_that_it_is_on() {
        let paths = Paths::default();
        let one = paths.of(&flows(&[1, 2]));
        one.count(100);
        paths.of(&flows(&[1, 3])).count(60);
        assert!(Arc::ptr_eq(&one, &paths.of(&flows(&[1, 2]))));
        let mut sums = HashMap::new();
        paths.sum(&mut sums);
        assert_eq!(sums[&FlowId(1)], (2, 160));
        assert_eq!((sums[&FlowId(2)], sums[&FlowId(3)]), ((1, 100), (1, 60)));
    }

    #[test]
    fn a_run_of_tables_is_counted_as_its_flows_and_bounded_as_they_are() {
        let all: Vec<FlowId> = (0..LONGEST as u128).map(FlowId).collect();
        let run = |from: usize| {
            let (flows, to) = (&all[from..], (Pipeline::Ingress, 0));
            Run { flows, print: from as u64, to }
        };
        let paths = Paths::default();
        let mut trail = flows(&[1, 2]);
        trail.passes_run(run(LONGEST - 2));
        paths.of(&trail).count(10);
        let mut sums = HashMap::new();
        paths.sum(&mut sums);
        let counted = [1, 2, LONGEST - 2, LONGEST - 1].map(|flow| sums.get(&FlowId(flow as u128)));
        assert_eq!((counted, sums.len()), ([Some(&(1, 10)); 4], 4));
        trail.passes_run(run(0));
        paths.of(&trail).count(7);
        assert_eq!(paths.other(), (1, 7));
    }

    #[test]
    fn paths_without_a_verdict_make_room_and_their_counts_stay() {
        let paths = Paths::default();
        let held = paths.of(&flows(&[0, u128::MAX]));
        for number in 1..MOST_PATHS as u128 {
            paths.of(&flows(&[0, number])).count(1);
        }
        paths.of(&flows(&[0, u128::MAX - 1])).count(1);
        held.count(1);
        let mut sums = HashMap::new();
        paths.sum(&mut sums);
        assert_eq!(sums[&FlowId(0)], (MOST_PATHS as u64 + 1, MOST_PATHS as u64 + 1));
        assert_eq!(sums[&FlowId(7)], (1, 1));
        assert_eq!(paths.other(), (0, 0));
        assert_eq!(paths.kept.lock().unwrap().paths.len(), 2);
    }

    #[test]
    fn what_finds_no_room_is_counted_together() {
        let paths = Paths::default();
        let held: Vec<_> =
            (0..MOST_PATHS as u128).map(|number| paths.of(&flows(&[number]))).collect();
        paths.of(&flows(&[u128::MAX])).count(9);
        paths.of(&flows(&[1; LONGEST + 1])).count(9);
        assert_eq!(paths.other(), (2, 18));
        drop(held);
    }
}
