//! What forwards nothing and only speaks: VMs, containers nested in them, plain containers.
//!
//! Each is a namespace with one interface `eth0`. A VM's or plain container's other end is a link
//! of the hypervisor; a nested container's is a link in its VM, where an eBPF program does what the
//! guest's VLAN device would: it pushes the container's tag on the way out of the VM's `eth0`, and
//! hands frames with that tag back without it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_port::nested::Nested;

use crate::link::{self, Mac, veth_of};
use crate::namespace::Namespace;
use crate::process;

/// The name of a workload's interface inside it.
pub const LINK: &str = "eth0";

/// Where a workload sits in its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Its MAC address.
    pub mac: Mac,
    /// Its IPv4 address, in a /24 whose router is .1.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, in a /64 whose router is ::1.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// The n-th workload (n from 2 to 254) of the numbered network (1 to 254).
    pub fn nth(network: u8, n: u8) -> Self {
        Self {
            mac: Mac([0x02, 0, 0, 0, network, n]),
            v4: Ipv4Addr::new(10, 0, network, n),
            v6: Ipv6Addr::new(0xfd00, 0, 0, u16::from(network), 0, 0, 0, u16::from(n)),
        }
    }

    /// The addresses of the network's router.
    pub fn router(network: u8) -> Self {
        Self { mac: Mac([0x02, 0, 0, 0xff, network, 1]), ..Self::nth(network, 1) }
    }

    /// As a Logical_Switch_Port's `addresses` and `port_security` have it.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.mac, self.v4, self.v6)
    }

    /// Both IP addresses.
    pub fn ips(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    fn gateways(&self) -> (Ipv4Addr, Ipv6Addr) {
        let [a, b, c, _] = self.v4.octets();
        let mut six = self.v6.segments();
        six[4..].copy_from_slice(&[0, 0, 0, 1]);
        (Ipv4Addr::new(a, b, c, 1), six.into())
    }
}

type Nest = Arc<Mutex<Nested>>;

/// A VM or a container.
pub struct Workload {
    namespace: Namespace,
    addresses: Addresses,
    /// The namespace and name of the other end of its interface.
    far_end: (String, String),
    /// What this VM does with its containers' tags, once it has one.
    nest: Mutex<Option<Nest>>,
    /// What this container's VM does with its tag.
    nested: Option<(Nest, VlanHeader)>,
}

impl Workload {
    /// A VM or a plain container behind `link` of the hypervisor's namespace.
    ///
    /// `plain_frames` turns off what the interface leaves to the hypervisor (checksums, segments
    /// and tags), for hypervisors that cannot take it; this needs `ethtool`.
    pub fn plugged(
        role: &str,
        hypervisor: &Namespace,
        link: &str,
        addresses: Addresses,
        plain_frames: bool,
    ) -> Result<Self> {
        let namespace = Namespace::new(role)?;
        veth_of(addresses.mac, (&namespace, LINK), (hypervisor, link))?;
        if plain_frames {
            hand_over_plain_frames(&namespace, LINK)?;
        }
        let far_end = (hypervisor.name().to_owned(), link.to_owned());
        let workload = Self { namespace, addresses, far_end, nest: Mutex::default(), nested: None };
        workload.configure()?;
        Ok(workload)
    }

    /// A container inside this VM, behind an 802.1Q tag (1 to 4095).
    pub fn nest(&self, role: &str, tag: u16, addresses: Addresses, plain: bool) -> Result<Self> {
        let namespace = Namespace::new(role)?;
        let inner = format!("c{tag}");
        veth_of(addresses.mac, (&namespace, LINK), (&self.namespace, &inner))?;
        if plain {
            hand_over_plain_frames(&namespace, LINK)?;
        }
        // The VM's own stack has no business with its container's frames.
        self.namespace.sysctl(&format!("net/ipv4/conf/{inner}/arp_ignore"), "8")?;
        self.namespace.sysctl(&format!("net/ipv6/conf/{inner}/disable_ipv6"), "1")?;
        let tag = VlanHeader { tpid: 0x8100, tci: tag };
        let nest = self
            .namespace
            .enter(|| self.give_tag(&inner, tag))?
            .with_context(|| format!("cannot nest {role} in {}", self.role()))?;
        let nested = Some((nest, tag));
        let far_end = (self.namespace.name().to_owned(), inner);
        let container = Self { namespace, addresses, far_end, nest: Mutex::default(), nested };
        container.configure()?;
        Ok(container)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The readable part of its name.
    pub fn role(&self) -> &str {
        self.namespace.role()
    }

    /// Its addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Sets its MTU, in bytes of IP packet, and that of its interface's other end.
    pub fn mtu(&self, mtu: u32) -> Result<()> {
        let (namespace, link) = &self.far_end;
        let mut far = Command::new("ip");
        far.args(["-n", namespace, "link", "set", "dev", link, "mtu", &mtu.to_string()]);
        process::run(&mut far)?;
        link::mtu(&self.namespace, LINK, mtu)
    }

    /// Has it get frames as they are on a wire: its interface's other end cuts and sums what it would
    /// hand over whole.
    pub fn take_plain_frames(&self) -> Result<()> {
        let (namespace, link) = &self.far_end;
        let mut far = Command::new("ip");
        far.args(["netns", "exec", namespace, "ethtool", "-K", link, "tx", "off"]);
        process::run(&mut far)?;
        Ok(())
    }

    fn give_tag(&self, inner: &str, tag: VlanHeader) -> Result<Nest> {
        let mut nest = locked(&self.nest);
        let nest = match &*nest {
            Some(nest) => nest.clone(),
            None => nest.insert(Arc::new(Mutex::new(Nested::attach(LINK)?))).clone(),
        };
        locked(&nest).add(inner, tag)?;
        Ok(nest)
    }

    fn configure(&self) -> Result<()> {
        let Addresses { v4, v6, .. } = self.addresses;
        let (gateway4, gateway6) = self.addresses.gateways();
        self.namespace.ip_batch(&[
            format!("address add {v4}/24 dev {LINK}"),
            format!("address add {v6}/64 dev {LINK} nodad"),
            format!("route add default via {gateway4}"),
            format!("route add ::/0 via {gateway6}"),
        ])
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        if let Some((nest, tag)) = self.nested.take() {
            locked(&nest).remove(tag);
        }
        locked(&self.nest).take();
        // The kernel takes a namespace apart when it comes to it; both ends of the link go now, so
        // that another may have the name. It may be gone.
        let _ = self.namespace.ip_batch(&[format!("link delete dev {LINK}")]);
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.namespace.name(), self.addresses)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hand_over_plain_frames(namespace: &Namespace, link: &str) -> Result<()> {
    let mut command = namespace.command("ethtool");
    process::run(command.args(["-K", link, "tx", "off", "txvlan", "off"]))?;
    Ok(())
}
