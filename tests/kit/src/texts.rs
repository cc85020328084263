//! The words of a Southbound database: every distinct match and actions of its logical flows, and
//! what is in the sets that they name.

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

impl Texts {
    /// Adds those of a central.
    ///
    /// # Errors
    /// If `ovn-sbctl` fails or prints something else.
    pub fn read(&mut self, central: &Central) -> Result<()> {
        for [text, actions] in rows(central, "Logical_Flow", ["match", "actions"])? {
            self.matches.insert(string(&text)?);
            self.actions.insert(string(&actions)?);
        }
        for [name, addresses] in rows(central, "Address_Set", ["name", "addresses"])? {
            let set = self.sets.entry(format!("${}", string(&name)?)).or_default();
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
