//! The names under which a trace speaks of ports and datapaths.

use ovn_xdp_compile::network::Network;
use ovn_xdp_compile::southbound::{DatapathBinding, PortBinding};
use ovn_xdp_datapath::key::{DatapathKey, PortKey};
use ovn_xdp_datapath::publish::Generation;
use std::borrow::Cow;
use uuid::Uuid;

/// Names for people, or the names of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The rows.
    pub network: Network<'a>,
    /// Whose ports and datapaths are meant.
    pub generation: &'a Generation,
    /// Whether the names are for people.
    pub friendly: bool,
}

impl<'a> Names<'a> {
    /// The name of a datapath.
    pub fn datapath(&self, key: DatapathKey) -> String {
        let Some(row) = self.network.datapath(key) else { return key.to_string() };
        if !self.friendly {
            return identity(row).to_string();
        }
        let name = row.external_ids.get("name2").or_else(|| row.external_ids.get("name"));
        name.map_or_else(|| shorten(&identity(row).to_string()).into(), |name| shorten(name).into())
    }

    /// The port with a key in a datapath.
    pub fn port_row(&self, datapath: DatapathKey, key: u16) -> Option<&'a PortBinding> {
        let datapath = self.generation.datapaths.get(&datapath)?;
        self.network.port(&datapath.ports.get(PortKey::new(key)?)?.name)
    }

    /// The name of a port by its key, as the inport of a pipeline.
    pub fn port(&self, datapath: DatapathKey, key: u16) -> String {
        match self.port_row(datapath, key) {
            Some(port) => self.of_port(port),
            None if key == 0 => String::new(),
            None => "(unnamed)".into(),
        }
    }

    /// The name of a port.
    pub fn of_port(&self, port: &PortBinding) -> String {
        if !self.friendly {
            return port.logical_port.to_string();
        }
        shorten(port.external_id("name").unwrap_or(&port.logical_port)).into()
    }

    /// The key that a port or multicast group has in a datapath, by whatever name it goes.
    pub fn key(&self, datapath: DatapathKey, name: &str) -> Option<u32> {
        if matches!(name, "" | "none") {
            return Some(0);
        }
        if let Some(port) = self.find_port(name) {
            let here = self.network.datapath_row(port.datapath)?.key == datapath;
            return here.then(|| port.key.get().into());
        }
        Some(self.network.group_named(datapath, name)?.key.get().into())
    }

    /// A text of the language, its ports' names replaced.
    pub fn in_text(&self, text: &str) -> String {
        if !self.friendly {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('"') {
            let quoted = &rest[start + 1..];
            let Some(end) = closing(quoted) else { break };
            let name = &quoted[..end];
            out.push_str(&rest[..start]);
            match self.network.port(name) {
                Some(port) => out.push_str(&format!("{}", Quoted(&self.of_port(port)))),
                None => out.push_str(&rest[start..start + end + 2]),
            }
            rest = &quoted[end + 1..];
        }
        out.push_str(rest.trim_end());
        out
    }

    /// The datapath that somebody means: by name, or by the start of its UUID.
    pub fn find_datapath(&self, name: &str) -> Option<DatapathKey> {
        let called = |row: &DatapathBinding| {
            let plain = row.external_ids.get("name");
            let own = plain.map_or_else(|| identity(row).to_string(), |name| name.to_string());
            own == name || row.external_ids.get("name2").is_some_and(|it| **it == *name)
        };
        if let Some(row) = self.network.datapaths().find(|row| called(row)) {
            return Some(row.key);
        }
        let starts = |uuid: Uuid| starts(uuid, name, 4);
        let mut found =
            self.network.datapaths().filter(|row| starts(row.uuid) || starts(identity(row)));
        let first = found.next()?;
        found.next().is_none().then_some(first.key)
    }

    /// The port that somebody means: by name, by its name in the Northbound DB, or by the start of
    /// a UUID.
    pub fn find_port(&self, name: &str) -> Option<&'a PortBinding> {
        if let Some(port) = self.network.port(name) {
            return Some(port);
        }
        let named = |port: &&PortBinding| port.external_id("name").is_some_and(|it| **it == *name);
        let by_uuid = |port: &&PortBinding| {
            starts(port.uuid(), name, 4)
                || port.logical_port.parse().is_ok_and(|uuid: Uuid| starts(uuid, name, 4))
        };
        let mut found = self.network.ports().filter(|port| named(port) || by_uuid(port));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }
}

struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self.0).unwrap_or_default())
    }
}

/// Where a string that has begun ends.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Whether a UUID starts with a text of at least `least` digits.
fn starts(uuid: Uuid, text: &str, least: usize) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let text: Cow<'_, str> = if text.bytes().any(|b| b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    };
    digits >= least && uuid.to_string().starts_with(&*text)
}

/// The UUID of a datapath in the Northbound DB.
fn identity(row: &DatapathBinding) -> Uuid {
    ["logical-switch", "logical-router"]
        .iter()
        .find_map(|kind| row.external_ids.get(*kind)?.parse().ok())
        .unwrap_or(row.uuid)
}

/// A name without all but the first six digits of the UUID that it ends in.
fn shorten(name: &str) -> &str {
    let Some(start) = name.len().checked_sub(36) else { return name };
    match name.get(start..) {
        Some(end) if end.parse::<Uuid>().is_ok() => &name[..start + 6],
        _ => name,
    }
}
