//! What the control side hands to the workers: immutable, shared, replaced as a whole.
//!
//! A [`Generation`] is cheap to derive from the one before: maps are persistent and values are
//! behind `Arc`, so that a change touches what changed. Every object that a verdict may rest on
//! carries an *epoch*, a number that is new whenever the object is and never zero, which stands for
//! an object that is not there: a verdict made under an older generation still holds if the epochs of
//! what it consulted do. A datapath's epoch stands for its tables, ports, groups and neighbours too,
//! but not for shared sets: of those a verdict holds what sets the packet's own values belong to.

mod numbered;
mod stages;

pub use numbered::{Number, Numbered};
pub use stages::{Run, Stages};

use crate::classify::Sets;
use crate::key::{DatapathKey, InterfaceId, PortKey, TunnelId, VlanId};
use std::net::IpAddr;
use std::sync::Arc;

/// A map that shares what it has in common with the one it was made from. Its hash is seeded by the
/// process, as a tenant chooses some of the keys (neighbours, learned MAC addresses), but it is not
/// cryptographic: a packet without a verdict looks up a dozen keys.
pub type Map<K, V> = rpds::HashTrieMapSync<K, V, foldhash::quality::RandomState>;

/// Workload interfaces.
pub type Interfaces = Numbered<InterfaceId, Interface, 1024>;

/// Logical ports of a datapath: of most there are few.
pub type Ports = Numbered<PortKey, Port, 32>;

/// A MAC address as on the wire.
pub type Mac = [u8; 6];

/// Everything the workers forward by.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Counts up by one with each publication.
    pub number: u64,
    /// Attached workload interfaces and the logical ports behind them.
    pub interfaces: Interfaces,
    /// Logical switches and routers that concern this chassis.
    pub datapaths: Map<DatapathKey, Arc<Datapath>>,
    /// What is in the sets that rules share by name.
    pub sets: Sets,
    /// Ways to other chassis.
    pub tunnels: Map<TunnelId, Arc<Tunnel>>,
    /// Addresses from which tunnel packets are accepted (ENC-13).
    pub peers: Map<IpAddr, ()>,
}

impl Generation {
    /// The number of rules, each counted in every datapath that has it.
    pub fn rules(&self) -> usize {
        let tables = self.datapaths.values().flat_map(|it| it.ingress.iter().chain(&*it.egress));
        tables.map(|table| table.len()).sum()
    }
}

/// A workload interface: which logical ports its frames belong to (PHY-I1, PHY-I2).
#[derive(Clone, Debug)]
pub struct Interface {
    /// New whenever anything below changes.
    pub epoch: u64,
    /// Name of the host interface, for people.
    pub name: String,
    /// Port of frames without a tag, and of those with a tag that no child has (TRAP-4).
    pub vif: Option<Attachment>,
    /// Ports of nested containers, by tag.
    pub children: Children,
}

/// Children of one interface by VLAN tag: two array accesses, whatever their number. Only the blocks
/// of tags that are in use are there, because a VM has a few containers as a rule.
#[derive(Clone, Debug, Default)]
pub struct Children(Option<Arc<[Option<Arc<Block>>; VLANS / BLOCK]>>);

/// Children with neighbouring tags.
type Block = [Option<Attachment>; BLOCK];

/// VLAN tags.
const VLANS: usize = 4096;

/// Tags of a block.
const BLOCK: usize = 64;

impl Children {
    /// The child with this tag.
    #[inline]
    pub fn get(&self, tag: VlanId) -> Option<Attachment> {
        let (block, at) = Self::place(tag);
        self.0.as_ref()?[block].as_ref()?[at]
    }

    /// Replaces the child with this tag.
    pub fn set(&mut self, tag: VlanId, child: Option<Attachment>) {
        let (block, at) = Self::place(tag);
        let blocks = self.0.get_or_insert_with(|| Arc::new([const { None }; VLANS / BLOCK]));
        let block = &mut Arc::make_mut(blocks)[block];
        let children = block.get_or_insert_with(|| Arc::new([None; BLOCK]));
        Arc::make_mut(children)[at] = child;
        if children.iter().all(Option::is_none) {
            *block = None;
        }
    }

    fn place(tag: VlanId) -> (usize, usize) {
        let tag = usize::from(tag.get());
        (tag / BLOCK, tag % BLOCK)
    }
}

/// A logical port as the source of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Its datapath.
    pub datapath: DatapathKey,
    /// Its key there.
    pub port: PortKey,
}

/// A logical switch or router.
#[derive(Clone, Debug)]
pub struct Datapath {
    /// New whenever anything below changes.
    pub epoch: u64,
    /// Tunnel key.
    pub key: DatapathKey,
    /// Name in the Northbound DB, for people.
    pub name: String,
    /// Ingress tables by `table_id`.
    pub ingress: Stages,
    /// Egress tables by `table_id`.
    pub egress: Stages,
    /// Logical ports that can be output to.
    pub ports: Ports,
    /// Multicast groups.
    pub groups: Map<PortKey, Arc<Group>>,
    /// MAC_Binding and Static_MAC_Binding, already merged by precedence (section 5.6).
    pub neighbours: Map<Neighbour, Mac>,
    /// FDB.
    pub fdb: Map<Mac, PortKey>,
}

/// Key of a neighbour: logical port and address; IPv4 in the low 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Neighbour {
    /// Router port.
    pub port: PortKey,
    /// Which family `address` is of.
    pub family: crate::program::Family,
    /// The address.
    pub address: u128,
}

/// A logical port as a destination, and what is checked of frames that it sends and receives.
#[derive(Clone, Debug)]
pub struct Port {
    /// Tunnel key.
    pub key: PortKey,
    /// `Port_Binding.logical_port`.
    pub name: Arc<str>,
    /// Where it is.
    pub place: Place,
    /// `Port_Binding.port_security`; empty means that nothing is checked (PSEC-8).
    pub security: Box<[SecurityEntry]>,
    /// Type `localport`: never leaves this chassis (OUT-4).
    pub localport: bool,
}

/// Where a logical port is (section 5.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// On an interface of this chassis (OUT-1).
    Local {
        /// The interface.
        interface: InterfaceId,
        /// Tag to push for a nested container (OUT-11).
        tag: Option<Tag>,
        /// Other chassis that hold the port during a live migration (OUT-8).
        also: Box<[TunnelId]>,
    },
    /// On other chassis: one, or several during a live migration (OUT-2).
    Remote(Box<[TunnelId]>),
    /// The other end of a patch between two datapaths (PBT-5).
    Patch(Attachment),
    /// Nowhere: not bound, or bound to a chassis without a usable Encap.
    Unbound,
    /// A distributed gateway port that is centralised here: what goes to it goes to this port.
    Distributed(PortKey),
    /// On some chassis: in the whole logical network, which no chassis runs (`ovn-xdp trace`).
    Anywhere,
    /// A kind of port that this version does not forward to, by its `Port_Binding.type`.
    NotExecuted(&'static str),
}

/// A VLAN tag to push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// 0x8100, or 0x88a8 with options:ethtype (PBO-5).
    pub tpid: u16,
    /// VLAN identifier; the priority is zero.
    pub vid: VlanId,
}

/// One element of `Port_Binding.port_security`: a MAC address and the IP addresses it may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityEntry {
    /// The MAC address.
    pub mac: Mac,
    /// IPv4 networks: address with host bits kept, and prefix length.
    pub ipv4: Box<[(std::net::Ipv4Addr, u8)]>,
    /// IPv6 networks.
    pub ipv6: Box<[(std::net::Ipv6Addr, u8)]>,
}

/// A multicast group, split by who delivers to whom (OUT-6, ENC-11).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// New whenever anything below changes.
    pub epoch: u64,
    /// Members on this chassis, whoever sent.
    pub local: Box<[PortKey]>,
    /// Members that only the chassis of the sender serves: patch ports, localports.
    pub ingress_only: Box<[PortKey]>,
    /// One tunnel for each other chassis with a member.
    pub remote: Box<[TunnelId]>,
}

/// A Geneve tunnel to one chassis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// New whenever anything below changes.
    pub epoch: u64,
    /// `Chassis.name` at the other end, for people.
    pub chassis: String,
    /// Our end.
    pub local: IpAddr,
    /// The other end, of the same family.
    pub remote: IpAddr,
    /// How to get there on the link, once the kernel knows.
    pub link: Option<Link>,
    /// Whether the outer UDP checksum is filled in over IPv4 (ENC-14); over IPv6 it always is.
    pub csum: bool,
    /// Outer DSCP and ECN, or `None` to inherit the inner (ENC-15).
    pub tos: Option<u8>,
    /// Don't Fragment of the outer IPv4 header.
    pub df: bool,
}

/// A resolved next hop of the underlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Index in the list of NICs that the daemon opened.
    pub nic: u16,
    /// Our MAC address there.
    pub source: Mac,
    /// MAC address of the next hop.
    pub destination: Mac,
    /// Largest IP packet that the path carries, bytes.
    pub mtu: u16,
}
