//! A field or a slice of one, as an action or comparison names it.

use crate::constant::Number;
use crate::error::Problem;
use crate::symbol::{Symbol, Writable};
use ovn_xdp_datapath::classify::Masked;
use ovn_xdp_datapath::field::Slice;
use std::fmt;

/// Bits of a symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldRef {
    /// The symbol.
    pub symbol: &'static Symbol,
    /// Its lowest bit meant.
    pub low: u32,
    /// Number of bits, or zero for a field that holds a port.
    pub bits: u32,
}

impl FieldRef {
    /// All of a symbol.
    pub const fn whole(symbol: &'static Symbol) -> Self {
        Self { symbol, low: 0, bits: symbol.width }
    }

    /// Where the bits are in the packet's context.
    pub fn slice(&self) -> Slice {
        if self.bits == 0 {
            return self.symbol.slice;
        }
        // Construction checks the bits against the symbol's width.
        self.symbol
            .slice
            .bits(self.low as u8, (self.low + self.bits - 1) as u8)
            .unwrap_or(self.symbol.slice)
    }

    /// What a constant says of the symbol's bits.
    pub(crate) fn placed(&self, number: &Number) -> Masked {
        let ones = u128::MAX >> (128 - self.bits.clamp(1, 128));
        let mask = number.mask.unwrap_or(ones) & ones;
        Masked { value: (number.value & mask) << self.low, mask: mask << self.low }
    }

    /// Whether it holds a port rather than an integer.
    pub const fn is_port(&self) -> bool {
        self.symbol.width == 0
    }

    /// "integer" or "string".
    pub(crate) const fn type_name(&self) -> &'static str {
        if self.is_port() { "string" } else { "integer" }
    }

    /// Whether the field has `bits` bits (zero for a port) and, if `write`, may be written here
    /// (ACT-P3).
    pub(crate) fn check(&self, bits: u32, write: bool, in_commit: bool) -> Result<(), Problem> {
        let name = || self.symbol.name.into();
        if bits != self.bits {
            return Err(match (bits, self.bits) {
                (0, _) => Problem::NumericField(name()),
                (_, 0) => Problem::StringField(name()),
                (wanted, found) => {
                    Problem::FieldWidth { found, wanted, field: self.bit_range().into() }
                }
            });
        }
        let writable = match self.symbol.writable {
            Writable::Never => false,
            Writable::Packet => !in_commit,
            Writable::Commit => in_commit,
            Writable::Anywhere => true,
        };
        if write && !writable { Err(Problem::NotModifiable(name())) } else { Ok(()) }
    }

    /// The field with the range of its bits, as messages name it.
    pub(crate) fn bit_range(&self) -> String {
        let last = i64::from(self.low) + i64::from(self.bits) - 1;
        format!("{}[{}..{last}]", self.symbol.name, self.low)
    }
}

impl fmt::Display for FieldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol.name)?;
        if self.bits == self.symbol.width {
            Ok(())
        } else if self.bits == 1 {
            write!(f, "[{}]", self.low)
        } else {
            write!(f, "[{}..{}]", self.low, self.low + self.bits - 1)
        }
    }
}
