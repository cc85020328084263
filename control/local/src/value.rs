//! Values of columns as clients write them (RFC 7047, section 5.1).
//!
//! A set of strings may be a single string, as in OVSDB; a reference may name a row that the same
//! transaction inserts.

use super::document::Json;
use hashbrown::HashMap;
use ovn_xdp_ovsdb::shape::Column;
use ovn_xdp_ovsdb::value::{Atom, AtomType, Datum};
use uuid::Uuid;

/// Rows that the transaction inserts, by `uuid-name`.
pub type Named = HashMap<String, Uuid>;

/// A value of a column.
///
/// # Errors
/// What was expected and what is there.
pub fn datum(json: Json<'_>, column: &Column, named: &Named) -> Result<Datum, String> {
    let datum = unbounded(json, column, named)?;
    match (column.kind.min..=column.kind.max).contains(&datum.len()) {
        true => Ok(datum),
        false => Err(format!("expected {}, found {} elements", described(column), datum.len())),
    }
}

/// A value, a part of one or a difference: any number of elements.
///
/// # Errors
/// What was expected and what is there.
pub fn unbounded(json: Json<'_>, column: &Column, named: &Named) -> Result<Datum, String> {
    let wrong = || format!("expected {}, found {}", described(column), short(json));
    let (key, value) = (column.kind.key, column.kind.value);
    let tagged = json.fixed().and_then(|[tag, list]| Some((tag.as_str()?, list.elements()?)));
    match (tagged, value) {
        (Some(("set", list)), None) => {
            let atoms = list.map(|json| atom(json, key, named)).collect::<Option<Vec<_>>>();
            let atoms = atoms.ok_or_else(wrong)?;
            let count = atoms.len();
            let datum = Datum::set(atoms);
            match datum.len() == count {
                true => Ok(datum),
                false => Err(format!("{}: an element is there twice", wrong())),
            }
        }
        (Some(("map", list)), Some(value)) => {
            let pair = |json: Json<'_>| {
                let [k, v] = json.fixed()?;
                Some((atom(k, key, named)?, atom(v, value, named)?))
            };
            let pairs = list.map(pair).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            let count = pairs.len();
            let datum = Datum::map(pairs);
            match datum.len() == count {
                true => Ok(datum),
                false => Err(format!("{}: a key is there twice", wrong())),
            }
        }
        (_, None) => atom(json, key, named).map(Datum::One).ok_or_else(wrong),
        (_, Some(_)) => Err(wrong()),
    }
}

fn atom(json: Json<'_>, kind: AtomType, named: &Named) -> Option<Atom> {
    match kind {
        AtomType::Integer => json.as_i64().map(Atom::Integer),
        AtomType::Real => json.as_f64().map(Atom::from),
        AtomType::Boolean => json.as_bool().map(Atom::Boolean),
        AtomType::String => json.as_str().map(Atom::from),
        AtomType::Uuid => reference(json, named).map(Atom::Uuid),
    }
}

/// `["uuid", UUID]` or `["named-uuid", NAME]`.
pub fn reference(json: Json<'_>, named: &Named) -> Option<Uuid> {
    let [tag, text] = json.fixed()?;
    match (tag.as_str()?, text.as_str()?) {
        ("uuid", text) => Uuid::try_parse(text).ok(),
        ("named-uuid", name) => named.get(name).copied(),
        _ => None,
    }
}

/// Whether a string is a value of the column as it is.
pub fn is_text(column: &Column) -> bool {
    column.kind.key == AtomType::String && column.kind.value.is_none() && column.kind.max >= 1
}

fn described(column: &Column) -> String {
    let notation = match (column.kind.key, column.kind.value, column.kind.max) {
        (AtomType::Uuid, None, 1) => " (as [\"uuid\", UUID] or [\"named-uuid\", NAME])",
        (_, Some(_), _) => " (as [\"map\", [[KEY, VALUE], …]])",
        (_, None, max) if max > 1 => " (as [\"set\", [ELEMENT, …]])",
        _ => "",
    };
    format!("{}{notation}", column.kind)
}

/// JSON for a message.
pub fn short(json: Json<'_>) -> String {
    let text = json.to_value().to_string();
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
