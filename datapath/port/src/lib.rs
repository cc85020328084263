//! AF_XDP sockets, the trunk, the NIC, and the eBPF programs that feed them.
//!
//! ```text
//!   workload ─ tcx ─► trunk near ═ far ─ XDP ─► AF_XDP ┐
//!                                                      ├─ worker: Forward
//!   NIC ──────────────────────────────── XDP ─► AF_XDP ┘
//! ```
//!
//! Start with [`ports::Ports`]. This crate is where `unsafe` may be: the memory of frames, the rings,
//! and the calls that make them; each block says what is owed.

mod ethtool;
mod handover;
mod kernel;
mod namespace;
pub mod nested;
mod netlink;
mod nic;
mod patience;
pub mod ports;
mod program;
pub mod report;
mod ring;
mod socket;
pub mod sockets;
pub mod statistics;
mod trunk;
pub mod umem;
pub mod worker;

pub use kernel::OldKernel;
pub use ports::{Ports, PortsConfig, PortsError};
pub use program::BpfError;
pub use socket::SocketError;
pub use worker::{Forward, Mailbox, Polling};
