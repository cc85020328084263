//! Which rule of a logical table matches a packet.
//!
//! A rule's match arrives as clauses (an OR of ANDs) over *sets of values of one field*: sets stay
//! sets, `{a,b} × {c,d}` is never multiplied out, and what many rules share is named by them and kept
//! apart ([`Sets`]). [`Rules`] is a table under way, which takes one rule more or less; [`Table`] is
//! what workers look up: nothing to decide, a few rules in a row, groups hashed by what they look at
//! and by the sets they choose by, ranges of a field's values, or many small groups together on a
//! screen. Whatever the shape, it agrees with [`Rule::matches`] on the first rule that matches, which is
//! the oracle of every test.

use crate::field::{Context, Slice};
use crate::key::FlowId;
use crate::program::Program;
use sets::PackedDomain;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use triomphe::ThinArc;

pub use range::Range;
pub use rules::Rules;
pub use sets::{Domain, SetId, Sets, SharedSet};
pub use table::{Found, Pass, Table};

mod cuts;
mod group;
mod groups;
mod guarded;
mod listed;
mod mark;
mod plan;
mod range;
mod ranges;
mod rules;
mod screen;
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

/// Values of one field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Values<'a> {
    /// One value of the whole field.
    Exact(u128),
    /// One value, under a mask.
    One(&'a Masked),
    /// Any of these, of this rule alone.
    Any(&'a [Masked]),
    /// All from one value to another.
    Range(&'a Range),
    /// An address set, port group or other set that rules share by name.
    Shared(SharedSet),
}

/// One condition: the field is (or, if `negated`, is not) among the values.
///
/// Two words, because a chassis holds millions: what most rules of a cloud compare is one value of
/// a whole field, and that is what needs no allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Literal(Kept);

/// A literal as it is kept. Lists are in order, by mask first, each value once.
#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Exact(Side, u64),
    /// A value of more bits than a word has.
    Wide(Side, Box<u128>),
    One(Side, Box<Masked>),
    Any(Side, ThinArc<(), Masked>),
    Range(Side, Box<Range>),
    Shared(Side, SetId, PackedDomain),
}

/// What is beside the values.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Side {
    field: Slice,
    negated: bool,
    /// Whether it ends a clause of its rule.
    last: bool,
}

/// Conditions that must all hold; an empty clause always holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clause(pub Box<[Literal]>);

/// A logical flow of one table of one datapath, ready to be looked up: a pointer to one allocation
/// with all of it but the program.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule(ThinArc<Head, Literal>);

/// What is before a rule's literals.
#[derive(Clone, PartialEq, Eq)]
struct Head {
    /// A [`FlowId`], in halves because its alignment would cost another word.
    flow: [u64; 2],
    program: Program,
    priority: u16,
    /// Whether one of the clauses is empty; then there are no others.
    always: bool,
}

/// What a shared slice takes beside its elements.
const COUNTS: usize = 16;

/// The width of a TCP or UDP port. Of a field as wide, a value under a prefix is the range that
/// somebody wrote; of a wider one it is a prefix, and one of many lengths.
const PORT: u32 = 16;

/// Spreads what is hashed.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether any of the values is this one.
fn has(list: &[Masked], value: u128) -> bool {
    /// Values that are as well looked through.
    const FEW: usize = 8;
    let mut rest = list;
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

impl Literal {
    /// The field is among the values, or is not.
    pub fn new(field: Slice, values: Values<'_>, negated: bool) -> Self {
        let side = Side { field, negated, last: false };
        Self(match values {
            Values::Exact(value) => match u64::try_from(value) {
                Ok(value) => Kept::Exact(side, value),
                Err(_) => Kept::Wide(side, Box::new(value)),
            },
            Values::One(one) if one.mask == field.ones() => {
                return Self::new(field, Values::Exact(one.value), negated);
            }
            Values::One(one) => match Range::of(field, &[*one]) {
                Some(range) if field.width() == PORT => Kept::Range(side, Box::new(range)),
                _ => Kept::One(side, Box::new(*one)),
            },
            Values::Any(list) => {
                if let Some(range) = Range::of(field, list) {
                    return Self::new(field, Values::Range(&range), negated);
                }
                let mut list = list.to_vec();
                list.sort_unstable_by_key(|it| (it.mask, it.value));
                list.dedup();
                Kept::Any(side, ThinArc::from_header_and_slice((), &list))
            }
            Values::Range(range) => match range.prefixes(field)[..] {
                [one] => return Self::new(field, Values::One(&one), negated),
                _ => Kept::Range(side, Box::new(*range)),
            },
            Values::Shared(set) => Kept::Shared(side, set.id, set.domain.into()),
        })
    }

    /// The field.
    #[inline]
    pub fn field(&self) -> Slice {
        self.side().field
    }

    /// True for `!=`: none of the values.
    #[inline]
    pub fn negated(&self) -> bool {
        self.side().negated
    }

    /// What the field is compared with.
    #[inline]
    pub fn values(&self) -> Values<'_> {
        match &self.0 {
            Kept::Exact(_, value) => Values::Exact(u128::from(*value)),
            Kept::Wide(_, value) => Values::Exact(**value),
            Kept::One(_, one) => Values::One(one),
            Kept::Any(_, list) => Values::Any(&list.slice),
            Kept::Range(_, range) => Values::Range(range),
            Kept::Shared(_, id, domain) => {
                Values::Shared(SharedSet { id: *id, domain: (*domain).into() })
            }
        }
    }

    /// The values as a list; empty for a shared set, whose values are in [`Sets`].
    pub fn list(&self) -> SmallVec<[Masked; 1]> {
        match self.values() {
            Values::Exact(value) => {
                smallvec![Masked { value, mask: self.field().ones() }]
            }
            Values::One(one) => smallvec![*one],
            Values::Any(list) => SmallVec::from_slice(list),
            Values::Range(range) => range.prefixes(self.field()),
            Values::Shared(_) => SmallVec::new(),
        }
    }

    /// How many values it names; a shared set is one, and so is a range.
    fn many(&self) -> usize {
        match self.values() {
            Values::Any(list) => list.len(),
            _ => 1,
        }
    }

    /// Whether the condition holds.
    #[inline]
    pub fn matches(&self, context: &Context, sets: &Sets) -> bool {
        let side = self.side();
        let value = context.get(side.field);
        let found = match self.values() {
            Values::Exact(exact) => value == exact,
            Values::One(one) => value & one.mask == one.value,
            Values::Any(list) => has(list, value),
            Values::Range(range) => range.has(value),
            Values::Shared(set) => sets.contains(set, value),
        };
        found != side.negated
    }

    #[inline]
    fn side(&self) -> &Side {
        match &self.0 {
            Kept::Exact(side, _)
            | Kept::Wide(side, _)
            | Kept::One(side, _)
            | Kept::Any(side, _)
            | Kept::Range(side, _)
            | Kept::Shared(side, ..) => side,
        }
    }

    fn ending(mut self, ends: bool) -> Self {
        match &mut self.0 {
            Kept::Exact(side, _)
            | Kept::Wide(side, _)
            | Kept::One(side, _)
            | Kept::Any(side, _)
            | Kept::Range(side, _)
            | Kept::Shared(side, ..) => side.last = ends,
        }
        self
    }

    /// Bytes that it points to.
    fn bytes(&self) -> usize {
        match &self.0 {
            Kept::Wide(_, value) => size_of_val(&**value),
            Kept::One(_, one) => size_of_val(&**one),
            Kept::Any(_, list) => COUNTS + size_of_val(&list.slice),
            Kept::Range(_, range) => size_of_val(&**range),
            Kept::Exact(..) | Kept::Shared(..) => 0,
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated() { "not " } else { "" };
        write!(f, "{:?} {not}in {:?}", self.field(), self.values())
    }
}

impl Clause {
    /// Whether all conditions hold.
    #[inline]
    pub fn matches(&self, context: &Context, sets: &Sets) -> bool {
        holds(&self.0, context, sets)
    }
}

/// Whether all conditions hold.
#[inline]
fn holds(clause: &[Literal], context: &Context, sets: &Sets) -> bool {
    clause.iter().all(|literal| literal.matches(context, sets))
}

impl Rule {
    /// A rule of a flow: its match holds if any of the clauses does, and never if there is none.
    pub fn new(priority: u16, clauses: &[Clause], program: Program, flow: FlowId) -> Self {
        let always = clauses.iter().any(|clause| clause.0.is_empty());
        let clauses = if always { &[] } else { clauses };
        let literals: Vec<Literal> = clauses
            .iter()
            .flat_map(|Clause(list)| {
                let last = list.len() - 1;
                list.iter().enumerate().map(move |(at, one)| one.clone().ending(at == last))
            })
            .collect();
        let head = Head { flow: halves(flow), program, priority, always };
        Self(ThinArc::from_header_and_iter(head, literals.into_iter()))
    }

    /// The same rule, of another flow.
    pub fn of_flow(&self, flow: FlowId) -> Self {
        let head = Head { flow: halves(flow), ..self.head().clone() };
        Self(ThinArc::from_header_and_iter(head, self.literals().iter().cloned()))
    }

    /// `Logical_Flow.priority`; the highest that matches wins.
    #[inline]
    pub fn priority(&self) -> u16 {
        self.head().priority
    }

    /// What to do.
    #[inline]
    pub fn program(&self) -> &Program {
        &self.head().program
    }

    /// The row.
    #[inline]
    pub fn flow(&self) -> FlowId {
        let [high, low] = self.head().flow;
        FlowId(u128::from(high) << 64 | u128::from(low))
    }

    /// The clauses, any of which must hold.
    pub fn clauses(&self) -> impl Iterator<Item = &[Literal]> {
        let empty: &[Literal] = &[];
        let always = self.holds_always().then_some(empty);
        always.into_iter().chain(self.literals().split_inclusive(|it| it.side().last))
    }

    /// Whether it takes whatever comes.
    #[inline]
    pub fn holds_always(&self) -> bool {
        self.head().always
    }

    /// Whether it takes nothing.
    pub fn holds_never(&self) -> bool {
        !self.holds_always() && self.literals().is_empty()
    }

    /// Whether its match holds.
    #[inline]
    pub fn matches(&self, context: &Context, sets: &Sets) -> bool {
        self.clauses().any(|clause| holds(clause, context, sets))
    }

    /// Bytes that it and its match take.
    pub fn bytes(&self) -> usize {
        let literals = self.literals();
        let lists = literals.iter().map(Literal::bytes).sum::<usize>();
        COUNTS + size_of::<Head>() + size_of_val(literals) + lists
    }

    /// Where it is, to count shared ones once.
    pub fn address(&self) -> *const Literal {
        self.literals().as_ptr()
    }

    /// All literals, clause after clause.
    #[inline]
    fn literals(&self) -> &[Literal] {
        &self.0.slice
    }

    /// The clause whose first literal is there.
    #[inline]
    fn clause_at(&self, start: u32) -> &[Literal] {
        let rest = self.literals().get(start as usize..).unwrap_or_default();
        let end = rest.iter().position(|it| it.side().last);
        &rest[..end.map_or(rest.len(), |end| end + 1)]
    }

    /// The clauses, and where each starts; none if it holds always.
    fn starts(&self) -> impl Iterator<Item = (u32, &[Literal])> {
        let clauses = self.literals().split_inclusive(|it| it.side().last);
        clauses.scan(0, |next, clause| {
            let start = *next;
            *next += clause.len() as u32;
            Some((start, clause))
        })
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.0.header.header
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clauses: Vec<_> = self.clauses().collect();
        f.debug_struct("Rule")
            .field("priority", &self.priority())
            .field("clauses", &clauses)
            .field("program", self.program())
            .field("flow", &self.flow())
            .finish()
    }
}

fn halves(flow: FlowId) -> [u64; 2] {
    [(flow.0 >> 64) as u64, flow.0 as u64]
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
        Self { order: order(rule), flow: rule.flow() }
    }
}

/// By priority, and of those with the same one that passes the packet on before one that is `drop;`
/// and no more, as ofctrl tells flows of one match apart (EX-S9).
fn order(rule: &Rule) -> u32 {
    u32::from(u16::MAX - rule.priority()) << 1 | u32::from(rule.program().is_empty())
}
