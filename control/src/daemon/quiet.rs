//! Messages that may repeat, kept from filling the log.
//!
//! Each thing that can be said has a bucket of its own for each subject, as ovn-controller's rate
//! limits have: five times at once, then once a minute, with the number of times that it was not
//! said. Time is handed in.

use std::collections::HashMap;
use std::time::Duration;

/// How often a thing is said before it is limited.
const BURST: u32 = 5;
/// After how long it may be said once more.
const REFILL: Duration = Duration::from_secs(60);
/// Subjects that are told apart at most; beyond, those of one message share a bucket.
const SUBJECTS: usize = 1024;

/// What was said lately.
#[derive(Debug, Default)]
pub struct Quiet(HashMap<(&'static str, String), Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Duration,
    withheld: u64,
}

impl Quiet {
    /// Whether to say `what` about `subject` now: then how often it was withheld before.
    pub fn say(&mut self, what: &'static str, subject: &str, now: Duration) -> Option<u64> {
        if self.0.len() >= SUBJECTS {
            self.0.retain(|_, bucket| now.saturating_sub(bucket.since) < REFILL);
        }
        let full = self.0.len() >= SUBJECTS && !self.0.contains_key(&(what, subject.to_owned()));
        let subject = if full { "" } else { subject };
        let new = || Bucket { left: BURST, since: now, withheld: 0 };
        let bucket = self.0.entry((what, subject.to_owned())).or_insert_with(new);
        let refills = now.saturating_sub(bucket.since).as_secs() / REFILL.as_secs();
        if refills > 0 {
            let refilled = u64::from(bucket.left) + refills;
            bucket.left = refilled.min(BURST.into()) as u32;
            bucket.since = now;
        }
        if bucket.left == 0 {
            bucket.withheld += 1;
            return None;
        }
        bucket.left -= 1;
        Some(std::mem::take(&mut bucket.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_message_that_repeats_every_second_is_said_five_times_and_then_once_a_minute() {
        let mut quiet = Quiet::default();
        let said: Vec<(u64, u64)> = (0..130)
            .filter_map(|second| Some((second, quiet.say("refused", "tap0", at(second))?)))
            .collect();
        assert_eq!(said, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (60, 55), (120, 59)]);
        assert_eq!(quiet.say("refused", "tap1", at(130)), Some(0), "another subject");
    }

    #[test]
    fn a_flood_of_subjects_is_limited_as_a_whole() {
        let mut quiet = Quiet::default();
        let said = |number: u32| quiet.say("refused", &number.to_string(), at(1)).is_some();
        let said = (0..100_000).map(said).filter(|said| *said).count();
        assert_eq!(said, SUBJECTS + BURST as usize);
        assert!(quiet.0.len() <= SUBJECTS + 1);
    }
}
