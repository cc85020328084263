//! Rules hashed by the bits they look at: tuple space search, with set membership as a further key.
//!
//! Clauses that look at the same bits, and choose by sets of the same field, share a hash table. A
//! packet is looked up once per such group, and once per set that its value belongs to, the groups
//! in the order of their best rule, until none that is left can win. Conditions that are neither
//! are checked on the candidates, which are few.

use super::sets::{Builder, FieldSets};
use super::{Clause, Literal, Masked, Rule, SMALL_SET, Values};
use crate::cache::mix;
use crate::field::Context;
use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

/// The structure; it holds places of rules, not rules.
#[derive(Clone, Debug)]
pub(super) struct Tuples {
    /// By their best rule.
    groups: Vec<Group>,
    sets: Box<[FieldSets]>,
}

/// What clauses look at: slots and their bits, and the field whose sets they choose by.
type Look = (Box<[(u8, u128)]>, Option<u16>);

/// Clauses that look at the same bits.
#[derive(Clone, Debug)]
struct Group {
    /// The place of the best rule in it.
    best: u32,
    /// Slots and the bits of them.
    words: Box<[(u8, u128)]>,
    /// The field by whose sets the clauses choose.
    pivot: Option<u16>,
    buckets: HashTable<Bucket>,
}

/// Clauses that look for the same bits.
#[derive(Clone, Debug)]
struct Bucket {
    values: Box<[u128]>,
    set: u32,
    /// By rule.
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    rule: u32,
    checks: Arc<[Check]>,
}

#[derive(Clone, Debug)]
enum Check {
    Literal(Literal),
    Set { field: u16, set: u32, negated: bool },
}

const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The largest product of small sets that is written out.
const MOST_EXPANDED: usize = 16;

impl Tuples {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut groups: HashMap<Look, Group> = HashMap::new();
        let mut sets = Builder::default();
        for (place, rule) in rules.iter().enumerate() {
            for clause in &*rule.clauses {
                let Some(plan) = Plan::new(clause, &mut sets) else { continue };
                for tuple in plan.tuples {
                    let words: Box<[_]> = tuple.iter().map(|word| (word.0, word.2)).collect();
                    let values: Box<[_]> = tuple.iter().map(|word| word.1).collect();
                    let pivot = plan.pivot.map(|pivot| pivot.0);
                    let group = groups.entry((words, pivot)).or_insert_with_key(|key| Group {
                        best: place as u32,
                        words: key.0.clone(),
                        pivot,
                        buckets: HashTable::new(),
                    });
                    let set = plan.pivot.map_or(0, |pivot| pivot.1);
                    let candidate =
                        Candidate { rule: place as u32, checks: Arc::clone(&plan.checks) };
                    group.insert(values, set, candidate);
                }
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| group.best);
        Self { groups, sets: sets.finish() }
    }

    /// Candidates in all groups.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        let buckets = self.groups.iter().flat_map(|group| &group.buckets);
        buckets.map(|bucket| bucket.candidates.len()).sum()
    }

    /// The place of the first rule that matches.
    #[inline]
    pub(super) fn lookup(&self, context: &Context) -> Option<usize> {
        let mut best = u32::MAX;
        for group in &self.groups {
            if group.best >= best {
                break;
            }
            let words = group.words.iter();
            let hash = hash(words.map(|&(slot, mask)| context.slots[usize::from(slot)] & mask));
            match group.pivot {
                None => group.probe(hash, 0, context, &self.sets, &mut best),
                Some(pivot) => {
                    let sets = &self.sets[usize::from(pivot)];
                    for numbers in sets.of(context.get(sets.field)) {
                        for &set in numbers {
                            group.probe(hash, set, context, &self.sets, &mut best);
                        }
                    }
                }
            }
        }
        (best != u32::MAX).then_some(best as usize)
    }
}

impl Group {
    fn insert(&mut self, values: Box<[u128]>, set: u32, candidate: Candidate) {
        let own = |bucket: &Bucket| bucket_hash(hash(bucket.values.iter().copied()), bucket.set);
        let hash = bucket_hash(hash(values.iter().copied()), set);
        match self.buckets.find_mut(hash, |it| it.set == set && it.values == values) {
            Some(bucket) => bucket.candidates.push(candidate),
            None => {
                let bucket = Bucket { values, set, candidates: vec![candidate] };
                self.buckets.insert_unique(hash, bucket, own);
            }
        }
    }

    #[inline]
    fn probe(&self, hash: u64, set: u32, context: &Context, sets: &[FieldSets], best: &mut u32) {
        let found =
            self.buckets.find(bucket_hash(hash, set), |bucket| {
                bucket.set == set
                    && self.words.iter().zip(&bucket.values).all(|(&(slot, mask), value)| {
                        context.slots[usize::from(slot)] & mask == *value
                    })
            });
        let Some(bucket) = found else { return };
        for candidate in &bucket.candidates {
            if candidate.rule >= *best {
                return;
            }
            if candidate.checks.iter().all(|check| check.holds(context, sets)) {
                *best = candidate.rule;
                return;
            }
        }
    }
}

#[inline]
fn hash(words: impl Iterator<Item = u128>) -> u64 {
    words.fold(0, |hash, word| mix(hash ^ word as u64, (word >> 64) as u64 ^ SPREAD))
}

#[inline]
fn bucket_hash(hash: u64, set: u32) -> u64 {
    mix(hash, u64::from(set) ^ SPREAD)
}

impl Check {
    #[inline]
    fn holds(&self, context: &Context, sets: &[FieldSets]) -> bool {
        match self {
            Self::Literal(literal) => literal.matches(context),
            Self::Set { field, set, negated } => {
                let sets = &sets[usize::from(*field)];
                sets.contain(context.get(sets.field), *set) != *negated
            }
        }
    }
}

/// A slot, the bits looked for, and the bits looked at.
type Word = (u8, u128, u128);

/// How one clause is entered.
struct Plan {
    tuples: Vec<Vec<Word>>,
    pivot: Option<(u16, u32)>,
    checks: Arc<[Check]>,
}

impl Plan {
    /// `None` if the clause can never hold.
    fn new(clause: &Clause, sets: &mut Builder) -> Option<Self> {
        let mut tuple = Vec::new();
        let mut many: Vec<&Literal> = Vec::new();
        let mut checks = Vec::new();
        for literal in &clause.0 {
            match (&literal.values, literal.negated) {
                (values, false) if values.as_slice().len() > 1 => many.push(literal),
                (values, false) => {
                    add(&mut tuple, literal, *values.as_slice().first()?).then_some(())?;
                }
                (values, true) if values.as_slice().len() <= SMALL_SET => {
                    checks.push(Check::Literal(literal.clone()));
                }
                (_, true) => checks.push(membership(literal, sets)),
            }
        }
        many.sort_by_key(|literal| literal.values.as_slice().len());
        let mut tuples = vec![tuple];
        let mut pivot = None;
        for literal in many {
            let values = literal.values.as_slice();
            if tuples.len() * values.len() <= MOST_EXPANDED {
                let expand = |tuple: &Vec<Word>| {
                    let tuple = tuple.clone();
                    values.iter().filter_map(move |value| {
                        let mut tuple = tuple.clone();
                        add(&mut tuple, literal, *value).then_some(tuple)
                    })
                };
                tuples = tuples.iter().flat_map(expand).collect();
            } else if values.len() <= SMALL_SET {
                checks.push(Check::Literal(literal.clone()));
            } else {
                match membership(literal, sets) {
                    Check::Set { field, set, .. } if pivot.is_none() => pivot = Some((field, set)),
                    check => checks.push(check),
                }
            }
        }
        Some(Self { tuples, pivot, checks: checks.into() })
    }
}

fn membership(literal: &Literal, sets: &mut Builder) -> Check {
    match &literal.values {
        Values::Any(set) => set_check(literal, set, sets),
        Values::Shared(set) => set_check(literal, &set.0, sets),
        Values::One(_) => Check::Literal(literal.clone()),
    }
}

fn set_check(literal: &Literal, set: &Arc<[Masked]>, sets: &mut Builder) -> Check {
    let (field, set) = sets.enter(literal.field, set);
    Check::Set { field, set, negated: literal.negated }
}

/// Adds a condition to a tuple; false if it contradicts what is there.
fn add(tuple: &mut Vec<Word>, literal: &Literal, value: Masked) -> bool {
    let slot = literal.field.slot() as u8;
    let (value, mask) = (value.value << literal.field.shift(), value.mask << literal.field.shift());
    match tuple.binary_search_by_key(&slot, |word| word.0) {
        Ok(at) => {
            let word = &mut tuple[at];
            if (word.1 ^ value) & word.2 & mask != 0 {
                return false;
            }
            word.1 |= value;
            word.2 |= mask;
        }
        Err(at) => tuple.insert(at, (slot, value, mask)),
    }
    true
}
