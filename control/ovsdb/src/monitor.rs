//! Asking for tables, and reading what the server says of them.
//!
//! There are three dialects: `monitor` of RFC 7047, `monitor_cond` with conditions and differences,
//! and `monitor_cond_since`, which can also go on after a given transaction (ovsdb-server(7),
//! sections 4.1.12 to 4.1.16). All three are read into the same list of [`RowUpdate`]s.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::condition::{Conditions, TableConditions};
use crate::intern::Interner;
use crate::json::{ColumnsSeed, Meaning, NameSeed};
use crate::pieces;
use crate::row::Row;
use crate::schema::Schema;
use crate::shape::Shape;
use crate::value::Datum;

/// The dialects, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// OVS 2.12 and later: a connection can resume.
    #[default]
    MonitorCondSince,
    /// OVS 2.6 and later: conditions, but every connection starts with a full download.
    MonitorCond,
    /// RFC 7047: no conditions; every row of the monitored tables comes.
    Monitor,
}

impl Method {
    /// The method's name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::MonitorCondSince => "monitor_cond_since",
            Self::MonitorCond => "monitor_cond",
            Self::Monitor => "monitor",
        }
    }

    /// What to try if the server does not know this one.
    pub fn fallback(self) -> Option<Self> {
        match self {
            Self::MonitorCondSince => Some(Self::MonitorCond),
            Self::MonitorCond => Some(Self::Monitor),
            Self::Monitor => None,
        }
    }
}

/// A table that a client wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The table's name.
    pub table: Arc<str>,
    /// The columns, as far as the server has them; none for all that the server has. `COLUMN:KEY`
    /// keeps of a map only that key.
    pub columns: Option<Vec<Arc<str>>>,
}

impl Wanted {
    /// All columns of a table.
    pub fn table(table: &str) -> Self {
        Self { table: table.into(), columns: None }
    }

    /// Some columns of a table.
    pub fn columns(table: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| Arc::from(*name)).collect();
        Self { table: table.into(), columns: Some(columns) }
    }
}

/// The shapes of all monitored tables, in ascending order of names.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Shapes(Vec<Arc<Shape>>);

impl Shapes {
    /// Of the wanted tables and columns those that the schema has; everything if `wanted` is empty.
    pub fn of(schema: &Schema, wanted: &[Wanted]) -> Self {
        let shapes = schema.tables.iter().filter_map(|(name, table)| {
            if wanted.is_empty() {
                return Some(Arc::new(Shape::of(name, table, None)));
            }
            let wanted = wanted.iter().find(|wanted| wanted.table == *name)?;
            Some(Arc::new(Shape::of(name, table, wanted.columns.as_deref())))
        });
        Self(shapes.collect())
    }

    /// One table.
    pub fn single(shape: Shape) -> Self {
        Self::new([shape])
    }

    /// Some tables.
    pub fn new(shapes: impl IntoIterator<Item = Shape>) -> Self {
        let mut shapes: Vec<_> = shapes.into_iter().map(Arc::new).collect();
        shapes.sort_by(|a, b| a.table().cmp(b.table()));
        Self(shapes)
    }

    /// All shapes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Shape>> {
        self.0.iter()
    }

    /// The shape of a table, if it is monitored.
    pub fn get(&self, table: &str) -> Option<&Arc<Shape>> {
        self.0.binary_search_by(|shape| (**shape.table()).cmp(table)).ok().map(|at| &self.0[at])
    }
}

/// The parameters of a request to monitor.
pub fn request(
    method: Method,
    (database, id): (&str, &str),
    shapes: &Shapes,
    conditions: &TableConditions,
    schema: &Schema,
    last_txn: Uuid,
) -> Value {
    let mut tables = Map::new();
    for shape in shapes.iter() {
        let columns: Vec<&str> = shape.columns().iter().map(|column| &*column.name).collect();
        let mut request = json!({ "columns": columns });
        if let (true, Some(table), Some(conditions)) = (
            method != Method::Monitor,
            schema.tables.get(shape.table()),
            conditions.get(shape.table()).filter(|conditions| **conditions != Conditions::All),
        ) {
            request["where"] = conditions.to_json(table);
        }
        tables.insert(shape.table().to_string(), json!([request]));
    }
    match method {
        Method::MonitorCondSince => json!([database, id, tables, last_txn.to_string()]),
        _ => json!([database, id, tables]),
    }
}

/// The parameters of a request to change conditions; none if no monitored table changes.
pub fn change_request(
    id: &str,
    shapes: &Shapes,
    changes: &TableConditions,
    schema: &Schema,
) -> Option<Value> {
    let mut tables = Map::new();
    for (name, conditions) in changes {
        if let (Some(_), Some(table)) = (shapes.get(name), schema.tables.get(name)) {
            tables.insert(name.to_string(), json!([{ "where": conditions.to_json(table) }]));
        }
    }
    (!tables.is_empty()).then(|| json!([id, id, tables]))
}

/// What happened to one row.
#[derive(Clone, PartialEq, Debug)]
pub struct RowUpdate {
    /// The row's table.
    pub shape: Arc<Shape>,
    /// The row.
    pub row: Uuid,
    /// What happened.
    pub change: RowChange,
}

/// What can happen to a row.
#[derive(Clone, PartialEq, Debug)]
pub enum RowChange {
    /// It is there, with these values.
    Insert(Row),
    /// These columns have new values.
    Replace(Vec<(usize, Datum)>),
    /// These columns changed by a difference.
    Modify(Vec<(usize, Datum)>),
    /// It is gone.
    Delete,
}

/// The two notations of updates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notation {
    /// `<table-updates>` of RFC 7047, section 4.1.6: old and new.
    OldAndNew,
    /// `<table-updates2>`: initial, insert, delete, modify.
    Difference,
}

/// Reads `<table-updates>` or `<table-updates2>`.
pub struct UpdatesSeed<'a> {
    /// The monitored tables; others are skipped.
    pub shapes: &'a Shapes,
    /// The notation.
    pub notation: Notation,
    /// Where strings are kept.
    pub strings: &'a mut Interner,
}

impl UpdatesSeed<'_> {
    /// Reads the text of updates, by several if it is long.
    pub fn parse(self, text: &str) -> Result<Vec<RowUpdate>, serde_json::Error> {
        let Self { shapes, notation, strings } = self;
        let several = pieces::Readers::of(text);
        match several.and_then(|it| pieces::read(it, text, (shapes, notation), strings)) {
            Some(updates) => Ok(updates),
            None => Self { shapes, notation, strings }.parse_to(text, &mut None),
        }
    }

    /// Reads the text of updates, and tells the name of the last table in it.
    pub(crate) fn parse_to(
        self,
        text: &str,
        last: &mut Option<String>,
    ) -> Result<Vec<RowUpdate>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let updates = deserializer.deserialize_map(TablesVisitor { seed: self, last })?;
        deserializer.end()?;
        Ok(updates)
    }
}

struct TablesVisitor<'a, 's> {
    seed: UpdatesSeed<'s>,
    last: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for TablesVisitor<'_, '_> {
    type Value = Vec<RowUpdate>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of table updates")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut updates = Vec::new();
        let UpdatesSeed { shapes, notation, strings } = self.seed;
        let mut named = |name: &str| {
            *self.last = Some(name.to_owned());
            shapes.get(name)
        };
        while let Some(shape) = map.next_key_seed(NameSeed(&mut named))? {
            match shape {
                Some(shape) => map.next_value_seed(TableSeed {
                    shape,
                    notation,
                    strings,
                    updates: &mut updates,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(updates)
    }
}

struct TableSeed<'a> {
    shape: &'a Arc<Shape>,
    notation: Notation,
    strings: &'a mut Interner,
    updates: &'a mut Vec<RowUpdate>,
}

impl<'de> DeserializeSeed<'de> for TableSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TableSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of row updates of table {}", self.shape.table())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(row) = map.next_key_seed(NameSeed(Uuid::try_parse))? {
            let row = row.map_err(|error| {
                A::Error::custom(format_args!("table {}: row: {error}", self.shape.table()))
            })?;
            let change = map.next_value_seed(RowSeed {
                shape: self.shape,
                row,
                notation: self.notation,
                strings: self.strings,
            })?;
            self.updates.push(RowUpdate { shape: self.shape.clone(), row, change });
        }
        Ok(())
    }
}

struct RowSeed<'a> {
    shape: &'a Arc<Shape>,
    row: Uuid,
    notation: Notation,
    strings: &'a mut Interner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Old,
    New,
    Insert,
    Modify,
    Delete,
    Unknown,
}

impl Member {
    fn of(notation: Notation, name: &str) -> Self {
        match (notation, name) {
            (Notation::OldAndNew, "old") => Self::Old,
            (Notation::OldAndNew, "new") => Self::New,
            (Notation::Difference, "initial" | "insert") => Self::Insert,
            (Notation::Difference, "modify") => Self::Modify,
            (Notation::Difference, "delete") => Self::Delete,
            _ => Self::Unknown,
        }
    }
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = RowChange;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RowChange, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = RowChange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row update of table {}", self.shape.table())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowChange, A::Error> {
        let RowSeed { shape, row, notation, strings } = self;
        let (mut had_old, mut new, mut change) = (false, None, None);
        while let Some(member) =
            map.next_key_seed(NameSeed(|name: &str| Member::of(notation, name)))?
        {
            match member {
                Member::Old | Member::Delete | Member::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
                Member::Insert => {
                    let mut parts = std::mem::take(&mut strings.parts);
                    let (meaning, into) = (Meaning::Value, &mut parts);
                    let seed = ColumnsSeed { shape, meaning, strings: &mut *strings, into };
                    map.next_value_seed(seed)?;
                    change = Some(RowChange::Insert(Row::of(row, shape, &mut parts, strings)));
                    strings.parts = parts;
                }
                Member::New | Member::Modify => {
                    let meaning = match member {
                        Member::Modify => Meaning::Difference,
                        _ => Meaning::Value,
                    };
                    let mut columns = Vec::new();
                    let (strings, into) = (&mut *strings, &mut columns);
                    map.next_value_seed(ColumnsSeed { shape, meaning, strings, into })?;
                    match member {
                        Member::New => new = Some(columns),
                        _ => change = Some(RowChange::Modify(columns)),
                    }
                }
            }
            match member {
                Member::Old => had_old = true,
                Member::Delete => change = Some(RowChange::Delete),
                _ => {}
            }
        }
        match (change, had_old, new) {
            (Some(change), ..) => Ok(change),
            (None, true, Some(columns)) => Ok(RowChange::Replace(columns)),
            (None, false, Some(columns)) => Ok(RowChange::Insert(Row::new(row, shape, columns))),
            (None, true, None) => Ok(RowChange::Delete),
            (None, false, None) => Err(A::Error::custom(format_args!(
                "table {}: expected a row update of {}, found none of them",
                shape.table(),
                match notation {
                    Notation::OldAndNew => "old or new",
                    Notation::Difference => "initial, insert, modify or delete",
                }
            ))),
        }
    }
}
