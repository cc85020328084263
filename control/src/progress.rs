//! A bar on the terminal that says how far something is; nothing where standard error is none.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The bar.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    shown: Option<Instant>,
    terminal: bool,
}

/// Time between two looks of it.
const PAUSE: Duration = Duration::from_millis(100);

const WIDTH: usize = 30;

impl Progress {
    /// A bar that is not shown yet. `what` says what is counted.
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: None, terminal: std::io::stderr().is_terminal() }
    }

    /// Shows that `done` of `all` are done, unless it was shown a moment ago.
    pub fn show(&mut self, done: usize, all: usize) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r{}", bar(self.what, done, all));
    }

    /// Takes it away.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(what: &str, done: usize, all: usize) -> String {
    let full = (done * WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}] {done} of {all} {what}", "#".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_as_its_numbers_say() {
        let filled = |done, all| bar("flows", done, all).matches('#').count();
        assert_eq!([filled(0, 90), filled(45, 90), filled(90, 90)], [0, WIDTH / 2, WIDTH]);
        assert!(bar("flows", 45, 90).ends_with("] 45 of 90 flows"));
        assert_eq!(filled(0, 0), WIDTH, "nothing to do is done");
    }
}
