//! The meaning of an expression, said as slowly and plainly as possible.
//!
//! This walks the tree for one packet. It shares nothing with [`crate::clauses`] and is the oracle
//! that they are tested against.

use crate::annotate::Annotated;
use crate::expr::{Comparison, Expr, Operand, Relation};
use crate::resolve::{Resolve, SetError};
use ovn_xdp_datapath::classify::Sets;
use ovn_xdp_datapath::field::Context;

/// Whether a packet matches. A name that does not resolve makes its comparison false, `!=` included.
/// `sets` holds what is in port groups.
pub fn evaluate(
    expr: &Annotated,
    context: &Context,
    resolver: &mut impl Resolve,
    sets: &Sets,
) -> bool {
    walk(&expr.0, context, resolver, sets)
}

fn walk(expr: &Expr, context: &Context, resolver: &mut impl Resolve, sets: &Sets) -> bool {
    match expr {
        Expr::Constant(value) => *value,
        Expr::And(list) => list.iter().all(|e| walk(e, context, resolver, sets)),
        Expr::Or(list) => list.iter().any(|e| walk(e, context, resolver, sets)),
        Expr::Resident { port, negated } => resolver.is_chassis_resident(port) != *negated,
        Expr::NoMembers { set, negated } => resolver.has_no_members(set) != *negated,
        Expr::Compare(comparison) => compare(comparison, context, resolver, sets),
    }
}

fn compare(
    comparison: &Comparison,
    context: &Context,
    resolver: &mut impl Resolve,
    sets: &Sets,
) -> bool {
    let value = context.get(comparison.slice());
    let among = match &comparison.operand {
        Operand::Numbers(numbers) => {
            if comparison.relation.orders() {
                return numbers.iter().all(|n| comparison.relation.holds(value & n.mask, n.value));
            }
            numbers.iter().any(|n| value & n.mask == n.value)
        }
        Operand::AddressSet { name, low, bits, limit, all } => {
            let ones = u128::MAX >> (128 - bits);
            let list = match resolver.address_list(name, *limit) {
                Ok(list) => list,
                Err(SetError::Unknown | SetError::TooWide { .. }) => return false,
            };
            let relation = comparison.relation;
            let value = (value >> low) & ones;
            if relation.orders() {
                let mut holds = list.iter().map(|n| relation.holds(value & n.mask, n.value & ones));
                return if *all { holds.all(|it| it) } else { holds.any(|it| it) };
            }
            list.iter().any(|n| value & n.mask == n.value & ones)
        }
        Operand::Ports(names) => names.iter().any(|name| {
            let key = if &**name == "none" { Some(0) } else { resolver.port(name) };
            key.is_some_and(|key| u128::from(key) == value)
        }),
        Operand::PortGroup(name) => match resolver.port_group(name) {
            Some(set) => sets.contains(set, value),
            None => return false,
        },
    };
    among == (comparison.relation == Relation::Equal)
}
