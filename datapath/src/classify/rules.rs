//! The rules of one table under way: what a change is told, and what the next [`Table`] is made of.
//!
//! A change costs what it touches: the entries of its rule. The table that is published afterwards
//! shares everything else with the one before, which its readers keep.

use super::groups::Groups;
use super::guarded::Looking;
use super::plan::Pair;
use super::table::{Shape, Table};
use super::trie::{Entry, Trie};
use super::{Literal, Rank, Rule, SPREAD, Values, order};
use crate::cache::mix;
use crate::key::FlowId;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many rules as may be tried one after the other.
pub(super) const MOST_LINEAR: usize = 8;

/// Literals of all these rules together beyond which they are hashed nevertheless.
const MOST_LITERALS: usize = 32;

/// Pairs of a field and sets that are told apart; the last stands for all others.
pub(super) const MOST_PAIRS: usize = 32;

/// The rules.
#[derive(Clone, Default, Debug)]
pub struct Rules {
    by_flow: Trie<ByFlow>,
    /// Those that take whatever comes.
    always: BTreeSet<Ranked>,
    /// All others, if they are too many to be tried one after the other.
    groups: Groups,
    hashed: bool,
    literals: usize,
    looking: Looking,
    pairs: Arc<[Pair]>,
}

/// A rule, in the order in which rules win.
#[derive(Clone, Debug)]
pub(super) struct Ranked(pub(super) Rule);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        Rank::of(&self.0).cmp(&Rank::of(&other.0))
    }
}

/// A rule, found by its flow.
#[derive(Clone, Debug)]
pub(super) struct ByFlow(pub(super) Rule);

impl Entry for ByFlow {
    fn order(&self, other: &Self) -> Ordering {
        self.0.flow().cmp(&other.0.flow())
    }
}

fn flow_hash(flow: FlowId) -> u64 {
    mix(flow.0 as u64, (flow.0 >> 64) as u64 ^ SPREAD)
}

impl Rules {
    /// The rule of a flow.
    pub fn get(&self, flow: FlowId) -> Option<&Rule> {
        let mut found = self.by_flow.find(flow_hash(flow)).map(|it| &it.0);
        found.find(|rule| rule.flow() == flow)
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.by_flow.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a rule in, in place of the one of the same flow.
    pub fn insert(&mut self, rule: Rule) {
        self.remove(rule.flow());
        self.by_flow.insert(flow_hash(rule.flow()), ByFlow(rule.clone()));
        self.literals += literals(&rule);
        self.looking.insert(&rule);
        if rule.holds_always() {
            self.always.insert(Ranked(rule));
            return;
        }
        self.note_pairs(&rule);
        if self.hashed {
            for (rule, clause, pairs) in clauses(&self.pairs, std::iter::once(&rule)) {
                self.groups.insert(rule, clause, pairs);
            }
        } else if self.is_large() {
            self.hash();
        }
    }

    /// Puts rules in. It comes to the same as to insert one after the other, at less cost if they
    /// are many.
    pub fn extend(&mut self, rules: Vec<Rule>) {
        /// Fewer are as well inserted.
        const MANY: usize = 64;
        if rules.len() < MANY {
            return rules.into_iter().for_each(|rule| self.insert(rule));
        }
        let known = |rule: &Rule| self.get(rule.flow()).is_some();
        let (known, mut new): (Vec<_>, Vec<_>) = rules.into_iter().partition(known);
        known.into_iter().for_each(|rule| self.insert(rule));
        new.sort_by_key(Rule::flow);
        new.dedup_by(|later, one| {
            // The last of a flow counts.
            let same = later.flow() == one.flow();
            if same {
                std::mem::swap(later, one);
            }
            same
        });
        let by_flow = new.iter().map(|rule| (flow_hash(rule.flow()), ByFlow(rule.clone())));
        self.by_flow.extend(by_flow);
        for rule in &new {
            self.literals += literals(rule);
            self.looking.insert(rule);
            if rule.holds_always() {
                self.always.insert(Ranked(rule.clone()));
            }
            self.note_pairs(rule);
        }
        if self.hashed {
            self.groups.extend(clauses(&self.pairs, new.iter()));
        } else if self.is_large() {
            self.hash();
        }
    }

    /// Hashes all rules, which are too many to be tried one after the other.
    fn hash(&mut self) {
        self.hashed = true;
        self.groups.extend(clauses(&self.pairs, self.by_flow.iter().map(|it| &it.0)));
    }

    /// Takes the rule of a flow out.
    pub fn remove(&mut self, flow: FlowId) -> Option<Rule> {
        let like = |it: &ByFlow| it.0.flow().cmp(&flow);
        let ByFlow(rule) = self.by_flow.remove(flow_hash(flow), like)?;
        self.literals -= literals(&rule);
        self.looking.remove(&rule);
        if rule.holds_always() {
            self.always.remove(&Ranked(rule.clone()));
        } else if self.hashed {
            if self.is_large() {
                let order = order(&rule);
                rule.starts().for_each(|(at, clause)| self.groups.remove(&rule, order, at, clause));
            } else {
                self.hashed = false;
                self.groups.clear();
            }
        }
        if self.is_empty() {
            self.pairs = Arc::from([]);
        }
        Some(rule)
    }

    /// The table as it is now.
    pub fn table(&self) -> Table {
        let always = self.always.first().map(|rule| rule.0.clone());
        let last = always.as_ref().map_or(u32::MAX, order);
        let shape = if self.hashed {
            if self.groups.best() > last {
                Shape::Constant
            } else {
                let (groups, screen) = self.groups.finish();
                Shape::Hashed(groups, screen)
            }
        } else {
            let mut rules: Vec<_> = self.by_flow.iter().map(|it| Ranked(it.0.clone())).collect();
            rules.sort_unstable();
            let end = rules.iter().position(|rule| rule.0.holds_always());
            rules.truncate(end.map_or(rules.len(), |end| end + 1));
            match rules.first() {
                Some(first) if !first.0.holds_always() => {
                    Shape::Linear(rules.into_iter().map(|rule| rule.0).collect())
                }
                _ => Shape::Constant,
            }
        };
        let (guarded, pairs) = (self.looking.published(), Arc::clone(&self.pairs));
        Table::made(self.by_flow.clone(), always, shape, guarded, pairs)
    }

    fn is_large(&self) -> bool {
        self.len() > MOST_LINEAR || self.literals > MOST_LITERALS
    }

    fn note_pairs(&mut self, rule: &Rule) {
        for literal in rule.literals() {
            if let Values::Shared(set) = literal.values() {
                let pair = (literal.field(), set.domain);
                if !self.pairs.contains(&pair) {
                    self.pairs = self.pairs.iter().copied().chain([pair]).collect();
                }
            }
        }
    }
}

/// The clauses of rules, where each starts, and which of the pairs it names.
fn clauses<'a>(
    pairs: &[Pair],
    rules: impl Iterator<Item = &'a Rule>,
) -> impl Iterator<Item = (&'a Rule, (u32, &'a [Literal]), u32)> {
    let bit = |pair| {
        let at = pairs.iter().position(|known| *known == pair);
        1 << at.unwrap_or(MOST_PAIRS).min(MOST_PAIRS - 1)
    };
    let named = move |clause: &[Literal]| {
        clause.iter().fold(0, |named, literal| match literal.values() {
            Values::Shared(set) => named | bit((literal.field(), set.domain)),
            _ => named,
        })
    };
    rules.flat_map(move |rule| {
        rule.starts().map(move |(at, clause)| (rule, (at, clause), named(clause)))
    })
}

fn literals(rule: &Rule) -> usize {
    rule.clauses().map(|clause| 1 + clause.len()).sum()
}
