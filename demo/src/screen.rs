//! What the demo prints: numbered steps with the time each took, sections, and the verdict.

use std::io::Write;
use std::time::Instant;

use crate::matrix::Matrix;

/// The terminal, and how many steps it has seen.
#[derive(Debug, Default)]
pub struct Screen {
    steps: usize,
}

/// A step under way.
#[derive(Debug)]
pub struct Step {
    start: Instant,
}

impl Screen {
    const WIDTH: usize = 58;

    /// Announces what is done next; it ends with [`Step::done`].
    pub fn step(&mut self, what: &str) -> Step {
        self.steps += 1;
        let dots = ".".repeat(Self::WIDTH.saturating_sub(what.chars().count()));
        print!("[{}] {what} {dots} ", self.steps);
        let _ = std::io::stdout().flush();
        Step { start: Instant::now() }
    }

    /// Prints a heading.
    pub fn section(&self, title: &str) {
        println!("\n{title}\n{}", "─".repeat(title.chars().count()));
    }

    /// Prints a line.
    pub fn line(&self, line: &str) {
        println!("{line}");
    }

    /// Prints what helps to find out why something failed.
    pub fn details(&self, text: &str) {
        self.section("What the chassis say");
        println!("{text}");
    }

    /// The last line.
    pub fn verdict(&self, failures: usize, matrix: &Matrix) {
        let ways = matrix.attempts();
        match failures {
            0 => println!("\nAll {ways} of {ways} attempts got through."),
            _ => println!("\nFAILED: {failures} of the {ways} attempts and shown frames."),
        }
    }
}

impl Step {
    /// Ends the line with a remark and the time the step took.
    pub fn done(self, remark: &str) {
        println!("{remark} ({:.1} s)", self.start.elapsed().as_secs_f32());
    }
}
