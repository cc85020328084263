//! The shape of a table's rows: its monitored columns, their types and defaults.

use std::sync::Arc;

use crate::schema::{ColumnType, TableSchema};
use crate::value::Datum;

/// The name of a table and the columns of it that are monitored.
#[derive(PartialEq, Eq, Debug)]
pub struct Shape {
    table: Arc<str>,
    columns: Box<[Column]>,
}

/// One column of a shape.
#[derive(PartialEq, Eq, Debug)]
pub struct Column {
    /// The column's name.
    pub name: Arc<str>,
    /// The column's type.
    pub kind: ColumnType,
    /// Of a map the keys that are kept; none for all.
    pub keys: Option<Box<[Arc<str>]>>,
    /// What the column holds if an insertion leaves it out.
    pub default: Datum,
}

impl Shape {
    /// The given columns of a table.
    pub fn new(
        table: impl Into<Arc<str>>,
        columns: impl IntoIterator<Item = (Arc<str>, ColumnType)>,
    ) -> Self {
        let mut columns: Vec<Column> = columns
            .into_iter()
            .map(|(name, kind)| Column { name, default: kind.default_datum(), keys: None, kind })
            .collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        columns.dedup_by(|a, b| a.name == b.name);
        Self { table: table.into(), columns: columns.into() }
    }

    /// Of the `wanted` columns those that the table has; all of them if `wanted` is none. A column
    /// written `COLUMN:KEY` is a map of which only that key, and others asked for so, are kept.
    pub fn of(table: &Arc<str>, schema: &TableSchema, wanted: Option<&[Arc<str>]>) -> Self {
        let asked = |name: &str, wanted: &str| {
            wanted == name || wanted.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        };
        let has =
            |name: &Arc<str>| wanted.is_none_or(|wanted| wanted.iter().any(|it| asked(name, it)));
        let columns = schema.columns.iter().filter(|(name, _)| has(name));
        let columns = columns.map(|(name, kind)| (name.clone(), kind.clone()));
        let mut shape = Self::new(table.clone(), columns);
        for column in &mut shape.columns {
            let all: Vec<&str> = wanted
                .unwrap_or_default()
                .iter()
                .map(|it| &**it)
                .filter(|it| asked(&column.name, it))
                .collect();
            let keys: Vec<Arc<str>> =
                all.iter().filter_map(|it| it.split_once(':')).map(|it| it.1.into()).collect();
            if !keys.is_empty() && keys.len() == all.len() && column.kind.value.is_some() {
                column.keys = Some(keys.into());
            }
        }
        shape
    }

    /// The table's name.
    pub fn table(&self) -> &Arc<str> {
        &self.table
    }

    /// The columns, in ascending order of names.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where the column is, if the shape has it.
    pub fn index(&self, column: &str) -> Option<usize> {
        // Few, and seldom of one length: quicker than to search, which looks at the letters of each.
        self.columns.iter().position(|known| *known.name == *column)
    }
}
