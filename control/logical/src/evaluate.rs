//! The meaning of an expression, said as slowly and plainly as possible.
//!
//! This walks the tree for one packet. It shares nothing with [`crate::clauses`] and is the oracle
//! that they are tested against.

use crate::annotate::Annotated;
use crate::expr::{Comparison, Expr, Operand, Relation};
use crate::resolve::{Resolve, SetError};
use ovn_xdp_datapath::field::Context;

/// Whether a packet matches. A name that does not resolve makes its comparison false, `!=` included.
pub fn evaluate(expr: &Annotated, context: &Context, resolver: &mut impl Resolve) -> bool {
    walk(&expr.0, context, resolver)
}

fn walk(expr: &Expr, context: &Context, resolver: &mut impl Resolve) -> bool {
    match expr {
        Expr::Constant(value) => *value,
        Expr::And(list) => list.iter().all(|e| walk(e, context, resolver)),
        Expr::Or(list) => list.iter().any(|e| walk(e, context, resolver)),
        Expr::Resident { port, negated } => resolver.is_chassis_resident(port) != *negated,
        Expr::Compare(comparison) => compare(comparison, context, resolver),
    }
}

fn compare(comparison: &Comparison, context: &Context, resolver: &mut impl Resolve) -> bool {
    let value = context.get(comparison.slice());
    let among = match &comparison.operand {
        Operand::Numbers(numbers) => {
            if comparison.relation.orders() {
                return numbers.iter().all(|n| comparison.relation.holds(value & n.mask, n.value));
            }
            numbers.iter().any(|n| value & n.mask == n.value)
        }
        Operand::AddressSet { name, low, bits, limit } => {
            let ones = u128::MAX >> (128 - bits);
            match resolver.address_set(name, *limit) {
                Ok(set) => set.0.iter().any(|n| (value >> low) & ones & n.mask == n.value & ones),
                Err(SetError::Unknown | SetError::TooWide { .. }) => return false,
            }
        }
        Operand::Ports(names) => names.iter().any(|name| {
            let key = if &**name == "none" { Some(0) } else { resolver.port(name) };
            key.is_some_and(|key| u128::from(key) == value)
        }),
        Operand::PortGroup(name) => match resolver.port_group(name) {
            Some(set) => set.0.iter().any(|n| value & n.mask == n.value),
            None => return false,
        },
    };
    among == (comparison.relation == Relation::Equal)
}
