//! How long to wait before the next attempt to connect.
//!
//! The remotes are tried in turn. Each is tried once without a wait; when all have failed there is
//! a pause before each further attempt, which doubles from the shortest to the longest, and is
//! spread at random so that the hypervisors of a cloud do not come back at the same moment.

use std::time::Duration;

/// The state of reconnecting; it knows no clock and no source of randomness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    remotes: usize,
    free: usize,
    next: Duration,
}

impl Backoff {
    /// Pauses from `shortest` to `longest` for a number of remotes.
    pub fn new(shortest: Duration, longest: Duration, remotes: usize) -> Self {
        let longest = longest.max(shortest);
        Self { shortest, longest, remotes, free: remotes, next: shortest }
    }

    /// The pause before the next attempt; `random` is any number, evenly distributed.
    ///
    /// The result is between half of the nominal pause and the whole of it.
    pub fn pause(&mut self, random: u32) -> Duration {
        if self.free > 0 {
            self.free -= 1;
            return Duration::ZERO;
        }
        let nominal = self.next;
        self.next = (nominal * 2).min(self.longest);
        nominal.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }

    /// A connection served for that long before it ended. One that lasted as least as long as the
    /// next pause starts the count anew; a server that drops everyone at once is not hammered.
    pub fn served(&mut self, lasted: Duration) {
        if lasted >= self.next {
            self.free = self.remotes;
            self.next = self.shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn every_remote_is_tried_before_the_first_pause_and_pauses_double_to_the_longest() {
        let mut backoff = Backoff::new(second(1), second(8), 3);
        let pauses: Vec<u64> = (0..9).map(|_| backoff.pause(u32::MAX).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn pauses_are_spread_over_half_their_length() {
        let mut backoff = Backoff::new(second(8), second(8), 0);
        assert_eq!(backoff.pause(0), second(4));
        assert_eq!(backoff.pause(u32::MAX), second(8));
        let between = backoff.pause(u32::MAX / 2);
        assert!(second(5) < between && between < second(7), "{between:?}");
    }

    #[test]
    fn only_a_connection_that_lasted_starts_anew() {
        let mut backoff = Backoff::new(second(1), second(8), 1);
        for _ in 0..3 {
            backoff.pause(u32::MAX);
        }
        backoff.served(second(1));
        assert_eq!(backoff.pause(u32::MAX), second(4));
        backoff.served(second(9));
        assert_eq!(backoff.pause(u32::MAX), Duration::ZERO);
        assert_eq!(backoff.pause(u32::MAX), second(1));
    }
}
