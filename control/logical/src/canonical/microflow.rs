//! A packet described by a match, as `ovn-trace` takes it.

use super::{AnnotateError, Canonical, Compare, Operand};
use crate::error::Error;
use crate::symbol::Symbols;
use ovn_xdp_datapath::field::{self, Context, Slice};

/// Fields that OVN leaves at zero whatever the match says: they fill no byte, and what it sets a
/// packet by knows no mask for them.
const IGNORED: [Slice; 2] = [field::IP_DSCP, field::IP_ECN];

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

impl Canonical {
    /// The packet whose named fields have the values that a match demands, and whose other bits are
    /// 0. A port that `port` does not know says nothing.
    ///
    /// # Errors
    /// If the match does not say one value for each field that it names.
    pub fn microflow(
        self,
        symbols: &Symbols,
        port: &impl Fn(&str) -> Option<u32>,
    ) -> Result<Context, MicroflowError> {
        let annotated = self.annotated(symbols)?;
        let constraints = annotated.clone().simplified().resolved(&|_| true).normalized();
        let mut context = Context::default();
        let list = match constraints {
            Self::Constant(false) => return Err(MicroflowError::Contradictory),
            Self::Constant(true) => Vec::new(),
            Self::And(list) => list,
            other => vec![other],
        };
        for each in list {
            let Self::Compare(Compare { symbol, operand, .. }) = each else {
                return Err(MicroflowError::Ambiguous(annotated.to_string()));
            };
            match operand {
                Operand::Number(_) if IGNORED.contains(&symbol.slice) => {}
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

    /// The ports that a match compares a field of ports with, as they are named.
    pub fn ports(&self, field: &str) -> Vec<&str> {
        match self {
            Self::And(list) | Self::Or(list) => {
                list.iter().flat_map(|each| each.ports(field)).collect()
            }
            Self::Compare(Compare { symbol, operand: Operand::Port(name), .. })
                if symbol.name == field =>
            {
                vec![name]
            }
            _ => Vec::new(),
        }
    }
}
