//! Transactions on the local rows: nothing panics, what is refused changed nothing, and what is
//! taken means the same as a fresh start with the rows that are there.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../control/local/tests/corpus/requests.rs"]
mod requests;

fuzz_target!(|stream: &[u8]| requests::requests(stream));
