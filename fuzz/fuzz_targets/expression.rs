//! Text of a match: nothing panics, what is printed reads back as the same, and all forms of a
//! match mean the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ovn_xdp_datapath::field::{Context, SLOTS};
use ovn_xdp_logical::canonical::{self, Names};
use ovn_xdp_logical::expr::Expr;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::set::member;
use ovn_xdp_logical::symbol::Symbols;
use std::sync::LazyLock;

/// Above that many comparisons a normal form may have more terms than there is time for.
const FEW: usize = 4;

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    address_sets: [("as1".to_owned(), vec![member("10.0.0.1").unwrap()])].into(),
    port_groups: [("pg".to_owned(), vec!["p1".to_owned(), "p2".to_owned()])].into(),
});

fuzz_target!(|text: &str| {
    for symbols in [Symbols::flow(), Symbols::acl_ct_translation()] {
        match parse(text, symbols) {
            Ok(expr) => {
                read_back(text, &expr.to_string(), |t| parse(t, symbols).map(|e| e.to_string()));
                let _ = expr.clone().annotate().expr().to_string();
                canonical_forms(text, &expr, symbols);
            }
            Err(error) => assert!(error.offset <= text.len(), "{error}"),
        }
    }
});

/// Printing adds parentheses, of which there may be too many then.
fn read_back<E: std::fmt::Display>(
    text: &str,
    printed: &str,
    read: impl Fn(&str) -> Result<String, E>,
) {
    match read(printed) {
        Ok(again) => assert_eq!(printed, again, "{text}"),
        Err(error) => {
            // OVN reads a masked constant for a nominal field, and prints a slice that it refuses.
            let slice = error.to_string().starts_with("Cannot select subfield of nominal field");
            assert!(slice || text.len() > 100, "{text}\n{printed}\n{error}");
        }
    }
}

fn canonical_forms(text: &str, expr: &Expr, symbols: &Symbols) {
    let Ok(read) = canonical::parse(text, symbols, &NAMES) else { return };
    read_back(text, &read.to_string(), |t| {
        canonical::parse(t, symbols, &NAMES).map(|e| e.to_string())
    });
    let annotated = read.annotated(symbols).expect("no symbol is defined wrong");
    let mut comparisons = 0;
    expr.leaves(&mut |_| comparisons += 1);
    if comparisons > FEW || text.len() > 200 {
        return;
    }
    let simplified = annotated.clone().simplified().resolved(&|_| true);
    let normalized = simplified.clone().normalized();
    // Two ports have no key in common: that is why OVN may compare their names.
    let port = |name: &str| {
        ["none", "", "p1", "p2"].iter().position(|known| *known == name).map(|key| key as u32)
    };
    let mut state = text.len() as u128 | 1;
    for _ in 0..8 {
        let slots = [0; SLOTS].map(|_: u128| {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(99);
            state >> 64 & 0x0101_0301 | state << 64 & 0x3 << 96
        });
        let packet = Context { slots };
        let holds = annotated.holds(&packet, &port);
        assert_eq!(simplified.holds(&packet, &port), holds, "{text}\n{simplified}");
        assert_eq!(normalized.holds(&packet, &port), holds, "{text}\n{normalized}");
    }
}
