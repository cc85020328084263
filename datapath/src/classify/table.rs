//! A logical table as workers look it up; [`Rules`] makes it.

use super::group::{Best, Group};
use super::guarded::Guarded;
use super::plan::Pair;
use super::rules::{ByFlow, MOST_PAIRS, Rules};
use super::screen::Screen;
use super::sets::{Domain, Sets};
use super::trie::Trie;
use super::{Rank, Rule};
use crate::field::{Context, Slice};
use crate::key::FlowId;
use crate::program::{Op, Pipeline};
use std::sync::Arc;

/// The rules of one logical table of one datapath.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rules: Trie<ByFlow>,
    /// The best of those that take whatever comes.
    always: Option<Rule>,
    shape: Shape,
    guarded: Guarded,
    pairs: Arc<[Pair]>,
}

/// A table whose first rule takes whatever comes and does nothing but `next`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// The pipeline and table that come next.
    pub to: (Pipeline, u8),
    /// The rule's row.
    pub flow: FlowId,
}

/// What was found in a table.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The rule of the highest priority that matches.
    pub rule: Option<&'a Rule>,
    /// What was asked of the sets on the way; see [`Table::pairs`].
    pub asked: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Shape {
    /// A rule that matches whatever comes is the best, or there is none.
    #[default]
    Constant,
    /// Few enough to try one after the other.
    Linear(Arc<[Rule]>),
    /// Hashed, and what is too little to be hashed.
    Hashed(Arc<[Arc<Group>]>, Screen),
}

impl Table {
    /// A table of these rules, each of another flow; they may come in any order. Of rules with the
    /// same priority and match, one that passes the packet on wins over one that drops it (EX-S9).
    pub fn new(rules: Vec<Rule>) -> Self {
        let (mut all, many) = (Rules::default(), rules.len());
        rules.into_iter().for_each(|rule| all.insert(rule));
        debug_assert_eq!(all.len(), many, "a flow has one rule in a table");
        all.table()
    }

    pub(super) fn made(
        rules: Trie<ByFlow>,
        always: Option<Rule>,
        shape: Shape,
        guarded: Guarded,
        pairs: Arc<[Pair]>,
    ) -> Self {
        // Where nothing is chosen, nothing is consulted.
        let guarded = if matches!(shape, Shape::Constant) { Guarded::default() } else { guarded };
        Self { rules, always, shape, guarded, pairs }
    }

    /// The rule of the highest priority that matches.
    #[inline]
    pub fn lookup(&self, context: &Context, sets: &Sets) -> Option<&Rule> {
        self.find(context, sets).rule
    }

    /// The rule of the highest priority that matches, and what was asked of the sets.
    #[inline]
    pub fn find(&self, context: &Context, sets: &Sets) -> Found<'_> {
        match &self.shape {
            Shape::Constant => Found { rule: self.always.as_ref(), asked: 0 },
            Shape::Linear(rules) => {
                let found = rules.iter().find(|rule| rule.matches(context, sets));
                let asked = if self.pairs.is_empty() { 0 } else { u32::MAX };
                Found { rule: found, asked }
            }
            Shape::Hashed(groups, screen) => {
                let always = self.always.as_ref();
                let rank = always.map_or(Rank::LAST, Rank::of);
                let mut best = Best { rank, rule: always, pairs: 0 };
                for group in &**groups {
                    if group.best > best.rank.order {
                        break;
                    }
                    group.search(context, sets, &mut best);
                }
                screen.search(context, sets, &mut best);
                Found { rule: best.rule, asked: best.pairs }
            }
        }
    }

    /// The same, by trying one rule after the other.
    pub fn linear(&self, context: &Context, sets: &Sets) -> Option<&Rule> {
        let matching = self.rules.iter().filter(|it| it.0.matches(context, sets));
        matching.map(|it| &it.0).min_by_key(|rule| Rank::of(rule))
    }

    /// The fields that were compared with shared sets, and the sets' domains, from [`Found::asked`].
    #[inline]
    pub fn pairs(&self, asked: u32) -> impl Iterator<Item = (Slice, Domain)> + '_ {
        let bit = |at: usize| 1u32 << at.min(MOST_PAIRS - 1);
        let pairs = self.pairs.iter().enumerate();
        pairs.filter(move |(at, _)| asked & bit(*at) != 0).map(|(_, pair)| *pair)
    }

    /// Where every packet goes on to, if the table does nothing else: most tables of most datapaths.
    pub fn pass(&self) -> Option<Pass> {
        let rule = self.always.as_ref().filter(|_| matches!(self.shape, Shape::Constant))?;
        match **rule.program() {
            [Op::Next(pipeline, table)] => Some(Pass { to: (pipeline, table), flow: rule.flow() }),
            _ => None,
        }
    }

    /// All rules, in the order in which they win.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let mut rules: Vec<&Rule> = self.rules.iter().map(|it| &it.0).collect();
        rules.sort_unstable_by_key(|rule| Rank::of(rule));
        rules.into_iter()
    }

    /// One of the rules, whichever.
    pub fn any_rule(&self) -> Option<&Rule> {
        self.rules.iter().next().map(|it| &it.0)
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.len() == 0
    }

    /// How the table is looked up: `constant`, `linear`, `exact` (one hash), `prefix` (a hash for
    /// each prefix length of one field), `sets` (rules that choose by shared sets), `ranges` (rules
    /// that take a range of values each), `lists` (rules told apart by what they except, or by further
    /// lists), `tuples`, or `screen` (many groups of few clauses, looked up together, beside whatever
    /// is hashed).
    pub fn structure(&self) -> &'static str {
        let Shape::Hashed(groups, screen) = &self.shape else {
            return if matches!(self.shape, Shape::Constant) { "constant" } else { "linear" };
        };
        let slots = |group: &Group| group.look.bits.iter().map(|bits| bits.0).collect::<Vec<_>>();
        let prefix = |mask: u128| {
            let run = mask >> mask.trailing_zeros().min(127);
            run & run.wrapping_add(1) == 0
        };
        match &**groups {
            _ if screen.len() > 0 => "screen",
            groups if groups.iter().any(|group| !group.look.pivots.is_empty()) => "sets",
            groups if groups.iter().any(|group| group.look.range.is_some()) => "ranges",
            groups if groups.iter().any(|group| group.is_crowded()) => "lists",
            [_] => "exact",
            [first, ..]
                if groups.iter().all(|group| {
                    slots(group) == slots(first) && group.look.bits.iter().all(|it| prefix(it.1))
                }) =>
            {
                "prefix"
            }
            _ => "tuples",
        }
    }

    /// Groups that are hashed, and entries in them.
    pub fn size(&self) -> (usize, usize) {
        match &self.shape {
            Shape::Hashed(groups, screen) => {
                let entries = groups.iter().map(|group| group.entries()).sum::<usize>();
                (groups.len(), entries + screen.len())
            }
            _ => (0, 0),
        }
    }

    /// Bytes that the table takes, its rules' matches and programs apart.
    pub fn bytes(&self) -> usize {
        let shape = match &self.shape {
            Shape::Constant => 0,
            Shape::Linear(rules) => size_of_val(&**rules),
            Shape::Hashed(groups, screen) => {
                screen.bytes() + groups.iter().map(|group| 8 + group.bytes()).sum::<usize>()
            }
        };
        size_of::<Self>() + self.rules.bytes() + shape
    }

    /// Bits of the guarded slot that the choice of `chosen` depended on, given all other fields.
    #[inline]
    pub fn consulted(&self, context: &Context, sets: &Sets, chosen: Option<&Rule>) -> u128 {
        self.guarded.consulted(context, sets, chosen)
    }
}
