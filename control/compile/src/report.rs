//! What people are told about flows that do not do what they say.
//!
//! Two kinds: flows that did not compile and are skipped, each with the place of the error, and
//! flows that hold an action which this version parses but does not execute.

use crate::compiler::Compiler;
use crate::flows::Flows;
use crate::southbound::LogicalFlow;
use crate::text::Problem;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_datapath::program::Pipeline;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// A flow, as the database has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Flow {
    /// `_uuid`.
    pub uuid: Uuid,
    /// `external_ids:stage-name`.
    pub stage: Arc<str>,
    /// `ingress` or `egress`.
    pub pipeline: &'static str,
    /// `table_id`.
    pub table: u8,
    /// `priority`.
    pub priority: u16,
    /// `match`.
    #[serde(rename = "match")]
    pub matches: Arc<str>,
    /// `actions`.
    pub actions: Arc<str>,
}

/// Which of a flow's texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Column `match`.
    Match,
    /// Column `actions`.
    Actions,
}

/// A flow that did not compile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Skipped {
    /// The flow.
    pub flow: Flow,
    /// The text with the error.
    pub part: Part,
    /// Byte offset in that text, if the error has a place.
    pub offset: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// Names of the datapaths in which it is.
    pub datapaths: BTreeSet<String>,
}

/// A flow with actions that this version does not execute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotExecuted {
    /// The flow.
    pub flow: Flow,
    /// Their names.
    pub names: Arc<[&'static str]>,
}

impl Flow {
    /// A row, for people.
    pub fn new(row: &LogicalFlow) -> Self {
        Self {
            uuid: row.uuid(),
            stage: row.stage().into(),
            pipeline: match row.pipeline() {
                Pipeline::Ingress => "ingress",
                Pipeline::Egress => "egress",
            },
            table: row.table(),
            priority: row.priority(),
            matches: row.matches().into(),
            actions: row.actions().into(),
        }
    }
}

impl Compiler {
    /// Flows of local datapaths that did not compile, by UUID.
    pub fn skipped(&self) -> impl Iterator<Item = Skipped> {
        let mut found = BTreeMap::<Uuid, Skipped>::new();
        for local in self.locals.values() {
            for (uuid, problem) in &local.skipped {
                let Some(row) = self.database.flows.get(uuid) else { continue };
                let name = local.binding.name();
                found
                    .entry(*uuid)
                    .or_insert_with(|| skipped(Flow::new(row), problem))
                    .datapaths
                    .insert(name);
            }
        }
        found.into_values()
    }

    /// The flow that a drop or a trace names, if the database has it.
    pub fn flow(&self, flow: FlowId) -> Option<Flow> {
        Some(Flow::new(self.database.flows.get(&Uuid::from_u128(flow.0))?))
    }

    /// All flows that the database has, as they are now.
    pub fn flows(&self) -> Flows {
        self.database.flows.clone()
    }

    /// Flows of local datapaths with actions that are not executed, by UUID.
    pub fn not_executed(&self) -> impl Iterator<Item = NotExecuted> {
        let all = self.locals.values().flat_map(|local| &local.inert);
        let all: BTreeMap<Uuid, Arc<[&'static str]>> =
            all.map(|(uuid, names)| (*uuid, names.clone())).collect();
        all.into_iter().filter_map(|(uuid, names)| {
            Some(NotExecuted { flow: Flow::new(self.database.flows.get(&uuid)?), names })
        })
    }
}

fn skipped(flow: Flow, problem: &Problem) -> Skipped {
    let (part, offset, reason) = match problem {
        Problem::Match { problem } => (Part::Match, Some(problem.offset), problem.to_string()),
        Problem::Actions { problem } => (Part::Actions, Some(problem.offset), problem.to_string()),
        Problem::Clauses(problem) => (Part::Match, None, problem.to_string()),
    };
    Skipped { flow, part, offset, reason, datapaths: BTreeSet::new() }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uuid, stage, pipeline, table, priority, .. } = self;
        write!(f, "{uuid} {pipeline} table {table} ({stage}) priority {priority}")
    }
}

impl fmt::Display for Skipped {
    /// The flow, its text, a mark below the place of the error, and what is wrong there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self.part {
            Part::Match => ("match", &self.flow.matches),
            Part::Actions => ("actions", &self.flow.actions),
        };
        writeln!(f, "{}", self.flow)?;
        writeln!(f, "    {name}: {text}")?;
        if let Some(offset) = self.offset {
            let column = text.get(..offset).map_or(offset, |before| before.chars().count());
            writeln!(f, "    {:width$}^", "", width = name.len() + 2 + column)?;
        }
        write!(f, "    {}", self.reason)
    }
}

impl fmt::Display for NotExecuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.flow, self.names.join(", "))?;
        writeln!(f, "    match: {}", self.flow.matches)?;
        write!(f, "    actions: {}", self.flow.actions)
    }
}
