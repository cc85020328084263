//! One local datapath under way: its rules by flow, and the maps that are published.

use crate::southbound::DatapathBinding;
use crate::text::Problem;
use hashbrown::HashMap;
use ovn_xdp_datapath::classify::{Rule, Rules, Table};
use ovn_xdp_datapath::key::{FlowId, PortKey};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_datapath::publish::{Datapath, Group, Mac, Map, Neighbour, Ports, Stages};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A local datapath.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) binding: Arc<DatapathBinding>,
    ingress: Tables,
    egress: Tables,
    pub(crate) ports: Ports,
    pub(crate) groups: Map<PortKey, Arc<Group>>,
    pub(crate) neighbours: Map<Neighbour, Mac>,
    pub(crate) fdb: Map<Mac, PortKey>,
    /// Flows that did not compile here.
    pub(crate) skipped: BTreeMap<Uuid, Problem>,
    /// Flows with actions that are not executed.
    pub(crate) inert: HashMap<Uuid, Arc<[&'static str]>>,
}

/// The tables of a pipeline.
#[derive(Debug)]
struct Tables {
    pipeline: Pipeline,
    under_way: Vec<Stage>,
    published: Stages,
}

/// One table.
#[derive(Default, Debug)]
pub(crate) struct Stage {
    rules: Rules,
    /// Rules that are new or other than before, until they are entered.
    coming: Vec<Rule>,
    table: Arc<Table>,
    stale: bool,
}

impl Stage {
    /// Enters what is coming.
    pub(crate) fn enter(&mut self) {
        self.rules.extend(std::mem::take(&mut self.coming));
    }

    /// How many rules are coming.
    pub(crate) fn coming(&self) -> usize {
        self.coming.len()
    }
}

impl Local {
    pub(crate) fn new(binding: Arc<DatapathBinding>) -> Self {
        Self {
            binding,
            ingress: Tables::new(Pipeline::Ingress),
            egress: Tables::new(Pipeline::Egress),
            ports: Ports::default(),
            groups: Map::default(),
            neighbours: Map::default(),
            fdb: Map::default(),
            skipped: BTreeMap::new(),
            inert: HashMap::new(),
        }
    }

    fn stages(&mut self, pipeline: Pipeline) -> &mut Vec<Stage> {
        match pipeline {
            Pipeline::Ingress => &mut self.ingress.under_way,
            Pipeline::Egress => &mut self.egress.under_way,
        }
    }

    /// One of the rules of a table as it was published, whichever.
    pub(crate) fn any_rule(&self, pipeline: Pipeline, table: u8) -> Option<&Rule> {
        let stages = match pipeline {
            Pipeline::Ingress => &self.ingress.under_way,
            Pipeline::Egress => &self.egress.under_way,
        };
        stages.get(usize::from(table))?.table.any_rule()
    }

    /// Takes a flow out; returns whether that changes a table.
    pub(crate) fn remove(&mut self, pipeline: Pipeline, table: u8, flow: Uuid) -> bool {
        self.skipped.remove(&flow);
        self.inert.remove(&flow);
        let Some(stage) = self.stages(pipeline).get_mut(usize::from(table)) else { return false };
        let removed = stage.rules.remove(FlowId(flow.as_u128())).is_some();
        stage.stale |= removed;
        removed
    }

    /// Tables that rules are coming to.
    pub(crate) fn coming(&mut self) -> impl Iterator<Item = &mut Stage> {
        let stages = self.ingress.under_way.iter_mut().chain(&mut self.egress.under_way);
        stages.filter(|stage| !stage.coming.is_empty())
    }

    /// Puts in what came of compiling a flow, which is entered before anything else happens; returns
    /// whether that changes a table.
    pub(crate) fn set(
        &mut self,
        (pipeline, table): (Pipeline, u8),
        flow: Uuid,
        result: Result<(Rule, Arc<[&'static str]>), Problem>,
    ) -> bool {
        let (rule, inert) = match result {
            Ok(compiled) => compiled,
            Err(problem) => {
                let removed = self.remove(pipeline, table, flow);
                self.skipped.insert(flow, problem);
                return removed;
            }
        };
        self.skipped.remove(&flow);
        if inert.is_empty() {
            self.inert.remove(&flow);
        } else {
            self.inert.insert(flow, inert);
        }
        let stages = self.stages(pipeline);
        let index = usize::from(table);
        if stages.len() <= index {
            stages.resize_with(index + 1, Stage::default);
        }
        let stage = &mut stages[index];
        let changed = if rule.holds_never() {
            stage.rules.remove(rule.flow()).is_some()
        } else if stage.rules.get(rule.flow()).is_some_and(|known| *known == rule) {
            false
        } else {
            stage.coming.push(rule);
            true
        };
        stage.stale |= changed;
        changed
    }

    /// The datapath as it is now, under a new epoch.
    pub(crate) fn publish(&mut self, epoch: u64) -> Datapath {
        Datapath {
            epoch,
            key: self.binding.key,
            name: self.binding.name(),
            ingress: self.ingress.publish(),
            egress: self.egress.publish(),
            ports: self.ports.clone(),
            groups: self.groups.clone(),
            neighbours: self.neighbours.clone(),
            fdb: self.fdb.clone(),
        }
    }
}

impl Tables {
    fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, under_way: Vec::new(), published: Stages::new(pipeline, []) }
    }

    /// The tables as they are now, up to the last that has a rule.
    fn publish(&mut self) -> Stages {
        let stages = &mut self.under_way;
        if stages.iter().any(|stage| stage.stale) {
            for stage in stages.iter_mut() {
                if std::mem::take(&mut stage.stale) {
                    stage.table = Arc::new(stage.rules.table());
                }
            }
            let used = stages.iter().rposition(|s| !s.rules.is_empty()).map_or(0, |last| last + 1);
            let tables = stages[..used].iter().map(|stage| Arc::clone(&stage.table));
            self.published = Stages::new(self.pipeline, tables);
        }
        self.published.clone()
    }
}
