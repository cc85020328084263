//! Tables of rules that take a range of a field's values each.

use super::*;

/// What a rule takes; its own words, not those of the classifier.
#[derive(Clone, Copy, Debug)]
struct Taken {
    low: u128,
    high: u128,
    /// Only to this port.
    outport: Option<u128>,
    /// Only with another TTL than this.
    but_ttl: Option<u128>,
    /// Only from the set of this number, which holds the addresses that leave this rest by three.
    from: Option<u32>,
    priority: u16,
}

impl Taken {
    fn rule(&self, flow: usize) -> Rule {
        let exact = |field, value: u128| Literal::new(field, Values::Exact(value), false);
        let range = Range { low: self.low, high: self.high };
        let mut literals = vec![
            Literal::new(field::IP_PROTO, Values::Exact(6), false),
            Literal::new(field::TP_DST, Values::Range(&range), false),
        ];
        literals.extend(self.outport.map(|port| exact(field::OUTPORT, port)));
        literals
            .extend(self.but_ttl.map(|ttl| Literal::new(field::IP_TTL, Values::Exact(ttl), true)));
        literals.extend(
            self.from
                .map(|set| Literal::new(field::IP4_SRC, Values::Shared(shared(4, set)), false)),
        );
        let clause = Clause(literals.into());
        Rule::new(self.priority, &[clause], vec![Op::Output].into(), FlowId(flow as u128))
    }

    fn takes(&self, [port, outport, ttl, source]: [u128; 4]) -> bool {
        (self.low..=self.high).contains(&port)
            && self.outport.is_none_or(|it| it == outport)
            && self.but_ttl.is_none_or(|it| it != ttl)
            && self.from.is_none_or(|set| source % 3 == u128::from(set))
    }
}

/// Many rules: beside each other, in each other, across each other, all with one value, or any.
fn taken(most: usize) -> impl Strategy<Value = Vec<Taken>> {
    let one = (any::<[u16; 2]>(), 0..8u8, 0..8u8, 0..8u8, 0..4u16);
    let all = proptest::collection::vec(one, 20..most);
    (0..5u8, all).prop_map(|(kind, all)| {
        all.into_iter()
            .enumerate()
            .map(|(at, ([a, b], outport, ttl, from, priority))| {
                let (at, a, b) = (at as u128, u128::from(a), u128::from(b));
                let (low, high) = match kind {
                    0 => (at * 100, at * 100 + b % 100),
                    1 => (at, 65_535 - at * 2),
                    2 => (at * 10, at * 10 + 500),
                    3 => (30_000 - a % 3000, 30_000 + b % 3000),
                    _ => (a.min(b), a.max(b)),
                };
                Taken {
                    low,
                    high,
                    outport: (outport < 2).then_some(outport.into()),
                    but_ttl: (ttl < 2).then_some(ttl.into()),
                    from: (from < 3).then_some(from.into()),
                    priority,
                }
            })
            .collect()
    })
}

fn check(
    table: &Table,
    sets: &Sets,
    inside: &BTreeMap<usize, Taken>,
    picks: &[proptest::sample::Index],
) -> Result<(), TestCaseError> {
    let ends: Vec<u128> = inside
        .values()
        .flat_map(|it| [it.low.saturating_sub(1), it.low, it.high, it.high + 1])
        .chain([0, 65_535])
        .filter(|port| *port <= 65_535)
        .collect();
    for (at, pick) in picks.iter().enumerate() {
        let [outport, ttl, source] = [at % 3, at / 3 % 3, at / 9 % 5].map(|it| it as u128);
        let packet = [*pick.get(&ends), outport, ttl, source];
        let mut context = Context::default();
        let fields = [field::TP_DST, field::OUTPORT, field::IP_TTL, field::IP4_SRC];
        fields.into_iter().zip(packet).for_each(|(field, value)| context.set(field, value));
        context.set(field::IP_PROTO, 6);
        let taking = inside.iter().filter(|(_, it)| it.takes(packet));
        let best = taking.min_by_key(|(flow, it)| (u16::MAX - it.priority, **flow));
        let found = table.lookup(&context, sets).map(|rule| rule.flow().0 as usize);
        prop_assert_eq!(found, best.map(|it| *it.0), "{:?}", packet);
        context.set(field::IP_PROTO, 17);
        prop_assert!(table.lookup(&context, sets).is_none());
    }
    Ok(())
}

fn thirds() -> Sets {
    let mut sets = Sets::default();
    for value in 0..5u128 {
        let member = Masked { value, mask: field::IP4_SRC.ones() };
        sets.insert(shared(4, (value % 3) as u32), member);
    }
    sets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn rules_of_ranges_agree_however_they_come_and_go(
        all in taken(600),
        at_once: bool,
        step in 1..97usize,
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 90),
    ) {
        let (sets, mut rules, mut inside) = (thirds(), Rules::default(), BTreeMap::new());
        let order: Vec<usize> = (0..all.len()).map(|at| at * step % all.len()).collect();
        let made: Vec<Rule> = order.iter().map(|at| all[*at].rule(*at)).collect();
        if at_once {
            rules.extend(made);
        } else {
            made.into_iter().for_each(|rule| rules.insert(rule));
        }
        inside.extend(order.iter().map(|at| (*at, all[*at])));
        let full = (rules.table(), inside.clone());
        check(&full.0, &sets, &inside, &picks)?;
        for left in [inside.len() / 2, inside.len() / 8, 0] {
            while inside.len() > left {
                let (&flow, _) = inside.iter().nth(inside.len() * 2 / 3).expect("one is left");
                inside.remove(&flow);
                prop_assert!(rules.remove(FlowId(flow as u128)).is_some());
            }
            check(&rules.table(), &sets, &inside, &picks)?;
        }
        prop_assert_eq!(rules.table().bytes(), Rules::default().table().bytes());
        // The table that was published before is as it was.
        check(&full.0, &sets, &full.1, &picks)?;
    }
}

#[test]
fn ranges_take_memory_by_their_number_and_not_by_how_they_lie() {
    let rule = |low: u128, high: u128| Taken {
        low,
        high,
        outport: None,
        but_ttl: None,
        from: None,
        priority: 7,
    };
    let bytes = |range: &dyn Fn(u128) -> (u128, u128)| {
        let mut rules = Rules::default();
        for at in 0..5000 {
            let (low, high) = range(at);
            rules.insert(rule(low, high).rule(at as usize));
        }
        let table = rules.table();
        assert_eq!((table.structure(), table.size().0), ("ranges", 1));
        let bytes = table.bytes() / table.len();
        (0..5000).for_each(|flow| assert!(rules.remove(FlowId(flow)).is_some()));
        assert_eq!(rules.table().bytes(), Rules::default().table().bytes());
        bytes
    };
    let apart = bytes(&|at| (at * 13, at * 13 + 10));
    assert!(apart < 300, "{apart} bytes a rule beside each other");
    for (name, bytes) in [
        ("in each other", bytes(&|at| (at + 1, 65_535 - at))),
        ("across each other", bytes(&|at| (at, at + 6000))),
        ("chained", bytes(&|at| (at, at + 40))),
        (
            "wide ones first",
            bytes(&|at| if at < 20 { (at, 65_000) } else { (at * 13, at * 13 + 5) }),
        ),
    ] {
        assert!(bytes < 2000, "{bytes} bytes a rule {name}");
    }
}
