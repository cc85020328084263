//! From rows of the Southbound DB to the tables that the workers run.
//!
//! [`Compiler`] is told what changes: rows ([`Compiler::apply`]), which ports are on which interface
//! ([`Compiler::bind`]), the ways to other chassis ([`Compiler::set_tunnel`]). What it publishes is
//! an immutable [`Generation`](ovn_xdp_datapath::publish::Generation) that shares all that did not
//! change with the one before. [`southbound`] holds the rows as structs.
#![forbid(unsafe_code)]

pub mod check;
mod compiler;
mod database;
mod dirty;
mod dump;
pub mod flows;
mod index;
mod interface;
mod local;
mod locality;
mod lower;
pub mod mac;
mod names;
mod neighbour;
pub mod network;
mod place;
mod reading;
mod recent;
pub mod report;
pub mod security;
mod sets;
pub mod southbound;
mod text;
mod verify;
pub mod whole;

pub use check::check;
pub use compiler::{Compiler, Identity};
pub use dump::dump;
pub use interface::LocalPort;
pub use text::Problem;
pub use verify::Objection;
