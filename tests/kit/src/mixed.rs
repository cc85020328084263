//! Our chassis and a stock one under one real central, with the usual network, ready for traffic.

use std::path::Path;

use anyhow::{Context, Result};

use crate::central::{Central, Southbound};
use crate::chassis::Chassis;
use crate::link::Underlay;
use crate::stock::{Ports, StockChassis, StockOptions};
use crate::topology::{self, CHASSIS, PORTS, Workloads};
use crate::workload::Workload;
use crate::xdp_chassis::{XdpChassis, XdpOptions};

/// hv1 is ours, hv2 is stock. Everything is removed from top to bottom.
#[derive(Debug)]
pub struct Mixed {
    /// The workloads of the [`topology`].
    pub workloads: Workloads,
    /// hv1.
    pub ours: XdpChassis,
    /// hv2.
    pub stock: StockChassis,
    /// The network between them.
    pub underlay: Underlay,
    /// Databases and northd.
    pub central: Central,
}

impl Mixed {
    /// Starts all of it with our chassis as `binary`, and waits until every port is up.
    ///
    /// # Errors
    /// With what both chassis say of themselves, when that does not come to be.
    pub fn start(binary: &Path, southbound: Southbound) -> Result<Self> {
        let central = Central::new(southbound)?;
        topology::build(&central)?;
        let underlay = Underlay::new(1500)?;
        let remote = central.remote();
        let [(name, first), (other, second)] = CHASSIS;
        let (remote, first, second) = (&remote, (first.into(), 24), (second.into(), 24));
        let mut ours = XdpChassis::new(
            &underlay,
            XdpOptions { binary, name, remote, address: first, identity: None, settings: "" },
        )?;
        let mut stock = StockChassis::new(
            &underlay,
            StockOptions { name: other, remote, address: second, ports: Ports::Packet },
        )?;
        let workloads = Workloads::start([&mut ours, &mut stock])?;
        let mut mixed = Self { workloads, ours, stock, underlay, central };
        match mixed.ready() {
            Ok(()) => Ok(mixed),
            Err(error) => Err(error).with_context(|| mixed.account()),
        }
    }

    /// A workload by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn workload(&self, name: &str) -> &Workload {
        self.workloads.get(name).expect("a workload of the topology")
    }

    /// What both chassis say of themselves.
    pub fn account(&mut self) -> String {
        format!("{}\n{}", self.ours.account(), self.stock.account())
    }

    fn ready(&self) -> Result<()> {
        self.central.wait_up(PORTS.iter().map(|port| port.name))?;
        self.central.sync_chassis()
    }
}
