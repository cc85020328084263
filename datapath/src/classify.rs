//! Which rule of a logical table matches a packet.
//!
//! A rule's match arrives as clauses (an OR of ANDs) over *sets of values of one field*: sets stay
//! sets, `{a,b} × {c,d}` is never multiplied out. Any structure built from the rules must agree
//! with [`Clause::matches`] on the rule of the highest priority, which is the oracle of every test.

use crate::field::{Context, Slice};
use crate::key::FlowId;
use crate::program::Program;
use std::sync::Arc;

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
    /// Rules, highest priority first.
    rules: Vec<Rule>,
}

impl Table {
    /// Builds the table; rules may come in any order.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        Self { rules }
    }

    /// Bits of the guarded slot that the choice of `chosen` depended on.
    pub fn consulted(&self, context: &Context, chosen: Option<&Rule>) -> u128 {
        let _ = (context, chosen);
        u128::MAX
    }

    /// The rule of the highest priority that matches.
    pub fn lookup(&self, context: &Context) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.clauses.iter().any(|clause| clause.matches(context)))
    }
}
