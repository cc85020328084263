//! A packet described by a match, as `ovn-trace` takes it.

use super::{AnnotateError, Canonical, Compare, Operand};
use crate::error::Error;
use crate::symbol::{Level, Symbol, Symbols};
use ovn_xdp_datapath::field::{self, Context, Slice};

/// Whether OVN leaves a field at zero whatever the match says: what it sets a packet by knows no mask
/// for nominal fields, and DSCP and ECN fill no byte.
fn ignored(symbol: &Symbol, mask: u128) -> bool {
    symbol.level == Level::Nominal && mask.count_ones() < symbol.width.next_multiple_of(8)
}

/// The bits of a field that OVN has room for in a packet.
fn kept(slice: Slice) -> u128 {
    match slice {
        field::ARP_OP | field::CT_STATE => 0xff,
        _ => u128::MAX,
    }
}

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
                Operand::Number(number) if ignored(symbol, number.mask) => {}
                Operand::Number(number) => {
                    let old = context.get(symbol.slice) & !number.mask;
                    context.set(symbol.slice, (old | number.value) & kept(symbol.slice));
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
