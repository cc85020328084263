//! Clauses that look at the same bits and choose by sets of the same fields, hashed by them.
//!
//! A packet is looked up once in a group, or once for each combination of sets that its values
//! belong to, or once for each that the group's rules name, whichever are fewer. What is found under
//! a hash is checked as a whole, so that a collision costs time and no more.

use super::plan::{Choice, Look, Plan, hash_set};
use super::sets::Sets;
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
    /// What its clauses choose by, if by anything.
    choices: Trie<Chosen>,
}

/// The best rule that was found so far, and what was asked of the sets.
pub(super) struct Best<'a> {
    pub(super) rank: Rank,
    pub(super) rule: Option<&'a Rule>,
    pub(super) pairs: u32,
}

/// A clause of a rule; sorted by rule.
#[derive(Clone, Debug)]
struct Candidate {
    order: u32,
    /// Where it starts among the rule's literals.
    clause: u32,
    rule: Rule,
}

impl Candidate {
    fn key(&self) -> (Rank, u32) {
        (Rank { order: self.order, flow: self.rule.flow() }, self.clause)
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
        if self.look.pivots.is_empty() {
            self.probe(hash, context, sets, best);
        } else {
            self.choose(hash, context, sets, best);
        }
    }

    fn choose<'a>(&'a self, hash: u64, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        best.pairs |= self.pairs;
        let of = |index: usize| {
            let (field, domain) = self.look.pivots[index];
            let lists = sets.of(domain, context.get(field))?;
            let many = lists.iter().map(|list| list.len()).sum::<usize>();
            Some((lists, many))
        };
        let Some((first, many)) = of(0) else { return self.scan(hash, context, sets, best) };
        if self.look.pivots.len() == 1 {
            if many > self.choices.len() {
                return self.scan(hash, context, sets, best);
            }
            for set in first.into_iter().flatten() {
                self.probe(hash_set(hash, *set), context, sets, best);
            }
            return;
        }
        if many == 0 {
            return;
        }
        let Some((second, more)) = of(1) else { return self.scan(hash, context, sets, best) };
        if many.saturating_mul(more) > self.choices.len() {
            return self.scan(hash, context, sets, best);
        }
        for set in first.into_iter().flatten() {
            let hash = hash_set(hash, *set);
            for set in second.iter().copied().flatten() {
                self.probe(hash_set(hash, *set), context, sets, best);
            }
        }
    }

    /// Tries all that the clauses choose by.
    #[cold]
    fn scan<'a>(&'a self, hash: u64, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        for chosen in self.choices.iter() {
            let hash = chosen.sets.iter().fold(hash, |hash, set| hash_set(hash, *set));
            self.probe(hash, context, sets, best);
        }
    }

    #[inline]
    fn probe<'a>(&'a self, hash: u64, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        for slot in self.candidates.find(hash) {
            let candidate = &slot.entry;
            if candidate.order > best.rank.order {
                return;
            }
            best.pairs |= self.pairs;
            let clause = || candidate.rule.clause_at(candidate.clause);
            let rank = Rank { order: candidate.order, flow: candidate.rule.flow() };
            if rank < best.rank && holds(clause(), context, sets) {
                best.rank = rank;
                best.rule = Some(&candidate.rule);
                return;
            }
        }
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
pub(super) struct Groups(HashMap<Arc<Look>, Building>);

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
        for (look, hash) in plan.entries {
            let building = match self.0.get_mut(&look) {
                Some(building) => building,
                None => {
                    let look = Arc::new(look);
                    self.0.entry(Arc::clone(&look)).or_insert(Building::new(look))
                }
            };
            let group = Arc::make_mut(&mut building.group);
            let candidate = Candidate { order, clause: start, rule: rule.clone() };
            if group.candidates.insert(hash, candidate).is_some() {
                continue;
            }
            group.pairs |= pairs;
            *building.orders.entry(order).or_default() += 1;
            group.best = group.best.min(order);
            if !plan.choice.is_empty() {
                let found = group.choices.find(choice_hash(&plan.choice));
                let by = found.iter().find(|slot| slot.entry.sets == plan.choice);
                let by = by.map_or(0, |slot| slot.entry.by) + 1;
                let chosen = Chosen { sets: plan.choice.clone(), by };
                group.choices.insert(choice_hash(&plan.choice), chosen);
            }
        }
    }

    /// Takes a clause of a rule out.
    pub(super) fn remove(&mut self, rule: &Rule, order: u32, start: u32, clause: &[Literal]) {
        let plan = Plan::new(clause);
        let key = (Rank { order, flow: rule.flow() }, start);
        for (look, hash) in plan.entries {
            let Some(building) = self.0.get_mut(&look) else { continue };
            let group = Arc::make_mut(&mut building.group);
            if group.candidates.remove(hash, |it| it.key().cmp(&key)).is_none() {
                continue;
            }
            if let Some(count) = building.orders.get_mut(&order) {
                *count -= 1;
                if *count == 0 {
                    building.orders.remove(&order);
                }
            }
            let Some((best, _)) = building.orders.first_key_value() else {
                self.0.remove(&look);
                continue;
            };
            group.best = *best;
            if !plan.choice.is_empty() {
                let hash = choice_hash(&plan.choice);
                let like = |it: &Chosen| it.sets.cmp(&plan.choice);
                if let Some(chosen) = group.choices.remove(hash, like)
                    && chosen.by > 1
                {
                    group.choices.insert(hash, Chosen { by: chosen.by - 1, ..chosen });
                }
            }
        }
    }

    /// The groups by their best rule.
    pub(super) fn finish(&self) -> Arc<[Arc<Group>]> {
        let mut groups: Vec<_> = self.0.values().map(|it| Arc::clone(&it.group)).collect();
        groups.sort_by(|a, b| a.best.cmp(&b.best).then_with(|| a.look.cmp(&b.look)));
        groups.into()
    }

    pub(super) fn clear(&mut self) {
        self.0 = HashMap::new();
    }

    /// The order of the best rule in any group.
    pub(super) fn best(&self) -> u32 {
        self.0.values().map(|building| building.group.best).min().unwrap_or(u32::MAX)
    }
}

impl Building {
    fn new(look: Arc<Look>) -> Self {
        let group = Group {
            best: u32::MAX,
            pairs: 0,
            look,
            candidates: Trie::default(),
            choices: Trie::default(),
        };
        Self { group: Arc::new(group), orders: BTreeMap::new() }
    }
}

impl Group {
    /// Entries, for whom it matters that they are few.
    pub(super) fn entries(&self) -> usize {
        self.candidates.len()
    }

    /// Bytes that it takes, rules apart.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Look>() + self.candidates.bytes() + self.choices.bytes()
    }
}

fn choice_hash(choice: &Choice) -> u64 {
    choice.iter().fold(0, |hash, set| hash_set(hash, *set))
}
