//! Clauses that look at the same bits and choose by sets of the same fields, hashed by them.
//!
//! A packet is looked up once in a group, by its bits. What many clauses find by the same bits is
//! spread by their sets, and looked up once for each combination of sets that the packet's values
//! belong to, or once for each that the clauses name, whichever are fewer. What is found under a hash
//! is checked as a whole, so that a collision costs time and no more. What many clauses find by all
//! of that differs by what they except, or by further lists, and lies on a [`Screen`] of its own.

use super::plan::{Choice, Look, MOST_PIVOTS, Plan, hash_choice, hash_set};
use super::ranges::Ranges;
use super::screen::{Row, Screen};
use super::sets::{SetId, Sets};
use super::trie::{Entry, Trie};
use super::{Literal, Range, Rank, Rule, holds};
use crate::field::Context;
use std::cmp::Ordering;
use std::sync::Arc;

/// The group as workers see it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The order of its best rule.
    pub(super) best: u32,
    /// Which of the table's pairs of a field and sets its clauses name.
    pub(super) pairs: u32,
    pub(super) look: Arc<Look>,
    candidates: Trie<Candidate>,
    /// The hashes under which clauses were too many, and are spread by their sets.
    spread: Trie<Spread>,
    /// The clauses of the hashes under which there are many even so.
    crowds: Trie<Crowd>,
}

/// Clauses of one hash that are as well tried one after the other.
const MOST_CLOSE: usize = 8;

/// Few clauses: that many at most, and fewer if they choose by sets, of which a screen knows nothing.
pub(super) const FEW: usize = 64;
const FEW_OF_SETS: usize = 4;

/// The best rule that was found so far, and what was asked of the sets.
pub(super) struct Best<'a> {
    pub(super) rank: Rank,
    pub(super) rule: Option<&'a Rule>,
    pub(super) pairs: u32,
}

/// A clause of a rule; sorted by rule.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) order: u32,
    /// Where it starts among the rule's literals.
    clause: u32,
    rule: Rule,
}

impl Candidate {
    /// The clause of a rule that starts there.
    pub(super) fn new(rule: &Rule, order: u32, clause: u32) -> Self {
        Self { order, clause, rule: rule.clone() }
    }

    pub(super) fn key(&self) -> (Rank, u32) {
        (Rank { order: self.order, flow: self.rule.flow() }, self.clause)
    }

    pub(super) fn clause(&self) -> &[Literal] {
        self.rule.clause_at(self.clause)
    }
}

impl Entry for Candidate {
    fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// What clauses of one hash choose by.
#[derive(Clone, Debug)]
struct Spread {
    hash: u64,
    choices: Trie<Chosen>,
}

impl Entry for Spread {
    fn order(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl Spread {
    /// Counts a clause more or less that chooses so.
    fn count(&mut self, choice: &Choice, more: bool) {
        let (hash, sets) = (hash_choice(0, &choice.sets), Chosen::sets(choice));
        let old = self.choices.remove(hash, |it| it.sets.cmp(&sets)).map_or(0, |it| it.by);
        let by = if more { old + 1 } else { old.saturating_sub(1) };
        if by > 0 {
            self.choices.insert(hash, Chosen { sets, by });
        }
    }
}

/// A combination of sets, and by how many clauses it is chosen.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    /// As many as the group has pivots.
    sets: [SetId; MOST_PIVOTS],
    by: u32,
}

impl Chosen {
    fn sets(choice: &Choice) -> [SetId; MOST_PIVOTS] {
        std::array::from_fn(|at| choice.sets.get(at).copied().unwrap_or(SetId(0)))
    }
}

impl Entry for Chosen {
    fn order(&self, other: &Self) -> Ordering {
        self.sets.cmp(&other.sets)
    }
}

/// Many clauses of one hash.
#[derive(Clone, Debug)]
struct Crowd {
    hash: u64,
    /// Those that a range finds.
    ranges: Option<Arc<Ranges>>,
    /// All others.
    screen: Arc<Screen>,
}

impl Entry for Crowd {
    fn order(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl Crowd {
    fn new(hash: u64, look: &Look) -> Self {
        let ranges = look.range.map(|field| Arc::new(Ranges::new(field)));
        Self { hash, ranges, screen: Arc::default() }
    }

    fn len(&self) -> usize {
        self.screen.len() + self.ranges.as_ref().map_or(0, |ranges| ranges.len())
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let in_ranges = self.ranges.iter().flat_map(|ranges| ranges.candidates());
        in_ranges.chain(self.screen.rows().map(|row| &row.candidate))
    }

    /// Enters a clause; false if it is there.
    fn insert(&mut self, candidate: Candidate, pairs: u32) -> bool {
        let row = |candidate| Row { candidate, id: Row::ONE_HASH, pairs };
        let range = Plan::range(candidate.clause()).copied();
        let (Some(ranges), Some(range)) = (&mut self.ranges, range) else {
            return Arc::make_mut(&mut self.screen).insert(row(candidate));
        };
        let key = candidate.key();
        if ranges.has(&range, key) || self.screen.has(key, Row::ONE_HASH) {
            return false;
        }
        for candidate in Arc::make_mut(ranges).insert(&range, candidate) {
            Arc::make_mut(&mut self.screen).insert(row(candidate));
        }
        true
    }

    /// Takes a clause with this range out; false if it is not there.
    fn remove(&mut self, range: Option<&Range>, key: (Rank, u32)) -> bool {
        if let (Some(ranges), Some(range)) = (&mut self.ranges, range)
            && ranges.has(range, key)
        {
            return Arc::make_mut(ranges).remove(range, key);
        }
        Arc::make_mut(&mut self.screen).remove(key, Row::ONE_HASH)
    }

    /// Bytes that it points to.
    fn bytes(&self) -> usize {
        self.screen.bytes() + self.ranges.as_ref().map_or(0, |ranges| ranges.bytes())
    }

    fn search<'a>(&'a self, pairs: u32, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        if let Some(ranges) = &self.ranges {
            ranges.search(pairs, context, sets, best);
        }
        // What is not excepted is the rule, so the first most often holds.
        let Some(first) = self.screen.first() else { return };
        if first.candidate.order <= best.rank.order
            && !best.consider(&first.candidate, first.pairs, context, sets)
        {
            self.screen.search(context, sets, best);
        }
    }
}

impl Group {
    /// A group without clauses.
    pub(super) fn new(look: Arc<Look>) -> Self {
        Self {
            best: u32::MAX,
            pairs: 0,
            look,
            candidates: Trie::default(),
            spread: Trie::default(),
            crowds: Trie::default(),
        }
    }

    /// Looks for a rule that is better than the best.
    #[inline]
    pub(super) fn search<'a>(&'a self, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        if !self.look.may_hold(context) {
            return;
        }
        let hash = self.look.hash(context);
        if self.spread.len() != 0
            && let Some(spread) = self.spread.find(hash).next()
        {
            return self.choose(hash, &spread.choices, context, sets, best);
        }
        self.probe(hash, context, sets, best);
    }

    /// Tries the combinations of sets that the packet's values belong to.
    fn choose<'a>(
        &'a self,
        hash: u64,
        choices: &Trie<Chosen>,
        context: &Context,
        sets: &Sets,
        best: &mut Best<'a>,
    ) {
        best.pairs |= self.pairs;
        let held = |index: usize| {
            let &(field, domain) = self.look.pivots.get(index)?;
            let lists = sets.of(domain, context.get(field))?;
            let many = lists.iter().map(|list| list.len()).sum::<usize>();
            Some((lists, many))
        };
        let Some((first, many)) = held(0) else {
            return self.scan(hash, choices, [None, None], context, sets, best);
        };
        if many == 0 {
            return;
        }
        if self.look.pivots.len() == 1 {
            if many > choices.len() {
                return self.scan(hash, choices, [Some(&*first), None], context, sets, best);
            }
            for set in first.into_iter().flatten() {
                self.probe(hash_set(hash, *set), context, sets, best);
            }
            return;
        }
        let second = held(1);
        let product = second.as_ref().map(|(_, more)| many.saturating_mul(*more));
        let second = second.as_ref().map(|(lists, _)| lists);
        match second {
            Some(_) if product == Some(0) => {}
            Some(second) if product.is_some_and(|product| product <= choices.len()) => {
                for set in first.into_iter().flatten() {
                    let hash = hash_set(hash, *set);
                    for set in second.iter().copied().flatten() {
                        self.probe(hash_set(hash, *set), context, sets, best);
                    }
                }
            }
            second => {
                let held = [Some(&*first), second.map(|lists| &**lists)];
                self.scan(hash, choices, held, context, sets, best);
            }
        }
    }

    /// Tries all that the clauses choose by, unless the packet's values are not in it.
    #[cold]
    fn scan<'a>(
        &'a self,
        hash: u64,
        choices: &Trie<Chosen>,
        held: [Option<&[&[SetId]]>; MOST_PIVOTS],
        context: &Context,
        sets: &Sets,
        best: &mut Best<'a>,
    ) {
        let held = held.map(|lists| lists.map_or(Held::ALL, Held::new));
        let pivots = self.look.pivots.len();
        for chosen in choices.iter() {
            let [first, second] = chosen.sets;
            if held[0].may_have(first) & held[1].may_have(second) {
                self.probe(hash_choice(hash, &chosen.sets[..pivots]), context, sets, best);
            }
        }
    }

    #[inline]
    fn probe<'a>(&'a self, hash: u64, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        best.consider_first(self.candidates.find(hash), self.pairs, context, sets);
        if self.crowds.len() != 0
            && let Some(crowd) = self.crowds.find(hash).next()
        {
            crowd.search(self.pairs, context, sets, best);
        }
    }

    /// Enters a clause that names some of the table's pairs; false if it is there.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        choice: &Choice,
        candidate: Candidate,
        pairs: u32,
    ) -> bool {
        self.pairs |= pairs;
        if choice.sets.is_empty() {
            return self.put(hash, candidate);
        }
        if let Some(mut spread) = self.spread.remove(hash, |it| it.hash.cmp(&hash)) {
            let new = self.put(hash_choice(hash, &choice.sets), candidate);
            if new {
                spread.count(choice, true);
            }
            self.spread.insert(hash, spread);
            return new;
        }
        let new = self.candidates.insert(hash, candidate).is_none();
        if self.is_close(hash) {
            let mut spread = Spread { hash, choices: Trie::default() };
            let close: Vec<_> = self.candidates.find(hash).cloned().collect();
            for candidate in close {
                let (choice, _) = Plan::beside_entries(candidate.clause());
                self.candidates.remove(hash, |it| it.order(&candidate));
                self.put(hash_choice(hash, &choice.sets), candidate);
                spread.count(&choice, true);
            }
            self.spread.insert(hash, spread);
        }
        new
    }

    /// Enters many clauses that are not there and that a hash alone finds, of a group without crowds.
    pub(super) fn extend(
        &mut self,
        candidates: impl Iterator<Item = (u64, Candidate)>,
        pairs: u32,
    ) {
        self.pairs |= pairs;
        self.candidates.extend(candidates);
    }

    /// Whether there are many clauses of one hash.
    pub(super) fn has_crowds(&self) -> bool {
        self.crowds.len() != 0
    }

    /// Takes a clause out; false if it is not there.
    pub(super) fn remove(&mut self, hash: u64, choice: &Choice, key: (Rank, u32)) -> bool {
        let Some(mut spread) = self.spread.remove(hash, |it| it.hash.cmp(&hash)) else {
            return self.take(hash, choice, key);
        };
        let known = self.take(hash_choice(hash, &choice.sets), choice, key);
        if known {
            spread.count(choice, false);
        }
        if spread.choices.len() != 0 {
            self.spread.insert(hash, spread);
        }
        known
    }

    fn is_close(&self, hash: u64) -> bool {
        self.candidates.find(hash).nth(MOST_CLOSE).is_some()
    }

    /// Enters a clause under the hash of all that it is found by.
    fn put(&mut self, hash: u64, candidate: Candidate) -> bool {
        if let Some(mut crowd) = self.crowds.remove(hash, |it| it.hash.cmp(&hash)) {
            let new = crowd.insert(candidate, self.pairs);
            self.crowds.insert(hash, crowd);
            return new;
        }
        let differs = || !Plan::beside_entries(candidate.clause()).1.is_empty();
        let crowds = self.is_close(hash) && differs();
        let new = self.candidates.insert(hash, candidate).is_none();
        if crowds {
            let mut crowd = Crowd::new(hash, &self.look);
            let close: Vec<_> = self.candidates.find(hash).cloned().collect();
            for candidate in close {
                self.candidates.remove(hash, |it| it.order(&candidate));
                crowd.insert(candidate, self.pairs);
            }
            self.crowds.insert(hash, crowd);
        }
        new
    }

    /// Takes a clause out from under the hash of all that it is found by.
    fn take(&mut self, hash: u64, choice: &Choice, key: (Rank, u32)) -> bool {
        let Some(mut crowd) = self.crowds.remove(hash, |it| it.hash.cmp(&hash)) else {
            return self.candidates.remove(hash, |it| it.key().cmp(&key)).is_some();
        };
        let known = crowd.remove(choice.range.as_ref(), key);
        if crowd.len() > MOST_CLOSE / 2 {
            self.crowds.insert(hash, crowd);
        } else {
            for candidate in crowd.candidates() {
                self.candidates.insert(hash, candidate.clone());
            }
        }
        known
    }

    /// Whether its clauses are so few that a hash for them alone is too much.
    pub(super) fn is_few(&self) -> bool {
        let few = if self.look.pivots.is_empty() { FEW } else { FEW_OF_SETS };
        self.entries() <= few
    }

    /// Entries, for whom it matters that they are few.
    pub(super) fn entries(&self) -> usize {
        self.candidates.len() + self.crowds.iter().map(Crowd::len).sum::<usize>()
    }

    /// Whether clauses are told apart by lists and exceptions.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowds.iter().any(|it| it.screen.len() != 0)
    }

    /// Its clauses.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().chain(self.crowds.iter().flat_map(Crowd::candidates))
    }

    /// Bytes that it takes, rules apart.
    pub(super) fn bytes(&self) -> usize {
        let choices = self.spread.iter().map(|it| it.choices.bytes()).sum::<usize>();
        let crowds = self.crowds.iter().map(Crowd::bytes).sum::<usize>();
        let tries = self.candidates.bytes() + self.spread.bytes() + self.crowds.bytes();
        size_of::<Self>() + size_of::<Look>() + tries + choices + crowds
    }
}

/// The sets that a value belongs to, or more.
struct Held([u64; 256]);

impl Held {
    const ALL: Self = Self([u64::MAX; 256]);

    fn new(lists: &[&[SetId]]) -> Self {
        let mut held = Self([0; 256]);
        for list in lists {
            // Sorted, so that those of one word are neighbours.
            for some in list.chunk_by(|one, other| one.0 / 64 == other.0 / 64) {
                let word = some.iter().fold(0, |word, set| word | 1 << (set.0 % 64));
                held.0[some[0].0 as usize / 64 % 256] |= word;
            }
        }
        held
    }

    #[inline]
    fn may_have(&self, set: SetId) -> bool {
        self.0[set.0 as usize / 64 % 256] >> (set.0 % 64) & 1 == 1
    }
}

impl<'a> Best<'a> {
    /// Takes the first of clauses that come in order, of which each may hold.
    #[inline(always)]
    pub(super) fn consider_first(
        &mut self,
        candidates: impl IntoIterator<Item = &'a Candidate>,
        pairs: u32,
        context: &Context,
        sets: &Sets,
    ) {
        for candidate in candidates {
            if candidate.order > self.rank.order || self.consider(candidate, pairs, context, sets) {
                return;
            }
        }
    }

    /// Takes a clause if its rule is better and it holds; says whether.
    #[inline(always)]
    pub(super) fn consider(
        &mut self,
        candidate: &'a Candidate,
        pairs: u32,
        context: &Context,
        sets: &Sets,
    ) -> bool {
        if candidate.order > self.rank.order {
            return false;
        }
        self.pairs |= pairs;
        let rank = Rank { order: candidate.order, flow: candidate.rule.flow() };
        let better = rank < self.rank && holds(candidate.clause(), context, sets);
        if better {
            self.rank = rank;
            self.rule = Some(&candidate.rule);
        }
        better
    }
}
