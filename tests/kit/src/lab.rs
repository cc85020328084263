//! Two hypervisors under one real central, with the usual network, ready for traffic: ours, stock,
//! or one of each.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::central::{Central, Southbound};
use crate::chassis::Chassis;
use crate::link::Underlay;
use crate::stock::{Ports, StockChassis, StockOptions};
use crate::topology::{self, CHASSIS, CHASSIS_V6, PORTS, Workloads};
use crate::workload::Workload;
use crate::xdp_chassis::{XdpChassis, XdpOptions};

/// Two hypervisors and all around them. Everything is removed from top to bottom.
#[derive(Debug)]
pub struct Lab<A, B> {
    /// The workloads of the [`topology`].
    pub workloads: Workloads,
    /// The first hypervisor, hv1.
    pub hv1: A,
    /// The second hypervisor, hv2.
    pub hv2: B,
    /// The network between them.
    pub underlay: Underlay,
    /// Databases and northd.
    pub central: Central,
}

/// Our chassis on hv1, a stock one on hv2.
pub type Mixed = Lab<XdpChassis, StockChassis>;
/// Our chassis on both.
pub type Ours = Lab<XdpChassis, XdpChassis>;
/// A stock chassis on both.
pub type Stock = Lab<StockChassis, StockChassis>;

/// What the underlay speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The tunnel address of a hypervisor, and its prefix length.
    fn address(self, index: usize) -> (IpAddr, u8) {
        match self {
            Self::V4 => (CHASSIS[index].1.into(), 24),
            Self::V6 => (CHASSIS_V6[index].into(), 64),
        }
    }
}

/// Sizes of a lab.
#[derive(Clone, Copy, Debug)]
pub struct LabOptions {
    /// The kind of the Southbound database.
    pub southbound: Southbound,
    /// The family of the tunnels' addresses.
    pub family: Family,
    /// MTU of the underlay, bytes of IP packet.
    pub underlay_mtu: u32,
    /// MTU of the workloads, bytes of IP packet.
    pub workload_mtu: u32,
    /// The kind of the ports of stock chassis.
    pub ports: Ports,
    /// More lines for the configuration of our chassis, top-level keys first.
    pub settings: &'static str,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            southbound: Southbound::Standalone,
            family: Family::V4,
            underlay_mtu: 1500,
            workload_mtu: topology::MTU,
            ports: Ports::Packet,
            settings: "",
        }
    }
}

impl Mixed {
    /// Starts our chassis, `binary`, on hv1 and a stock one on hv2.
    pub fn start(binary: &Path, options: LabOptions) -> Result<Self> {
        let (underlay, central) = around(options)?;
        let hv1 = ours(0, binary, options, &underlay, &central)?;
        let hv2 = stock(1, options, &underlay, &central)?;
        Self::populate(hv1, hv2, options, underlay, central)
    }
}

impl Ours {
    /// Starts our chassis, `binary`, on both hypervisors.
    pub fn start(binary: &Path, options: LabOptions) -> Result<Self> {
        let (underlay, central) = around(options)?;
        let hv1 = ours(0, binary, options, &underlay, &central)?;
        let hv2 = ours(1, binary, options, &underlay, &central)?;
        Self::populate(hv1, hv2, options, underlay, central)
    }
}

impl Stock {
    /// Starts a stock chassis on both hypervisors.
    pub fn start(options: LabOptions) -> Result<Self> {
        let (underlay, central) = around(options)?;
        let hv1 = stock(0, options, &underlay, &central)?;
        let hv2 = stock(1, options, &underlay, &central)?;
        Self::populate(hv1, hv2, options, underlay, central)
    }
}

impl<A: Chassis, B: Chassis> Lab<A, B> {
    /// A workload by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn workload(&self, name: &str) -> &Workload {
        self.workloads.get(name).expect("a workload of the topology")
    }

    /// What both chassis say of themselves.
    pub fn account(&mut self) -> String {
        format!("{}\n{}", self.hv1.account(), self.hv2.account())
    }

    /// Plugs the workloads in, and waits until every port is up and both chassis are in step.
    fn populate(
        mut hv1: A,
        mut hv2: B,
        options: LabOptions,
        underlay: Underlay,
        central: Central,
    ) -> Result<Self> {
        let workloads = Workloads::start([&mut hv1, &mut hv2], options.workload_mtu)?;
        let mut lab = Self { workloads, hv1, hv2, underlay, central };
        let ready = lab
            .central
            .wait_up(PORTS.iter().map(|port| port.name))
            .and_then(|()| lab.central.sync_chassis());
        match ready {
            Ok(()) => Ok(lab),
            Err(error) => Err(error).with_context(|| lab.account()),
        }
    }
}

fn around(options: LabOptions) -> Result<(Underlay, Central)> {
    let central = Central::new(options.southbound)?;
    topology::build(&central)?;
    Ok((Underlay::new(options.underlay_mtu)?, central))
}

fn ours(
    index: usize,
    binary: &Path,
    options: LabOptions,
    underlay: &Underlay,
    central: &Central,
) -> Result<XdpChassis> {
    let (name, _) = CHASSIS[index];
    let (remote, address) = (&central.remote(), options.family.address(index));
    let settings = options.settings;
    XdpChassis::new(
        underlay,
        XdpOptions { binary, name, remote, address, identity: None, settings },
    )
}

fn stock(
    index: usize,
    options: LabOptions,
    underlay: &Underlay,
    central: &Central,
) -> Result<StockChassis> {
    let (name, _) = CHASSIS[index];
    let (remote, address) = (&central.remote(), options.family.address(index));
    StockChassis::new(
        underlay,
        StockOptions { name, remote, address, ports: options.ports, core: None },
    )
}
