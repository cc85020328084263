//! One local datapath under way: its rules by flow, and the maps that are published.

use crate::southbound::DatapathBinding;
use crate::text::{Compiled, Problem};
use hashbrown::HashMap;
use ovn_xdp_datapath::classify::{Rule, Table};
use ovn_xdp_datapath::key::{FlowId, PortKey};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_datapath::publish::{Datapath, Group, Mac, Map, Neighbour, Port};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A local datapath.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) binding: Arc<DatapathBinding>,
    ingress: Vec<Stage>,
    egress: Vec<Stage>,
    pub(crate) ports: Map<PortKey, Arc<Port>>,
    pub(crate) groups: Map<PortKey, Arc<Group>>,
    pub(crate) neighbours: Map<Neighbour, Mac>,
    pub(crate) fdb: Map<Mac, PortKey>,
    /// Flows that did not compile here.
    pub(crate) skipped: BTreeMap<Uuid, Problem>,
    /// Flows with actions that are not executed.
    pub(crate) inert: HashMap<Uuid, Arc<[&'static str]>>,
}

/// One table.
#[derive(Default, Debug)]
struct Stage {
    rules: HashMap<FlowId, Rule>,
    table: Arc<Table>,
    stale: bool,
}

impl Local {
    pub(crate) fn new(binding: Arc<DatapathBinding>) -> Self {
        Self {
            binding,
            ingress: Vec::new(),
            egress: Vec::new(),
            ports: Map::default(),
            groups: Map::default(),
            neighbours: Map::default(),
            fdb: Map::default(),
            skipped: BTreeMap::new(),
            inert: HashMap::new(),
        }
    }

    fn stages(&mut self, pipeline: Pipeline) -> &mut Vec<Stage> {
        match pipeline {
            Pipeline::Ingress => &mut self.ingress,
            Pipeline::Egress => &mut self.egress,
        }
    }

    /// Takes a flow out; returns whether that changes a table.
    pub(crate) fn remove(&mut self, pipeline: Pipeline, table: u8, flow: Uuid) -> bool {
        self.skipped.remove(&flow);
        self.inert.remove(&flow);
        let Some(stage) = self.stages(pipeline).get_mut(usize::from(table)) else { return false };
        let removed = stage.rules.remove(&FlowId(flow.as_u128())).is_some();
        stage.stale |= removed;
        removed
    }

    /// Puts in what came of compiling a flow; returns whether that changes a table.
    pub(crate) fn set(
        &mut self,
        (pipeline, table, priority): (Pipeline, u8, u16),
        flow: Uuid,
        result: Result<Compiled, Problem>,
    ) -> bool {
        let compiled = match result {
            Ok(compiled) => compiled,
            Err(problem) => {
                let removed = self.remove(pipeline, table, flow);
                self.skipped.insert(flow, problem);
                return removed;
            }
        };
        self.skipped.remove(&flow);
        if compiled.inert.is_empty() {
            self.inert.remove(&flow);
        } else {
            self.inert.insert(flow, compiled.inert);
        }
        let id = FlowId(flow.as_u128());
        let stages = self.stages(pipeline);
        let index = usize::from(table);
        if stages.len() <= index {
            stages.resize_with(index + 1, Stage::default);
        }
        let stage = &mut stages[index];
        let same = |rule: &Rule| {
            rule.priority == priority
                && rule.clauses == compiled.clauses
                && rule.program == compiled.program
        };
        let changed = if compiled.clauses.is_empty() {
            stage.rules.remove(&id).is_some()
        } else if stage.rules.get(&id).is_some_and(same) {
            false
        } else {
            let (clauses, program) = (compiled.clauses, compiled.program);
            stage.rules.insert(id, Rule { priority, clauses, program, flow: id });
            true
        };
        stage.stale |= changed;
        changed
    }

    /// The datapath as it is now, under a new epoch.
    pub(crate) fn publish(&mut self, epoch: u64) -> Datapath {
        for stage in self.ingress.iter_mut().chain(&mut self.egress) {
            if std::mem::take(&mut stage.stale) {
                stage.table = Arc::new(Table::new(stage.rules.values().cloned().collect()));
            }
        }
        let tables = |stages: &[Stage]| {
            let used = stages.iter().rposition(|s| !s.rules.is_empty()).map_or(0, |last| last + 1);
            stages[..used].iter().map(|stage| stage.table.clone()).collect()
        };
        Datapath {
            epoch,
            key: self.binding.key,
            name: self.binding.name(),
            ingress: tables(&self.ingress),
            egress: tables(&self.egress),
            ports: self.ports.clone(),
            groups: self.groups.clone(),
            neighbours: self.neighbours.clone(),
            fdb: self.fdb.clone(),
        }
    }
}
