//! The whole logical network as one generation, with no chassis in it, and the rows behind it: what
//! `ovn-xdp trace` walks and names things by.
//!
//! Flows, ports and groups are compiled as for a chassis, by the same code; that every datapath is
//! local, each port within reach and resident, and a group the list of its members, is all that is
//! different.

use crate::check::insertions;
use crate::compiler::{Compiler, Identity};
use crate::sets::{Access, Resolver};
use crate::southbound::{DatapathBinding, LogicalFlow, MulticastGroup, PortBinding};
use ovn_xdp_datapath::classify::{Clause, Table};
use ovn_xdp_datapath::key::{DatapathKey, FlowId, PortKey};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_datapath::publish::{Datapath, Generation};
use ovn_xdp_logical::action::{Actions, Parameters, Position, parse_actions};
use ovn_xdp_logical::annotate::Annotated;
use ovn_xdp_logical::clauses::ClauseError;
use ovn_xdp_logical::symbol::Symbols;
use ovn_xdp_ovsdb::replica::Replica;
use std::sync::Arc;
use uuid::Uuid;

/// A database as one network.
#[derive(Debug)]
pub struct Whole {
    compiler: Compiler,
    generation: Arc<Generation>,
    turn: u32,
}

/// Bits by which the first word of a UUID is turned, so that rules of one priority that match the
/// same packet are told apart as `ovn-trace` does it: by the buckets of a hash table with so many
/// rows, whose hash is that word.
fn turn(rows: usize) -> u32 {
    (usize::BITS - (rows / 2).leading_zeros()).clamp(2, 31)
}

fn turned(id: FlowId, turn: u32) -> FlowId {
    let first = ((id.0 >> 96) as u32).rotate_right(turn);
    FlowId(u128::from(first) << 96 | id.0 & u128::MAX >> 32)
}

/// The same network with its rules in that order.
fn in_order(generation: &Generation, turn: u32) -> Generation {
    let mut ordered = generation.clone();
    let table = |table: &Arc<Table>| {
        let rules = table.rules().map(|rule| rule.of_flow(turned(rule.flow(), turn)));
        Arc::new(Table::new(rules.collect()))
    };
    for (key, datapath) in &generation.datapaths {
        let mut datapath = Datapath::clone(datapath);
        datapath.ingress = datapath.ingress.iter().map(table).collect();
        datapath.egress = datapath.egress.iter().map(table).collect();
        ordered.datapaths.insert_mut(*key, Arc::new(datapath));
    }
    ordered
}

impl Whole {
    /// Compiles all that is in a database.
    pub fn new(rows: &Replica) -> Self {
        let mut compiler = Compiler::new(Identity { chassis: "".into() });
        compiler.all = true;
        compiler.own.whole = true;
        compiler.locality.stale = true;
        compiler.apply(&insertions(rows));
        let turn = turn(compiler.database.flows.len());
        let generation = Arc::new(in_order(&compiler.publish(), turn));
        Self { compiler, generation, turn }
    }

    /// What the workers of such a network would run.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The row of a rule.
    pub fn flow(&self, id: FlowId) -> Option<&LogicalFlow> {
        let id = turned(id, u32::BITS - self.turn);
        self.compiler.database.flows.get(&Uuid::from_u128(id.0))
    }

    /// Its actions as a tree; one for each operation of the rule's program.
    pub fn actions(&self, flow: &LogicalFlow) -> Option<Actions> {
        let translated = flow.is_translated();
        let parameters = Parameters {
            symbols: if translated { Symbols::acl_ct_translation() } else { Symbols::flow() },
            position: Position::new(flow.pipeline(), flow.table()),
            dhcp_options: &self.compiler.texts.dhcp,
            dhcpv6_options: &self.compiler.texts.dhcpv6,
        };
        parse_actions(flow.actions(), &parameters).ok()
    }

    /// The name of a table's stage.
    pub fn stage(&self, datapath: DatapathKey, pipeline: Pipeline, table: u8) -> Option<&str> {
        let database = &self.compiler.database;
        let row = database.datapath_by_key.first(&datapath)?;
        let mut flows = database.flows_for(row).filter_map(|flow| database.flows.get(&flow));
        let flow = flows.find(|flow| flow.pipeline() == pipeline && flow.table() == table)?;
        Some(flow.stage()).filter(|stage| !stage.is_empty())
    }

    /// All logical switches and routers.
    pub fn datapaths(&self) -> impl Iterator<Item = &DatapathBinding> {
        self.compiler.database.datapaths.values().map(|datapath| &**datapath)
    }

    /// All logical ports.
    pub fn ports(&self) -> impl Iterator<Item = &PortBinding> {
        self.compiler.database.ports.values().map(|port| &**port)
    }

    /// All multicast groups.
    pub fn groups(&self) -> impl Iterator<Item = &MulticastGroup> {
        self.compiler.database.multicast.values().map(|group| &**group)
    }

    /// A logical switch or router.
    pub fn datapath(&self, key: DatapathKey) -> Option<&DatapathBinding> {
        let row = self.compiler.database.datapath_by_key.first(&key)?;
        Some(self.compiler.database.datapaths.get(&row)?)
    }

    /// The port of that name.
    pub fn port(&self, name: &str) -> Option<&PortBinding> {
        Some(self.compiler.database.port(name)?)
    }

    /// A port of a datapath, by its key.
    pub fn port_of(&self, datapath: Uuid, key: PortKey) -> Option<&PortBinding> {
        let rows = self.compiler.database.ports_of_datapath.rows(&datapath);
        let mut ports = rows.filter_map(|row| self.compiler.database.ports.get(&row));
        Some(ports.find(|port| port.key == key)?)
    }

    /// What an expression means in a datapath.
    ///
    /// # Errors
    /// [`ClauseError`], as for the match of a flow.
    pub fn clauses(
        &mut self,
        expression: &Annotated,
        datapath: DatapathKey,
    ) -> Result<Vec<Clause>, ClauseError> {
        let Some(row) = self.compiler.database.datapath_by_key.first(&datapath) else {
            return Ok(Vec::new());
        };
        let Some(binding) = self.compiler.database.datapaths.get(&row).cloned() else {
            return Ok(Vec::new());
        };
        let mut resolver = Resolver {
            database: &self.compiler.database,
            own: &self.compiler.own,
            datapath: &binding,
            sets: &mut Access::Alone(&mut self.compiler.sets),
            asked: Vec::new(),
        };
        expression.clauses(&mut resolver)
    }
}
