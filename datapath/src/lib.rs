//! Packets and compiled programs: the forwarding of an OVN chassis.
//!
//! This crate knows nothing of OVSDB, sockets or eBPF: it is a pure function of frames and of the
//! published [`publish::Generation`], so that workers, `ovn-xdp trace`, tests and benches run the
//! same program.
#![forbid(unsafe_code)]

pub mod classify;
pub mod field;
pub mod frame;
pub mod key;
pub mod program;
pub mod publish;
