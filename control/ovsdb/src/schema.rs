//! Database schemas (RFC 7047, section 3.2).
//!
//! Only what a client needs: which tables and columns there are, and the type of each. The same
//! client meets an OVN 23.03 Southbound database and today's, so nobody assumes a column: what to
//! monitor is what was wanted and what the server has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::value::{AtomType, Datum};

/// The type of a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnType {
    /// The type of the elements, or of the keys of a map.
    pub key: AtomType,
    /// The type of the values if this is a map.
    pub value: Option<AtomType>,
    /// The least number of elements: 0 or 1.
    pub min: usize,
    /// The greatest number of elements; `usize::MAX` for unlimited.
    pub max: usize,
    /// Whether the schema leaves few values to choose from, so that many rows have the same: an
    /// enumeration, or integers of a small range.
    pub few: bool,
}

impl ColumnType {
    /// A column that always holds exactly one atom.
    pub fn scalar(key: AtomType) -> Self {
        Self { key, value: None, min: 1, max: 1, few: false }
    }

    /// A column that holds one atom or none.
    pub fn optional(key: AtomType) -> Self {
        Self { key, value: None, min: 0, max: 1, few: false }
    }

    /// True if a column of this type changes by differences rather than by replacement
    /// (ovsdb-server(7), section 4.1.14): it may hold more than one element.
    pub fn changes_by_difference(&self) -> bool {
        self.max > 1
    }

    /// The value of a column that an insertion leaves out (RFC 7047, section 5.2.1).
    pub fn default_datum(&self) -> Datum {
        match (self.value, self.min) {
            (None, 0) => Datum::empty(),
            (None, _) => Datum::One(self.key.default_atom()),
            (Some(_), 0) => Datum::Map(Arc::from([])),
            (Some(value), _) => Datum::map([(self.key.default_atom(), value.default_atom())]),
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.value, self.min, self.max) {
            (Some(value), ..) => write!(f, "map of {} to {value}", self.key),
            (None, 1, 1) => write!(f, "{}", self.key),
            (None, 0, 1) => write!(f, "optional {}", self.key),
            (None, ..) => write!(f, "set of {}", self.key),
        }
    }
}

/// The columns of one table, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableSchema {
    /// The type of each column; `_uuid` and `_version` are not among them.
    pub columns: BTreeMap<Arc<str>, ColumnType>,
}

/// A database schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    /// The name of the database, such as `OVN_Southbound`.
    pub name: Arc<str>,
    /// The version, `x.y.z`; empty if the schema carries none.
    pub version: String,
    /// The tables, by name.
    pub tables: BTreeMap<Arc<str>, TableSchema>,
}

/// What is wrong with a schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("schema, at {place}: expected {expected}, found {found}")]
pub struct SchemaError {
    /// Where in the schema: table and column, or a member.
    pub place: String,
    /// What should be there.
    pub expected: &'static str,
    /// What is there, shortened.
    pub found: String,
}

impl SchemaError {
    fn new(place: impl Into<String>, expected: &'static str, found: &Value) -> Self {
        let mut found = found.to_string();
        if let Some((cut, _)) = found.char_indices().nth(60) {
            found.truncate(cut);
            found.push('…');
        }
        Self { place: place.into(), expected, found }
    }
}

impl Schema {
    /// Reads a `<database-schema>`.
    pub fn from_json(json: &Value) -> Result<Self, SchemaError> {
        let object = object(json, "the top")?;
        let name = object
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| SchemaError::new("name", "the name of the database", json))?;
        let version = object.get("version").and_then(Value::as_str).unwrap_or_default();
        let mut tables = BTreeMap::new();
        for (table, json) in self::object(&json["tables"], "tables")? {
            let place = format!("table {table}");
            let mut columns = BTreeMap::new();
            for (column, json) in self::object(&self::object(json, &place)?["columns"], &place)? {
                let place = format!("table {table}, column {column}");
                columns.insert(Arc::from(column.as_str()), column_type(&json["type"], &place)?);
            }
            tables.insert(Arc::from(table.as_str()), TableSchema { columns });
        }
        Ok(Self { name: Arc::from(name), version: version.to_owned(), tables })
    }
}

fn object<'a>(json: &'a Value, place: &str) -> Result<&'a Map<String, Value>, SchemaError> {
    json.as_object().ok_or_else(|| SchemaError::new(place, "an object", json))
}

fn column_type(json: &Value, place: &str) -> Result<ColumnType, SchemaError> {
    if json.is_string() {
        return Ok(ColumnType::scalar(base_type(json, place)?));
    }
    let object = object(json, place)?;
    let key = base_type(object.get("key").unwrap_or(&Value::Null), place)?;
    let value = object.get("value").map(|json| base_type(json, place)).transpose()?;
    let count = |member: &str| match object.get(member) {
        None => Ok(1),
        Some(Value::String(text)) if text == "unlimited" && member == "max" => Ok(usize::MAX),
        Some(json) => json
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| SchemaError::new(place, "a number of elements", json)),
    };
    let (min, max) = (count("min")?, count("max")?);
    if min > 1 || max < 1 || min > max {
        return Err(SchemaError::new(place, "min of 0 or 1, and max of at least 1", json));
    }
    let few = object.get("key").is_some_and(is_one_of_few);
    Ok(ColumnType { key, value, min, max, few })
}

/// Whether a base type has an enumeration of values, or a small range.
fn is_one_of_few(json: &Value) -> bool {
    /// As many integers are few.
    const FEW: i64 = 256;
    let limit = |member: &str| json.get(member).and_then(Value::as_i64);
    let range = limit("minInteger").zip(limit("maxInteger"));
    json.get("enum").is_some() || range.is_some_and(|(min, max)| max.saturating_sub(min) < FEW)
}

fn base_type(json: &Value, place: &str) -> Result<AtomType, SchemaError> {
    let name = json.as_str().or_else(|| json.get("type").and_then(Value::as_str));
    name.and_then(AtomType::from_name).ok_or_else(|| {
        SchemaError::new(place, "a type of integer, real, boolean, string or uuid", json)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_types_of_columns_are_understood_in_every_notation() {
        let schema = Schema::from_json(&json!({
            "name": "D", "version": "1.2.3",
            "tables": {"T": {"columns": {
                "plain": {"type": "string"},
                "optional": {"type": {"key": {"type": "uuid", "refTable": "T"}, "min": 0}},
                "set": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
                "map": {"type": {"key": "string", "value": "real", "min": 0, "max": 4}},
                "enum": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}}},
                "table": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 32}}},
                "key": {"type": {"key": {"type": "integer", "minInteger": 1, "maxInteger": 32767}}},
            }}},
        }))
        .expect("a good schema");
        let columns = &schema.tables["T"].columns;
        assert_eq!(columns["plain"].to_string(), "string");
        assert_eq!(columns["optional"].to_string(), "optional uuid");
        assert!(!columns["optional"].changes_by_difference());
        assert_eq!(columns["set"].to_string(), "set of integer");
        assert!(columns["set"].changes_by_difference());
        assert_eq!(columns["map"].to_string(), "map of string to real");
        let few = columns.iter().filter(|(_, kind)| kind.few).map(|(name, _)| &**name);
        assert_eq!(few.collect::<Vec<_>>(), ["enum", "table"]);
    }

    #[test]
    fn a_wrong_type_is_reported_with_its_table_and_column() {
        let error = Schema::from_json(&json!({
            "name": "D", "tables": {"T": {"columns": {"c": {"type": "text"}}}},
        }))
        .expect_err("text is no type");
        assert_eq!(
            error.to_string(),
            "schema, at table T, column c: expected a type of integer, real, boolean, string or \
             uuid, found \"text\""
        );
    }
}
