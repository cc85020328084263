//! Tables of the kind that would be slow if each mask or set were asked for by itself.

use super::*;

/// Rules of the kind that makes a table slow: many masks, many sets that hold the packet, lists,
/// nothing but exceptions.
fn hostile(seed: u64, many: usize) -> Vec<Rule> {
    let mut state = seed << 1 | 1;
    let mut throw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let kind = throw(4);
    (0..many)
        .map(|at| {
            let mut literals = Vec::new();
            let masked = |field: Slice, throw: &mut dyn FnMut(u64) -> u64| {
                let mask = u128::from(throw(1 << field.width().min(16))) << throw(4);
                let mask = mask & field.ones();
                Masked { value: u128::from(throw(4) * 0x1111_1111) & mask, mask }
            };
            let mut put = |field, values: Values<'_>, negated| {
                literals.push(Literal::new(field, values, negated));
            };
            if kind == 3 {
                put(field::ETH_TYPE, Values::Exact(0x0800), false);
                for field in [field::TP_DST, field::IP4_SRC, field::IP_TTL] {
                    let value = |throw: &mut dyn FnMut(u64) -> u64| {
                        let any = throw(6) == 0;
                        let mask = if any { throw(1 << 8).into() } else { field.ones() };
                        Masked { value: u128::from(throw(5)) & mask, mask }
                    };
                    let many = throw(5);
                    let list: Vec<_> = (0..many).map(|_| value(&mut throw)).collect();
                    put(field, Values::Any(&list), throw(4) != 0);
                }
            }
            if kind < 3 && kind != 1 {
                put(field::IP4_SRC, Values::One(&masked(field::IP4_SRC, &mut throw)), false);
            }
            match throw(4) {
                0 => put(field::TP_DST, Values::One(&masked(field::TP_DST, &mut throw)), false),
                1 => {
                    let list: Vec<_> = (0..3).map(|_| masked(field::TP_DST, &mut throw)).collect();
                    put(field::TP_DST, Values::Any(&list), throw(4) == 0);
                }
                _ => {}
            }
            if kind != 0 {
                for field in [0, 4] {
                    let set = shared(field, throw(u64::from(SETS)) as u32);
                    put(FIELDS[field], Values::Shared(set), kind == 3 || throw(8) == 0);
                }
            }
            let ops = if throw(2) == 0 { vec![] } else { vec![Op::Output] };
            let clause = Clause(literals.into());
            Rule::new(throw(5) as u16, &[clause], Program::from(ops), FlowId(at as u128))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hostile_tables_agree_however_they_grow_and_shrink(
        seed: u32,
        many in prop_oneof![30..60usize, 900..1400usize],
        order in any::<u64>(),
        at_once in [any::<bool>(), any::<bool>()],
        members in members(60),
        aims in aims(30),
    ) {
        let all = hostile(seed.into(), many);
        let (sets, model) = filled(&members);
        let mut rules = Rules::default();
        let mut inside: BTreeMap<FlowId, Rule> = BTreeMap::new();
        let step = (order | 1) as usize % many;
        let check = |rules: &Rules, inside: &BTreeMap<FlowId, Rule>| {
            let (table, list) = (rules.table(), inside.values().cloned().collect::<Vec<_>>());
            for (picks, flip) in &aims {
                let context = aimed(&list, &model, picks, *flip);
                let found = table.lookup(&context, &sets).map(Rule::flow);
                prop_assert_eq!(found, model.choice(list.iter(), &context));
            }
            Ok(())
        };
        let picked: Vec<Rule> =
            (0..many).map(|at| all[(at * step.max(1)) % many].clone()).collect();
        let (first, second) = picked.split_at(many / 2);
        for (some, at_once) in [first, second].into_iter().zip(at_once) {
            if at_once {
                rules.extend(some.to_vec());
            } else {
                some.iter().for_each(|rule| rules.insert(rule.clone()));
            }
            inside.extend(some.iter().map(|rule| (rule.flow(), rule.clone())));
            check(&rules, &inside)?;
        }
        for left in [many / 2, many / 10, 9, 0] {
            while inside.len() > left {
                let (&flow, _) = inside.iter().nth(inside.len() * 2 / 3).unwrap();
                inside.remove(&flow);
                prop_assert!(rules.remove(flow).is_some());
            }
            check(&rules, &inside)?;
        }
        prop_assert_eq!(rules.table().bytes(), Rules::default().table().bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rules_that_come_at_once_are_found_like_those_that_come_one_after_the_other(
        before in 0..300usize,
        at_once in 64..600usize,
        seed: u16,
    ) {
        // Thousands of one kind and a few of others, as northd writes them.
        let rule = |at: usize, version: usize| {
            let number = (at * 7919 + usize::from(seed)) as u128 % 997;
            let one = |value: u128| Masked { value, mask: 0xffff };
            let mut literals = vec![Literal::new(field::TP_DST, Values::Exact(number), false)];
            match at % 9 {
                0 => {
                    let list = [one(number), one(number + 1), one(number + 2)];
                    literals = vec![Literal::new(field::TP_DST, Values::Any(&list), false)];
                }
                1 => {
                    let values = Values::Exact(number % 5);
                    literals.push(Literal::new(field::IP4_SRC, values, false));
                }
                2 => {
                    let set = shared(4, number as u32 % SETS);
                    literals.push(Literal::new(FIELDS[4], Values::Shared(set), false));
                }
                3 if at.is_multiple_of(2) => literals.clear(),
                _ => {}
            }
            let priority = (number % 7) as u16 + version as u16;
            let clause = Clause(literals.into());
            let program = Program::from(vec![Op::Output]);
            Rule::new(priority, &[clause], program, FlowId(at as u128))
        };
        let (mut one, mut other) = (Rules::default(), Rules::default());
        for at in 0..before {
            one.insert(rule(at, 0));
            other.insert(rule(at, 0));
        }
        // Some of them are there already, and other than they will be.
        let mut coming: Vec<Rule> =
            (before / 2..before / 2 + at_once).map(|at| rule(at, 3)).collect();
        // And one comes twice.
        coming.push(rule(before / 2 + at_once - 1, 4));
        coming.iter().for_each(|rule| one.insert(rule.clone()));
        other.extend(coming.clone());
        let tables = [one.table(), other.table()];
        prop_assert_eq!(tables[0].size(), tables[1].size());
        prop_assert_eq!(tables[0].bytes(), tables[1].bytes());
        let sets = Sets::default();
        for value in 0..1000u128 {
            let mut context = Context::default();
            context.set(field::TP_DST, value);
            context.set(field::IP4_SRC, value % 6);
            let [one, other] = tables.each_ref().map(|table| table.lookup(&context, &sets));
            prop_assert_eq!(one.map(Rule::flow), other.map(Rule::flow));
            let linear = tables[1].linear(&context, &sets);
            prop_assert_eq!(other.map(Rule::flow), linear.map(Rule::flow));
        }
        for at in 0..before.max(before / 2 + at_once) {
            let flow = FlowId(at as u128);
            prop_assert_eq!(one.remove(flow).is_some(), other.remove(flow).is_some());
        }
        prop_assert_eq!(other.table().bytes(), Rules::default().table().bytes());
    }
}

#[test]
fn every_mask_of_a_field_is_looked_up_in_blocks_and_not_one_by_one() {
    let literal = |mask: u64| {
        let one = Masked { value: u128::from(mask), mask: mask.into() };
        Literal::new(field::TP_DST, Values::One(&one), false)
    };
    let rule = |mask: u64| {
        let clause = Clause([literal(mask)].into());
        Rule::new(7, &[clause], Program::from(vec![]), FlowId(mask.into()))
    };
    let mut rules = Rules::default();
    (1..4096).for_each(|mask| rules.insert(rule(mask)));
    let table = rules.table();
    assert_eq!((table.structure(), table.size()), ("screen", (0, 4095)));
    for value in [0u128, 1, 5, 0x800, 0xfff] {
        let mut context = Context::default();
        context.set(field::TP_DST, value);
        let found = table.lookup(&context, &Sets::default()).map(Rule::flow);
        // The least flow whose bits are all set.
        let least = (1..4096u128).find(|mask| value & mask == *mask).map(FlowId);
        assert_eq!(found, least, "{value:#x}");
    }
    (1..4096).for_each(|mask: u128| assert!(rules.remove(FlowId(mask)).is_some()));
    assert_eq!(rules.table().bytes(), Rules::default().table().bytes());
}

#[test]
fn what_many_rules_except_is_looked_up_and_not_tried_one_by_one() {
    let domain = Domain::Width(32);
    let set = |n: u128| SharedSet { id: SetId(n as u32 % 50), domain };
    let (mut sets, mut model) = (Sets::default(), Model::default());
    for n in 0..50 {
        let member = Masked { value: n, mask: field::IP4_SRC.ones() };
        assert!(
            sets.insert(set(n), member) && model.0.entry(set(n).id).or_default().insert(member)
        );
    }
    let ports = |some: std::ops::Range<u128>| {
        some.map(|value| Masked { value, mask: field::TP_DST.ones() }).collect::<Vec<_>>()
    };
    fn except(field: Slice, values: Values<'_>) -> Literal {
        Literal::new(field, values, true)
    }
    let rule = |n: u128| {
        let clause = Clause(
            [
                Literal::new(field::ETH_TYPE, Values::Exact(0x0800), false),
                except(field::TP_DST, Values::Any(&ports(n..n + 1500))),
                except(field::IP4_SRC, Values::Shared(set(n))),
                Literal::new(
                    field::IP4_DST,
                    Values::Any(&range(field::IP4_DST, 20).collect::<Vec<_>>()),
                    false,
                ),
                Literal::new(field::CT_IP_DST, Values::Any(&ports(n..n + 2)), false),
            ]
            .into(),
        );
        Rule::new(7, &[clause], Program::from(vec![]), FlowId(n))
    };
    let mut rules = Rules::default();
    let all: Vec<Rule> = (0..1200).map(rule).collect();
    all.iter().for_each(|rule| rules.insert(rule.clone()));
    let table = rules.table();
    assert_eq!(table.structure(), "lists");
    for (port, source, other) in
        [(0, 0, 7), (1600, 7, 7), (99, 7, 200), (2000, 90, 1199), (9, 1, 5)]
    {
        let mut context = Context::default();
        context.set(field::ETH_TYPE, 0x0800);
        context.set(field::TP_DST, port);
        context.set(field::IP4_SRC, source);
        context.set(field::CT_IP_DST, other);
        let found = table.lookup(&context, &sets).map(Rule::flow);
        assert_eq!(found, model.choice(all.iter(), &context), "{port} {source} {other}");
    }
    all.iter().for_each(|rule| assert!(rules.remove(rule.flow()).is_some()));
    assert_eq!(rules.table().bytes(), Rules::default().table().bytes());
}
