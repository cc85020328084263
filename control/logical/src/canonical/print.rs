//! OVN's own text of a match: constants in hexadecimal, single bits as bare fields.

use super::{Canonical, Compare, Operand};
use crate::constant::Quoted;
use crate::expr::Relation;
use crate::print::{Hex, chain, run};
use std::fmt;

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, width) = (self.symbol.name, self.symbol.width);
        let number = match &self.operand {
            Operand::Port(port) => {
                return write!(f, "{name} {} {}", self.relation.as_str(), Quoted(port));
            }
            Operand::Number(number) => number,
        };
        let slice = run(number.mask);
        match slice {
            Some((low, 1)) if !self.relation.orders() => {
                let positive = (number.value != 0) == (self.relation == Relation::Equal);
                f.write_str(if positive { "" } else { "!" })?;
                f.write_str(name)?;
                return if width > 1 { write!(f, "[{low}]") } else { Ok(()) };
            }
            Some((low, 1)) if width > 1 => write!(f, "{name}[{low}]")?,
            Some((low, bits)) if bits < width => write!(f, "{name}[{low}..{}]", low + bits - 1)?,
            _ => f.write_str(name)?,
        }
        write!(f, " {} ", self.relation.as_str())?;
        match slice {
            Some((low, _)) => write!(f, "{}", Hex(number.value >> low)),
            None => write!(f, "{}/{}", Hex(number.value), Hex(number.mask)),
        }
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operands, operator) = match self {
            Self::Constant(value) => return f.write_str(if *value { "1" } else { "0" }),
            Self::Compare(compare) => return compare.fmt(f),
            Self::Resident { port, negated } => {
                f.write_str(if *negated { "!" } else { "" })?;
                return write!(f, "is_chassis_resident({})", Quoted(port));
            }
            Self::And(list) => (list, " && "),
            Self::Or(list) => (list, " || "),
        };
        chain(f, operands, operator, |operand| matches!(operand, Self::And(_) | Self::Or(_)))
    }
}
