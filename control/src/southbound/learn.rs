//! What the workers learned, on its way into MAC_Binding and FDB (PIN-02, PIN-04).
//!
//! Facts wait in a bounded queue for at most 50 ms and go out together. What the database already
//! says is skipped. Two chassis may learn the same fact at once: the tables' unique indexes refuse
//! the second row, and the facts of the refused transaction are then tried one by one, by when the
//! other's row is usually known. While the database takes no writes, the queue is kept.

use super::column::{self, is, reference};
use ovn_xdp_datapath::key::{DatapathKey, PortKey};
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::program::Family;
use ovn_xdp_datapath::publish::Mac;
use ovn_xdp_ovsdb::Row;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

mod memory;

pub use memory::ROWS;

/// Facts that wait at most.
pub const QUEUE: usize = 1024;
/// Facts of one transaction.
pub const BATCH: usize = 64;
/// How long a fact may wait for company.
pub const DELAY: Duration = Duration::from_millis(50);
/// How often a refused fact is tried.
const ATTEMPTS: u8 = 3;

/// Names that rows are written with, by the keys that workers know.
pub trait Names {
    /// The row of Datapath_Binding and `logical_port` of a port.
    fn port(&self, datapath: DatapathKey, port: PortKey) -> Option<(Uuid, Arc<str>)>;

    /// Whether the port is a localnet port: a way into a network outside, and not a workload.
    fn is_localnet(&self, datapath: DatapathKey, port: PortKey) -> bool;
}

/// The queue, and what the two tables say.
#[derive(Debug, Default)]
pub struct Learning {
    queue: VecDeque<Fact>,
    due: Option<Duration>,
    solo: VecDeque<Fact>,
    sent: Vec<Fact>,
    bindings: HashMap<(Arc<str>, String), Binding>,
    binding_rows: HashMap<Uuid, (Arc<str>, String)>,
    fdb: HashMap<(Mac, u32), (Uuid, u16)>,
    fdb_rows: HashMap<Uuid, (Mac, u32)>,
    binding_timestamp: bool,
    fdb_timestamp: bool,
    remembered: u64,
    /// Facts that found the queue full.
    pub lost: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Fact {
    learned: Learned,
    attempts: u8,
}

#[derive(Clone, Debug)]
struct Binding {
    row: Uuid,
    mac: String,
    timestamp: i64,
}

impl Learning {
    /// Nothing learned yet. Which of the tables have a column `timestamp` says the schema.
    pub fn new(binding_timestamp: bool, fdb_timestamp: bool) -> Self {
        Self { binding_timestamp, fdb_timestamp, ..Self::default() }
    }

    /// Which of the tables have a column `timestamp`.
    pub fn timestamps(&mut self, binding: bool, fdb: bool) {
        self.binding_timestamp = binding;
        self.fdb_timestamp = fdb;
    }

    /// A row of MAC_Binding changed or went.
    pub fn binding_row(&mut self, uuid: Uuid, row: Option<&Row>) {
        if let Some(key) = self.binding_rows.remove(&uuid)
            && self.bindings.get(&key).is_some_and(|binding| binding.row == uuid)
        {
            self.bindings.remove(&key);
        }
        if let Some(row) = row {
            let key = (column::text(row, "logical_port"), column::text(row, "ip").to_string());
            let binding = Binding {
                row: uuid,
                mac: column::text(row, "mac").to_string(),
                timestamp: column::integer(row, "timestamp").unwrap_or(0),
            };
            self.binding_rows.insert(uuid, key.clone());
            self.bindings.insert(key, binding);
        }
    }

    /// A row of FDB changed or went.
    pub fn fdb_row(&mut self, uuid: Uuid, row: Option<&Row>) {
        if let Some(key) = self.fdb_rows.remove(&uuid)
            && self.fdb.get(&key).is_some_and(|(row, _)| *row == uuid)
        {
            self.fdb.remove(&key);
        }
        let read = |row: &Row| {
            let mac = parse_mac(&column::text(row, "mac"))?;
            let datapath = u32::try_from(column::integer(row, "dp_key")?).ok()?;
            let port = u16::try_from(column::integer(row, "port_key")?).ok()?;
            Some(((mac, datapath), port))
        };
        if let Some((key, port)) = row.and_then(read) {
            self.fdb_rows.insert(uuid, key);
            self.fdb.insert(key, (uuid, port));
        }
    }

    /// A worker saw a fact. `jitter` is a random time up to [`DELAY`]: it keeps the chassis that
    /// heard the same broadcast from all writing at once.
    pub fn learned(&mut self, learned: Learned, now: Duration, jitter: Duration) {
        let fact = Fact { learned, attempts: 0 };
        if self.queue.contains(&fact) {
            return;
        }
        if self.queue.len() >= QUEUE {
            self.lost += 1;
            return;
        }
        self.queue.push_back(fact);
        self.due.get_or_insert(now + jitter.min(DELAY));
    }

    /// When [`Learning::take`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        if !self.sent.is_empty() {
            return None;
        }
        if self.solo.is_empty() { self.due } else { Some(Duration::ZERO) }
    }

    /// Facts that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.solo.len() + self.sent.len()
    }

    /// The operations of the next transaction, if it is time for one. `wall_clock` is what
    /// timestamps are written with.
    pub fn take(&mut self, now: Duration, wall_clock: Duration, names: &impl Names) -> Vec<Value> {
        if !self.sent.is_empty() {
            return Vec::new();
        }
        let mut operations = Vec::new();
        while operations.is_empty() {
            let Some(fact) = self.solo.pop_front() else { break };
            self.write(fact, wall_clock, names, &mut operations);
        }
        if !operations.is_empty() || self.due.is_none_or(|due| now < due) {
            return operations;
        }
        while self.sent.len() < BATCH {
            let Some(fact) = self.queue.pop_front() else { break };
            self.write(fact, wall_clock, names, &mut operations);
        }
        self.due = if self.queue.is_empty() { None } else { Some(now) };
        operations
    }

    /// How the transaction went.
    pub fn written(&mut self, committed: bool) {
        let sent = std::mem::take(&mut self.sent);
        if !committed {
            let again = sent.into_iter().map(|fact| Fact { attempts: fact.attempts + 1, ..fact });
            self.solo.extend(again.filter(|fact| fact.attempts < ATTEMPTS));
        }
    }

    /// The connection went while a transaction was under way: its facts wait again.
    pub fn interrupted(&mut self) {
        self.solo.extend(std::mem::take(&mut self.sent));
    }

    fn write(
        &mut self,
        fact: Fact,
        wall_clock: Duration,
        names: &impl Names,
        operations: &mut Vec<Value>,
    ) {
        let stamp = wall_clock.as_millis() as i64;
        let operation = match fact.learned {
            Learned::Neighbour { datapath, port, family, address, mac } => names
                .port(datapath, port)
                .and_then(|port| self.neighbour(port, ip(family, address), mac, stamp)),
            Learned::Fdb { datapath, port, mac } => self.fdb(datapath, port, mac, stamp, names),
            Learned::NeighbourUsed { datapath, port, family, address, mac } => names
                .port(datapath, port)
                .and_then(|(_, port)| self.used(port, ip(family, address), mac, stamp)),
        };
        if let Some(operation) = operation {
            operations.push(operation);
            self.sent.push(fact);
        }
    }

    fn neighbour(
        &self,
        (datapath, port): (Uuid, Arc<str>),
        ip: IpAddr,
        mac: Mac,
        stamp: i64,
    ) -> Option<Value> {
        let (ip, mac) = (ip.to_string(), format_mac(mac));
        let mut columns = json!({ "mac": mac });
        if self.binding_timestamp {
            columns["timestamp"] = json!(stamp);
        }
        match self.bindings.get(&(port.clone(), ip.clone())) {
            Some(known) if known.mac.eq_ignore_ascii_case(&mac) => None,
            Some(known) => Some(json!({
                "op": "update", "table": "MAC_Binding", "where": [is(known.row)], "row": columns,
            })),
            None => {
                columns["logical_port"] = json!(&*port);
                columns["ip"] = json!(ip);
                columns["datapath"] = reference(datapath);
                Some(json!({ "op": "insert", "table": "MAC_Binding", "row": columns }))
            }
        }
    }

    /// Refreshes the timestamp of a binding in use, so that northd does not age it (PIN-03): at
    /// most every ten seconds, far below any age that makes sense.
    fn used(&self, port: Arc<str>, ip: IpAddr, mac: Mac, stamp: i64) -> Option<Value> {
        const FRESH_MILLIS: i64 = 10_000;
        let known = self.bindings.get(&(port, ip.to_string()))?;
        let stale = self.binding_timestamp
            && known.timestamp != 0
            && stamp - known.timestamp > FRESH_MILLIS
            && known.mac.eq_ignore_ascii_case(&format_mac(mac));
        stale.then(|| {
            json!({
                "op": "update", "table": "MAC_Binding", "where": [is(known.row)],
                "row": { "timestamp": stamp },
            })
        })
    }

    fn fdb(
        &self,
        datapath: DatapathKey,
        port: PortKey,
        mac: Mac,
        stamp: i64,
        names: &impl Names,
    ) -> Option<Value> {
        let mut columns = json!({ "port_key": port.get() });
        if self.fdb_timestamp {
            columns["timestamp"] = json!(stamp);
        }
        match self.fdb.get(&(mac, datapath.get())) {
            Some((_, known)) if !moves(*known, port, datapath, names) => None,
            Some((row, _)) => Some(json!({
                "op": "update", "table": "FDB", "where": [is(*row)], "row": columns,
            })),
            None => {
                columns["mac"] = json!(format_mac(mac));
                columns["dp_key"] = json!(datapath.get());
                Some(json!({ "op": "insert", "table": "FDB", "row": columns }))
            }
        }
    }
}

/// Whether an address that was seen at another port is there now. What a workload said of itself
/// wins over what comes from the network outside, which may be its own frame coming back (PIN-04).
fn moves(known: u16, port: PortKey, datapath: DatapathKey, names: &impl Names) -> bool {
    let workload = PortKey::new(known).is_some_and(|known| !names.is_localnet(datapath, known));
    known != port.get() && !(workload && names.is_localnet(datapath, port))
}

fn ip(family: Family, address: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(address as u32).into(),
        Family::V6 => Ipv6Addr::from(address).into(),
    }
}

fn format_mac(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut octets = text.split(':');
    for octet in &mut mac {
        *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
    }
    octets.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests;
