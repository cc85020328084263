//! The two hypervisors with their workloads, between the start and the clean-up of a demo.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use ovn_xdp_kit::central::Central;
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::topology::{self, CHASSIS, PORTS, Port, Workloads};
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::Workload;
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use tempfile::TempDir;

use crate::screen::Screen;

/// The Southbound database that `scripts/record-demo-db` made.
const RECORDED: &[u8] = include_bytes!("../recorded/southbound.db");

/// Bytes of IP packet that the underlay carries.
const UNDERLAY_MTU: u32 = 1500;

/// Everything the demo runs. Fields are dropped, and so removed, from top to bottom.
#[derive(Debug)]
pub struct Lab {
    workloads: Workloads,
    hypervisors: [XdpChassis; 2],
    underlay: Underlay,
    central: Option<Central>,
    _database: TempDir,
}

impl Lab {
    /// Builds all of it, and waits until both chassis forward for all ports.
    pub fn start(screen: &mut Screen, binary: &Path, central: Option<Central>) -> Result<Self> {
        let step = screen.step("two hypervisors and the network between them");
        let database = tempfile::tempdir()?;
        let remote = match &central {
            Some(central) => central.remote(),
            None => {
                let file = database.path().join("southbound.db");
                std::fs::write(&file, RECORDED)?;
                format!("file:{}", file.display())
            }
        };
        let underlay = Underlay::new(UNDERLAY_MTU)?;
        // One machine plays both hypervisors: their workers must not be pinned to the same core.
        let cores = std::thread::available_parallelism()?.get();
        let hypervisor = |number: usize| {
            let (name, address) = CHASSIS[number];
            let settings = &format!("[datapath]\ncores = [{}]\n", number % cores);
            let address = (IpAddr::from(address), 24);
            let remote = &remote;
            let options = XdpOptions { binary, name, remote, address, identity: None, settings };
            XdpChassis::prepare(&underlay, options)
        };
        let [mut hv1, mut hv2] = [hypervisor(0)?, hypervisor(1)?];
        step.done("hv1 192.0.2.1, hv2 192.0.2.2");

        let step = screen.step("two VMs, three containers in them, one beside them");
        let workloads = Workloads::start([&mut hv1, &mut hv2], topology::MTU)?;
        step.done("ready");

        let source = if central.is_some() { "a live ovn-northd" } else { "a recorded database" };
        let step = screen.step(&format!("ovn-xdp run on both, on {source}"));
        hv1.start()?;
        hv2.start()?;
        step.done("running");

        let lab =
            Self { workloads, hypervisors: [hv1, hv2], underlay, central, _database: database };
        let step = screen.step("ports claimed and forwarding");
        lab.wait_for_ports(&PORTS)?;
        step.done(&format!("{} ports", PORTS.len()));

        // A port is up by what its own chassis does, as with ovn-controller; that the other chassis
        // can be reached is another matter.
        let step = screen.step("the tunnel between them");
        for hypervisor in &lab.hypervisors {
            hypervisor.wait_for_tunnels(1)?;
        }
        step.done("next hops known");
        Ok(lab)
    }

    /// Waits until the chassis say that they forward for these ports.
    pub fn wait_for_ports(&self, ports: &[Port]) -> Result<()> {
        for port in ports {
            let hypervisor = &self.hypervisors[topology::home(port)];
            wait::until(
                &format!("{} to forward for {}", hypervisor.name(), port.name),
                PATIENCE,
                || match hypervisor.forwards(port.name) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("it does not".into()),
                    Err(error) => Err(format!("{error:#}")),
                },
            )
            .with_context(|| format!("its log:\n{}", hypervisor.log()))?;
        }
        match &self.central {
            Some(central) => central.wait_up(ports.iter().map(|port| port.name)),
            None => Ok(()),
        }
    }

    /// A workload by its name.
    pub fn workload(&self, name: &str) -> Result<&Workload> {
        self.workloads.get(name)
    }

    /// Adds a workload that the topology does not have.
    pub fn add(&mut self, port: &Port) -> Result<()> {
        self.workloads.add(port, &mut self.hypervisors[topology::home(port)])
    }

    /// A hypervisor, 0 or 1.
    pub fn hypervisor(&self, index: usize) -> &XdpChassis {
        &self.hypervisors[index]
    }

    /// The network between the hypervisors.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// The live central, if there is one.
    pub fn central(&self) -> Option<&Central> {
        self.central.as_ref()
    }

    /// What both chassis say of themselves.
    pub fn account(&mut self) -> String {
        self.hypervisors.iter_mut().map(|chassis| chassis.account() + "\n").collect()
    }
}
