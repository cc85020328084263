//! Hosts, workloads, clusters, captures: the parts that tests and the demo are built of.
//!
//! Everything made in the kernel (namespaces, and with them links and addresses) and every process
//! belongs to a value here, and goes when that value is dropped, also when a test panics. What a
//! killed run has left behind is removed by the next one: names carry the process id of their
//! maker. Nothing here waits for time to pass; it waits for conditions, with a deadline and an
//! account of what was seen last.
//!
//! The demo uses `namespace`, `link`, `workload`, `traffic`, `capture` and `chassis`, which need
//! `ip` and `ping` only. `central` and `stock` need Debian's OVN packages.
#![forbid(unsafe_code)]

pub mod capture;
pub mod central;
pub mod chassis;
pub mod dice;
pub mod geneve;
pub mod lab;
pub mod link;
pub mod microflow;
pub mod namespace;
pub mod network;
pub mod packet;
pub mod pki;
pub mod process;
pub mod raw;
pub mod stock;
pub mod texts;
pub mod topology;
pub mod traffic;
pub mod twins;
pub mod wait;
pub mod workload;
pub mod xdp_chassis;
