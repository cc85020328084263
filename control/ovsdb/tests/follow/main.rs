//! What the client promises, against real `ovsdb-server`s.

mod cluster;
mod conditions;
mod database;
mod files;
mod follower;
mod server;
mod tls;
mod transactions;
mod values;
mod walk;
