//! Typed values straight out of JSON text (RFC 7047, section 5.1).
//!
//! A first download may be hundreds of megabytes; these seeds turn its bytes into values without a
//! JSON tree in between, check each against the type that the schema gives the column, and intern
//! the strings. An error names table and column; `serde_json` adds the position in the text.

use std::fmt;
use std::sync::Arc;

use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use uuid::Uuid;

use crate::intern::Interner;
use crate::packed::Parts;
use crate::schema::ColumnType;
use crate::shape::{Column, Shape};
use crate::value::{Atom, AtomType, Datum};

/// What a JSON value stands for, and so how many elements it may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// The value of a column: its type's limits hold.
    Value,
    /// The difference between two values: no limits, but the elements still differ.
    Difference,
}

/// The columns of one row.
pub struct ColumnsSeed<'a, C> {
    /// The table's monitored columns; others are skipped.
    pub shape: &'a Shape,
    /// What the values stand for.
    pub meaning: Meaning,
    /// Where strings are kept.
    pub strings: &'a mut Interner,
    /// Where they go.
    pub into: &'a mut C,
}

/// Columns that are being read.
pub trait Columns {
    /// One, by its index in the shape, that holds one string.
    fn text(&mut self, column: usize, text: &str);

    /// One that holds anything.
    fn datum(&mut self, column: usize, datum: Datum);
}

impl Columns for Vec<(usize, Datum)> {
    fn text(&mut self, column: usize, text: &str) {
        self.push((column, text.into()));
    }

    fn datum(&mut self, column: usize, datum: Datum) {
        self.push((column, datum));
    }
}

impl Columns for Parts {
    fn text(&mut self, column: usize, text: &str) {
        self.text(column, text);
    }

    fn datum(&mut self, column: usize, datum: Datum) {
        self.datum(column, datum);
    }
}

impl<'de, C: Columns> DeserializeSeed<'de> for ColumnsSeed<'_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, C: Columns> Visitor<'de> for ColumnsSeed<'_, C> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of table {}", self.shape.table())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(index) = map.next_key_seed(NameSeed(|name: &str| self.shape.index(name)))? {
            match index {
                Some(index) => {
                    let column = &self.shape.columns()[index];
                    let datum = DatumSeed {
                        place: Place { table: self.shape.table(), column },
                        meaning: self.meaning,
                        strings: self.strings,
                    };
                    map.next_value_seed(ColumnSeed { index, datum, into: self.into })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// One column: a string goes where it belongs without an allocation of its own.
struct ColumnSeed<'a, C> {
    index: usize,
    datum: DatumSeed<'a>,
    into: &'a mut C,
}

impl<C: Columns> ColumnSeed<'_, C> {
    fn put<E>(into: &mut C, index: usize, datum: Result<Datum, E>) -> Result<(), E> {
        into.datum(index, datum?);
        Ok(())
    }
}

impl<'de, C: Columns> DeserializeSeed<'de> for ColumnSeed<'_, C> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, C: Columns> Visitor<'de> for ColumnSeed<'_, C> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.datum.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        Self::put(self.into, self.index, self.datum.visit_bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        Self::put(self.into, self.index, self.datum.visit_i64(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        Self::put(self.into, self.index, self.datum.visit_u64(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Self::put(self.into, self.index, self.datum.visit_f64(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let kind = self.datum.place.kind();
        if kind.key == AtomType::String && kind.value.is_none() && kind.min <= 1 {
            self.into.text(self.index, value);
            return Ok(());
        }
        Self::put(self.into, self.index, self.datum.visit_str(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Self::put(self.into, self.index, self.datum.visit_seq(seq))
    }
}

/// A name that is looked up as it is read.
pub struct NameSeed<F>(pub F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for NameSeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for NameSeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a Arc<str>,
    column: &'a Column,
}

impl Place<'_> {
    fn kind(&self) -> &ColumnType {
        &self.column.kind
    }

    fn error<E: Error>(&self, found: impl fmt::Display) -> E {
        E::custom(format_args!(
            "table {}, column {}: expected {}, found {found}",
            self.table,
            self.column.name,
            self.kind()
        ))
    }

    /// Checks the number of elements.
    fn counted<E: Error>(&self, meaning: Meaning, datum: Datum) -> Result<Datum, E> {
        let kind = self.kind();
        if meaning == Meaning::Value && !(kind.min..=kind.max).contains(&datum.len()) {
            return Err(self.error(format_args!("{} elements", datum.len())));
        }
        Ok(datum)
    }
}

struct DatumSeed<'a> {
    place: Place<'a>,
    meaning: Meaning,
    strings: &'a mut Interner,
}

impl DatumSeed<'_> {
    fn scalar<E: Error>(self, atom: Result<Atom, E>) -> Result<Datum, E> {
        let atom = atom?;
        match self.place.kind().value {
            Some(_) => Err(self.place.error(format_args!("the atom {atom}"))),
            None => self.place.counted(self.meaning, Datum::One(atom)),
        }
    }

    fn atom_seed(&mut self, kind: AtomType) -> AtomSeed<'_> {
        AtomSeed { place: self.place, kind, strings: self.strings }
    }

    fn key_seed(&mut self) -> AtomSeed<'_> {
        self.atom_seed(self.place.kind().key)
    }
}

impl<'de> Visitor<'de> for DatumSeed<'_> {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { table, column } = self.place;
        write!(f, "{} in table {table}, column {}", column.kind, column.name)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Datum, E> {
        let atom = self.key_seed().visit_bool(value);
        self.scalar(atom)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Datum, E> {
        let atom = self.key_seed().visit_i64(value);
        self.scalar(atom)
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Datum, E> {
        let atom = self.key_seed().visit_u64(value);
        self.scalar(atom)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Datum, E> {
        let atom = self.key_seed().visit_f64(value);
        self.scalar(atom)
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<Datum, E> {
        let atom = self.key_seed().visit_str(value);
        self.scalar(atom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Datum, A::Error> {
        let datum = match next(&mut seq, self.place, NameSeed(Tag::from_name))? {
            Tag::Uuid => {
                let atom = self.key_seed().finish_uuid(&mut seq);
                return self.scalar(atom);
            }
            Tag::Set if self.place.kind().value.is_none() => {
                let atoms = next(&mut seq, self.place, SetSeed(&mut self))?;
                let count = atoms.len();
                (Datum::set(atoms), count)
            }
            Tag::Map if self.place.kind().value.is_some() => {
                let pairs = next(&mut seq, self.place, PairsSeed(&mut self))?;
                let count = pairs.len();
                (self.strings.share(Datum::map(pairs)), count)
            }
            tag => return Err(self.place.error(tag)),
        };
        end(&mut seq, self.place)?;
        let (datum, count) = datum;
        if datum.len() != count {
            return Err(self.place.error("an element that is there twice"));
        }
        self.place.counted(self.meaning, datum)
    }
}

/// The word that opens an array.
enum Tag {
    Uuid,
    Set,
    Map,
    Other(String),
}

impl Tag {
    fn from_name(name: &str) -> Self {
        match name {
            "uuid" => Self::Uuid,
            "set" => Self::Set,
            "map" => Self::Map,
            other => Self::Other(other.chars().take(40).collect()),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid => f.write_str("a UUID"),
            Self::Set => f.write_str("a set"),
            Self::Map => f.write_str("a map"),
            Self::Other(name) => write!(f, "an array that starts with {name:?}"),
        }
    }
}

fn next<'de, A: SeqAccess<'de>, S: DeserializeSeed<'de>>(
    seq: &mut A,
    place: Place<'_>,
    seed: S,
) -> Result<S::Value, A::Error> {
    seq.next_element_seed(seed)?.ok_or_else(|| place.error("an array that ends too soon"))
}

fn end<'de, A: SeqAccess<'de>>(seq: &mut A, place: Place<'_>) -> Result<(), A::Error> {
    match seq.next_element::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(place.error("an array that is too long")),
    }
}

struct AtomSeed<'a> {
    place: Place<'a>,
    kind: AtomType,
    strings: &'a mut Interner,
}

impl AtomSeed<'_> {
    fn wrong<E: Error>(&self, found: Unexpected<'_>) -> E {
        self.place.error(found)
    }

    fn finish_uuid<'de, A: SeqAccess<'de>>(self, seq: &mut A) -> Result<Atom, A::Error> {
        let place = self.place;
        let uuid = next(
            seq,
            place,
            NameSeed(|text: &str| {
                Uuid::try_parse(text).map_err(|_| text.chars().take(40).collect::<String>())
            }),
        )?;
        let uuid = uuid.map_err(|text| place.error(format_args!("{text:?} as a UUID")))?;
        end(seq, place)?;
        match self.kind {
            AtomType::Uuid => Ok(Atom::Uuid(uuid)),
            _ => Err(place.error("a UUID")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for AtomSeed<'_> {
    type Value = Atom;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Atom, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AtomSeed<'_> {
    type Value = Atom;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { table, column } = self.place;
        write!(f, "{} in table {table}, column {}", self.kind, column.name)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Atom, E> {
        match self.kind {
            AtomType::Boolean => Ok(Atom::Boolean(value)),
            _ => Err(self.wrong(Unexpected::Bool(value))),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Atom, E> {
        match self.kind {
            AtomType::Integer => Ok(Atom::Integer(value)),
            AtomType::Real => Ok(Atom::from(value as f64)),
            _ => Err(self.wrong(Unexpected::Signed(value))),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Atom, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) if self.kind == AtomType::Real => Ok(Atom::from(value as f64)),
            Err(_) => Err(self.wrong(Unexpected::Unsigned(value))),
        }
    }

    /// `1e3` is an integer to OVSDB, whose own parser makes no difference.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Atom, E> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match self.kind {
            AtomType::Real => Ok(Atom::from(value)),
            AtomType::Integer if value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value) => {
                Ok(Atom::Integer(value as i64))
            }
            _ => Err(self.wrong(Unexpected::Float(value))),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Atom, E> {
        match self.kind {
            AtomType::String => Ok(Atom::String(self.strings.intern(value))),
            _ => Err(self.wrong(Unexpected::Str(value))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Atom, A::Error> {
        match next(&mut seq, self.place, NameSeed(Tag::from_name))? {
            Tag::Uuid => self.finish_uuid(&mut seq),
            tag => Err(self.place.error(format_args!("{tag} inside"))),
        }
    }
}

struct SetSeed<'a, 'b>(&'a mut DatumSeed<'b>);

impl<'de> DeserializeSeed<'de> for SetSeed<'_, '_> {
    type Value = Vec<Atom>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Atom>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for SetSeed<'_, '_> {
    type Value = Vec<Atom>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Atom>, A::Error> {
        let mut atoms = Vec::new();
        while let Some(atom) = seq.next_element_seed(self.0.key_seed())? {
            atoms.push(atom);
        }
        Ok(atoms)
    }
}

struct PairsSeed<'a, 'b>(&'a mut DatumSeed<'b>);

impl<'de> DeserializeSeed<'de> for PairsSeed<'_, '_> {
    type Value = Vec<(Atom, Atom)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed<'_, '_> {
    type Value = Vec<(Atom, Atom)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = seq.next_element_seed(PairSeed(self.0))? {
            pairs.extend(pair);
        }
        Ok(pairs)
    }
}

struct PairSeed<'a, 'b>(&'a mut DatumSeed<'b>);

impl<'de> DeserializeSeed<'de> for PairSeed<'_, '_> {
    /// None for a key that is not kept.
    type Value = Option<(Atom, Atom)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PairSeed<'_, '_> {
    type Value = Option<(Atom, Atom)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let place = self.0.place;
        let value_kind = place.kind().value.unwrap_or(place.kind().key);
        let key = next(&mut seq, place, self.0.key_seed())?;
        let kept = |keys: &[Arc<str>]| keys.iter().any(|kept| key.as_str() == Some(&**kept));
        if !place.column.keys.as_deref().is_none_or(kept) {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        }
        let value = next(&mut seq, place, self.0.atom_seed(value_kind))?;
        end(&mut seq, place)?;
        Ok(Some((key, value)))
    }
}
