//! What a hypervisor is to a test, whoever forwards on it: a namespace, a name, a tunnel address,
//! and interfaces that logical ports are plugged into.

use std::fmt::Debug;
use std::net::IpAddr;

use anyhow::Result;

use crate::namespace::Namespace;

/// A chassis that runs.
pub trait Chassis: Debug {
    /// The namespace of the hypervisor: workloads have their far ends in it.
    fn namespace(&self) -> &Namespace;

    /// Its name in the Southbound database.
    fn name(&self) -> &str;

    /// Its tunnel address.
    fn tunnel_address(&self) -> IpAddr;

    /// Binds a link of the namespace to the logical port `iface_id`. The link need not exist yet.
    fn plug(&mut self, link: &str, iface_id: &str) -> Result<()>;

    /// Undoes [`plug`](Self::plug); the link stays.
    fn unplug(&mut self, link: &str) -> Result<()>;

    /// Whether workloads behind it must turn their offloads off.
    fn needs_plain_frames(&self) -> bool;

    /// What an engineer would look at when something failed: logs, flows, ports.
    fn account(&mut self) -> String;
}
