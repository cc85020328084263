//! A hash table that shares what it has in common with the one it was copied from.
//!
//! Entries lie in leaves of up to [`MOST`], in order of hash and then of their own, below branches
//! of [`FAN`]. Copying the table copies a pointer; a change after that copies one leaf and the
//! branches above it, and where nobody else holds them not even those. Entries of one hash stay in
//! one leaf, however many: what is found under a hash is a run, the best entry first.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// What a table holds.
pub(super) trait Entry: Clone {
    /// Where it stands among entries of one hash; those that stand alike are the same entry.
    fn order(&self, other: &Self) -> Ordering;
}

/// The table.
#[derive(Clone)]
pub(super) struct Trie<E> {
    root: Node<E>,
    len: usize,
}

#[derive(Clone)]
enum Node<E> {
    Leaf(Arc<[Slot<E>]>),
    Branch(Arc<[Node<E>; FAN]>),
}

/// An entry and its hash.
#[derive(Clone)]
struct Slot<E> {
    hash: u64,
    entry: E,
}

/// A wider branch saves steps of a look-up, a narrower one leaves more in each leaf, whose counts and
/// place cost as much as two entries.
const BITS: u32 = 3;
const FAN: usize = 1 << BITS;

/// Entries of a leaf beyond which it is split, unless they all have one hash.
const MOST: usize = 32;

impl<E> Default for Trie<E> {
    fn default() -> Self {
        Self { root: Node::Leaf(Arc::from([])), len: 0 }
    }
}

impl<E: Entry> Trie<E> {
    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entries under a hash, in order.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> impl Iterator<Item = &E> {
        let mut node = &self.root;
        let mut rest = hash;
        let slots = loop {
            match node {
                Node::Branch(children) => {
                    node = &children[rest as usize % FAN];
                    rest >>= BITS;
                }
                Node::Leaf(slots) => break slots,
            }
        };
        let start = slots.partition_point(|slot| slot.hash < hash);
        let run = slots[start..].iter().take_while(move |slot| slot.hash == hash);
        run.map(|slot| &slot.entry)
    }

    /// Puts an entry in, in place of one that is equal to it.
    pub(super) fn insert(&mut self, hash: u64, entry: E) -> Option<E> {
        let old = self.root.insert(hash, 0, Slot { hash, entry });
        self.len += usize::from(old.is_none());
        old
    }

    /// Puts many entries in at once, each with its hash, none of which is equal to another or to one
    /// that is there. It comes to the same as to insert one after the other, but each leaf is made
    /// once.
    pub(super) fn extend(&mut self, entries: impl Iterator<Item = (u64, E)>) {
        let slots: Vec<_> = entries.map(|(hash, entry)| Slot { hash, entry }).collect();
        self.len += slots.len();
        self.root.extend(slots, 0);
    }

    /// Takes the entry out that is equal to `entry`.
    pub(super) fn remove(&mut self, hash: u64, like: impl Fn(&E) -> Ordering) -> Option<E> {
        let old = self.root.remove(hash, 0, &like);
        self.len -= usize::from(old.is_some());
        old
    }

    /// All entries, in no particular order.
    pub(super) fn iter(&self) -> Iter<'_, E> {
        let mut iter = Iter { nodes: Vec::new(), slots: [].iter() };
        iter.enter(&self.root);
        iter
    }

    /// Bytes that the table takes, apart from what entries point to.
    pub(super) fn bytes(&self) -> usize {
        self.root.bytes()
    }
}

impl<E: Entry> Node<E> {
    fn insert(&mut self, rest: u64, depth: u32, slot: Slot<E>) -> Option<E> {
        match self {
            Self::Branch(children) => {
                let child = &mut Arc::make_mut(children)[rest as usize % FAN];
                child.insert(rest >> BITS, depth + 1, slot)
            }
            Self::Leaf(slots) => match slots.binary_search_by(|it| compare(it, &slot)) {
                Ok(at) => {
                    let slots = Arc::make_mut(slots);
                    Some(std::mem::replace(&mut slots[at].entry, slot.entry))
                }
                Err(at) => {
                    let (before, after) = slots.split_at(at);
                    *slots = before
                        .iter()
                        .cloned()
                        .chain(std::iter::once(slot))
                        .chain(after.iter().cloned())
                        .collect();
                    self.split(depth);
                    None
                }
            },
        }
    }

    /// A node of entries in any order.
    fn of(mut slots: Vec<Slot<E>>, depth: u32) -> Self {
        let first = slots.first().map(|slot| slot.hash);
        if slots.len() <= MOST || slots.iter().all(|slot| Some(slot.hash) == first) {
            slots.sort_unstable_by(compare);
            return Self::Leaf(slots.into());
        }
        let none = Arc::from([]);
        Self::Branch(Arc::new(parted(slots, depth).map(|part| match part.is_empty() {
            true => Self::Leaf(Arc::clone(&none)),
            false => Self::of(part, depth + 1),
        })))
    }

    fn extend(&mut self, more: Vec<Slot<E>>, depth: u32) {
        match self {
            _ if more.is_empty() => {}
            Self::Branch(children) => {
                let parts = parted(more, depth).into_iter();
                let children = Arc::make_mut(children).iter_mut();
                children.zip(parts).for_each(|(child, part)| child.extend(part, depth + 1));
            }
            Self::Leaf(slots) => {
                *self = Self::of(slots.iter().cloned().chain(more).collect(), depth);
            }
        }
    }

    fn split(&mut self, depth: u32) {
        if let Self::Leaf(slots) = self
            && slots.len() > MOST
        {
            *self = Self::of(slots.to_vec(), depth);
        }
    }

    fn remove(&mut self, hash: u64, depth: u32, like: &impl Fn(&E) -> Ordering) -> Option<E> {
        match self {
            Self::Branch(children) => {
                let at = (hash >> (depth * BITS)) as usize % FAN;
                let old = Arc::make_mut(children)[at].remove(hash, depth + 1, like)?;
                self.join();
                Some(old)
            }
            Self::Leaf(slots) => {
                let order = |it: &Slot<E>| it.hash.cmp(&hash).then_with(|| like(&it.entry));
                let at = slots.binary_search_by(order).ok()?;
                let old = slots[at].entry.clone();
                let (before, after) = (&slots[..at], &slots[at + 1..]);
                *slots = before.iter().chain(after).cloned().collect();
                Some(old)
            }
        }
    }

    /// Makes a branch of few entries a leaf.
    fn join(&mut self) {
        let Self::Branch(children) = self else { return };
        let mut entries = 0;
        for child in &**children {
            let Self::Leaf(slots) = child else { return };
            entries += slots.len();
            if entries > MOST / 2 {
                return;
            }
        }
        let slots = children.iter().flat_map(|child| match child {
            Self::Leaf(slots) => &**slots,
            Self::Branch(_) => &[],
        });
        let mut slots: Vec<Slot<E>> = slots.cloned().collect();
        slots.sort_unstable_by(compare);
        *self = Self::Leaf(slots.into());
    }

    fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        match self {
            Self::Leaf(slots) => COUNTS + size_of_val(&**slots),
            Self::Branch(children) => {
                let own = COUNTS + size_of_val(&**children);
                own + children.iter().map(Self::bytes).sum::<usize>()
            }
        }
    }
}

/// The order of a leaf.
fn compare<E: Entry>(a: &Slot<E>, b: &Slot<E>) -> Ordering {
    a.hash.cmp(&b.hash).then_with(|| a.entry.order(&b.entry))
}

/// Entries by the child of a branch that they belong to.
fn parted<E>(slots: Vec<Slot<E>>, depth: u32) -> [Vec<Slot<E>>; FAN] {
    let child = |slot: &Slot<E>| (slot.hash >> (depth * BITS)) as usize % FAN;
    let mut many = [0; FAN];
    slots.iter().for_each(|slot| many[child(slot)] += 1);
    let mut parts = many.map(Vec::with_capacity);
    slots.into_iter().for_each(|slot| parts[child(&slot)].push(slot));
    parts
}

/// All entries of a trie.
pub(super) struct Iter<'a, E> {
    nodes: Vec<&'a [Node<E>]>,
    slots: std::slice::Iter<'a, Slot<E>>,
}

impl<'a, E> Iter<'a, E> {
    fn enter(&mut self, node: &'a Node<E>) {
        match node {
            Node::Leaf(slots) => self.slots = slots.iter(),
            Node::Branch(children) => self.nodes.push(&**children),
        }
    }
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<&'a E> {
        loop {
            if let Some(slot) = self.slots.next() {
                return Some(&slot.entry);
            }
            let (first, rest) = match self.nodes.last_mut()? {
                [] => {
                    self.nodes.pop();
                    continue;
                }
                [first, rest @ ..] => (first, rest),
            };
            if let Some(last) = self.nodes.last_mut() {
                *last = rest;
            }
            self.enter(first);
        }
    }
}

impl<E: Entry + fmt::Debug> fmt::Debug for Trie<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    impl Entry for (u64, u32) {
        fn order(&self, other: &Self) -> Ordering {
            self.cmp(other)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u32),
        Extend(Vec<(u64, u32)>),
        Remove(u64, u32),
        Keep,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Hashes that agree in their low bits, and in all of them.
        let hash = prop_oneof![0..4u64, any::<u64>().prop_map(|h| h & 0xf0f0_0000_0000_00ff)];
        let some = proptest::collection::vec((hash.clone(), 0..200u32), 0..100);
        prop_oneof![
            6 => (hash.clone(), 0..200u32).prop_map(|(hash, n)| Step::Insert(hash, n)),
            1 => some.prop_map(Step::Extend),
            3 => (hash, 0..200u32).prop_map(|(hash, n)| Step::Remove(hash, n)),
            1 => Just(Step::Keep),
        ]
    }

    fn check(trie: &Trie<(u64, u32)>, model: &BTreeSet<(u64, u32)>) {
        assert_eq!(trie.len(), model.len());
        assert_eq!(trie.iter().copied().collect::<BTreeSet<_>>(), *model);
        for &(hash, _) in model {
            let found: Vec<_> = trie.find(hash).copied().collect();
            let expected = model.range((hash, 0)..=(hash, u32::MAX));
            assert_eq!(found, expected.copied().collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set_and_a_copy_stays_as_it_was(
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let (mut trie, mut model) = (Trie::default(), BTreeSet::new());
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(hash, n) => {
                        let known = trie.insert(hash, (hash, n)).is_some();
                        prop_assert_eq!(known, !model.insert((hash, n)));
                    }
                    Step::Extend(some) => {
                        let mut new: Vec<_> =
                            some.into_iter().filter(|it| !model.contains(it)).collect();
                        new.sort_unstable();
                        new.dedup();
                        model.extend(new.iter().copied());
                        trie.extend(new.into_iter().map(|it| (it.0, it)));
                    }
                    Step::Remove(hash, n) => {
                        let known = trie.remove(hash, |it| it.cmp(&(hash, n))).is_some();
                        prop_assert_eq!(known, model.remove(&(hash, n)));
                    }
                    Step::Keep => kept.push((trie.clone(), model.clone())),
                }
            }
            check(&trie, &model);
            kept.iter().for_each(|(trie, model)| check(trie, model));
        }
    }
}
