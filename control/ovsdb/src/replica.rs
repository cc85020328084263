//! A copy of the monitored part of a database.
//!
//! Rows are immutable and shared; an update replaces them. What [`Replica::apply`] returns is what
//! really changed: a full download after a reconnection yields only the differences to what was
//! known before, so nobody downstream needs to know that there was one.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::monitor::{RowChange, RowUpdate, Shapes};
use crate::row::Row;
use crate::rows::{Identified, Rows};
use crate::shape::Shape;
use crate::value::Datum;

/// The rows of all monitored tables.
#[derive(Debug, Default)]
pub struct Replica {
    tables: BTreeMap<Arc<str>, Rows<Row>>,
}

/// One row that changed: inserted if there is no old, deleted if there is no new.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The row's table.
    pub table: Arc<str>,
    /// The row.
    pub row: Uuid,
    /// The row before.
    pub old: Option<Row>,
    /// The row after.
    pub new: Option<Row>,
}

/// The server speaks of a row that we do not have: the replica cannot be trusted any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server modifies row {row} of table {table}, which it never sent")]
pub struct UnknownRow {
    /// The table.
    pub table: Arc<str>,
    /// The row.
    pub row: Uuid,
}

impl Replica {
    /// The rows of a table; none for a table that is not monitored.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables.get(table).into_iter().flat_map(|rows| rows.iter()).map(|row| (row.id(), row))
    }

    /// One row.
    pub fn row(&self, table: &str, row: Uuid) -> Option<&Row> {
        self.tables.get(table)?.get(&row)
    }

    /// The number of rows in a table.
    pub fn len(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, Rows::len)
    }

    /// True if there is no row in any table.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Rows::is_empty)
    }

    /// The names of the tables that have, or had, rows.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tables.keys()
    }

    /// Applies an update: the whole of it, also if the server spoke of an unknown row.
    pub fn apply(&mut self, updates: Vec<RowUpdate>) -> (Vec<Change>, Option<UnknownRow>) {
        let mut changes = Vec::with_capacity(updates.len());
        let mut unknown = None;
        make_room(&mut self.tables, &updates);
        for RowUpdate { shape, row, change } in updates {
            let rows = table(&mut self.tables, shape.table());
            // A row of another shape, which only a server that breaks the protocol can bring about,
            // cannot be built upon.
            let old = rows.get(&row).filter(|old| fits(old, &shape, &change));
            let new = match (change, old) {
                (RowChange::Insert(row), _) => Some(row),
                (RowChange::Delete, _) => None,
                (RowChange::Replace(columns), Some(old)) => {
                    Some(modified(&shape, old, columns, |_, new| new))
                }
                (RowChange::Modify(columns), Some(old)) => {
                    Some(modified(&shape, old, columns, |old, new| old.apply_difference(&new)))
                }
                (RowChange::Replace(_) | RowChange::Modify(_), None) => {
                    unknown.get_or_insert(UnknownRow { table: shape.table().clone(), row });
                    continue;
                }
            };
            if old == new.as_ref() {
                continue;
            }
            let old = match &new {
                Some(new) => rows.insert(new.clone()),
                None => rows.remove(&row),
            };
            changes.push(Change { table: shape.table().clone(), row, old, new });
        }
        (changes, unknown)
    }

    /// Replaces everything by the rows of a full download.
    pub fn replace(&mut self, shapes: &Shapes, updates: Vec<RowUpdate>) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.tables);
        for shape in shapes.iter() {
            table(&mut self.tables, shape.table());
        }
        let mut changes = Vec::new();
        make_room(&mut self.tables, &updates);
        for RowUpdate { shape, row, change } in updates {
            let RowChange::Insert(new) = change else { continue };
            let old = before.get_mut(shape.table()).and_then(|rows| rows.remove(&row));
            let rows = table(&mut self.tables, shape.table());
            match old {
                // Kept: whoever holds the row already shares its memory.
                Some(old) if old == new && Arc::ptr_eq(old.shape(), new.shape()) => {
                    rows.insert(old);
                }
                old => {
                    rows.insert(new.clone());
                    if old.as_ref() != Some(&new) {
                        let table = shape.table().clone();
                        changes.push(Change { table, row, old, new: Some(new) });
                    }
                }
            }
        }
        for (table, rows) in before {
            changes.extend(rows.into_iter().map(|old| Change {
                table: table.clone(),
                row: old.id(),
                old: Some(old),
                new: None,
            }));
        }
        changes
    }
}

fn table<'a>(tables: &'a mut BTreeMap<Arc<str>, Rows<Row>>, name: &Arc<str>) -> &'a mut Rows<Row> {
    if !tables.contains_key(name) {
        tables.insert(name.clone(), Rows::default());
    }
    tables.entry(name.clone()).or_default()
}

/// Makes room for the rows that come, so that a table of a million grows once.
fn make_room(tables: &mut BTreeMap<Arc<str>, Rows<Row>>, updates: &[RowUpdate]) {
    for some in updates.chunk_by(|a, b| Arc::ptr_eq(&a.shape, &b.shape)) {
        let new = some.iter().filter(|it| matches!(it.change, RowChange::Insert(_))).count();
        if let Some(first) = some.first().filter(|_| new > 0) {
            table(tables, first.shape.table()).reserve(new);
        }
    }
}

fn fits(old: &Row, shape: &Shape, change: &RowChange) -> bool {
    match change {
        RowChange::Insert(_) | RowChange::Delete => true,
        RowChange::Replace(_) | RowChange::Modify(_) => {
            old.shape().columns().len() == shape.columns().len()
        }
    }
}

fn modified(
    shape: &Arc<Shape>,
    old: &Row,
    columns: Vec<(usize, Datum)>,
    difference: impl Fn(&Datum, Datum) -> Datum,
) -> Row {
    let columns = columns.into_iter().map(|(index, datum)| {
        let by_difference = shape.columns()[index].kind.changes_by_difference();
        (index, if by_difference { difference(&old.value(index), datum) } else { datum })
    });
    old.with(shape, columns)
}
