//! Which rows have a value: the reverse of a column.
//!
//! Most values belong to one row or a few (the flows of a port), some to thousands (the ports of a
//! switch), so a single row is kept without an allocation and a few in one. Order of insertion does
//! not show: what is asked for first is the smallest UUID.

use hashbrown::HashMap;
use ovn_xdp_ovsdb::rows::{self, Identified};
use std::collections::{BTreeSet, btree_set};
use std::hash::Hash;
use uuid::Uuid;

/// Rows by a value of theirs.
#[derive(Debug)]
pub(crate) struct Index<K>(HashMap<K, Rows>);

#[derive(Debug)]
enum Rows {
    One(Uuid),
    /// In order.
    Few(Box<[Uuid]>),
    /// Boxed, because there are more of the others.
    #[expect(clippy::box_collection, reason = "three words less for each value")]
    Many(Box<BTreeSet<Uuid>>),
}

/// As many rows are a few.
const FEW: usize = 16;

impl Rows {
    fn insert(&mut self, row: Uuid) {
        let known = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Few(few) => &**few,
            Self::Many(many) => {
                many.insert(row);
                return;
            }
        };
        if let Err(at) = known.binary_search(&row) {
            let (before, after) = known.split_at(at);
            let all = before.iter().chain([&row]).chain(after).copied();
            *self = Self::of(known.len() + 1, all);
        }
    }

    /// Takes a row out; returns whether none is left.
    fn remove(&mut self, row: Uuid) -> bool {
        match self {
            Self::One(one) => return *one == row,
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&row) {
                    let (before, after) = (&few[..at], &few[at + 1..]);
                    *self = Self::of(few.len() - 1, before.iter().chain(after).copied());
                }
            }
            Self::Many(many) => {
                many.remove(&row);
                if many.len() <= FEW / 2 {
                    *self = Self::of(many.len(), many.iter().copied());
                }
            }
        }
        false
    }

    fn iter(&self) -> RowsIter<'_> {
        match self {
            Self::One(one) => RowsIter::Few(std::slice::from_ref(one).iter()),
            Self::Few(few) => RowsIter::Few(few.iter()),
            Self::Many(many) => RowsIter::Many(many.iter()),
        }
    }

    /// One row or more, in order.
    fn of(len: usize, mut rows: impl Iterator<Item = Uuid>) -> Self {
        match (len, rows.next()) {
            (1, Some(one)) => Self::One(one),
            (2..=FEW, first) => Self::Few(first.into_iter().chain(rows).collect()),
            (_, first) => Self::Many(Box::new(first.into_iter().chain(rows).collect())),
        }
    }
}

/// Rows by a row of another table that they are of, where these are thousands: a word each.
#[derive(Debug)]
pub(crate) struct Members<R>(HashMap<Uuid, rows::Rows<R>>);

impl<R> Default for Members<R> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<R: Identified> Members<R> {
    pub(crate) fn insert(&mut self, of: Uuid, row: R) {
        self.0.entry(of).or_default().insert(row);
    }

    pub(crate) fn remove(&mut self, of: Uuid, row: Uuid) {
        if let Some(rows) = self.0.get_mut(&of) {
            rows.remove(&row);
            if rows.is_empty() {
                self.0.remove(&of);
            }
        }
    }

    /// The rows, in no particular order.
    pub(crate) fn rows(&self, of: Uuid) -> impl Iterator<Item = &R> {
        self.0.get(&of).into_iter().flat_map(rows::Rows::iter)
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    pub(crate) fn insert(&mut self, key: K, row: Uuid) {
        match self.0.entry(key) {
            hashbrown::hash_map::Entry::Vacant(entry) => {
                entry.insert(Rows::One(row));
            }
            hashbrown::hash_map::Entry::Occupied(mut entry) => entry.get_mut().insert(row),
        }
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q, row: Uuid)
    where
        Q: ?Sized + Hash + hashbrown::Equivalent<K>,
    {
        if self.0.get_mut(key).is_some_and(|rows| rows.remove(row)) {
            self.0.remove(key);
        }
    }

    /// Takes out all rows but some.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Uuid) -> bool) {
        self.0.retain(|_, rows| {
            let kept: Vec<Uuid> = rows.iter().filter(&keep).collect();
            if !kept.is_empty() {
                *rows = Rows::of(kept.len(), kept.iter().copied());
            }
            !kept.is_empty()
        });
        self.0.shrink_to_fit();
    }

    /// The row, or the smallest of several.
    pub(crate) fn first<Q>(&self, key: &Q) -> Option<Uuid>
    where
        Q: ?Sized + Hash + hashbrown::Equivalent<K>,
    {
        self.rows(key).next()
    }

    /// The rows in ascending order.
    pub(crate) fn rows<Q>(&self, key: &Q) -> RowsIter<'_>
    where
        Q: ?Sized + Hash + hashbrown::Equivalent<K>,
    {
        self.0.get(key).map_or(RowsIter::Few([].iter()), Rows::iter)
    }

    pub(crate) fn contains<Q>(&self, key: &Q) -> bool
    where
        Q: ?Sized + Hash + hashbrown::Equivalent<K>,
    {
        self.0.contains_key(key)
    }
}

/// Rows in ascending order.
pub(crate) enum RowsIter<'a> {
    /// Some, or none.
    Few(std::slice::Iter<'a, Uuid>),
    /// Any number.
    Many(btree_set::Iter<'a, Uuid>),
}

impl Iterator for RowsIter<'_> {
    type Item = Uuid;

    fn next(&mut self) -> Option<Uuid> {
        match self {
            Self::Few(few) => few.next().copied(),
            Self::Many(many) => many.next().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_ascending_order_and_go_without_a_trace() {
        let mut index = Index::default();
        let rows: Vec<Uuid> = (1..50).map(Uuid::from_u128).collect();
        for (at, row) in rows.iter().enumerate().rev() {
            index.insert("a", *row);
            index.insert("a", *row);
            assert_eq!(index.rows("a").collect::<Vec<_>>(), rows[at..]);
        }
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(index.rows("a").collect::<Vec<_>>(), rows[at..]);
            index.remove("a", *row);
            index.remove("a", *row);
        }
        assert!(!index.contains("a"));
        assert_eq!(index.first("a"), None);
    }

    #[test]
    fn those_that_are_kept_stay() {
        let mut index = Index::default();
        (1..50).for_each(|row| index.insert("a", Uuid::from_u128(row)));
        index.insert("b", Uuid::from_u128(2));
        index.retain(|row| row.as_u128() % 20 == 1);
        assert_eq!(index.rows("a").collect::<Vec<_>>(), [1, 21, 41].map(Uuid::from_u128));
        assert!(!index.contains("b"));
    }
}
