//! A real OVN central: `ovsdb-server` for the Northbound and the Southbound database, `ovn-northd`.
//!
//! The Southbound database is standalone or a cluster of members, each of which can be killed and
//! started again. All of it runs in a namespace of its own (so that its processes cannot outlive
//! us) and in a directory of its own; Unix sockets are reachable from every namespace, TCP and TLS
//! once the namespace is attached to an underlay.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::link::{self, Underlay};
use crate::namespace::{Namespace, unique};
use crate::pki::Pki;
use crate::process::{self, Process};
use crate::wait::{self, PATIENCE};

const SCHEMAS: &str = "/usr/share/ovn";
const PORT: u16 = 6642;

/// A running central. Dropping it ends every part of it.
#[derive(Debug)]
pub struct Central {
    directory: TempDir,
    namespace: Namespace,
    northbound: Server,
    southbound: Vec<Server>,
    northd: Option<Process>,
    pki: Option<Pki>,
    address: Option<IpAddr>,
}

/// How many members the Southbound database has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Southbound {
    /// One server, no cluster.
    Standalone,
    /// A cluster of three.
    Cluster,
}

impl Central {
    /// Starts a central with empty databases, and waits until northd has filled the Southbound one.
    pub fn new(southbound: Southbound) -> Result<Self> {
        let namespace = Namespace::new("central")?;
        let directory = tempfile::Builder::new().prefix(&format!("{}-", unique("c"))).tempdir()?;
        let nb_file = directory.path().join("nb.db");
        create(&nb_file, "ovn-nb.ovsschema")?;
        let mut central = Self {
            northbound: Server::new("nb", nb_file),
            southbound: southbound_servers(directory.path(), southbound)?,
            namespace,
            directory,
            northd: None,
            pki: None,
            address: None,
        };
        central.northbound.start(&central.namespace, &[])?;
        for member in &mut central.southbound {
            member.start(&central.namespace, &[])?;
        }
        if southbound == Southbound::Cluster {
            central.wait_for_leader()?;
        }
        central.start_northd()?;
        central.nbctl(&["init"])?;
        central.sync()?;
        Ok(central)
    }

    /// Attaches it to an underlay, and makes the Southbound servers listen there on TCP and TLS.
    ///
    /// Member n listens for TCP on port 6642 + 10 n, and for TLS on 6643 + 10 n. The certificates
    /// are made by `ovs-pki`; [`pki`](Self::pki) has them.
    pub fn listen(&mut self, underlay: &Underlay, address: IpAddr, prefix: u8) -> Result<()> {
        underlay.attach(&self.namespace)?;
        link::address(&self.namespace, Underlay::LINK, address, prefix)?;
        self.pki = Some(Pki::new(self.directory.path())?);
        self.address = Some(address);
        for index in 0..self.southbound.len() {
            self.southbound[index].stop();
            self.start_member(index)?;
        }
        Ok(())
    }

    /// The certificates, once [`listen`](Self::listen) was called.
    pub fn pki(&self) -> Option<&Pki> {
        self.pki.as_ref()
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The database file of the Southbound server (of its first member).
    pub fn southbound_file(&self) -> &Path {
        &self.southbound[0].file
    }

    /// The Southbound remote by Unix sockets, a comma list for a cluster.
    pub fn remote(&self) -> String {
        remotes(self.southbound.iter().map(Server::remote))
    }

    /// The Northbound remote.
    pub fn northbound_remote(&self) -> String {
        self.northbound.remote()
    }

    /// The Southbound remote by TCP. Panics before [`listen`](Self::listen).
    pub fn tcp_remote(&self) -> String {
        let address = self.address.expect("listen was called");
        remotes((0..self.southbound.len()).map(|n| format!("tcp:{}", at(address, tcp_port(n)))))
    }

    /// The Southbound remote by TLS. Panics before [`listen`](Self::listen).
    pub fn ssl_remote(&self) -> String {
        let address = self.address.expect("listen was called");
        remotes((0..self.southbound.len()).map(|n| format!("ssl:{}", at(address, tcp_port(n) + 1))))
    }

    /// Runs `ovn-nbctl` with these arguments, and returns what it prints.
    pub fn nbctl(&self, arguments: &[&str]) -> Result<String> {
        let db = self.northbound.remote();
        process::run(self.tool("ovn-nbctl").arg(format!("--db={db}")).args(arguments))
    }

    /// Runs `ovn-nbctl` with the words of a line; what stands between single quotes is part of one.
    pub fn nb(&self, line: &str) -> Result<String> {
        let words = words(line);
        self.nbctl(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs `ovn-sbctl` with these arguments, on any member, and returns what it prints.
    pub fn sbctl(&self, arguments: &[&str]) -> Result<String> {
        let db = self.remote();
        process::run(self.tool("ovn-sbctl").arg(format!("--db={db}")).args(arguments))
    }

    /// Runs `ovn-sbctl` with the words of a line.
    pub fn sb(&self, line: &str) -> Result<String> {
        self.sbctl(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// What `ovn-trace --minimal` says of a microflow that enters a datapath.
    pub fn trace(&self, datapath: &str, microflow: &str) -> Result<String> {
        let db = self.remote();
        let mut command = Command::new("ovn-trace");
        command.arg(format!("--db={db}")).args(["--minimal", datapath, microflow]);
        process::run(&mut command)
    }

    /// Waits until northd has translated all that the Northbound database holds.
    pub fn sync(&self) -> Result<()> {
        self.nbctl(&["--wait=sb", "sync"]).map(drop)
    }

    /// Waits until every chassis says that it forwards by the present Northbound database.
    pub fn sync_chassis(&self) -> Result<()> {
        self.nbctl(&["--wait=hv", "sync"]).map(drop)
    }

    /// Waits until these logical ports are up.
    pub fn wait_up<'a>(&self, ports: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for port in ports {
            wait::until(&format!("port {port} to be up"), PATIENCE, || {
                let up = self.nbctl(&["get", "Logical_Switch_Port", port, "up"]);
                match up {
                    Ok(up) if up.trim() == "true" => Ok(()),
                    Ok(_) => Err(self.binding(port).unwrap_or_else(|error| error.to_string())),
                    Err(error) => Err(error.to_string()),
                }
            })?;
        }
        Ok(())
    }

    /// Waits until the Southbound database says that a port is bound to a chassis, or to none.
    pub fn wait_bound(&self, port: &str, chassis: Option<&str>) -> Result<()> {
        let what = format!("port {port} to be bound to {}", chassis.unwrap_or("no chassis"));
        wait::until(&what, PATIENCE, || match self.bound(port) {
            Ok(bound) if bound.as_deref() == chassis => Ok(()),
            Ok(bound) => Err(format!("bound to {}", bound.as_deref().unwrap_or("none"))),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The name of the chassis that a logical port is bound to.
    pub fn bound(&self, port: &str) -> Result<Option<String>> {
        let find = format!("logical_port={port}");
        let chassis =
            self.sbctl(&["--bare", "--columns=chassis", "find", "Port_Binding", &find])?;
        match chassis.trim() {
            "" => Ok(None),
            row => Ok(Some(
                self.sbctl(&["get", "Chassis", row, "name"])?.trim().trim_matches('"').into(),
            )),
        }
    }

    /// The tunnel key of a logical switch or router.
    pub fn datapath_key(&self, name: &str) -> Result<u32> {
        let find = format!("external_ids:name={name}");
        let key =
            self.sbctl(&["--bare", "--columns=tunnel_key", "find", "Datapath_Binding", &find])?;
        key.trim().parse().with_context(|| format!("datapath {name} has the key {key:?}"))
    }

    /// The tunnel key of a logical port.
    pub fn port_key(&self, name: &str) -> Result<u16> {
        let key = self.sbctl(&["get", "Port_Binding", name, "tunnel_key"])?;
        key.trim().parse().with_context(|| format!("port {name} has the key {key:?}"))
    }

    /// The Port_Binding row of a port, for messages.
    pub fn binding(&self, port: &str) -> Result<String> {
        self.sbctl(&["find", "Port_Binding", &format!("logical_port={port}")])
    }

    /// Copies the standalone Southbound database, as one compact snapshot, to a file.
    pub fn record(&self, path: &Path) -> Result<()> {
        self.southbound[0].appctl(&["ovsdb-server/compact"])?;
        std::fs::copy(self.southbound_file(), path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// How many members the Southbound database has.
    pub fn members(&self) -> usize {
        self.southbound.len()
    }

    /// The member that listens at a Unix socket, named as a remote.
    pub fn member_at(&self, remote: &str) -> Option<usize> {
        self.southbound.iter().position(|member| member.remote() == remote)
    }

    /// Kills a Southbound member (SIGKILL).
    pub fn kill_member(&mut self, index: usize) {
        self.southbound[index].stop();
    }

    /// Starts a Southbound member that was killed; its file is as it was.
    pub fn start_member(&mut self, index: usize) -> Result<()> {
        let mut options = Vec::new();
        if let (Some(address), Some(pki)) = (self.address, &self.pki) {
            let listen = |port| match address {
                IpAddr::V4(_) => format!("{port}:{address}"),
                IpAddr::V6(_) => format!("{port}:[{address}]"),
            };
            options.push(format!("--remote=ptcp:{}", listen(tcp_port(index))));
            options.push(format!("--remote=pssl:{}", listen(tcp_port(index) + 1)));
            options.extend(pki.options("sb")?);
        }
        self.southbound[index].start(&self.namespace, &options)
    }

    /// The member that leads the cluster, as far as the living members know.
    pub fn leader(&self) -> Option<usize> {
        self.southbound.iter().position(|member| {
            member
                .appctl(&["cluster/status", "OVN_Southbound"])
                .is_ok_and(|s| s.lines().any(|line| line.trim() == "Leader: self"))
        })
    }

    /// Waits until some member leads, and returns it.
    pub fn wait_for_leader(&self) -> Result<usize> {
        wait::until("the Southbound cluster to elect a leader", PATIENCE, || {
            self.leader().ok_or_else(|| "no member says that it leads".into())
        })
    }

    /// Starts northd (again).
    pub fn start_northd(&mut self) -> Result<()> {
        let mut command = self.namespace.command("ovn-northd");
        command
            .arg(format!("--ovnnb-db={}", self.northbound.remote()))
            .arg(format!("--ovnsb-db={}", self.remote()))
            .arg(format!("--unixctl={}", self.directory.path().join("northd.ctl").display()))
            .args(["-vconsole:warn", "-vsyslog:off", "-vfile:off"])
            .envs(environment(self.directory.path()));
        self.northd =
            Some(Process::spawn("northd", command, &self.directory.path().join("northd.log"))?);
        Ok(())
    }

    /// Ends northd (SIGKILL): the databases stay as they are.
    pub fn stop_northd(&mut self) {
        self.northd = None;
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("--timeout=60").envs(environment(self.directory.path()));
        command
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().expect("never empty").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The variables that keep OVS and OVN tools out of the system's own directories.
pub(crate) fn environment(directory: &Path) -> [(&'static str, PathBuf); 8] {
    [
        "OVS_RUNDIR",
        "OVN_RUNDIR",
        "OVS_DBDIR",
        "OVN_DBDIR",
        "OVS_LOGDIR",
        "OVN_LOGDIR",
        "OVS_SYSCONFDIR",
        "OVN_SYSCONFDIR",
    ]
    .map(|name| (name, directory.to_path_buf()))
}

/// One `ovsdb-server`.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    pub(crate) file: PathBuf,
    process: Option<Process>,
}

impl Server {
    pub(crate) fn new(name: &str, file: PathBuf) -> Self {
        Self { name: name.into(), file, process: None }
    }

    pub(crate) fn start(&mut self, namespace: &Namespace, options: &[String]) -> Result<()> {
        let socket = self.beside("sock");
        // A killed server leaves its socket behind; seeing the new one is seeing the server ready.
        let _ = std::fs::remove_file(&socket);
        let mut command = namespace.command("ovsdb-server");
        command
            .arg(format!("--remote=p{}", self.remote()))
            .arg(format!("--unixctl={}", self.beside("ctl").display()))
            .args(["-vconsole:warn", "-vsyslog:off", "-vfile:off"])
            .args(options)
            .arg(&self.file)
            .envs(environment(self.directory()));
        let process = self.process.insert(Process::spawn(
            &self.name,
            command,
            &self.directory().join(format!("{}.log", self.name)),
        )?);
        wait::until(&format!("the {} database to listen", self.name), PATIENCE, || {
            process.expect_running().map_err(|error| format!("{error:#}"))?;
            std::os::unix::net::UnixStream::connect(&socket).map(drop).map_err(|e| e.to_string())
        })
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    pub(crate) fn remote(&self) -> String {
        format!("unix:{}", self.beside("sock").display())
    }

    fn appctl(&self, arguments: &[&str]) -> Result<String> {
        ensure!(self.process.is_some(), "{} does not run", self.name);
        let mut command = Command::new("ovs-appctl");
        command.arg("--timeout=5").arg("-t").arg(self.beside("ctl")).args(arguments);
        process::run(&mut command)
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.directory().join(format!("{}.{extension}", self.name))
    }

    fn directory(&self) -> &Path {
        self.file.parent().expect("the file is in a directory")
    }
}

/// Makes an empty standalone database file with a schema of OVN's.
fn create(file: &Path, schema: &str) -> Result<()> {
    let schema = Path::new(SCHEMAS).join(schema);
    process::run(Command::new("ovsdb-tool").arg("create").arg(file).arg(schema))
        .context("is Debian's package ovn-central installed?")?;
    Ok(())
}

fn southbound_servers(directory: &Path, kind: Southbound) -> Result<Vec<Server>> {
    if kind == Southbound::Standalone {
        let file = directory.join("sb.db");
        create(&file, "ovn-sb.ovsschema")?;
        return Ok(vec![Server::new("sb", file)]);
    }
    let address = |n| format!("unix:{}", directory.join(format!("raft{n}.sock")).display());
    let schema = Path::new(SCHEMAS).join("ovn-sb.ovsschema");
    (0..3)
        .map(|n| {
            let name = format!("sb{n}");
            let file = directory.join(format!("{name}.db"));
            let mut tool = Command::new("ovsdb-tool");
            match n {
                0 => tool.arg("create-cluster").arg(&file).arg(&schema).arg(address(0)),
                _ => tool.arg("join-cluster").arg(&file).args([
                    "OVN_Southbound",
                    &address(n),
                    &address(0),
                ]),
            };
            process::run(&mut tool)?;
            Ok(Server::new(&name, file))
        })
        .collect()
}

fn remotes(each: impl Iterator<Item = String>) -> String {
    each.collect::<Vec<_>>().join(",")
}

fn at(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn tcp_port(member: usize) -> u16 {
    PORT + 10 * member as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_elects_another_leader_when_its_leader_is_killed() {
        let mut central = Central::new(Southbound::Cluster).unwrap();
        let first = central.wait_for_leader().unwrap();
        central.kill_member(first);
        assert_ne!(central.wait_for_leader().unwrap(), first);
        central.nbctl(&["ls-add", "survivor"]).unwrap();
        central.sync().unwrap();
        assert!(central.sb("list Datapath_Binding").unwrap().contains("survivor"));
        central.start_member(first).unwrap();
    }

    #[test]
    fn a_central_listens_on_tcp_and_on_tls_with_certificates_of_its_own() {
        let underlay = Underlay::new(1500).unwrap();
        let client = Namespace::new("client").unwrap();
        underlay.attach(&client).unwrap();
        link::address(&client, Underlay::LINK, "192.0.2.1".parse().unwrap(), 24).unwrap();
        let mut central = Central::new(Southbound::Standalone).unwrap();
        central.listen(&underlay, "192.0.2.9".parse().unwrap(), 24).unwrap();
        let options = central.pki().unwrap().options("hv1").unwrap();
        for remote in [central.tcp_remote(), central.ssl_remote()] {
            let mut sbctl = client.command("ovn-sbctl");
            sbctl.arg("--timeout=10").arg(format!("--db={remote}")).args(&options).arg("show");
            process::run(&mut sbctl).unwrap();
        }
    }
}
