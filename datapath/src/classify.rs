//! Which rule of a logical table matches a packet.
//!
//! A rule's match arrives as clauses (an OR of ANDs) over *sets of values of one field*: sets stay
//! sets, `{a,b} × {c,d}` is never multiplied out, and what many rules share is named by them and kept
//! apart ([`Sets`]). [`Rules`] is a table under way, which takes one rule more or less; [`Table`] is
//! what workers look up: nothing to decide, a few rules in a row, or groups hashed by what they look
//! at and by the sets they choose by. Whatever the shape, it agrees with [`Clause::matches`] on the
//! first rule that matches, which is the oracle of every test.

use crate::field::{Context, Slice};
use crate::key::FlowId;
use crate::program::Program;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

pub use rules::Rules;
pub use sets::{Domain, SetId, Sets, SharedSet};
pub use table::{Found, Pass, Table};

mod group;
mod guarded;
mod plan;
mod rules;
mod sets;
mod table;
#[cfg(test)]
mod tests;
mod trie;

/// A value under a mask, both as wide as the field they are for. Bits outside the mask are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Masked {
    /// The bits to find.
    pub value: u128,
    /// The bits to look at.
    pub mask: u128,
}

/// Values of one field. Most rules of a cloud are of a few whole values, so that is what is small.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Values {
    /// One value of the whole field.
    Exact(u64),
    /// One value, under a mask or of more bits; [`Values::one`] makes either.
    One(Box<Masked>),
    /// Any of these, of this rule alone.
    Any(List),
    /// An address set, port group or other set that rules share by name.
    Shared(SharedSet),
}

/// Values in order, by mask first, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List(Arc<[Masked]>);

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
#[derive(Clone, PartialEq, Eq, Debug)]
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

/// Spreads what is hashed.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl FromIterator<Masked> for List {
    fn from_iter<I: IntoIterator<Item = Masked>>(values: I) -> Self {
        let mut values: Vec<Masked> = values.into_iter().collect();
        values.sort_unstable_by_key(|it| (it.mask, it.value));
        values.dedup();
        Self(values.into())
    }
}

impl From<&[Masked]> for List {
    fn from(values: &[Masked]) -> Self {
        values.iter().copied().collect()
    }
}

impl List {
    /// Whether any of the values is this one.
    fn has(&self, value: u128) -> bool {
        /// Values that are as well looked through.
        const FEW: usize = 8;
        let mut rest = &*self.0;
        if rest.len() <= FEW {
            return rest.iter().any(|m| value & m.mask == m.value);
        }
        while let Some(&Masked { mask, .. }) = rest.first() {
            let (same, others) = rest.split_at(rest.partition_point(|it| it.mask == mask));
            if same.binary_search_by_key(&(value & mask), |it| it.value).is_ok() {
                return true;
            }
            rest = others;
        }
        false
    }
}

impl Values {
    /// One value of a field.
    pub fn one(field: Slice, one: Masked) -> Self {
        match u64::try_from(one.value) {
            Ok(value) if one.mask == field.ones() => Self::Exact(value),
            _ => Self::One(Box::new(one)),
        }
    }
}

impl Literal {
    /// The values as a list; empty for a shared set, whose values are in [`Sets`].
    pub fn list(&self) -> SmallVec<[Masked; 1]> {
        match &self.values {
            Values::Exact(value) => {
                smallvec![Masked { value: u128::from(*value), mask: self.field.ones() }]
            }
            Values::One(one) => smallvec![**one],
            Values::Any(list) => SmallVec::from_slice(&list.0),
            Values::Shared(_) => SmallVec::new(),
        }
    }

    /// Whether the condition holds.
    #[inline]
    pub fn matches(&self, context: &Context, sets: &Sets) -> bool {
        let value = context.get(self.field);
        let found = match &self.values {
            Values::Exact(exact) => value == u128::from(*exact),
            Values::One(one) => value & one.mask == one.value,
            Values::Any(list) => list.has(value),
            Values::Shared(set) => sets.contains(*set, value),
        };
        found != self.negated
    }
}

impl Clause {
    /// Whether all conditions hold.
    #[inline]
    pub fn matches(&self, context: &Context, sets: &Sets) -> bool {
        self.0.iter().all(|literal| literal.matches(context, sets))
    }
}

impl Rule {
    /// Bytes that it and its match take.
    pub fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        let literals = self.clauses.iter().flat_map(|clause| &clause.0);
        let lists = literals.map(|literal| match &literal.values {
            Values::One(one) => size_of_val(&**one),
            Values::Any(list) => COUNTS + size_of_val(&*list.0),
            Values::Exact(_) | Values::Shared(_) => 0,
        });
        let clauses = self.clauses.iter().map(|it| size_of_val(it) + size_of_val(&*it.0));
        2 * COUNTS + size_of::<Self>() + clauses.sum::<usize>() + lists.sum::<usize>()
    }
}

/// Where a rule stands among those of its table: the least that matches wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    order: u32,
    flow: FlowId,
}

impl Rank {
    /// After every rule.
    const LAST: Self = Self { order: u32::MAX, flow: FlowId(u128::MAX) };

    fn of(rule: &Rule) -> Self {
        Self { order: order(rule), flow: rule.flow }
    }
}

/// By priority, and of those with the same one that passes the packet on before one that drops it.
fn order(rule: &Rule) -> u32 {
    u32::from(u16::MAX - rule.priority) << 1 | u32::from(drops(&rule.program))
}

/// Whether it is `drop;` and no more, as ofctrl tells flows of one match apart (EX-S9).
fn drops(program: &Program) -> bool {
    program.0.is_empty()
}
