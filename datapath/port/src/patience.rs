//! How long an idle worker looks for work before it sleeps, learnt from how long it slept.
//!
//! Looking pays only if work comes before a sleep and its wake-up would be over. A sleep that ended
//! within the longest look makes the next look longer; one that lasted makes it shorter, down to
//! none. So a busy worker does not sleep between frames, and one that serves a packet now and then
//! does not burn a core for each.

/// The longest look, in nanoseconds.
const LONGEST: u64 = 20_000;

/// The shortest look but none.
const SHORTEST: u64 = 5_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    nanoseconds: u64,
}

impl Patience {
    /// How long to look now, in nanoseconds.
    pub(crate) fn nanoseconds(self) -> u64 {
        self.nanoseconds
    }

    /// Takes notice of a sleep of this many nanoseconds.
    pub(crate) fn slept(&mut self, nanoseconds: u64) {
        self.nanoseconds = if nanoseconds <= LONGEST {
            (self.nanoseconds * 2).clamp(SHORTEST, LONGEST)
        } else if self.nanoseconds < 2 * SHORTEST {
            0
        } else {
            self.nanoseconds / 2
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_whose_sleeps_are_short_looks_longer_and_longer() {
        let mut patience = Patience::default();
        let looks: Vec<_> = (0..4)
            .map(|_| {
                patience.slept(3_000);
                patience.nanoseconds()
            })
            .collect();
        assert_eq!(looks, [5_000, 10_000, 20_000, 20_000]);
    }

    #[test]
    fn a_worker_that_waits_long_for_each_packet_soon_sleeps_at_once() {
        let mut patience = Patience::default();
        (0..3).for_each(|_| patience.slept(1));
        let looks: Vec<_> = (0..4)
            .map(|_| {
                patience.slept(50_000);
                patience.nanoseconds()
            })
            .collect();
        assert_eq!(looks, [10_000, 5_000, 0, 0]);
    }
}
