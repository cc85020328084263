//! The flows and tables that the workers run, told from a snapshot.
//!
//! It is taken after the turn in which the question came, so that its rows are those that its generation
//! was made of; while everything stands still ([`Engine::frozen`](super::engine::Engine)), rows may be
//! newer. To take it costs the daemon's loop some microseconds; the client's task makes the answer of
//! it, a piece at a time as the client reads.

use super::Daemon;
use crate::api::command::Section;
use crate::api::list::{Pieces, told};
use crate::api::section;
use crate::api::unixctl::Answer;
use ovn_xdp_compile::flows::Flows;
use ovn_xdp_datapath::classify::Table;
use ovn_xdp_datapath::counters::WorkerCounters;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_datapath::path::Passed;
use ovn_xdp_datapath::publish::{Datapath, Generation};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Which list somebody waits for.
#[derive(Debug)]
pub struct Wanted {
    pub section: Section,
    /// Only of datapaths with this name.
    pub datapath: Option<String>,
    pub json: bool,
    pub answer: oneshot::Sender<Result<Answer, Value>>,
}

impl Daemon {
    /// After a turn.
    pub(super) fn settle_lists(&mut self) {
        for Wanted { section, datapath, json, answer } in std::mem::take(&mut self.lists) {
            let generation = self.publisher.current();
            if let Some(name) = &datapath
                && generation.datapaths.values().all(|datapath| datapath.name != *name)
            {
                let _ = answer.send(Err(format!("no datapath here has the name {name:?}").into()));
                continue;
            }
            let local = self.engine.local.database.rows("Logical_Flow");
            let snapshot = Arc::new(Snapshot {
                generation,
                datapath,
                rows: self.engine.compiler.compiler.flows(),
                local: local.map(|(row, _)| row).collect(),
                counters: self.engine.ports.counters.clone(),
                passed: OnceLock::new(),
            });
            let _ = answer.send(Ok(Answer::Pieces(match section {
                Section::Flows => flows(json, snapshot),
                _ => tables(json, snapshot),
            })));
        }
    }
}

/// What lists are told from.
struct Snapshot {
    generation: Arc<Generation>,
    datapath: Option<String>,
    rows: Flows,
    /// Those of them that are local.
    local: HashSet<Uuid>,
    counters: Vec<Arc<WorkerCounters>>,
    /// What passed each flow, by all workers, when it was first asked for.
    passed: OnceLock<HashMap<FlowId, Passed>>,
}

/// A logical table.
struct Stage {
    datapath: Arc<Datapath>,
    pipeline: &'static str,
    number: usize,
    table: Arc<Table>,
}

/// The flows, in the order of the pipelines.
fn flows(json: bool, snapshot: Arc<Snapshot>) -> Pieces {
    told(json, move || {
        let snapshot = Arc::clone(&snapshot);
        snapshot.stages().into_iter().flat_map(move |stage| {
            let snapshot = Arc::clone(&snapshot);
            let rules = stage.table.rules().map(|rule| (Reverse(rule.priority()), rule.flow()));
            let mut flows: Vec<_> = rules.collect();
            flows.sort_unstable();
            flows.into_iter().filter_map(move |(_, flow)| snapshot.flow(&stage, flow))
        })
    })
}

fn tables(json: bool, snapshot: Arc<Snapshot>) -> Pieces {
    told(json, move || {
        snapshot.stages().into_iter().map(|stage| section::Stage {
            datapath: stage.datapath.name.clone(),
            pipeline: stage.pipeline,
            table: stage.number,
            structure: stage.table.structure(),
            rules: stage.table.len(),
        })
    })
}

impl Snapshot {
    fn stages(&self) -> Vec<Stage> {
        let wanted = self.datapath.as_ref();
        let datapaths = self.generation.datapaths.values();
        let mut datapaths: Vec<&Arc<Datapath>> =
            datapaths.filter(|datapath| wanted.is_none_or(|name| datapath.name == *name)).collect();
        datapaths.sort_by_key(|datapath| (&datapath.name, datapath.key));
        let of = |datapath: &Arc<Datapath>, pipeline, tables: &[Arc<Table>]| {
            let stage = |(number, table): (usize, &Arc<Table>)| Stage {
                datapath: Arc::clone(datapath),
                pipeline,
                number,
                table: Arc::clone(table),
            };
            tables.iter().enumerate().map(stage).collect::<Vec<_>>()
        };
        let both = |datapath: &Arc<Datapath>| {
            [of(datapath, "ingress", &datapath.ingress), of(datapath, "egress", &datapath.egress)]
        };
        datapaths.into_iter().flat_map(both).flatten().collect()
    }

    fn flow(&self, stage: &Stage, flow: FlowId) -> Option<section::Flow> {
        let passed = self.passed.get_or_init(|| {
            let mut passed = HashMap::new();
            self.counters.iter().for_each(|worker| worker.paths.sum(&mut passed));
            passed
        });
        let (packets, bytes) = passed.get(&flow).copied().unwrap_or_default();
        let row = self.rows.get(&Uuid::from_u128(flow.0))?;
        let local = self.local.contains(&row.uuid());
        Some(section::Flow {
            uuid: row.uuid(),
            source: if local { "local" } else { "southbound" },
            datapath: stage.datapath.name.clone(),
            pipeline: stage.pipeline,
            table: stage.number as u8,
            priority: row.priority(),
            packets,
            bytes,
            matches: row.matches().to_owned(),
            actions: row.actions().to_owned(),
        })
    }
}
