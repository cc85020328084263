//! The daemon: Southbound DB, port claims, tunnels, host, API.
#![forbid(unsafe_code)]

pub mod api;
pub mod check;
pub mod config;
pub mod contents;
pub mod daemon;
pub mod host;
pub mod lflow;
pub mod log;
pub mod progress;
pub mod southbound;
pub mod trace;
pub mod tunnels;

/// Sends what is logged to stderr; `RUST_LOG` chooses, `level` if it is not set.
pub fn start_logging(level: &str) {
    log::start(level);
}
