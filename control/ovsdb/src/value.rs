//! Values of OVSDB columns (RFC 7047, section 5.1).

use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// One atomic value.
#[derive(Clone, PartialEq, PartialOrd, Debug)]
pub enum Atom {
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// True or false.
    Boolean(bool),
    /// A UTF-8 string; shared, because logical flows repeat themselves.
    String(Arc<str>),
    /// The UUID of a row.
    Uuid(Uuid),
}

/// The value of one column: a scalar is a set of one.
#[derive(Clone, PartialEq, Debug)]
pub enum Datum {
    /// A set, sorted, without repetition; zero or one element for an optional column.
    Set(Vec<Atom>),
    /// A map, sorted by key.
    Map(Vec<(Atom, Atom)>),
}

/// A row: the columns that are monitored, by name.
pub type Row = BTreeMap<Arc<str>, Datum>;
