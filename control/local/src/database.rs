//! The local rows, and which of them others refer to.

use super::schema::{Reference, TABLES};
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::value::Atom;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The rows of a table.
pub type Rows = HashMap<Uuid, Row>;

/// All local rows.
#[derive(Debug, Default)]
pub struct Database {
    tables: BTreeMap<Arc<str>, Rows>,
    /// How many strong references there are to a row.
    referrers: HashMap<Uuid, usize>,
    /// The rows that refer to a row weakly.
    weak_referrers: HashMap<Uuid, HashSet<Uuid>>,
    /// Who has what must be a row's alone.
    holders: HashMap<Identity, Uuid>,
}

/// A name or key that only one row may have, the Southbound's rows counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// `Datapath_Binding.tunnel_key`.
    Datapath(i64),
    /// `Port_Binding.logical_port`.
    Port(Arc<str>),
    /// `tunnel_key` of a port or multicast group in a datapath.
    Key(Uuid, i64),
    /// `Multicast_Group.name` in a datapath.
    Multicast(Uuid, Arc<str>),
    /// `Address_Set.name`.
    AddressSet(Arc<str>),
    /// `Port_Group.name`.
    PortGroup(Arc<str>),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Datapath(key) => write!(f, "tunnel_key {key}"),
            Self::Port(name) => write!(f, "logical_port {name}"),
            Self::Key(_, key) => write!(f, "tunnel_key {key} of its datapath"),
            Self::Multicast(_, name) => write!(f, "name {name} in its datapath"),
            Self::AddressSet(name) | Self::PortGroup(name) => write!(f, "name {name}"),
        }
    }
}

impl Database {
    /// Takes a set of changes that was checked as a whole.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            for identity in change.old.iter().flat_map(identities) {
                if self.holders.get(&identity) == Some(&change.row) {
                    self.holders.remove(&identity);
                }
            }
            for (target, row) in change.old.iter().flat_map(references) {
                if target.weak {
                    let Entry::Occupied(mut rows) = self.weak_referrers.entry(row) else {
                        continue;
                    };
                    rows.get_mut().remove(&change.row);
                    if rows.get().is_empty() {
                        rows.remove();
                    }
                } else if let Some(count) = self.referrers.get_mut(&row) {
                    *count -= 1;
                    if *count == 0 {
                        self.referrers.remove(&row);
                    }
                }
            }
            for (target, row) in change.new.iter().flat_map(references) {
                match target.weak {
                    true => drop(self.weak_referrers.entry(row).or_default().insert(change.row)),
                    false => *self.referrers.entry(row).or_default() += 1,
                }
            }
            for identity in change.new.iter().flat_map(identities) {
                self.holders.insert(identity, change.row);
            }
            let rows = match self.tables.get_mut(&change.table) {
                Some(rows) => rows,
                None => self.tables.entry(change.table.clone()).or_default(),
            };
            match &change.new {
                Some(new) => rows.insert(change.row, new.clone()),
                None => rows.remove(&change.row),
            };
        }
    }

    /// The rows of a table.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables.get(table).into_iter().flatten().map(|(uuid, row)| (*uuid, row))
    }

    /// One row.
    pub fn row(&self, table: &str, row: Uuid) -> Option<&Row> {
        self.tables.get(table)?.get(&row)
    }

    /// The table of a row.
    pub fn table_of(&self, row: Uuid) -> Option<&Arc<str>> {
        self.tables.iter().find(|(_, rows)| rows.contains_key(&row)).map(|(table, _)| table)
    }

    /// The number of rows in a table.
    pub fn len(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, Rows::len)
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Rows::is_empty)
    }

    /// How many strong references of local rows lead to a row.
    pub fn referrers(&self, row: Uuid) -> usize {
        self.referrers.get(&row).copied().unwrap_or(0)
    }

    /// The local rows that refer to a row weakly.
    pub fn weak_referrers(&self, row: Uuid) -> impl Iterator<Item = Uuid> {
        self.weak_referrers.get(&row).into_iter().flatten().copied()
    }

    /// The local row that has a name or key.
    pub fn holder(&self, identity: &Identity) -> Option<Uuid> {
        self.holders.get(identity).copied()
    }

    /// All rows, with their tables.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, Uuid, &Row)> {
        self.tables
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(move |(uuid, row)| (table, *uuid, row)))
    }

    /// Everything, as the insertion of each row: what a start from nothing is told.
    pub fn insertions(&self) -> Vec<Change> {
        let insertion = |(table, row, new): (&Arc<str>, Uuid, &Row)| Change {
            table: table.clone(),
            row,
            old: None,
            new: Some(new.clone()),
        };
        self.all().map(insertion).collect()
    }
}

/// What a row has that must be its alone; also of a row of the Southbound DB.
pub fn identities(row: &Row) -> Vec<Identity> {
    let text = |column| row.string(column).ok().map(Arc::from);
    let key = || row.integer("tunnel_key").ok();
    let home = || row.uuid("datapath").ok();
    let found = match &**row.table() {
        "Datapath_Binding" => [key().map(Identity::Datapath), None],
        "Port_Binding" => [
            text("logical_port").map(Identity::Port),
            home().zip(key()).map(|(home, key)| Identity::Key(home, key)),
        ],
        "Multicast_Group" => [
            home().zip(text("name")).map(|(home, name)| Identity::Multicast(home, name)),
            home().zip(key()).map(|(home, key)| Identity::Key(home, key)),
        ],
        "Address_Set" => [text("name").map(Identity::AddressSet), None],
        "Port_Group" => [text("name").map(Identity::PortGroup), None],
        _ => return Vec::new(),
    };
    found.into_iter().flatten().collect()
}

/// The rows that a row refers to, and how.
pub fn references(row: &Row) -> impl Iterator<Item = (&'static Reference, Uuid)> {
    let table = TABLES.get(row.table());
    table.into_iter().flat_map(|table| &table.references).flat_map(|(column, target)| {
        let atoms = row.atoms(*column).iter();
        atoms.filter_map(Atom::as_uuid).map(move |row| (target, row))
    })
}

/// The same changes backwards.
pub fn inverse(changes: &[Change]) -> Vec<Change> {
    let back = |change: &Change| Change {
        table: change.table.clone(),
        row: change.row,
        old: change.new.clone(),
        new: change.old.clone(),
    };
    changes.iter().rev().map(back).collect()
}
