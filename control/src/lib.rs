//! The daemon: Southbound DB, port claims, tunnels, host, API.
#![forbid(unsafe_code)]

pub mod api;
pub mod check;
pub mod config;
pub mod contents;
pub mod daemon;
pub mod host;
pub mod southbound;
pub mod trace;
pub mod tunnels;

/// Sends what is logged to stderr; `RUST_LOG` chooses, `info` if it is not set.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,netlink_proto=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
