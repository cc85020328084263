//! What of a table looks at the guarded slot: the bits that may change within a connection.
//!
//! A verdict holds for a packet whose guarded bits are the same, so a table says which of them the
//! choice of a rule depended on. Rules that look at none, which are almost all, cost nothing.

use super::rules::Ranked;
use super::sets::Sets;
use super::{Literal, Rule};
use crate::field::{Context, GUARDED_SLOT};
use std::collections::BTreeSet;
use std::sync::Arc;

/// As many rules as are evaluated to find out what a choice depended on.
const MOST: usize = 64;

/// For workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Guarded {
    /// The rules, in order, unless they are more than [`MOST`].
    rules: Option<Arc<[Rule]>>,
    /// All bits that any of them looks at.
    bits: u128,
}

/// Under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Looking {
    rules: BTreeSet<Ranked>,
    published: Guarded,
}

impl Guarded {
    /// Bits that the choice of `chosen` depended on, given all other fields.
    #[inline]
    pub(super) fn consulted(&self, context: &Context, sets: &Sets, chosen: Option<&Rule>) -> u128 {
        if self.bits == 0 { 0 } else { self.bits_of(context, sets, chosen) }
    }

    fn bits_of(&self, context: &Context, sets: &Sets, chosen: Option<&Rule>) -> u128 {
        let Some(rules) = &self.rules else { return self.bits };
        let last = chosen.map_or(u16::MIN, Rule::priority);
        let mut bits = 0;
        for rule in rules.iter().take_while(|rule| rule.priority() >= last) {
            for clause in rule.clauses() {
                let guarded = |literal: &&Literal| literal.field().slot() == GUARDED_SLOT;
                if clause.iter().all(|it| guarded(&it) || it.matches(context, sets)) {
                    bits |= clause.iter().filter(guarded).fold(0, |bits, it| bits | it.looks_at());
                }
            }
        }
        bits
    }
}

impl Looking {
    pub(super) fn insert(&mut self, rule: &Rule) {
        let bits = looks_at(rule);
        if bits != 0 && self.rules.insert(Ranked(rule.clone())) {
            self.published.bits |= bits;
            self.publish();
        }
    }

    pub(super) fn remove(&mut self, rule: &Rule) {
        if looks_at(rule) != 0 && self.rules.remove(&Ranked(rule.clone())) {
            // Of very many rules the bits are left as they were: looking at more costs a walk.
            if self.rules.len() <= MOST {
                self.published.bits =
                    self.rules.iter().fold(0, |bits, rule| bits | looks_at(&rule.0));
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        let few = (self.rules.len() <= MOST)
            .then(|| self.rules.iter().map(|rule| rule.0.clone()).collect());
        self.published.rules = few;
    }

    pub(super) fn published(&self) -> Guarded {
        self.published.clone()
    }
}

impl Literal {
    /// The bits of its word that it looks at.
    fn looks_at(&self) -> u128 {
        let mask = match self.values() {
            super::Values::Shared(_) => self.field().ones(),
            _ => self.list().iter().fold(0, |mask, value| mask | value.mask),
        };
        mask << self.field().shift()
    }
}

/// The bits of the guarded slot that a rule looks at.
fn looks_at(rule: &Rule) -> u128 {
    let literals = rule.literals().iter();
    literals
        .filter(|literal| literal.field().slot() == GUARDED_SLOT)
        .fold(0, |bits, literal| bits | literal.looks_at())
}
