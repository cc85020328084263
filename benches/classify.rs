//! One table, looked up: shapes that northd writes, and hostile ones.
//!
//! Each is looked up with packets that hit one of its rules and with packets that hit none, through
//! the table and by trying one rule after the other, which is what a bad case must not cost; and one
//! rule more and less is published. Nanoseconds, medians of many.

use ovn_xdp_datapath::classify::{
    Clause, Domain, Literal, Masked, Rule, Rules, SetId, Sets, SharedSet, Values,
};
use ovn_xdp_datapath::field::{self, Context, Slice};
use ovn_xdp_datapath::key::{DatapathKey, FlowId};
use ovn_xdp_datapath::program::{Op, Program};
use std::hint::black_box;
use std::time::Instant;

/// A table and packets for it.
struct Case {
    name: &'static str,
    rules: Vec<Rule>,
    sets: Sets,
    hits: Vec<Context>,
    misses: Vec<Context>,
}

fn is(field: Slice, value: u128) -> Literal {
    under(field, value, field.ones())
}

fn under(field: Slice, value: u128, mask: u128) -> Literal {
    Literal::new(field, Values::One(&Masked { value: value & mask, mask }), false)
}

fn any(field: Slice, values: impl Iterator<Item = u128>) -> Literal {
    listed(field, values, false)
}

fn listed(field: Slice, values: impl Iterator<Item = u128>, negated: bool) -> Literal {
    let values: Vec<_> = values.map(|value| Masked { value, mask: field.ones() }).collect();
    Literal::new(field, Values::Any(&values), negated)
}

/// What lies between two values, as the fewest prefixes.
fn range(field: Slice, mut low: u128, high: u128) -> Literal {
    let mut prefixes = Vec::new();
    while low <= high {
        let widest = |bits: &u32| low.is_multiple_of(1 << bits) && low + (1 << bits) - 1 <= high;
        let bits = (0..field.width()).rev().find(widest).unwrap_or(0);
        prefixes.push(Masked { value: low, mask: field.ones() >> bits << bits });
        low += 1 << bits;
    }
    Literal::new(field, Values::Any(&prefixes), false)
}

fn of(field: Slice, set: SharedSet) -> Literal {
    Literal::new(field, Values::Shared(set), false)
}

fn packet(fields: &[(Slice, u128)]) -> Context {
    let mut context = Context::default();
    fields.iter().for_each(|(field, value)| context.set(*field, *value));
    context
}

/// Rules of falling priority.
fn rules(all: impl Iterator<Item = Vec<Literal>>) -> Vec<Rule> {
    let program = Program::from([Op::Output]);
    let rule = |(at, literals): (usize, Vec<Literal>)| {
        let priority = 60_000 - (at % 50_000) as u16;
        Rule::new(priority, &[Clause(literals.into())], program.clone(), FlowId(at as u128 + 1))
    };
    all.enumerate().map(rule).collect()
}

fn ports(number: u32) -> SharedSet {
    let datapath = DatapathKey::new(1).expect("a key");
    SharedSet { id: SetId(number), domain: Domain::Ports(datapath) }
}

fn addresses(number: u32) -> SharedSet {
    SharedSet { id: SetId(number), domain: Domain::Width(32) }
}

const V4: (Slice, u128) = (field::ETH_TYPE, 0x0800);

fn whole(field: Slice, value: u128) -> Masked {
    Masked { value, mask: field.ones() }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, rules, sets, hits: Vec<Context>, misses: Vec<Context>| {
        cases.push(Case { name, rules, sets, hits, misses });
    };
    let numbers = || (0..64u128).map(|n| n * 97 % 5000);
    let mac = |n| packet(&[(field::ETH_DST, n)]);
    case(
        "100,000 MAC addresses",
        rules((0..100_000).map(|n| vec![is(field::ETH_DST, n)])),
        Sets::default(),
        numbers().map(mac).collect(),
        numbers().map(|n| mac(n + 1_000_000)).collect(),
    );
    let to = |n: u128| packet(&[V4, (field::IP4_DST, n)]);
    case(
        "routes of 32 prefix lengths, 3,200",
        rules((0..3200u128).map(|n| {
            let bits = 32 - n / 100;
            let mask = (u128::from(u32::MAX) << (32 - bits)) & u128::from(u32::MAX);
            vec![
                is(V4.0, V4.1),
                under(field::IP4_DST, ((n % 100 + 1) << (32 - bits)) | 1 << 31, mask),
            ]
        })),
        Sets::default(),
        numbers().map(|n| to((n % 100 + 1) | 1 << 31)).collect(),
        numbers().map(to).collect(),
    );
    let mut sets = Sets::default();
    (0..10_000u32).for_each(|n| {
        sets.insert(ports(n), whole(field::INPORT, u128::from(n)));
    });
    let from = |n: u128| packet(&[(field::INPORT, n)]);
    let groups = || rules((0..10_000).map(|n| vec![of(field::INPORT, ports(n))]));
    case(
        "10,000 port groups of a port each",
        groups(),
        sets,
        numbers().map(from).collect(),
        numbers().map(|n| from(n + 20_000)).collect(),
    );
    let mut sets = Sets::default();
    (0..10_000u32).for_each(|n| {
        sets.insert(ports(n), whole(field::INPORT, 7));
        sets.insert(addresses(20_000 + n), whole(field::IP4_DST, 7));
    });
    let pairs = (0..10_000u32).map(|n| {
        let both = [of(field::INPORT, ports(n)), of(field::IP4_DST, addresses(20_000 + n))];
        [both.into(), vec![is(V4.0, V4.1), is(field::TP_DST, u128::from(n))]].concat()
    });
    let seven = |n| packet(&[V4, (field::INPORT, 7), (field::IP4_DST, 7), (field::TP_DST, n)]);
    case(
        "10,000 pairs of sets that all hold the packet",
        rules(pairs),
        sets,
        numbers().map(seven).collect(),
        numbers().map(|n| seven(n + 20_000)).collect(),
    );
    let mut sets = Sets::default();
    (0..450).for_each(|n| {
        sets.insert(addresses(1), whole(field::IP4_SRC, n));
    });
    let acl = |n: u128| {
        let to = [is(V4.0, V4.1), is(field::OUTPORT, n % 100), is(field::IP_PROTO, 6)];
        [to.into(), vec![of(field::IP4_SRC, addresses(1)), is(field::TP_DST, n)]].concat()
    };
    let tcp = |n: u128, source: u128| {
        let to = [V4, (field::OUTPORT, n % 100), (field::IP_PROTO, 6)];
        packet(&[&to[..], &[(field::IP4_SRC, source), (field::TP_DST, n)]].concat())
    };
    case(
        "3,500 ACLs that share a set of 450",
        rules((0..3500).map(acl)),
        sets,
        numbers().map(|n| tcp(n % 3500, n % 450)).collect(),
        numbers().map(|n| tcp(n % 3500, n + 450)).collect(),
    );
    case(
        "1,000 lists of 30 × 30",
        rules((0..1000u128).map(|n| {
            let lists = [field::IP4_SRC, field::IP4_DST]
                .map(|it| any(it, (0..30).map(move |m| n * 30 + m)));
            [vec![is(V4.0, V4.1)], lists.into()].concat()
        })),
        Sets::default(),
        numbers().map(|n| packet(&[V4, (field::IP4_SRC, n), (field::IP4_DST, n)])).collect(),
        numbers().map(|n| packet(&[V4, (field::IP4_SRC, n), (field::IP4_DST, n + 30)])).collect(),
    );
    let mask = |n: u128| n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff | 1;
    case(
        "10,000 masks",
        rules((0..10_000).map(|n| vec![is(V4.0, V4.1), under(field::IP4_DST, u128::MAX, mask(n))])),
        Sets::default(),
        numbers().map(|n| to(mask(n))).collect(),
        numbers().map(|n| to(n * 2)).collect(),
    );
    let port = |n: u128| packet(&[V4, (field::IP_PROTO, 6), (field::TP_DST, n)]);
    case(
        "65,536 masks, every one of a port",
        rules((0..65_536).map(|n| vec![under(field::TP_DST, u128::MAX, n)]).skip(1)),
        Sets::default(),
        numbers().map(|n| port(n | 1)).collect(),
        vec![port(0)],
    );
    case(
        "40 masks, a rule each",
        rules((0..40).map(|n| vec![is(V4.0, V4.1), under(field::IP4_DST, u128::MAX, mask(n))])),
        Sets::default(),
        numbers().map(|n| to(mask(n % 40))).collect(),
        numbers().map(|n| to(n * 2)).collect(),
    );
    case(
        "2,000 port ranges",
        rules(
            (0..2000u128).map(|n| {
                vec![is(field::IP_PROTO, 6), range(field::TP_DST, n * 16, n * 16 + n % 100)]
            }),
        ),
        Sets::default(),
        numbers().map(|n| port(n % 2000 * 16)).collect(),
        numbers().map(|n| port(n + 40_000)).collect(),
    );
    let across = |n: u128| {
        [is(field::IP_PROTO, 6), range(field::TP_DST, n * 6 + 1, n * 6 + 3000)]
            .into_iter()
            .chain([listed(field::IP_TTL, n % 200..n % 200 + 1, true)])
            .collect()
    };
    let old = |n: u128, ttl| {
        packet(&[(field::IP_PROTO, 6), (field::TP_DST, n * 6 + 1), (field::IP_TTL, ttl)])
    };
    case(
        "10,000 port ranges across 500 others each",
        rules((0..10_000).map(across)),
        Sets::default(),
        numbers().map(|n| old(n, 255)).collect(),
        numbers()
            .map(|n| packet(&[(field::IP_PROTO, 6), (field::TP_DST, 64_000 + n % 999)]))
            .collect(),
    );
    let wide = |n: u128| range(field::TP_DST, n * 7 % 32_768 + 1, 65_535 - n * 5 % 32_000);
    case(
        "2,000 port ranges of fifteen prefix lengths",
        rules(
            (0..2000u128)
                .map(|n| vec![is(field::IP_PROTO, 6), is(field::OUTPORT, n % 50), wide(n)]),
        ),
        Sets::default(),
        numbers()
            .map(|n| {
                packet(&[(field::IP_PROTO, 6), (field::OUTPORT, n % 50), (field::TP_DST, 33_000)])
            })
            .collect(),
        numbers()
            .map(|n| packet(&[(field::IP_PROTO, 6), (field::OUTPORT, n % 50), (field::TP_DST, 0)]))
            .collect(),
    );
    let mut sets = Sets::default();
    (0..10_000u32).for_each(|n| {
        let (field, set) = match n % 2 {
            0 => (field::INPORT, ports(n)),
            _ => (field::IP4_DST, addresses(20_000 + n)),
        };
        sets.insert(set, whole(field, 7));
    });
    let both = |n| vec![of(field::INPORT, ports(n)), of(field::IP4_DST, addresses(20_000 + n))];
    case(
        "10,000 pairs of sets, of each of which one holds",
        rules((0..10_000u32).map(both).chain([vec![is(field::IP4_DST, 8)]])),
        sets,
        vec![packet(&[V4, (field::INPORT, 7), (field::IP4_DST, 8)])],
        vec![packet(&[V4, (field::INPORT, 7), (field::IP4_DST, 7)])],
    );
    let low = |n: u128| (n / 2..n / 2 + 4).map(|at| (at * 37) % 65_536);
    case(
        "2,000 rules of nothing but exceptions",
        rules((0..2000u128).map(|n| {
            let ports = listed(field::TP_DST, low(n).chain([n]), true);
            vec![ports, is(V4.0, V4.1), listed(field::IP_PROTO, [17].into_iter(), true)]
        })),
        Sets::default(),
        numbers().map(|n| packet(&[V4, (field::IP_PROTO, 6), (field::TP_DST, n)])).collect(),
        numbers().map(|n| packet(&[V4, (field::IP_PROTO, 17), (field::TP_DST, n)])).collect(),
    );
    let mut sets = Sets::default();
    (0..2000u32).for_each(|n| {
        (0..20).for_each(|m| {
            sets.insert(addresses(n), whole(field::IP4_SRC, u128::from(n % 100 * 20 + m)));
        });
    });
    let outside = |n: u32| Literal::new(field::IP4_SRC, Values::Shared(addresses(n)), true);
    case(
        "2,000 rules that except a set and UDP",
        rules((0..2000u32).map(|n| {
            vec![is(V4.0, V4.1), outside(n), listed(field::IP_PROTO, [17].into_iter(), true)]
        })),
        sets,
        numbers()
            .map(|n| packet(&[V4, (field::IP_PROTO, 6), (field::IP4_SRC, n % 2000)]))
            .collect(),
        numbers()
            .map(|n| packet(&[V4, (field::IP_PROTO, 17), (field::IP4_SRC, n % 2000)]))
            .collect(),
    );
    case(
        "2,000 rules of one list and another each",
        rules((0..2000u128).map(|n| {
            let first = any(field::IP4_SRC, 0..20);
            vec![is(V4.0, V4.1), first, any(field::TP_DST, (0..20).map(move |m| n * 20 + m))]
        })),
        Sets::default(),
        numbers().map(|n| packet(&[V4, (field::IP4_SRC, n % 20), (field::TP_DST, n)])).collect(),
        numbers()
            .map(|n| packet(&[V4, (field::IP4_SRC, n % 20), (field::TP_DST, n + 50_000)]))
            .collect(),
    );
    cases
}

/// The median time of a call, for each of some packets.
fn time(packets: &[Context], mut call: impl FnMut(&Context)) -> f64 {
    const TIMES: usize = 200;
    let mut taken: Vec<f64> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            packets.iter().for_each(&mut call);
            start.elapsed().as_secs_f64() * 1e9 / packets.len() as f64
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[TIMES / 2]
}

fn main() {
    println!(
        "{:<46} {:<9} {:>8} {:>8} {:>8} {:>10} {:>10} {:>9}",
        "table", "structure", "hashes", "hit", "miss", "1 by 1 hit", "miss", "change µs"
    );
    for Case { name, rules, sets, hits, misses } in cases() {
        let mut under_way = Rules::default();
        rules.iter().for_each(|rule| under_way.insert(rule.clone()));
        let table = under_way.table();
        let found = hits.iter().filter(|packet| table.lookup(packet, &sets).is_some()).count();
        assert_eq!(found, hits.len(), "{name}");
        assert!(misses.iter().all(|packet| table.lookup(packet, &sets).is_none()), "{name}");
        let look = |packets: &[Context]| {
            time(packets, |packet| {
                black_box(table.lookup(black_box(packet), &sets));
            })
        };
        let sorted: Vec<&Rule> = table.rules().collect();
        let one_by_one = |packets: &[Context]| {
            let matches = |rule: &&&Rule, packet: &Context| rule.matches(packet, &sets);
            let start = Instant::now();
            for packet in packets {
                black_box(sorted.iter().find(|rule| matches(rule, black_box(packet))));
            }
            start.elapsed().as_secs_f64() * 1e9 / packets.len() as f64
        };
        let rule = rules[rules.len() / 2].clone();
        let mut readers = Vec::new();
        let start = Instant::now();
        const CHANGES: usize = 200;
        for _ in 0..CHANGES / 2 {
            under_way.remove(rule.flow());
            readers.push(under_way.table());
            under_way.insert(rule.clone());
            readers.push(under_way.table());
        }
        let change = start.elapsed().as_secs_f64() * 1e6 / CHANGES as f64;
        println!(
            "{name:<46} {:<9} {:>8} {:>8.0} {:>8.0} {:>10.0} {:>10.0} {change:>9.1}",
            table.structure(),
            table.size().0,
            look(&hits),
            look(&misses),
            one_by_one(&hits),
            one_by_one(&misses),
        );
    }
}
