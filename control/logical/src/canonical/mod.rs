//! Matches in the form that OVN gives them, to compare the two.
//!
//! OVN's own tree has one node for each constant; the tree that is compiled here keeps sets
//! together ([`crate::expr`]). A [`Canonical`] is OVN's: it takes the same steps
//! ([`annotated`](Canonical::annotated), [`simplified`](Canonical::simplified),
//! [`resolved`](Canonical::resolved), [`normalized`](Canonical::normalized)), with operands in the
//! same order, and prints the same text. No flow is compiled from it.

mod annotate;
mod microflow;
mod normalize;
mod print;
mod simplify;

pub use annotate::AnnotateError;
pub(crate) use annotate::prerequisite;
pub use microflow::MicroflowError;

use crate::constant::Number;
use crate::error::Error;
use crate::expr::{Comparison, Expr, Operand as SetOperand, Relation};
use crate::field::FieldRef;
use crate::parse::{Constant, Constants, Grower, List, read};
use crate::symbol::{Symbol, Symbols};
use ovn_xdp_datapath::classify::Masked;
use ovn_xdp_datapath::field::Context;
use std::collections::BTreeMap;

/// A match as a tree in which each comparison has one constant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Canonical {
    /// `0` or `1`.
    Constant(bool),
    /// A field against a constant.
    Compare(Compare),
    /// All hold.
    And(Vec<Canonical>),
    /// Any holds.
    Or(Vec<Canonical>),
    /// `is_chassis_resident("port")`
    Resident {
        /// The logical port.
        port: Box<str>,
        /// Behind an odd number of `!`.
        negated: bool,
    },
}

/// A field against one constant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compare {
    /// The field.
    pub symbol: &'static Symbol,
    /// The operator.
    pub relation: Relation,
    /// The constant.
    pub operand: Operand,
    /// Whether the constant is of an address set, whose members OVN keeps apart.
    of_set: bool,
}

/// What a field is compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// An integer under a mask, in the position of the symbol's bits.
    Number(Masked),
    /// The name of a logical port.
    Port(Box<str>),
}

/// What the names in a match stand for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Address sets: `$name`.
    pub address_sets: BTreeMap<String, Vec<Number>>,
    /// Port groups and the names of their ports: `@name`.
    pub port_groups: BTreeMap<String, Vec<String>>,
}

impl Names {
    /// No set and no group.
    pub const NONE: Self = Self { address_sets: BTreeMap::new(), port_groups: BTreeMap::new() };
}

/// Reads a match.
///
/// # Errors
/// The first problem in the text, an unknown set or group among them.
pub fn parse(text: &str, symbols: &Symbols, names: &Names) -> Result<Canonical, Error> {
    read(text, symbols, names)
}

impl Grower for Names {
    type Tree = Canonical;

    fn address_set<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool {
        let Some(set) = self.address_sets.get(name) else { return false };
        let mut members = set.clone();
        // As OVN sorts them: by value, masked ones first.
        members.sort_by_key(|m| (m.value, m.mask.is_none(), m.mask));
        to.extend(members.into_iter().map(Constant::Member));
        true
    }

    fn port_group<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool {
        let Some(ports) = self.port_groups.get(name) else { return false };
        to.extend(ports.iter().map(|port| Constant::Text(port.clone().into())));
        true
    }

    fn constant(&self, value: bool) -> Canonical {
        Canonical::Constant(value)
    }

    fn resident(&self, port: Box<str>) -> Canonical {
        Canonical::Resident { port, negated: false }
    }

    fn compare(
        &self,
        field: &FieldRef,
        relation: Relation,
        constants: &Constants<'_>,
    ) -> Canonical {
        let number = |number: &Number, of_set| Compare {
            symbol: field.symbol,
            relation,
            operand: Operand::Number(field.placed(number)),
            of_set,
        };
        let list = constants.list.iter().map(|constant| match constant {
            Constant::Number(value) => number(value, false),
            Constant::Member(value) => number(value, true),
            Constant::Text(name) => Compare {
                symbol: field.symbol,
                relation,
                operand: Operand::Port((&**name).into()),
                of_set: false,
            },
            Constant::Set(name) | Constant::Group(name) => Compare {
                symbol: field.symbol,
                relation,
                operand: Operand::Port((*name).into()),
                of_set: false,
            },
        });
        Canonical::combined(relation == Relation::Equal, list.map(Canonical::Compare))
            .unwrap_or(Canonical::Constant(relation == Relation::NotEqual))
    }

    fn and(&self, left: Canonical, right: Canonical) -> Canonical {
        left.and(right)
    }

    fn or(&self, left: Canonical, right: Canonical) -> Canonical {
        left.or(right)
    }

    fn inverted(&self, tree: Canonical) -> Canonical {
        tree.inverted()
    }
}

impl From<&Expr> for Canonical {
    /// The same in OVN's form. A set or group that is still a name becomes `false`.
    fn from(expr: &Expr) -> Self {
        let all = |list: &[Expr], or| {
            Self::combined(or, list.iter().map(Self::from)).unwrap_or(Self::Constant(!or))
        };
        match expr {
            Expr::Constant(value) => Self::Constant(*value),
            Expr::NoMembers { negated, .. } => Self::Constant(*negated),
            Expr::Resident { port, negated } => {
                Self::Resident { port: port.clone(), negated: *negated }
            }
            Expr::And(list) => all(list, false),
            Expr::Or(list) => all(list, true),
            Expr::Compare(comparison) => comparison.into(),
        }
    }
}

impl From<&Comparison> for Canonical {
    fn from(comparison: &Comparison) -> Self {
        let (symbol, relation) = (comparison.symbol, comparison.relation);
        let compare = |operand| Self::Compare(Compare { symbol, relation, operand, of_set: false });
        let or = relation != Relation::NotEqual;
        match &comparison.operand {
            SetOperand::Numbers(numbers) => {
                Self::combined(or, numbers.iter().map(|&n| compare(Operand::Number(n))))
            }
            SetOperand::Ports(names) => {
                Self::combined(or, names.iter().map(|n| compare(Operand::Port(n.clone()))))
            }
            SetOperand::AddressSet { .. } | SetOperand::PortGroup(_) => None,
        }
        .unwrap_or(Self::Constant(!or))
    }
}

impl Canonical {
    /// An OR or an AND of all, or `None` of nothing.
    fn combined(or: bool, list: impl IntoIterator<Item = Self>) -> Option<Self> {
        list.into_iter().reduce(|a, b| if or { a.or(b) } else { a.and(b) })
    }

    /// `self && other`, kept flat.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::And(match (self, other) {
            (Self::And(left), Self::And(right)) => [left, right].concat(),
            (Self::And(mut left), right) => {
                left.push(right);
                left
            }
            (left, Self::And(mut right)) => {
                right.insert(0, left);
                right
            }
            (left, right) => vec![left, right],
        })
    }

    /// `self || other`, kept flat.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Or(match (self, other) {
            (Self::Or(left), Self::Or(right)) => [left, right].concat(),
            (Self::Or(mut left), right) => {
                left.push(right);
                left
            }
            (left, Self::Or(mut right)) => {
                right.insert(0, left);
                right
            }
            (left, right) => vec![left, right],
        })
    }

    /// What holds where this does not.
    #[must_use]
    pub fn inverted(self) -> Self {
        let invert = |list: Vec<Self>| list.into_iter().map(Self::inverted).collect();
        match self {
            Self::Constant(value) => Self::Constant(!value),
            Self::Compare(mut compare) => {
                compare.relation = compare.relation.inverted();
                Self::Compare(compare)
            }
            Self::And(list) => Self::Or(invert(list)),
            Self::Or(list) => Self::And(invert(list)),
            Self::Resident { port, negated } => Self::Resident { port, negated: !negated },
        }
    }

    /// The symbol that every leaf mentions, if there is one and no leaf is without.
    fn only_symbol(&self) -> Option<&'static Symbol> {
        match self {
            Self::Compare(compare) => Some(compare.symbol),
            Self::And(list) | Self::Or(list) => {
                let first = list.first()?.only_symbol()?;
                list[1..].iter().all(|e| e.only_symbol() == Some(first)).then_some(first)
            }
            Self::Constant(_) | Self::Resident { .. } => None,
        }
    }

    /// Operands put into a list of which they become part, if they are of its kind.
    fn flat(list: impl IntoIterator<Item = Self>, or: bool) -> Vec<Self> {
        let mut flat = Vec::new();
        for each in list {
            match each {
                Self::And(inner) if !or => flat.extend(inner),
                Self::Or(inner) if or => flat.extend(inner),
                other => flat.push(other),
            }
        }
        flat
    }

    /// An OR or AND without constants and with at least two operands, or what that comes to.
    fn fixed(list: Vec<Self>, or: bool) -> Self {
        if list.contains(&Self::Constant(or)) {
            return Self::Constant(or);
        }
        let mut list: Vec<Self> =
            list.into_iter().filter(|e| !matches!(e, Self::Constant(_))).collect();
        match list.len() {
            0 => Self::Constant(!or),
            1 => list.remove(0),
            _ if or => Self::Or(list),
            _ => Self::And(list),
        }
    }

    /// Whether a packet matches; every port counts as resident, and a port that `port` does not
    /// know makes its comparison false.
    pub fn holds(&self, context: &Context, port: &impl Fn(&str) -> Option<u32>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::And(list) => list.iter().all(|e| e.holds(context, port)),
            Self::Or(list) => list.iter().any(|e| e.holds(context, port)),
            Self::Resident { negated, .. } => !negated,
            Self::Compare(compare) => {
                let value = context.get(compare.symbol.slice);
                match &compare.operand {
                    Operand::Number(n) => compare.relation.holds(value & n.mask, n.value),
                    Operand::Port(name) => {
                        port(name).is_some_and(|key| compare.relation.holds(value, key.into()))
                    }
                }
            }
        }
    }
}
