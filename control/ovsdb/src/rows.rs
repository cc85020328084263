//! Rows by UUID, a word each: the UUID is in the row.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;
use uuid::Uuid;

/// What knows which row it is, behind a pointer.
pub trait Identified {
    /// `_uuid`.
    fn id(&self) -> Uuid;
}

/// Rows, each of another UUID.
#[derive(Clone, Debug)]
pub struct Rows<R> {
    table: HashTable<R>,
    state: RandomState,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { table: HashTable::new(), state: RandomState::default() }
    }
}

impl<R: Identified> Rows<R> {
    /// The row.
    pub fn get(&self, id: &Uuid) -> Option<&R> {
        self.table.find(self.state.hash_one(id), |row| row.id() == *id)
    }

    /// Whether it is there.
    pub fn contains(&self, id: &Uuid) -> bool {
        self.get(id).is_some()
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        let state = &self.state;
        self.table.reserve(more, |row| state.hash_one(row.id()));
    }

    /// Puts a row in, and returns the one that it replaces.
    pub fn insert(&mut self, row: R) -> Option<R> {
        let (id, state) = (row.id(), &self.state);
        let hash = |row: &R| state.hash_one(row.id());
        match self.table.entry(state.hash_one(id), |known| known.id() == id, hash) {
            Entry::Occupied(mut known) => Some(std::mem::replace(known.get_mut(), row)),
            Entry::Vacant(place) => {
                place.insert(row);
                None
            }
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, id: &Uuid) -> Option<R> {
        let found = self.table.find_entry(self.state.hash_one(id), |row| row.id() == *id);
        found.ok().map(|entry| entry.remove().0)
    }

    /// All rows, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.table.iter()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

impl<R> IntoIterator for Rows<R> {
    type Item = R;
    type IntoIter = hashbrown::hash_table::IntoIter<R>;

    fn into_iter(self) -> Self::IntoIter {
        self.table.into_iter()
    }
}
