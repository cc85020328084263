//! Which flows a name has a meaning for.
//!
//! Compiling a flow asks what names mean: ports, sets, groups, template variables. Each question is
//! noted here, so that when the answer may be another, exactly the flows that asked are compiled
//! again (EX-S10). The language asks for every name whatever the answers are, so what is noted does
//! not depend on them.

use crate::index::{Index, RowsIter};
use hashbrown::HashMap;
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
    /// `@name`.
    PortGroup(Arc<str>),
    /// `^name`.
    Template(Arc<str>),
}

/// The names in use, and by whom.
#[derive(Default, Debug)]
pub(crate) struct Names {
    flows: Index<Name>,
    names: HashMap<Uuid, Box<[Name]>>,
}

impl Names {
    /// Notes what a flow asked for, beside what it asked for before.
    pub(crate) fn note(&mut self, flow: Uuid, mut asked: Vec<Name>) {
        if asked.is_empty() {
            return;
        }
        for name in &asked {
            self.flows.insert(name.clone(), flow);
        }
        let known = self.names.entry(flow).or_default();
        if asked.iter().all(|name| known.contains(name)) {
            return;
        }
        asked.extend(std::mem::take(known));
        asked.sort_unstable();
        asked.dedup();
        *known = asked.into();
    }

    /// Forgets a flow.
    pub(crate) fn forget(&mut self, flow: Uuid) {
        for name in self.names.remove(&flow).unwrap_or_default() {
            self.flows.remove(&name, flow);
        }
    }

    /// The flows that asked for a name.
    pub(crate) fn flows(&self, name: &Name) -> RowsIter<'_> {
        self.flows.rows(name)
    }
}
