//! Our chassis: `ovn-xdp run` with a configuration of its own, in a namespace of its own.
//!
//! The interfaces that logical ports are plugged into stand in the configuration file; a change is
//! written there and the daemon is told to read it again (SIGHUP). The control socket is in the
//! chassis' own directory, and `ovn-xdp show` is asked over it as an operator would.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::chassis::Chassis;
use crate::link::{self, Underlay};
use crate::namespace::{Namespace, unique};
use crate::pki::Identity;
use crate::process::{self, Process};
use crate::wait::{self, PATIENCE};

/// A chassis of ours. Dropping it kills the daemon.
#[derive(Debug)]
pub struct XdpChassis {
    directory: TempDir,
    namespace: Namespace,
    binary: PathBuf,
    name: String,
    address: IpAddr,
    settings: String,
    /// More lines of its section `[control]`.
    control: String,
    keeps_local_rows: bool,
    /// Logical port by link.
    interfaces: BTreeMap<String, String>,
    daemon: Option<Process>,
}

/// What our chassis is started with.
#[derive(Clone, Copy, Debug)]
pub struct XdpOptions<'a> {
    /// The `ovn-xdp` program.
    pub binary: &'a Path,
    /// Its `system-id`.
    pub name: &'a str,
    /// Its `ovn-remote`; empty for a chassis that is alone, without tunnels.
    pub remote: &'a str,
    /// Its tunnel address and prefix length on the underlay.
    pub address: (IpAddr, u8),
    /// Its end of TLS, for `ssl:` remotes.
    pub identity: Option<&'a Identity>,
    /// More lines for the top of the configuration file.
    pub settings: &'a str,
}

impl<'a> XdpOptions<'a> {
    /// A chassis `hv1` at 192.0.2.1/24.
    pub fn hv1(binary: &'a Path, remote: &'a str) -> Self {
        let address = ([192, 0, 2, 1].into(), 24);
        Self { binary, name: "hv1", remote, address, identity: None, settings: "" }
    }
}

impl XdpChassis {
    /// Starts a chassis on an underlay, and waits until its daemon answers.
    pub fn new(underlay: &Underlay, options: XdpOptions<'_>) -> Result<Self> {
        let mut chassis = Self::prepare(underlay, options)?;
        chassis.start()?;
        Ok(chassis)
    }

    /// Makes everything but the daemon.
    pub fn prepare(underlay: &Underlay, options: XdpOptions<'_>) -> Result<Self> {
        let XdpOptions { binary, name, remote, address: (address, prefix), .. } = options;
        let namespace = Namespace::new(name)?;
        if address.is_ipv4() {
            namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        }
        underlay.attach(&namespace)?;
        link::address(&namespace, Underlay::LINK, address, prefix)?;
        let mut settings = format!("system-id = \"{name}\"\nhostname = \"{name}\"\n");
        if !remote.is_empty() {
            write!(
                settings,
                "ovn-remote = \"{remote}\"\novn-encap-type = \"geneve\"\n\
                 ovn-encap-ip = \"{address}\"\n"
            )?;
        }
        if let Some(Identity { private_key, certificate, ca_cert }) = options.identity {
            let keys = ["private-key", "certificate", "ca-cert"];
            for (key, path) in keys.iter().zip([private_key, certificate, ca_cert]) {
                writeln!(settings, "{key} = \"{}\"", path.display())?;
            }
        }
        settings += options.settings;
        Ok(Self {
            directory: tempfile::Builder::new().prefix(&format!("{}-", unique("x"))).tempdir()?,
            namespace,
            binary: binary.into(),
            name: name.into(),
            address,
            settings,
            control: String::new(),
            keeps_local_rows: true,
            interfaces: BTreeMap::new(),
            daemon: None,
        })
    }

    /// Starts the daemon (again), and waits until it answers on its control socket.
    pub fn start(&mut self) -> Result<()> {
        self.write_configuration()?;
        // A killed daemon leaves its socket behind.
        let _ = std::fs::remove_file(self.socket());
        let mut command = self.namespace.command(&self.binary);
        command.arg("run").arg("--config").arg(self.configuration());
        let log = self.directory.path().join("ovn-xdp.log");
        self.daemon = Some(Process::spawn("ovn-xdp run", command, &log)?);
        wait::until(&format!("ovn-xdp on {} to answer", self.name), PATIENCE, || {
            self.daemon
                .as_mut()
                .map_or(Ok(()), Process::expect_running)
                .and_then(|()| self.show())
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        })
        .with_context(|| format!("its log:\n{}", self.log()))
    }

    /// Ends the daemon without giving it a chance to do anything (SIGKILL).
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Tells the daemon to leave the cluster for good (`ovn-xdp exit`), and waits until it has ended.
    pub fn leave(&mut self) -> Result<()> {
        let mut command = Command::new(&self.binary);
        self.exit(command.args(["exit", "--socket"]).arg(self.socket()))
    }

    /// The same for a daemon that another follows: its rows stay. Needs `ovs-appctl`.
    pub fn leave_for_a_restart(&mut self) -> Result<()> {
        let mut command = Command::new("ovs-appctl");
        let socket = self.socket();
        self.exit(command.arg("--timeout=10").arg("-t").arg(socket).args(["exit", "--restart"]))
    }

    /// Replaces text of its configuration, and tells the daemon to read it again.
    pub fn reconfigure(&mut self, old: &str, new: &str) -> Result<()> {
        self.settings = self.settings.replace(old, new);
        self.reload()
    }

    fn exit(&mut self, told_by: &mut Command) -> Result<()> {
        process::run(told_by)?;
        let Some(mut daemon) = self.daemon.take() else {
            bail!("ovn-xdp on {} does not run", self.name);
        };
        wait::until(&format!("ovn-xdp on {} to end", self.name), PATIENCE, || {
            daemon.ended().ok_or_else(|| daemon.last_words(5))
        })?;
        Ok(())
    }

    /// Asks the daemon to end (SIGTERM), and waits until it has; its rows stay.
    pub fn terminate(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.terminate(PATIENCE).map(drop),
            None => bail!("ovn-xdp on {} does not run", self.name),
        }
    }

    /// Stops the daemon (SIGSTOP) while something is done.
    pub fn while_stopped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let daemon = self.daemon.as_ref().context("it does not run")?;
        daemon.signal(Signal::SIGSTOP)?;
        let done = work();
        daemon.signal(Signal::SIGCONT)?;
        Ok(done)
    }

    /// The process id of the running daemon.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::pid)
    }

    /// What `ovn-xdp show --json` says.
    pub fn show(&self) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.args(["show", "--json", "--socket"]).arg(self.socket());
        let text = process::run(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("ovn-xdp show printed:\n{text}"))
    }

    /// Whether the daemon says that its workers forward for a logical port.
    pub fn forwards(&self, port: &str) -> Result<bool> {
        let show = self.show()?;
        let ports = show["ports"].as_array().context("ovn-xdp show has no list of ports")?;
        let found = ports.iter().find(|row| row["name"].as_str() == Some(port));
        Ok(found.is_some_and(|row| row["state"].as_str() == Some("INSTALLED")))
    }

    /// Waits until `count` tunnels know their next hops.
    pub fn wait_for_tunnels(&self, count: usize) -> Result<()> {
        wait::until(&format!("{count} tunnels of {} to be ready", self.name), PATIENCE, || {
            let show = self.show().map_err(|error| format!("{error:#}"))?;
            let tunnels = show["tunnels"].as_array().map_or(&[][..], Vec::as_slice);
            let ready = tunnels.iter().filter(|tunnel| tunnel["next_hop"].is_string()).count();
            if ready == count { Ok(()) } else { Err(format!("{tunnels:#?}")) }
        })
    }

    /// How many frames were dropped for a reason (its label), over all ports, those that are bound
    /// elsewhere too, and those of no port.
    pub fn drops(&self, reason: &str) -> Result<u64> {
        let show = self.show()?;
        let ports = show["ports"].as_array().context("ovn-xdp show has no list of ports")?;
        let elsewhere = show["elsewhere"].as_array().context("ovn-xdp show has no elsewhere")?;
        let ports = ports.iter().chain(elsewhere);
        let lists = ports.map(|port| &port["drops"]).chain([&show["drops"]]);
        Ok(lists
            .flat_map(|list| list.as_array().into_iter().flatten())
            .filter(|row| row["reason"].as_str() == Some(reason))
            .filter_map(|row| row["frames"].as_u64())
            .sum())
    }

    /// Waits until at least `more` frames than `before` were dropped for a reason. (A guest's own
    /// router solicitations and the like may add to those that a test sends.)
    pub fn wait_for_drops(&self, reason: &str, before: u64, more: u64) -> Result<()> {
        let what = format!("{more} frames to be dropped as {reason} on {}", self.name);
        wait::until(&what, PATIENCE, || {
            let now = self.drops(reason).map_err(|error| format!("{error:#}"))?;
            if now >= before + more {
                return Ok(());
            }
            let show = self.show().unwrap_or_default();
            Err(format!(
                "{} were; ports {:#}, others {:#}",
                now - before,
                show["ports"],
                show["drops"]
            ))
        })
    }

    /// What the daemon has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("ovn-xdp.log")).unwrap_or_default()
    }

    /// The path of the configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("ovn-xdp.toml")
    }

    /// More lines for the section `[control]` of its configuration, from the next start on.
    pub fn control(&mut self, lines: &str) {
        self.control = lines.to_owned();
    }

    /// Whether it keeps its local rows in a file, from the next start on.
    pub fn keep_local_rows(&mut self, keep: bool) {
        self.keeps_local_rows = keep;
    }

    /// The file in which it keeps its local rows.
    pub fn local_rows(&self) -> PathBuf {
        self.directory.path().join("local.db")
    }

    /// What a reading subcommand of `ovn-xdp` says, as JSON.
    pub fn read(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).args(["--json", "--socket"]).arg(self.socket());
        let text = process::run(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("ovn-xdp {arguments:?}:\n{text}"))
    }

    /// Executes operations on the local rows, and waits until the workers run them.
    pub fn transact(&self, operations: &Value) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.arg("transact").arg("--socket").arg(self.socket()).arg(operations.to_string());
        let text = process::run(&mut command)?;
        serde_json::from_str(&text).with_context(|| format!("ovn-xdp transact printed:\n{text}"))
    }

    /// The socket of its API.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn write_configuration(&self) -> Result<()> {
        let mut text = self.settings.clone();
        writeln!(text, "\n[control]\nsocket = \"{}\"", self.socket().display())?;
        if self.keeps_local_rows {
            writeln!(text, "local-rows = \"{}\"", self.local_rows().display())?;
        }
        text += &self.control;
        for (link, port) in &self.interfaces {
            writeln!(text, "\n[[interface]]\nname = \"{link}\"\niface-id = \"{port}\"")?;
        }
        std::fs::write(self.configuration(), text)?;
        Ok(())
    }

    fn reload(&self) -> Result<()> {
        self.write_configuration()?;
        self.daemon.as_ref().map_or(Ok(()), |daemon| daemon.signal(Signal::SIGHUP))
    }
}

impl Chassis for XdpChassis {
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
        self.interfaces.insert(link.into(), iface_id.into());
        self.reload()
    }

    fn unplug(&mut self, link: &str) -> Result<()> {
        self.interfaces.remove(link);
        self.reload()
    }

    fn needs_plain_frames(&self) -> bool {
        false
    }

    fn account(&mut self) -> String {
        let show =
            self.show().map_or_else(|error| format!("{error:#}"), |show| format!("{show:#}"));
        let log = self.log();
        let skip = log.lines().count().saturating_sub(20);
        let last = log.lines().skip(skip).collect::<Vec<_>>().join("\n");
        format!("ovn-xdp on {}:\n{show}\nits last words:\n{last}", self.name)
    }
}
