//! What rows have in common, kept once.
//!
//! A Southbound database says the same few thousand strings, small maps and whole groups of columns
//! over and over; what is parsed of them passes through here and comes out shared. What nobody else
//! holds any more is forgotten at the next sweep, which happens when as much has come since the last
//! one as was left by it, so the cost of each stays constant.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::packed::{Common, Parts};
use crate::value::{Atom, Datum};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Interner {
    strings: Shared<Arc<str>>,
    maps: Shared<Arc<[(Atom, Atom)]>>,
    common: Shared<Arc<Common>>,
    /// Where rows are put together.
    pub(crate) parts: Parts,
}

#[derive(Debug)]
struct Shared<A> {
    known: HashSet<A, RandomState>,
    sweep_at: usize,
}

const SMALLEST_SWEEP: usize = 4096;

/// The largest map that is worth looking for.
const SMALL_MAP: usize = 3;

impl<A> Default for Shared<A> {
    fn default() -> Self {
        Self { known: HashSet::default(), sweep_at: SMALLEST_SWEEP }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<Arc<T>> {
    /// The one that is equal, or what is made if there is none.
    fn get_or(&mut self, like: &T, made: impl FnOnce() -> Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(like) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|one| Arc::strong_count(one) > 1);
            self.sweep_at = SMALLEST_SWEEP.max(self.known.len() * 2);
        }
        let made = made();
        self.known.insert(made.clone());
        made
    }

    fn learn(&mut self, other: Self) {
        for one in other.known.into_iter().filter(|one| Arc::strong_count(one) > 1) {
            self.get_or(&one, || one.clone());
        }
    }
}

impl Interner {
    /// The one shared copy of `text`.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        self.strings.get_or(text, || Arc::from(text))
    }

    /// A value, with the one shared copy of it if it is a small map.
    pub fn share(&mut self, datum: Datum) -> Datum {
        match datum {
            Datum::Map(pairs) if pairs.len() <= SMALL_MAP => {
                Datum::Map(self.maps.get_or(&pairs, || pairs.clone()))
            }
            datum => datum,
        }
    }

    /// The one shared copy of what rows have in common.
    pub(crate) fn common(&mut self, common: Common) -> Arc<Common> {
        if let Some(known) = self.common.known.get(&common) {
            return known.clone();
        }
        let common = Arc::new(common);
        self.common.get_or(&common, || common.clone())
    }

    /// Remembers what another remembers.
    pub(crate) fn learn(&mut self, other: Self) {
        self.strings.learn(other.strings);
        self.maps.learn(other.maps);
        self.common.learn(other.common);
    }

    /// The number of strings that are remembered.
    pub fn len(&self) -> usize {
        self.strings.known.len()
    }

    /// True if no string is remembered.
    pub fn is_empty(&self) -> bool {
        self.strings.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_their_memory() {
        let mut strings = Interner::default();
        let first = strings.intern("next;");
        assert!(Arc::ptr_eq(&first, &strings.intern("next;")));
    }

    #[test]
    fn equal_small_maps_share_their_memory() {
        let mut strings = Interner::default();
        let mut map = || {
            let map = strings.share(Datum::map([("stage-name", "ls_in_acl")]));
            map.pairs().as_ptr()
        };
        assert_eq!(map(), map());
    }

    #[test]
    fn strings_that_nobody_holds_are_forgotten() {
        let mut strings = Interner::default();
        for number in 0..100_000 {
            strings.intern(&number.to_string());
        }
        assert!(strings.len() <= SMALLEST_SWEEP, "{} are left", strings.len());
    }
}
