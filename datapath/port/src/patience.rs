//! What a worker without work does: looks again, sleeps until a frame wakes it, or naps.
//!
//! Looking pays only if work comes before a sleep and its wake-up would be over. What comes next is
//! learnt from what came after a wait like the last: the answer to a question that woke the worker
//! comes soon, the next question does not. So after a short wait, which a burst's frames end, a sleep
//! that was short makes the next look longer, and one that lasted makes it shorter, down to none.
//! After a long wait a look may be long, and so it must have been worth it each of the last times. A
//! worker does not sleep between a question and its answer, nor between the frames of a burst, and
//! does not burn a core for each packet that comes now and then.
//!
//! Where frames come thick, neither is good. Each look or wake-up finds a frame or two, and takes the
//! core from whoever makes or takes them there; a receiver that waits for the core until the next tick
//! loses what its socket has no room for. So the worker naps, as NICs moderate their interrupts: it
//! cannot be woken for a while, frames gather, and others have the core in one stretch.

use crate::worker::Polling;

/// The longest look after a long wait, in nanoseconds: an answer's way over another hypervisor.
const ANSWER: u64 = 150_000;

/// The longest look after a short wait, in nanoseconds.
const BURST: u64 = 20_000;

/// How often in a row a long look must have been worth it before it is taken.
const PROOFS: u32 = 4;

/// The shortest look but none.
const SHORTEST: u64 = 5_000;

/// A nap, in nanoseconds; the most that it adds to a frame's way.
const NAP: u64 = 200_000;

/// Frames that a nap must gather to be worth more than its timer.
const GATHERED: u64 = 10;

/// The time over which frames are counted to tell how thick they come.
const WINDOW: u64 = 1_000_000;

/// What to do without work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Look again at once.
    Look,
    /// Sleep this many nanoseconds, whatever comes.
    Nap(u64),
    /// Sleep until something comes.
    Sleep,
}

/// See the module. Times are nanoseconds of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    polling: Polling,
    /// How long to look after a short wait.
    look: u64,
    /// How many waits after a long one in a row were short enough to look for.
    answers: u32,
    /// Whether the last wait was a short one.
    short: bool,
    idle_since: Option<u64>,
    window_since: u64,
    frames: u64,
    thick: bool,
}

impl Patience {
    pub(crate) fn new(polling: Polling) -> Self {
        Self {
            polling,
            look: 0,
            answers: 0,
            short: false,
            idle_since: None,
            window_since: 0,
            frames: 0,
            thick: false,
        }
    }

    /// Takes notice of a turn that began at `now` and served this many frames.
    #[inline]
    pub(crate) fn served(&mut self, now: u64, frames: usize) {
        if frames > 0 && self.idle_since.take().is_some() {
            self.short = true;
        }
        self.frames += frames as u64;
        let window = now - self.window_since;
        if window >= WINDOW {
            self.thick = self.frames.saturating_mul(NAP) >= GATHERED.saturating_mul(window);
            self.window_since = now;
            self.frames = 0;
        }
    }

    /// What to do after a turn that began at `now` and found nothing.
    pub(crate) fn rest(&mut self, now: u64) -> Rest {
        let look = match self.polling {
            Polling::Busy => return Rest::Look,
            _ if self.thick => 0,
            Polling::Sleep => 0,
            Polling::Adaptive if self.short => self.look,
            Polling::Adaptive if self.answers >= PROOFS => ANSWER,
            Polling::Adaptive => 0,
        };
        if now - *self.idle_since.get_or_insert(now) < look {
            return Rest::Look;
        }
        self.idle_since = None;
        if !self.thick {
            return Rest::Sleep;
        }
        self.answers = 0;
        Rest::Nap(NAP)
    }

    /// Takes notice of a sleep of this many nanoseconds.
    pub(crate) fn slept(&mut self, nanoseconds: u64) {
        let after_short = self.short;
        self.short = nanoseconds <= if after_short { BURST } else { ANSWER };
        match (after_short, self.short) {
            (false, true) => self.answers = PROOFS.min(self.answers + 1),
            (false, false) => self.answers = 0,
            (true, true) => self.look = (self.look * 2).clamp(SHORTEST, BURST),
            (true, false) if self.look < 2 * SHORTEST => self.look = 0,
            (true, false) => self.look /= 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it looks before it sleeps.
    fn look(patience: &mut Patience, now: u64) -> u64 {
        (0..).step_by(1_000).find(|idle| patience.rest(now + idle) != Rest::Look).unwrap()
    }

    /// Serves `batch` frames each `pause` nanoseconds for 3 ms, and says what it would do then.
    fn after(polling: Polling, batch: usize, pause: u64) -> (Patience, u64, Rest) {
        let mut patience = Patience::new(polling);
        let mut now = 77 * WINDOW;
        for _ in 0..3 * WINDOW / pause {
            patience.served(now, batch);
            now += pause;
        }
        let rest = patience.rest(now);
        (patience, now, rest)
    }

    #[test]
    fn a_worker_whose_sleeps_are_short_looks_longer_and_longer() {
        let mut patience = Patience::new(Polling::Adaptive);
        patience.slept(3_000);
        let looks: Vec<_> = (0..4)
            .map(|n| {
                patience.slept(3_000);
                look(&mut patience, n * WINDOW)
            })
            .collect();
        assert_eq!(looks, [5_000, 10_000, 20_000, 20_000]);
    }

    #[test]
    fn a_worker_that_waits_long_for_each_packet_soon_sleeps_at_once() {
        let mut patience = Patience::new(Polling::Adaptive);
        (0..4).for_each(|_| patience.slept(3_000));
        let looks: Vec<_> = (0..4)
            .map(|n| {
                patience.slept(500_000);
                look(&mut patience, n * WINDOW)
            })
            .collect();
        assert_eq!(looks, [0; 4]);
    }

    #[test]
    fn a_worker_that_a_question_wakes_looks_for_the_answer_and_then_sleeps() {
        let mut patience = Patience::new(Polling::Adaptive);
        let question = 99 * WINDOW;
        for _ in 0..PROOFS {
            patience.slept(5_000_000);
            assert_eq!(patience.rest(question), Rest::Sleep);
            patience.slept(70_000);
        }
        patience.slept(5_000_000);
        patience.served(question, 1);
        assert_eq!(patience.rest(question + 1_000), Rest::Look);
        assert_eq!(patience.rest(question + 80_000), Rest::Look);
        patience.served(question + 90_000, 1);
        assert_eq!(patience.rest(question + 91_000), Rest::Sleep);
        // No answer to the next: it was worth it no longer.
        patience.slept(5_000_000);
        patience.served(question + 6_000_000, 1);
        assert_eq!(patience.rest(question + 6_000_000), Rest::Look);
        assert_eq!(patience.rest(question + 6_200_000), Rest::Sleep);
        patience.slept(5_000_000);
        assert_eq!(patience.rest(question + 12_000_000), Rest::Sleep);
    }

    #[test]
    fn a_worker_lets_thick_frames_gather_and_is_woken_by_thin_ones() {
        for polling in [Polling::Adaptive, Polling::Sleep] {
            // 100 in a millisecond, one by one and in bursts.
            assert_eq!(after(polling, 1, 10_000).2, Rest::Nap(NAP));
            assert_eq!(after(polling, 50, 500_000).2, Rest::Nap(NAP));
            // 20 in a millisecond, and the four of a question and its answer.
            assert_eq!(after(polling, 10, 500_000).2, Rest::Sleep);
            assert_eq!(after(polling, 1, 50_000).2, Rest::Sleep);
            assert_eq!(after(polling, 4, 250_000).2, Rest::Sleep);
        }
        assert_eq!(after(Polling::Busy, 1, 10_000).2, Rest::Look);
    }

    #[test]
    fn the_first_frame_after_a_pause_finds_a_worker_that_it_can_wake() {
        let (mut patience, mut now, rest) = after(Polling::Adaptive, 1, 10_000);
        let mut naps = 0;
        let mut rest = rest;
        while let Rest::Nap(time) = rest {
            naps += 1;
            now += time;
            patience.served(now, 0);
            rest = patience.rest(now);
        }
        assert!(naps as u64 * NAP <= 2 * WINDOW, "{naps} naps without a frame");
        assert_eq!(rest, Rest::Sleep);
        patience.served(now + 1, 1);
        assert_ne!(patience.rest(now + 2), Rest::Nap(NAP));
    }
}
