//! Every form of a match means the same for every packet of a small world: what is compiled, what
//! is printed for comparison with OVN, and what a reader of the text would say.

use ovn_xdp_datapath::classify::{Masked, Sets, SharedSet};
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_logical::canonical::{self, Names};
use ovn_xdp_logical::evaluate::evaluate;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::resolve::{Resolve, SetError};
use ovn_xdp_logical::symbol::Symbols;
use proptest::prelude::*;

/// Ports are named by their keys; there are no sets.
struct Ports;

impl Resolve for Ports {
    fn port(&mut self, name: &str) -> Option<u32> {
        name.parse().ok()
    }

    fn address_set(&mut self, _: &str, _: u32) -> Result<SharedSet, SetError> {
        Err(SetError::Unknown)
    }

    fn address_list(&mut self, _: &str, _: u32) -> Result<Vec<Masked>, SetError> {
        Err(SetError::Unknown)
    }

    fn has_no_members(&mut self, _: &str) -> bool {
        false
    }

    fn port_group(&mut self, _: &str) -> Option<SharedSet> {
        None
    }

    fn is_chassis_resident(&mut self, _: &str) -> bool {
        true
    }
}

/// A match, as whoever wrote it means it.
#[derive(Clone, Debug)]
enum Meant {
    Constant(bool),
    /// Two bits of reg0 in a relation to a number.
    Register(&'static str, u128),
    /// Two bits of reg1 among numbers, or among none of them.
    Among(bool, Vec<u128>),
    /// A bit of ct_state, which has a meaning only if the connection is tracked.
    State(&'static str, u32),
    Port(u32),
    Not(Box<Meant>),
    All(Vec<Meant>),
    Any(Vec<Meant>),
}

impl Meant {
    fn text(&self) -> String {
        let list = |list: &[Self], operator| {
            let each: Vec<String> = list.iter().map(|m| format!("({})", m.text())).collect();
            each.join(operator)
        };
        match self {
            Self::Constant(value) => u8::from(*value).to_string(),
            Self::Register(relation, value) => format!("reg0[0..1] {relation} {value}"),
            Self::Among(among, values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                let relation = if *among { "==" } else { "!=" };
                format!("reg1[0..1] {relation} {{{}}}", values.join(", "))
            }
            Self::State(name, _) => (*name).to_owned(),
            Self::Port(key) => format!("inport == \"{key}\""),
            Self::Not(inner) => format!("!({})", inner.text()),
            Self::All(inner) => list(inner, " && "),
            Self::Any(inner) => list(inner, " || "),
        }
    }

    /// `negated` is whether an odd number of `!` stands before: a prerequisite is outside of them.
    fn holds(&self, packet: &Context, negated: bool) -> bool {
        match self {
            Self::Constant(value) => *value != negated,
            Self::Register(relation, value) => {
                let found = packet.get(field::reg(0)) & 3;
                let holds = match *relation {
                    "==" => found == *value,
                    "!=" => found != *value,
                    "<" => found < *value,
                    "<=" => found <= *value,
                    ">" => found > *value,
                    _ => found >= *value,
                };
                holds != negated
            }
            Self::Among(among, values) => {
                (values.contains(&(packet.get(field::reg(1)) & 3)) == *among) != negated
            }
            Self::State(_, bit) => {
                let state = packet.get(field::CT_STATE);
                (state >> bit & 1 == 1) != negated && state >> 5 & 1 == 1
            }
            Self::Port(key) => (packet.get(field::INPORT) == u128::from(*key)) != negated,
            Self::Not(inner) => inner.holds(packet, !negated),
            Self::All(inner) if negated => inner.iter().any(|m| m.holds(packet, true)),
            Self::All(inner) => inner.iter().all(|m| m.holds(packet, false)),
            Self::Any(inner) if negated => inner.iter().all(|m| m.holds(packet, true)),
            Self::Any(inner) => inner.iter().any(|m| m.holds(packet, false)),
        }
    }
}

/// A port may be compared only where no `!` stands before.
fn meant(ports: bool) -> impl Strategy<Value = Meant> {
    let relation = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let state = prop::sample::select(vec![("ct.new", 0), ("ct.est", 1), ("ct.rpl", 3)]);
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Meant::Constant),
        4 => (relation, 0..4u128).prop_map(|(relation, value)| Meant::Register(relation, value)),
        4 => (any::<bool>(), prop::collection::vec(0..4u128, 1..4))
            .prop_map(|(among, values)| Meant::Among(among, values)),
        4 => state.prop_map(|(name, bit)| Meant::State(name, bit)),
        u32::from(ports) * 3 => (0..3u32).prop_map(Meant::Port),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            2 => several().prop_map(Meant::All),
            2 => several().prop_map(Meant::Any),
            u32::from(!ports) => inner.clone().prop_map(|m| Meant::Not(Box::new(m))),
        ]
    })
}

/// Every packet of the small world.
fn packets() -> impl Iterator<Item = Context> {
    (0..1u128 << 10).map(|bits| {
        let mut packet = Context::default();
        packet.set(field::reg(0), bits & 3);
        packet.set(field::reg(1), bits >> 2 & 3);
        packet.set(field::INPORT, bits >> 4 & 3);
        let state = bits >> 6;
        packet.set(field::CT_STATE, state & 3 | (state >> 2 & 1) << 3 | (state >> 3 & 1) << 5);
        packet
    })
}

fn check(meant: &Meant) {
    let text = meant.text();
    let port = |name: &str| name.parse().ok();
    let symbols = Symbols::flow();
    let compiled = parse(&text, symbols).unwrap_or_else(|e| panic!("{text}: {e}")).annotate();
    let clauses = compiled.clauses(&mut Ports).unwrap();
    let read = canonical::parse(&text, symbols, &Names::NONE).unwrap();
    let printed = read.to_string();
    let again = canonical::parse(&printed, symbols, &Names::NONE).unwrap();
    assert_eq!(printed, again.to_string(), "{text}");
    let annotated = read.annotated(symbols).unwrap();
    let simplified = annotated.clone().simplified().resolved(&|_| true);
    let normalized = simplified.clone().normalized();
    let sets = Sets::default();
    for packet in packets() {
        let holds = meant.holds(&packet, false);
        let place = || format!("{text}\n{normalized}\n{packet:?}");
        assert_eq!(evaluate(&compiled, &packet, &mut Ports, &sets), holds, "{}", place());
        assert_eq!(clauses.iter().any(|c| c.matches(&packet, &sets)), holds, "{}", place());
        for form in [&annotated, &simplified, &normalized] {
            assert_eq!(form.holds(&packet, &port), holds, "{form}\n{}", place());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn all_forms_of_a_match_mean_what_its_text_says(meant in meant(false)) {
        check(&meant);
    }

    #[test]
    fn and_so_do_those_that_name_ports(meant in meant(true)) {
        check(&meant);
    }
}
