//! The eBPF programs of ovn-xdp, for the build with stable Rust, which takes a library.
#![no_std]

mod programs;
