//! Waiting for a condition: poll, with a deadline, and say what was seen last when it passes.
//!
//! No test sleeps for a time it guessed. The pause between two looks only bounds the load that
//! looking makes; it is never what a test relies on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longer than anything healthy takes on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait in this process, running or to come, end with an error. For signal handlers.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Polls `look` until it returns `Ok(value)`, for at most `patience`.
///
/// `look` answers `Err(what was seen)` while the condition does not hold. The last such answer is
/// in the error, after `what`, a phrase for what was awaited ("port vm1 to be up").
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match look() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if interrupted() {
            bail!("interrupted while waiting for {what}");
        }
        if start.elapsed() >= patience {
            bail!("waited {} s for {what}; last seen: {seen}", patience.as_secs_f32());
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_is_reported_with_what_was_seen_last() {
        let mut looks = 0;
        let failure = until::<()>("a miracle", Duration::from_millis(50), || {
            looks += 1;
            Err(format!("nothing, {looks} times"))
        })
        .unwrap_err()
        .to_string();
        assert!(failure.contains("a miracle"), "{failure}");
        assert!(failure.contains(&format!("nothing, {looks} times")), "{failure}");
    }

    #[test]
    fn a_condition_that_holds_is_seen_at_once() {
        assert_eq!(until("it", Duration::ZERO, || Ok(7)).unwrap(), 7);
    }
}
