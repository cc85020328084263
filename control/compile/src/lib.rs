//! From rows of the Southbound DB to the tables that the workers run.
#![forbid(unsafe_code)]

pub mod mac;
pub mod southbound;
