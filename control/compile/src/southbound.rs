//! Rows of the Southbound DB as plain structs (CHASSIS.md, section 3).
//!
//! One struct for each table that the compiler or the daemon reads, made from an OVSDB row by
//! [`Record::from_row`]. Columns that OVN 23.03 does not have yet are optional: they read as empty.
//! A row that does not hold what its column promises is an error that names table, row, column, what
//! was expected and what was found; who reads it skips the row.

mod chassis;
mod flow;
mod neighbour;
mod option;
mod port;
mod set;

pub use chassis::{Chassis, ChassisTemplateVar, Encap, HaChassis, HaChassisGroup, SbGlobal};
pub use flow::{LogicalDpGroup, LogicalFlow};
pub use neighbour::{Fdb, MacBinding, StaticMacBinding};
pub use option::{DhcpOptions, Dhcpv6Options, LoadBalancer};
pub use port::{DatapathBinding, PortBinding, PortType};
pub use set::{AddressSet, MulticastGroup, PortGroup};

use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::row::RowError;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A column that maps strings to strings: `options`, `external_ids` and the like.
pub type StringMap = BTreeMap<Arc<str>, Arc<str>>;

/// A table as a struct.
pub trait Record: Sized {
    /// The table's name.
    const TABLE: &'static str;
    /// The columns that are read; `COLUMN:KEY` of maps of which only those keys are.
    const COLUMNS: &'static [&'static str];

    /// Reads a row.
    ///
    /// # Errors
    /// [`BadRow`] if a column that every version has is missing, or holds another kind of value or
    /// one out of range.
    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow>;
}

/// A row that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRow {
    /// A column is missing or holds another kind of value.
    #[error("row {row}: {error}; the row is ignored")]
    Column {
        /// `_uuid`.
        row: Uuid,
        /// Table and column, what was expected and found.
        error: RowError,
    },
    /// A value is outside what the schema allows.
    #[error(
        "table {table}, row {row}, column {column}: expected {expected}, found {found}; the row is \
         ignored"
    )]
    Value {
        /// The table.
        table: &'static str,
        /// `_uuid`.
        row: Uuid,
        /// The column.
        column: &'static str,
        /// What the column may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
}

/// What the daemon asks the server to send: tables, and of each the columns that are read. A server
/// whose schema lacks some sends the others.
pub fn monitored() -> Vec<(&'static str, &'static [&'static str])> {
    fn table<R: Record>() -> (&'static str, &'static [&'static str]) {
        (R::TABLE, R::COLUMNS)
    }
    vec![
        table::<SbGlobal>(),
        table::<Chassis>(),
        table::<Encap>(),
        table::<DatapathBinding>(),
        table::<PortBinding>(),
        table::<LogicalFlow>(),
        table::<LogicalDpGroup>(),
        table::<MulticastGroup>(),
        table::<AddressSet>(),
        table::<PortGroup>(),
        table::<MacBinding>(),
        table::<StaticMacBinding>(),
        table::<Fdb>(),
        table::<HaChassisGroup>(),
        table::<HaChassis>(),
        table::<ChassisTemplateVar>(),
        table::<DhcpOptions>(),
        table::<Dhcpv6Options>(),
        table::<LoadBalancer>(),
    ]
}

/// A row on its way into a struct: every error carries the row's UUID.
struct Reader<'a> {
    table: &'static str,
    uuid: Uuid,
    row: &'a Row,
}

impl<'a> Reader<'a> {
    fn new<R: Record>(uuid: Uuid, row: &'a Row) -> Self {
        Self { table: R::TABLE, uuid, row }
    }

    fn string(&self, column: &str) -> Result<Arc<str>, BadRow> {
        self.row.string(column).map(Arc::from).map_err(|error| self.column(error))
    }

    fn optional_string(&self, column: &str) -> Result<Option<Arc<str>>, BadRow> {
        match self.row.optional_string(column) {
            Ok(text) => Ok(text.map(Arc::from)),
            Err(error) => Err(self.column(error)),
        }
    }

    fn boolean(&self, column: &str) -> Result<bool, BadRow> {
        self.row.boolean(column).map_err(|error| self.column(error))
    }

    fn optional_boolean(&self, column: &str) -> Result<Option<bool>, BadRow> {
        self.row.optional_boolean(column).map_err(|error| self.column(error))
    }

    fn uuid(&self, column: &str) -> Result<Uuid, BadRow> {
        self.row.uuid(column).map_err(|error| self.column(error))
    }

    fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, BadRow> {
        self.row.optional_uuid(column).map_err(|error| self.column(error))
    }

    fn integer(&self, column: &str) -> Result<i64, BadRow> {
        self.row.integer(column).map_err(|error| self.column(error))
    }

    fn optional_integer(&self, column: &str) -> Result<Option<i64>, BadRow> {
        self.row.optional_integer(column).map_err(|error| self.column(error))
    }

    fn strings(&self, column: &str) -> Result<Box<[Arc<str>]>, BadRow> {
        match self.row.strings(column) {
            Ok(strings) => Ok(strings.into()),
            Err(error) => Err(self.column(error)),
        }
    }

    fn uuids(&self, column: &str) -> Result<Box<[Uuid]>, BadRow> {
        match self.row.uuids(column) {
            Ok(uuids) => Ok(uuids.collect()),
            Err(error) => Err(self.column(error)),
        }
    }

    fn map(&self, column: &str) -> Result<StringMap, BadRow> {
        match self.row.map(column) {
            Ok(map) => Ok(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
            Err(error) => Err(self.column(error)),
        }
    }

    /// An integer as a number of ours, which knows its range.
    fn number<N: TryFrom<i64>, K>(
        &self,
        column: &'static str,
        expected: &'static str,
        make: impl FnOnce(N) -> Option<K>,
    ) -> Result<K, BadRow> {
        let found = self.integer(column)?;
        N::try_from(found)
            .ok()
            .and_then(make)
            .ok_or_else(|| self.value(column, expected, &found.to_string()))
    }

    fn column(&self, error: RowError) -> BadRow {
        BadRow::Column { row: self.uuid, error }
    }

    fn value(&self, column: &'static str, expected: &'static str, found: &str) -> BadRow {
        BadRow::Value { table: self.table, row: self.uuid, column, expected, found: found.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_ovsdb::value::Datum;

    #[test]
    fn a_bad_row_is_reported_with_table_row_column_and_both_values() {
        let uuid = Uuid::from_u128(7);
        let row = Row::made("Logical_DP_Group", [("datapaths", Datum::from("x"))]);
        let error = LogicalDpGroup::from_row(uuid, &row).unwrap_err().to_string();
        for part in ["Logical_DP_Group", "datapaths", &uuid.to_string(), "\"x\""] {
            assert!(error.contains(part), "{error} does not say {part}");
        }
    }

    #[test]
    fn a_key_out_of_range_says_what_the_range_is() {
        let row = Row::made(
            "Datapath_Binding",
            [("tunnel_key", Datum::from(1 << 24)), ("external_ids", Datum::map::<&str, &str>([]))],
        );
        let error = DatapathBinding::from_row(Uuid::nil(), &row).unwrap_err().to_string();
        assert!(error.contains("1..16777215") && error.contains("16777216"), "{error}");
    }

    #[test]
    fn every_monitored_column_of_every_table_is_listed_once() {
        for (table, columns) in monitored() {
            let mut sorted = columns.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), columns.len(), "{table}");
        }
    }
}
