//! `ovn-xdp check`: compiles a whole Southbound DB, every datapath of it, and says what would not
//! work as written.

use crate::compiler::{Compiler, Identity};
use crate::report::{NotExecuted, Skipped};
use crate::southbound::{LogicalFlow, Record, monitored};
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
    /// Different expressions (texts of matches) among them.
    pub expressions: usize,
    /// Different texts of actions.
    pub actions: usize,
    /// Rules, a flow counted in each datapath that it can match in.
    pub rules: usize,
    /// Programs, shared ones counted once.
    pub programs: usize,
    /// Tables, by how they are looked up.
    pub tables: BTreeMap<&'static str, Tables>,
    /// Shared sets that rules name, and what is in them.
    pub sets: Sets,
    /// What a chassis with all of it keeps for its workers.
    pub bytes: Bytes,
    /// Rows that do not hold what their table promises, and why.
    pub bad_rows: Vec<String>,
    /// Flows that do not compile.
    pub skipped: Vec<Skipped>,
    /// Flows with actions that are not executed.
    pub not_executed: Vec<NotExecuted>,
}

/// Tables of one structure.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Tables {
    /// How many.
    pub tables: usize,
    /// Rules in them.
    pub rules: usize,
    /// The most hashes that a look-up in one of them takes, but for combinations of sets.
    pub most_hashes: usize,
}

/// Shared sets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Sets {
    /// Sets with any member, an address set once for each width of field.
    pub sets: usize,
    /// Different members.
    pub members: usize,
}

/// Bytes by what they are for; shared ones count once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Bytes {
    /// Tables, their rules apart.
    pub tables: usize,
    /// Rules and their matches.
    pub matches: usize,
    /// Programs.
    pub programs: usize,
    /// Shared sets.
    pub sets: usize,
}

/// Flows that are compiled between two reports of progress.
const STEP: usize = 2048;

/// Compiles all that is in a database, as if each datapath were local.
pub fn check(rows: &Replica) -> Report {
    check_with(rows, |_, _| {})
}

/// The same; `progress` hears how many flows of how many have been compiled.
pub fn check_with(rows: &Replica, mut progress: impl FnMut(usize, usize)) -> Report {
    let mut compiler = Compiler::new(Identity { chassis: "".into() });
    compiler.all = true;
    compiler.locality.stale = true;
    let (flows, others): (Vec<Change>, Vec<Change>) =
        insertions(rows).into_iter().partition(|change| *change.table == *LogicalFlow::TABLE);
    compiler.apply(&others);
    let mut generation = compiler.publish();
    for (at, some) in flows.chunks(STEP).enumerate() {
        progress(at * STEP, flows.len());
        compiler.apply(some);
        generation = compiler.publish();
    }
    progress(flows.len(), flows.len());
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
        let expressions: HashSet<&str> = flows.iter().map(LogicalFlow::matches).collect();
        let actions: HashSet<&str> = flows.iter().map(LogicalFlow::actions).collect();
        let mut tables = BTreeMap::<_, Tables>::new();
        let (mut bytes, mut rules) = (Bytes::default(), 0);
        let (mut matches, mut programs) = (HashSet::new(), HashSet::new());
        for datapath in generation.datapaths.values() {
            for table in datapath.ingress.iter().chain(&datapath.egress) {
                let of = tables.entry(table.structure()).or_default();
                of.tables += 1;
                of.rules += table.len();
                of.most_hashes = of.most_hashes.max(table.size().0);
                rules += table.len();
                bytes.tables += table.bytes();
                for rule in table.rules() {
                    if matches.insert(rule.address()) {
                        bytes.matches += rule.bytes();
                    }
                    if programs.insert(rule.program().address()) {
                        bytes.programs += rule.program().bytes();
                    }
                }
            }
        }
        bytes.sets = generation.sets.bytes();
        let (members, sets) = generation.sets.len();
        Self {
            datapaths: generation.datapaths.size(),
            flows: flows.len(),
            expressions: expressions.len(),
            actions: actions.len(),
            rules,
            programs: programs.len(),
            tables,
            sets: Sets { sets, members },
            bytes,
            bad_rows: compiler.bad_rows().map(ToString::to_string).collect(),
            skipped: compiler.skipped().collect(),
            not_executed: compiler.not_executed().collect(),
        }
    }

    /// Whether all of it works as written.
    pub fn is_clean(&self) -> bool {
        self.bad_rows.is_empty() && self.skipped.is_empty() && self.not_executed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "datapaths:   {}", self.datapaths)?;
        writeln!(f, "flows:       {}", self.flows)?;
        writeln!(f, "expressions: {}", self.expressions)?;
        writeln!(f, "programs:    {} of {} texts of actions", self.programs, self.actions)?;
        writeln!(f, "rules:       {}", self.rules)?;
        for (structure, of) in &self.tables {
            let Tables { tables, rules, most_hashes } = of;
            write!(f, "tables:      {tables} {structure}, {rules} rules")?;
            match most_hashes {
                0 => writeln!(f)?,
                most => writeln!(f, ", up to {most} hashes")?,
            }
        }
        writeln!(f, "sets:        {} with {} members", self.sets.sets, self.sets.members)?;
        let Bytes { tables, matches, programs, sets } = self.bytes;
        writeln!(
            f,
            "bytes:       {} (tables {tables}, matches {matches}, programs {programs}, sets {sets})",
            tables + matches + programs + sets
        )?;
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
