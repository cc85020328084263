//! The daemon: Southbound DB, port claims, tunnels, host, API.
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod daemon;
pub mod host;
pub mod southbound;
pub mod tunnels;
