//! `where`: the rows that an operation means (RFC 7047, section 5.1).

use super::*;
use ovn_xdp_ovsdb::condition::{Clause, Function};

impl View<'_> {
    /// The rows that an operation means.
    pub(super) fn matching(
        &self,
        table: &'static Table,
        json: &Value,
    ) -> Result<Vec<(Uuid, Row)>, Failure> {
        let Some(list) = json.as_array() else {
            return Err(syntax(format!(
                "where: expected a list of [COLUMN, FUNCTION, VALUE], found {}",
                short(json)
            )));
        };
        let clauses =
            list.iter().map(|json| self.clause(table, json)).collect::<Result<Vec<_>, _>>()?;
        let name = table.shape.table();
        let is = clauses.iter().find_map(|clause| {
            let by_row = &*clause.column == "_uuid" && clause.function == Function::Equal;
            by_row.then(|| clause.value.atoms().first()?.as_uuid())?
        });
        let fits = |uuid: Uuid, row: &Row| clauses.iter().all(|clause| clause.matches(uuid, row));
        if let Some(uuid) = is {
            let row = match self.touched.get(&uuid) {
                Some(touched) if touched.table == *name => touched.new.clone(),
                Some(_) => None,
                None => self.database.row(name, uuid).cloned(),
            };
            return Ok(row
                .filter(|row| fits(uuid, row))
                .map(|row| (uuid, row))
                .into_iter()
                .collect());
        }
        let kept = self.database.rows(name).filter(|(uuid, _)| !self.touched.contains_key(uuid));
        let kept = kept.map(|(uuid, row)| (uuid, row.clone()));
        let touched = self.touched.iter().filter(|(_, touched)| touched.table == *name);
        let touched = touched.filter_map(|(uuid, touched)| Some((*uuid, touched.new.clone()?)));
        let mut rows: Vec<_> = kept.chain(touched).filter(|(uuid, row)| fits(*uuid, row)).collect();
        rows.sort_unstable_by_key(|(uuid, _)| *uuid);
        Ok(rows)
    }

    fn clause(&self, table: &'static Table, json: &Value) -> Result<Clause, Failure> {
        let wrong =
            || syntax(format!("where: expected [COLUMN, FUNCTION, VALUE], found {}", short(json)));
        let Some([Value::String(column), Value::String(function), value]) =
            json.as_array().map(Vec::as_slice)
        else {
            return Err(wrong());
        };
        let function = match function.as_str() {
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
            let uuid = value::reference(value, &self.named)
                .ok_or_else(|| syntax(format!("where: _uuid: expected [\"uuid\", UUID] or a named-uuid of this transaction, found {}", short(value))))?;
            return Ok(Clause::new("_uuid", function, uuid));
        }
        let index = index(table, column)?;
        let column_of = &table.shape.columns()[index];
        let datum = value::unbounded(value, column_of, &self.named)
            .map_err(|wrong| self.wrong_value(column, value, wrong))?;
        Ok(Clause { column: column_of.name.clone(), function, value: datum })
    }
}
