//! A transaction on the local rows: the operations of RFC 7047, section 5.2, all or nothing.
//!
//! [`stage`] executes the operations on a view over the rows and changes nothing; what comes of it
//! is checked as a whole, so that operations may refer to each other in any order. The first thing
//! that is wrong refuses everything, and says which operation it is.

use super::check::check;
use super::database::{Database, references};
use super::document::Json;
use super::schema::{self, TABLES, Table};
use super::value::{self, Named, short};
use hashbrown::{HashMap, HashSet};
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::packed::Parts;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::value::{Atom, Datum};
use serde_json::{Map, Value};
use std::sync::Arc;
use uuid::Uuid;

pub use operations::Operations;
pub use outcome::Outcome;
pub use refusal::{Refusal, kind};

mod condition;
mod mutation;
mod operations;
mod outcome;
mod refusal;

/// Operations of one transaction at most.
pub const MOST: usize = 1 << 20;

/// What a transaction would do.
#[derive(Debug)]
pub struct Staged {
    /// The rows that would change.
    pub changes: Vec<Change>,
    /// A result for each operation.
    pub outcomes: Vec<Outcome>,
    /// The operation that last touched each of the changed rows, in the order of `changes`.
    pub blame: Vec<usize>,
}

impl Staged {
    /// A refusal of these operations because of a changed row.
    pub fn refuse(
        &self,
        operations: &Operations,
        row: Uuid,
        error: &'static str,
        details: String,
    ) -> Refusal {
        let found = self.changes.iter().position(|change| change.row == row);
        let operation = found.map(|index| self.blame[index]);
        let what = operation.and_then(|at| operations.get(at)).map(described).unwrap_or_default();
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
    operations: &Operations,
    known: &dyn Fn(&str, Uuid) -> bool,
) -> Result<Staged, Refusal> {
    if operations.len() > MOST {
        let found = operations.len();
        return Err(Refusal::whole(
            kind::RESOURCES,
            format!("expected at most {MOST} operations, found {found}"),
        ));
    }
    let mut view = View {
        database,
        known,
        named: Named::new(),
        touched: HashMap::with_capacity(operations.len()),
        now: 0,
        parts: Parts::default(),
        last: None,
    };
    let fail = |at: usize, (error, details): Failure| Refusal {
        operation: Some(at),
        what: operations.get(at).map(described).unwrap_or_default(),
        error,
        details,
    };
    let inserted = view.name(operations).map_err(|(at, failure)| fail(at, failure))?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for (at, operation) in operations.iter().enumerate() {
        view.now = at;
        let outcome = view.execute(operation, inserted.get(&at).copied());
        outcomes.push(outcome.map_err(|failure| fail(at, failure))?);
    }
    view.forget();
    view.check().map_err(|(at, failure)| fail(at, failure))?;
    let mut touched: Vec<(Uuid, Touched)> = view.touched.into_iter().collect();
    touched.sort_unstable_by_key(|(row, touched)| (touched.by, *row));
    let (mut changes, mut blame) = (Vec::with_capacity(touched.len()), Vec::new());
    for (row, Touched { table, new, by }) in touched {
        let old = database.row(&table, row).cloned();
        if old != new {
            blame.push(by);
            changes.push(Change { table, row, old, new });
        }
    }
    Ok(Staged { changes, outcomes, blame })
}

fn described(operation: Json<'_>) -> String {
    let member = |name| operation.get(name).and_then(Json::as_str);
    let op = member("op").unwrap_or("?");
    match (op, member("table")) {
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
    /// Where rows are put together.
    parts: Parts,
    /// The row that was inserted last: the next is often like it.
    last: Option<Row>,
}

impl View<'_> {
    /// Gives each row that is inserted its UUID, so that any operation may name it.
    fn name(&mut self, operations: &Operations) -> Result<HashMap<usize, Uuid>, (usize, Failure)> {
        let mut inserted = HashMap::new();
        let mut given = HashSet::new();
        for (at, operation) in operations.iter().enumerate() {
            if operation.member("op").as_str() != Some("insert") {
                continue;
            }
            let given_uuid = operation.member("uuid");
            let uuid = if given_uuid.is_null() {
                Uuid::new_v4()
            } else {
                let uuid = given_uuid.as_str().and_then(|text| Uuid::try_parse(text).ok());
                let uuid = uuid.ok_or_else(|| {
                    (at, syntax(format!("uuid: expected a UUID, found {}", short(given_uuid))))
                })?;
                let taken = !given.insert(uuid) || self.exists_anywhere(uuid);
                if taken {
                    let details = format!("uuid: {uuid} is a row that exists");
                    return Err((at, (kind::CONSTRAINT, details)));
                }
                uuid
            };
            inserted.insert(at, uuid);
            let name = operation.member("uuid-name");
            if name.is_null() {
                continue;
            }
            let Some(text) = name.as_str() else {
                let details = format!("uuid-name: expected a name, found {}", short(name));
                return Err((at, syntax(details)));
            };
            if self.named.insert(text.to_owned(), uuid).is_some() {
                let details = format!("uuid-name: {text:?} is given twice");
                return Err((at, (kind::CONSTRAINT, details)));
            }
        }
        Ok(inserted)
    }

    fn exists_anywhere(&self, uuid: Uuid) -> bool {
        self.database.table_of(uuid).is_some()
            || TABLES.keys().any(|table| (self.known)(table, uuid))
    }

    fn execute(&mut self, operation: Json<'_>, inserted: Option<Uuid>) -> Result<Outcome, Failure> {
        let Some(mut members) = operation.members() else {
            return Err(syntax(format!("expected an operation, found {}", short(operation))));
        };
        let op = operation.member("op");
        let op = op.as_str().unwrap_or_default();
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
                    short(operation.member("op"))
                )));
            }
        };
        if let Some((member, _)) = members.find(|(name, _)| !allowed.contains(name)) {
            let allowed = allowed.join(", ");
            return Err(syntax(format!("expected no members but {allowed}, found {member}")));
        }
        match op {
            "comment" => return Ok(Outcome::Nothing),
            "abort" => return Err((kind::ABORTED, "by the operation abort".to_owned())),
            _ => {}
        }
        let table = self.table(operation.member("table"))?;
        match op {
            "insert" => self.insert(table, operation.member("row"), inserted.unwrap_or_default()),
            "select" => self.select(table, operation),
            "update" => self.update(table, operation),
            "mutate" => self.mutate(table, operation),
            "delete" => self.delete(table, operation),
            _ => self.wait(table, operation),
        }
    }

    fn table(&self, json: Json<'_>) -> Result<&'static Table, Failure> {
        json.as_str().and_then(|name| TABLES.get(name)).ok_or_else(|| {
            syntax(format!("table: expected one of {}, found {}", schema::names(), short(json)))
        })
    }

    fn touch(&mut self, table: &'static Table, row: Uuid, new: Option<Row>) {
        let table = table.shape.table().clone();
        self.touched.insert(row, Touched { table, new, by: self.now });
    }

    fn insert(
        &mut self,
        table: &'static Table,
        json: Json<'_>,
        row: Uuid,
    ) -> Result<Outcome, Failure> {
        self.put_columns(table, json)?;
        let like = self.last.as_ref().filter(|row| Arc::ptr_eq(row.shape(), &table.shape));
        let new = Row::of_parts(row, &table.shape, &mut self.parts, like);
        self.last = Some(new.clone());
        self.touch(table, row, Some(new));
        Ok(Outcome::Inserted(row))
    }

    /// Reads columns of a row into the parts.
    fn put_columns(&mut self, table: &'static Table, json: Json<'_>) -> Result<(), Failure> {
        let Some(columns) = json.members() else {
            return match json.is_null() {
                true => Ok(()),
                false => Err(syntax(format!("row: expected an object, found {}", short(json)))),
            };
        };
        for (name, json) in columns {
            let index = index(table, name)?;
            let column = &table.shape.columns()[index];
            match json.as_str().filter(|_| value::is_text(column)) {
                Some(text) => self.parts.text(index, text),
                None => {
                    let datum = value::datum(json, column, &self.named)
                        .map_err(|wrong| self.wrong_value(name, json, wrong))?;
                    self.parts.datum(index, datum);
                }
            }
        }
        Ok(())
    }

    fn wrong_value(&self, column: &str, json: Json<'_>, wrong: String) -> Failure {
        let name = json.fixed().filter(|[tag, _]| tag.as_str() == Some("named-uuid"));
        let name = name.and_then(|[_, name]| name.as_str());
        match name.filter(|name| !self.named.contains_key(*name)) {
            Some(name) => (
                kind::REFERENCE,
                format!("column {column}: no operation inserts a row with uuid-name {name:?}"),
            ),
            None => (kind::CONSTRAINT, format!("column {column}: {wrong}")),
        }
    }

    fn columns(table: &'static Table, json: Json<'_>) -> Result<Option<Vec<String>>, Failure> {
        let Some(list) = json.elements() else {
            return match json.is_null() {
                true => Ok(None),
                false => {
                    Err(syntax(format!("columns: expected a list of names, found {}", short(json))))
                }
            };
        };
        let name = |json: Json<'_>| match json.as_str() {
            Some("_uuid") => Ok("_uuid".to_owned()),
            Some(name) => index(table, name).map(|_| name.to_owned()),
            None => Err(syntax(format!("columns: expected a name, found {}", short(json)))),
        };
        list.map(name).collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn select(&self, table: &'static Table, operation: Json<'_>) -> Result<Outcome, Failure> {
        let columns = Self::columns(table, operation.member("columns"))?;
        let rows = self.matching(table, operation.member("where"))?;
        let rows = rows.iter().map(|(uuid, row)| shown(*uuid, row, columns.as_deref()));
        Ok(Outcome::Rows(rows.collect()))
    }

    fn update(&mut self, table: &'static Table, operation: Json<'_>) -> Result<Outcome, Failure> {
        let rows = self.matching(table, operation.member("where"))?;
        for (uuid, row) in &rows {
            row.put(&mut self.parts);
            self.put_columns(table, operation.member("row"))?;
            let new = Row::of_parts(*uuid, &table.shape, &mut self.parts, Some(row));
            self.touch(table, *uuid, Some(new));
        }
        Ok(Outcome::Count(rows.len()))
    }

    fn delete(&mut self, table: &'static Table, operation: Json<'_>) -> Result<Outcome, Failure> {
        let rows = self.matching(table, operation.member("where"))?;
        for (uuid, _) in &rows {
            self.touch(table, *uuid, None);
        }
        Ok(Outcome::Count(rows.len()))
    }

    fn wait(&mut self, table: &'static Table, operation: Json<'_>) -> Result<Outcome, Failure> {
        let timeout = operation.member("timeout");
        if timeout.as_i64() != Some(0) {
            return Err(syntax(format!(
                "timeout: expected 0 (a wait is checked at once), found {}",
                short(timeout)
            )));
        }
        let columns = Self::columns(table, operation.member("columns"))?;
        let until = operation.member("until");
        let equal = match until.as_str() {
            Some("==") => true,
            Some("!=") => false,
            _ => return Err(syntax(format!("until: expected == or !=, found {}", short(until)))),
        };
        let wanted = operation.member("rows");
        let Some(list) = wanted.elements() else {
            return Err(syntax(format!("rows: expected a list of rows, found {}", short(wanted))));
        };
        let names: Vec<String> = match columns {
            Some(names) => names.into_iter().filter(|name| name != "_uuid").collect(),
            None => table.shape.columns().iter().map(|column| column.name.to_string()).collect(),
        };
        let mut expected = HashSet::new();
        for row in list {
            self.put_columns(table, row)?;
            let row = Row::of_parts(Uuid::nil(), &table.shape, &mut self.parts, None);
            expected.insert(projected(&row, &names));
        }
        let rows = self.matching(table, operation.member("where"))?;
        let found: HashSet<_> = rows.iter().map(|(_, row)| projected(row, &names)).collect();
        match (found == expected) == equal {
            true => Ok(Outcome::Nothing),
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
        let weak = table.references.iter().filter(|(_, target)| target.weak);
        let kept = weak.filter_map(|(column, target)| {
            let atoms = row.atoms(*column);
            let there =
                |atom: &&Atom| atom.as_uuid().is_none_or(|row| self.exists(&target.table, row));
            let kept: Vec<Atom> = atoms.iter().filter(there).cloned().collect();
            (kept.len() < atoms.len()).then(|| (*column, Datum::set(kept)))
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
