//! The logical tables of one pipeline, and the way through those that only pass packets on.
//!
//! Most tables of most datapaths hold `1 -> next;` and nothing else that matters. A walk takes a run of
//! these at once, with all their flows for who counts them; who watches it sees each table.

use crate::cache::mix;
use crate::classify::Table;
use crate::key::FlowId;
use crate::program::Pipeline;
use std::ops::Deref;
use std::sync::Arc;

/// Spreads what is hashed.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The tables of a pipeline, by `table_id`.
#[derive(Clone, Debug)]
pub struct Stages {
    tables: Arc<[Arc<Table>]>,
    /// By table: where a run leads that starts there.
    ends: Arc<[End]>,
    /// By table: the flow by which it passes packets on.
    flows: Arc<[FlowId]>,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
struct End {
    /// A hash of its flows.
    print: u64,
    /// The tables of the run; none if the table does something.
    len: u16,
    to: (Pipeline, u8),
}

/// Tables that do nothing but pass packets on, each to the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Their flows, in order; never none.
    pub flows: &'a [FlowId],
    /// A hash of the flows.
    pub print: u64,
    /// Where the last of them passes packets to.
    pub to: (Pipeline, u8),
}

impl Run<'_> {
    /// The flow of its first table, which is this one, and where that passes packets to.
    pub fn step(&self, (pipeline, table): (Pipeline, u8)) -> (FlowId, (Pipeline, u8)) {
        let to = if self.flows.len() > 1 { (pipeline, table + 1) } else { self.to };
        (self.flows[0], to)
    }
}

impl Stages {
    /// The tables of this pipeline.
    pub fn new(pipeline: Pipeline, tables: impl IntoIterator<Item = Arc<Table>>) -> Self {
        let tables: Arc<[Arc<Table>]> = tables.into_iter().collect();
        let mut flows = vec![FlowId::default(); tables.len()];
        let mut ends = vec![End { print: 0, len: 0, to: (pipeline, 0) }; tables.len()];
        let mut after: Option<End> = None;
        for (at, table) in tables.iter().enumerate().rev() {
            after = table.pass().map(|pass| {
                flows[at] = pass.flow;
                let (pipeline_of_next, next) = pass.to;
                let goes_on = pipeline_of_next == pipeline && usize::from(next) == at + 1;
                let rest = after.filter(|_| goes_on);
                let rest = rest.unwrap_or(End { print: 0, len: 0, to: pass.to });
                let print =
                    mix(rest.print ^ pass.flow.0 as u64, (pass.flow.0 >> 64) as u64 ^ SPREAD);
                End { print, len: rest.len + 1, to: rest.to }
            });
            if let Some(end) = after {
                ends[at] = end;
            }
        }
        Self { tables, ends: ends.into(), flows: flows.into() }
    }

    /// The run that starts at a table, if it only passes packets on.
    #[inline]
    pub fn run(&self, table: u8) -> Option<Run<'_>> {
        let at = usize::from(table);
        let End { print, len, to } = *self.ends.get(at)?;
        let flows = self.flows.get(at..at + usize::from(len)).filter(|run| !run.is_empty())?;
        Some(Run { flows, print, to })
    }
}

impl Deref for Stages {
    type Target = [Arc<Table>];

    #[inline]
    fn deref(&self) -> &[Arc<Table>] {
        &self.tables
    }
}

impl<'a> IntoIterator for &'a Stages {
    type Item = &'a Arc<Table>;
    type IntoIter = std::slice::Iter<'a, Arc<Table>>;

    fn into_iter(self) -> Self::IntoIter {
        self.tables.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Clause, Literal, Rule, Values};
    use crate::field;
    use crate::program::Op;

    /// A table for all packets, of the flow of this number.
    fn table(number: u128, ops: Vec<Op>) -> Arc<Table> {
        let rule = Rule::new(0, &[Clause::default()], ops.into(), FlowId(number));
        Arc::new(Table::new(vec![rule]))
    }

    fn next(pipeline: Pipeline, table: u8) -> Vec<Op> {
        vec![Op::Next(pipeline, table)]
    }

    #[test]
    fn a_run_ends_where_a_table_does_something_or_leads_elsewhere() {
        use Pipeline::{Egress, Ingress};
        let port = Literal::new(field::INPORT, Values::Exact(1), false);
        let drops = Rule::new(1, &[Clause([port].into())], vec![].into(), FlowId(99));
        let chooses = (*table(12, next(Ingress, 3))).rules().cloned().chain([drops]).collect();
        let stages = Stages::new(
            Ingress,
            [
                table(10, next(Ingress, 1)),
                table(11, next(Ingress, 2)),
                Arc::new(Table::new(chooses)),
                table(13, next(Ingress, 4)),
                table(14, next(Ingress, 6)),
                table(15, vec![Op::Output]),
                table(16, next(Egress, 7)),
                table(17, next(Ingress, 0)),
            ],
        );
        let run = |table| stages.run(table).map(|run| (run.flows.to_vec(), run.to));
        let flows = |numbers: &[u128]| numbers.iter().map(|it| FlowId(*it)).collect::<Vec<_>>();
        assert_eq!(run(0), Some((flows(&[10, 11]), (Ingress, 2))));
        assert_eq!(run(1), Some((flows(&[11]), (Ingress, 2))));
        assert_eq!(run(2), None);
        assert_eq!(run(3), Some((flows(&[13, 14]), (Ingress, 6))));
        assert_eq!(run(5), None);
        assert_eq!(run(6), Some((flows(&[16]), (Egress, 7))));
        assert_eq!(run(7), Some((flows(&[17]), (Ingress, 0))));
        assert_eq!(run(8), None);
    }
}
