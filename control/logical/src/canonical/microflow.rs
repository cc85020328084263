//! A packet described by a match, as `ovn-trace` takes it.

use super::{AnnotateError, Canonical, Compare, Names, Operand, parse};
use crate::error::Error;
use crate::symbol::Symbols;
use ovn_xdp_datapath::field::Context;

/// Why a match does not describe one packet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MicroflowError {
    /// The text.
    #[error(transparent)]
    Text(#[from] Error),
    /// A symbol.
    #[error(transparent)]
    Symbol(#[from] AnnotateError),
    /// No packet matches.
    #[error("Constraints are contradictory.")]
    Contradictory,
    /// Several packets match that differ in a field that is named.
    #[error("Constraints are ambiguous: {0}.")]
    Ambiguous(String),
}

/// The packet whose named fields have the values that a match demands, and whose other bits are 0.
///
/// # Errors
/// If the match does not read, or does not say one value for each field that it names.
pub fn microflow(
    text: &str,
    symbols: &Symbols,
    names: &Names,
    port: &impl Fn(&str) -> Option<u32>,
) -> Result<Context, MicroflowError> {
    let annotated = parse(text, symbols, names)?.annotated(symbols)?;
    let constraints = annotated.clone().simplified().resolved(&|_| true).normalized();
    let mut context = Context::default();
    let list = match constraints {
        Canonical::Constant(false) => return Err(MicroflowError::Contradictory),
        Canonical::Constant(true) => Vec::new(),
        Canonical::And(list) => list,
        other => vec![other],
    };
    for each in list {
        let Canonical::Compare(Compare { symbol, operand, .. }) = each else {
            return Err(MicroflowError::Ambiguous(annotated.to_string()));
        };
        match operand {
            Operand::Number(number) => {
                let old = context.get(symbol.slice) & !number.mask;
                context.set(symbol.slice, old | number.value);
            }
            Operand::Port(name) => {
                if let Some(key) = port(&name) {
                    context.set(symbol.slice, key.into());
                }
            }
        }
    }
    Ok(context)
}
