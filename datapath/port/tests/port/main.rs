//! The ports on a real kernel, in network namespaces of their own. Needs root.

mod crash;
mod handover;
mod lab;
mod nested;
mod tags;
mod underlay;
mod workloads;
