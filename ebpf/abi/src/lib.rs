//! What both sides of the kernel boundary share.
#![no_std]
#![forbid(unsafe_code)]

pub mod drop;
pub mod map;
pub mod trunk;
