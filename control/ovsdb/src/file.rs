//! Standalone database files (ovsdb(5), "Standalone Format"), read only.
//!
//! A file is a schema record and then a record for every transaction, each with its length and
//! SHA-1. Reading replays all of them. Newer servers write how a row changed, older ones what it
//! changed to; a record says which (`_is_diff`). An error says at which byte of the file it is.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_json::value::RawValue;
use sha1::{Digest, Sha1};
use uuid::Uuid;

use crate::intern::Interner;
use crate::json::{ColumnsSeed, Meaning};
use crate::monitor::{RowChange, RowUpdate, Shapes, Wanted};
use crate::replica::Replica;
use crate::row::Row;
use crate::schema::{Schema, SchemaError};

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is of a clustered database.
    #[error(
        "{path}: a clustered database file; connect to its server, or make a standalone copy with \
         `ovsdb-tool cluster-to-standalone COPY {path}`"
    )]
    Clustered {
        /// The file.
        path: PathBuf,
    },
    /// It holds another database.
    #[error("{path}: expected a database {expected}, found {found}")]
    OtherDatabase {
        /// The file.
        path: PathBuf,
        /// The database that was asked for.
        expected: String,
        /// The database in the file.
        found: Arc<str>,
    },
    /// A record is damaged.
    #[error("{path}, at byte {offset}: {damage}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: usize,
        /// What is wrong there.
        damage: Damage,
    },
}

/// What can be wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The line before a record.
    #[error("expected `OVSDB JSON <length> <sha1>`, found {0:?}")]
    Header(String),
    /// The file ends inside a record.
    #[error("expected a record of {expected} bytes, found only {found}")]
    CutShort {
        /// The length in the record's header.
        expected: usize,
        /// What is left of the file.
        found: usize,
    },
    /// The record was changed.
    #[error("expected a record with SHA-1 {expected}, found {found}")]
    Checksum {
        /// The checksum in the record's header.
        expected: String,
        /// The record's checksum.
        found: String,
    },
    /// The record is not what the format says.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The first record is not a schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The file is empty.
    #[error("expected a schema, found the end of the file")]
    Empty,
    /// A record names something that is no UUID.
    #[error("table {table}: expected the UUID of a row, found {found:?}")]
    RowName {
        /// The table.
        table: String,
        /// What is there.
        found: String,
    },
    /// A record with differences changes a row that no record made.
    #[error("{0}")]
    UnknownRow(#[from] crate::replica::UnknownRow),
}

/// A database, as a file holds it.
#[derive(Debug)]
pub struct FileDatabase {
    /// The schema.
    pub schema: Schema,
    /// The tables and columns that were asked for.
    pub shapes: Shapes,
    /// The rows.
    pub replica: Replica,
}

impl FileDatabase {
    /// Reads a file that holds a database of the given name.
    pub fn read(path: &Path, database: &str, wanted: &[Wanted]) -> Result<Self, FileError> {
        let bytes =
            std::fs::read(path).map_err(|error| FileError::Read { path: path.into(), error })?;
        Self::parse(path, &bytes, database, wanted)
    }

    /// Reads the bytes of a file; `path` is for errors.
    pub fn parse(
        path: &Path,
        bytes: &[u8],
        database: &str,
        wanted: &[Wanted],
    ) -> Result<Self, FileError> {
        let damaged = |(offset, damage)| FileError::Damaged { path: path.into(), offset, damage };
        if bytes.starts_with(b"OVSDB CLUSTER ") {
            return Err(FileError::Clustered { path: path.into() });
        }
        let mut records = Records { bytes, offset: 0 };
        let (offset, first) =
            records.next().ok_or_else(|| damaged((0, Damage::Empty)))?.map_err(damaged)?;
        let json: Value =
            serde_json::from_slice(first).map_err(|error| damaged((offset, error.into())))?;
        let schema = Schema::from_json(&json).map_err(|error| damaged((offset, error.into())))?;
        if *schema.name != *database {
            return Err(FileError::OtherDatabase {
                path: path.into(),
                expected: database.to_owned(),
                found: schema.name,
            });
        }
        let shapes = Shapes::of(&schema, wanted);
        let mut file = Self { schema, shapes, replica: Replica::default() };
        let mut strings = Interner::default();
        for record in records {
            let (offset, record) = record.map_err(damaged)?;
            file.replay(record, &mut strings).map_err(|damage| damaged((offset, damage)))?;
        }
        Ok(file)
    }

    fn replay(&mut self, record: &[u8], strings: &mut Interner) -> Result<(), Damage> {
        let tables: HashMap<&str, &RawValue> = serde_json::from_slice(record)?;
        let by_difference = tables.get("_is_diff").is_some_and(|raw| raw.get() == "true");
        let mut updates = Vec::new();
        for (table, rows) in tables {
            let Some(shape) = self.shapes.get(table) else { continue };
            let rows: HashMap<&str, Option<&RawValue>> = serde_json::from_str(rows.get())?;
            for (name, columns) in rows {
                let row = Uuid::try_parse(name).map_err(|_| Damage::RowName {
                    table: table.to_owned(),
                    found: name.chars().take(40).collect(),
                })?;
                let known = self.replica.row(table, row).is_some();
                let meaning = match known && by_difference {
                    true => Meaning::Difference,
                    false => Meaning::Value,
                };
                let change = match columns {
                    None => RowChange::Delete,
                    Some(columns) => {
                        let mut json = serde_json::Deserializer::from_str(columns.get());
                        let mut columns = Vec::new();
                        let (strings, into) = (&mut *strings, &mut columns);
                        let seed = ColumnsSeed { shape, meaning, strings, into };
                        seed.deserialize(&mut json)?;
                        match (known, by_difference) {
                            (false, _) => RowChange::Insert(Row::new(row, shape, columns)),
                            (true, true) => RowChange::Modify(columns),
                            (true, false) => RowChange::Replace(columns),
                        }
                    }
                };
                updates.push(RowUpdate { shape: shape.clone(), row, change });
            }
        }
        match self.replica.apply(updates) {
            (_, Some(unknown)) => Err(unknown.into()),
            _ => Ok(()),
        }
    }
}

/// The records of a file: the place of each and its JSON.
struct Records<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(usize, &'a [u8]), (usize, Damage)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let start = self.offset;
        let record = record(rest).map_err(|damage| (start, damage));
        self.offset = match &record {
            Ok((header, json)) => start + header + json.len(),
            Err(_) => self.bytes.len(),
        };
        Some(record.map(|(header, json)| (start + header, json)))
    }
}

/// The length of the header and the JSON of the record that the bytes begin with.
fn record(bytes: &[u8]) -> Result<(usize, &[u8]), Damage> {
    const LONGEST_HEADER: usize = 100;
    let line = &bytes[..bytes.len().min(LONGEST_HEADER)];
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    let text = String::from_utf8_lossy(&line[..end]);
    let wrong = || Damage::Header(text.chars().take(60).collect());
    let words: Vec<&str> = text.split(' ').collect();
    let ["OVSDB", "JSON", length, expected] = words[..] else { return Err(wrong()) };
    let length: usize = length.parse().map_err(|_| wrong())?;
    if expected.len() != 40 || end == line.len() {
        return Err(wrong());
    }
    let rest = &bytes[end + 1..];
    let json =
        rest.get(..length).ok_or(Damage::CutShort { expected: length, found: rest.len() })?;
    let found: String = Sha1::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
    match found.eq_ignore_ascii_case(expected) {
        true => Ok((end + 1, json)),
        false => Err(Damage::Checksum { expected: expected.to_owned(), found }),
    }
}
