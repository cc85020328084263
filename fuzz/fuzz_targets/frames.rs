//! Frames from workloads and from the wire: nothing panics, each is sent or released exactly once,
//! and what is sent is the same with and without a cache.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../control/compile/tests/corpus/frames.rs"]
mod frames;

fuzz_target!(|input: &[u8]| frames::frames(input));
