//! Clauses of one hash that take a range of a field's values each, found by one search.
//!
//! Each piece of the field's values has the clauses whose ranges cover it, the best first ([`Cuts`]).
//! A clause has a place here only while it covers few pieces, none of them crowded: a range that many
//! others lie in, or lie across, is given back, and whoever asks looks for it elsewhere. So memory
//! and the cost of a change have a bound, whatever the ranges are.

use super::cuts::Cuts;
use super::group::{Best, Candidate};
use super::plan::Plan;
use super::sets::Sets;
use super::trie::Entry;
use super::{Range, Rank};
use crate::field::{Context, Slice};
use std::sync::Arc;

/// Pieces that a range may cover when it comes.
const MOST_COVERED: usize = 16;

/// Pieces that it may be cut into by what comes later.
const MOST_CUT: usize = 64;

/// Clauses that cover a piece.
const MOST_CLAUSES: usize = 32;

/// The clauses.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    field: Slice,
    cuts: Cuts<Covering>,
    len: usize,
}

/// The clauses whose ranges cover a piece, in order.
#[derive(Clone, Default, Debug)]
struct Covering(Option<Arc<[Candidate]>>);

impl Covering {
    fn list(&self) -> &[Candidate] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Where a clause is among them, or belongs.
    fn place(&self, key: (Rank, u32)) -> Result<usize, usize> {
        self.list().binary_search_by_key(&key, Candidate::key)
    }

    fn has(&self, candidate: &Candidate) -> bool {
        self.place(candidate.key()).is_ok()
    }

    fn insert(&mut self, candidate: &Candidate) {
        let Err(at) = self.place(candidate.key()) else { return };
        let (before, after) = self.list().split_at(at);
        self.0 = Some(before.iter().chain([candidate]).chain(after).cloned().collect());
    }

    fn remove(&mut self, key: (Rank, u32)) {
        let left = self.list().iter().filter(|it| it.key() != key).cloned();
        self.0 = Some(left.collect()).filter(|left: &Arc<[_]>| !left.is_empty());
    }
}

impl PartialEq for Covering {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.list(), other.list());
        one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.order(b).is_eq())
    }
}

impl Ranges {
    /// Without clauses.
    pub(super) fn new(field: Slice) -> Self {
        Self { field, cuts: Cuts::new(Covering::default()), len: 0 }
    }

    /// The number of clauses.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Looks for a rule that is better than the best.
    #[inline]
    pub(super) fn search<'a>(
        &'a self,
        pairs: u32,
        context: &Context,
        sets: &Sets,
        best: &mut Best<'a>,
    ) {
        let covering = self.cuts.get(context.get(self.field));
        best.consider_first(covering.list(), pairs, context, sets);
    }

    /// All clauses.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let before = std::iter::once(None).chain(self.cuts.iter().map(Some));
        // A range covers pieces in a row, and is new in the first.
        self.cuts.iter().zip(before).flat_map(|(covering, before)| {
            let is_new = move |it: &&Candidate| before.is_none_or(|before| !before.has(it));
            covering.list().iter().filter(is_new)
        })
    }

    /// Whether the clause with this range is there.
    pub(super) fn has(&self, range: &Range, key: (Rank, u32)) -> bool {
        self.cuts.get(range.low).place(key).is_ok()
    }

    /// Enters a clause that is not there. Gives back which clauses have no place any more, of which
    /// it may be one.
    pub(super) fn insert(&mut self, range: &Range, candidate: Candidate) -> Vec<Candidate> {
        let mut covered = self.cuts.within(range);
        let is_free = |it: &Covering| it.list().len() < MOST_CLAUSES;
        if !covered.by_ref().take(MOST_COVERED).all(is_free) || covered.next().is_some() {
            return vec![candidate];
        }
        drop(covered);
        self.cuts.change(range, |covering| covering.insert(&candidate));
        self.len += 1;
        let ends = [range.low, range.high].map(|end| self.cuts.get(end).list());
        let cut_up = ends.into_iter().flatten().filter(|it| self.is_cut_up(it));
        let cut_up: Vec<Candidate> = cut_up.cloned().collect();
        let take_out = |it: &Candidate| {
            Plan::range(it.clause()).is_some_and(|range| self.remove(range, it.key()))
        };
        cut_up.into_iter().filter(take_out).collect()
    }

    /// Takes the clause with this range out; false if it is not there.
    pub(super) fn remove(&mut self, range: &Range, key: (Rank, u32)) -> bool {
        let known = self.has(range, key);
        if known {
            self.cuts.change(range, |covering| covering.remove(key));
            self.len -= 1;
        }
        known
    }

    /// Bytes that it takes, rules apart. A list that neighbours share is counted once.
    pub(super) fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        let mut last = None;
        let lists = self.cuts.iter().filter_map(|covering| covering.0.as_ref());
        let own = lists.filter(|list| last.replace(Arc::as_ptr(list)) != Some(Arc::as_ptr(list)));
        let lists = own.map(|list| COUNTS + size_of_val(&**list)).sum::<usize>();
        size_of::<Self>() + lists + self.cuts.bytes()
    }

    fn is_cut_up(&self, candidate: &Candidate) -> bool {
        let range = Plan::range(candidate.clause());
        range.is_some_and(|range| self.cuts.within(range).nth(MOST_CUT).is_some())
    }
}
