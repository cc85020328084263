//! Values of columns as clients write them (RFC 7047, section 5.1).
//!
//! A set of strings may be a single string, as in OVSDB; a reference may name a row that the same
//! transaction inserts.

use ovn_xdp_ovsdb::row::Column;
use ovn_xdp_ovsdb::value::{Atom, AtomType, Datum};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// Rows that the transaction inserts, by `uuid-name`.
pub type Named = HashMap<String, Uuid>;

/// A value of a column.
///
/// # Errors
/// What was expected and what is there.
pub fn datum(json: &Value, column: &Column, named: &Named) -> Result<Datum, String> {
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
pub fn unbounded(json: &Value, column: &Column, named: &Named) -> Result<Datum, String> {
    let wrong = || format!("expected {}, found {}", described(column), short(json));
    let (key, value) = (column.kind.key, column.kind.value);
    match (json.as_array().map(Vec::as_slice), value) {
        (Some([Value::String(tag), Value::Array(list)]), None) if tag == "set" => {
            let atoms = list.iter().map(|json| atom(json, key, named)).collect::<Option<Vec<_>>>();
            let datum = Datum::set(atoms.ok_or_else(wrong)?);
            match datum.len() == list.len() {
                true => Ok(datum),
                false => Err(format!("{}: an element is there twice", wrong())),
            }
        }
        (Some([Value::String(tag), Value::Array(list)]), Some(value)) if tag == "map" => {
            let pair = |json: &Value| match json.as_array().map(Vec::as_slice) {
                Some([k, v]) => Some((atom(k, key, named)?, atom(v, value, named)?)),
                _ => None,
            };
            let pairs = list.iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            let datum = Datum::map(pairs);
            match datum.len() == list.len() {
                true => Ok(datum),
                false => Err(format!("{}: a key is there twice", wrong())),
            }
        }
        (_, None) => atom(json, key, named).map(Datum::One).ok_or_else(wrong),
        (_, Some(_)) => Err(wrong()),
    }
}

fn atom(json: &Value, kind: AtomType, named: &Named) -> Option<Atom> {
    match (kind, json) {
        (AtomType::Integer, json) => json.as_i64().map(Atom::Integer),
        (AtomType::Real, json) => json.as_f64().map(Atom::from),
        (AtomType::Boolean, json) => json.as_bool().map(Atom::Boolean),
        (AtomType::String, json) => json.as_str().map(Atom::from),
        (AtomType::Uuid, json) => reference(json, named).map(Atom::Uuid),
    }
}

/// `["uuid", UUID]` or `["named-uuid", NAME]`.
pub fn reference(json: &Value, named: &Named) -> Option<Uuid> {
    match json.as_array().map(Vec::as_slice) {
        Some([Value::String(tag), Value::String(text)]) if tag == "uuid" => {
            Uuid::try_parse(text).ok()
        }
        Some([Value::String(tag), Value::String(name)]) if tag == "named-uuid" => {
            named.get(name).copied()
        }
        _ => None,
    }
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
pub fn short(json: &Value) -> String {
    let text = json.to_string();
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
