//! `where`: the rows that an operation means (RFC 7047, section 5.1).

use super::*;
use ovn_xdp_ovsdb::condition::{Clause, Function};

impl View<'_> {
    /// The rows that an operation means.
    pub(super) fn matching(
        &self,
        table: &'static Table,
        json: Json<'_>,
    ) -> Result<Vec<(Uuid, Row)>, Failure> {
        let Some(list) = json.elements() else {
            return Err(syntax(format!(
                "where: expected a list of [COLUMN, FUNCTION, VALUE], found {}",
                short(json)
            )));
        };
        let clauses = list.map(|json| self.clause(table, json)).collect::<Result<Vec<_>, _>>()?;
        let name = table.shape.table();
        let is = clauses.iter().find_map(|condition| match condition {
            Condition::Row(Function::Equal, row) => Some(*row),
            _ => None,
        });
        let fits = |uuid: Uuid, row: &Row| clauses.iter().all(|clause| clause.holds(uuid, row));
        if let Some(uuid) = is {
            let row = match self.touched.get(&uuid) {
                Some(touched) if touched.table == *name => touched.new.as_ref(),
                Some(_) => None,
                None => self.database.row(name, uuid),
            };
            let row = row.filter(|row| fits(uuid, row));
            return Ok(row.map(|row| (uuid, row.clone())).into_iter().collect());
        }
        let kept = self.database.rows(name).filter(|(uuid, _)| !self.touched.contains_key(uuid));
        let touched = self.touched.iter().filter(|(_, touched)| touched.table == *name);
        let touched = touched.filter_map(|(uuid, touched)| Some((*uuid, touched.new.as_ref()?)));
        let fitting = kept.chain(touched).filter(|(uuid, row)| fits(*uuid, row));
        let mut rows: Vec<_> = fitting.map(|(uuid, row)| (uuid, row.clone())).collect();
        rows.sort_unstable_by_key(|(uuid, _)| *uuid);
        Ok(rows)
    }

    fn clause(&self, table: &'static Table, json: Json<'_>) -> Result<Condition, Failure> {
        let texts = json.fixed().and_then(|[column, function, value]| {
            Some((column.as_str()?, function.as_str()?, value))
        });
        let Some((column, function, value)) = texts else {
            let found = short(json);
            return Err(syntax(format!(
                "where: expected [COLUMN, FUNCTION, VALUE], found {found}"
            )));
        };
        let function = match function {
            "==" => Function::Equal,
            "!=" => Function::NotEqual,
            "<" => Function::Less,
            "<=" => Function::LessOrEqual,
            ">" => Function::Greater,
            ">=" => Function::GreaterOrEqual,
            "includes" => Function::Includes,
            "excludes" => Function::Excludes,
            other => {
                return Err(syntax(format!(
                    "where: expected ==, !=, <, <=, >, >=, includes or excludes, found {other:?}"
                )));
            }
        };
        if column == "_uuid" {
            let row = value::reference(value, &self.named).ok_or_else(|| {
                syntax(format!(
                    "where: _uuid: expected [\"uuid\", UUID] or a named-uuid of this transaction, \
                     found {}",
                    short(value)
                ))
            })?;
            return Ok(Condition::Row(function, row));
        }
        let index = index(table, column)?;
        let column_of = &table.shape.columns()[index];
        let datum = value::unbounded(value, column_of, &self.named)
            .map_err(|wrong| self.wrong_value(column, value, wrong))?;
        Ok(Condition::Column(Clause { column: column_of.name.clone(), function, value: datum }))
    }
}

/// One of the conditions that a row must fulfil.
enum Condition {
    /// Of `_uuid`. There is one in most operations, so it has no allocation.
    Row(Function, Uuid),
    Column(Clause),
}

impl Condition {
    fn holds(&self, uuid: Uuid, row: &Row) -> bool {
        match self {
            Self::Row(Function::Equal, wanted) => uuid == *wanted,
            Self::Row(function, wanted) => {
                Clause::new("_uuid", *function, *wanted).matches(uuid, row)
            }
            Self::Column(clause) => clause.matches(uuid, row),
        }
    }
}
