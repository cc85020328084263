//! What was made of texts, as long as it is asked for again.
//!
//! Most texts that northd writes are of one flow alone, and to keep what came of them costs more
//! than to read them again; the others come over and over. So of what was not asked for twice
//! between two sweeps nothing is kept.

use hashbrown::{Equivalent, HashMap};
use std::hash::Hash;

/// Swept when as many have come since the last time as were left by it, and not fewer than this.
const SWEEP: usize = 4096;

/// Values by key.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    known: HashMap<K, (V, bool)>,
    sweep_at: usize,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: SWEEP }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// What was made of it, if that is still kept.
    pub(crate) fn get<Q: Hash + Equivalent<K>>(&mut self, key: &Q) -> Option<&V> {
        self.known.get_mut(key).map(|(value, again)| {
            *again = true;
            &*value
        })
    }

    /// Keeps what was made of it, for some time.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, (_, again)| std::mem::take(again));
            self.known.shrink_to_fit();
            self.sweep_at = SWEEP + 2 * self.known.len();
        }
        self.known.insert(key, (value, false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_stays_and_the_rest_goes() {
        let mut recent = Recent::default();
        recent.insert(0, ());
        for n in 1..20 * SWEEP {
            assert!(recent.get(&0).is_some());
            recent.insert(n, ());
        }
        assert!(recent.known.len() <= 2 * SWEEP, "{} are kept", recent.known.len());
    }
}
