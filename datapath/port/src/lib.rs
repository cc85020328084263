//! AF_XDP sockets, the trunk, the NIC, and the eBPF programs that feed them.

pub mod nested;
mod program;
pub use program::BpfError;
