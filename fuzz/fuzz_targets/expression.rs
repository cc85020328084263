//! Text of a match: nothing panics, and what is printed reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::symbol::Symbols;

fuzz_target!(|text: &str| {
    for symbols in [Symbols::flow(), Symbols::acl_ct_translation()] {
        match parse(text, symbols) {
            Ok(expr) => {
                let printed = expr.to_string();
                match parse(&printed, symbols) {
                    Ok(again) => assert_eq!(printed, again.to_string()),
                    // Printing adds parentheses, of which there may be too many then.
                    Err(error) => assert!(text.len() > 100, "{text}\n{printed}\n{error}"),
                }
                let _ = expr.annotate().expr().to_string();
            }
            Err(error) => assert!(error.offset <= text.len(), "{error}"),
        }
    }
});
