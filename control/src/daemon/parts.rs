//! What the engine needs of the compiler and of the ports, so that it can be tested without either.

use crate::southbound::learn::Names;
use crate::tunnels::Way;
use ovn_xdp_compile::Objection;
use ovn_xdp_datapath::key::{DatapathKey, InterfaceId, TunnelId};
use ovn_xdp_datapath::publish::Tag;
use ovn_xdp_ovsdb::replica::Change;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// From rows to a generation.
pub trait Compiler {
    /// Names of ports by their keys.
    type Names: Names;

    /// Rows changed.
    fn apply(&mut self, changes: &[Change]);
    /// Whether a row is there, by table.
    fn knows(&self, table: &str, row: Uuid) -> bool;
    /// Whether the rows that these changes brought can be used; nothing is published for it.
    ///
    /// # Errors
    /// What stands against the first that cannot.
    fn verify(&mut self, changes: &[Change]) -> Result<(), Objection>;
    /// An interface was attached.
    fn set_interface(&mut self, id: InterfaceId, name: &str);
    /// An interface was detached.
    fn remove_interface(&mut self, id: InterfaceId);
    /// A port is here.
    fn bind(&mut self, row: Uuid, port: &Arc<str>, interface: InterfaceId, tag: Option<Tag>);
    /// A port is no longer here.
    fn unbind(&mut self, row: Uuid, port: &Arc<str>);
    /// A tunnel is new or changed.
    fn set_tunnel(&mut self, id: TunnelId, way: &Way);
    /// A tunnel is gone.
    fn remove_tunnel(&mut self, id: TunnelId);
    /// Addresses from which tunnel packets are accepted.
    fn set_peers(&mut self, peers: &BTreeSet<IpAddr>);
    /// Datapaths that concern us now.
    fn local_datapaths(&mut self) -> Vec<(Uuid, DatapathKey)>;
    /// Compiles and hands to the workers; the number of the newest generation.
    fn publish(&mut self) -> u64;
    /// Names of ports by their keys.
    fn names(&self) -> Self::Names;
}

/// Sockets and eBPF.
pub trait Ports {
    /// Takes the frames of a workload's interface from the host. They are dropped until
    /// [`Ports::admit_interface`].
    ///
    /// # Errors
    /// A line that says why not.
    fn attach_interface(&mut self, name: &str) -> Result<InterfaceId, String>;
    /// From now on the workers get an interface's frames.
    ///
    /// # Errors
    /// A line that says why not.
    fn admit_interface(&mut self, id: InterfaceId) -> Result<(), String>;
    /// Lets go of an interface that may be gone already.
    fn detach_interface(&mut self, id: InterfaceId);
    /// Opens a NIC that tunnels leave by; its number for the workers.
    ///
    /// # Errors
    /// A line that says why not.
    fn open_nic(&mut self, name: &str) -> Result<u16, String>;
    /// Addresses at which tunnels end.
    fn set_tunnel_addresses(&mut self, addresses: &[IpAddr]);
}
