//! The eBPF programs of ovn-xdp, for `aya-build`, which takes a binary.
#![no_std]
#![no_main]

mod programs;
