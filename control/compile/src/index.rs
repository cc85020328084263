//! Which rows have a value: the reverse of a column.
//!
//! Most values belong to one row, some to thousands (the ports of a switch), so a single row is
//! kept without an allocation. Order of insertion does not show: what is asked for first is the
//! smallest UUID.

use hashbrown::HashMap;
use std::collections::{BTreeSet, btree_set};
use std::hash::Hash;
use uuid::Uuid;

/// Rows by a value of theirs.
#[derive(Debug)]
pub(crate) struct Index<K>(HashMap<K, Rows>);

#[derive(Debug)]
enum Rows {
    One(Uuid),
    Many(BTreeSet<Uuid>),
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
            hashbrown::hash_map::Entry::Occupied(mut entry) => match entry.get_mut() {
                Rows::One(one) if *one == row => {}
                Rows::One(one) => {
                    let many = BTreeSet::from([*one, row]);
                    entry.insert(Rows::Many(many));
                }
                Rows::Many(many) => {
                    many.insert(row);
                }
            },
        }
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q, row: Uuid)
    where
        Q: ?Sized + Hash + hashbrown::Equivalent<K>,
    {
        let empty = match self.0.get_mut(key) {
            None => false,
            Some(Rows::One(one)) => *one == row,
            Some(Rows::Many(many)) => {
                many.remove(&row);
                many.is_empty()
            }
        };
        if empty {
            self.0.remove(key);
        }
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
        match self.0.get(key) {
            None => RowsIter::One(None),
            Some(Rows::One(one)) => RowsIter::One(Some(*one)),
            Some(Rows::Many(many)) => RowsIter::Many(many.iter()),
        }
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
    /// One, or none.
    One(Option<Uuid>),
    /// Any number.
    Many(btree_set::Iter<'a, Uuid>),
}

impl Iterator for RowsIter<'_> {
    type Item = Uuid;

    fn next(&mut self) -> Option<Uuid> {
        match self {
            Self::One(one) => one.take(),
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
        let rows: Vec<Uuid> = (1..5).map(Uuid::from_u128).collect();
        for row in rows.iter().rev() {
            index.insert("a", *row);
            index.insert("a", *row);
        }
        assert_eq!(index.rows("a").collect::<Vec<_>>(), rows);
        for row in &rows {
            assert!(index.contains("a"));
            index.remove("a", *row);
        }
        assert!(!index.contains("a"));
        assert_eq!(index.first("a"), None);
    }
}
