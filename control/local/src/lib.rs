//! Local rows: logical flows, ports and what they need, given by the control API and not by the
//! Southbound DB.
//!
//! The tables and columns are OVN's own ([`schema`]), the operations those of RFC 7047
//! ([`transaction`]). Local rows are compiled beside the Southbound's, are never written to it, and
//! must not clash with it. [`store`] keeps them across restarts.

#![forbid(unsafe_code)]

pub mod check;
pub mod database;
pub mod document;
pub mod schema;
pub mod store;
pub mod transaction;
pub mod value;

pub use database::Database;
pub use transaction::Refusal;
