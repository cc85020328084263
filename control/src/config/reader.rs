//! Walking a TOML table and collecting every fault on the way.
//!
//! A key that nobody asked for is a fault too, with the nearest key that somebody did ask for.

use super::Fault;
use std::net::IpAddr;

/// What [`boolean`] accepts, for people.
pub const BOOLEAN: &str = "true or false";

/// A table being read.
pub struct Reader<'a> {
    table: Option<&'a toml::Table>,
    /// How the table is called in messages, with its dot: `datapath.`, or nothing for the file.
    prefix: String,
    asked: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Starts reading `table`.
    pub fn new(table: &'a toml::Table, prefix: &str) -> Self {
        Self {
            table: Some(table),
            prefix: prefix.to_owned(),
            asked: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The value of a key that may be absent. `check` answers `None` for a value that is wrong.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: impl FnOnce(&toml::Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let value = self.table?.get(key)?;
        let checked = check(value);
        if checked.is_none() {
            self.fault(key, &value.to_string(), allowed);
        }
        checked
    }

    /// The value of a key that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: impl FnOnce(&toml::Value) -> Option<T>,
    ) -> Option<T> {
        if self.table.is_some_and(|table| !table.contains_key(key)) {
            self.asked.push(key);
            self.faults
                .push(Fault(format!("{}{key}: missing; it must be given: {allowed}", self.prefix)));
            return None;
        }
        self.optional(key, allowed, check)
    }

    /// Notes that `found` is no good value of `key`.
    pub fn fault(&mut self, key: &str, found: &str, allowed: &str) {
        let found = found.replace('\n', " ");
        self.faults.push(Fault(format!("{}{key}: found {found}; allowed: {allowed}", self.prefix)));
    }

    /// The section `[key]`; empty if there is none.
    pub fn section(&mut self, key: &'static str) -> Reader<'a> {
        self.asked.push(key);
        let value = self.table.and_then(|table| table.get(key));
        let table = value.and_then(toml::Value::as_table);
        if let (Some(value), None) = (value, table) {
            self.fault(key, &value.to_string(), &format!("a section [{key}]"));
        }
        let prefix = format!("{}{key}.", self.prefix);
        Reader { table, prefix, asked: Vec::new(), faults: Vec::new() }
    }

    /// The sections `[[key]]`.
    pub fn list(&mut self, key: &'static str) -> Vec<Reader<'a>> {
        self.asked.push(key);
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let tables: Option<Vec<&toml::Table>> =
            value.as_array().and_then(|list| list.iter().map(toml::Value::as_table).collect());
        let Some(tables) = tables else {
            self.fault(key, &value.to_string(), &format!("sections [[{key}]]"));
            return Vec::new();
        };
        tables
            .into_iter()
            .enumerate()
            .map(|(i, table)| Reader::new(table, &format!("{}{key}[{i}].", self.prefix)))
            .collect()
    }

    /// Ends a section: its faults become ours.
    pub fn absorb(&mut self, section: Reader<'_>) {
        self.faults.extend(section.finish());
    }

    /// Ends reading; keys that nobody asked for are faults.
    pub fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<String> = self
            .table
            .into_iter()
            .flat_map(toml::Table::keys)
            .filter(|key| !self.asked.contains(&key.as_str()))
            .cloned()
            .collect();
        for key in unknown {
            let nearest = self.asked.iter().min_by_key(|known| distance(known, &key)).copied();
            let hint = match nearest {
                Some(near) if distance(near, &key) <= 1 + key.len() / 3 => {
                    format!("did you mean {near}?")
                }
                _ => format!("allowed here: {}", self.asked.join(", ")),
            };
            self.faults.push(Fault(format!("{}{key}: no such key; {hint}", self.prefix)));
        }
        self.faults
    }
}

/// Text.
pub fn text(value: &toml::Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// `true` and `false`, also as text, as OVN's keys are.
pub fn boolean(value: &toml::Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// A whole number from `low` to `high`, also as text.
pub fn integer<T: TryFrom<i64>>(value: &toml::Value, low: i64, high: i64) -> Option<T> {
    let number =
        value.as_integer().or_else(|| value.as_str().and_then(|text| text.parse().ok()))?;
    if (low..=high).contains(&number) { T::try_from(number).ok() } else { None }
}

/// An IPv4 or IPv6 address.
pub fn address(value: &toml::Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// Edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
