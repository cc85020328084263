//! Strings and small maps that are kept once.
//!
//! A Southbound database says the same few thousand strings (column keys, actions such as `next;`,
//! names of ports) over and over; every string that is parsed passes through here and comes out
//! shared. A string that nobody else holds any more is forgotten at the next sweep, which happens
//! when the table has doubled since the last one, so the cost per string stays constant.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::value::{Atom, Datum};

/// The strings seen so far.
#[derive(Debug, Default)]
pub struct Interner {
    strings: HashSet<Arc<str>, RandomState>,
    sweep_at: usize,
    maps: HashSet<Arc<[(Atom, Atom)]>, RandomState>,
    sweep_maps_at: usize,
}

const SMALLEST_SWEEP: usize = 4096;

/// The largest map that is worth looking for.
const SMALL_MAP: usize = 3;

impl Interner {
    /// The one shared copy of `text`.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return known.clone();
        }
        if self.strings.len() >= self.sweep_at.max(SMALLEST_SWEEP) {
            self.strings.retain(|string| Arc::strong_count(string) > 1);
            self.sweep_at = self.strings.len() * 2;
        }
        let string: Arc<str> = Arc::from(text);
        self.strings.insert(string.clone());
        string
    }

    /// A value, with the one shared copy of it if it is a small map.
    pub fn share(&mut self, datum: Datum) -> Datum {
        let Datum::Map(pairs) = &datum else { return datum };
        if pairs.len() > SMALL_MAP {
            return datum;
        }
        if let Some(known) = self.maps.get(pairs) {
            return Datum::Map(known.clone());
        }
        if self.maps.len() >= self.sweep_maps_at.max(SMALLEST_SWEEP) {
            self.maps.retain(|map| Arc::strong_count(map) > 1);
            self.sweep_maps_at = self.maps.len() * 2;
        }
        self.maps.insert(pairs.clone());
        datum
    }

    /// The number of strings that are remembered.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    /// True if no string is remembered.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
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
