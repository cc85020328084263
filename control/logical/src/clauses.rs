//! From an expression to clauses over sets of values, which is what is looked up.
//!
//! The result is a disjunction of [`Clause`]s. A set stays one literal however many values it has
//! (EX-S13), `!=` is a negated literal, an order becomes prefixes, and an OR of comparisons of one
//! field is one literal. Only an AND of ORs over different fields is multiplied out, up to a limit.

use crate::annotate::Annotated;
use crate::conjunction::{Conjunction, Set, Test, tidy};
use crate::error::Problem;
use crate::expr::{Comparison, Expr, Operand, Relation};
use crate::resolve::{Resolve, SetError};
use ovn_xdp_datapath::classify::{Clause, Masked};
use ovn_xdp_datapath::field::Slice;
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;

/// The most clauses that a match may become.
pub const MAX_CLAUSES: usize = 4096;

/// The most pairs of alternatives that are tried to get there.
const MAX_PAIRS: usize = 64 * MAX_CLAUSES;

/// Why a match cannot become clauses. The flow is skipped (ACT-P7).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClauseError {
    /// EX-E2.
    #[error("Syntax error at `${0}' expecting address set name.")]
    AddressSet(Box<str>),
    /// EX-E2.
    #[error("Syntax error at `@{0}' expecting port group name.")]
    PortGroup(Box<str>),
    /// EX-E5 in a set.
    #[error(
        "{bits}-bit constant in address set {set} is not compatible with {width}-bit field {field}."
    )]
    SetWidth {
        /// Bits of the member.
        bits: u32,
        /// The set.
        set: Box<str>,
        /// Bits of the field.
        width: u32,
        /// The field.
        field: &'static str,
    },
    /// EX-E7: the members of a set do not allow an order.
    #[error(transparent)]
    Order(Box<Problem>),
    /// ORs over different fields multiply to too much.
    #[error(
        "The match is an AND of ORs over different fields that multiply to more than \
         {MAX_CLAUSES} alternatives; split it into several flows or compare each field with one \
         set {{...}}."
    )]
    TooMany,
}

/// Alternatives: none is never, an empty one is always.
type Alternatives = SmallVec<[Conjunction; 1]>;

impl Annotated {
    /// The clauses, any of which must hold.
    ///
    /// # Errors
    /// If a set or group is not known or does not fit, or if there are more than [`MAX_CLAUSES`].
    pub fn clauses(&self, resolver: &mut impl Resolve) -> Result<Vec<Clause>, ClauseError> {
        let alternatives = walk(&self.0, resolver)?;
        Ok(alternatives.into_iter().map(Conjunction::clause).collect())
    }
}

fn always() -> Alternatives {
    smallvec![Conjunction::default()]
}

fn constant(value: bool) -> Alternatives {
    if value { always() } else { Alternatives::new() }
}

fn walk(expr: &Expr, resolver: &mut impl Resolve) -> Result<Alternatives, ClauseError> {
    match expr {
        Expr::Constant(value) => Ok(constant(*value)),
        Expr::Resident { port, negated } => {
            Ok(constant(resolver.is_chassis_resident(port) != *negated))
        }
        Expr::NoMembers { set, negated } => Ok(constant(resolver.has_no_members(set) != *negated)),
        Expr::Compare(comparison) => compare(comparison, resolver),
        Expr::And(list) => all(list, resolver),
        Expr::Or(list) => any(list, resolver),
    }
}

fn all(list: &[Expr], resolver: &mut impl Resolve) -> Result<Alternatives, ClauseError> {
    let mut common = Conjunction(SmallVec::with_capacity(list.len()));
    let mut choices: SmallVec<[Alternatives; 4]> = SmallVec::new();
    let mut never = false;
    for expr in list {
        // Goes on after a contradiction, so that the resolver is asked for every name: what it
        // records must not depend on today's values.
        let mut alternatives = walk(expr, resolver)?;
        match alternatives.len() {
            0 => never = true,
            1 => {
                if let Some(one) = alternatives.pop() {
                    never |= !one.0.into_iter().all(|test| common.add(test));
                }
            }
            _ => choices.push(alternatives),
        }
    }
    if never {
        return Ok(Alternatives::new());
    }
    choices.sort_by_key(SmallVec::len);
    let mut product: Alternatives = smallvec![common];
    for choice in choices {
        // Most of a product may be contradictions; finding that out must not take long, either.
        if product.len() * choice.len() > MAX_PAIRS {
            return Err(ClauseError::TooMany);
        }
        let mut next = Alternatives::new();
        for left in &product {
            for right in &choice {
                if let Some(both) = left.and(right) {
                    if next.len() == MAX_CLAUSES {
                        return Err(ClauseError::TooMany);
                    }
                    next.push(both);
                }
            }
        }
        product = next;
    }
    Ok(product)
}

fn any(list: &[Expr], resolver: &mut impl Resolve) -> Result<Alternatives, ClauseError> {
    let mut union = Alternatives::new();
    let mut heads: SmallVec<[usize; 4]> = SmallVec::new();
    for expr in list {
        for alternative in walk(expr, resolver)? {
            let [test] = &alternative.0[..] else {
                union.push(alternative);
                continue;
            };
            let (Some(new), slice) = (test.any_of(), test.slice) else {
                union.push(alternative);
                continue;
            };
            let head = heads.iter().copied().find(|&at| union[at].0[0].slice == slice);
            match head.map(|at| &mut union[at].0[0].set) {
                Some(Set::List(old)) => old.extend_from_slice(new),
                _ => {
                    heads.push(union.len());
                    union.push(alternative);
                }
            }
        }
    }
    for at in heads {
        if let Set::List(list) = &mut union[at].0[0].set {
            tidy(list);
        }
    }
    if union.iter().any(|alternative| alternative.0.is_empty()) {
        return Ok(always());
    }
    if union.len() > MAX_CLAUSES {
        return Err(ClauseError::TooMany);
    }
    Ok(union)
}

fn compare(
    comparison: &Comparison,
    resolver: &mut impl Resolve,
) -> Result<Alternatives, ClauseError> {
    let mut slice = comparison.slice();
    let mut negated = comparison.relation == Relation::NotEqual;
    let set = match &comparison.operand {
        Operand::Numbers(numbers) if comparison.relation.orders() => {
            let mut prefixes = SmallVec::new();
            for &number in numbers {
                ordered(number, comparison.relation, &mut prefixes);
            }
            Set::List(prefixes)
        }
        Operand::Numbers(numbers) => {
            let mut list = numbers.clone();
            tidy(&mut list);
            Set::List(list)
        }
        Operand::Ports(names) => {
            let mut list: SmallVec<[Masked; 1]> = names
                .iter()
                .filter_map(|name| match &**name {
                    "none" => Some(0),
                    name => resolver.port(name),
                })
                .map(|key| Masked { value: key.into(), mask: u32::MAX.into() })
                .collect();
            tidy(&mut list);
            Set::List(list)
        }
        Operand::PortGroup(name) => Set::Shared(
            resolver.port_group(name).ok_or_else(|| ClauseError::PortGroup(name.clone()))?,
        ),
        Operand::AddressSet { name, low, bits, limit, all } => {
            let refused = |error| match error {
                SetError::Unknown => ClauseError::AddressSet(name.clone()),
                SetError::TooWide { bits } => ClauseError::SetWidth {
                    bits,
                    set: name.clone(),
                    width: *limit,
                    field: comparison.symbol.name,
                },
            };
            if let Some(part) = slice.bits(*low as u8, (low + bits - 1) as u8) {
                slice = part;
            }
            if comparison.relation.orders() {
                let list = resolver.address_list(name, *limit).map_err(refused)?;
                return ordered_by_all(slice, comparison.relation, *all, list);
            }
            if bits == limit {
                Set::Shared(resolver.address_set(name, *limit).map_err(refused)?)
            } else {
                let list = resolver.address_list(name, *limit).map_err(refused)?;
                let ones = slice.ones();
                let part = |m: Masked| Masked { value: m.value & ones, mask: m.mask & ones };
                Set::List(list.into_iter().map(part).collect())
            }
        }
    };
    let (empty, certain) = match &set {
        Set::List(list) => (list.is_empty(), list.iter().any(|value| value.mask == 0)),
        // What is in it now must not matter: it changes without the rule.
        Set::Shared(_) => (false, false),
    };
    if empty || certain {
        return Ok(constant(certain != negated));
    }
    let mut set = set;
    if let Set::List(list) = &mut set
        && let [only] = &mut list[..]
        && negated
        && only.mask.is_power_of_two()
    {
        only.value ^= only.mask;
        negated = false;
    }
    let mut conjunction = Conjunction::default();
    conjunction.0.push(Test { slice, set, negated }.in_register());
    Ok(smallvec![conjunction])
}

/// A field in an order with all members of a set, or, behind `!`, with any of them.
fn ordered_by_all(
    slice: Slice,
    relation: Relation,
    all: bool,
    mut list: Vec<Masked>,
) -> Result<Alternatives, ClauseError> {
    let ones = slice.ones();
    let refused = |problem| Err(ClauseError::Order(Box::new(problem)));
    // OVN asks the first member only, in its own order.
    list.sort_unstable_by_key(|m| (m.value, m.mask & ones == ones, m.mask));
    let Some(first) = list.first() else { return refused(Problem::OrderOnEmpty) };
    let one_run = |m: &Masked| {
        let run = (m.mask & ones) >> (m.mask & ones).trailing_zeros().min(127);
        run != 0 && run & run.wrapping_add(1) == 0
    };
    // A member with a gap in its mask is one that OVN aborts at.
    if first.mask & ones != ones || !list.iter().all(one_run) {
        return refused(Problem::OrderOnMasked);
    }
    // Of the members under one mask the least counts, or the greatest.
    let least = matches!(relation, Relation::Less | Relation::LessOrEqual) == all;
    let mut bounds = BTreeMap::new();
    for m in list {
        let (mask, value) = (m.mask & ones, m.value & ones);
        let bound = bounds.entry(mask).or_insert(value);
        *bound = if least { value.min(*bound) } else { value.max(*bound) };
    }
    let mut alternatives = constant(all);
    for (mask, value) in bounds {
        let mut prefixes = SmallVec::new();
        ordered(Masked { value, mask }, relation, &mut prefixes);
        let holds = match prefixes.iter().any(|it| it.mask == 0) || prefixes.is_empty() {
            true => constant(!prefixes.is_empty()),
            false => {
                let test = Test { slice, set: Set::List(prefixes), negated: false };
                smallvec![Conjunction(smallvec![test.in_register()])]
            }
        };
        if all {
            let pairs = alternatives.iter().flat_map(|a| holds.iter().map(move |b| a.and(b)));
            alternatives = pairs.flatten().collect();
        } else {
            alternatives.extend(holds);
        }
    }
    match alternatives.iter().any(|it| it.0.is_empty()) {
        true => Ok(always()),
        false => Ok(alternatives),
    }
}

/// The fewest prefixes that stand in this relation to a value, compared under a mask of one run of
/// bits.
fn ordered(number: Masked, relation: Relation, prefixes: &mut SmallVec<[Masked; 1]>) {
    let mask = number.mask;
    let one = mask & mask.wrapping_neg();
    let always = Masked { value: 0, mask: 0 };
    let (less, value) = match relation {
        Relation::LessOrEqual if number.value == mask => return prefixes.push(always),
        Relation::GreaterOrEqual if number.value == 0 => return prefixes.push(always),
        Relation::LessOrEqual => (true, number.value + one),
        Relation::GreaterOrEqual => (false, number.value - one),
        relation => (relation == Relation::Less, number.value),
    };
    let mut rest = mask;
    while rest != 0 {
        // A value is less if its first bit that differs is 0 where the number's is 1.
        let bit = rest & rest.wrapping_neg();
        if (value & bit != 0) == less {
            prefixes.push(Masked { value: (value ^ bit) & rest, mask: rest });
        }
        rest ^= bit;
    }
    tidy(prefixes);
}
