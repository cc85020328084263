//! `ovn-xdp check`: compiles a whole Southbound DB, every datapath of it, and says what would not
//! work as written.

use crate::compiler::{Compiler, Identity};
use crate::report::{NotExecuted, Skipped};
use crate::southbound::monitored;
use ovn_xdp_datapath::publish::Generation;
use ovn_xdp_ovsdb::replica::{Change, Replica};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// What `ovn-xdp check` found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Logical datapaths.
    pub datapaths: usize,
    /// Logical flows.
    pub flows: usize,
    /// Different texts of matches among them.
    pub matches: usize,
    /// Different texts of actions.
    pub actions: usize,
    /// Rules, a flow counted in each datapath that it can match in.
    pub rules: usize,
    /// Programs, shared ones counted once.
    pub programs: usize,
    /// Tables by how they are looked up.
    pub tables: BTreeMap<&'static str, usize>,
    /// Rows that do not hold what their table promises, and why.
    pub bad_rows: Vec<String>,
    /// Flows that do not compile.
    pub skipped: Vec<Skipped>,
    /// Flows with actions that are not executed.
    pub not_executed: Vec<NotExecuted>,
}

/// Compiles all that is in a database, as if each datapath were local.
pub fn check(rows: &Replica) -> Report {
    let mut compiler = Compiler::new(Identity { chassis: "".into() });
    compiler.all = true;
    compiler.locality.stale = true;
    compiler.apply(&insertions(rows));
    let generation = compiler.publish();
    Report::new(&compiler, &generation)
}

/// The rows of a database as one update that inserts them, for a compiler that has seen none.
pub fn insertions(rows: &Replica) -> Vec<Change> {
    let tables = monitored().into_iter().map(|(table, _)| Arc::<str>::from(table));
    tables
        .flat_map(|table| {
            rows.rows(&table)
                .map(|(row, new)| Change {
                    table: table.clone(),
                    row,
                    old: None,
                    new: Some(new.clone()),
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

impl Report {
    fn new(compiler: &Compiler, generation: &Generation) -> Self {
        let flows = &compiler.database.flows;
        let matches: HashSet<&str> = flows.values().map(|flow| &*flow.matches).collect();
        let actions: HashSet<&str> = flows.values().map(|flow| &*flow.actions).collect();
        let mut tables = BTreeMap::new();
        let (mut rules, mut programs) = (0, HashSet::new());
        for datapath in generation.datapaths.values() {
            for table in datapath.ingress.iter().chain(&datapath.egress) {
                *tables.entry(table.structure()).or_insert(0) += 1;
                rules += table.len();
                programs.extend(table.rules().map(|rule| Arc::as_ptr(&rule.program)));
            }
        }
        Self {
            datapaths: generation.datapaths.size(),
            flows: flows.len(),
            matches: matches.len(),
            actions: actions.len(),
            rules,
            programs: programs.len(),
            tables,
            bad_rows: compiler.bad_rows().map(ToString::to_string).collect(),
            skipped: compiler.skipped().collect(),
            not_executed: compiler.not_executed().collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "datapaths: {}", self.datapaths)?;
        writeln!(
            f,
            "flows:     {} ({} different matches, {} different actions)",
            self.flows, self.matches, self.actions
        )?;
        writeln!(f, "rules:     {} ({} different programs)", self.rules, self.programs)?;
        let tables: Vec<String> =
            self.tables.iter().map(|(structure, count)| format!("{count} {structure}")).collect();
        writeln!(f, "tables:    {}", tables.join(", "))?;
        writeln!(f, "\nrows that do not read: {}", self.bad_rows.len())?;
        self.bad_rows.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
        writeln!(f, "\nflows that do not compile: {}", self.skipped.len())?;
        self.skipped.iter().try_for_each(|skipped| writeln!(f, "{skipped}"))?;
        writeln!(
            f,
            "\nflows with actions that this version does not execute (they drop the packet): {}",
            self.not_executed.len()
        )?;
        self.not_executed.iter().try_for_each(|flow| writeln!(f, "{flow}"))
    }
}
