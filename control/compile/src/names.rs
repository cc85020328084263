//! Which flows a name has a meaning for.
//!
//! Compiling a flow asks what names mean: ports, sets, groups, template variables. Each question is
//! noted here, so that when the answer may be another, exactly the flows that asked are compiled
//! again (EX-S10). The language asks for every name whatever the answers are, so what is noted does
//! not depend on them.

use crate::flows::Flows;
use crate::index::{Index, RowsIter};
use std::sync::Arc;
use uuid::Uuid;

/// Something that a flow's text names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Name {
    /// A port or multicast group, as a number of this datapath.
    Port(Arc<str>),
    /// A port of `is_chassis_resident`.
    Resident(Arc<str>),
    /// `$name`, whatever is in it.
    AddressSet(Arc<str>),
    /// What is in `$name`.
    Members(Arc<str>),
    /// Whether anything is in `$name`.
    Emptiness(Arc<str>),
    /// `@name`.
    PortGroup(Arc<str>),
    /// `^name`.
    Template(Arc<str>),
}

/// The names in use, and by whom.
///
/// What a flow asked for is not kept by flow: it would take as much again as the rest. One that is
/// gone, or asks for other names now, stays where it is until as many have gone as there are, and
/// then is taken out with all others. Until then too much may be compiled again, which does no harm.
#[derive(Default, Debug)]
pub(crate) struct Names {
    flows: Index<Name>,
    /// Flows that went or changed since the last sweep.
    gone: usize,
}

/// As few are left where they are.
const FEW: usize = 4096;

impl Names {
    /// Notes what a flow asked for, beside what it asked for before.
    pub(crate) fn note(&mut self, flow: Uuid, asked: Vec<Name>) {
        for name in asked {
            self.flows.insert(name, flow);
        }
    }

    /// Takes note that a flow is gone, or another.
    pub(crate) fn forget(&mut self) {
        self.gone += 1;
    }

    /// Takes flows out that are gone, if they are many.
    pub(crate) fn sweep(&mut self, flows: &Flows) {
        if self.gone > FEW.max(flows.len()) {
            self.gone = 0;
            self.flows.retain(|flow| flows.contains(flow));
        }
    }

    /// The flows that asked for a name.
    pub(crate) fn flows(&self, name: &Name) -> RowsIter<'_> {
        self.flows.rows(name)
    }
}
