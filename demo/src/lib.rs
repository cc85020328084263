//! `ovn-xdp demo`: two hypervisors in network namespaces, each with an `ovn-xdp run` of its own.
//!
//! The Southbound database is a file recorded from a real `ovn-northd` (and built into the
//! program), or, with `--live`, a real `ovsdb-server` and `ovn-northd`. All pairs of workloads ping
//! and move TCP; two captured frames show what is on the wire; everything is removed at the end,
//! also after Ctrl-C.
#![forbid(unsafe_code)]

mod lab;
mod live;
mod matrix;
mod screen;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use ovn_xdp_kit::wait;

use crate::lab::Lab;
use crate::screen::Screen;

pub use ovn_xdp_kit::topology;

/// What `ovn-xdp demo` is told on the command line.
#[derive(Clone, Debug, Default)]
pub struct DemoOptions {
    /// Run on a real `ovn-northd` and `ovsdb-server`, and add a container while traffic runs.
    pub live: bool,
    /// The `ovn-xdp` program to run the chassis with; this very program if `None`.
    pub binary: Option<PathBuf>,
}

/// Runs the demo, and prints what happens.
///
/// The status is a failure if any pair did not reach each other. Everything that was made in the
/// kernel is gone when this returns.
///
/// # Errors
/// When the demo could not be set up: no rights, no `ip` or `ping`, a kernel that is too old.
pub fn run(options: DemoOptions) -> Result<ExitCode> {
    // A second run in one process (a test) finds the handler set, which serves it as well.
    let _ = ctrlc::set_handler(wait::interrupt);
    let binary = match options.binary {
        Some(binary) => binary,
        None => std::env::current_exe().context("where is this program?")?,
    };
    let mut screen = Screen::default();
    let result = show(&mut screen, &binary, options.live);
    if wait::interrupted() {
        println!("\nInterrupted: everything was removed.");
        return Ok(ExitCode::from(130));
    }
    match result? {
        0 => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// The number of failures.
fn show(screen: &mut Screen, binary: &std::path::Path, live: bool) -> Result<usize> {
    let central = if live { Some(live::central(screen)?) } else { None };
    let mut lab = Lab::start(screen, binary, central)?;
    let matrix = matrix::run(screen, &lab)?;
    let mut failures = matrix.failures();
    failures += wire::show(screen, &lab)?;
    if live {
        failures += live::add_container(screen, &mut lab)?;
    }
    if failures > 0 {
        screen.details(&lab.account());
    }
    let step = screen.step("clean up");
    drop(lab);
    step.done("no namespace, link or process is left");
    screen.verdict(failures, &matrix);
    Ok(failures)
}
