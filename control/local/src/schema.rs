//! The tables that local rows may be in, with OVN's names.
//!
//! They are a part of the Southbound's schema: what a chassis reads of it to forward packets. What
//! northd or a chassis writes there for others to see (`chassis`, `up`, `encap` and so on) is not
//! among them.

use ovn_xdp_ovsdb::row::Shape;
use ovn_xdp_ovsdb::schema::Schema;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The schema in the notation of RFC 7047.
pub const TEXT: &str = include_str!("local.ovsschema");

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name and columns.
    pub shape: Arc<Shape>,
    /// Columns that refer to rows, by their index in the shape, and the table of these.
    pub references: Vec<(usize, Arc<str>)>,
}

/// The tables by name.
pub static TABLES: LazyLock<BTreeMap<Arc<str>, Table>> = LazyLock::new(|| {
    let json: Value = serde_json::from_str(TEXT).expect("our own schema is JSON");
    let schema = Schema::from_json(&json).expect("our own schema reads");
    let table = |(name, columns): (&Arc<str>, _)| {
        let shape = Shape::of(name, columns, None);
        let reference = |column: &str| {
            let key = &json["tables"][&**name]["columns"][column]["type"]["key"];
            key["refTable"].as_str().map(Arc::from)
        };
        let columns = shape.columns().iter().enumerate();
        let references =
            columns.filter_map(|(at, column)| Some((at, reference(&column.name)?))).collect();
        (name.clone(), Table { shape: Arc::new(shape), references })
    };
    schema.tables.iter().map(table).collect()
});

/// Its version.
pub fn version() -> String {
    let json: Value = serde_json::from_str(TEXT).unwrap_or_default();
    json["version"].as_str().unwrap_or_default().to_owned()
}

/// The names of all tables, for people.
pub fn names() -> String {
    TABLES.keys().map(|name| &**name).collect::<Vec<_>>().join(", ")
}

/// The names of a table's columns, for people.
pub fn columns(shape: &Shape) -> String {
    let names = shape.columns().iter().map(|column| &*column.name);
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_compile::southbound::monitored;

    #[test]
    fn every_column_is_one_that_the_compiler_reads_from_the_southbound() {
        for (name, table) in &*TABLES {
            let (_, known) = monitored().into_iter().find(|(table, _)| *table == &**name).unwrap();
            // Of a map it may be that single keys are read, as `COLUMN:KEY`.
            let read: Vec<&str> =
                known.iter().map(|column| column.split(':').next().unwrap_or(column)).collect();
            for column in table.shape.columns() {
                assert!(read.contains(&&*column.name), "{name}.{}", column.name);
            }
        }
    }

    #[test]
    fn references_lead_to_tables_that_exist() {
        let references: Vec<_> = TABLES.values().flat_map(|table| &table.references).collect();
        assert!(references.len() >= 6);
        assert!(references.iter().all(|(_, target)| TABLES.contains_key(target)));
    }
}
