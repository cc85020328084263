//! Facts of the host: its links, and how its tunnels' next hops are reached.
//!
//! The kernel owns all of it; we follow. Changes arrive by netlink's multicast groups, and when the
//! kernel says that it lost some (ENOBUFS), everything is read anew.

pub mod hop;
pub mod link;
pub mod netlink;
pub mod path;
