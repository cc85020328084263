//! Watching a walk: what `ovn-xdp trace` and tests see of it, at no cost to workers.

use crate::classify::Rule;
use crate::field::Context;
use crate::key::FlowId;
use crate::program::{Op, Pipeline};
use crate::publish::Datapath;
use ovn_xdp_abi::drop::DropReason;

/// Sees each step of a walk. All methods do nothing unless given; `()` sees nothing.
pub trait Observer {
    /// Whether anything is seen; tables that only pass on are then looked up for it.
    const SEES: bool = true;

    /// A table was looked up.
    fn table(
        &mut self,
        _datapath: &Datapath,
        _pipeline: Pipeline,
        _table: u8,
        _rule: Option<&Rule>,
        _context: &Context,
    ) {
    }

    /// An operation is about to run.
    fn op(&mut self, _op: &Op, _context: &Context) {}

    /// The output decision for a port or group of a datapath.
    fn output(&mut self, _datapath: &Datapath, _outport: u16, _decision: Decision) {}

    /// A branch of the walk ended without output.
    fn drop(&mut self, _reason: DropReason, _flow: FlowId) {}
}

impl Observer for () {
    const SEES: bool = false;
}

/// Where an output leads (section 5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Through the egress pipeline to a port of this chassis.
    Local,
    /// Into a tunnel.
    Tunnel,
    /// To the peer datapath.
    Patch,
    /// To a workload: the egress pipeline is done.
    Deliver,
}
