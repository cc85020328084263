//! How a row keeps its values: what it shares with others of its table apart from what is its own.
//!
//! Of a million logical flows each has a text and a priority of its own, and the rest of its columns
//! is that of thousands. So the scalar strings and natural numbers of a row lie one behind the other
//! in its own bytes, and all other values in a [`Common`], of which equal ones are one; there too is
//! what the schema leaves few values for. A column that holds its default is in neither. The same values are always packed the same.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::shape::{Column, Shape};
use crate::value::{Atom, Datum};

/// What rows of a table may have in common.
#[derive(Debug)]
pub struct Common {
    pub(crate) shape: Arc<Shape>,
    /// By column, in ascending order.
    pub(crate) values: Box<[(usize, Datum)]>,
}

impl PartialEq for Common {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shape, &other.shape) && self.values == other.values
    }
}

impl Eq for Common {}

impl Hash for Common {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}

/// The value of a column, as a reader meets it.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// One string.
    Text(&'a str),
    /// One integer.
    Integer(i64),
    /// Anything else.
    Datum(&'a Datum),
}

impl<'a> Cell<'a> {
    pub(crate) fn of(datum: &'a Datum) -> Self {
        match datum {
            Datum::One(Atom::String(text)) => Self::Text(text),
            Datum::One(Atom::Integer(number)) => Self::Integer(*number),
            other => Self::Datum(other),
        }
    }

    pub(crate) fn datum(self) -> Datum {
        match self {
            Self::Text(text) => text.into(),
            Self::Integer(number) => number.into(),
            Self::Datum(datum) => datum.clone(),
        }
    }

    fn is(self, datum: &Datum) -> bool {
        self.is_same(Cell::of(datum))
    }

    pub(crate) fn is_same(self, other: Cell<'_>) -> bool {
        match (self, other) {
            (Self::Text(text), Cell::Text(other)) => text == other,
            (Self::Integer(number), Cell::Integer(other)) => number == other,
            (Self::Datum(datum), Cell::Datum(other)) => datum == other,
            _ => false,
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Datum(datum) => datum.to_json().serialize(serializer),
        }
    }
}

/// Columns on their way into a row, in any order; of one that comes twice the last counts.
#[derive(Debug, Default)]
pub struct Parts {
    columns: Vec<(usize, Part)>,
    texts: String,
    own: Vec<u8>,
}

#[derive(Debug)]
enum Part {
    /// Where it is among the texts.
    Text(usize, usize),
    Datum(Datum),
}

impl Parts {
    /// A column that holds one string.
    pub fn text(&mut self, column: usize, text: &str) {
        let start = self.texts.len();
        self.texts.push_str(text);
        self.columns.push((column, Part::Text(start, self.texts.len())));
    }

    /// A column.
    pub fn datum(&mut self, column: usize, datum: Datum) {
        self.columns.push((column, Part::Datum(datum)));
    }

    /// What there is in common, and the row's own bytes. Leaves nothing behind.
    pub(crate) fn pack(&mut self, shape: &Arc<Shape>) -> (Common, &[u8]) {
        // Later ones come first, for them to be kept.
        self.columns.reverse();
        self.columns.sort_by_key(|(column, _)| *column);
        self.columns.dedup_by_key(|(column, _)| *column);
        self.own.clear();
        let mut values = Vec::new();
        for (column, part) in self.columns.drain(..) {
            let cell = match &part {
                Part::Text(start, end) => Cell::Text(&self.texts[*start..*end]),
                Part::Datum(datum) => Cell::of(datum),
            };
            let Column { kind, default, .. } = &shape.columns()[column];
            if cell.is(default) || !kind.few && put(&mut self.own, column, cell) {
                continue;
            }
            let datum = match part {
                Part::Text(start, end) => self.texts[start..end].into(),
                Part::Datum(datum) => datum,
            };
            values.push((column, datum));
        }
        self.texts.clear();
        (Common { shape: shape.clone(), values: values.into() }, &self.own)
    }
}

/// Adds a value to a row's own bytes, if it belongs there: the column, and a number whose lowest
/// bit says whether the rest of it is the value or the length of the text that follows.
fn put(own: &mut Vec<u8>, column: usize, cell: Cell<'_>) -> bool {
    let Ok(column) = u8::try_from(column) else { return false };
    match cell {
        Cell::Text(text) => {
            own.push(column);
            put_number(own, (text.len() as u64) << 1);
            own.extend_from_slice(text.as_bytes());
        }
        Cell::Integer(number @ 0..=0x3fff_ffff_ffff_ffff) => {
            own.push(column);
            put_number(own, (number as u64) << 1 | 1);
        }
        Cell::Integer(_) | Cell::Datum(_) => return false,
    }
    true
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(own: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        own.push(number as u8 | 0x80);
        number >>= 7;
    }
    own.push(number as u8);
}

/// A column of a row's own bytes.
pub(crate) fn find(mut own: &[u8], column: usize) -> Option<Cell<'_>> {
    while let Some((at, packed, rest)) = first(own) {
        if at >= column {
            return (at == column).then(|| packed.cell())?;
        }
        own = rest;
    }
    None
}

/// The columns of a row's own bytes, in ascending order.
pub(crate) fn cells(mut own: &[u8]) -> impl Iterator<Item = (usize, Cell<'_>)> {
    std::iter::from_fn(move || {
        let (column, packed, rest) = first(own)?;
        own = rest;
        Some((column, packed.cell()?))
    })
}

/// A value among a row's own bytes that nobody has looked at yet.
struct Packed<'a> {
    number: u64,
    text: &'a [u8],
}

impl<'a> Packed<'a> {
    fn cell(self) -> Option<Cell<'a>> {
        Some(match self.number & 1 {
            0 => Cell::Text(std::str::from_utf8(self.text).ok()?),
            _ => Cell::Integer((self.number >> 1) as i64),
        })
    }
}

/// The first column of what is left, its value, and the rest.
fn first(own: &[u8]) -> Option<(usize, Packed<'_>, &[u8])> {
    let (&column, rest) = own.split_first()?;
    let (number, rest) = number(rest)?;
    let length = if number & 1 == 0 { (number >> 1) as usize } else { 0 };
    let (text, rest) = rest.split_at_checked(length)?;
    Some((column.into(), Packed { number, text }, rest))
}

fn number(mut own: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, rest)) = own.split_first() {
        number |= u64::from(byte & 0x7f) << shift;
        own = rest;
        if byte < 0x80 {
            return Some((number, own));
        }
        shift += 7;
    }
    None
}
