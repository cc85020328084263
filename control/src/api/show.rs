//! What `ovn-xdp show` shows.

use serde::Serialize;
use std::fmt::{self, Write};

/// Everything about a running daemon.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// Name of the chassis.
    pub chassis: String,
    /// The Southbound connection.
    pub southbound: Southbound,
    /// Ports bound here.
    pub ports: Vec<Port>,
    /// Interfaces of the configuration without a bound port.
    pub waiting: Vec<Waiting>,
    /// Tunnels.
    pub tunnels: Vec<Tunnel>,
    /// Datapaths that concern this chassis.
    pub datapaths: Vec<Datapath>,
    /// Workers.
    pub workers: Vec<Worker>,
    /// Drops that belong to no port, by reason.
    pub drops: Vec<Drop>,
    /// The newest generation, and the one that all workers run.
    pub generation: (u64, u64),
    /// Logical flows that could not be used.
    pub skipped: usize,
}

/// The Southbound connection.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Southbound {
    /// Server, or file.
    pub remote: String,
    /// `connected` and the like.
    pub state: String,
    /// Why the last connection ended.
    pub last_error: Option<String>,
    /// Last `nb_cfg` seen, and last one reported.
    pub nb_cfg: (i64, i64),
    /// Why our rows cannot be made.
    pub conflict: Option<String>,
}

/// A bound port.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Port {
    /// Logical port.
    pub name: String,
    /// Its datapath.
    pub datapath: String,
    /// Host interface.
    pub interface: String,
    /// Tag of a nested container.
    pub tag: Option<u16>,
    /// Where the claim stands.
    pub state: String,
    /// Frames and bytes from the workload.
    pub rx: (u64, u64),
    /// Frames and bytes to the workload.
    pub tx: (u64, u64),
    /// Drops by reason.
    pub drops: Vec<Drop>,
}

/// An interface that does nothing yet.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Waiting {
    /// Host interface.
    pub interface: String,
    /// Logical port.
    pub port: String,
    /// What is missing.
    pub reason: String,
}

/// A tunnel.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Tunnel {
    /// The other chassis.
    pub chassis: String,
    /// Our end.
    pub local: String,
    /// The other end.
    pub remote: String,
    /// Host interface, when the next hop is known.
    pub interface: Option<String>,
    /// MAC address of the next hop.
    pub next_hop: Option<String>,
    /// Bytes of an IP packet that the path carries.
    pub mtu: Option<u16>,
    /// Why it carries nothing.
    pub reason: Option<String>,
}

/// A local datapath.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Datapath {
    /// Name in the Northbound DB.
    pub name: String,
    /// Tunnel key.
    pub key: u32,
    /// Ports known.
    pub ports: usize,
}

/// A worker.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Worker {
    /// Number.
    pub number: usize,
    /// Cache hits.
    pub hits: u64,
    /// Walks.
    pub misses: u64,
    /// Verdicts that no longer held.
    pub stale: u64,
    /// Frames to and from tunnels.
    pub tunnel: (u64, u64),
}

/// Frames that went nowhere.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Drop {
    /// Label of the reason.
    pub reason: &'static str,
    /// How many.
    pub frames: u64,
}

impl Report {
    /// As JSON, for programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sb = &self.southbound;
        writeln!(f, "Chassis {}", self.chassis)?;
        write!(f, "  Southbound {}: {}", sb.remote, sb.state)?;
        writeln!(f, ", nb_cfg {} seen, {} reported", sb.nb_cfg.0, sb.nb_cfg.1)?;
        if let Some(error) = &sb.last_error {
            writeln!(f, "    last error: {error}")?;
        }
        if let Some(conflict) = &sb.conflict {
            writeln!(f, "    {conflict}")?;
        }
        let (newest, running) = self.generation;
        writeln!(f, "  Generation {newest}, the workers run {running}")?;
        if self.skipped > 0 {
            writeln!(
                f,
                "  Flows that could not be used: {} (debug/dump-skipped-flows)",
                self.skipped
            )?;
        }
        writeln!(f, "Ports: {}", self.ports.len())?;
        for port in &self.ports {
            let tag = port.tag.map(|tag| format!(" tag {tag}")).unwrap_or_default();
            writeln!(
                f,
                "  {} on {}{tag} in {}: {}, rx {} frames {} bytes, tx {} frames {} bytes{}",
                port.name,
                port.interface,
                port.datapath,
                port.state,
                port.rx.0,
                port.rx.1,
                port.tx.0,
                port.tx.1,
                drops(&port.drops),
            )?;
        }
        for waiting in &self.waiting {
            writeln!(f, "  {} on {}: {}", waiting.port, waiting.interface, waiting.reason)?;
        }
        writeln!(f, "Tunnels: {}", self.tunnels.len())?;
        for tunnel in &self.tunnels {
            write!(f, "  {} {} to {}", tunnel.chassis, tunnel.local, tunnel.remote)?;
            match (&tunnel.interface, &tunnel.next_hop, tunnel.mtu) {
                (Some(link), Some(mac), Some(mtu)) => writeln!(f, ": {link} {mac} mtu {mtu}")?,
                _ => {
                    let reason = tunnel.reason.as_deref().unwrap_or("not resolved yet");
                    writeln!(f, ": {reason}")?;
                }
            }
        }
        writeln!(f, "Local datapaths: {}", self.datapaths.len())?;
        for datapath in &self.datapaths {
            let Datapath { name, key, ports } = datapath;
            writeln!(f, "  {name} key {key}, {ports} ports")?;
        }
        writeln!(f, "Workers: {}", self.workers.len())?;
        for worker in &self.workers {
            let Worker { number, hits, misses, stale, tunnel: (tx, rx) } = worker;
            writeln!(
                f,
                "  {number}: hits {hits}, misses {misses}, stale {stale}, tunnel tx {tx} rx {rx}"
            )?;
        }
        if !self.drops.is_empty() {
            writeln!(f, "Drops of no port:{}", drops(&self.drops))?;
        }
        Ok(())
    }
}

fn drops(drops: &[Drop]) -> String {
    let mut text = String::new();
    for (number, drop) in drops.iter().enumerate() {
        let lead = if number == 0 { ", dropped" } else { "," };
        let _ = write!(text, "{lead} {} {}", drop.reason, drop.frames);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_where_each_port_and_tunnel_stands() {
        let report = Report {
            chassis: "hv1".into(),
            ports: vec![Port {
                name: "foo".into(),
                datapath: "ls".into(),
                interface: "tap0".into(),
                tag: Some(7),
                state: "INSTALLED".into(),
                drops: vec![Drop { reason: "logical-flow", frames: 3 }],
                ..Port::default()
            }],
            tunnels: vec![Tunnel {
                chassis: "hv2".into(),
                local: "192.0.2.1".into(),
                remote: "192.0.2.2".into(),
                reason: Some("no route".into()),
                ..Tunnel::default()
            }],
            ..Report::default()
        };
        let text = report.to_string();
        assert!(text.contains("foo on tap0 tag 7 in ls: INSTALLED"), "{text}");
        assert!(text.contains("dropped logical-flow 3"), "{text}");
        assert!(text.contains("hv2 192.0.2.1 to 192.0.2.2: no route"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["ports"][0]["drops"][0]["frames"], 3);
    }
}
