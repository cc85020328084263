//! An OVSDB client: RFC 7047 and the extensions of ovsdb-server(7).
//!
//! It stands alone: nothing here knows OVN. [`client::Client`] follows one database over
//! `unix:`, `tcp:`, `ssl:` or `file:`, keeps a [`replica::Replica`] of the rows that are asked for,
//! and tells each change once; [`transact::Transaction`] changes the database.
//!
//! From the wire up: [`remote`] and [`tls`] say where, [`wire`] cuts the stream into messages,
//! [`connection`] makes calls, [`server`] judges whether a member of a cluster will do, [`monitor`]
//! and [`json`] read updates into [`row`]s, [`replica`] applies them, and the task in `session` ties them
//! together. [`mod@file`] reads a database without a server.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod client;
pub mod condition;
pub mod connection;
pub mod file;
pub mod intern;
pub mod json;
pub mod monitor;
pub mod packed;
mod pieces;
pub mod remote;
pub mod replica;
pub mod row;
pub mod rows;
pub mod schema;
pub mod server;
mod session;
pub mod shape;
pub mod tls;
pub mod transact;
pub mod value;
pub mod wire;

pub use row::Row;
