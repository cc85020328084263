//! The daemon's local API: a Unix socket that speaks unixctl, and what it tells.
//!
//! Any `ovs-appctl -t SOCKET` can talk to it, and so does `ovn-xdp show`. The socket is for root
//! and, if the configuration says so, for one group.

pub mod command;
pub mod show;
mod table;
pub mod unixctl;
