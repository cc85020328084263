//! Values of OVSDB columns (RFC 7047, section 5.1).
//!
//! A column holds a set of atoms or a map between atoms; a scalar is a set of exactly one. [`Datum`]
//! keeps every value in one canonical form, so that two equal values are equal in memory: sets and
//! maps are sorted and hold nothing twice, and a set of one is always [`Datum::One`]. That form
//! also spares the commonest column, a scalar, an allocation of its own.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

/// One atomic value.
#[derive(Clone, Debug)]
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

/// The value of one column, in canonical form.
///
/// Build it with [`Datum::set`], [`Datum::map`] or one of the `From` conversions; these sort and
/// drop what is there twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Datum {
    /// A set of exactly one element, which is what a scalar column holds.
    One(Atom),
    /// A set of no element, or of two and more in ascending order.
    Set(Box<[Atom]>),
    /// A map in ascending order of keys; shared, because thousands of rows hold the same one.
    Map(Arc<[(Atom, Atom)]>),
}

/// The types of an atom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomType {
    /// `integer`
    Integer,
    /// `real`
    Real,
    /// `boolean`
    Boolean,
    /// `string`
    String,
    /// `uuid`
    Uuid,
}

impl AtomType {
    /// The type by its name in a schema, or none if there is no such type.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "integer" => Self::Integer,
            "real" => Self::Real,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    /// The default value of the type (RFC 7047, section 5.2.1).
    pub fn default_atom(self) -> Atom {
        match self {
            Self::Integer => Atom::Integer(0),
            Self::Real => Atom::Real(0.0),
            Self::Boolean => Atom::Boolean(false),
            Self::String => Atom::String(Arc::from("")),
            Self::Uuid => Atom::Uuid(Uuid::nil()),
        }
    }
}

impl fmt::Display for AtomType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Uuid => "uuid",
        })
    }
}

impl Atom {
    /// The type of the atom.
    pub fn kind(&self) -> AtomType {
        match self {
            Self::Integer(_) => AtomType::Integer,
            Self::Real(_) => AtomType::Real,
            Self::Boolean(_) => AtomType::Boolean,
            Self::String(_) => AtomType::String,
            Self::Uuid(_) => AtomType::Uuid,
        }
    }

    /// The string, if the atom is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The UUID, if the atom is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        if let Self::Uuid(uuid) = self { Some(*uuid) } else { None }
    }

    /// The integer, if the atom is one.
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The atom in the notation of RFC 7047, section 5.1 (`<atom>`).
    pub fn to_json(&self) -> Value {
        match self {
            Self::Integer(number) => json!(number),
            Self::Real(number) => json!(number),
            Self::Boolean(truth) => json!(truth),
            Self::String(text) => json!(&**text),
            Self::Uuid(uuid) => json!(["uuid", uuid.to_string()]),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Integer(_) => 0,
            Self::Real(_) => 1,
            Self::Boolean(_) => 2,
            Self::String(_) => 3,
            Self::Uuid(_) => 4,
        }
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Atom {}

impl Hash for Atom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Integer(number) => number.hash(state),
            Self::Real(number) => number.to_bits().hash(state),
            Self::Boolean(truth) => truth.hash(state),
            Self::String(text) => text.hash(state),
            Self::Uuid(uuid) => uuid.hash(state),
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Uuid(uuid) => write!(f, "{uuid}"),
        }
    }
}

impl Datum {
    /// The empty set.
    pub fn empty() -> Self {
        Self::Set(Box::default())
    }

    /// A set of these atoms.
    pub fn set<A: Into<Atom>>(atoms: impl IntoIterator<Item = A>) -> Self {
        let mut atoms: Vec<Atom> = atoms.into_iter().map(Into::into).collect();
        atoms.sort_unstable();
        atoms.dedup();
        Self::from_sorted(atoms)
    }

    /// A map of these pairs; of pairs with the same key the last one counts.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut pairs: Vec<(Atom, Atom)> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, earlier| later.0 == earlier.0);
        Self::Map(pairs.into())
    }

    /// Atoms that are already in ascending order and all different.
    fn from_sorted(mut atoms: Vec<Atom>) -> Self {
        match atoms.len() {
            1 => Self::One(atoms.remove(0)),
            _ => Self::Set(atoms.into()),
        }
    }

    /// The elements if this is a set, in ascending order; nothing for a map.
    pub fn atoms(&self) -> &[Atom] {
        match self {
            Self::One(atom) => std::slice::from_ref(atom),
            Self::Set(atoms) => atoms,
            Self::Map(_) => &[],
        }
    }

    /// The pairs if this is a map, in ascending order of keys; nothing for a set.
    pub fn pairs(&self) -> &[(Atom, Atom)] {
        if let Self::Map(pairs) = self { pairs } else { &[] }
    }

    /// The number of elements or pairs.
    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Set(atoms) => atoms.len(),
            Self::Map(pairs) => pairs.len(),
        }
    }

    /// True for an empty set and an empty map.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value in the notation of RFC 7047, section 5.1 (`<value>`); a set of one is written as
    /// the bare atom.
    pub fn to_json(&self) -> Value {
        match self {
            Self::One(atom) => atom.to_json(),
            Self::Set(atoms) => {
                json!(["set", atoms.iter().map(Atom::to_json).collect::<Vec<_>>()])
            }
            Self::Map(pairs) => {
                let pairs: Vec<Value> =
                    pairs.iter().map(|(k, v)| json!([k.to_json(), v.to_json()])).collect();
                json!(["map", pairs])
            }
        }
    }

    /// This value with a difference applied, as `modify` of ovsdb-server(7), section 4.1.14, means
    /// it for a column that may hold more than one element: of two sets the elements that are in
    /// only one of them; of maps, a pair that is already there goes, another value replaces the
    /// value, a new key is added. A set and a map cannot be mixed; the difference then wins.
    pub fn apply_difference(&self, difference: &Self) -> Self {
        match (self, difference) {
            (Self::Map(old), Self::Map(difference)) => Self::Map(merge_pairs(old, difference)),
            (Self::One(_) | Self::Set(_), Self::One(_) | Self::Set(_)) => {
                Self::from_sorted(symmetric_difference(self.atoms(), difference.atoms()))
            }
            _ => difference.clone(),
        }
    }
}

fn symmetric_difference(left: &[Atom], right: &[Atom]) -> Vec<Atom> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut out = Vec::new();
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => match a.cmp(b) {
                Ordering::Less => left.next(),
                Ordering::Greater => right.next(),
                Ordering::Equal => {
                    left.next();
                    right.next();
                    continue;
                }
            },
            (Some(_), None) => left.next(),
            _ => right.next(),
        };
        match next {
            Some(atom) => out.push(atom.clone()),
            None => return out,
        }
    }
}

fn merge_pairs(old: &[(Atom, Atom)], difference: &[(Atom, Atom)]) -> Arc<[(Atom, Atom)]> {
    let (mut old, mut difference) = (old.iter().peekable(), difference.iter().peekable());
    let mut out = Vec::new();
    loop {
        let next = match (old.peek(), difference.peek()) {
            (Some(a), Some(b)) => match a.0.cmp(&b.0) {
                Ordering::Less => old.next(),
                Ordering::Greater => difference.next(),
                Ordering::Equal => {
                    let unchanged = a.1 == b.1;
                    old.next();
                    let replacement = difference.next();
                    if unchanged {
                        continue;
                    }
                    replacement
                }
            },
            (Some(_), None) => old.next(),
            _ => difference.next(),
        };
        match next {
            Some(pair) => out.push(pair.clone()),
            None => return out.into(),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(atom) => atom.fmt(f),
            Self::Set(atoms) => {
                f.write_str("[")?;
                for (index, atom) in atoms.iter().enumerate() {
                    write!(f, "{}{atom}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}={value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl From<i64> for Atom {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Atom {
    /// Zero has no sign here: `-0.0` and `0.0` are the same value to the server.
    fn from(number: f64) -> Self {
        Self::Real(number + 0.0)
    }
}

impl From<bool> for Atom {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<String> for Atom {
    fn from(text: String) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<Arc<str>> for Atom {
    fn from(text: Arc<str>) -> Self {
        Self::String(text)
    }
}

impl From<Uuid> for Atom {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(atom: A) -> Self {
        Self::One(atom.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_one_and_a_scalar_are_the_same_value() {
        assert_eq!(Datum::set(["a", "a"]), Datum::from("a"));
    }

    #[test]
    fn a_difference_applied_twice_gives_the_old_set_back() {
        let old = Datum::set([1, 2, 3]);
        let difference = Datum::set([3, 4]);
        let new = old.apply_difference(&difference);
        assert_eq!(new, Datum::set([1, 2, 4]));
        assert_eq!(new.apply_difference(&difference), old);
    }

    #[test]
    fn a_map_difference_removes_replaces_and_adds() {
        let old = Datum::map([("gone", "1"), ("kept", "2"), ("other", "3")]);
        let difference = Datum::map([("gone", "1"), ("other", "4"), ("new", "5")]);
        assert_eq!(
            old.apply_difference(&difference),
            Datum::map([("kept", "2"), ("new", "5"), ("other", "4")])
        );
    }

    #[test]
    fn the_last_of_two_pairs_with_one_key_counts() {
        assert_eq!(Datum::map([("k", "1"), ("k", "2")]), Datum::map([("k", "2")]));
    }

    #[test]
    fn a_value_takes_three_words() {
        assert_eq!(size_of::<Datum>(), 24);
    }
}
