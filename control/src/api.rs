//! The daemon's local API: a Unix socket that speaks unixctl, and what it tells.
//!
//! Any `ovs-appctl -t SOCKET` can talk to it, and so do the subcommands of `ovn-xdp`. The socket is
//! for root and, if the configuration says so, for one group. `docs/api.md` has an example of each
//! call.

pub mod command;
pub mod list;
pub mod section;
pub mod show;
mod table;
pub mod unixctl;
