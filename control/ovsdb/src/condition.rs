//! Conditions: which rows a client sees, and which rows an operation means.
//!
//! A [`Clause`] compares one column with a value (RFC 7047, section 5.1, `<condition>`). What a
//! client monitors of a table is the rows that match *any* of its clauses ([`Conditions`]); what
//! an operation of a transaction touches is the rows that match *all* of its.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::row::Row;
use crate::schema::TableSchema;
use crate::value::{Atom, Datum};

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Function {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// The column holds all elements or pairs of the value.
    Includes,
    /// The column holds no element or pair of the value.
    Excludes,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
            Self::Includes => "includes",
            Self::Excludes => "excludes",
        }
    }
}

/// A comparison of one column with a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Clause {
    /// The column; also `_uuid`.
    pub column: Arc<str>,
    /// How it is compared.
    pub function: Function,
    /// What it is compared with.
    pub value: Datum,
}

impl Clause {
    /// Any comparison.
    pub fn new(column: &str, function: Function, value: impl Into<Datum>) -> Self {
        Self { column: Arc::from(column), function, value: value.into() }
    }

    /// The column holds exactly this value.
    pub fn equal(column: &str, value: impl Into<Datum>) -> Self {
        Self::new(column, Function::Equal, value)
    }

    /// The column holds some other value.
    pub fn not_equal(column: &str, value: impl Into<Datum>) -> Self {
        Self::new(column, Function::NotEqual, value)
    }

    /// The column holds all of this value.
    pub fn includes(column: &str, value: impl Into<Datum>) -> Self {
        Self::new(column, Function::Includes, value)
    }

    /// The row with this UUID.
    pub fn row(uuid: Uuid) -> Self {
        Self::equal("_uuid", uuid)
    }

    /// The clause in the notation of the protocol.
    pub fn to_json(&self) -> Value {
        json!([&*self.column, self.function.name(), self.value.to_json()])
    }

    /// True if the row matches; also if the row does not have the column, so that nothing is
    /// hidden that a server might show.
    pub fn matches(&self, uuid: Uuid, row: &Row) -> bool {
        let found = match &*self.column {
            "_uuid" => Datum::from(uuid),
            column => match row.get(column) {
                Some(datum) => datum,
                None => return true,
            },
        };
        let compared = || found.atoms().first().zip(self.value.atoms().first());
        match self.function {
            Function::Equal => found == self.value,
            Function::NotEqual => found != self.value,
            Function::Less => compared().is_some_and(|(a, b)| a < b),
            Function::LessOrEqual => compared().is_some_and(|(a, b)| a <= b),
            Function::GreaterOrEqual => compared().is_some_and(|(a, b)| a >= b),
            Function::Greater => compared().is_some_and(|(a, b)| a > b),
            Function::Includes => {
                let has = |atom: &Atom| found.atoms().binary_search(atom).is_ok();
                self.value.atoms().iter().all(has)
                    && self.value.pairs().iter().all(|pair| found.pairs().contains(pair))
            }
            Function::Excludes => {
                let has = |atom: &Atom| found.atoms().binary_search(atom).is_ok();
                !self.value.atoms().iter().any(has)
                    && !self.value.pairs().iter().any(|pair| found.pairs().contains(pair))
            }
        }
    }
}

/// Which rows of a table are monitored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conditions {
    /// Every row.
    All,
    /// The rows that match at least one clause; no row if there is none.
    Any(Vec<Clause>),
}

impl Conditions {
    /// The rows that match at least one of the clauses, in an order that makes equal sets equal.
    pub fn any(clauses: impl IntoIterator<Item = Clause>) -> Self {
        let mut clauses: Vec<Clause> = clauses.into_iter().collect();
        clauses.sort_unstable();
        clauses.dedup();
        Self::Any(clauses)
    }

    /// No row.
    pub fn none() -> Self {
        Self::Any(Vec::new())
    }

    /// The conditions in the notation of the protocol. A clause about a column that the server's
    /// schema does not have can match no row, and is left out.
    pub fn to_json(&self, schema: &TableSchema) -> Value {
        match self {
            Self::All => json!([true]),
            Self::Any(clauses) => {
                let known = |clause: &&Clause| {
                    &*clause.column == "_uuid" || schema.columns.contains_key(&clause.column)
                };
                let clauses: Vec<Value> =
                    clauses.iter().filter(known).map(Clause::to_json).collect();
                if clauses.is_empty() { json!([false]) } else { Value::Array(clauses) }
            }
        }
    }

    /// True if the row is monitored.
    pub fn matches(&self, uuid: Uuid, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Any(clauses) => clauses.iter().any(|clause| clause.matches(uuid, row)),
        }
    }
}

/// Conditions by table.
pub type TableConditions = BTreeMap<Arc<str>, Conditions>;

/// What is asked of the server, what is on its way, and what is in force.
///
/// The order of events decides what may be resumed: rows that came with a change of conditions
/// whose answer was lost are rows that the server of the next connection does not know we have.
#[derive(Debug, Default)]
pub struct ConditionBook {
    wanted: TableConditions,
    in_force: TableConditions,
    in_flight: Option<(TableConditions, u64)>,
    generation: u64,
    settled: u64,
    told: u64,
}

impl ConditionBook {
    /// A book that starts with these conditions; tables that are not named are monitored whole.
    pub fn new(wanted: TableConditions) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The user wants other conditions; `generation` grows with each wish.
    pub fn want(
        &mut self,
        changes: impl IntoIterator<Item = (Arc<str>, Conditions)>,
        generation: u64,
    ) {
        self.wanted.extend(changes);
        self.generation = self.generation.max(generation);
    }

    /// The conditions for the first request of a connection, and whether the data that we have may
    /// be built upon: not if a change was on its way when the last connection ended.
    pub fn reconnect(&mut self, can_resume: bool) -> (&TableConditions, bool) {
        let resume = can_resume && self.in_flight.is_none();
        self.in_flight = None;
        if !resume {
            self.in_force.clone_from(&self.wanted);
            self.settled = self.generation;
        }
        (&self.in_force, resume)
    }

    /// The conditions that the user wants.
    pub fn wanted(&self) -> &TableConditions {
        &self.wanted
    }

    /// The next change to ask for; none while one is on its way, or if nothing changed.
    pub fn next_change(&mut self) -> Option<TableConditions> {
        if self.in_flight.is_some() {
            return None;
        }
        let in_force = |table| self.in_force.get(table).unwrap_or(&Conditions::All);
        let changed: TableConditions = self
            .wanted
            .iter()
            .filter(|(table, wanted)| in_force(*table) != *wanted)
            .map(|(table, wanted)| (table.clone(), wanted.clone()))
            .collect();
        if changed.is_empty() {
            self.settled = self.generation;
            return None;
        }
        self.in_flight = Some((changed.clone(), self.generation));
        Some(changed)
    }

    /// The change on its way was answered.
    pub fn answered(&mut self) {
        if let Some((changed, generation)) = self.in_flight.take() {
            self.in_force.extend(changed);
            self.settled = generation;
        }
    }

    /// The generation that has newly settled, if the user was not told yet.
    pub fn news(&mut self) -> Option<u64> {
        (self.settled > self.told).then(|| {
            self.told = self.settled;
            self.settled
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> [(Arc<str>, Conditions); 1] {
        [(Arc::from("T"), Conditions::any([Clause::equal("name", name)]))]
    }

    #[test]
    fn changes_made_while_one_is_on_its_way_go_out_together_after_it() {
        let mut book = ConditionBook::default();
        book.reconnect(false);
        book.want(one("a"), 1);
        assert!(book.next_change().is_some());
        book.want(one("b"), 2);
        book.want(one("c"), 3);
        assert!(book.next_change().is_none());
        assert_eq!(book.news(), None);
        book.answered();
        assert_eq!(book.news(), Some(1));
        assert_eq!(book.next_change(), Some(one("c").into()));
        book.answered();
        assert_eq!(book.news(), Some(3));
        assert_eq!(book.next_change(), None);
    }

    #[test]
    fn conditions_that_are_in_force_already_settle_at_once() {
        let mut book = ConditionBook::new(one("a").into());
        book.reconnect(false);
        book.want(one("a"), 7);
        assert_eq!(book.next_change(), None);
        assert_eq!(book.news(), Some(7));
    }

    #[test]
    fn a_connection_that_ends_with_a_change_on_its_way_is_not_resumed() {
        let mut book = ConditionBook::default();
        book.reconnect(false);
        book.want(one("a"), 1);
        book.next_change();
        assert_eq!(book.reconnect(true), (&one("a").into(), false));
        assert_eq!(book.news(), Some(1));
    }

    #[test]
    fn a_wish_made_while_disconnected_follows_the_resumption() {
        let mut book = ConditionBook::default();
        book.reconnect(false);
        book.want(one("a"), 1);
        assert_eq!(book.reconnect(true), (&TableConditions::new(), true));
        assert_eq!(book.next_change(), Some(one("a").into()));
    }

    #[test]
    fn a_clause_about_a_column_that_does_not_exist_matches_nothing() {
        let schema = TableSchema::default();
        assert_eq!(Conditions::any([Clause::equal("new", 1)]).to_json(&schema), json!([false]));
        assert_eq!(Conditions::All.to_json(&schema), json!([true]));
    }

    #[test]
    fn a_row_is_seen_if_any_clause_matches() {
        let row = Row::made("T", [("name", "a".into()), ("ids", Datum::map([("k", "v")]))]);
        let sees = |clause| {
            Conditions::any([Clause::equal("name", "b"), clause]).matches(Uuid::nil(), &row)
        };
        assert!(sees(Clause::includes("ids", Datum::map([("k", "v")]))));
        assert!(!sees(Clause::includes("ids", Datum::map([("k", "w")]))));
        assert!(sees(Clause::not_equal("name", "b")));
        assert!(sees(Clause::row(Uuid::nil())));
        assert!(!sees(Clause::new("name", Function::Greater, "a")));
        assert!(sees(Clause::new("name", Function::GreaterOrEqual, "a")));
    }
}
