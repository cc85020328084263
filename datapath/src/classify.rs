//! Which rule of a logical table matches a packet.
//!
//! A rule's match arrives as clauses (an OR of ANDs) over *sets of values of one field*: sets stay
//! sets, `{a,b} × {c,d}` is never multiplied out. A table takes the shape that its rules call for:
//! nothing to decide, a few rules in a row, or tuples hashed by what they look at, with
//! set classes for the rest. Whatever the shape, it agrees with [`Clause::matches`] on the first rule
//! that matches, which is the oracle of every test.

use crate::field::{Context, GUARDED_SLOT, Slice};
use crate::key::FlowId;
use crate::program::{Op, Pipeline, Program};
use std::cmp::Reverse;
use std::sync::Arc;
use tuples::Tuples;

mod sets;
#[cfg(test)]
mod tests;
mod tuples;

/// A value under a mask, both as wide as the field they are for. Bits outside the mask are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Masked {
    /// The bits to find.
    pub value: u128,
    /// The bits to look at.
    pub mask: u128,
}

/// Values of one field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Values {
    /// One value.
    One(Masked),
    /// Any of these, of this rule alone.
    Any(Arc<[Masked]>),
    /// An address set, port group or other set that rules share by name; equal by identity.
    Shared(SharedSet),
}

/// A set that many rules refer to. Two are equal if they are the same allocation.
#[derive(Clone, Debug)]
pub struct SharedSet(pub Arc<[Masked]>);

impl PartialEq for SharedSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedSet {}

/// One condition: the field is (or, if `negated`, is not) among the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// The field.
    pub field: Slice,
    /// What it is compared with.
    pub values: Values,
    /// True for `!=`: none of the values.
    pub negated: bool,
}

/// Conditions that must all hold; an empty clause always holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clause(pub Box<[Literal]>);

/// A logical flow of one table of one datapath, ready to be looked up.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `Logical_Flow.priority`; the highest that matches wins.
    pub priority: u16,
    /// The match holds if any of these does; no clause means never.
    pub clauses: Arc<[Clause]>,
    /// What to do.
    pub program: Arc<Program>,
    /// The row.
    pub flow: FlowId,
}

impl Values {
    /// The values as a list.
    pub fn as_slice(&self) -> &[Masked] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Any(list) => list,
            Self::Shared(set) => &set.0,
        }
    }
}

impl Literal {
    /// Whether the condition holds.
    pub fn matches(&self, context: &Context) -> bool {
        let value = context.get(self.field);
        self.values.as_slice().iter().any(|m| value & m.mask == m.value) != self.negated
    }
}

impl Clause {
    /// Whether all conditions hold.
    pub fn matches(&self, context: &Context) -> bool {
        self.0.iter().all(|literal| literal.matches(context))
    }
}

/// The rules of one logical table of one datapath.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Rules that can be the first to match, in the order in which they win.
    rules: Vec<Rule>,
    shape: Shape,
    guarded: Guarded,
    pass: Option<Pass>,
}

/// A table whose first rule takes whatever comes and does nothing but `next`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// The pipeline and table that come next.
    pub to: (Pipeline, u8),
    /// The rule's row.
    pub flow: FlowId,
}

#[derive(Clone, Debug, Default)]
enum Shape {
    /// The first rule matches whatever comes, or there is none.
    #[default]
    Constant,
    /// Few enough to try one after the other.
    Linear,
    /// Hashed.
    Tuples(Tuples),
}

/// What of the table looks at the guarded slot.
#[derive(Clone, Debug, Default)]
struct Guarded {
    /// Rules that do, unless they are more than [`MOST_GUARDED`].
    rules: Option<Box<[u32]>>,
    /// All bits that any rule looks at.
    bits: u128,
}

/// As many rules as are tried one after the other, if their sets are small.
const MOST_LINEAR: usize = 8;

/// The largest set that is looked through value by value.
const SMALL_SET: usize = 16;

/// As many rules as are evaluated to find out what a choice depended on.
const MOST_GUARDED: usize = 64;

impl Table {
    /// Builds the table; rules may come in any order. Of rules with the same priority and match, one
    /// that passes the packet on wins over one that drops it (EX-S9).
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.retain(|rule| !rule.clauses.is_empty());
        rules.sort_by_key(|rule| (Reverse(rule.priority), drops(&rule.program), rule.flow));
        let always = |rule: &Rule| rule.clauses.iter().any(|clause| clause.0.is_empty());
        if let Some(last) = rules.iter().position(always) {
            rules.truncate(last + 1);
        }
        let guarded = Guarded::new(&rules);
        let shape = if rules.first().is_none_or(always) {
            Shape::Constant
        } else if rules.len() <= MOST_LINEAR && rules.iter().all(small) {
            Shape::Linear
        } else {
            Shape::Tuples(Tuples::new(&rules))
        };
        let pass = match (&shape, rules.first()) {
            (Shape::Constant, Some(rule)) => match *rule.program.0 {
                [Op::Next(pipeline, table)] => {
                    Some(Pass { to: (pipeline, table), flow: rule.flow })
                }
                _ => None,
            },
            _ => None,
        };
        Self { rules, shape, guarded, pass }
    }

    /// The rule of the highest priority that matches.
    #[inline]
    pub fn lookup(&self, context: &Context) -> Option<&Rule> {
        match &self.shape {
            Shape::Constant => self.rules.first(),
            Shape::Linear => self.linear(context),
            Shape::Tuples(tuples) => tuples.lookup(context).and_then(|index| self.rules.get(index)),
        }
    }

    /// The same, by trying one rule after the other: the oracle.
    pub fn linear(&self, context: &Context) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.clauses.iter().any(|clause| clause.matches(context)))
    }

    /// Where every packet goes on to, if the table does nothing else: most tables of most datapaths.
    #[inline]
    pub fn pass(&self) -> Option<Pass> {
        self.pass
    }

    /// Rules that can win, in the order in which they do.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How the table is looked up: `constant`, `linear` or `tuples`.
    pub fn structure(&self) -> &'static str {
        match &self.shape {
            Shape::Constant => "constant",
            Shape::Linear => "linear",
            Shape::Tuples(_) => "tuples",
        }
    }

    /// Bits of the guarded slot that the choice of `chosen` depended on, given all other fields.
    #[inline]
    pub fn consulted(&self, context: &Context, chosen: Option<&Rule>) -> u128 {
        if self.guarded.bits == 0 { 0 } else { self.consulted_of(context, chosen) }
    }

    fn consulted_of(&self, context: &Context, chosen: Option<&Rule>) -> u128 {
        let Some(rules) = &self.guarded.rules else { return self.guarded.bits };
        let last = chosen.map_or(u16::MIN, |rule| rule.priority);
        let mut bits = 0;
        for &index in rules {
            let rule = &self.rules[index as usize];
            if rule.priority < last {
                break;
            }
            for clause in &*rule.clauses {
                let guarded = |literal: &&Literal| literal.field.slot() == GUARDED_SLOT;
                if clause.0.iter().all(|it| guarded(&it) || it.matches(context)) {
                    bits |=
                        clause.0.iter().filter(guarded).fold(0, |bits, it| bits | it.looks_at());
                }
            }
        }
        bits
    }
}

impl Literal {
    /// The bits of its word that it looks at.
    fn looks_at(&self) -> u128 {
        let mask = self.values.as_slice().iter().fold(0, |mask, value| mask | value.mask);
        mask << self.field.shift()
    }
}

impl Guarded {
    fn new(rules: &[Rule]) -> Self {
        let mut found = Vec::new();
        let mut bits = 0;
        for (index, rule) in rules.iter().enumerate() {
            let literals = rule.clauses.iter().flat_map(|clause| &clause.0);
            let looks = literals
                .filter(|literal| literal.field.slot() == GUARDED_SLOT)
                .fold(0, |bits, literal| bits | literal.looks_at());
            bits |= looks;
            if looks != 0 {
                found.push(index as u32);
            }
        }
        Self { rules: (found.len() <= MOST_GUARDED).then(|| found.into()), bits }
    }
}

fn drops(program: &Program) -> bool {
    !program.0.iter().any(|op| matches!(op, Op::Output | Op::Next(..)))
}

fn small(rule: &Rule) -> bool {
    let mut literals = rule.clauses.iter().flat_map(|clause| &clause.0);
    literals.all(|literal| literal.values.as_slice().len() <= SMALL_SET)
}
