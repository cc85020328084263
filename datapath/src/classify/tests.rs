//! The oracle is each rule's clauses, tried one after the other, with the members of shared sets in
//! plain lists; packets are made to hit each rule, and to miss it by a bit.

mod hostile;
mod ranges;

use super::groups::Groups;
use super::*;
use crate::field::{self, GUARDED_SLOT};
use crate::key::{DatapathKey, FlowId};
use crate::program::Op;
use crate::program::Pipeline;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const FIELDS: [Slice; 8] = [
    field::INPORT,
    field::OUTPORT,
    field::ETH_DST,
    field::ETH_TYPE,
    field::IP4_SRC,
    field::IP6_DST,
    field::TP_DST,
    field::IP_TTL,
];

/// Shared sets of each field.
const SETS: u32 = 3;

fn masked(field: Slice) -> impl Strategy<Value = Masked> {
    // Few values and prefixes, so that rules overlap, and masks of all kinds.
    let width = field.width();
    let prefix = prop_oneof![4 => Just(width), 1 => 0..=width]
        .prop_map(move |it| if it == 0 { 0 } else { field.ones() << (width - it) & field.ones() });
    let mask = prop_oneof![4 => prefix, 1 => any::<u128>().prop_map(move |it| it & field.ones())];
    (0..6u128, mask).prop_map(move |(value, mask)| Masked {
        value: (value | value << (width - 3)) & mask,
        mask,
    })
}

/// Set number `number` of a field.
fn shared(field: usize, number: u32) -> SharedSet {
    let domain = match FIELDS[field] {
        field::INPORT | field::OUTPORT => Domain::Ports(DatapathKey::new(1).unwrap()),
        field => Domain::Width(field.width() as u8),
    };
    let number = match FIELDS[field] {
        field::OUTPORT => number,
        _ => field as u32 * SETS + number,
    };
    SharedSet { id: SetId(number), domain }
}

fn literal_of(field: usize, negated: bool) -> impl Strategy<Value = Literal> {
    let one = move || masked(FIELDS[field]);
    let made = move |values: Values<'_>| Literal::new(FIELDS[field], values, negated);
    let list = move |list: Vec<Masked>| made(Values::Any(&list));
    let width = FIELDS[field].width();
    let range = (0..8u128, 1..9u128, 0..width).prop_map(move |(low, more, shift)| Range {
        low: low << shift & FIELDS[field].ones(),
        high: (low + more) << shift & FIELDS[field].ones(),
    });
    let range = range.prop_filter("not empty", |range| range.low <= range.high);
    prop_oneof![
        2 => range.prop_map(move |range| made(Values::Range(&range))),
        4 => one().prop_map(move |it| made(Values::One(&it))),
        2 => proptest::collection::vec(one(), 0..4).prop_map(list),
        1 => proptest::collection::vec(one(), 17..30).prop_map(list),
        3 => (0..SETS).prop_map(move |number| made(Values::Shared(shared(field, number)))),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    (0..FIELDS.len(), proptest::bool::weighted(0.2))
        .prop_flat_map(|(field, negated)| literal_of(field, negated))
}

/// Members of sets.
fn members(most: usize) -> impl Strategy<Value = Vec<(SharedSet, Masked)>> {
    let member = (0..FIELDS.len(), 0..SETS).prop_flat_map(|(field, set)| {
        masked(FIELDS[field]).prop_map(move |it| (shared(field, set), it))
    });
    proptest::collection::vec(member, 0..most)
}

fn clauses() -> impl Strategy<Value = Vec<Clause>> {
    let clause = proptest::collection::vec(literal(), 0..5);
    proptest::collection::vec(clause.prop_map(|literals| Clause(literals.into())), 0..3)
}

fn rule() -> impl Strategy<Value = (u16, Vec<Clause>, bool)> {
    (0..6u16, clauses(), any::<bool>())
}

fn made((priority, clauses, passes): (u16, Vec<Clause>, bool), flow: usize) -> Rule {
    let ops: Vec<_> = if passes { vec![Op::Output] } else { vec![] };
    Rule::new(priority, &clauses, ops.into(), FlowId(flow as u128))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..40)
        .prop_map(|rules| rules.into_iter().enumerate().map(|(at, it)| made(it, at)).collect())
}

/// What is in which set, in lists.
#[derive(Clone, Default, Debug)]
struct Model(BTreeMap<SetId, BTreeSet<Masked>>);

impl Model {
    fn has(&self, set: SharedSet, value: u128) -> bool {
        self.0.get(&set.id).is_some_and(|all| all.iter().any(|m| value & m.mask == m.value))
    }

    fn holds(&self, literal: &Literal, context: &Context) -> bool {
        let value = context.get(literal.field());
        let found = match literal.values() {
            Values::Shared(set) => self.has(set, value),
            _ => literal.list().iter().any(|m| value & m.mask == m.value),
        };
        found != literal.negated()
    }

    /// Of the rules that match, the one that wins.
    fn choice<'a>(
        &self,
        rules: impl Iterator<Item = &'a Rule>,
        context: &Context,
    ) -> Option<FlowId> {
        let matching = rules.filter(|rule| {
            rule.clauses().any(|clause| clause.iter().all(|it| self.holds(it, context)))
        });
        let best = matching.min_by_key(|rule| {
            (u16::MAX - rule.priority(), rule.program().is_empty(), rule.flow())
        });
        best.map(Rule::flow)
    }
}

fn filled(members: &[(SharedSet, Masked)]) -> (Sets, Model) {
    let (mut sets, mut model) = (Sets::default(), Model::default());
    for &(set, values) in members {
        let new = model.0.entry(set.id).or_default().insert(values);
        assert_eq!(sets.insert(set, values), new);
    }
    (sets, model)
}

/// A context that matches a clause of one of the rules, with luck, but for a bit, perhaps.
fn aimed(
    rules: &[Rule],
    model: &Model,
    picks: &[proptest::sample::Index],
    flip: Option<(usize, u32)>,
) -> Context {
    let mut context = Context::default();
    let mut picks = picks.iter().cycle();
    let mut pick = |len: usize| picks.next().map_or(0, |pick| pick.index(len));
    if !rules.is_empty() {
        let rule = &rules[pick(rules.len())];
        let clauses: Vec<_> = rule.clauses().collect();
        if !clauses.is_empty() {
            for literal in clauses[pick(clauses.len())] {
                let values: Vec<Masked> = match literal.values() {
                    Values::Shared(set) => {
                        model.0.get(&set.id).into_iter().flatten().copied().collect()
                    }
                    _ => literal.list().to_vec(),
                };
                if !values.is_empty() {
                    let value = values[pick(values.len())];
                    let old = context.get(literal.field());
                    context.set(literal.field(), old & !value.mask | value.value);
                }
            }
        }
    }
    if let Some((field, bit)) = flip {
        let field = FIELDS[field];
        context.set(field, context.get(field) ^ 1 << (bit % field.width()));
    }
    context
}

type Aim = (Vec<proptest::sample::Index>, Option<(usize, u32)>);

fn aims(many: usize) -> impl Strategy<Value = Vec<Aim>> {
    let aim = (
        proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        proptest::option::of((0..FIELDS.len(), 0..128u32)),
    );
    proptest::collection::vec(aim, many)
}

/// What happens to a table.
#[derive(Clone, Debug)]
enum Step {
    Insert((u16, Vec<Clause>, bool), usize),
    /// Of these flows, at once.
    Extend(Vec<(u16, Vec<Clause>, bool)>, usize),
    Remove(usize),
    Enter(SharedSet, Masked),
    Leave(proptest::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let member = members(2).prop_filter_map("a member", |it| it.first().copied());
    prop_oneof![
        6 => (rule(), 0..40usize).prop_map(|(rule, flow)| Step::Insert(rule, flow)),
        1 => (proptest::collection::vec(rule(), 1..80), 0..40usize)
            .prop_map(|(rules, first)| Step::Extend(rules, first)),
        3 => (0..100usize).prop_map(Step::Remove),
        3 => member.prop_map(|(set, values)| Step::Enter(set, values)),
        2 => any::<proptest::sample::Index>().prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_shape_agrees_with_trying_one_rule_after_the_other(
        rules in rules(),
        members in members(60),
        aims in aims(20),
    ) {
        let (sets, model) = filled(&members);
        let table = Table::new(rules.clone());
        for (picks, flip) in aims {
            let context = aimed(&rules, &model, &picks, flip);
            let oracle = model.choice(rules.iter(), &context);
            prop_assert_eq!(table.lookup(&context, &sets).map(Rule::flow), oracle);
            prop_assert_eq!(table.linear(&context, &sets).map(Rule::flow), oracle);
        }
    }

    #[test]
    fn after_any_changes_a_table_chooses_as_a_new_one_and_older_ones_as_before(
        steps in proptest::collection::vec(step(), 1..120),
        aims in aims(8),
    ) {
        let (mut rules, mut sets) = (Rules::default(), Sets::default());
        let (mut kept, mut model, mut inside) = (BTreeMap::new(), Model::default(), Vec::new());
        let mut before = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(rule, flow) => {
                    let rule = made(rule, flow);
                    rules.insert(rule.clone());
                    kept.insert(flow, rule);
                }
                Step::Extend(some, first) => {
                    let some = some.into_iter().zip(first..);
                    let some: Vec<_> = some.map(|(rule, flow)| (flow, made(rule, flow))).collect();
                    rules.extend(some.iter().map(|(_, rule)| rule.clone()).collect());
                    kept.extend(some);
                }
                Step::Remove(flow) => {
                    let gone = rules.remove(FlowId(flow as u128)).is_some();
                    prop_assert_eq!(gone, kept.remove(&flow).is_some());
                }
                Step::Enter(set, values) => {
                    let new = model.0.entry(set.id).or_default().insert(values);
                    prop_assert_eq!(sets.insert(set, values), new);
                    if new {
                        inside.push((set, values));
                    }
                }
                Step::Leave(which) if !inside.is_empty() => {
                    let (set, values) = inside.swap_remove(which.index(inside.len()));
                    prop_assert!(sets.remove(set, values));
                    model.0.entry(set.id).or_default().remove(&values);
                }
                Step::Leave(_) => {}
            }
            if number % 16 == 0 {
                before.push((rules.table(), sets.clone(), kept.clone(), model.clone()));
            }
        }
        before.push((rules.table(), sets, kept, model));
        for (table, sets, kept, model) in before {
            let list: Vec<Rule> = kept.values().cloned().collect();
            prop_assert_eq!(table.len(), list.len());
            for (picks, flip) in &aims {
                let context = aimed(&list, &model, picks, *flip);
                let found = table.lookup(&context, &sets).map(Rule::flow);
                prop_assert_eq!(found, model.choice(kept.values(), &context));
            }
        }
    }

    #[test]
    fn what_sets_say_of_other_values_does_not_matter_to_a_choice(
        rules in rules(),
        members in members(60),
        changes in members(20),
        aims in aims(8),
    ) {
        let (sets, model) = filled(&members);
        let table = Table::new(rules.clone());
        let mut changed = sets.clone();
        for (set, values) in changes {
            if !changed.insert(set, values) {
                changed.remove(set, values);
            }
        }
        for (picks, flip) in aims {
            let context = aimed(&rules, &model, &picks, flip);
            let found = table.find(&context, &sets);
            let same = table.pairs(found.asked).all(|(field, domain)| {
                let value = context.get(field);
                sets.print(domain, value) == changed.print(domain, value)
            });
            if same {
                let flow = found.rule.map(Rule::flow);
                prop_assert_eq!(table.lookup(&context, &changed).map(Rule::flow), flow);
            }
        }
    }

    #[test]
    fn the_order_in_which_rules_come_does_not_matter(
        rules in rules(),
        members in members(60),
        aims in aims(4),
    ) {
        let (sets, model) = filled(&members);
        let mut reversed = rules.clone();
        reversed.reverse();
        let (one, other) = (Table::new(rules.clone()), Table::new(reversed));
        for (picks, flip) in aims {
            let context = aimed(&rules, &model, &picks, flip);
            let flow = |table: &Table| table.lookup(&context, &sets).map(Rule::flow);
            prop_assert_eq!(flow(&one), flow(&other));
        }
    }

    #[test]
    fn a_change_of_bits_that_were_not_consulted_changes_nothing(
        rules in rules(),
        members in members(60),
        aims in aims(4),
        noise: u128,
    ) {
        let (sets, model) = filled(&members);
        let table = Table::new(rules.clone());
        for (picks, flip) in aims {
            let context = aimed(&rules, &model, &picks, flip);
            let chosen = table.lookup(&context, &sets);
            let consulted = table.consulted(&context, &sets, chosen);
            let mut other = context.clone();
            other.slots[GUARDED_SLOT] ^= noise & !consulted;
            prop_assert_eq!(
                table.lookup(&other, &sets).map(Rule::flow),
                chosen.map(Rule::flow)
            );
        }
    }
}

fn plain(priority: u16, literals: Vec<Literal>, passes: bool) -> Rule {
    let ops: Vec<_> = if passes { vec![Op::Output] } else { vec![] };
    let flow = FlowId(u128::from(priority) << 1 | u128::from(passes));
    Rule::new(priority, &[Clause(literals.into())], ops.into(), flow)
}

#[test]
fn a_table_whose_best_rule_always_matches_decides_nothing() {
    let port = Literal::new(field::INPORT, Values::Exact(1), false);
    let many = |below: u16| {
        let lower = (0..100).map(|n| plain(n % below, vec![port.clone()], false)).enumerate();
        let lower = lower.map(|(at, rule)| rule.of_flow(FlowId(at as u128 + 1000)));
        Table::new(lower.chain([plain(10, vec![], true)]).collect())
    };
    assert_eq!(many(10).structure(), "constant");
    assert_eq!(many(12).structure(), "exact");
    assert_eq!(
        Table::new(vec![plain(5, vec![port], false), plain(10, vec![], true)]).structure(),
        "constant"
    );
}

#[test]
fn a_table_that_only_passes_on_says_so_and_no_other_does() {
    let next = |table| Op::Next(Pipeline::Ingress, table);
    let flow = FlowId(1);
    let rules = |ops: Vec<Op>| vec![Rule::new(0, &[Clause::default()], ops.into(), flow)];
    let pass = Pass { to: (Pipeline::Ingress, 7), flow };
    assert_eq!(Table::new(rules(vec![next(7)])).pass(), Some(pass));
    assert_eq!(Table::new(rules(vec![Op::CtClear, next(7)])).pass(), None);
    assert_eq!(Table::new(rules(vec![])).pass(), None);
    let literal = Literal::new(field::INPORT, Values::Exact(1), false);
    let mut choosing = rules(vec![next(7)]);
    choosing.push(plain(1, vec![literal], false));
    assert_eq!(Table::new(choosing).pass(), None);
    assert_eq!(Table::default().pass(), None);
}

#[test]
fn of_two_rules_with_the_same_match_the_one_that_allows_wins() {
    // EX-S9.
    for order in [[true, false], [false, true]] {
        let table = Table::new(order.map(|passes| plain(7, vec![], passes)).into());
        assert!(!table.lookup(&Context::default(), &Sets::default()).unwrap().program().is_empty());
    }
}

fn range(field: Slice, count: u128) -> impl Iterator<Item = Masked> {
    (0..count).map(move |value| Masked { value, mask: field.ones() })
}

#[test]
fn sets_are_not_multiplied_out() {
    // EX-S13: two sets of a thousand make one rule one entry, two lists a thousand, not a million.
    let domain = Domain::Width(32);
    let mut sets = Sets::default();
    let shared = [(field::IP4_SRC, 1), (field::IP4_DST, 2)].map(|(field, id)| {
        let set = SharedSet { id: SetId(id), domain };
        range(field, 1000).for_each(|value| assert!(sets.insert(set, value)));
        Literal::new(field, Values::Shared(set), false)
    });
    let lists = [field::IP4_SRC, field::IP4_DST].map(|field| {
        Literal::new(field, Values::Any(&range(field, 1000).collect::<Vec<_>>()), false)
    });
    for (literals, entries) in [(shared, 1), (lists, 1000)] {
        let rule = plain(1, literals.into(), true);
        let mut groups = Groups::default();
        groups.insert(&rule, (0, rule.literals()), 0);
        assert_eq!(groups.finish().0.iter().map(|it| it.entries()).sum::<usize>(), entries);
        let table = Table::new((0..20).map(|n| rule.of_flow(FlowId(n))).collect());
        let mut context = Context::default();
        context.set(field::IP4_SRC, 999);
        context.set(field::IP4_DST, 999);
        assert!(table.lookup(&context, &sets).is_some());
        context.set(field::IP4_DST, 1000);
        assert!(table.lookup(&context, &sets).is_none());
    }
}

#[test]
fn a_rule_taken_out_leaves_nothing_behind() {
    let empty = Rules::default().table().bytes();
    let set = SharedSet { id: SetId(1), domain: Domain::Width(32) };
    let mut rules = Rules::default();
    let literal = |n: u16| Literal::new(field::TP_DST, Values::Exact(n.into()), false);
    let shared = Literal::new(field::IP4_SRC, Values::Shared(set), false);
    for n in 0..1000 {
        rules.insert(plain(n, vec![literal(n), shared.clone()], true));
    }
    assert_eq!(rules.table().size(), (1, 1000));
    for n in 0..1000 {
        assert!(rules.remove(plain(n, vec![], true).flow()).is_some());
    }
    let table = rules.table();
    assert_eq!((table.len(), table.size(), table.structure()), (0, (0, 0), "constant"));
    assert_eq!(table.bytes(), empty);
}

#[test]
fn a_literal_takes_two_words_and_keeps_what_it_was_made_of() {
    assert_eq!(size_of::<Literal>(), 16);
    let field = field::IP6_SRC;
    let wide = Masked { value: 7 << 64, mask: field.ones() };
    let port = Domain::Ports(DatapathKey::new(0xff_ffff).unwrap());
    for domain in [port, Domain::Width(128)] {
        let values = Values::Shared(SharedSet { id: SetId(u32::MAX), domain });
        assert_eq!(Literal::new(field, values, false).values(), values);
    }
    assert_eq!(Literal::new(field, Values::One(&wide), true).values(), Values::Exact(7 << 64));
    let narrow = Masked { value: 7, mask: field.ones() };
    assert_eq!(Literal::new(field, Values::One(&narrow), true).values(), Values::Exact(7));
}

#[test]
fn a_rule_gives_back_its_clauses() {
    let literal = |n| Literal::new(field::TP_DST, Values::Exact(n), false);
    let clauses = [vec![literal(1)], vec![literal(2), literal(3)]];
    let made = clauses.clone().map(|list| Clause(list.into()));
    let rule = Rule::new(1, &made, vec![].into(), FlowId(7 << 100 | 9));
    let found: Vec<Vec<u64>> = rule
        .clauses()
        .map(|clause| clause.iter().map(|it| it.list()[0].value as u64).collect())
        .collect();
    assert_eq!(found, [vec![1], vec![2, 3]]);
    assert_eq!(rule.flow(), FlowId(7 << 100 | 9));
    let never = Rule::new(1, &[], vec![].into(), FlowId(1));
    assert!(never.holds_never() && never.clauses().next().is_none());
    let always = Rule::new(1, &[made[0].clone(), Clause::default()], vec![].into(), FlowId(1));
    assert!(always.holds_always() && always.matches(&Context::default(), &Sets::default()));
}

#[test]
fn clauses_are_spread_by_their_sets_only_where_their_bits_tell_too_little() {
    let of = |set: u32, port: u128| {
        let clause = Clause(
            [
                Literal::new(field::INPORT, Values::Shared(shared(0, set)), false),
                Literal::new(field::TP_DST, Values::Exact(port), false),
            ]
            .into(),
        );
        let flow = FlowId(u128::from(set) << 32 | port);
        Rule::new(7, &[clause], Program::from(vec![]), flow)
    };
    let table = |all: &mut dyn Iterator<Item = Rule>| Table::new(all.collect());
    let (mut sets, set) = (Sets::default(), shared(0, 1));
    assert!(sets.insert(set, Masked { value: 9, mask: field::INPORT.ones() }));
    let mut context = Context::default();
    context.set(field::INPORT, 9);
    let told = table(&mut (0..100).map(|port| of(1, port)));
    let asked = |table: &Table, port: u128| {
        let mut context = context.clone();
        context.set(field::TP_DST, port);
        let found = table.find(&context, &sets);
        (found.rule.map(|rule| rule.flow().0), found.asked != 0)
    };
    assert_eq!(asked(&told, 5), (Some(1 << 32 | 5), true));
    assert_eq!(asked(&told, 100), (None, false), "no bits, no question about sets");
    let alike = table(&mut (0..100).map(|set| of(set, 80)));
    assert_eq!(asked(&alike, 80), (Some(1 << 32 | 80), true));
    assert_eq!(asked(&alike, 81), (None, false));
}
