//! `mutations`: what comes to sets and maps, and what goes (RFC 7047, section 5.1).

use super::*;

impl View<'_> {
    pub(super) fn mutate(
        &mut self,
        table: &'static Table,
        operation: Json<'_>,
    ) -> Result<Outcome, Failure> {
        let rows = self.matching(table, operation.member("where"))?;
        let list = operation.member("mutations");
        let Some(mutations) = list.elements() else {
            return Err(syntax(format!(
                "mutations: expected a list of [COLUMN, MUTATOR, VALUE], found {}",
                short(list)
            )));
        };
        for (uuid, row) in &rows {
            let mut values = row.values();
            for mutation in mutations.clone() {
                let (index, datum) = self.mutation(table, &values, mutation)?;
                values[index] = datum;
            }
            self.touch(table, *uuid, Some(row.with(&table.shape, values.into_iter().enumerate())));
        }
        Ok(Outcome::Count(rows.len()))
    }

    fn mutation(
        &self,
        table: &'static Table,
        values: &[Datum],
        json: Json<'_>,
    ) -> Result<(usize, Datum), Failure> {
        let texts = json.fixed().and_then(|[column, mutator, value]| {
            Some((column.as_str()?, mutator.as_str()?, value))
        });
        let Some((name, mutator, value)) = texts else {
            return Err(syntax(format!(
                "mutations: expected [COLUMN, MUTATOR, VALUE], found {}",
                short(json)
            )));
        };
        let index = index(table, name)?;
        let column = &table.shape.columns()[index];
        if column.kind.max == 1 {
            return Err((
                kind::CONSTRAINT,
                format!("column {name}: expected a set or map to mutate, found {}", column.kind),
            ));
        }
        let old = &values[index];
        let keys = value.fixed().filter(|[tag, _]| tag.as_str() == Some("set"));
        if let Some([_, keys]) = keys.filter(|_| mutator == "delete" && column.kind.value.is_some())
        {
            let gone: Vec<&str> =
                keys.elements().into_iter().flatten().filter_map(Json::as_str).collect();
            let kept = old
                .pairs()
                .iter()
                .filter(|(key, _)| !key.as_str().is_some_and(|key| gone.contains(&key)));
            return Ok((index, Datum::map(kept.cloned())));
        }
        let change = value::unbounded(value, column, &self.named)
            .map_err(|wrong| self.wrong_value(name, value, wrong))?;
        let map = column.kind.value.is_some();
        let datum = match (mutator, map) {
            ("insert", false) => Datum::set(old.atoms().iter().chain(change.atoms()).cloned()),
            ("delete", false) => {
                let gone = change.atoms();
                Datum::set(old.atoms().iter().filter(|atom| !gone.contains(atom)).cloned())
            }
            // What is there already stays (RFC 7047, section 5.1).
            ("insert", true) => Datum::map(change.pairs().iter().chain(old.pairs()).cloned()),
            ("delete", true) => {
                let gone = change.pairs();
                Datum::map(old.pairs().iter().filter(|pair| !gone.contains(pair)).cloned())
            }
            (other, _) => {
                return Err(syntax(format!(
                    "mutations: expected insert or delete, found {other:?}"
                )));
            }
        };
        Ok((index, datum))
    }
}
