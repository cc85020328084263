//! Comparisons by equality only, and none of them constant.

use super::{Canonical, Compare, Operand};
use crate::expr::Relation;
use crate::print::run;
use ovn_xdp_datapath::classify::Masked;

impl Canonical {
    /// The same with `==` as the only operator between a field and an integer.
    #[must_use]
    pub fn simplified(self) -> Self {
        match self {
            Self::Compare(compare) => compare.simplified(),
            Self::And(list) => Self::simplified_list(list, false),
            Self::Or(list) => Self::simplified_list(list, true),
            leaf @ (Self::Constant(_) | Self::Resident { .. }) => leaf,
        }
    }

    fn simplified_list(list: Vec<Self>, or: bool) -> Self {
        Self::fixed(Self::flat(list.into_iter().map(Self::simplified), or), or)
    }

    /// The same without `is_chassis_resident`.
    #[must_use]
    pub fn resolved(self, resident: &impl Fn(&str) -> bool) -> Self {
        let (list, or) = match self {
            Self::Resident { port, negated } => return Self::Constant(resident(&port) != negated),
            Self::And(list) => (list, false),
            Self::Or(list) => (list, true),
            leaf @ (Self::Constant(_) | Self::Compare(_)) => return leaf,
        };
        Self::fixed(Self::flat(list.into_iter().map(|e| e.resolved(resident)), or), or)
    }
}

impl Compare {
    fn equal(&self, value: u128, mask: u128) -> Canonical {
        Canonical::Compare(Self {
            symbol: self.symbol,
            relation: Relation::Equal,
            operand: Operand::Number(Masked { value, mask }),
            of_set: false,
        })
    }

    fn simplified(self) -> Canonical {
        let Operand::Number(number) = self.operand else { return Canonical::Compare(self) };
        match self.relation {
            Relation::Equal if number.mask == 0 => Canonical::Constant(true),
            Relation::Equal => Canonical::Compare(self),
            Relation::NotEqual => self.differs(number),
            _ => self.ordered(number),
        }
    }

    /// One bit differs, and those above it do not: the lowest bits first.
    fn differs(&self, number: Masked) -> Canonical {
        let alternatives = (0..self.symbol.width).filter(|i| number.mask >> i & 1 == 1).map(|i| {
            let upper = u128::MAX << i;
            self.equal((number.value & upper) ^ (1 << i), number.mask & upper)
        });
        Canonical::combined(true, alternatives).unwrap_or(Canonical::Constant(false))
    }

    fn ordered(&self, number: Masked) -> Canonical {
        let Some((start, bits)) = run(number.mask) else { return Canonical::Constant(false) };
        let less = matches!(self.relation, Relation::Less | Relation::LessOrEqual);
        let or_equal = matches!(self.relation, Relation::LessOrEqual | Relation::GreaterOrEqual);
        let extreme = if less { number.mask } else { 0 };
        if number.value == extreme {
            return if or_equal { Canonical::Constant(true) } else { self.differs(number) };
        }
        let equal = or_equal.then(|| {
            let mut equal = self.clone();
            equal.relation = Relation::Equal;
            Canonical::Compare(equal)
        });
        let rest =
            (start..start + bits).filter(|z| (number.value >> z & 1 == 1) == less).map(|z| {
                let upper = u128::MAX << z;
                let mut part = self.clone();
                part.relation = Relation::Equal;
                part.operand = Operand::Number(Masked {
                    value: (number.value ^ (1 << z)) & upper,
                    mask: number.mask & upper,
                });
                Canonical::Compare(part)
            });
        Canonical::combined(true, equal.into_iter().chain(rest))
            .unwrap_or(Canonical::Constant(false))
    }
}
