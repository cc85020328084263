//! What the clauses of a block say of fields by lists: the values that they take, or that they except.
//!
//! A clause that takes all but two ports, or any of twenty, has no bits to be told apart by. Here a
//! value has a mark of the clauses that name it, so that a look-up for each mask in use, or for all
//! ranges, says of all clauses of a block which of them a packet's value rules out. A clause for which there is no room is
//! not ruled out; what is left is checked as a whole.

use super::cuts::Cuts;
use super::group::Best;
use super::mark::Mark;
use super::plan::hash_words;
use super::sets::{Domain, Sets};
use super::trie::{Entry, Trie};
use super::{Literal, Masked, Values};
use crate::field::{Context, Slice};
use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;

/// Masks that a block asks for, of all fields together: one costs a look-up, where a clause that is
/// checked in vain costs two or three. The ranges of a field cost as much as a few.
const MOST_MASKS: usize = 32;
const FOR_RANGES: usize = 4;

/// As many sets of one value are asked for.
const MOST_SETS: usize = 64;

/// The lists of a block's clauses.
#[derive(Clone, Default, Debug)]
pub(super) struct Lists {
    compared: Vec<Compared>,
    named: Trie<Named>,
}

/// A field, and how clauses compare it.
#[derive(Clone, Debug)]
struct Compared {
    by: By,
    /// Clauses that say nothing of it here.
    silent: Mark,
    /// The table's pairs of a field and sets that it asks about.
    pairs: u32,
    /// Masks, each with the number of values that have it.
    masks: SmallVec<[(u128, u32); 1]>,
    /// The clauses whose ranges cover a value.
    ranges: Cuts<Mark>,
}

/// A way to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct By {
    field: Slice,
    negated: bool,
    with: With,
}

/// What a field is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum With {
    Values,
    Ranges,
    Sets(Domain),
}

/// A value, and the clauses that name it.
#[derive(Clone, Copy, Debug)]
struct Named {
    /// Index of how it is compared.
    compared: usize,
    value: Masked,
    clauses: Mark,
}

impl Named {
    fn key(&self) -> (usize, Masked) {
        (self.compared, self.value)
    }
}

impl Entry for Named {
    fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[inline]
fn hash(compared: usize, value: Masked) -> u64 {
    hash_words([value.value, value.mask ^ compared as u128].into_iter())
}

/// What a condition names that is found by value; a set by its number.
fn names(literal: &Literal) -> SmallVec<[Masked; 1]> {
    match literal.values() {
        Values::Shared(set) => smallvec![named_set(set.id.0)],
        Values::Range(_) => SmallVec::new(),
        _ => literal.list(),
    }
}

#[inline]
fn named_set(number: u32) -> Masked {
    Masked { value: number.into(), mask: 0 }
}

impl By {
    fn of(literal: &Literal) -> Self {
        let with = match literal.values() {
            Values::Shared(set) => With::Sets(set.domain),
            Values::Range(_) => With::Ranges,
            _ => With::Values,
        };
        Self { field: literal.field(), negated: literal.negated(), with }
    }
}

impl Compared {
    fn new(by: By) -> Self {
        let (masks, ranges) = (SmallVec::new(), Cuts::new(Mark::NONE));
        Self { by, silent: Mark::ALL, pairs: 0, masks, ranges }
    }

    /// What it costs to ask, in masks; nothing if no clause compares so any more.
    fn cost(&self) -> usize {
        self.masks.len() + if self.ranges.is_whole() { 0 } else { FOR_RANGES }
    }
}

impl Lists {
    /// Whether no clause of the block says anything by lists.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.compared.is_empty()
    }

    /// Takes out the clauses that the packet's values rule out.
    pub(super) fn sift(
        &self,
        mut left: Mark,
        context: &Context,
        sets: &Sets,
        best: &mut Best<'_>,
    ) -> Mark {
        let used = || self.compared.iter().enumerate().filter(|(_, it)| it.cost() > 0);
        // What sets say costs more to ask for.
        let own = used().filter(|(_, it)| !matches!(it.by.with, With::Sets(_)));
        let shared = used().filter(|(_, it)| matches!(it.by.with, With::Sets(_)));
        for (index, Compared { by, silent, pairs, masks, ranges }) in own.chain(shared) {
            let value = context.get(by.field);
            let mut found = Mark::NONE;
            let mut add = |value| {
                if let Some(named) = self.find(index, value) {
                    found.add(&named.clauses);
                }
            };
            match by.with {
                With::Ranges => found = *ranges.get(value),
                With::Values => {
                    masks.iter().for_each(|&(mask, _)| add(Masked { value: value & mask, mask }));
                }
                With::Sets(domain) => {
                    best.pairs |= pairs;
                    let Some(lists) = sets.of(domain, value) else { continue };
                    if lists.iter().map(|list| list.len()).sum::<usize>() > MOST_SETS {
                        continue;
                    }
                    lists.into_iter().flatten().for_each(|set| add(named_set(set.0)));
                }
            }
            if by.negated {
                left.drop(&found);
            } else {
                found.add(silent);
                left.keep(&found);
            }
            if left == Mark::NONE {
                break;
            }
        }
        left
    }

    /// Notes what a clause says, if there is room.
    pub(super) fn insert(&mut self, bit: usize, literals: &[&Literal], pairs: u32) {
        for literal in literals {
            let (by, names) = (By::of(literal), names(literal));
            let Some(index) = self.place(by, &names) else { continue };
            let compared = &mut self.compared[index];
            if !by.negated && !compared.silent.has(bit) {
                // Another list of it for the same field is there.
                continue;
            }
            compared.silent.set(bit, false);
            compared.pairs |= pairs;
            if let Values::Range(range) = literal.values() {
                compared.ranges.change(range, |mark| mark.set(bit, true));
            }
            names.into_iter().for_each(|value| self.note(index, value, bit));
        }
    }

    /// Takes back what was noted of a clause.
    pub(super) fn remove(&mut self, bit: usize, literals: &[&Literal]) {
        for literal in literals {
            let by = By::of(literal);
            let Some(index) = self.compared.iter().position(|it| it.by == by) else { continue };
            names(literal).into_iter().for_each(|value| self.forget(index, value, bit));
            let compared = &mut self.compared[index];
            if let Values::Range(range) = literal.values() {
                compared.ranges.change(range, |mark| mark.set(bit, false));
            }
            compared.silent.set(bit, true);
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let ranges = self.compared.iter().map(|it| it.ranges.bytes()).sum::<usize>();
        self.compared.capacity() * size_of::<Compared>() + ranges + self.named.bytes()
    }

    /// Where it is noted what clauses say that compare so, if there is room for their masks.
    fn place(&mut self, by: By, names: &[Masked]) -> Option<usize> {
        let known = self.compared.iter().position(|it| it.by == by);
        let is_known = |mask: u128| {
            known.is_some_and(|at| self.compared[at].masks.iter().any(|it| it.0 == mask))
        };
        let mut new: SmallVec<[u128; 4]> = names.iter().map(|value| value.mask).collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|mask| !is_known(*mask));
        let used = self.compared.iter().map(Compared::cost).sum::<usize>();
        let new = match by.with {
            With::Ranges if known.is_none_or(|at| self.compared[at].cost() == 0) => FOR_RANGES,
            _ => new.len(),
        };
        if used + new > MOST_MASKS {
            return None;
        }
        known.or_else(|| {
            let free = self.compared.iter().position(|it| it.cost() == 0);
            match free {
                Some(at) => self.compared[at] = Compared::new(by),
                None => self.compared.push(Compared::new(by)),
            }
            Some(free.unwrap_or(self.compared.len() - 1))
        })
    }

    #[inline]
    fn find(&self, compared: usize, value: Masked) -> Option<&Named> {
        let key = (compared, value);
        self.named.find(hash(compared, value)).find(|named| named.key() == key)
    }

    fn note(&mut self, compared: usize, value: Masked, bit: usize) {
        let known = self.find(compared, value).copied();
        let mut named = known.unwrap_or(Named { compared, value, clauses: Mark::NONE });
        named.clauses.set(bit, true);
        if self.named.insert(hash(compared, value), named).is_none() {
            let masks = &mut self.compared[compared].masks;
            match masks.iter_mut().find(|it| it.0 == value.mask) {
                Some(mask) => mask.1 += 1,
                None => masks.push((value.mask, 1)),
            }
        }
    }

    fn forget(&mut self, compared: usize, value: Masked, bit: usize) {
        let Some(mut named) = self.find(compared, value).copied() else { return };
        named.clauses.set(bit, false);
        if named.clauses != Mark::NONE {
            self.named.insert(hash(compared, value), named);
            return;
        }
        self.named.remove(hash(compared, value), |it| it.order(&named));
        let masks = &mut self.compared[compared].masks;
        if let Some(mask) = masks.iter_mut().find(|it| it.0 == value.mask) {
            mask.1 -= 1;
        }
        masks.retain(|mask| mask.1 > 0);
    }
}
