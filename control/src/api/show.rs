//! What `ovn-xdp show` shows.

use super::command::Section;
use super::table::{Table, bytes};
use ovn_xdp_compile::report::Flow;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

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
    /// Drops of ports that are not bound here: what tunnels brought from them, and what was dropped
    /// while they were.
    pub elsewhere: Vec<Elsewhere>,
    /// Frames lost between devices and workers: by the kernel side, or by a queue that was full.
    pub lost: Vec<Drop>,
    /// Drops by the logical flow that decided, most frames first; each is counted above as well.
    pub flows: Vec<FlowDrop>,
    /// Frames dropped by more flows than are counted apart.
    pub other_flows: u64,
    /// The newest generation, and the one that all workers run.
    pub generation: (u64, u64),
    /// Logical flows that could not be used.
    pub skipped: usize,
    /// Why everything stands still (`ovn-match-northd-version`).
    pub frozen: Option<String>,
    /// Facts that were learned and lost, because too many waited.
    pub unlearned: u64,
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
    /// How often the whole content was read, and how often a connection went on from the last
    /// transaction of the one before (MON-10).
    pub downloads: u64,
    /// See `downloads`.
    pub resumptions: u64,
    /// Last `nb_cfg` seen, and last one reported.
    pub nb_cfg: (i64, i64),
    /// Why our rows cannot be made, or not with all addresses.
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

/// A port that is not bound here, and drops of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Elsewhere {
    /// Logical port, or its tunnel key if its datapath no longer has it.
    pub name: String,
    /// Its datapath, or the datapath's tunnel key.
    pub datapath: String,
    /// Drops by reason.
    pub drops: Vec<Drop>,
}

/// Frames that a logical flow dropped. It is the last that matched on the packet's way: where no flow
/// of the next table did, the one before.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FlowDrop {
    /// `Logical_Flow._uuid`.
    pub uuid: Uuid,
    /// Label of the reason.
    pub reason: &'static str,
    /// How many.
    pub frames: u64,
    /// The flow, unless the database no longer has it.
    pub flow: Option<Flow>,
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
        write!(f, "  Southbound  {}: {}", sb.remote, sb.state)?;
        write!(f, ", nb_cfg {} seen, {} reached", sb.nb_cfg.0, sb.nb_cfg.1)?;
        writeln!(f, ", {} times read whole, {} times resumed", sb.downloads, sb.resumptions)?;
        for trouble in [&sb.last_error, &sb.conflict].into_iter().flatten() {
            writeln!(f, "              {trouble}")?;
        }
        if let Some(frozen) = &self.frozen {
            writeln!(f, "  Northd      {frozen}")?;
        }
        let (newest, running) = self.generation;
        match newest == running {
            true => writeln!(f, "  Generation  {newest}, run by all workers")?,
            false => writeln!(f, "  Generation  {newest}; not all workers are past {running}")?,
        }
        if self.skipped > 0 {
            let skipped = self.skipped;
            writeln!(f, "  Flows       {skipped} cannot be used (debug/dump-skipped-flows)")?;
        }
        if self.unlearned > 0 {
            writeln!(f, "  Learning    {} facts lost: too many at once", self.unlearned)?;
        }
        writeln!(f, "\nPorts: {}\n{}", self.ports.len(), self.port_table())?;
        if !self.waiting.is_empty() {
            writeln!(f, "Interfaces without a port: {}", self.waiting.len())?;
            let mut table = Table::new(["interface", "for port", "because"]);
            for Waiting { interface, port, reason } in &self.waiting {
                table.row([interface.clone(), port.clone(), reason.clone()]);
            }
            writeln!(f, "{table}")?;
        }
        writeln!(f, "Tunnels: {}\n{}", self.tunnels.len(), self.tunnel_table())?;
        writeln!(f, "Local datapaths: {}\n{}", self.datapaths.len(), self.datapath_table())?;
        write!(f, "Workers: {}\n{}", self.workers.len(), self.worker_table())?;
        if !self.drops.is_empty() {
            writeln!(f, "\nDrops of no port: {}", drops(&self.drops))?;
        }
        if !self.elsewhere.is_empty() {
            let ports = self.elsewhere.len();
            write!(f, "\nDrops of ports not bound here: {ports}\n{}", self.elsewhere_table())?;
        }
        if !self.lost.is_empty() {
            writeln!(f, "\nLost outside the pipelines: {}", drops(&self.lost))?;
        }
        if !self.flows.is_empty() {
            write!(f, "\nDrops by logical flow: {}\n{}", self.flows.len(), self.flow_table())?;
        }
        if self.other_flows > 0 {
            writeln!(f, "\nDrops by other logical flows: {}", self.other_flows)?;
        }
        Ok(())
    }
}

impl Report {
    /// One part for people; nothing for a part that is not in the report.
    pub fn section(&self, section: Section) -> String {
        match section {
            Section::Ports => self.port_table().to_string(),
            Section::Datapaths => self.datapath_table().to_string(),
            Section::Tunnels => self.tunnel_table().to_string(),
            Section::Workers => self.worker_table().to_string(),
            _ => String::new(),
        }
    }

    fn datapath_table(&self) -> Table {
        let mut table = Table::new(["datapath", "key#", "ports#"]);
        for Datapath { name, key, ports } in &self.datapaths {
            table.row([name.clone(), key.to_string(), ports.to_string()]);
        }
        table
    }

    fn worker_table(&self) -> Table {
        let titles = ["worker", "cache hits#", "misses#", "stale#", "to tunnels#", "from tunnels#"];
        let mut table = Table::new(titles);
        for Worker { number, hits, misses, stale, tunnel: (tx, rx) } in &self.workers {
            let number = *number as u64;
            table.row([number, *hits, *misses, *stale, *tx, *rx].map(|count| count.to_string()));
        }
        table
    }

    fn port_table(&self) -> Table {
        let mut table = Table::new([
            "port",
            "interface",
            "tag#",
            "datapath",
            "state",
            "frames from it#",
            "bytes#",
            "frames to it#",
            "bytes#",
            "dropped",
        ]);
        for port in &self.ports {
            table.row([
                port.name.clone(),
                port.interface.clone(),
                port.tag.map_or_else(|| "-".to_owned(), |tag| tag.to_string()),
                port.datapath.clone(),
                port.state.clone(),
                port.rx.0.to_string(),
                bytes(port.rx.1),
                port.tx.0.to_string(),
                bytes(port.tx.1),
                drops(&port.drops),
            ]);
        }
        table
    }

    fn elsewhere_table(&self) -> Table {
        let mut table = Table::new(["port", "datapath", "dropped"]);
        for Elsewhere { name, datapath, drops: found } in &self.elsewhere {
            table.row([name.clone(), datapath.clone(), drops(found)]);
        }
        table
    }

    fn flow_table(&self) -> Table {
        let mut table = Table::new(["frames#", "reason", "logical flow", "stage", "match"]);
        for FlowDrop { uuid, reason, frames, flow } in &self.flows {
            let (stage, matches) = match flow {
                Some(flow) => (
                    format!("{} {} {}", flow.pipeline, flow.table, flow.stage),
                    flow.matches.to_string(),
                ),
                None => ("-".to_owned(), "(no longer in the database)".to_owned()),
            };
            table.row([frames.to_string(), (*reason).to_owned(), uuid.to_string(), stage, matches]);
        }
        table
    }

    fn tunnel_table(&self) -> Table {
        let mut table = Table::new(["chassis", "from", "to", "next hop", "MTU#", ""]);
        for tunnel in &self.tunnels {
            let hop = match (&tunnel.next_hop, &tunnel.interface) {
                (Some(mac), Some(interface)) => format!("{mac} on {interface}"),
                _ => "-".to_owned(),
            };
            let reason = match &tunnel.next_hop {
                Some(_) => "",
                None => tunnel.reason.as_deref().unwrap_or("not resolved yet"),
            };
            table.row([
                tunnel.chassis.clone(),
                tunnel.local.clone(),
                tunnel.remote.clone(),
                hop,
                tunnel.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string()),
                reason.to_owned(),
            ]);
        }
        table
    }
}

/// Drops for people, a reason a line.
pub fn drop_table(drops: &[Drop]) -> impl fmt::Display + use<> {
    let mut table = Table::new(["reason", "frames#"]);
    for Drop { reason, frames } in drops {
        table.row([(*reason).to_owned(), frames.to_string()]);
    }
    table
}

fn drops(drops: &[Drop]) -> String {
    let drop = |drop: &Drop| format!("{} {}", drop.reason, drop.frames);
    drops.iter().map(drop).collect::<Vec<_>>().join(", ")
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
                rx: (2, 3072),
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
            flows: vec![FlowDrop {
                uuid: Uuid::from_u128(5),
                reason: "logical-flow",
                frames: 3,
                flow: Some(Flow {
                    uuid: Uuid::from_u128(5),
                    stage: "ls_in_acl_eval".into(),
                    pipeline: "ingress",
                    table: 8,
                    priority: 1001,
                    matches: "tcp.dst == 22".into(),
                    actions: "drop;".into(),
                }),
            }],
            other_flows: 4,
            elsewhere: vec![Elsewhere {
                name: "bar".into(),
                datapath: "ls".into(),
                drops: vec![Drop { reason: "unbound-port", frames: 6 }],
            }],
            lost: vec![Drop { reason: "receive-full", frames: 9 }],
            ..Report::default()
        };
        let text = report.to_string();
        let line = |start: &str| {
            let found = text.lines().find(|line| line.trim_start().starts_with(start));
            let words = found.unwrap_or_else(|| panic!("no line of {start} in\n{text}"));
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("foo"), "foo tap0 7 ls INSTALLED 2 3.0 KiB 0 0 B logical-flow 3");
        assert_eq!(line("hv2"), "hv2 192.0.2.1 192.0.2.2 - - no route");
        let flow = Uuid::from_u128(5).to_string();
        let said = format!("3 logical-flow {flow} ingress 8 ls_in_acl_eval tcp.dst == 22");
        assert_eq!(line("3  logical-flow"), said);
        assert_eq!(line("bar"), "bar ls unbound-port 6");
        assert_eq!(line("Lost"), "Lost outside the pipelines: receive-full 9");
        assert_eq!(line("Drops by other"), "Drops by other logical flows: 4");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["ports"][0]["drops"][0]["frames"], 3);
    }
}
