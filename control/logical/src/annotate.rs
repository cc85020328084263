//! What an expression leaves unsaid (EX-S1, EX-S2).
//!
//! Predicates and subfields are replaced by what they stand for, and prerequisites are added: once
//! for a subtree that mentions a single symbol, otherwise at each comparison. Nothing is pushed
//! below a `!`, because there is none below a comparison. A negated predicate does negate the
//! prerequisites inside of it, as in OVN.

use crate::expr::{Comparison, Expr, Operand, Relation};
use crate::symbol::Kind;

/// An expression over whole fields, with its prerequisites.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Annotated(pub(crate) Expr);

impl Annotated {
    /// The tree; no symbol in it is a subfield or predicate.
    pub fn expr(&self) -> &Expr {
        &self.0
    }
}

impl Expr {
    /// Adds prerequisites and expands predicates and subfields.
    pub fn annotate(self) -> Annotated {
        Annotated(expand(self))
    }
}

/// As [`Expr::annotate`], for what symbols themselves stand for.
pub(crate) fn expand(expr: Expr) -> Expr {
    walk(expr, true)
}

fn walk(expr: Expr, add: bool) -> Expr {
    match expr {
        Expr::Compare(comparison) => compare(comparison, add),
        Expr::And(list) => chain(list, add, true),
        Expr::Or(list) => chain(list, add, false),
        leaf => leaf,
    }
}

fn chain(list: Vec<Expr>, add: bool, and: bool) -> Expr {
    let only = if add { only(&list) } else { None };
    let add = add && only.is_none();
    let mut flat = Vec::with_capacity(list.len() + 2);
    for expr in list {
        match walk(expr, add) {
            Expr::And(inner) if and => flat.extend(inner),
            Expr::Or(inner) if !and => flat.extend(inner),
            other => flat.push(other),
        }
    }
    let expr = if and { Expr::And(flat) } else { Expr::Or(flat) };
    match only.and_then(|symbol| symbol.prerequisite()) {
        Some(prerequisite) => expr.and(prerequisite.clone()),
        None => expr,
    }
}

fn only(list: &[Expr]) -> Option<&'static crate::symbol::Symbol> {
    let first = list.first()?.only_symbol()?;
    list[1..].iter().all(|e| e.only_symbol() == Some(first)).then_some(first)
}

fn compare(comparison: Comparison, add: bool) -> Expr {
    let symbol = comparison.symbol;
    let excepted = comparison.excepted().map(Box::from);
    let expr = match symbol.kind {
        Kind::Subfield { parent, low } => Expr::Compare(raise(comparison, parent, low)),
        Kind::Predicate => predicate(&comparison),
        Kind::Field | Kind::Port | Kind::ErrorMessage => Expr::Compare(comparison),
    };
    let Some(prerequisite) = symbol.prerequisite().filter(|_| add) else { return expr };
    let expr = expr.and(prerequisite.clone());
    match excepted {
        Some(set) => Expr::NoMembers { set, negated: false }.or(expr),
        None => expr,
    }
}

/// A comparison with a subfield as one with its parent.
fn raise(
    mut comparison: Comparison,
    parent: &'static crate::symbol::Symbol,
    by: u32,
) -> Comparison {
    match &mut comparison.operand {
        Operand::Numbers(numbers) => {
            for number in numbers {
                number.value <<= by;
                number.mask <<= by;
            }
        }
        Operand::AddressSet { low, .. } => *low += by,
        Operand::Ports(_) | Operand::PortGroup(_) => {}
    }
    comparison.symbol = parent;
    comparison
}

/// What a comparison of a predicate with 0 or 1 stands for.
fn predicate(comparison: &Comparison) -> Expr {
    let Some(expansion) = comparison.symbol.predicate() else {
        return Expr::Constant(false);
    };
    let Operand::Numbers(numbers) = &comparison.operand else {
        return Expr::Constant(false);
    };
    let equal = comparison.relation == Relation::Equal;
    numbers
        .iter()
        .map(|number| {
            if (number.value & 1 == 1) == equal {
                expansion.clone()
            } else {
                expansion.clone().inverted()
            }
        })
        .reduce(|a, b| if equal { a.or(b) } else { a.and(b) })
        .unwrap_or(Expr::Constant(!equal))
}
