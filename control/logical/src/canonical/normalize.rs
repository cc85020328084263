//! An OR of ANDs of tests of single fields: the form from which OVN makes OpenFlow.
//!
//! Every test of one field is a comparison, or an OR of comparisons, after [`crush`]. Operands of an
//! AND are sorted by the name of their field.

use super::{Canonical, Compare, Operand};
use crate::expr::Relation;
use crate::symbol::{Level, Symbol};
use ovn_xdp_datapath::classify::Masked;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Fields whose alternatives OVN multiplies out, because what else can be compared depends on them.
const CROSS_PRODUCT: [&str; 4] = ["eth.type", "ip.proto", "icmp6.type", "icmp6.code"];

const EVERYTHING: Masked = Masked { value: 0, mask: 0 };

impl Canonical {
    /// The normal form of what was simplified and resolved.
    #[must_use]
    pub fn normalized(self) -> Self {
        match self {
            Self::And(list) => and(list),
            Self::Or(list) => or(list),
            leaf => leaf,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Compare(_) => 0,
            Self::And(_) => 1,
            Self::Or(_) => 2,
            Self::Constant(_) => 3,
            Self::Resident { .. } => 4,
        }
    }
}

fn intersect(a: Masked, b: Masked) -> Option<Masked> {
    ((a.value ^ b.value) & a.mask & b.mask == 0)
        .then_some(Masked { value: a.value | b.value, mask: a.mask | b.mask })
}

fn and(list: Vec<Canonical>) -> Canonical {
    let mut list = match sorted(list) {
        Canonical::And(list) => list,
        other => return other,
    };
    let mut at = 0;
    while at + 1 < list.len() {
        let (Canonical::Compare(a), Canonical::Compare(b)) = (&list[at], &list[at + 1]) else {
            at += 1;
            continue;
        };
        if a.symbol != b.symbol {
            at += 1;
            continue;
        }
        match (&a.operand, &b.operand) {
            (&Operand::Number(x), &Operand::Number(y)) => match intersect(x, y) {
                Some(both) => {
                    let mut compare = b.clone();
                    compare.operand = Operand::Number(both);
                    list[at + 1] = Canonical::Compare(compare);
                }
                None => return Canonical::Constant(false),
            },
            (x, y) if x != y => return Canonical::Constant(false),
            _ => {}
        }
        list.remove(at);
    }
    if list.len() == 1 {
        return list.remove(0);
    }
    let multiplied = |e: &Canonical| {
        matches!(e, Canonical::Or(_))
            && e.only_symbol().is_none_or(|symbol| CROSS_PRODUCT.contains(&symbol.name))
    };
    let Some(at) = list.iter().position(multiplied) else { return Canonical::And(list) };
    let Canonical::Or(alternatives) = list[at].clone() else { return Canonical::And(list) };
    let product = alternatives.into_iter().map(|alternative| {
        let mut operands = list.clone();
        operands[at] = alternative;
        Canonical::And(Canonical::flat(operands, false))
    });
    or(product.collect())
}

fn or(list: Vec<Canonical>) -> Canonical {
    let mut normal = Vec::with_capacity(list.len());
    for each in list {
        let Canonical::And(operands) = each else {
            normal.push(each);
            continue;
        };
        match and(operands) {
            Canonical::Constant(true) => return Canonical::Constant(true),
            Canonical::Constant(false) => {}
            Canonical::Or(inner) => normal.extend(inner),
            other => normal.push(other),
        }
    }
    match normal.len() {
        0 => Canonical::Constant(false),
        1 => normal.remove(0),
        _ => Canonical::Or(normal),
    }
}

/// Sorts the operands of an AND and joins those of one field.
fn sorted(list: Vec<Canonical>) -> Canonical {
    let mut list: Vec<(Option<&'static Symbol>, Canonical)> =
        list.into_iter().map(|each| (each.only_symbol(), each)).collect();
    list.sort_by(|(a_symbol, a), (b_symbol, b)| {
        let rank = |symbol: &Option<_>, e: &Canonical| if symbol.is_some() { 0 } else { e.rank() };
        let by_rank = rank(a_symbol, a).cmp(&rank(b_symbol, b));
        by_rank.then_with(|| match (a_symbol, b_symbol, a, b) {
            (Some(a), Some(b), _, _) => a.name.cmp(b.name),
            (_, _, Canonical::And(a) | Canonical::Or(a), Canonical::And(b) | Canonical::Or(b)) => {
                a.len().cmp(&b.len())
            }
            _ => Ordering::Equal,
        })
    });
    let mut joined: Option<Canonical> = None;
    let mut join = |each: Canonical| {
        joined = Some(match joined.take() {
            Some(before) => before.and(each),
            None => each,
        });
    };
    let mut rest = list.into_iter().peekable();
    while let Some((symbol, first)) = rest.next() {
        let Some(symbol) = symbol else {
            join(first);
            continue;
        };
        let mut together = first;
        while let Some((_, next)) = rest.next_if(|(other, _)| *other == Some(symbol)) {
            together = together.and(next);
        }
        match crush(together, symbol) {
            Canonical::Constant(false) => return Canonical::Constant(false),
            Canonical::Constant(true) => {}
            other => join(other),
        }
    }
    joined.unwrap_or(Canonical::Constant(true))
}

/// A comparison, an OR of comparisons, or a constant, of what tests one field.
fn crush(node: Canonical, symbol: &'static Symbol) -> Canonical {
    match node {
        Canonical::Or(list) => crush_or(list, symbol),
        Canonical::And(list) if symbol.width == 0 => crush_ports(list, symbol),
        Canonical::And(list) => crush_numbers(list, symbol),
        leaf => leaf,
    }
}

fn crush_or(list: Vec<Canonical>, symbol: &'static Symbol) -> Canonical {
    let crushed = list.into_iter().map(|each| crush(each, symbol));
    match Canonical::fixed(Canonical::flat(crushed, true), true) {
        Canonical::Or(list) => {
            let compares = list.into_iter().filter_map(|each| match each {
                Canonical::Compare(compare) => Some(compare),
                _ => None,
            });
            let kept = without_subsets(compares.collect(), symbol);
            Canonical::fixed(kept.into_iter().map(Canonical::Compare).collect(), true)
        }
        other => other,
    }
}

/// Sorts alternatives; drops those that say nothing new.
fn without_subsets(mut list: Vec<Compare>, symbol: &Symbol) -> Vec<Compare> {
    let of_set = list.iter().any(|compare| compare.of_set);
    let number = |compare: &Compare| match compare.operand {
        Operand::Number(number) => number,
        Operand::Port(_) => EVERYTHING,
    };
    list.sort_by(|a, b| match (&a.operand, &b.operand) {
        (Operand::Port(a), Operand::Port(b)) => a.cmp(b),
        _ => {
            let key = |c| {
                let n = number(c);
                (n.mask.count_ones(), n.value, n.mask)
            };
            key(a).cmp(&key(b))
        }
    });
    list.dedup_by(|next, kept| {
        let same = next.operand == kept.operand;
        kept.of_set &= !same;
        same
    });
    if symbol.width == 0 || symbol.level != Level::Ordinal || of_set {
        return list;
    }
    // The masks are few, however many the values are.
    let mut seen: HashMap<u128, HashSet<u128>> = HashMap::new();
    list.retain(|compare| {
        let new = number(compare);
        let covers = |(mask, values): (&u128, &HashSet<u128>)| {
            mask & !new.mask == 0 && values.contains(&(new.value & mask))
        };
        let is_new = !seen.iter().any(covers);
        if is_new {
            seen.entry(new.mask).or_default().insert(new.value);
        }
        is_new
    });
    list
}

fn crush_ports(list: Vec<Canonical>, symbol: &'static Symbol) -> Canonical {
    let mut single: Option<Compare> = None;
    let mut choices: Vec<Vec<Canonical>> = Vec::new();
    for each in list {
        match crush(each, symbol) {
            Canonical::Compare(compare) => match &single {
                Some(before) if before.operand != compare.operand => {
                    return Canonical::Constant(false);
                }
                Some(_) => {}
                None => single = Some(compare),
            },
            Canonical::Or(choice) => choices.push(choice),
            Canonical::Constant(false) => return Canonical::Constant(false),
            _ => {}
        }
    }
    let among = |choice: &[Canonical], compare: &Compare| {
        choice.iter().any(|e| matches!(e, Canonical::Compare(c) if c.operand == compare.operand))
    };
    if let Some(single) = single {
        return if choices.iter().all(|choice| among(choice, &single)) {
            Canonical::Compare(single)
        } else {
            Canonical::Constant(false)
        };
    }
    let mut choices = choices.into_iter();
    let Some(first) = choices.next() else { return Canonical::Constant(true) };
    let kept = choices.fold(first, |kept, choice| {
        let both = |e: &Canonical| matches!(e, Canonical::Compare(c) if among(&choice, c));
        kept.into_iter().filter(both).collect()
    });
    Canonical::fixed(kept, true)
}

fn numbers(list: &[Canonical]) -> impl Iterator<Item = (&Compare, Masked)> {
    list.iter().filter_map(|each| match each {
        Canonical::Compare(compare) => match compare.operand {
            Operand::Number(number) => Some((compare, number)),
            Operand::Port(_) => None,
        },
        _ => None,
    })
}

fn crush_numbers(list: Vec<Canonical>, symbol: &'static Symbol) -> Canonical {
    let mut common = EVERYTHING;
    let mut choices: Vec<Vec<Canonical>> = Vec::new();
    for each in list {
        match crush(each, symbol) {
            Canonical::Compare(Compare { operand: Operand::Number(number), .. }) => {
                match intersect(common, number) {
                    Some(both) => common = both,
                    None => return Canonical::Constant(false),
                }
            }
            Canonical::Or(choice) => choices.push(choice),
            Canonical::Constant(false) => return Canonical::Constant(false),
            _ => {}
        }
    }
    let equal = |number| Compare {
        symbol,
        relation: Relation::Equal,
        operand: Operand::Number(number),
        of_set: false,
    };
    let mut choices = choices.into_iter();
    let (first, second) = match (choices.next(), choices.next()) {
        (None, _) if common.mask == 0 => return Canonical::Constant(true),
        (None, _) => return Canonical::Compare(equal(common)),
        (Some(only), None) => {
            let narrowed = numbers(&only).filter_map(|(compare, number)| {
                let operand = Operand::Number(intersect(common, number)?);
                Some(Canonical::Compare(Compare { operand, ..compare.clone() }))
            });
            return match Canonical::fixed(narrowed.collect(), true) {
                Canonical::Or(list) => crush_or(list, symbol),
                other => other,
            };
        }
        (Some(first), Some(second)) => (first, second),
    };
    let mut product = Vec::new();
    for (_, a) in numbers(&first) {
        let Some(a) = intersect(common, a) else { continue };
        for (_, b) in numbers(&second) {
            product.extend(intersect(a, b).map(|both| Canonical::Compare(equal(both))));
        }
    }
    let product = match product.len() {
        0 => return Canonical::Constant(false),
        1 => product.remove(0),
        _ => Canonical::Or(product),
    };
    let mut together = vec![product];
    together.extend(choices.map(Canonical::Or));
    match together.len() {
        1 => crush(together.remove(0), symbol),
        _ => crush_numbers(together, symbol),
    }
}
