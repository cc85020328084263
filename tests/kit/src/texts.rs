//! The words of a Southbound database: every distinct match and actions of its logical flows, and
//! what is in the sets that they name. Values that northd or the server throws dice for have always
//! the same: a UUID is `UUID`, a router's tunnel key in the name of a set is its name, and a router has
//! one gateway port.

use crate::central::Central;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The texts.
#[derive(Clone, Default, Debug)]
pub struct Texts {
    /// `Logical_Flow.match`.
    pub matches: BTreeSet<String>,
    /// `Logical_Flow.actions`.
    pub actions: BTreeSet<String>,
    /// What is in sets: addresses by `$name`, ports by `@name`, of whatever datapath.
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

/// What stands for any UUID.
const UUID: &str = "00000000-0000-4000-8000-000000000000";

impl Texts {
    /// Adds those of a central.
    ///
    /// # Errors
    /// If `ovn-sbctl` fails or prints something else.
    pub fn read(&mut self, central: &Central) -> Result<()> {
        let mut names: Vec<[String; 2]> = Vec::new();
        for [key, ids] in rows(central, "Datapath_Binding", ["tunnel_key", "external_ids"])? {
            let pairs = ids[1].as_array().context("a map")?;
            if let Some(name) = pairs.iter().find(|pair| pair[0] == "name") {
                names.push([format!("_rtr_lb_{key}_"), format!("_rtr_lb_{}_", string(&name[1])?)]);
            }
        }
        let usual = |text: &str| {
            let named =
                names.iter().fold(text.to_owned(), |text, [key, name]| text.replace(key, name));
            // Which of two gateway ports NAT and load balancers are of hangs on their UUIDs.
            without_uuids(&named).replace("r0-two", "r0-pub")
        };
        for [text, actions] in rows(central, "Logical_Flow", ["match", "actions"])? {
            self.matches.insert(usual(&string(&text)?));
            self.actions.insert(usual(&string(&actions)?));
        }
        for [name, addresses] in rows(central, "Address_Set", ["name", "addresses"])? {
            let set = self.sets.entry(format!("${}", usual(&string(&name)?))).or_default();
            set.extend(strings(&addresses)?);
        }
        for [name, ports] in rows(central, "Port_Group", ["name", "ports"])? {
            let name = string(&name)?;
            // The datapath's key stands before it.
            let name = name.split_once('_').context("a port group without a datapath")?.1;
            self.sets.entry(format!("@{name}")).or_default().extend(strings(&ports)?);
        }
        Ok(())
    }
}

/// Two columns of all rows of a table.
fn rows(central: &Central, table: &str, columns: [&str; 2]) -> Result<Vec<[Value; 2]>> {
    let columns = format!("--columns={}", columns.join(","));
    let text = central.sbctl(&["--format=json", &columns, "list", table])?;
    let mut table: Value = serde_json::from_str(&text)?;
    let rows = table["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
    rows.into_iter().map(|row| serde_json::from_value(row).context("two columns")).collect()
}

/// A text with [`UUID`] in place of each UUID.
fn without_uuids(text: &str) -> String {
    let is_uuid = |part: &[u8]| {
        part.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let mut rest = text;
    let mut usual = String::new();
    while let Some(at) = rest.as_bytes().windows(UUID.len()).position(is_uuid) {
        usual += &rest[..at];
        usual += UUID;
        rest = &rest[at + UUID.len()..];
    }
    usual + rest
}

fn string(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a string")?.to_owned())
}

/// A set of strings, which OVSDB writes as the string alone if it is one.
fn strings(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(one) => Ok(vec![one.clone()]),
        many => many[1].as_array().context("a set")?.iter().map(string).collect(),
    }
}
