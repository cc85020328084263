//! The parts of what the daemon knows, each as a table for people or as JSON.

use super::list::Listed;
use super::table::{Table, bytes};
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// A logical flow of a local datapath.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Flow {
    /// `_uuid`.
    pub uuid: Uuid,
    /// `local`, or `southbound`.
    pub source: &'static str,
    /// Name of the datapath.
    pub datapath: String,
    /// `ingress` or `egress`.
    pub pipeline: &'static str,
    /// `table_id`.
    pub table: u8,
    /// `priority`.
    pub priority: u16,
    /// Frames that passed it since the workers first saw it.
    pub packets: u64,
    /// Their bytes, as they arrived.
    pub bytes: u64,
    /// `match`.
    #[serde(rename = "match")]
    pub matches: String,
    /// `actions`.
    pub actions: String,
}

/// A table of a local datapath.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stage {
    /// Name of the datapath.
    pub datapath: String,
    /// `ingress` or `egress`.
    pub pipeline: &'static str,
    /// `table_id`.
    pub table: usize,
    /// How it is looked up.
    pub structure: &'static str,
    /// Rules in it.
    pub rules: usize,
}

/// A verdict that a worker keeps for packets of one connection, in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Connection {
    /// Number of the worker.
    pub worker: usize,
    /// Interface, or tunnel, that the packets come from.
    pub from: String,
    /// IP protocol.
    pub protocol: u8,
    /// IP address, or MAC address of what is no IP.
    pub source: String,
    /// Port, of what has ports.
    pub source_port: Option<u16>,
    /// Where it goes.
    pub destination: String,
    /// Port there.
    pub destination_port: Option<u16>,
    /// Interfaces and chassis that get the packets.
    pub to: Vec<String>,
    /// Why they are dropped, if they are.
    pub drop: Option<&'static str>,
    /// By which flow.
    pub flow: Option<Uuid>,
    /// Whether it is used as it is; if not, the next packet makes it anew.
    pub holds: bool,
}

/// Memory of the daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Memory {
    /// Resident bytes now.
    pub resident: u64,
    /// And at most so far.
    pub peak: u64,
    /// Rules, a flow counted in each local datapath that it can match in.
    pub rules: usize,
    /// Local rows by table.
    pub local_rows: std::collections::BTreeMap<String, usize>,
    /// Local rows that are put aside, and why.
    pub put_aside: std::collections::BTreeMap<Uuid, String>,
}

/// A version of something that works with us.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Version {
    /// What.
    pub what: &'static str,
    /// Its version.
    pub version: String,
}

impl Listed for Flow {
    const TITLES: &'static [&'static str] = &[
        "datapath",
        "pipeline",
        "table#",
        "priority#",
        "frames#",
        "bytes#",
        "source",
        "uuid",
        "match",
        "actions",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.datapath.clone(),
            self.pipeline.to_owned(),
            self.table.to_string(),
            self.priority.to_string(),
            self.packets.to_string(),
            bytes(self.bytes),
            self.source.to_owned(),
            self.uuid.to_string(),
            self.matches.clone(),
            self.actions.clone(),
        ]
    }
}

impl Listed for Connection {
    const TITLES: &'static [&'static str] =
        &["worker#", "from", "protocol#", "source", "destination", "to", "holds"];

    fn cells(&self) -> Vec<String> {
        let end = |address: &str, port: Option<u16>| match port {
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address.to_owned(),
        };
        let to = match (self.drop, self.flow) {
            (Some(reason), Some(flow)) => format!("dropped: {reason} by {flow}"),
            _ => self.to.join(", "),
        };
        vec![
            self.worker.to_string(),
            self.from.clone(),
            self.protocol.to_string(),
            end(&self.source, self.source_port),
            end(&self.destination, self.destination_port),
            to,
            if self.holds { "yes" } else { "no" }.to_owned(),
        ]
    }
}

impl Listed for Stage {
    const TITLES: &'static [&'static str] =
        &["datapath", "pipeline", "table#", "structure", "rules#"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.datapath.clone(),
            self.pipeline.to_owned(),
            self.table.to_string(),
            self.structure.to_owned(),
            self.rules.to_string(),
        ]
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "resident:   {} ({} at most)", bytes(self.resident), bytes(self.peak))?;
        writeln!(f, "rules:      {}", self.rules)?;
        for (table, rows) in &self.local_rows {
            writeln!(f, "local rows: {rows} in {table}")?;
        }
        self.put_aside.iter().try_for_each(|(row, why)| writeln!(f, "put aside:  {row}: {why}"))
    }
}

/// Versions for people.
pub fn versions(versions: &[Version]) -> impl fmt::Display + use<> {
    let mut table = Table::new(["what", "version"]);
    for Version { what, version } in versions {
        table.row([(*what).to_owned(), version.clone()]);
    }
    table
}
