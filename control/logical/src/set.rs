//! Address sets, as the Southbound DB has them: texts of addresses and prefixes.
//!
//! A set may mix notations. What a member matches depends on the field: an IPv4 address compared
//! with a field of 128 bits is an integer of 128 bits, and a member wider than the field is an
//! error, both as in OVN.

use crate::constant::Number;
use crate::lexer::{Lexer, Token};
use crate::resolve::SetError;
use ovn_xdp_datapath::classify::Masked;

/// One member of an address set, or `None` if the text is no constant. Text behind it is ignored.
pub fn member(text: &str) -> Option<Number> {
    match Lexer::new(text).token().1 {
        Token::Number(number) => Some(number),
        _ => None,
    }
}

/// What a member matches in a field of `width` bits.
///
/// # Errors
/// If it is wider than that (EX-E5).
pub fn fit(member: &Number, width: u32) -> Result<Masked, SetError> {
    let bits = member.width();
    if bits > width {
        return Err(SetError::TooWide { bits });
    }
    let mask = member.mask.unwrap_or(u128::MAX >> (128 - width.clamp(1, 128)));
    Ok(Masked { value: member.value & mask, mask })
}
