//! Clauses that look at the same bits and choose by sets of the same fields, hashed by them.
//!
//! A packet is looked up once in a group, by its bits. What many clauses find by the same bits is
//! spread by their sets, and looked up once for each combination of sets that the packet's values
//! belong to, or once for each that the clauses name, whichever are fewer. What is found under a hash
//! is checked as a whole, so that a collision costs time and no more.
//!
//! A look-up costs a hash for each group, whatever is in it. Groups of few clauses, if a table has
//! many, are therefore looked up together, on a [`Screen`].

use super::plan::{self, Choice, Look, MOST_PIVOTS, Plan, hash_choice, hash_set};
use super::screen::{Row, Screen};
use super::sets::{SetId, Sets};
use super::trie::{Entry, Trie};
use super::{Literal, Rank, Rule, holds};
use crate::field::Context;
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::collections::BTreeMap;
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
}

/// Clauses of one hash that are as well tried one after the other as spread by their sets.
const MOST_CLOSE: usize = 8;

/// Groups of few clauses that are as well hashed one after the other as looked up on a screen: a
/// group costs 6 to 19 ns, by whether it is in the processor's cache, and a block of the screen 40 to
/// 65 and 24 KB (`cargo bench --bench classify`). No table that northd writes has as many.
const MOST_HASHED: usize = 32;

/// Few clauses: that many at most, and fewer if they choose by sets, of which a screen knows nothing.
const FEW: usize = 64;
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
    pub(super) fn key(&self) -> (Rank, u32) {
        (Rank { order: self.order, flow: self.rule.flow() }, self.clause)
    }

    pub(super) fn clause(&self) -> &[Literal] {
        self.rule.clause_at(self.clause)
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Entry for Candidate {}

/// What clauses of one hash choose by.
#[derive(Clone, Debug)]
struct Spread {
    hash: u64,
    choices: Trie<Chosen>,
}

impl PartialEq for Spread {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Spread {}

impl PartialOrd for Spread {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Spread {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl Entry for Spread {}

impl Spread {
    /// Counts a clause more or less that chooses so.
    fn count(&mut self, choice: &Choice, more: bool) {
        let hash = hash_choice(0, choice);
        let old = self.choices.remove(hash, |it| it.sets.cmp(choice)).map_or(0, |it| it.by);
        let by = if more { old + 1 } else { old.saturating_sub(1) };
        if by > 0 {
            self.choices.insert(hash, Chosen { sets: choice.clone(), by });
        }
    }
}

/// A combination of sets, and by how many clauses it is chosen.
#[derive(Clone, Debug)]
struct Chosen {
    sets: Choice,
    by: u32,
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl Eq for Chosen {}

impl PartialOrd for Chosen {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Chosen {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sets.cmp(&other.sets)
    }
}

impl Entry for Chosen {}

impl Group {
    /// Looks for a rule that is better than the best.
    #[inline]
    pub(super) fn search<'a>(&'a self, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        if !self.look.may_hold(context) {
            return;
        }
        let hash = self.look.hash(context);
        if self.spread.len() != 0
            && let Some(spread) = self.spread.find(hash).first()
        {
            return self.choose(hash, &spread.entry.choices, context, sets, best);
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
        let held = held.map(|lists| lists.map(Held::new));
        for chosen in choices.iter() {
            let mut all = chosen.sets.iter().zip(&held);
            if all.all(|(set, held)| held.as_ref().is_none_or(|held| held.may_have(*set))) {
                self.probe(hash_choice(hash, &chosen.sets), context, sets, best);
            }
        }
    }

    #[inline]
    fn probe<'a>(&'a self, hash: u64, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        for slot in self.candidates.find(hash) {
            let candidate = &slot.entry;
            if candidate.order > best.rank.order
                || best.consider(candidate, self.pairs, context, sets)
            {
                return;
            }
        }
    }

    /// Enters a clause; false if it is there.
    fn insert(&mut self, hash: u64, choice: &Choice, candidate: Candidate) -> bool {
        if let Some(mut spread) = self.spread.remove(hash, |it| it.hash.cmp(&hash)) {
            let new = self.candidates.insert(hash_choice(hash, choice), candidate).is_none();
            if new {
                spread.count(choice, true);
            }
            self.spread.insert(hash, spread);
            return new;
        }
        let new = self.candidates.insert(hash, candidate).is_none();
        if !choice.is_empty() && self.candidates.find(hash).len() > MOST_CLOSE {
            let mut spread = Spread { hash, choices: Trie::default() };
            let close: Vec<_> =
                self.candidates.find(hash).iter().map(|slot| slot.entry.clone()).collect();
            for candidate in close {
                let choice = Plan::new(candidate.clause()).choice;
                self.candidates.remove(hash, |it| it.cmp(&candidate));
                self.candidates.insert(hash_choice(hash, &choice), candidate);
                spread.count(&choice, true);
            }
            self.spread.insert(hash, spread);
        }
        new
    }

    /// Takes a clause out; false if it is not there.
    fn remove(&mut self, hash: u64, choice: &Choice, key: (Rank, u32)) -> bool {
        let like = |it: &Candidate| it.key().cmp(&key);
        let Some(mut spread) = self.spread.remove(hash, |it| it.hash.cmp(&hash)) else {
            return self.candidates.remove(hash, like).is_some();
        };
        let known = self.candidates.remove(hash_choice(hash, choice), like).is_some();
        if known {
            spread.count(choice, false);
        }
        if spread.choices.len() != 0 {
            self.spread.insert(hash, spread);
        }
        known
    }

    /// Whether its clauses are so few that a hash for them alone is too much.
    fn is_few(&self) -> bool {
        let few = if self.look.pivots.is_empty() { FEW } else { FEW_OF_SETS };
        self.entries() <= few
    }
}

/// The sets that a value belongs to, or more.
struct Held(Box<[u64; 256]>);

impl Held {
    fn new(lists: &[&[SetId]]) -> Self {
        let mut held = Self(Box::new([0; 256]));
        for set in lists.iter().copied().flatten() {
            held.0[set.0 as usize / 64 % 256] |= 1 << (set.0 % 64);
        }
        held
    }

    #[inline]
    fn may_have(&self, set: SetId) -> bool {
        self.0[set.0 as usize / 64 % 256] >> (set.0 % 64) & 1 == 1
    }
}

impl<'a> Best<'a> {
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

/// A group under way.
#[derive(Clone, Debug)]
struct Building {
    group: Arc<Group>,
    /// How many candidates have each order.
    orders: BTreeMap<u32, u32>,
}

/// All groups of a table under way.
#[derive(Clone, Default, Debug)]
pub(super) struct Groups {
    hashed: HashMap<Arc<Look>, Building>,
    /// Groups of few clauses, if there are many of them; what workers see of these is on the screen.
    few: HashMap<Arc<Look>, Building>,
    screen: Screen,
}

impl Groups {
    /// Enters a clause of a rule, and where it starts; `pairs` are the pairs of a field and sets that
    /// it names.
    pub(super) fn insert(
        &mut self,
        rule: &Rule,
        order: u32,
        (start, clause): (u32, &[Literal]),
        pairs: u32,
    ) {
        let plan = Plan::new(clause);
        for entry in plan.entries {
            let is_few = self.few.contains_key(&entry.look);
            let is_new = !is_few && !self.hashed.contains_key(&entry.look);
            // With a screen in use a new group starts on it.
            let is_few = is_few || is_new && !self.few.is_empty();
            let home = if is_few { &mut self.few } else { &mut self.hashed };
            let building = match home.get_mut(&entry.look) {
                Some(building) => building,
                None => {
                    let look = Arc::new(entry.look.clone());
                    home.entry(Arc::clone(&look)).or_insert(Building::new(look))
                }
            };
            let group = Arc::make_mut(&mut building.group);
            let candidate = Candidate { order, clause: start, rule: rule.clone() };
            if !group.insert(entry.hash, &plan.choice, candidate.clone()) {
                continue;
            }
            group.pairs |= pairs;
            *building.orders.entry(order).or_default() += 1;
            group.best = group.best.min(order);
            if !is_few {
                if is_new && self.hashed.len() > MOST_HASHED {
                    self.gather();
                }
            } else if group.entries() > 2 * FEW || !group.is_few() && !group.look.pivots.is_empty()
            {
                self.grow(&entry.look);
            } else {
                self.screen.insert(Row { candidate, id: entry.id(), pairs }, &entry);
            }
        }
    }

    /// Takes a clause of a rule out.
    pub(super) fn remove(&mut self, rule: &Rule, order: u32, start: u32, clause: &[Literal]) {
        let plan = Plan::new(clause);
        let key = (Rank { order, flow: rule.flow() }, start);
        for entry in &plan.entries {
            let plan::Entry { look, hash, .. } = entry;
            let is_few = self.few.contains_key(look);
            let home = if is_few { &mut self.few } else { &mut self.hashed };
            let Some(building) = home.get_mut(look) else { continue };
            let group = Arc::make_mut(&mut building.group);
            if !group.remove(*hash, &plan.choice, key) {
                continue;
            }
            if is_few {
                self.screen.remove(key, entry.id());
            }
            if let Some(count) = building.orders.get_mut(&order) {
                *count -= 1;
                if *count == 0 {
                    building.orders.remove(&order);
                }
            }
            match building.orders.first_key_value() {
                Some((best, _)) => group.best = *best,
                None => {
                    home.remove(look);
                    if is_few && self.few.len() < MOST_HASHED / 2 {
                        self.hashed.extend(self.few.drain());
                        self.screen = Screen::default();
                    }
                }
            }
        }
    }

    /// Puts the groups of few clauses on the screen, if they are many.
    fn gather(&mut self) {
        let few = |group: &Building| group.group.is_few();
        if self.hashed.values().filter(|it| few(it)).count() <= MOST_HASHED {
            return;
        }
        for (look, building) in self.hashed.extract_if(|_, it| few(it)) {
            for row in building.rows() {
                if let Some(entry) = row.entry() {
                    self.screen.insert(row, &entry);
                }
            }
            self.few.insert(look, building);
        }
    }

    /// A group on the screen is not of few clauses any more.
    fn grow(&mut self, look: &Look) {
        let Some((look, building)) = self.few.remove_entry(look) else { return };
        for row in building.rows() {
            self.screen.remove(row.candidate.key(), row.id);
        }
        self.hashed.insert(look, building);
    }

    /// The groups by their best rule, and the screen.
    pub(super) fn finish(&self) -> (Arc<[Arc<Group>]>, Screen) {
        let mut groups: Vec<_> = self.hashed.values().map(|it| Arc::clone(&it.group)).collect();
        groups.sort_by(|a, b| a.best.cmp(&b.best).then_with(|| a.look.cmp(&b.look)));
        (groups.into(), self.screen.clone())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The order of the best rule in any group.
    pub(super) fn best(&self) -> u32 {
        let hashed = self.hashed.values().map(|building| building.group.best).min();
        hashed.unwrap_or(u32::MAX).min(self.screen.best())
    }
}

impl Building {
    fn new(look: Arc<Look>) -> Self {
        let group = Group {
            best: u32::MAX,
            pairs: 0,
            look,
            candidates: Trie::default(),
            spread: Trie::default(),
        };
        Self { group: Arc::new(group), orders: BTreeMap::new() }
    }

    /// Its clauses, as a screen has them.
    fn rows(&self) -> impl Iterator<Item = Row> {
        self.group.candidates.iter().flat_map(|candidate| {
            let entries = Plan::new(candidate.clause()).entries.into_iter();
            let here = entries.filter(|entry| entry.look == *self.group.look);
            here.map(|entry| Row {
                candidate: candidate.clone(),
                id: entry.id(),
                pairs: self.group.pairs,
            })
        })
    }
}

impl Group {
    /// Entries, for whom it matters that they are few.
    pub(super) fn entries(&self) -> usize {
        self.candidates.len()
    }

    /// Bytes that it takes, rules apart.
    pub(super) fn bytes(&self) -> usize {
        let choices = self.spread.iter().map(|it| it.choices.bytes()).sum::<usize>();
        let tries = self.candidates.bytes() + self.spread.bytes();
        size_of::<Self>() + size_of::<Look>() + tries + choices
    }
}
