//! The tables that local rows may be in, with OVN's names.
//!
//! They are a part of the Southbound's schema: what a chassis reads of it to forward packets. What
//! northd or a chassis writes there for others to see (`chassis`, `up`, `encap` and so on) is not
//! among them.

use ovn_xdp_ovsdb::schema::Schema;
use ovn_xdp_ovsdb::shape::Shape;
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
    /// Columns that refer to rows, by their index in the shape, and what they refer to.
    pub references: Vec<(usize, Reference)>,
    /// Whether one of these is weak.
    pub refers_weakly: bool,
}

/// What a column's values refer to.
#[derive(Debug)]
pub struct Reference {
    /// The table whose rows they are.
    pub table: Arc<str>,
    /// The row may go, and what referred to it is taken out of the column (RFC 7047, section 3.2).
    pub weak: bool,
}

/// The tables by name.
pub static TABLES: LazyLock<BTreeMap<Arc<str>, Table>> = LazyLock::new(|| {
    let json: Value = serde_json::from_str(TEXT).expect("our own schema is JSON");
    let schema = read();
    let table = |(name, columns): (&Arc<str>, _)| {
        let shape = Shape::of(name, columns, None);
        let reference = |column: &str| {
            let key = &json["tables"][&**name]["columns"][column]["type"]["key"];
            let weak = key["refType"] == "weak";
            key["refTable"].as_str().map(|table| Reference { table: table.into(), weak })
        };
        let columns = shape.columns().iter().enumerate();
        let references: Vec<_> =
            columns.filter_map(|(at, column)| Some((at, reference(&column.name)?))).collect();
        let refers_weakly = references.iter().any(|(_, reference)| reference.weak);
        (name.clone(), Table { shape: Arc::new(shape), references, refers_weakly })
    };
    schema.tables.iter().map(table).collect()
});

/// The schema.
pub fn read() -> Schema {
    let json: Value = serde_json::from_str(TEXT).expect("our own schema is JSON");
    Schema::from_json(&json).expect("our own schema reads")
}

/// Its version.
pub fn version() -> String {
    read().version
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
        let all = TABLES.values().flat_map(|table| &table.references);
        let all = all.map(|(_, reference)| reference);
        let (weak, strong): (Vec<_>, Vec<_>) = all.partition(|reference| reference.weak);
        // Logical_DP_Group.datapaths and Multicast_Group.ports, as in ovn-sb(5).
        assert_eq!((weak.len(), strong.len()), (2, 5));
        assert!(weak.iter().chain(&strong).all(|it| TABLES.contains_key(&it.table)));
    }
}
