//! Expressions as text, in OVN's notation: constants in hexadecimal, single bits as bare fields.
//!
//! What is printed reads back as an expression of the same meaning.

use crate::constant::Quoted;
use crate::expr::{Comparison, Expr, Operand, Relation};
use ovn_xdp_datapath::classify::Masked;
use std::fmt;

pub(crate) struct Hex(pub(crate) u128);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// The one run of bits of a mask: its lowest bit and its length.
pub(crate) fn run(mask: u128) -> Option<(u32, u32)> {
    if mask == 0 {
        return None;
    }
    let (low, bits) = (mask.trailing_zeros(), mask.count_ones());
    (mask >> low == u128::MAX >> (128 - bits)).then_some((low, bits))
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut item: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if let [only] = items {
        return item(f, only);
    }
    f.write_str("{")?;
    for (i, each) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item(f, each)?;
    }
    f.write_str("}")
}

impl Comparison {
    fn numbers(&self, f: &mut fmt::Formatter<'_>, numbers: &[Masked]) -> fmt::Result {
        let (name, width) = (self.symbol.name, self.symbol.width);
        // Values under different masks cannot share a slice.
        let slice = numbers
            .first()
            .filter(|first| numbers.iter().all(|n| n.mask == first.mask))
            .and_then(|first| run(first.mask));
        match (slice, numbers) {
            (Some((low, 1)), [only]) if !self.relation.orders() => {
                let positive = (only.value != 0) == (self.relation == Relation::Equal);
                f.write_str(if positive { "" } else { "!" })?;
                f.write_str(name)?;
                return if width > 1 { write!(f, "[{low}]") } else { Ok(()) };
            }
            (Some((low, bits)), _) if bits < width => match bits {
                1 => write!(f, "{name}[{low}]")?,
                _ => write!(f, "{name}[{low}..{}]", low + bits - 1)?,
            },
            _ => f.write_str(name)?,
        }
        write!(f, " {} ", self.relation.as_str())?;
        list(f, numbers, |f, n| match slice {
            Some((low, _)) => write!(f, "{}", Hex(n.value >> low)),
            None => write!(f, "{:#x}/{:#x}", n.value, n.mask),
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, relation) = (self.symbol.name, self.relation.as_str());
        if let Operand::AddressSet { all: false, .. } = self.operand
            && self.relation.orders()
        {
            return write!(f, "!({})", self.clone().inverted());
        }
        match &self.operand {
            Operand::Numbers(numbers) => self.numbers(f, numbers),
            Operand::AddressSet { name: set, low, bits, .. } if *bits == self.symbol.width => {
                debug_assert_eq!(*low, 0);
                write!(f, "{name} {relation} ${set}")
            }
            Operand::AddressSet { name: set, low, bits, .. } => {
                write!(f, "{name}[{low}..{}] {relation} ${set}", low + bits - 1)
            }
            Operand::Ports(names) => {
                write!(f, "{name} {relation} ")?;
                list(f, names, |f, name| write!(f, "{}", Quoted(name)))
            }
            Operand::PortGroup(group) => write!(f, "{name} {relation} @{group}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operands, operator) = match self {
            Self::Constant(value) => return f.write_str(if *value { "1" } else { "0" }),
            Self::Compare(comparison) => return comparison.fmt(f),
            Self::Resident { port, negated } => {
                f.write_str(if *negated { "!" } else { "" })?;
                return write!(f, "is_chassis_resident({})", Quoted(port));
            }
            // OVN has no words for it: it knows the members before it annotates.
            Self::NoMembers { set, negated } => {
                return write!(f, "${set} {} {{}}", if *negated { "!=" } else { "==" });
            }
            Self::And(list) => (list, " && "),
            Self::Or(list) => (list, " || "),
        };
        chain(f, operands, operator, |operand| matches!(operand, Self::And(_) | Self::Or(_)))
    }
}

/// Operands with an operator between them, those that are chains themselves in parentheses.
pub(crate) fn chain<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    operands: &[T],
    operator: &str,
    is_chain: impl Fn(&T) -> bool,
) -> fmt::Result {
    for (i, operand) in operands.iter().enumerate() {
        if i > 0 {
            f.write_str(operator)?;
        }
        if is_chain(operand) {
            write!(f, "({operand})")?;
        } else {
            write!(f, "{operand}")?;
        }
    }
    Ok(())
}
