//! The logical flows by UUID, of which a snapshot costs little.
//!
//! They lie in many small tables. A snapshot shares these; a change copies the one that it touches, if
//! a snapshot still has it. So who reads a million flows holds up nobody, and neither does a table
//! that grows.

use crate::southbound::LogicalFlow;
use hashbrown::DefaultHashBuilder;
use ovn_xdp_ovsdb::rows::{Identified, Rows};
use std::hash::BuildHasher;
use std::sync::Arc;
use uuid::Uuid;

/// Tables: a thousand flows each when there are a million, which take some 50 µs to copy.
const PARTS: usize = 1024;

/// All logical flows. A clone is a snapshot.
#[derive(Clone, Debug)]
pub struct Flows {
    parts: Box<[Arc<Rows<LogicalFlow>>]>,
    state: DefaultHashBuilder,
    len: usize,
}

impl Default for Flows {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Arc::default()).collect();
        Self { parts, state: DefaultHashBuilder::default(), len: 0 }
    }
}

impl Flows {
    /// The flow.
    pub fn get(&self, id: &Uuid) -> Option<&LogicalFlow> {
        self.parts[self.part(id)].get(id)
    }

    /// All flows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &LogicalFlow> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// The number of flows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, id: &Uuid) -> bool {
        self.get(id).is_some()
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        // A few do not fill any table.
        if more >= PARTS {
            self.parts.iter_mut().for_each(|part| Arc::make_mut(part).reserve(more / PARTS));
        }
    }

    pub(crate) fn insert(&mut self, flow: LogicalFlow) -> Option<LogicalFlow> {
        let before = self.part_mut(&flow.id()).insert(flow);
        self.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, id: &Uuid) -> Option<LogicalFlow> {
        let gone = self.part_mut(id).remove(id);
        self.len -= usize::from(gone.is_some());
        gone
    }

    fn part(&self, id: &Uuid) -> usize {
        self.state.hash_one(id) as usize % PARTS
    }

    fn part_mut(&mut self, id: &Uuid) -> &mut Rows<LogicalFlow> {
        let part = self.part(id);
        Arc::make_mut(&mut self.parts[part])
    }
}
