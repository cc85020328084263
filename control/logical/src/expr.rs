//! The tree of a match.
//!
//! A [`Comparison`] keeps its set of constants together: `f == {a, b}` is one node that holds any
//! of them, `f != {a, b}` one that holds none. `!` has no node, because reading it inverts what it
//! stands before; that is what keeps prerequisites outside of it (EX-S1).

use crate::symbol::Symbol;
use ovn_xdp_datapath::classify::Masked;
use ovn_xdp_datapath::field::Slice;
use smallvec::SmallVec;

/// A Boolean expression over fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expr {
    /// `0` or `1`.
    Constant(bool),
    /// A field against constants.
    Compare(Comparison),
    /// All hold; at least two operands, none of them an `And`.
    And(Vec<Expr>),
    /// Any holds; at least two operands, none of them an `Or`.
    Or(Vec<Expr>),
    /// `is_chassis_resident("port")` (EX-G12).
    Resident {
        /// The logical port.
        port: Box<str>,
        /// Behind an odd number of `!`.
        negated: bool,
    },
    /// `$set` has no members. Only annotation makes it: see `Comparison::excepted`.
    NoMembers {
        /// Name without the sigil.
        set: Box<str>,
        /// Behind an odd number of `!`.
        negated: bool,
    },
}

/// A relational operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each is named after the operator it stands for")]
pub enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// Integers under masks, in the position of the bits of the symbol. Exactly one if the
    /// relation orders; its mask is then one run of bits, the slice that is compared.
    Numbers(SmallVec<[Masked; 1]>),
    /// `$name`, compared with the slice of the symbol that starts at `low`.
    AddressSet {
        /// Name without the sigil.
        name: Box<str>,
        /// Lowest bit compared.
        low: u32,
        /// Number of bits compared.
        bits: u32,
        /// Bits of the field as it was named, which the members must not exceed (EX-E5).
        limit: u32,
        /// If the relation orders: whether it must hold for all members, as it is written, or for
        /// any of them, behind `!`.
        all: bool,
    },
    /// Names of logical ports.
    Ports(SmallVec<[Box<str>; 1]>),
    /// `@name`, without the sigil.
    PortGroup(Box<str>),
}

/// A field against constants. `Equal` holds for any of them, `NotEqual` for none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The field; after annotation, one that is neither subfield nor predicate.
    pub symbol: &'static Symbol,
    /// The operator.
    pub relation: Relation,
    /// The constants.
    pub operand: Operand,
}

impl Relation {
    /// The operator that says the opposite.
    pub const fn inverted(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The operator that says the same with its operands exchanged.
    pub const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether this is one of the four that order.
    pub const fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether `left` stands in this relation to `right`.
    pub const fn holds(self, left: u128, right: u128) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    /// The operator as written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Comparison {
    /// The bits of the packet's context that the symbol names.
    pub fn slice(&self) -> Slice {
        self.symbol.slice
    }

    /// The address set whose members it must not be. If there are none OVN reads it as 1, and what is
    /// not compared with anything has no prerequisites either.
    pub(crate) fn excepted(&self) -> Option<&str> {
        match &self.operand {
            Operand::AddressSet { name, .. } if self.relation == Relation::NotEqual => Some(name),
            _ => None,
        }
    }

    pub(crate) fn inverted(mut self) -> Self {
        self.relation = self.relation.inverted();
        if let Operand::AddressSet { all, .. } = &mut self.operand {
            *all = !*all;
        }
        self
    }
}

impl Expr {
    /// `self && other`, kept flat.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::And(mut left), Self::And(right)) => {
                left.extend(right);
                Self::And(left)
            }
            (Self::And(mut left), right) => {
                left.push(right);
                Self::And(left)
            }
            (left, Self::And(mut right)) => {
                right.insert(0, left);
                Self::And(right)
            }
            (left, right) => Self::And(vec![left, right]),
        }
    }

    /// `self || other`, kept flat.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Or(mut left), Self::Or(right)) => {
                left.extend(right);
                Self::Or(left)
            }
            (Self::Or(mut left), right) => {
                left.push(right);
                Self::Or(left)
            }
            (left, Self::Or(mut right)) => {
                right.insert(0, left);
                Self::Or(right)
            }
            (left, right) => Self::Or(vec![left, right]),
        }
    }

    /// The expression that holds where this one does not.
    #[must_use]
    pub fn inverted(self) -> Self {
        let invert = |list: Vec<Self>| list.into_iter().map(Self::inverted).collect();
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Compare(comparison) => Self::Compare(comparison.inverted()),
            Self::And(list) => Self::Or(invert(list)),
            Self::Or(list) => Self::And(invert(list)),
            Self::Resident { port, negated } => Self::Resident { port, negated: !negated },
            Self::NoMembers { set, negated } => Self::NoMembers { set, negated: !negated },
        }
    }

    /// The symbol that every leaf mentions, if there is one and no leaf is without, now or with other
    /// members of its set.
    pub(crate) fn only_symbol(&self) -> Option<&'static Symbol> {
        match self {
            Self::Compare(comparison) if comparison.excepted().is_some() => None,
            Self::Compare(comparison) => Some(comparison.symbol),
            Self::And(list) | Self::Or(list) => {
                let first = list.first()?.only_symbol()?;
                list[1..]
                    .iter()
                    .all(|e| e.only_symbol().is_some_and(|s| std::ptr::eq(s, first)))
                    .then_some(first)
            }
            Self::Constant(_) | Self::Resident { .. } | Self::NoMembers { .. } => None,
        }
    }

    /// Calls `visit` on every comparison and residency test, in order.
    pub fn leaves<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        match self {
            Self::And(list) | Self::Or(list) => list.iter().for_each(|e| e.leaves(visit)),
            Self::Compare(_) | Self::Resident { .. } => visit(self),
            Self::Constant(_) | Self::NoMembers { .. } => {}
        }
    }
}
