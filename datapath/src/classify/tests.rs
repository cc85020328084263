//! The oracle is the linear table; packets are made to hit each rule, and to miss it by a bit.

use super::*;
use crate::field;
use crate::key::FlowId;
use proptest::prelude::*;

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

fn masked(field: Slice) -> impl Strategy<Value = Masked> {
    // Few values and prefixes, so that rules overlap.
    let width = field.width();
    (0..6u128, prop_oneof![4 => Just(width), 1 => 0..=width]).prop_map(move |(value, prefix)| {
        let mask = if prefix == 0 { 0 } else { field.ones() << (width - prefix) & field.ones() };
        Masked { value: (value | value << (width - 3)) & mask, mask }
    })
}

fn values(field: Slice, shared: Vec<SharedSet>) -> impl Strategy<Value = Values> {
    prop_oneof![
        4 => masked(field).prop_map(Values::One),
        2 => proptest::collection::vec(masked(field), 0..4).prop_map(|list| Values::Any(list.into())),
        1 => proptest::collection::vec(masked(field), 17..30).prop_map(|list| Values::Any(list.into())),
        2 => proptest::sample::select(shared).prop_map(Values::Shared),
    ]
}

fn literal(shared: Vec<Vec<SharedSet>>) -> impl Strategy<Value = Literal> {
    (0..FIELDS.len()).prop_flat_map(move |index| {
        let field = FIELDS[index];
        (values(field, shared[index].clone()), proptest::bool::weighted(0.2))
            .prop_map(move |(values, negated)| Literal { field, values, negated })
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let shared: Vec<_> = FIELDS
        .iter()
        .map(|&field| {
            let set = proptest::collection::vec(masked(field), 0..40);
            proptest::collection::vec(set.prop_map(|list| SharedSet(list.into())), 3)
        })
        .collect();
    shared.prop_flat_map(|shared| {
        let clause = proptest::collection::vec(literal(shared), 0..4);
        let clause = clause.prop_map(|literals| Clause(literals.into()));
        let clauses = proptest::collection::vec(clause, 0..3);
        let rule = (0..6u16, clauses, any::<bool>());
        proptest::collection::vec(rule, 0..40).prop_map(|rules| {
            let number =
                |(index, (priority, clauses, passes)): (usize, (u16, Vec<Clause>, bool))| {
                    let ops: Vec<_> = if passes { vec![Op::Output] } else { vec![] };
                    Rule {
                        priority,
                        clauses: clauses.into(),
                        program: Arc::new(Program(ops.into())),
                        flow: FlowId(index as u128),
                    }
                };
            rules.into_iter().enumerate().map(number).collect()
        })
    })
}

/// A context that matches a clause of one of the rules, with luck, but for a bit, perhaps.
fn aimed(rules: &[Rule], picks: &[proptest::sample::Index], flip: Option<(usize, u32)>) -> Context {
    let mut context = Context::default();
    let mut picks = picks.iter().cycle();
    let mut pick = |len: usize| picks.next().map_or(0, |pick| pick.index(len));
    if !rules.is_empty() {
        let rule = &rules[pick(rules.len())];
        if !rule.clauses.is_empty() {
            for literal in &*rule.clauses[pick(rule.clauses.len())].0 {
                let values = literal.values.as_slice();
                if !values.is_empty() {
                    let value = values[pick(values.len())];
                    let old = context.get(literal.field);
                    context.set(literal.field, old & !value.mask | value.value);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_shape_agrees_with_trying_one_rule_after_the_other(
        rules in rules(),
        aims in proptest::collection::vec(
            (
                proptest::collection::vec(any::<proptest::sample::Index>(), 8),
                proptest::option::of((0..FIELDS.len(), 0..128u32)),
            ),
            20,
        ),
    ) {
        let table = Table::new(rules.clone());
        let hashed = Tuples::new(&table.rules);
        for (picks, flip) in aims {
            let context = aimed(&rules, &picks, flip);
            let oracle = table.linear(&context).map(|rule| rule.flow);
            prop_assert_eq!(table.lookup(&context).map(|rule| rule.flow), oracle);
            let place = hashed.lookup(&context);
            prop_assert_eq!(place.map(|place| table.rules[place].flow), oracle);
            // Against the rules as they came: none with a higher priority matches.
            let best = rules.iter().filter(|rule| rule.clauses.iter().any(|it| it.matches(&context)));
            let best = best.map(|rule| (rule.priority, !drops(&rule.program))).max();
            let found = table.lookup(&context).map(|rule| (rule.priority, !drops(&rule.program)));
            prop_assert_eq!(found, best);
        }
    }

    #[test]
    fn the_order_in_which_rules_come_does_not_matter(
        rules in rules(),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
    ) {
        let context = aimed(&rules, &picks, None);
        let mut reversed = rules.clone();
        reversed.reverse();
        let (one, other) = (Table::new(rules), Table::new(reversed));
        let flow = |table: &Table| table.lookup(&context).map(|rule| rule.flow);
        prop_assert_eq!(flow(&one), flow(&other));
    }

    #[test]
    fn a_change_of_bits_that_were_not_consulted_changes_nothing(
        rules in rules(),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        noise: u128,
    ) {
        let table = Table::new(rules.clone());
        let context = aimed(&rules, &picks, None);
        let chosen = table.lookup(&context);
        let consulted = table.consulted(&context, chosen);
        let mut other = context.clone();
        other.slots[GUARDED_SLOT] ^= noise & !consulted;
        prop_assert_eq!(
            table.lookup(&other).map(|rule| rule.flow),
            chosen.map(|rule| rule.flow)
        );
    }
}

fn plain(priority: u16, literals: Vec<Literal>, passes: bool) -> Rule {
    let ops: Vec<_> = if passes { vec![Op::Output] } else { vec![] };
    Rule {
        priority,
        clauses: Arc::new([Clause(literals.into())]),
        program: Arc::new(Program(ops.into())),
        flow: FlowId(u128::from(priority) << 1 | u128::from(passes)),
    }
}

#[test]
fn a_table_whose_best_rule_always_matches_holds_nothing_else() {
    let port = Literal {
        field: field::INPORT,
        values: Values::One(Masked { value: 1, mask: u32::MAX.into() }),
        negated: false,
    };
    let table = Table::new(vec![plain(5, vec![port], false), plain(10, vec![], true)]);
    assert!(matches!(table.shape, Shape::Constant));
    assert_eq!(table.rules.len(), 1);
}

#[test]
fn a_table_that_only_passes_on_says_so_and_no_other_does() {
    let next = |table| Op::Next(Pipeline::Ingress, table);
    let rules = |ops: Vec<Op>| {
        let mut rule = plain(0, vec![], true);
        rule.program = Arc::new(Program(ops.into()));
        vec![rule]
    };
    let flow = plain(0, vec![], true).flow;
    let pass = Pass { to: (Pipeline::Ingress, 7), flow };
    assert_eq!(Table::new(rules(vec![next(7)])).pass(), Some(pass));
    assert_eq!(Table::new(rules(vec![Op::CtClear, next(7)])).pass(), None);
    assert_eq!(Table::new(rules(vec![])).pass(), None);
    let literal = Literal {
        field: field::INPORT,
        values: Values::One(Masked { value: 1, mask: u32::MAX.into() }),
        negated: false,
    };
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
        assert!(!drops(&table.lookup(&Context::default()).unwrap().program));
    }
}

#[test]
fn sets_are_not_multiplied_out() {
    // EX-S13: two sets of a thousand make one rule one entry, not a million.
    let set = |field: Slice| {
        let values = (0..1000).map(|value| Masked { value, mask: field.ones() });
        let values = Values::Shared(SharedSet(values.collect()));
        Literal { field, values, negated: false }
    };
    let both = vec![set(field::IP4_SRC), set(field::IP4_DST)];
    let tuples = Tuples::new(&[plain(1, both, true)]);
    assert_eq!(tuples.entries(), 1);
    let mut context = Context::default();
    context.set(field::IP4_SRC, 999);
    context.set(field::IP4_DST, 999);
    assert_eq!(tuples.lookup(&context), Some(0));
    context.set(field::IP4_DST, 1000);
    assert_eq!(tuples.lookup(&context), None);
}
