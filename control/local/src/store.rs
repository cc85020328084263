//! The file that keeps the local rows across restarts: a standalone database file of ovsdb(5).
//!
//! A transaction is one record at the end, on the disk before anybody runs it: those that come
//! together are written together. `ovsdb-tool show-log` reads the file. When most of it is history, or its
//! schema is an older one than ours, it is written anew beside, and takes the place of the old one at
//! once. A record that was cut off by a crash was never answered: it is put aside, and the rest stands.
//! Any other damage is an error, and so is a newer schema, whose rows may hold what we do not know: the
//! file is left as it is.

use super::database::Database;
use super::schema;
use ovn_xdp_ovsdb::file::{Damage, FileDatabase, FileError};
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::row::{Difference, Row};
use serde::{Serialize, Serializer};
use serde_json::Value;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// History that is always put up with, bytes.
const HISTORY: u64 = 1 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is damaged, or of something else.
    #[error(
        "control.local-rows: {0}; the file is left as it is: repair it, or move it away to start \
         with no local rows"
    )]
    Damaged(#[from] FileError),
    /// A newer program wrote it.
    #[error(
        "control.local-rows {path}: expected a schema of version {ours} or older, found {found}; the \
         file is left as it is: run the program that wrote it, or move the file away to start with no \
         local rows"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: String,
        /// The version of ours.
        ours: String,
    },
    /// The system refuses.
    #[error("control.local-rows {path}: cannot {what}: {error}")]
    System {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// An open file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    /// Where the last good record ends.
    length: u64,
    /// The length when it was last written anew.
    compact: u64,
}

impl Store {
    /// Opens the file, makes it if there is none, and reads the rows in it.
    ///
    /// # Errors
    /// If it is damaged, or cannot be read and written.
    pub fn open(path: &Path) -> Result<(Self, Database), StoreError> {
        let system = |what| move |error| StoreError::System { path: path.into(), what, error };
        let mut bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(path, &Database::default())?, Database::default()));
            }
            Err(error) => return Err(system("read it")(error)),
        };
        let read = match FileDatabase::parse(path, &bytes, "OVN_Local", &[]) {
            Err(FileError::Damaged { offset, damage, .. })
                if is_cut_off(&damage, &bytes, offset) =>
            {
                let rest = path.with_extension("cut-off");
                std::fs::write(&rest, &bytes[offset..]).map_err(system("put its end aside"))?;
                bytes.truncate(offset);
                tracing::warn!(
                    path = %path.display(), aside = %rest.display(),
                    "the last record of the local rows was cut off by a crash, and never answered"
                );
                FileDatabase::parse(path, &bytes, "OVN_Local", &[])
            }
            read => read,
        }?;
        let (found, ours) = (&read.schema, schema::read());
        if release(&found.version) > release(&ours.version) {
            let (found, ours) = (found.version.clone(), ours.version);
            return Err(StoreError::Newer { path: path.into(), found, ours });
        }
        let mut database = Database::default();
        let tables: Vec<_> = read.replica.tables().cloned().collect();
        let mut changes = Vec::new();
        for table in tables {
            changes.extend(read.replica.rows(&table).map(|(row, new)| Change {
                table: table.clone(),
                row,
                old: None,
                new: in_our_columns(row, new),
            }));
        }
        database.apply(&changes);
        if *found != ours {
            // What is in tables and columns of ours alone would not be read again from behind its schema.
            return Ok((Self::create(path, &database)?, database));
        }
        let file =
            OpenOptions::new().write(true).open(path).map_err(system("open it for writing"))?;
        let length = bytes.len() as u64;
        file.set_len(length).map_err(system("cut its end off"))?;
        Ok((Self { path: path.into(), file, length, compact: length }, database))
    }

    /// Writes transactions, and waits until they are on the disk. `database` has them already.
    ///
    /// # Errors
    /// If they cannot be written; the file is then as it was before.
    pub fn append(
        &mut self,
        transactions: &[&[Change]],
        database: &Database,
    ) -> Result<(), StoreError> {
        if self.length > HISTORY + 2 * self.compact {
            *self = Self::create(&self.path, database)?;
            return Ok(());
        }
        let mut bytes = Vec::new();
        for changes in transactions {
            put_record(&mut bytes, &Changes(changes));
        }
        let written = write_at(&mut self.file, self.length, &bytes);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record would be in the way of the next one.
                let _ = self.file.set_len(self.length);
                Err(StoreError::System { path: self.path.clone(), what: "write to it", error })
            }
        }
    }

    /// Writes a file with these rows and no history, and puts it in the place of what is there.
    fn create(path: &Path, database: &Database) -> Result<Self, StoreError> {
        let system = |what| move |error| StoreError::System { path: path.into(), what, error };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(system("make its directory"))?;
        }
        let new = path.with_extension("new");
        let schema: Value = serde_json::from_str(schema::TEXT).unwrap_or_default();
        let mut bytes = Vec::new();
        put_record(&mut bytes, &schema);
        let rows = database.insertions();
        if !rows.is_empty() {
            put_record(&mut bytes, &Changes(&rows));
        }
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            // The name is on the disk only when its directory is.
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(system("write it"))?;
        let length = bytes.len() as u64;
        Ok(Self { path: path.into(), file, length, compact: length })
    }
}

fn write_at(file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(bytes, offset)
}

/// The numbers of a version such as 1.1.0.
fn release(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

/// The row with the columns that its table has here; those that the file lacks have their defaults.
fn in_our_columns(row: Uuid, found: &Row) -> Option<Row> {
    let shape = &schema::TABLES.get(found.table())?.shape;
    let columns = found.columns().filter_map(|(name, datum)| Some((shape.index(name)?, datum)));
    Some(Row::new(row, shape, columns))
}

/// Whether the file just ends within its last record.
fn is_cut_off(damage: &Damage, bytes: &[u8], offset: usize) -> bool {
    match damage {
        Damage::CutShort { .. } => true,
        Damage::Header(_) => {
            let rest = &bytes[offset..];
            offset > 0
                && !rest.contains(&b'\n')
                && (rest.starts_with(b"OVSDB") || b"OVSDB JSON".starts_with(rest))
        }
        _ => false,
    }
}

/// Adds a record at the end.
fn put_record(bytes: &mut Vec<u8>, content: &impl Serialize) {
    let json = serde_json::to_vec(content).unwrap_or_default();
    let head = format!("OVSDB JSON {} {:x}\n", json.len(), Sha1::digest(&json));
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(&json);
}

/// A transaction in the notation of ovsdb(5): every changed column of every changed row.
struct Changes<'a>(&'a [Change]);

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tables = BTreeMap::<&str, Vec<&Change>>::new();
        for change in self.0 {
            tables.entry(&change.table).or_default().push(change);
        }
        serializer.collect_map(tables.iter().map(|(table, rows)| (table, Rows(rows))))
    }
}

struct Rows<'a>(&'a [&'a Change]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|change| {
            let old = change.old.as_ref();
            (change.row, change.new.as_ref().map(|new| Difference { new, old }))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::transaction::{Operations, stage};
    use super::*;
    use serde_json::json;

    fn transact(store: &mut Store, database: &mut Database, operations: Value) {
        let staged = stage(database, &Operations::from(&operations), &|_, _| false).unwrap();
        database.apply(&staged.changes);
        store.append(&[&staged.changes], database).unwrap();
    }

    fn key(number: u32) -> Value {
        json!([{ "op": "insert", "table": "Datapath_Binding", "row": { "tunnel_key": number } }])
    }

    fn keys(database: &Database) -> Vec<i64> {
        let rows = database.rows("Datapath_Binding");
        let mut keys: Vec<i64> = rows.map(|(_, row)| row.integer("tunnel_key").unwrap()).collect();
        keys.sort_unstable();
        keys
    }

    fn filled() -> (tempfile::TempDir, PathBuf, Database) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/local.db");
        let (mut store, mut database) = Store::open(&path).unwrap();
        transact(&mut store, &mut database, key(1));
        transact(&mut store, &mut database, key(2));
        transact(
            &mut store,
            &mut database,
            json!([
                { "op": "update", "table": "Datapath_Binding",
                  "where": [["tunnel_key", "==", 1]], "row": { "tunnel_key": 7 } },
            ]),
        );
        (directory, path, database)
    }

    #[test]
    fn what_was_written_is_there_when_the_file_is_opened_again() {
        let (_directory, path, database) = filled();
        let (mut store, mut again) = Store::open(&path).unwrap();
        assert_eq!(keys(&again), [2, 7]);
        let sorted = |database: &Database| {
            let mut rows = database.insertions();
            rows.sort_by_key(|change| change.row);
            rows
        };
        assert_eq!(sorted(&again), sorted(&database));
        transact(
            &mut store,
            &mut again,
            json!([
                { "op": "delete", "table": "Datapath_Binding", "where": [["tunnel_key", "==", 7]] },
            ]),
        );
        assert_eq!(keys(&Store::open(&path).unwrap().1), [2]);
    }

    /// Whatever the place of a cut: the transactions before it are there, and no other.
    #[test]
    fn a_file_cut_anywhere_loses_only_the_record_that_was_cut() {
        let (_directory, path, _) = filled();
        let whole = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&whole);
        let starts: Vec<usize> = text.match_indices("OVSDB JSON ").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4);
        for cut in starts[1]..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (_, database) = Store::open(&path).unwrap();
            let expected: &[i64] = match cut {
                _ if cut < starts[2] => &[],
                _ if cut < starts[3] => &[1],
                _ => &[1, 2],
            };
            assert_eq!(keys(&database), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_the_place_and_is_left_as_it_is() {
        let (_directory, path, _) = filled();
        let whole = std::fs::read(&path).unwrap();
        let at = whole.len() - 100;
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("at byte"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }

    #[test]
    fn a_file_of_another_database_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sb.db");
        let schema = r#"{"name": "OVN_Southbound", "tables": {}}"#;
        let mut bytes = Vec::new();
        let schema: Value = serde_json::from_str(schema).unwrap();
        put_record(&mut bytes, &schema);
        std::fs::write(&path, bytes).unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("expected a database OVN_Local"), "{error}");
    }

    /// A file with one datapath and one flow of it, in our schema with a version and a change.
    fn other_schema(version: &str, change: impl Fn(&mut Value)) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("local.db");
        let mut schema: Value = serde_json::from_str(schema::TEXT).unwrap();
        schema["version"] = version.into();
        change(&mut schema["tables"]);
        let mut bytes = Vec::new();
        put_record(&mut bytes, &schema);
        let (datapath, flow) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
        let flow_row = json!({ "logical_datapath": ["uuid", datapath], "pipeline": "ingress",
                               "match": "1", "actions": "drop;" });
        let rows = json!({ "Datapath_Binding": { datapath: { "tunnel_key": 1 } },
                           "Logical_Flow": { flow: flow_row } });
        put_record(&mut bytes, &rows);
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_written_to_a_file_of_an_older_schema_is_there_when_it_is_opened_again() {
        let (_directory, path) = other_schema("1.0.0", |tables| {
            tables.as_object_mut().unwrap().remove("Address_Set");
            tables["Logical_Flow"]["columns"].as_object_mut().unwrap().remove("controller_meter");
        });
        let (mut store, mut database) = Store::open(&path).unwrap();
        assert_eq!(database.referrers(Uuid::from_u128(1)), 1, "the flow refers to its datapath");
        transact(
            &mut store,
            &mut database,
            json!([
                { "op": "insert", "table": "Address_Set", "row": { "name": "friends" } },
                { "op": "update", "table": "Logical_Flow", "where": [],
                  "row": { "controller_meter": "slow" } },
            ]),
        );
        let (_, again) = Store::open(&path).unwrap();
        assert_eq!(again.len("Address_Set"), 1);
        let flow = again.row("Logical_Flow", Uuid::from_u128(2)).unwrap();
        assert_eq!(flow.optional_string("controller_meter").unwrap(), Some("slow"));
    }

    #[test]
    fn a_file_of_a_newer_schema_is_refused_and_left_as_it_is() {
        for version in ["1.1.1", "1.10.0", "2.0.0"] {
            let (_directory, path) = other_schema(version, |tables| {
                tables["Logical_Flow"]["columns"]["colour"] = json!({ "type": "string" });
            });
            let before = std::fs::read(&path).unwrap();
            let error = Store::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("or older, found {version}")), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn history_does_not_pile_up() {
        let (_directory, path, _) = filled();
        let (mut store, mut database) = Store::open(&path).unwrap();
        let name = "x".repeat(50_000);
        for round in 0..100 {
            transact(
                &mut store,
                &mut database,
                json!([
                    { "op": "update", "table": "Datapath_Binding", "where": [],
                      "row": { "external_ids": ["map", [["name", format!("{name}{round}")]]] } },
                ]),
            );
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 2 * HISTORY);
        assert_eq!(keys(&Store::open(&path).unwrap().1), [2, 7]);
    }
}
