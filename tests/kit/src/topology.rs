//! The network that the demo and most tests run: two switches, one router, two hypervisors.
//!
//! hv1 has `vm1` with two nested containers on two tags and two switches; hv2 has `vm2` with one
//! nested container, and a plain container with a port of its own. All have IPv4 and IPv6
//! addresses and port security.
//!
//! ```text
//!      red 10.0.1.0/24 ── router ── blue 10.0.2.0/24
//!   hv1: vm1 (red)    vm1-red  tag 101 (red)    vm1-blue tag 102 (blue)
//!   hv2: vm2 (blue)   vm2-red  tag 201 (red)    plain (blue)
//! ```

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::central::Central;
use crate::chassis::Chassis;
use crate::workload::{Addresses, Workload};

/// The usual MTU of the workloads: what Geneve over IPv6 leaves of 1500 bytes, and a tag.
pub const MTU: u32 = 1400;

/// How a workload is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// An interface of hypervisor 0 or 1.
    Plugged(usize),
    /// Inside a VM, behind a tag.
    Nested(&'static str, u16),
}

/// A logical port and the workload behind it; both have the name.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The name.
    pub name: &'static str,
    /// The name of its logical switch.
    pub switch: &'static str,
    /// Its addresses.
    pub network: (u8, u8),
    /// Where it is.
    pub place: Place,
}

impl Port {
    /// Its MAC and IP addresses.
    pub fn addresses(&self) -> Addresses {
        Addresses::nth(self.network.0, self.network.1)
    }
}

/// All ports, parents before their children.
pub const PORTS: [Port; 6] = [
    Port { name: "vm1", switch: "red", network: (1, 11), place: Place::Plugged(0) },
    Port { name: "vm1-red", switch: "red", network: (1, 12), place: Place::Nested("vm1", 101) },
    Port { name: "vm1-blue", switch: "blue", network: (2, 12), place: Place::Nested("vm1", 102) },
    Port { name: "vm2", switch: "blue", network: (2, 21), place: Place::Plugged(1) },
    Port { name: "vm2-red", switch: "red", network: (1, 22), place: Place::Nested("vm2", 201) },
    Port { name: "plain", switch: "blue", network: (2, 23), place: Place::Plugged(1) },
];

/// The names and tunnel addresses of the two hypervisors.
pub const CHASSIS: [(&str, [u8; 4]); 2] = [("hv1", [192, 0, 2, 1]), ("hv2", [192, 0, 2, 2])];

/// The tunnel addresses of the two hypervisors where the underlay speaks IPv6.
pub const CHASSIS_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
];

/// The logical switches and the number of the network of each.
pub const SWITCHES: [(&str, u8); 2] = [("red", 1), ("blue", 2)];

/// Writes switches, router and ports to the Northbound database, and waits for northd.
pub fn build(central: &Central) -> Result<()> {
    central.nb("lr-add router")?;
    for (switch, network) in SWITCHES {
        let router = Addresses::router(network);
        central.nb(&format!("ls-add {switch}"))?;
        central.nb(&format!(
            "lrp-add router router-{switch} {} {}/24 {}/64",
            router.mac, router.v4, router.v6
        ))?;
        central.nb(&format!(
            "lsp-add {switch} {switch}-router \
             -- lsp-set-type {switch}-router router \
             -- lsp-set-addresses {switch}-router router \
             -- lsp-set-options {switch}-router router-port=router-{switch}"
        ))?;
    }
    for port in &PORTS {
        add(central, port)?;
    }
    central.sync()
}

/// Adds one logical port, with its addresses and port security.
pub fn add(central: &Central, port: &Port) -> Result<()> {
    let Port { name, switch, place, .. } = *port;
    let addresses = port.addresses().words();
    let nested = match place {
        Place::Plugged(_) => vec![],
        Place::Nested(parent, tag) => vec![parent.to_owned(), tag.to_string()],
    };
    let mut words = vec!["lsp-add", switch, name];
    words.extend(nested.iter().map(String::as_str));
    words.extend(["--", "lsp-set-addresses", name, &addresses]);
    words.extend(["--", "lsp-set-port-security", name, &addresses]);
    central.nbctl(&words).map(drop)
}

/// Writes to the Southbound database what two running chassis would have written: themselves, what
/// they can do, and that all ports are theirs and up. For a database that is recorded.
pub fn bind(central: &Central) -> Result<()> {
    for (name, address) in CHASSIS {
        let address = Ipv4Addr::from(address);
        central.sb(&format!("chassis-add {name} geneve {address}"))?;
        let flags =
            ["port-up-notif", "ct-no-masked-label", "ovn-ct-lb-related", "mac-binding-timestamp"]
                .map(|flag| format!("other_config:{flag}=true"))
                .join(" ");
        central.sb(&format!("set Chassis {name} {flags}"))?;
    }
    for port in &PORTS {
        let Port { name, .. } = port;
        central.sb(&format!("lsp-bind {name} {}", CHASSIS[home(port)].0))?;
        central.sbctl(&["set", "Port_Binding", name, "up=true"])?;
    }
    central.wait_up(PORTS.iter().map(|port| port.name))?;
    central.sync()
}

/// The workloads, by name.
#[derive(Debug)]
pub struct Workloads {
    mtu: u32,
    running: BTreeMap<&'static str, Workload>,
}

impl Workloads {
    /// Makes all workloads, and plugs them into the two chassis.
    pub fn start(chassis: [&mut dyn Chassis; 2], mtu: u32) -> Result<Self> {
        let mut workloads = Self { mtu, running: BTreeMap::new() };
        let [first, second] = chassis;
        for port in &PORTS {
            let on = home(port);
            workloads.add(port, if on == 0 { &mut *first } else { &mut *second })?;
        }
        Ok(workloads)
    }

    /// Makes one workload on its hypervisor.
    pub fn add(&mut self, port: &Port, chassis: &mut dyn Chassis) -> Result<()> {
        let plain = chassis.needs_plain_frames();
        let addresses = port.addresses();
        let workload = match port.place {
            Place::Plugged(_) => {
                let hypervisor = chassis.namespace();
                let workload =
                    Workload::plugged(port.name, hypervisor, port.name, addresses, plain)?;
                chassis.plug(port.name, port.name)?;
                workload
            }
            Place::Nested(vm, tag) => self.get(vm)?.nest(port.name, tag, addresses, plain)?,
        };
        workload.mtu(self.mtu)?;
        self.running.insert(port.name, workload);
        Ok(())
    }

    /// A workload by its name.
    pub fn get(&self, name: &str) -> Result<&Workload> {
        self.running.get(name).with_context(|| format!("no workload {name}"))
    }

    /// All ordered pairs of different workloads.
    pub fn pairs(&self) -> impl Iterator<Item = (&Workload, &Workload)> {
        self.running.values().flat_map(move |from| {
            self.running
                .values()
                .filter(move |to| to.role() != from.role())
                .map(move |to| (from, to))
        })
    }

    /// Ends a workload.
    pub fn remove(&mut self, name: &str) {
        self.running.remove(name);
    }
}

/// The hypervisor (0 or 1) that a port's workload is on.
pub fn home(port: &Port) -> usize {
    match port.place {
        Place::Plugged(hypervisor) => hypervisor,
        Place::Nested(vm, _) => PORTS.iter().find(|parent| parent.name == vm).map_or(0, home),
    }
}
