//! Transactions (RFC 7047, sections 4.1.3 and 5.2).
//!
//! A [`Transaction`] is a list of operations that happen all or not at all. Rows that it inserts
//! can be referred to by later operations before they have a UUID, through the [`Reference`] that
//! the insertion returns.

use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::condition::Clause;
use crate::intern::Interner;
use crate::json::{ColumnsSeed, Meaning};
use crate::row::Row;
use crate::schema::{ColumnType, Schema, TableSchema};
use crate::shape::Shape;
use crate::value::{AtomType, Datum};

/// A row that the same transaction inserts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference(Arc<str>);

/// A value inside an operation: a datum, or one that refers to a row of the same transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct Operand(Value);

impl<D: Into<Datum>> From<D> for Operand {
    fn from(datum: D) -> Self {
        Self(datum.into().to_json())
    }
}

impl From<&Reference> for Operand {
    fn from(reference: &Reference) -> Self {
        Self(json!(["named-uuid", &*reference.0]))
    }
}

impl Operand {
    /// A set of rows that the same transaction inserts.
    pub fn references<'a>(rows: impl IntoIterator<Item = &'a Reference>) -> Self {
        let rows: Vec<Value> = rows.into_iter().map(|row| Self::from(row).0).collect();
        Self(json!(["set", rows]))
    }
}

/// How a column is changed in place (RFC 7047, section 5.1, `<mutation>`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutator {
    /// `+=`
    Add,
    /// `-=`
    Subtract,
    /// `*=`
    Multiply,
    /// `/=`
    Divide,
    /// `%=`
    Remainder,
    /// The elements, or the pairs whose keys are not there yet, are added.
    Insert,
    /// The elements, the pairs, or for a set the pairs with these keys, are removed.
    Delete,
}

impl Mutator {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "+=",
            Self::Subtract => "-=",
            Self::Multiply => "*=",
            Self::Divide => "/=",
            Self::Remainder => "%=",
            Self::Insert => "insert",
            Self::Delete => "delete",
        }
    }
}

/// What a `wait` operation waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// The rows are these.
    Equal,
    /// The rows are not these.
    NotEqual,
}

/// A list of operations that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    operations: Vec<Value>,
    kinds: Vec<Kind>,
    references: usize,
}

/// What an operation's result looks like.
#[derive(Clone, Debug)]
enum Kind {
    Insert,
    Count,
    Select { table: Arc<str>, columns: Option<Vec<Arc<str>>> },
    Empty,
}

impl Transaction {
    /// No operation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if there is no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Inserts a row; columns that are not named get their defaults.
    pub fn insert<'a, O: Into<Operand>>(
        &mut self,
        table: &str,
        columns: impl IntoIterator<Item = (&'a str, O)>,
    ) -> Reference {
        let name = format!("row{}", self.references);
        self.references += 1;
        let row = row(columns);
        self.add(
            Kind::Insert,
            json!({"op": "insert", "table": table, "row": row, "uuid-name": name}),
        );
        Reference(name.into())
    }

    /// Sets columns of the rows that match all clauses; of every row if there is none.
    pub fn update<'a, O: Into<Operand>>(
        &mut self,
        table: &str,
        clauses: &[Clause],
        columns: impl IntoIterator<Item = (&'a str, O)>,
    ) {
        let row = row(columns);
        let clauses = filter(clauses);
        self.add(
            Kind::Count,
            json!({"op": "update", "table": table, "where": clauses, "row": row}),
        );
    }

    /// Changes columns in place in the rows that match all clauses.
    pub fn mutate<'a, O: Into<Operand>>(
        &mut self,
        table: &str,
        clauses: &[Clause],
        mutations: impl IntoIterator<Item = (&'a str, Mutator, O)>,
    ) {
        let mutations: Vec<Value> = mutations
            .into_iter()
            .map(|(column, mutator, operand)| json!([column, mutator.name(), operand.into().0]))
            .collect();
        let clauses = filter(clauses);
        self.add(
            Kind::Count,
            json!({"op": "mutate", "table": table, "where": clauses, "mutations": mutations}),
        );
    }

    /// Deletes the rows that match all clauses.
    pub fn delete(&mut self, table: &str, clauses: &[Clause]) {
        let clauses = filter(clauses);
        self.add(Kind::Count, json!({"op": "delete", "table": table, "where": clauses}));
    }

    /// Reads columns of the rows that match all clauses; all columns, with `_uuid` and `_version`,
    /// if `columns` is none.
    pub fn select(&mut self, table: &str, clauses: &[Clause], columns: Option<&[&str]>) {
        let mut operation = json!({"op": "select", "table": table, "where": filter(clauses)});
        if let Some(columns) = columns {
            operation["columns"] = json!(columns);
        }
        let columns =
            columns.map(|columns| columns.iter().map(|column| Arc::from(*column)).collect());
        self.add(Kind::Select { table: table.into(), columns }, operation);
    }

    /// Lets the transaction wait, or fail with [`OperationError::TimedOut`] after `timeout_ms`
    /// milliseconds, until these columns of the rows that match all clauses are as given; with a
    /// timeout of 0 it is a check.
    pub fn wait<'a, O: Into<Operand>>(
        &mut self,
        table: &str,
        clauses: &[Clause],
        until: Until,
        rows: impl IntoIterator<Item = Vec<(&'a str, O)>>,
        timeout_ms: u32,
    ) {
        let rows: Vec<Map<String, Value>> = rows.into_iter().map(row).collect();
        let columns: Vec<&String> =
            rows.first().map(|row| row.keys().collect()).unwrap_or_default();
        let operation = json!({
            "op": "wait",
            "table": table,
            "where": filter(clauses),
            "columns": columns,
            "until": if until == Until::Equal { "==" } else { "!=" },
            "rows": rows,
            "timeout": timeout_ms,
        });
        self.add(Kind::Empty, operation);
    }

    /// Fails with [`OperationError::NotOwner`] unless this client holds the lock.
    pub fn assert(&mut self, lock: &str) {
        self.add(Kind::Empty, json!({"op": "assert", "lock": lock}));
    }

    /// Adds a line to the server's log of transactions.
    pub fn comment(&mut self, text: &str) {
        self.add(Kind::Empty, json!({"op": "comment", "comment": text}));
    }

    /// Adds an operation as it goes over the wire (RFC 7047, section 5.2), from a caller that keeps
    /// operations as data. Names of inserted rows are the caller's: `row` and a number is taken.
    pub fn operation(&mut self, operation: Value) {
        let kind = match operation["op"].as_str() {
            Some("insert") => Kind::Insert,
            Some("update" | "mutate" | "delete") => Kind::Count,
            _ => Kind::Empty,
        };
        self.add(kind, operation);
    }

    fn add(&mut self, kind: Kind, operation: Value) {
        self.kinds.push(kind);
        self.operations.push(operation);
    }

    /// The parameters of the request.
    pub(crate) fn request(&self, database: &str) -> Value {
        let mut params = vec![json!(database)];
        params.extend(self.operations.iter().cloned());
        Value::Array(params)
    }

    /// Reads the result of the request.
    pub(crate) fn results(&self, schema: &Schema, json: &Value) -> Result<Results, TransactError> {
        let unreadable = |expected: &'static str, found: &Value| TransactError::Unreadable {
            expected,
            found: found.to_string().chars().take(80).collect(),
        };
        let array = json.as_array().ok_or_else(|| unreadable("an array of results", json))?;
        for (index, result) in array.iter().enumerate() {
            if let Some(error) = OperationError::from_json(result) {
                return Err(match self.operations.get(index) {
                    Some(operation) => TransactError::Operation {
                        index,
                        operation: operation["op"].as_str().unwrap_or_default().to_owned(),
                        table: operation["table"].as_str().unwrap_or_default().to_owned(),
                        error,
                    },
                    None => TransactError::Commit { error },
                });
            }
        }
        if array.len() < self.kinds.len() {
            return Err(unreadable("a result for each operation", json));
        }
        let mut strings = Interner::default();
        let mut results = Vec::with_capacity(self.kinds.len());
        for (kind, json) in self.kinds.iter().zip(array) {
            results.push(match kind {
                Kind::Insert => {
                    let uuid = json["uuid"].get(1).and_then(Value::as_str);
                    let uuid = uuid.and_then(|text| Uuid::try_parse(text).ok());
                    Outcome::Inserted(uuid.ok_or_else(|| unreadable("a UUID", json))?)
                }
                Kind::Count => Outcome::Count(
                    json["count"].as_u64().ok_or_else(|| unreadable("a count of rows", json))?,
                ),
                Kind::Select { table, columns } => {
                    let none = TableSchema::default();
                    let schema = schema.tables.get(table).unwrap_or(&none);
                    let shape = Arc::new(selected(table, schema, columns.as_deref()));
                    let rows = json["rows"].as_array().ok_or_else(|| unreadable("rows", json))?;
                    let rows = rows.iter().map(|json| {
                        let mut columns = Vec::new();
                        let (strings, into) = (&mut strings, &mut columns);
                        let meaning = Meaning::Value;
                        ColumnsSeed { shape: &shape, meaning, strings, into }
                            .deserialize(json)
                            .map_err(|error| TransactError::Row(error.to_string()))?;
                        Ok(Row::new(Uuid::nil(), &shape, columns))
                    });
                    Outcome::Rows(rows.collect::<Result<_, TransactError>>()?)
                }
                Kind::Empty => Outcome::Done,
            });
        }
        Ok(Results(results))
    }
}

fn row<'a, O: Into<Operand>>(
    columns: impl IntoIterator<Item = (&'a str, O)>,
) -> Map<String, Value> {
    columns.into_iter().map(|(name, operand)| (name.to_owned(), operand.into().0)).collect()
}

fn filter(clauses: &[Clause]) -> Vec<Value> {
    clauses.iter().map(Clause::to_json).collect()
}

fn selected(table: &Arc<str>, schema: &TableSchema, columns: Option<&[Arc<str>]>) -> Shape {
    let internal = ["_uuid", "_version"];
    let internal = internal.map(|name| (Arc::from(name), ColumnType::scalar(AtomType::Uuid)));
    let known = schema.columns.iter().map(|(name, kind)| (name.clone(), kind.clone()));
    let wanted = |name: &Arc<str>| columns.is_none_or(|columns| columns.contains(name));
    Shape::new(table.clone(), known.chain(internal).filter(|(name, _)| wanted(name)))
}

/// The results of a transaction that was committed, one for each operation.
#[derive(Clone, PartialEq, Debug)]
pub struct Results(pub Vec<Outcome>);

/// The result of one operation.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The UUID of the inserted row.
    Inserted(Uuid),
    /// The number of rows that an update, mutation or deletion matched.
    Count(u64),
    /// The selected rows; `_uuid` is a column like others.
    Rows(Vec<Row>),
    /// The operation has no result.
    Done,
}

impl Results {
    /// The UUIDs of the inserted rows, in the order of the insertions.
    pub fn inserted(&self) -> impl Iterator<Item = Uuid> {
        self.0.iter().filter_map(|outcome| match outcome {
            Outcome::Inserted(uuid) => Some(*uuid),
            _ => None,
        })
    }

    /// The number of rows that all updates, mutations and deletions matched.
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|outcome| if let Outcome::Count(count) = outcome { *count } else { 0 })
            .sum()
    }

    /// The rows of the first selection.
    pub fn rows(&self) -> &[Row] {
        let rows = self.0.iter().find_map(|outcome| match outcome {
            Outcome::Rows(rows) => Some(rows.as_slice()),
            _ => None,
        });
        rows.unwrap_or_default()
    }
}

/// Why a transaction did not happen, or may not have happened.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum TransactError {
    /// There is no connection; or it ended before the answer, and then the transaction may or may
    /// not have been committed.
    #[error("disconnected from the database{}: {reason}", match sent {
        true => " after the transaction was sent, which may or may not have been committed",
        false => "",
    })]
    Disconnected {
        /// True if the server may have the transaction.
        sent: bool,
        /// Why there is no connection.
        reason: String,
    },
    /// The database is a file.
    #[error("{remote} is a database file, which is read only; a transaction needs a server")]
    ReadOnly {
        /// The remote.
        remote: String,
    },
    /// One operation failed, and so nothing happened.
    #[error("operation {index} ({operation} {table}): {error}")]
    Operation {
        /// The operation's place in the transaction, from 0.
        index: usize,
        /// What it was.
        operation: String,
        /// Its table; empty if it has none.
        table: String,
        /// What the server says.
        error: OperationError,
    },
    /// Each operation was fine, but together they are not.
    #[error("at commit: {error}")]
    Commit {
        /// What the server says.
        error: OperationError,
    },
    /// The server refused the whole request.
    #[error("the server refused the transaction: {error}")]
    Refused {
        /// What the server says.
        error: OperationError,
    },
    /// The server's answer is not what the protocol says.
    #[error("expected {expected}, found {found}")]
    Unreadable {
        /// What should be there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A selected row cannot be read.
    #[error("in a selected row: {0}")]
    Row(String),
}

/// What the server says of an operation that failed; each with the server's details.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperationError {
    /// An index, a limit or an immutable column stands against it.
    #[error("constraint violation: {0}")]
    ConstraintViolation(String),
    /// A row that is referred to does not exist, or one that is referred to would be gone.
    #[error("referential integrity violation: {0}")]
    ReferentialIntegrity(String),
    /// A `wait` did not come true in time, or another client was faster.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// An `assert` names a lock that is not ours.
    #[error("not owner: {0}")]
    NotOwner(String),
    /// Role-based access control forbids it.
    #[error("permission error: {0}")]
    Permission(String),
    /// The server is a backup, or the connection is read only.
    #[error("not allowed: {0}")]
    NotAllowed(String),
    /// Another operation of the transaction failed, so this was not attempted.
    #[error("aborted: {0}")]
    Aborted(String),
    /// Any other error.
    #[error("{error}: {details}")]
    Other {
        /// The server's word for it.
        error: String,
        /// The server's details.
        details: String,
    },
}

impl OperationError {
    /// Reads an `<error>`, or an error string; none if the JSON is neither.
    pub fn from_json(json: &Value) -> Option<Self> {
        let error = json.get("error").unwrap_or(json).as_str()?;
        let details =
            json.get("details").and_then(Value::as_str).unwrap_or("no details").to_owned();
        Some(match error {
            "constraint violation" => Self::ConstraintViolation(details),
            "referential integrity violation" => Self::ReferentialIntegrity(details),
            "timed out" => Self::TimedOut(details),
            "not owner" => Self::NotOwner(details),
            "permission error" => Self::Permission(details),
            "not allowed" => Self::NotAllowed(details),
            "aborted" => Self::Aborted(details),
            other => Self::Other { error: other.to_owned(), details },
        })
    }
}
