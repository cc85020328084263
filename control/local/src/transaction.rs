//! A transaction on the local rows: the operations of RFC 7047, section 5.2, all or nothing.
//!
//! [`stage`] executes the operations on a view over the rows and changes nothing; what comes of it
//! is checked as a whole, so that operations may refer to each other in any order. The first thing
//! that is wrong refuses everything, and says which operation it is.

use super::check::check;
use super::database::{Database, references};
use super::schema::{self, TABLES, Table};
use super::value::{self, Named, short};
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::value::{Atom, Datum};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

pub use refusal::{Refusal, kind};

mod condition;
mod mutation;
mod refusal;

/// Operations of one transaction at most.
pub const MOST: usize = 1 << 20;

/// What a transaction would do.
#[derive(Debug)]
pub struct Staged {
    /// The rows that would change.
    pub changes: Vec<Change>,
    /// A result for each operation.
    pub results: Vec<Value>,
    /// The operation that last touched each of the changed rows, in the order of `changes`.
    pub blame: Vec<usize>,
    whats: HashMap<usize, String>,
}

impl Staged {
    /// A refusal because of a changed row.
    pub fn refuse(&self, row: Uuid, error: &'static str, details: String) -> Refusal {
        let found = self.changes.iter().position(|change| change.row == row);
        let operation = found.map(|index| self.blame[index]);
        let what = operation.and_then(|at| self.whats.get(&at).cloned()).unwrap_or_default();
        Refusal { operation, what, error, details }
    }
}

type Failure = (&'static str, String);

fn syntax(details: impl Into<String>) -> Failure {
    (kind::SYNTAX, details.into())
}

/// Executes operations on a view. `known` says whether the Southbound DB has a row, for references
/// into it.
///
/// # Errors
/// The first thing that is wrong.
pub fn stage(
    database: &Database,
    operations: &[Value],
    known: &dyn Fn(&str, Uuid) -> bool,
) -> Result<Staged, Refusal> {
    if operations.len() > MOST {
        let found = operations.len();
        return Err(Refusal::whole(
            kind::RESOURCES,
            format!("expected at most {MOST} operations, found {found}"),
        ));
    }
    let mut view = View { database, known, named: Named::new(), touched: HashMap::new(), now: 0 };
    let fail = |at: usize, (error, details): Failure| Refusal {
        operation: Some(at),
        what: described(&operations[at]),
        error,
        details,
    };
    let inserted = view.name(operations).map_err(|(at, failure)| fail(at, failure))?;
    let mut results = Vec::with_capacity(operations.len());
    for (at, operation) in operations.iter().enumerate() {
        view.now = at;
        let result = view.execute(operation, inserted.get(&at).copied());
        results.push(result.map_err(|failure| fail(at, failure))?);
    }
    view.forget();
    view.check().map_err(|(at, failure)| fail(at, failure))?;
    let mut touched: Vec<(Uuid, Touched)> = view.touched.into_iter().collect();
    touched.sort_unstable_by_key(|(row, touched)| (touched.by, *row));
    let (mut changes, mut blame) = (Vec::with_capacity(touched.len()), Vec::new());
    let mut whats = HashMap::new();
    for (row, Touched { table, new, by }) in touched {
        let old = database.row(&table, row).cloned();
        if old == new {
            continue;
        }
        whats.entry(by).or_insert_with(|| described(&operations[by]));
        blame.push(by);
        changes.push(Change { table, row, old, new });
    }
    Ok(Staged { changes, results, blame, whats })
}

fn described(operation: &Value) -> String {
    let op = operation["op"].as_str().unwrap_or("?");
    match (op, operation["table"].as_str()) {
        ("insert", Some(table)) => format!("insert into {table}"),
        (op, Some(table)) => format!("{op} {table}"),
        (op, None) => op.to_owned(),
    }
}

struct Touched {
    table: Arc<str>,
    new: Option<Row>,
    by: usize,
}

struct View<'a> {
    database: &'a Database,
    known: &'a dyn Fn(&str, Uuid) -> bool,
    named: Named,
    touched: HashMap<Uuid, Touched>,
    now: usize,
}

impl View<'_> {
    /// Gives each row that is inserted its UUID, so that any operation may name it.
    fn name(&mut self, operations: &[Value]) -> Result<HashMap<usize, Uuid>, (usize, Failure)> {
        let mut inserted = HashMap::new();
        let mut given = HashSet::new();
        for (at, operation) in operations.iter().enumerate() {
            if operation["op"] != "insert" {
                continue;
            }
            let uuid = match &operation["uuid"] {
                Value::Null => Uuid::new_v4(),
                json => {
                    let uuid = json.as_str().and_then(|text| Uuid::try_parse(text).ok());
                    let uuid = uuid.ok_or_else(|| {
                        (at, syntax(format!("uuid: expected a UUID, found {}", short(json))))
                    })?;
                    let taken = !given.insert(uuid) || self.exists_anywhere(uuid);
                    if taken {
                        let details = format!("uuid: {uuid} is a row that exists");
                        return Err((at, (kind::CONSTRAINT, details)));
                    }
                    uuid
                }
            };
            inserted.insert(at, uuid);
            match &operation["uuid-name"] {
                Value::Null => {}
                Value::String(name) => {
                    if self.named.insert(name.clone(), uuid).is_some() {
                        let details = format!("uuid-name: {name:?} is given twice");
                        return Err((at, (kind::CONSTRAINT, details)));
                    }
                }
                other => {
                    let details = format!("uuid-name: expected a name, found {}", short(other));
                    return Err((at, syntax(details)));
                }
            }
        }
        Ok(inserted)
    }

    fn exists_anywhere(&self, uuid: Uuid) -> bool {
        self.database.table_of(uuid).is_some()
            || TABLES.keys().any(|table| (self.known)(table, uuid))
    }

    fn execute(&mut self, operation: &Value, inserted: Option<Uuid>) -> Result<Value, Failure> {
        let Some(members) = operation.as_object() else {
            return Err(syntax(format!("expected an operation, found {}", short(operation))));
        };
        let op = members.get("op").and_then(Value::as_str).unwrap_or_default();
        let allowed: &[&str] = match op {
            "insert" => &["op", "table", "row", "uuid-name", "uuid"],
            "select" => &["op", "table", "where", "columns"],
            "update" => &["op", "table", "where", "row"],
            "mutate" => &["op", "table", "where", "mutations"],
            "delete" => &["op", "table", "where"],
            "wait" => &["op", "table", "where", "columns", "until", "rows", "timeout"],
            "comment" => &["op", "comment"],
            "abort" => &["op"],
            _ => {
                return Err(syntax(format!(
                    "op: expected insert, select, update, mutate, delete, wait, comment or abort, \
                     found {}",
                    short(&operation["op"])
                )));
            }
        };
        if let Some(member) = members.keys().find(|member| !allowed.contains(&member.as_str())) {
            let allowed = allowed.join(", ");
            return Err(syntax(format!("expected no members but {allowed}, found {member}")));
        }
        match op {
            "comment" => return Ok(json!({})),
            "abort" => return Err((kind::ABORTED, "by the operation abort".to_owned())),
            _ => {}
        }
        let table = self.table(&operation["table"])?;
        match op {
            "insert" => self.insert(table, &operation["row"], inserted.unwrap_or_default()),
            "select" => self.select(table, operation),
            "update" => self.update(table, operation),
            "mutate" => self.mutate(table, operation),
            "delete" => self.delete(table, operation),
            _ => self.wait(table, operation),
        }
    }

    fn table(&self, json: &Value) -> Result<&'static Table, Failure> {
        json.as_str().and_then(|name| TABLES.get(name)).ok_or_else(|| {
            syntax(format!("table: expected one of {}, found {}", schema::names(), short(json)))
        })
    }

    fn touch(&mut self, table: &'static Table, row: Uuid, new: Option<Row>) {
        let table = table.shape.table().clone();
        self.touched.insert(row, Touched { table, new, by: self.now });
    }

    fn insert(&mut self, table: &'static Table, json: &Value, row: Uuid) -> Result<Value, Failure> {
        let new = Row::new(row, &table.shape, self.columns_of(table, json)?);
        self.touch(table, row, Some(new));
        Ok(json!({ "uuid": ["uuid", row.to_string()] }))
    }

    fn columns_of(
        &self,
        table: &'static Table,
        json: &Value,
    ) -> Result<Vec<(usize, Datum)>, Failure> {
        let empty = Map::new();
        let columns = match json {
            Value::Null => &empty,
            Value::Object(columns) => columns,
            other => {
                return Err(syntax(format!("row: expected an object, found {}", short(other))));
            }
        };
        columns.iter().map(|(name, json)| self.column(table, name, json)).collect()
    }

    fn column(
        &self,
        table: &'static Table,
        name: &str,
        json: &Value,
    ) -> Result<(usize, Datum), Failure> {
        let index = index(table, name)?;
        let datum = value::datum(json, &table.shape.columns()[index], &self.named)
            .map_err(|wrong| self.wrong_value(name, json, wrong))?;
        Ok((index, datum))
    }

    fn wrong_value(&self, column: &str, json: &Value, wrong: String) -> Failure {
        let name = json.as_array().filter(|list| list.first() == Some(&json!("named-uuid")));
        let unknown = name.and_then(|list| list.get(1)?.as_str());
        match unknown.filter(|name| !self.named.contains_key(*name)) {
            Some(name) => (
                kind::REFERENCE,
                format!("column {column}: no operation inserts a row with uuid-name {name:?}"),
            ),
            None => (kind::CONSTRAINT, format!("column {column}: {wrong}")),
        }
    }

    fn columns(table: &'static Table, json: &Value) -> Result<Option<Vec<String>>, Failure> {
        let Value::Array(list) = json else {
            return match json {
                Value::Null => Ok(None),
                other => Err(syntax(format!(
                    "columns: expected a list of names, found {}",
                    short(other)
                ))),
            };
        };
        let name = |json: &Value| match json.as_str() {
            Some("_uuid") => Ok("_uuid".to_owned()),
            Some(name) => index(table, name).map(|_| name.to_owned()),
            None => Err(syntax(format!("columns: expected a name, found {}", short(json)))),
        };
        list.iter().map(name).collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn select(&self, table: &'static Table, operation: &Value) -> Result<Value, Failure> {
        let columns = Self::columns(table, &operation["columns"])?;
        let rows = self.matching(table, &operation["where"])?;
        let rows: Vec<Value> =
            rows.iter().map(|(uuid, row)| shown(*uuid, row, columns.as_deref())).collect();
        Ok(json!({ "rows": rows }))
    }

    fn update(&mut self, table: &'static Table, operation: &Value) -> Result<Value, Failure> {
        let rows = self.matching(table, &operation["where"])?;
        for (uuid, row) in &rows {
            let columns = self.columns_of(table, &operation["row"])?;
            let new = row.with(&table.shape, columns);
            self.touch(table, *uuid, Some(new));
        }
        Ok(json!({ "count": rows.len() }))
    }

    fn delete(&mut self, table: &'static Table, operation: &Value) -> Result<Value, Failure> {
        let rows = self.matching(table, &operation["where"])?;
        for (uuid, _) in &rows {
            self.touch(table, *uuid, None);
        }
        Ok(json!({ "count": rows.len() }))
    }

    fn wait(&self, table: &'static Table, operation: &Value) -> Result<Value, Failure> {
        if operation["timeout"] != json!(0) {
            return Err(syntax(format!(
                "timeout: expected 0 (a wait is checked at once), found {}",
                short(&operation["timeout"])
            )));
        }
        let columns = Self::columns(table, &operation["columns"])?;
        let equal = match operation["until"].as_str() {
            Some("==") => true,
            Some("!=") => false,
            _ => {
                let found = short(&operation["until"]);
                return Err(syntax(format!("until: expected == or !=, found {found}")));
            }
        };
        let Some(wanted) = operation["rows"].as_array() else {
            let found = short(&operation["rows"]);
            return Err(syntax(format!("rows: expected a list of rows, found {found}")));
        };
        let names: Vec<String> = match columns {
            Some(names) => names.into_iter().filter(|name| name != "_uuid").collect(),
            None => table.shape.columns().iter().map(|column| column.name.to_string()).collect(),
        };
        let mut expected = HashSet::new();
        for row in wanted {
            let row = Row::new(Uuid::nil(), &table.shape, self.columns_of(table, row)?);
            expected.insert(projected(&row, &names));
        }
        let rows = self.matching(table, &operation["where"])?;
        let found: HashSet<_> = rows.iter().map(|(_, row)| projected(row, &names)).collect();
        match (found == expected) == equal {
            true => Ok(json!({})),
            false => Err((kind::TIMED_OUT, format!("{} rows are there", found.len()))),
        }
    }

    /// Takes weak references to rows that will not be there out of the rows that hold them.
    fn forget(&mut self) {
        let mut holders: Vec<(Uuid, usize)> = Vec::new();
        for (row, touched) in &self.touched {
            if TABLES.get(&touched.table).is_some_and(|table| table.refers_weakly) {
                holders.push((*row, touched.by));
            }
            if touched.new.is_none() {
                let others = self.database.weak_referrers(*row);
                let untouched = others.filter(|row| !self.touched.contains_key(row));
                holders.extend(untouched.map(|row| (row, touched.by)));
            }
        }
        for (uuid, by) in holders {
            let row = match self.touched.get(&uuid) {
                Some(touched) => touched.new.as_ref(),
                None => {
                    let table = self.database.table_of(uuid);
                    table.and_then(|table| self.database.row(table, uuid))
                }
            };
            let Some(row) = row else { continue };
            let Some(new) = self.without_lost(row) else { continue };
            let table = new.table().clone();
            let by = self.touched.get(&uuid).map_or(by, |touched| touched.by);
            self.touched.insert(uuid, Touched { table, new: Some(new), by });
        }
    }

    /// A row without its weak references to rows that will not be there, if it has such.
    fn without_lost(&self, row: &Row) -> Option<Row> {
        let table = TABLES.get(row.table())?;
        let columns = table.references.iter().zip(row.values()).enumerate();
        let kept = columns.filter_map(|(column, (reference, datum))| {
            let target = reference.as_ref().filter(|reference| reference.weak)?;
            let atoms = datum
                .atoms()
                .iter()
                .filter(|atom| atom.as_uuid().is_none_or(|row| self.exists(&target.table, row)));
            let atoms: Vec<Atom> = atoms.cloned().collect();
            (atoms.len() < datum.len()).then(|| (column, Datum::set(atoms)))
        });
        let kept: Vec<(usize, Datum)> = kept.collect();
        (!kept.is_empty()).then(|| row.with(&table.shape, kept))
    }

    /// Whether the rows as they would be make sense together.
    fn check(&self) -> Result<(), (usize, Failure)> {
        let mut counts: HashMap<Uuid, isize> = HashMap::new();
        let mut gone = Vec::new();
        for (uuid, touched) in &self.touched {
            let old = self.database.row(&touched.table, *uuid);
            for (_, target) in old.into_iter().flat_map(references).filter(|(to, _)| !to.weak) {
                *counts.entry(target).or_default() -= 1;
            }
            let Some(new) = &touched.new else {
                gone.extend(old.map(|_| (*uuid, touched)));
                continue;
            };
            check(*uuid, new).map_err(|details| (touched.by, (kind::CONSTRAINT, details)))?;
            for (to, target) in references(new).filter(|(to, _)| !to.weak) {
                *counts.entry(target).or_default() += 1;
                if !self.exists(&to.table, target) {
                    let details = format!("there is no row {target} in {}", to.table);
                    return Err((touched.by, (kind::REFERENCE, details)));
                }
            }
        }
        for (uuid, touched) in gone {
            let now = self.database.referrers(uuid) as isize + counts.get(&uuid).unwrap_or(&0);
            if now > 0 {
                let table = &touched.table;
                let details = format!("{now} other rows still refer to row {uuid} of {table}");
                return Err((touched.by, (kind::REFERENCE, details)));
            }
        }
        Ok(())
    }

    fn exists(&self, table: &str, row: Uuid) -> bool {
        match self.touched.get(&row) {
            Some(touched) => touched.new.is_some() && *touched.table == *table,
            None => self.database.row(table, row).is_some() || (self.known)(table, row),
        }
    }
}

fn index(table: &'static Table, name: &str) -> Result<usize, Failure> {
    table.shape.index(name).ok_or_else(|| {
        let (table, allowed) = (table.shape.table(), schema::columns(&table.shape));
        syntax(format!("table {table} has no column {name}; expected one of {allowed}"))
    })
}

fn projected(row: &Row, names: &[String]) -> Vec<Datum> {
    names.iter().filter_map(|name| row.get(name)).collect()
}

/// A row as a client sees it.
fn shown(uuid: Uuid, row: &Row, columns: Option<&[String]>) -> Value {
    let wanted = |name: &str| columns.is_none_or(|columns| columns.iter().any(|c| c == name));
    let mut shown = Map::new();
    if wanted("_uuid") {
        shown.insert("_uuid".to_owned(), Atom::Uuid(uuid).to_json());
    }
    for (name, datum) in row.columns().filter(|(name, _)| wanted(name)) {
        shown.insert(name.to_string(), datum.to_json());
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests;
