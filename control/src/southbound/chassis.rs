//! Our rows of Chassis, Chassis_Private and Encap (CH-1 to CH-6).
//!
//! [`Registration`] is told of every row of the three tables and answers with the operations that
//! bring ours to what the configuration says: made at the start, repaired when somebody changes or
//! deletes them, changed when the configuration does. An Encap that stays is not touched when
//! another one changes (CH-8). An Encap that another chassis owns is never taken (SB-04): of several
//! addresses the others are used, and without any there is no Chassis.

use super::column::{self, is, map_of, named, reference, set_of};
use super::feature;
use crate::config::Config;
use ovn_xdp_ovsdb::Row;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

/// A row of Chassis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChassisRow {
    /// `name`.
    pub name: String,
    /// `hostname`.
    pub hostname: String,
    /// `encaps`.
    pub encaps: BTreeSet<Uuid>,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
    /// `transport_zones`.
    pub transport_zones: BTreeSet<String>,
}

/// A row of Encap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncapRow {
    /// `type`.
    pub kind: String,
    /// `ip`.
    pub ip: String,
    /// `options`.
    pub options: BTreeMap<String, String>,
    /// `chassis_name`.
    pub chassis: String,
}

/// A row of Chassis_Private.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrivateRow {
    /// `name`.
    pub name: String,
    /// `chassis`.
    pub chassis: Option<Uuid>,
    /// `nb_cfg`.
    pub nb_cfg: i64,
}

/// Why we cannot register, or not with all our addresses.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Conflict {
    /// Somebody else's tunnel ends at our address.
    #[error(
        "the Southbound DB has Encap geneve {ip} for chassis {owner}: give this host another \
         ovn-encap-ip, or remove that chassis with `ovn-sbctl chassis-del {owner}`"
    )]
    EncapTaken {
        /// Address.
        ip: IpAddr,
        /// `Encap.chassis_name`.
        owner: String,
    },
}

impl ChassisRow {
    /// Columns that are read.
    pub const COLUMNS: &'static [&'static str] =
        &["name", "hostname", "encaps", "other_config", "transport_zones"];

    /// Reads a row.
    pub fn read(row: &Row) -> Self {
        Self {
            name: column::text(row, "name").to_string(),
            hostname: column::text(row, "hostname").to_string(),
            encaps: column::uuids(row, "encaps").into_iter().collect(),
            other_config: column::pairs(row, "other_config"),
            transport_zones: column::strings(row, "transport_zones")
                .iter()
                .map(|zone| zone.to_string())
                .collect(),
        }
    }
}

impl EncapRow {
    /// Columns that are read.
    pub const COLUMNS: &'static [&'static str] = &["type", "ip", "options", "chassis_name"];

    /// Reads a row.
    pub fn read(row: &Row) -> Self {
        Self {
            kind: column::text(row, "type").to_string(),
            ip: column::text(row, "ip").to_string(),
            options: column::pairs(row, "options"),
            chassis: column::text(row, "chassis_name").to_string(),
        }
    }
}

impl PrivateRow {
    /// Columns that are read.
    pub const COLUMNS: &'static [&'static str] = &["name", "chassis", "nb_cfg"];

    /// Reads a row.
    pub fn read(row: &Row) -> Self {
        Self {
            name: column::text(row, "name").to_string(),
            chassis: column::uuid(row, "chassis"),
            nb_cfg: column::integer(row, "nb_cfg").unwrap_or(0),
        }
    }
}

/// The Chassis, Encap and Chassis_Private tables, and our part of them.
#[derive(Debug)]
pub struct Registration {
    wanted: Wanted,
    /// All rows of Chassis.
    pub chassis: BTreeMap<Uuid, ChassisRow>,
    /// All rows of Encap.
    pub encaps: BTreeMap<Uuid, EncapRow>,
    private: BTreeMap<Uuid, PrivateRow>,
    pending: bool,
    held: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    name: String,
    hostname: String,
    other_config: BTreeMap<String, String>,
    transport_zones: BTreeSet<String>,
    encaps: Encaps,
}

/// Options of Encap rows by their address.
type Encaps = BTreeMap<IpAddr, BTreeMap<String, String>>;

impl Wanted {
    fn new(config: &Config) -> Self {
        let text = |truth: bool| if truth { "true" } else { "false" }.to_owned();
        let mut other_config = BTreeMap::from([
            ("ovn-bridge-mappings".to_owned(), config.bridge_mappings.clone()),
            ("datapath-type".to_owned(), "system".to_owned()),
            ("iface-types".to_owned(), "geneve,system".to_owned()),
            ("ovn-cms-options".to_owned(), config.cms_options.clone()),
            ("ovn-monitor-all".to_owned(), text(config.monitor_all)),
            ("ovn-chassis-mac-mappings".to_owned(), config.mac_mappings.clone()),
            ("is-interconn".to_owned(), text(config.interconn)),
            ("ovn-enable-lflow-cache".to_owned(), text(true)),
            ("ovn-limit-lflow-cache".to_owned(), String::new()),
            ("ovn-memlimit-lflow-cache-kb".to_owned(), String::new()),
            ("ovn-trim-limit-lflow-cache".to_owned(), String::new()),
            ("ovn-trim-wmark-perc-lflow-cache".to_owned(), String::new()),
            ("ovn-trim-timeout-ms".to_owned(), String::new()),
        ]);
        other_config.extend(feature::FLAGS.map(|flag| (flag.to_owned(), text(true))));
        let several = config.encap.addresses.len() > 1;
        let encap = |address: &IpAddr| {
            let mut options = BTreeMap::from([("csum".to_owned(), text(config.encap.csum))]);
            if several && config.encap.default == Some(*address) {
                options.insert("is_default".to_owned(), text(true));
            }
            (*address, options)
        };
        Self {
            name: config.system_id.clone(),
            hostname: config.hostname.clone(),
            other_config,
            transport_zones: config.transport_zones.iter().cloned().collect(),
            encaps: config.encap.addresses.iter().map(encap).collect(),
        }
    }
}

impl Registration {
    /// Nothing seen yet.
    pub fn new(config: &Config) -> Self {
        Self {
            wanted: Wanted::new(config),
            chassis: BTreeMap::new(),
            encaps: BTreeMap::new(),
            private: BTreeMap::new(),
            pending: false,
            held: None,
        }
    }

    /// The configuration changed.
    pub fn configure(&mut self, config: &Config) {
        self.wanted = Wanted::new(config);
        self.held = None;
    }

    /// A row of Chassis changed or went.
    pub fn chassis_row(&mut self, uuid: Uuid, row: Option<ChassisRow>) {
        set(&mut self.chassis, uuid, row);
    }

    /// A row of Encap changed or went.
    pub fn encap_row(&mut self, uuid: Uuid, row: Option<EncapRow>) {
        set(&mut self.encaps, uuid, row);
        self.held = None;
    }

    /// A row of Chassis_Private changed or went.
    pub fn private_row(&mut self, uuid: Uuid, row: Option<PrivateRow>) {
        set(&mut self.private, uuid, row);
    }

    /// Our row of Chassis.
    pub fn ours(&self) -> Option<Uuid> {
        self.chassis.iter().find(|(_, row)| row.name == self.wanted.name).map(|(uuid, _)| *uuid)
    }

    /// Our rows of Encap, by address.
    pub fn our_encaps(&self) -> BTreeMap<IpAddr, Uuid> {
        let ours = self.ours().and_then(|uuid| self.chassis.get(&uuid));
        let encaps = ours.into_iter().flat_map(|row| &row.encaps);
        encaps.filter_map(|uuid| Some((self.encaps.get(uuid)?.ip.parse().ok()?, *uuid))).collect()
    }

    fn our_private(&self) -> Option<(Uuid, &PrivateRow)> {
        let mut rows = self.private.iter();
        rows.find(|(_, row)| row.name == self.wanted.name).map(|(uuid, row)| (*uuid, row))
    }

    /// What must be written for our rows to be as they should; nothing while a write is under way, or
    /// while [`Registration::conflict`] leaves us without an address.
    pub fn run(&mut self, now: Duration) -> Vec<Value> {
        if self.pending || self.held.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.held = None;
        let free = self.free();
        if free.is_empty() && !self.wanted.encaps.is_empty() {
            return Vec::new();
        }
        let operations = self.operations(&free);
        self.pending = !operations.is_empty();
        operations
    }

    /// How the last write went.
    pub fn written(&mut self, committed: bool, now: Duration) {
        self.pending = false;
        if !committed {
            self.held = Some(now + Duration::from_secs(1));
        }
    }

    /// When [`Registration::run`] is to be called even if nothing happens.
    pub fn deadline(&self) -> Option<Duration> {
        self.held
    }

    /// What keeps us from one of our addresses until somebody does something about it.
    pub fn conflict(&self) -> Option<Conflict> {
        let mut addresses = self.wanted.encaps.keys();
        addresses.find_map(|ip| {
            self.owner(ip).map(|owner| Conflict::EncapTaken { ip: *ip, owner: owner.to_owned() })
        })
    }

    /// The other chassis whose tunnel ends at an address.
    fn owner(&self, ip: &IpAddr) -> Option<&str> {
        let theirs = |row: &&EncapRow| {
            row.kind == "geneve" && row.chassis != self.wanted.name && row.ip.parse() == Ok(*ip)
        };
        self.encaps.values().find(theirs).map(|row| &*row.chassis)
    }

    /// Our addresses that nobody else has, with their options.
    fn free(&self) -> Encaps {
        let wanted = self.wanted.encaps.iter().filter(|(ip, _)| self.owner(ip).is_none());
        wanted.map(|(ip, options)| (*ip, options.clone())).collect()
    }

    fn operations(&self, encaps: &Encaps) -> Vec<Value> {
        let mut operations = Vec::new();
        let ours = self.ours().and_then(|uuid| Some((uuid, self.chassis.get(&uuid)?)));
        let chassis = match ours {
            Some((uuid, row)) => {
                self.repair(uuid, row, encaps, &mut operations);
                reference(uuid)
            }
            None => {
                self.insert(encaps, &mut operations);
                named("chassis")
            }
        };
        match self.our_private() {
            None => operations.push(json!({
                "op": "insert",
                "table": "Chassis_Private",
                "row": { "name": self.wanted.name, "chassis": chassis },
            })),
            Some((uuid, row)) if row.chassis.is_none() || row.chassis != self.ours() => {
                operations.push(json!({
                    "op": "update",
                    "table": "Chassis_Private",
                    "where": [is(uuid)],
                    "row": { "chassis": chassis },
                }));
            }
            Some(_) => {}
        }
        operations
    }

    fn insert(&self, encaps: &Encaps, operations: &mut Vec<Value>) {
        let mut references = Vec::new();
        for (number, (ip, options)) in encaps.iter().enumerate() {
            references.push(self.insert_encap(number, ip, options, operations));
        }
        operations.push(json!({
            "op": "insert",
            "table": "Chassis",
            "uuid-name": "chassis",
            "row": {
                "name": self.wanted.name,
                "hostname": self.wanted.hostname,
                "encaps": set_of(references),
                "other_config": map_of(&self.wanted.other_config),
                "transport_zones": zones(&self.wanted.transport_zones),
            },
        }));
    }

    fn insert_encap(
        &self,
        number: usize,
        ip: &IpAddr,
        options: &BTreeMap<String, String>,
        operations: &mut Vec<Value>,
    ) -> Value {
        let name = format!("encap{number}");
        operations.push(json!({
            "op": "insert",
            "table": "Encap",
            "uuid-name": name,
            "row": {
                "type": "geneve",
                "ip": ip.to_string(),
                "options": map_of(options),
                "chassis_name": self.wanted.name,
            },
        }));
        named(&name)
    }

    fn repair(&self, uuid: Uuid, row: &ChassisRow, encaps: &Encaps, operations: &mut Vec<Value>) {
        let mut columns = serde_json::Map::new();
        if row.hostname != self.wanted.hostname {
            columns.insert("hostname".to_owned(), json!(self.wanted.hostname));
        }
        if row.transport_zones != self.wanted.transport_zones {
            columns.insert("transport_zones".to_owned(), zones(&self.wanted.transport_zones));
        }
        if let Some(encaps) = self.repair_encaps(row, encaps, operations) {
            columns.insert("encaps".to_owned(), set_of(encaps));
        }
        if !columns.is_empty() {
            operations.push(json!({
                "op": "update",
                "table": "Chassis",
                "where": [is(uuid)],
                "row": columns,
            }));
        }
        // Keys of others in other_config are left alone.
        let wrong: Vec<(&String, &String)> = self
            .wanted
            .other_config
            .iter()
            .filter(|(key, value)| row.other_config.get(*key) != Some(value))
            .collect();
        if !wrong.is_empty() {
            let keys = set_of(wrong.iter().map(|(key, _)| json!(key)));
            operations.push(json!({
                "op": "mutate",
                "table": "Chassis",
                "where": [is(uuid)],
                "mutations": [
                    ["other_config", "delete", keys],
                    ["other_config", "insert", map_of(wrong)],
                ],
            }));
        }
    }

    /// The references that `Chassis.encaps` should hold, if it holds others.
    fn repair_encaps(
        &self,
        row: &ChassisRow,
        encaps: &Encaps,
        operations: &mut Vec<Value>,
    ) -> Option<Vec<Value>> {
        let mut kept: BTreeMap<IpAddr, Uuid> = BTreeMap::new();
        for uuid in &row.encaps {
            let Some(encap) = self.encaps.get(uuid) else { continue };
            let ip = encap.ip.parse().ok().filter(|_| encap.kind == "geneve");
            if let Some((ip, options)) = ip.and_then(|ip| encaps.get_key_value(&ip)) {
                if encap.options != *options || encap.chassis != self.wanted.name {
                    operations.push(json!({
                        "op": "update",
                        "table": "Encap",
                        "where": [is(*uuid)],
                        "row": { "options": map_of(options), "chassis_name": self.wanted.name },
                    }));
                }
                kept.insert(*ip, *uuid);
            }
        }
        if kept.len() == row.encaps.len() && kept.len() == encaps.len() {
            return None;
        }
        let mut references = Vec::new();
        for (number, (ip, options)) in encaps.iter().enumerate() {
            references.push(match kept.get(ip) {
                Some(uuid) => reference(*uuid),
                None => self.insert_encap(number, ip, options, operations),
            });
        }
        Some(references)
    }

    /// Tells the barrier how far we are (CH-5): the workers forward by all that came with
    /// `nb_cfg`. Nothing if the row says so already.
    pub fn report(&self, nb_cfg: i64, wall_clock: Duration) -> Option<Value> {
        let (uuid, row) = self.our_private()?;
        (row.nb_cfg != nb_cfg).then(|| {
            json!({
                "op": "update",
                "table": "Chassis_Private",
                "where": [is(uuid)],
                "row": { "nb_cfg": nb_cfg, "nb_cfg_timestamp": wall_clock.as_millis() as i64 },
            })
        })
    }

    /// Removes all that is ours (CH-6): bindings first, so that nobody sees a port on a chassis
    /// that does not exist. Encaps go with the Chassis that referred to them.
    pub fn removal(&self) -> Vec<Value> {
        let mut operations = Vec::new();
        if let Some(uuid) = self.ours() {
            let ours = json!(["chassis", "==", reference(uuid)]);
            let up = json!(["up", "==", true]);
            operations.push(json!({
                "op": "update", "table": "Port_Binding", "where": [ours, up],
                "row": { "up": false },
            }));
            operations.push(json!({
                "op": "update", "table": "Port_Binding", "where": [ours],
                "row": { "chassis": column::empty(), "encap": column::empty() },
            }));
            operations.push(json!({ "op": "delete", "table": "Chassis", "where": [is(uuid)] }));
        }
        if let Some((uuid, _)) = self.our_private() {
            operations
                .push(json!({ "op": "delete", "table": "Chassis_Private", "where": [is(uuid)] }));
        }
        operations
    }
}

fn zones(zones: &BTreeSet<String>) -> Value {
    set_of(zones.iter().map(|zone| json!(zone)))
}

fn set<T>(rows: &mut BTreeMap<Uuid, T>, uuid: Uuid, row: Option<T>) {
    match row {
        Some(row) => rows.insert(uuid, row),
        None => rows.remove(&uuid),
    };
}

#[cfg(test)]
mod tests;
