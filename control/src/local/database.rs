//! The local rows, and which of them others refer to.

use super::schema::TABLES;
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::replica::Change;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// The rows of a table.
pub type Rows = HashMap<Uuid, Arc<Row>>;

/// All local rows.
#[derive(Debug, Default)]
pub struct Database {
    tables: BTreeMap<Arc<str>, Rows>,
    /// How many references there are to a row.
    referrers: HashMap<Uuid, usize>,
}

impl Database {
    /// Takes a set of changes that was checked as a whole.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            for target in change.old.iter().flat_map(|row| references(row)) {
                if let Some(count) = self.referrers.get_mut(&target.1) {
                    *count -= 1;
                    if *count == 0 {
                        self.referrers.remove(&target.1);
                    }
                }
            }
            for target in change.new.iter().flat_map(|row| references(row)) {
                *self.referrers.entry(target.1).or_default() += 1;
            }
            let rows = self.tables.entry(change.table.clone()).or_default();
            match &change.new {
                Some(new) => rows.insert(change.row, new.clone()),
                None => rows.remove(&change.row),
            };
        }
    }

    /// The rows of a table.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Arc<Row>)> {
        self.tables.get(table).into_iter().flatten().map(|(uuid, row)| (*uuid, row))
    }

    /// One row.
    pub fn row(&self, table: &str, row: Uuid) -> Option<&Arc<Row>> {
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

    /// How many references of local rows lead to a row.
    pub fn referrers(&self, row: Uuid) -> usize {
        self.referrers.get(&row).copied().unwrap_or(0)
    }

    /// Everything, as the insertion of each row: what a start from nothing is told.
    pub fn insertions(&self) -> Vec<Change> {
        let rows = self.tables.iter().flat_map(|(table, rows)| {
            rows.iter().map(|(uuid, row)| Change {
                table: table.clone(),
                row: *uuid,
                old: None,
                new: Some(row.clone()),
            })
        });
        rows.collect()
    }
}

/// The rows that a row refers to, with the table in which each must be.
pub fn references(row: &Row) -> impl Iterator<Item = (&'static Arc<str>, Uuid)> {
    let table = TABLES.get(row.table());
    let columns = table.into_iter().flat_map(|table| &table.references).zip(row.values());
    columns.filter_map(|(target, datum)| Some((target.as_ref()?, datum))).flat_map(
        |(target, datum)| {
            datum.atoms().iter().filter_map(move |atom| Some((target, atom.as_uuid()?)))
        },
    )
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
