//! The whole logical network as one generation, with no chassis in it: what `ovn-xdp trace` walks.
//!
//! Flows, ports and groups are compiled as for a chassis, by the same code; that every datapath is
//! local, each port within reach and resident, and a group the list of its members, is all that is
//! different.

use crate::check::insertions;
use crate::compiler::{Compiler, Identity};
use crate::network::Network;
use ovn_xdp_datapath::classify::Table;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_datapath::publish::{Datapath, Generation, Stages};
use ovn_xdp_ovsdb::replica::Replica;
use std::sync::Arc;
use uuid::Uuid;

/// A database as one network.
#[derive(Debug)]
pub struct Whole {
    compiler: Compiler,
    generation: Arc<Generation>,
    order: Order,
}

/// How rules of one priority that match the same packet are told apart: the one with the least
/// number is taken.
///
/// `ovn-trace` takes the one that it comes across first in a hash table of rows, whose hash is the
/// first word of the UUID. What is known is the order of the buckets, by the number of rows; within
/// a bucket it hangs on how the table grew.
#[derive(Debug)]
pub(crate) struct Order {
    /// Bits by which the first word of a UUID is turned, for buckets to come in order.
    turn: u32,
    /// Rows that come before all others, the last first.
    preferred: Vec<Uuid>,
}

impl Order {
    fn of(rows: usize) -> Self {
        let turn = (usize::BITS - (rows / 2).leading_zeros()).clamp(2, 31);
        Self { turn, preferred: Vec::new() }
    }

    fn id(&self, row: Uuid) -> FlowId {
        match self.preferred.iter().rposition(|it| *it == row) {
            // Less than any that has something in its first word.
            Some(index) => FlowId(u128::from(u32::MAX) - index as u128),
            None => turned(row.as_u128(), self.turn),
        }
    }

    /// The row of a rule with this number.
    pub(crate) fn row(&self, id: FlowId) -> Uuid {
        let index = u128::from(u32::MAX).checked_sub(id.0);
        match index.and_then(|index| self.preferred.get(index as usize)) {
            Some(row) => *row,
            None => Uuid::from_u128(turned(id.0, u32::BITS - self.turn).0),
        }
    }
}

fn turned(id: u128, turn: u32) -> FlowId {
    let first = ((id >> 96) as u32).rotate_right(turn);
    FlowId(u128::from(first) << 96 | id & u128::MAX >> 32)
}

/// A network with its rules numbered anew.
fn numbered(generation: &Generation, number: impl Fn(FlowId) -> FlowId) -> Generation {
    let mut ordered = generation.clone();
    let table = |table: &Arc<Table>| {
        if table.rules().all(|rule| number(rule.flow()) == rule.flow()) {
            return table.clone();
        }
        let rules = table.rules().map(|rule| rule.of_flow(number(rule.flow())));
        Arc::new(Table::new(rules.collect()))
    };
    for (key, datapath) in &generation.datapaths {
        let mut datapath = Datapath::clone(datapath);
        datapath.ingress = Stages::new(Pipeline::Ingress, datapath.ingress.iter().map(table));
        datapath.egress = Stages::new(Pipeline::Egress, datapath.egress.iter().map(table));
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
        let order = Order::of(compiler.database.flows.len());
        let published = compiler.publish();
        let generation = numbered(&published, |flow| order.id(Uuid::from_u128(flow.0)));
        Self { compiler, generation: Arc::new(generation), order }
    }

    /// What the workers of such a network would run.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The rows that it was made from.
    pub fn network(&self) -> Network<'_> {
        Network::ordered(&self.compiler, &self.order)
    }

    /// From now on a flow is taken before all others of its priority that match as well.
    pub fn prefer(&mut self, flow: Uuid) {
        let before = self.order.id(flow);
        self.order.preferred.push(flow);
        let after = self.order.id(flow);
        let number = |flow| if flow == before { after } else { flow };
        self.generation = Arc::new(numbered(&self.generation, number));
    }
}
