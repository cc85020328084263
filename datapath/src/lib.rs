//! Packets and compiled programs: the forwarding of an OVN chassis.
//!
//! This crate knows nothing of OVSDB, sockets or eBPF: it is a pure function of frames and of the
//! published [`publish::Generation`], so that workers, `ovn-xdp trace`, tests and benches run the
//! same program.
#![forbid(unsafe_code)]

pub mod answer;
pub mod cache;
pub mod checksum;
pub mod classify;
pub mod counters;
pub mod field;
pub mod flood;
pub mod frame;
pub mod geneve;
pub mod gro;
pub mod key;
pub mod learn;
pub mod listing;
pub mod memory;
pub mod observe;
pub mod parse;
pub mod path;
pub mod pipeline;
pub mod program;
pub mod publish;
pub mod publisher;
pub mod rewrite;
pub mod security;
pub mod trace;
pub mod verdict;
pub mod worker;
