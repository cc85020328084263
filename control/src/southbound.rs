//! What this chassis says in the Southbound DB, and what it asks to see of it.
//!
//! Every part is a state machine without input and output of its own: rows and facts of the host go
//! in, wanted changes come out. The daemon carries both, so that what we write can be tested as a
//! function of what we saw.

pub mod binding;
pub mod chassis;
pub mod claim;
pub mod column;
pub mod feature;
pub mod learn;
pub mod monitor;
pub mod northd;
