//! Rows, and how to read them.
//!
//! A [`Row`] is the monitored columns of one row of one table, behind a pointer that is shared: the
//! names and types live once, in the table's [`Shape`], and the row holds only values that are not
//! the default ([`crate::packed`] says how). Readers name the column and say what
//! they expect of it; an answer of another kind is an error that names table, column, what was
//! expected and what is there. A column that the server's schema does not have reads as empty
//! through the accessors that can say "nothing", and as an error through the others.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::intern::Interner;
use crate::packed::{Cell, Common, Parts, cells, find};
use crate::rows::Identified;
use crate::schema::ColumnType;
use crate::shape::{Column, Shape};
use crate::value::{Atom, AtomType, Datum};
use triomphe::ThinArc;

/// A row: the values of the columns that are monitored.
#[derive(Clone)]
pub struct Row(ThinArc<Head, u8>);

/// What is before a row's own bytes.
struct Head {
    id: Uuid,
    common: Arc<Common>,
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
    /// A row of that shape; columns that are not given have their default value.
    pub fn new(
        id: Uuid,
        shape: &Arc<Shape>,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) -> Self {
        let mut parts = Parts::default();
        columns.into_iter().for_each(|(column, datum)| parts.datum(column, datum));
        Self::packed(id, shape, &mut parts, Arc::new)
    }

    /// A row of these parts, which shares what it can.
    pub(crate) fn of(
        id: Uuid,
        shape: &Arc<Shape>,
        parts: &mut Parts,
        known: &mut Interner,
    ) -> Self {
        Self::packed(id, shape, parts, |common| known.common(common))
    }

    /// A row of these parts, which are taken; it shares with a row of the same shape what is the same.
    pub fn of_parts(id: Uuid, shape: &Arc<Shape>, parts: &mut Parts, like: Option<&Self>) -> Self {
        let like = like.map(|row| &row.head().common);
        Self::packed(id, shape, parts, |common| match like {
            Some(known) if **known == common => known.clone(),
            _ => Arc::new(common),
        })
    }

    /// The same row with other values in some columns.
    pub fn with(
        &self,
        shape: &Arc<Shape>,
        columns: impl IntoIterator<Item = (usize, Datum)>,
    ) -> Self {
        let mut parts = Parts::default();
        self.put(&mut parts);
        columns.into_iter().for_each(|(column, datum)| parts.datum(column, datum));
        Self::of_parts(self.id(), shape, &mut parts, Some(self))
    }

    /// Puts the row's columns among parts: of those that come there later, these count.
    pub fn put(&self, parts: &mut Parts) {
        for (column, cell) in self.cells() {
            match cell {
                Cell::Text(text) => parts.text(column, text),
                other => parts.datum(column, other.datum()),
            }
        }
    }

    /// The columns that are not the default, by their index in the shape: each once, in one pass.
    pub fn cells(&self) -> impl Iterator<Item = (usize, Cell<'_>)> {
        let common = self.head().common.values.iter();
        cells(&self.0.slice).chain(common.map(|(column, datum)| (*column, Cell::of(datum))))
    }

    /// The same values as another row's.
    pub fn as_row(&self, id: Uuid) -> Self {
        let head = Head { id, common: self.head().common.clone() };
        Self(ThinArc::from_header_and_slice(head, &self.0.slice))
    }

    fn packed(
        id: Uuid,
        shape: &Arc<Shape>,
        parts: &mut Parts,
        share: impl FnOnce(Common) -> Arc<Common>,
    ) -> Self {
        let (common, own) = parts.pack(shape);
        Self(ThinArc::from_header_and_slice(Head { id, common: share(common) }, own))
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
                few: false,
            }
        };
        let shape = Shape::new(table, columns.iter().map(|(name, d)| (name.clone(), kind(d))));
        let values = columns.into_iter().map(|(_, datum)| datum);
        Self::new(Uuid::nil(), &Arc::new(shape), values.enumerate())
    }

    /// The row's shape.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.head().common.shape
    }

    /// The name of the row's table.
    pub fn table(&self) -> &Arc<str> {
        self.shape().table()
    }

    /// The values, in the order of the shape's columns.
    pub fn values(&self) -> Vec<Datum> {
        (0..self.shape().columns().len()).map(|at| self.cell(at).datum()).collect()
    }

    /// The value of a column, by its index in the shape.
    pub fn value(&self, column: usize) -> Cow<'_, Datum> {
        match self.cell(column) {
            Cell::Datum(datum) => Cow::Borrowed(datum),
            other => Cow::Owned(other.datum()),
        }
    }

    /// Names and values of all columns, in ascending order of names.
    pub fn columns(&self) -> impl Iterator<Item = (&Arc<str>, Datum)> {
        let columns = self.shape().columns().iter().enumerate();
        columns.map(|(at, column)| (&column.name, self.cell(at).datum()))
    }

    /// True if the row has that column.
    pub fn has(&self, column: &str) -> bool {
        self.shape().index(column).is_some()
    }

    /// The value of a column, or none if there is no such column.
    pub fn get(&self, column: &str) -> Option<Datum> {
        self.find(column).map(Cell::datum)
    }

    /// The elements of a column that holds no scalar string or integer, by its index in the shape;
    /// nothing of others, and of maps.
    pub fn atoms(&self, column: usize) -> &[Atom] {
        match self.cell(column) {
            Cell::Datum(datum) => datum.atoms(),
            Cell::Text(_) | Cell::Integer(_) => &[],
        }
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        if let Some(own) = find(&self.0.slice, column) {
            return own;
        }
        let common = &self.head().common;
        Cell::of(match common.values.binary_search_by_key(&column, |value| value.0) {
            Ok(at) => &common.values[at].1,
            Err(_) => &common.shape.columns()[column].default,
        })
    }

    fn find(&self, column: &str) -> Option<Cell<'_>> {
        self.shape().index(column).map(|index| self.cell(index))
    }

    /// The string of a scalar column.
    pub fn string(&self, column: &str) -> Result<&str, RowError> {
        match self.present(column)? {
            Cell::Text(text) => Ok(text),
            found => Err(self.mismatch(column, "one string", found)),
        }
    }

    /// The integer of a scalar column.
    pub fn integer(&self, column: &str) -> Result<i64, RowError> {
        match self.present(column)? {
            Cell::Integer(number) => Ok(number),
            found => Err(self.mismatch(column, "one integer", found)),
        }
    }

    /// The truth value of a scalar column.
    pub fn boolean(&self, column: &str) -> Result<bool, RowError> {
        match self.present(column)? {
            Cell::Datum(Datum::One(Atom::Boolean(truth))) => Ok(*truth),
            found => Err(self.mismatch(column, "one boolean", found)),
        }
    }

    /// The UUID of a scalar column.
    pub fn uuid(&self, column: &str) -> Result<Uuid, RowError> {
        match self.present(column)? {
            Cell::Datum(Datum::One(Atom::Uuid(uuid))) => Ok(*uuid),
            found => Err(self.mismatch(column, "one UUID", found)),
        }
    }

    /// The string of an optional column; none also if the column does not exist.
    pub fn optional_string(&self, column: &str) -> Result<Option<&str>, RowError> {
        match self.optional(column) {
            None => Ok(None),
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(found) => Err(self.mismatch(column, "a string or nothing", found)),
        }
    }

    /// The integer of an optional column; none also if the column does not exist.
    pub fn optional_integer(&self, column: &str) -> Result<Option<i64>, RowError> {
        match self.optional(column) {
            None => Ok(None),
            Some(Cell::Integer(number)) => Ok(Some(number)),
            Some(found) => Err(self.mismatch(column, "an integer or nothing", found)),
        }
    }

    /// The truth value of an optional column; none also if the column does not exist.
    pub fn optional_boolean(&self, column: &str) -> Result<Option<bool>, RowError> {
        match self.optional(column) {
            None => Ok(None),
            Some(Cell::Datum(Datum::One(Atom::Boolean(truth)))) => Ok(Some(*truth)),
            Some(found) => Err(self.mismatch(column, "a boolean or nothing", found)),
        }
    }

    /// The UUID of an optional column; none also if the column does not exist.
    pub fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, RowError> {
        match self.optional(column) {
            None => Ok(None),
            Some(Cell::Datum(Datum::One(Atom::Uuid(uuid)))) => Ok(Some(*uuid)),
            Some(found) => Err(self.mismatch(column, "a UUID or nothing", found)),
        }
    }

    /// The strings of a set column, in ascending order; empty also if the column does not exist.
    pub fn strings(&self, column: &str) -> Result<Vec<Arc<str>>, RowError> {
        let atoms = match self.optional(column) {
            Some(Cell::Text(text)) => return Ok(vec![Arc::from(text)]),
            other => self.set(column, other, "a set of strings", AtomType::String)?,
        };
        let strings = atoms.iter().filter_map(|atom| match atom {
            Atom::String(text) => Some(text.clone()),
            _ => None,
        });
        Ok(strings.collect())
    }

    /// The UUIDs of a set column, in ascending order; empty also if the column does not exist.
    pub fn uuids(&self, column: &str) -> Result<impl Iterator<Item = Uuid>, RowError> {
        let found = self.optional(column);
        let atoms = self.set(column, found, "a set of UUIDs", AtomType::Uuid)?;
        Ok(atoms.iter().filter_map(Atom::as_uuid))
    }

    /// The integers of a set column, in ascending order; empty also if the column does not exist.
    pub fn integers(&self, column: &str) -> Result<impl Iterator<Item = i64>, RowError> {
        let (one, atoms) = match self.optional(column) {
            Some(Cell::Integer(number)) => (Some(number), &[][..]),
            other => (None, self.set(column, other, "a set of integers", AtomType::Integer)?),
        };
        Ok(one.into_iter().chain(atoms.iter().filter_map(Atom::as_integer)))
    }

    /// A column that maps strings to strings, such as `external_ids`; empty also if the column
    /// does not exist.
    pub fn map(&self, column: &str) -> Result<StringMap<'_>, RowError> {
        const EXPECTED: &str = "a map of strings to strings";
        let pairs = match self.find(column) {
            None => &[],
            Some(Cell::Datum(Datum::Map(pairs))) => &**pairs,
            Some(found) => return Err(self.mismatch(column, EXPECTED, found)),
        };
        let strings = |(key, value): &(Atom, Atom)| {
            matches!((key, value), (Atom::String(_), Atom::String(_)))
        };
        match pairs.iter().all(strings) {
            true => Ok(StringMap { pairs }),
            false => Err(self.mismatch(column, EXPECTED, Cell::Datum(&Datum::Map(pairs.into())))),
        }
    }

    fn present(&self, column: &str) -> Result<Cell<'_>, RowError> {
        self.find(column).ok_or_else(|| RowError::NoColumn {
            table: self.table().clone(),
            column: column.to_owned(),
        })
    }

    /// What a column holds, unless that is nothing.
    fn optional(&self, column: &str) -> Option<Cell<'_>> {
        self.find(column).filter(|cell| match cell {
            Cell::Datum(Datum::Set(atoms)) => !atoms.is_empty(),
            _ => true,
        })
    }

    fn set<'a>(
        &self,
        column: &str,
        found: Option<Cell<'a>>,
        expected: &'static str,
        kind: AtomType,
    ) -> Result<&'a [Atom], RowError> {
        match found {
            None => Ok(&[]),
            Some(Cell::Datum(datum @ (Datum::One(_) | Datum::Set(_))))
                if datum.atoms().iter().all(|atom| atom.kind() == kind) =>
            {
                Ok(datum.atoms())
            }
            Some(found) => Err(self.mismatch(column, expected, found)),
        }
    }

    fn mismatch(&self, column: &str, expected: &'static str, found: Cell<'_>) -> RowError {
        RowError::Mismatch {
            table: self.table().clone(),
            column: column.to_owned(),
            expected,
            found: found.datum(),
        }
    }
}

/// The columns of a row that are not what they were, in the notation of ovsdb(5); of a row that is
/// new, those that are not the default.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// The row as it is.
    pub new: &'a Row,
    /// As it was.
    pub old: Option<&'a Row>,
}

impl Serialize for Difference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.new.shape().columns();
        let old = |at: usize, column: &'_ Column| match self.old {
            Some(old) => old.find(&column.name),
            None => Some(Cell::of(&self.new.shape().columns()[at].default)),
        };
        let cells = columns.iter().enumerate().map(|(at, it)| (it, self.new.cell(at), old(at, it)));
        let changed = cells.filter(|(_, new, old)| old.is_none_or(|old| !old.is_same(*new)));
        serializer.collect_map(changed.map(|(column, new, _)| (&*column.name, new)))
    }
}

impl Identified for Row {
    /// `_uuid`; nil of a row that is not known by one.
    fn id(&self) -> Uuid {
        self.head().id
    }
}

impl PartialEq for Row {
    /// Two rows are equal if they have the same columns with the same values, whichever they are.
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.head().common, &other.head().common);
        if Arc::ptr_eq(&one.shape, &two.shape) {
            let shared = || Arc::ptr_eq(one, two) || one.values == two.values;
            return self.0.slice == other.0.slice && shared();
        }
        self.columns().eq(other.columns())
    }
}

impl Eq for Row {}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.table())?;
        let columns = self.columns().map(|(name, datum)| (name, datum.to_string()));
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
