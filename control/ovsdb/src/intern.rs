//! Strings that are kept once.
//!
//! A Southbound database says the same few thousand strings (column keys, actions such as `next;`,
//! names of ports) over and over; every string that is parsed passes through here and comes out
//! shared. A string that nobody else holds any more is forgotten at the next sweep, which happens
//! when the table has doubled since the last one, so the cost per string stays constant.

use std::collections::HashSet;
use std::sync::Arc;

/// The strings seen so far.
#[derive(Debug, Default)]
pub struct Interner {
    strings: HashSet<Arc<str>>,
    sweep_at: usize,
}

const SMALLEST_SWEEP: usize = 4096;

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
    fn strings_that_nobody_holds_are_forgotten() {
        let mut strings = Interner::default();
        for number in 0..100_000 {
            strings.intern(&number.to_string());
        }
        assert!(strings.len() <= SMALLEST_SWEEP, "{} are left", strings.len());
    }
}
