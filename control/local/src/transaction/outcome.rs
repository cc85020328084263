//! What an operation is answered with (RFC 7047, section 5.2).

use ovn_xdp_ovsdb::value::Atom;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use uuid::Uuid;

/// The result of an operation.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// There is nothing to say.
    Nothing,
    /// The row that was inserted.
    Inserted(Uuid),
    /// How many rows it was about.
    Count(usize),
    /// The rows that were asked for.
    Rows(Vec<Value>),
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Nothing => {}
            Self::Inserted(row) => map.serialize_entry("uuid", &Atom::Uuid(*row).to_json())?,
            Self::Count(count) => map.serialize_entry("count", count)?,
            Self::Rows(rows) => map.serialize_entry("rows", rows)?,
        }
        map.end()
    }
}
