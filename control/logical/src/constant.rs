//! Integer constants: a value, perhaps a mask, and the notation they were written in.
//!
//! The notation decides which masks are allowed (EX-T6), how wide a constant counts (EX-E5) and
//! how it is printed again. Bits of the value outside the mask are always zero.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The notation of a constant (EX-T5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// `80`
    Decimal,
    /// `0x50`
    Hexadecimal,
    /// `10.0.0.1`
    Ipv4,
    /// `fe80::1`
    Ipv6,
    /// `0a:00:00:00:00:01`
    Ethernet,
    /// `0x…` of more bits than any field has, so many. It reads, but fits nothing (EX-E5).
    Wide(u16),
}

/// An integer constant, masked or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Number {
    /// The value.
    pub value: u128,
    /// The bits that count, or `None` for all.
    pub mask: Option<u128>,
    /// How it was written.
    pub format: Format,
}

/// One bits at the top of `width` bits, for a prefix length of at most `width`.
pub(crate) const fn prefix_mask(length: u32, width: u32) -> u128 {
    if length == 0 { 0 } else { (u128::MAX << (128 - length)) >> (128 - width) }
}

impl Number {
    /// An unmasked decimal.
    pub const fn decimal(value: u64) -> Self {
        Self { value: value as u128, mask: None, format: Format::Decimal }
    }

    /// The fewest bits that a field must have to be compared with this constant (EX-E5).
    pub fn width(&self) -> u32 {
        if let Format::Wide(bits) = self.format {
            return bits.into();
        }
        if let Some(mask) = self.mask {
            return 128 - mask.leading_zeros();
        }
        match self.format {
            Format::Decimal | Format::Hexadecimal => 128 - self.value.leading_zeros(),
            Format::Ipv4 => 32,
            Format::Ipv6 => 128,
            Format::Ethernet => 48,
            Format::Wide(bits) => bits.into(),
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: u128, format: Format) -> fmt::Result {
    match format {
        Format::Decimal => write!(f, "{value}"),
        Format::Hexadecimal if value == 0 => f.write_str("0"),
        Format::Hexadecimal | Format::Wide(_) => write!(f, "{value:#x}"),
        Format::Ipv4 => write!(f, "{}", Ipv4Addr::from(value as u32)),
        Format::Ipv6 => write!(f, "{}", Ipv6Addr::from(value)),
        Format::Ethernet => {
            let b = value.to_be_bytes();
            write!(
                f,
                "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                b[10], b[11], b[12], b[13], b[14], b[15]
            )
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self.value, self.format)?;
        let Some(mask) = self.mask else { return Ok(()) };
        f.write_str("/")?;
        let width = match self.format {
            Format::Ipv4 => 32,
            Format::Ipv6 => 128,
            _ => return write_value(f, mask, self.format),
        };
        let length = mask.count_ones();
        if mask == prefix_mask(length, width) {
            write!(f, "{length}")
        } else {
            write_value(f, mask, self.format)
        }
    }
}

/// A string in double quotes with JSON escapes, as OVN prints it.
pub(crate) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
