//! Watching a walk: what `ovn-xdp trace` and tests see of it, at no cost to workers.

use crate::classify::Rule;
use crate::field::Context;
use crate::key::{FlowId, PortKey, TunnelId};
use crate::program::{Op, Pipeline};
use crate::publish::Datapath;
use ovn_xdp_abi::drop::DropReason;

/// Sees each step of a walk. All methods do nothing unless given; `()` sees nothing.
///
/// A walk forks; a branch carries its *place*, which says to the observer where in its record the
/// branch's next steps belong. Steps come in the order in which they happen.
pub trait Observer {
    /// Whether anything is seen; tables that only pass on are then looked up for it.
    const SEES: bool = true;

    /// Where in the record a branch is.
    type Place: Copy + Default;

    /// A packet enters an ingress pipeline from outside; where its record starts.
    fn enter(&mut self, _datapath: &Datapath, _context: &Context) -> Self::Place {
        Self::Place::default()
    }

    /// A table was looked up; the place of what the rule does.
    fn table(&mut self, place: Self::Place, _table: Lookup<'_>, _context: &Context) -> Self::Place {
        place
    }

    /// An operation is about to run, the `step`th of its program; the place of what it leads to.
    fn op(
        &mut self,
        place: Self::Place,
        _at: Step<'_>,
        _op: &Op,
        _context: &Context,
    ) -> Self::Place {
        place
    }

    /// The place of what an operation leads to, now that the surroundings have decided what that is.
    fn place(&mut self, place: Self::Place) -> Self::Place {
        place
    }

    /// An operation has run.
    fn ran(&mut self, _place: Self::Place, _op: &Op, _context: &Context) {}

    /// The output decision for a port or group of a datapath; the place of what comes of it.
    fn output(
        &mut self,
        place: Self::Place,
        _datapath: &Datapath,
        _outport: u16,
        _decision: Decision,
        _context: &Context,
    ) -> Self::Place {
        place
    }

    /// A branch of the walk ended without output.
    fn drop(&mut self, _place: Self::Place, _reason: DropReason, _flow: FlowId) {}
}

impl Observer for () {
    const SEES: bool = false;
    type Place = ();
}

/// A table that was looked up, and what was found.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Whose table.
    pub datapath: &'a Datapath,
    /// Which pipeline.
    pub pipeline: Pipeline,
    /// Which table of it.
    pub table: u8,
    /// The rule that matches.
    pub rule: Option<&'a Rule>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Whose table.
    pub datapath: &'a Datapath,
    /// Which pipeline.
    pub pipeline: Pipeline,
    /// Its place in its program or block.
    pub index: usize,
}

/// Where an output leads (section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Through the egress pipeline to a port of this chassis.
    Local,
    /// Into a tunnel.
    Tunnel(TunnelId),
    /// To the peer datapath.
    Patch,
    /// To a workload: the egress pipeline is done.
    Deliver,
    /// To each member of a group.
    Group,
    /// To the distributed port of a centralised one.
    Distributed(PortKey),
    /// Nowhere, because it came from there.
    Omitted,
    /// Nowhere, because there is no such port or group.
    Unknown,
}
