//! A stock chassis: Debian's `ovs-vswitchd` and `ovn-controller`, userspace datapath, in a
//! namespace of its own.
//!
//! The tunnel address sits on a `netdev` bridge that holds the underlay port, because the userspace
//! tunnels look for their route and neighbour among bridges. Its workloads must hand over plain
//! frames: see [`Chassis::needs_plain_frames`].

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::central::{Server, environment};
use crate::chassis::Chassis;
use crate::link::{self, Underlay};
use crate::namespace::{Namespace, unique};
use crate::process::{self, Process};
use crate::wait::{self, PATIENCE};

/// How OVS reads and writes the frames of its ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ports {
    /// AF_PACKET sockets (`type=system`).
    Packet,
    /// AF_XDP sockets served when there is work, not by a thread that polls (`type=afxdp-nonpmd`):
    /// with fewer cores than ports the polling threads starve whoever speaks.
    Xdp,
}

/// A running stock chassis. Dropping it ends its three daemons.
#[derive(Debug)]
pub struct StockChassis {
    directory: TempDir,
    namespace: Namespace,
    name: String,
    address: IpAddr,
    ports: Ports,
    core: Option<usize>,
    switch: Option<Process>,
    controller: Option<Process>,
    _database: Server,
}

/// What a stock chassis is started with.
#[derive(Clone, Copy, Debug)]
pub struct StockOptions<'a> {
    /// Its `system-id`.
    pub name: &'a str,
    /// Its `ovn-remote`.
    pub remote: &'a str,
    /// Its tunnel address and prefix length on the underlay.
    pub address: (IpAddr, u8),
    /// The kind of its ports.
    pub ports: Ports,
    /// The core that its `ovs-vswitchd` is pinned to, if to any.
    pub core: Option<usize>,
}

impl StockChassis {
    /// Starts a chassis on an underlay, and waits until its daemons answer.
    pub fn new(underlay: &Underlay, options: StockOptions<'_>) -> Result<Self> {
        let StockOptions { name, remote, address: (address, prefix), ports, core } = options;
        let namespace = Namespace::new(name)?;
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        underlay.attach(&namespace)?;
        let directory = tempfile::Builder::new().prefix(&format!("{}-", unique("s"))).tempdir()?;
        let file = directory.path().join("conf.db");
        process::run(
            Command::new("ovsdb-tool")
                .arg("create")
                .arg(&file)
                .arg("/usr/share/openvswitch/vswitch.ovsschema"),
        )
        .context("is Debian's package openvswitch-switch installed?")?;
        let mut database = Server::new("conf", file);
        database.start(&namespace, &[])?;
        let mut chassis = Self {
            name: name.into(),
            address,
            ports,
            core,
            namespace,
            directory,
            switch: None,
            controller: None,
            _database: database,
        };
        chassis.vsctl("--no-wait init")?;
        chassis.vsctl(&format!(
            "--no-wait set Open_vSwitch . external_ids:system-id={name} \
             external_ids:hostname={name} external_ids:ovn-remote=\"{remote}\" \
             external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=\"{address}\" \
             external_ids:ovn-bridge-datapath-type=netdev"
        ))?;
        chassis.start_switch()?;
        chassis.make_underlay_bridge(prefix)?;
        chassis.start_controller()?;
        wait::until("ovn-controller to make its bridge", PATIENCE, || {
            chassis.vsctl("br-exists br-int").map_err(|error| format!("{error:#}"))
        })
        .with_context(|| chassis.log("controller"))?;
        Ok(chassis)
    }

    /// Runs `ovs-vsctl` with the words of a line.
    pub fn vsctl(&self, line: &str) -> Result<String> {
        let mut command = Command::new("ovs-vsctl");
        command
            .arg("--timeout=30")
            .arg(format!("--db=unix:{}", self.directory.path().join("conf.sock").display()))
            .args(line.split_whitespace())
            .envs(environment(self.directory.path()));
        process::run(&mut command)
    }

    /// Asks a daemon over its control socket; `daemon` is `switch` or `controller`.
    pub fn appctl(&self, daemon: &str, line: &str) -> Result<String> {
        // ovn-controller 23.03 cannot be told where to put its control socket.
        let socket = match (daemon, &self.controller) {
            ("controller", Some(process)) => format!("ovn-controller.{}.ctl", process.pid()),
            _ => format!("{daemon}.ctl"),
        };
        let socket = self.directory.path().join(socket);
        let mut command = Command::new("ovs-appctl");
        command.arg("--timeout=10").arg("-t").arg(socket).args(line.split_whitespace());
        process::run(&mut command)
    }

    /// Starts `ovn-controller` (again).
    pub fn start_controller(&mut self) -> Result<()> {
        let directory = self.directory.path();
        let mut command = self.namespace.command("ovn-controller");
        command.arg(format!("unix:{}", directory.join("conf.sock").display()));
        self.controller = Some(self.daemon("controller", command)?);
        Ok(())
    }

    /// The process id of the running `ovn-controller`.
    pub fn controller(&self) -> Option<u32> {
        self.controller.as_ref().map(Process::pid)
    }

    /// Ends `ovn-controller` (SIGKILL): its bindings stay.
    pub fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// Ends `ovn-controller` cleanly: it takes its rows out of the Southbound database.
    pub fn leave(&mut self) -> Result<()> {
        self.appctl("controller", "exit")?;
        if let Some(mut controller) = self.controller.take() {
            wait::until("ovn-controller to end", PATIENCE, || {
                controller.ended().ok_or_else(|| "it still runs".into())
            })?;
        }
        Ok(())
    }

    fn start_switch(&mut self) -> Result<()> {
        let directory = self.directory.path();
        let mut command = match self.core {
            None => self.namespace.command("ovs-vswitchd"),
            Some(core) => {
                let mut command = self.namespace.command("taskset");
                command.args(["--cpu-list", &core.to_string(), "ovs-vswitchd"]);
                command
            }
        };
        command.arg(format!("unix:{}", directory.join("conf.sock").display()));
        command.arg("--disable-system");
        command.arg(format!("--unixctl={}", directory.join("switch.ctl").display()));
        self.switch = Some(self.daemon("switch", command)?);
        Ok(())
    }

    fn daemon(&self, name: &str, mut command: Command) -> Result<Process> {
        let directory = self.directory.path();
        command.args(["-vconsole:info", "-vsyslog:off", "-vfile:off"]).envs(environment(directory));
        Process::spawn(name, command, &directory.join(format!("{name}.log")))
    }

    fn make_underlay_bridge(&mut self, prefix: u8) -> Result<()> {
        let mac = link::mac_of(&self.namespace, Underlay::LINK)?;
        if self.address.is_ipv6() {
            self.namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "0")?;
        }
        let kind = self.interface_type();
        self.vsctl(&format!(
            "add-br br-phys -- set bridge br-phys datapath_type=netdev fail_mode=standalone \
             other_config:hwaddr=\"{mac}\" -- add-port br-phys {link} \
             -- set interface {link} {kind}",
            link = Underlay::LINK,
        ))?;
        link::address(&self.namespace, "br-phys", self.address, prefix)?;
        self.namespace.ip("link set dev br-phys up")?;
        Ok(())
    }

    fn interface_type(&self) -> &'static str {
        match self.ports {
            Ports::Packet => "type=system",
            Ports::Xdp => "type=afxdp-nonpmd",
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(format!("{name}.log")))
            .unwrap_or_default()
    }
}

impl Chassis for StockChassis {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn tunnel_address(&self) -> IpAddr {
        self.address
    }

    fn plug(&mut self, link: &str, iface_id: &str) -> Result<()> {
        let kind = self.interface_type();
        self.vsctl(&format!(
            "--may-exist add-port br-int {link} \
             -- set interface {link} {kind} external_ids:iface-id={iface_id}"
        ))?;
        Ok(())
    }

    fn unplug(&mut self, link: &str) -> Result<()> {
        self.vsctl(&format!("--if-exists del-port br-int {link}")).map(drop)
    }

    fn needs_plain_frames(&self) -> bool {
        true
    }

    fn account(&mut self) -> String {
        let mut account = format!("stock chassis {}:\n", self.name);
        for (daemon, question) in [("switch", "dpif/show"), ("controller", "connection-status")] {
            let answer = self.appctl(daemon, question).unwrap_or_else(|error| format!("{error:#}"));
            account += &format!("{question}: {answer}\n");
        }
        for name in ["switch", "controller"] {
            let log = self.log(name);
            let lines: Vec<_> =
                log.lines().filter(|l| l.contains("|WARN|") || l.contains("|ERR|")).collect();
            let skip = lines.len().saturating_sub(10);
            account += &format!("{name}'s warnings:\n{}\n", lines[skip..].join("\n"));
        }
        account
    }
}

/// The files of Debian's stock chassis are here.
pub fn installed() -> bool {
    Path::new("/usr/share/openvswitch/vswitch.ovsschema").exists()
        && Path::new("/usr/bin/ovn-controller").exists()
}
