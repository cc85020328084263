//! Rows, and how to read them.
//!
//! A [`Row`] is the monitored columns of one row of one table: the names and types live once, in
//! the table's [`Shape`], and the row holds only the values. Readers name the column and say what
//! they expect of it; an answer of another kind is an error that names table, column, what was
//! expected and what is there. A column that the server's schema does not have reads as empty
//! through the accessors that can say "nothing", and as an error through the others.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::schema::{ColumnType, TableSchema};
use crate::value::{Atom, AtomType, Datum};

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
        self.columns.binary_search_by(|known| (*known.name).cmp(column)).ok()
    }

    /// A row in which every column has its default value.
    pub fn default_values(&self) -> Box<[Datum]> {
        self.columns.iter().map(|column| column.default.clone()).collect()
    }
}

/// A row: the values of the columns that are monitored.
#[derive(Clone)]
pub struct Row {
    shape: Arc<Shape>,
    values: Box<[Datum]>,
}

/// What is wrong with a row, from the reader's view.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RowError {
    /// The column is not there: the server's schema is older, or it was not asked for.
    #[error(
        "table {table} has no column {column} here: the server's schema does not have it, or it \
         is not monitored"
    )]
    NoColumn {
        /// The table.
        table: Arc<str>,
        /// The column.
        column: String,
    },
    /// The column holds something else.
    #[error("table {table}, column {column}: expected {expected}, found {found}")]
    Mismatch {
        /// The table.
        table: Arc<str>,
        /// The column.
        column: String,
        /// What the reader asked for.
        expected: &'static str,
        /// What is there.
        found: Datum,
    },
}

impl Row {
    /// A row of that shape; the values are in the order of the shape's columns.
    ///
    /// # Panics
    /// If there are not as many values as columns.
    pub fn new(shape: Arc<Shape>, values: Box<[Datum]>) -> Self {
        assert_eq!(shape.columns.len(), values.len(), "one value for each column");
        Self { shape, values }
    }

    /// A row made by hand, for tests and for rows that no server sent: the columns have the types
    /// of their values.
    pub fn made<N: AsRef<str>>(table: &str, columns: impl IntoIterator<Item = (N, Datum)>) -> Self {
        let mut columns: Vec<(Arc<str>, Datum)> =
            columns.into_iter().map(|(name, datum)| (Arc::from(name.as_ref()), datum)).collect();
        columns.sort_by(|a, b| a.0.cmp(&b.0));
        columns.dedup_by(|a, b| a.0 == b.0);
        let kind = |datum: &Datum| {
            let pair = datum.pairs().first();
            let first = datum.atoms().first().or(pair.map(|(key, _)| key));
            ColumnType {
                key: first.map_or(AtomType::String, Atom::kind),
                value: match datum {
                    Datum::Map(_) => Some(pair.map_or(AtomType::String, |(_, v)| v.kind())),
                    _ => None,
                },
                min: 0,
                max: usize::MAX,
            }
        };
        let shape = Shape::new(table, columns.iter().map(|(name, d)| (name.clone(), kind(d))));
        Self::new(Arc::new(shape), columns.into_iter().map(|(_, datum)| datum).collect())
    }

    /// The row's shape.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// The name of the row's table.
    pub fn table(&self) -> &Arc<str> {
        &self.shape.table
    }

    /// The values, in the order of the shape's columns.
    pub fn values(&self) -> &[Datum] {
        &self.values
    }

    /// Names and values of all columns, in ascending order of names.
    pub fn columns(&self) -> impl Iterator<Item = (&Arc<str>, &Datum)> {
        self.shape.columns.iter().map(|column| &column.name).zip(&self.values)
    }

    /// True if the row has that column.
    pub fn has(&self, column: &str) -> bool {
        self.shape.index(column).is_some()
    }

    /// The value of a column, or none if there is no such column.
    pub fn get(&self, column: &str) -> Option<&Datum> {
        self.shape.index(column).map(|index| &self.values[index])
    }

    /// The string of a scalar column.
    pub fn string(&self, column: &str) -> Result<&Arc<str>, RowError> {
        match self.present(column)? {
            Datum::One(Atom::String(text)) => Ok(text),
            found => Err(self.mismatch(column, "one string", found)),
        }
    }

    /// The integer of a scalar column.
    pub fn integer(&self, column: &str) -> Result<i64, RowError> {
        match self.present(column)? {
            Datum::One(Atom::Integer(number)) => Ok(*number),
            found => Err(self.mismatch(column, "one integer", found)),
        }
    }

    /// The truth value of a scalar column.
    pub fn boolean(&self, column: &str) -> Result<bool, RowError> {
        match self.present(column)? {
            Datum::One(Atom::Boolean(truth)) => Ok(*truth),
            found => Err(self.mismatch(column, "one boolean", found)),
        }
    }

    /// The UUID of a scalar column.
    pub fn uuid(&self, column: &str) -> Result<Uuid, RowError> {
        match self.present(column)? {
            Datum::One(Atom::Uuid(uuid)) => Ok(*uuid),
            found => Err(self.mismatch(column, "one UUID", found)),
        }
    }

    /// The string of an optional column; none also if the column does not exist.
    pub fn optional_string(&self, column: &str) -> Result<Option<&Arc<str>>, RowError> {
        match self.optional(column, "a string or nothing")? {
            None => Ok(None),
            Some(Atom::String(text)) => Ok(Some(text)),
            Some(atom) => Err(self.mismatch(column, "a string or nothing", &atom.clone().into())),
        }
    }

    /// The integer of an optional column; none also if the column does not exist.
    pub fn optional_integer(&self, column: &str) -> Result<Option<i64>, RowError> {
        match self.optional(column, "an integer or nothing")? {
            None => Ok(None),
            Some(Atom::Integer(number)) => Ok(Some(*number)),
            Some(atom) => Err(self.mismatch(column, "an integer or nothing", &atom.clone().into())),
        }
    }

    /// The truth value of an optional column; none also if the column does not exist.
    pub fn optional_boolean(&self, column: &str) -> Result<Option<bool>, RowError> {
        match self.optional(column, "a boolean or nothing")? {
            None => Ok(None),
            Some(Atom::Boolean(truth)) => Ok(Some(*truth)),
            Some(atom) => Err(self.mismatch(column, "a boolean or nothing", &atom.clone().into())),
        }
    }

    /// The UUID of an optional column; none also if the column does not exist.
    pub fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, RowError> {
        match self.optional(column, "a UUID or nothing")? {
            None => Ok(None),
            Some(Atom::Uuid(uuid)) => Ok(Some(*uuid)),
            Some(atom) => Err(self.mismatch(column, "a UUID or nothing", &atom.clone().into())),
        }
    }

    /// The strings of a set column, in ascending order; empty also if the column does not exist.
    pub fn strings(&self, column: &str) -> Result<impl Iterator<Item = &Arc<str>>, RowError> {
        let atoms = self.set(column, "a set of strings", |kind| kind == AtomType::String)?;
        Ok(atoms.iter().filter_map(|atom| match atom {
            Atom::String(text) => Some(text),
            _ => None,
        }))
    }

    /// The UUIDs of a set column, in ascending order; empty also if the column does not exist.
    pub fn uuids(&self, column: &str) -> Result<impl Iterator<Item = Uuid>, RowError> {
        let atoms = self.set(column, "a set of UUIDs", |kind| kind == AtomType::Uuid)?;
        Ok(atoms.iter().filter_map(Atom::as_uuid))
    }

    /// The integers of a set column, in ascending order; empty also if the column does not exist.
    pub fn integers(&self, column: &str) -> Result<impl Iterator<Item = i64>, RowError> {
        let atoms = self.set(column, "a set of integers", |kind| kind == AtomType::Integer)?;
        Ok(atoms.iter().filter_map(Atom::as_integer))
    }

    /// A column that maps strings to strings, such as `external_ids`; empty also if the column
    /// does not exist.
    pub fn map(&self, column: &str) -> Result<StringMap<'_>, RowError> {
        const EXPECTED: &str = "a map of strings to strings";
        let pairs = match self.get(column) {
            None => &[],
            Some(Datum::Map(pairs)) => &**pairs,
            Some(found) => return Err(self.mismatch(column, EXPECTED, found)),
        };
        let strings = |(key, value): &(Atom, Atom)| {
            matches!((key, value), (Atom::String(_), Atom::String(_)))
        };
        match pairs.iter().all(strings) {
            true => Ok(StringMap { pairs }),
            false => Err(self.mismatch(column, EXPECTED, &Datum::Map(pairs.into()))),
        }
    }

    fn present(&self, column: &str) -> Result<&Datum, RowError> {
        self.get(column).ok_or_else(|| RowError::NoColumn {
            table: self.shape.table.clone(),
            column: column.to_owned(),
        })
    }

    fn optional(&self, column: &str, expected: &'static str) -> Result<Option<&Atom>, RowError> {
        match self.get(column) {
            None => Ok(None),
            Some(Datum::One(atom)) => Ok(Some(atom)),
            Some(Datum::Set(atoms)) if atoms.is_empty() => Ok(None),
            Some(found) => Err(self.mismatch(column, expected, found)),
        }
    }

    fn set(
        &self,
        column: &str,
        expected: &'static str,
        is_kind: fn(AtomType) -> bool,
    ) -> Result<&[Atom], RowError> {
        let Some(datum) = self.get(column) else { return Ok(&[]) };
        let is_set = !matches!(datum, Datum::Map(_));
        if is_set && datum.atoms().iter().all(|atom| is_kind(atom.kind())) {
            return Ok(datum.atoms());
        }
        Err(self.mismatch(column, expected, datum))
    }

    fn mismatch(&self, column: &str, expected: &'static str, found: &Datum) -> RowError {
        RowError::Mismatch {
            table: self.shape.table.clone(),
            column: column.to_owned(),
            expected,
            found: found.clone(),
        }
    }
}

impl PartialEq for Row {
    /// Two rows are equal if they have the same columns with the same values.
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
            && (Arc::ptr_eq(&self.shape, &other.shape)
                || self.columns().map(|(name, _)| name).eq(other.columns().map(|(name, _)| name)))
    }
}

impl Eq for Row {}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.shape.table)?;
        let columns = self.columns().map(|(name, datum)| (&**name, datum.to_string()));
        f.debug_map().entries(columns).finish()
    }
}

/// A map of strings to strings, as read from a row.
#[derive(Clone, Copy, Debug)]
pub struct StringMap<'a> {
    pairs: &'a [(Atom, Atom)],
}

impl<'a> StringMap<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Arc<str>> {
        let at = self.pairs.binary_search_by(|(known, _)| known.as_str().cmp(&Some(key))).ok()?;
        match &self.pairs[at].1 {
            Atom::String(text) => Some(text),
            _ => None,
        }
    }

    /// All pairs, in ascending order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> + use<'a> {
        self.pairs.iter().filter_map(|pair| match pair {
            (Atom::String(key), Atom::String(value)) => Some((key, value)),
            _ => None,
        })
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True if there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::made(
            "Chassis",
            [
                ("name", Datum::from("hv1")),
                ("nb_cfg", Datum::from(7)),
                ("tag", Datum::empty()),
                ("external_ids", Datum::map([("b", "2"), ("a", "1")])),
            ],
        )
    }

    #[test]
    fn a_column_of_another_kind_is_an_error_that_names_everything() {
        let error = row().integer("name").expect_err("name is a string");
        assert_eq!(
            error.to_string(),
            "table Chassis, column name: expected one integer, found \"hv1\""
        );
    }

    #[test]
    fn a_column_that_the_schema_does_not_have_is_empty_or_an_error() {
        let row = row();
        assert_eq!(row.optional_uuid("additional_chassis"), Ok(None));
        assert_eq!(row.uuids("additional_chassis").map(Iterator::count), Ok(0));
        assert!(row.map("other_config").expect("empty").is_empty());
        assert!(matches!(row.string("hostname"), Err(RowError::NoColumn { .. })));
    }

    #[test]
    fn maps_are_read_by_key() {
        let row = row();
        let ids = row.map("external_ids").expect("a map of strings");
        assert_eq!(ids.get("b").map(|text| &**text), Some("2"));
        assert_eq!(ids.get("c"), None);
        assert_eq!(ids.iter().count(), 2);
    }

    #[test]
    fn an_empty_optional_column_is_nothing() {
        assert_eq!(row().optional_integer("tag"), Ok(None));
    }
}
