//! Reading columns of a row, and building the JSON of operations (RFC 7047, section 5).
//!
//! A column that is absent, because the server's schema is older, reads as empty.

use ovn_xdp_ovsdb::Row;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A string, if there is one.
pub fn string(row: &Row, column: &str) -> Option<Arc<str>> {
    row.optional_string(column).ok().flatten().map(Arc::from)
}

/// A string; empty if there is none.
pub fn text(row: &Row, column: &str) -> Arc<str> {
    string(row, column).unwrap_or_else(|| Arc::from(""))
}

/// An integer, if there is one.
pub fn integer(row: &Row, column: &str) -> Option<i64> {
    row.optional_integer(column).ok().flatten()
}

/// A Boolean, if there is one.
pub fn boolean(row: &Row, column: &str) -> Option<bool> {
    row.optional_boolean(column).ok().flatten()
}

/// All UUIDs of a set.
pub fn uuids(row: &Row, column: &str) -> Vec<Uuid> {
    row.uuids(column).map_or_else(|_| Vec::new(), Iterator::collect)
}

/// A UUID, if there is one.
pub fn uuid(row: &Row, column: &str) -> Option<Uuid> {
    row.optional_uuid(column).ok().flatten()
}

/// All strings of a set.
pub fn strings(row: &Row, column: &str) -> Vec<Arc<str>> {
    row.strings(column).unwrap_or_default()
}

/// All pairs of a map of strings.
pub fn pairs(row: &Row, column: &str) -> BTreeMap<String, String> {
    let map = row.map(column).ok();
    let pairs = map.iter().flat_map(|map| map.iter());
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The value of a key of a map of strings.
pub fn option(row: &Row, column: &str, key: &str) -> Option<Arc<str>> {
    row.map(column).ok()?.get(key).cloned()
}

/// A reference to a row.
pub fn reference(uuid: Uuid) -> Value {
    json!(["uuid", uuid.to_string()])
}

/// A reference to a row that the same transaction inserts.
pub fn named(name: &str) -> Value {
    json!(["named-uuid", name])
}

/// A set.
pub fn set_of(values: impl IntoIterator<Item = Value>) -> Value {
    json!(["set", values.into_iter().collect::<Vec<_>>()])
}

/// The empty set.
pub fn empty() -> Value {
    set_of([])
}

/// A map of strings.
pub fn map_of<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
    let pairs: Vec<Value> =
        pairs.into_iter().map(|(key, value)| json!([key.as_ref(), value.as_ref()])).collect();
    json!(["map", pairs])
}

/// The condition that a row is this one.
pub fn is(uuid: Uuid) -> Value {
    json!(["_uuid", "==", reference(uuid)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_ovsdb::value::Datum;

    #[test]
    fn absent_and_empty_columns_read_as_nothing() {
        let row = Row::made("Port_Binding", [("up", Datum::empty())]);
        assert_eq!(boolean(&row, "up"), None);
        assert_eq!(boolean(&row, "absent"), None);
        assert_eq!(&*text(&row, "absent"), "");
        assert_eq!(option(&row, "options", "peer"), None);
    }

    #[test]
    fn values_are_read_by_their_kind() {
        let row = Row::made(
            "Port_Binding",
            [("tag", Datum::from(7)), ("options", Datum::map([("peer", "lrp")]))],
        );
        assert_eq!(integer(&row, "tag"), Some(7));
        assert_eq!(option(&row, "options", "peer").as_deref(), Some("lrp"));
        assert_eq!(map_of([("a", "b")]), json!(["map", [["a", "b"]]]));
    }
}
