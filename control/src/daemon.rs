//! The daemon.
pub mod engine;
pub mod parts;
