//! From text to tokens (EX-T1 to EX-T9).
//!
//! Tokens borrow from the text; nothing is allocated. What is no token becomes
//! [`Token::Error`], so that looking ahead never fails: the error is raised only if the parser
//! gets to it.

use crate::constant::{Format, Number, prefix_mask};
use crate::error::Lexical;
use std::borrow::Cow;

/// One token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Token<'a> {
    /// The end of the text.
    End,
    /// Not a token.
    Error(Lexical),
    /// An identifier, dots included.
    Id(&'a str),
    /// What is between the quotes, escapes and all; see [`unescape`].
    Text(&'a str),
    /// An integer, masked or not.
    Number(Number),
    /// `$name`
    AddressSet(&'a str),
    /// `@name`
    PortGroup(&'a str),
    /// `^name`
    Template(&'a str),
    /// Punctuation.
    Mark(Mark),
}

/// Punctuation (EX-T8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each is named after the character it stands for")]
pub enum Mark {
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Not,
    And,
    Or,
    Ellipsis,
    Comma,
    Semicolon,
    Assign,
    Exchange,
    Decrement,
    Colon,
    Hyphen,
}

impl Mark {
    /// The characters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeftParen => "(",
            Self::RightParen => ")",
            Self::LeftBrace => "{",
            Self::RightBrace => "}",
            Self::LeftBracket => "[",
            Self::RightBracket => "]",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Not => "!",
            Self::And => "&&",
            Self::Or => "||",
            Self::Ellipsis => "..",
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Assign => "=",
            Self::Exchange => "<->",
            Self::Decrement => "--",
            Self::Colon => ":",
            Self::Hyphen => "-",
        }
    }
}

/// Reads tokens one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

const fn starts_id(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'.'
}

const fn continues_id(byte: u8) -> bool {
    starts_id(byte) || byte.is_ascii_digit()
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub const fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// Byte offset behind the last token read.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The text that is read.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.position + ahead).copied().unwrap_or(0)
    }

    /// The next token and the byte offset at which it starts.
    pub fn token(&mut self) -> (usize, Token<'a>) {
        if let Err((start, error)) = self.skip_blanks() {
            return (start, Token::Error(error));
        }
        let start = self.position;
        let Some(&byte) = self.text.as_bytes().get(start) else { return (start, Token::End) };
        let token = match byte {
            b'"' => self.string(),
            b'$' => self.sigil(Token::AddressSet),
            b'@' => self.sigil(Token::PortGroup),
            b'^' => self.sigil(Token::Template),
            b'0'..=b'9' => self.number(),
            b':' if self.peek(1) == b':' => self.number(),
            b'a'..=b'f' | b'A'..=b'F' if self.hex_run_then_colon() => self.number(),
            b'.' if self.peek(1) == b'.' => self.mark(2, Mark::Ellipsis),
            b'.' => self.bad(1, Lexical::Dot),
            _ if starts_id(byte) => Token::Id(self.id()),
            _ => self.punctuation(byte),
        };
        (start, token)
    }

    fn skip_blanks(&mut self) -> Result<(), (usize, Lexical)> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.position += 1,
                b'/' if self.peek(1) == b'/' => {
                    let rest = &self.text[self.position..];
                    self.position += rest.find('\n').unwrap_or(rest.len());
                }
                b'/' if self.peek(1) == b'*' => {
                    let rest = &self.text[self.position + 2..];
                    // A block comment ends on its own line (EX-T9).
                    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
                    let Some(end) = line.find("*/") else {
                        let start = self.position;
                        self.position += 2 + line.len();
                        return Err((start, Lexical::Comment));
                    };
                    self.position += 2 + end + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn mark(&mut self, length: usize, mark: Mark) -> Token<'a> {
        self.position += length;
        Token::Mark(mark)
    }

    fn bad(&mut self, length: usize, error: Lexical) -> Token<'a> {
        self.position += length;
        Token::Error(error)
    }

    fn punctuation(&mut self, byte: u8) -> Token<'a> {
        let next = self.peek(1);
        match byte {
            b'(' => self.mark(1, Mark::LeftParen),
            b')' => self.mark(1, Mark::RightParen),
            b'{' => self.mark(1, Mark::LeftBrace),
            b'}' => self.mark(1, Mark::RightBrace),
            b'[' => self.mark(1, Mark::LeftBracket),
            b']' => self.mark(1, Mark::RightBracket),
            b'=' if next == b'=' => self.mark(2, Mark::Equal),
            b'=' => self.mark(1, Mark::Assign),
            b'!' if next == b'=' => self.mark(2, Mark::NotEqual),
            b'!' => self.mark(1, Mark::Not),
            b'&' if next == b'&' => self.mark(2, Mark::And),
            b'|' if next == b'|' => self.mark(2, Mark::Or),
            b'&' | b'|' => self.bad(1, Lexical::Single(byte as char)),
            b'<' if next == b'=' => self.mark(2, Mark::LessOrEqual),
            b'<' if next == b'-' && self.peek(2) == b'>' => self.mark(3, Mark::Exchange),
            b'<' => self.mark(1, Mark::Less),
            b'>' if next == b'=' => self.mark(2, Mark::GreaterOrEqual),
            b'>' => self.mark(1, Mark::Greater),
            b',' => self.mark(1, Mark::Comma),
            b';' => self.mark(1, Mark::Semicolon),
            b'-' if next == b'-' => self.mark(2, Mark::Decrement),
            b'-' => self.mark(1, Mark::Hyphen),
            b':' => self.mark(1, Mark::Colon),
            b'/' => self.bad(1, Lexical::Slash),
            0x20..=0x7e => self.bad(1, Lexical::Character(byte as char)),
            _ => {
                let length = self.text[self.position..].chars().next().map_or(1, char::len_utf8);
                self.bad(length, Lexical::Byte(byte))
            }
        }
    }

    fn id(&mut self) -> &'a str {
        let start = self.position;
        while continues_id(self.peek(0)) {
            self.position += 1;
        }
        &self.text[start..self.position]
    }

    fn sigil(&mut self, token: fn(&'a str) -> Token<'a>) -> Token<'a> {
        let sigil = self.peek(0) as char;
        self.position += 1;
        if starts_id(self.peek(0)) { token(self.id()) } else { Token::Error(Lexical::Sigil(sigil)) }
    }

    fn string(&mut self) -> Token<'a> {
        let start = self.position + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            match bytes.get(at) {
                None => {
                    self.position = bytes.len();
                    return Token::Error(Lexical::UnterminatedString);
                }
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
        self.position = at + 1;
        let raw = &self.text[start..at];
        match unescape(raw) {
            Ok(_) => Token::Text(raw),
            Err(error) => Token::Error(error),
        }
    }

    fn hex_run_then_colon(&self) -> bool {
        let rest = &self.text.as_bytes()[self.position..];
        let run = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        rest.get(run) == Some(&b':')
    }

    fn number(&mut self) -> Token<'a> {
        let mut number = match self.integer() {
            Ok((value, format)) => Number { value, mask: None, format },
            Err(error) => return Token::Error(error),
        };
        if self.peek(0) != b'/' {
            return Token::Number(number);
        }
        self.position += 1;
        let (mask, format) = match self.integer() {
            Ok(mask) => mask,
            Err(error) => return Token::Error(error),
        };
        let mask = match (number.format, format) {
            (Format::Hexadecimal | Format::Wide(_), Format::Wide(_)) => {
                number.format = format;
                mask
            }
            (Format::Decimal, Format::Wide(_)) if number.value == 0 => {
                number.format = format;
                mask
            }
            (Format::Wide(_), Format::Hexadecimal) => {
                // The mask takes away what no field has.
                number.format = format;
                mask
            }
            (value, mask_format) if value == mask_format => mask,
            (Format::Ipv4, Format::Decimal) if mask <= 32 => prefix_mask(mask as u32, 32),
            (Format::Ipv6, Format::Decimal) if mask <= 128 => prefix_mask(mask as u32, 128),
            (Format::Decimal, Format::Hexadecimal) if number.value == 0 => {
                number.format = Format::Hexadecimal;
                mask
            }
            _ => return Token::Error(Lexical::MaskFormat),
        };
        number.value &= mask;
        number.mask = Some(mask);
        Token::Number(number)
    }

    fn integer(&mut self) -> Result<(u128, Format), Lexical> {
        let start = self.position;
        let mut dotted = false;
        loop {
            match self.peek(0) {
                b if b.is_ascii_alphanumeric() => {}
                // No address has a colon behind a dot: 1.2.3.4:80 is three tokens (EX-T7).
                b':' if !dotted => {}
                b'.' if self.peek(1) != b'.' => dotted = true,
                _ => break,
            }
            self.position += 1;
        }
        let text = &self.text[start..self.position];
        let bytes = text.as_bytes();
        if text.is_empty() {
            Err(Lexical::NoInteger)
        } else if let Some(mac) = ethernet(bytes) {
            Ok((mac, Format::Ethernet))
        } else if bytes.iter().all(u8::is_ascii_digit) {
            if bytes[0] == b'0' && bytes.len() > 1 {
                return Err(Lexical::LeadingZero);
            }
            let value: u64 = text.parse().map_err(|_| Lexical::DecimalTooLarge)?;
            Ok((value.into(), Format::Decimal))
        } else if bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'X')) {
            hexadecimal(&bytes[2..], bytes[1] as char)
        } else if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            Ok((u32::from(address).into(), Format::Ipv4))
        } else if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
            Ok((u128::from(address), Format::Ipv6))
        } else {
            Err(Lexical::Numeric)
        }
    }
}

/// The most bits of a constant that reads, although no field has as many.
const MAX_BITS: u32 = 1024;

fn hexadecimal(digits: &[u8], x: char) -> Result<(u128, Format), Lexical> {
    if digits.is_empty() {
        return Err(Lexical::NoHexDigits(x));
    }
    let (mut value, mut bits) = (0u128, 0u32);
    for &digit in digits {
        let digit = (digit as char).to_digit(16).ok_or(Lexical::HexSyntax)?;
        bits = if bits > 0 { bits.saturating_add(4) } else { 32 - digit.leading_zeros() };
        value = value << 4 | u128::from(digit);
    }
    match bits {
        0..=128 => Ok((value, Format::Hexadecimal)),
        129..=MAX_BITS => Ok((value, Format::Wide(bits as u16))),
        _ => Err(Lexical::HexTooLong),
    }
}

fn ethernet(bytes: &[u8]) -> Option<u128> {
    if bytes.len() != 17 {
        return None;
    }
    let mut value = 0u128;
    for (at, &byte) in bytes.iter().enumerate() {
        if at % 3 == 2 {
            if byte != b':' {
                return None;
            }
        } else {
            value = value << 4 | u128::from((byte as char).to_digit(16)?);
        }
    }
    Some(value)
}

/// The string that `raw`, the text between the quotes, stands for (EX-T3).
///
/// # Errors
/// What JSON does not know, and the byte 0, which OVSDB does not have.
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, Lexical> {
    if raw.contains('\0') {
        return Err(Lexical::NullByte);
    }
    if !raw.contains('\\') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let escape = rest.chars().next().ok_or(Lexical::Backslash)?;
        rest = &rest[escape.len_utf8()..];
        out.push(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => code_point(&mut rest)?,
            other => return Err(Lexical::Escape(other)),
        });
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// What `\u` stands for; takes the digits, and the second half of a surrogate pair, off `rest`.
fn code_point(rest: &mut &str) -> Result<char, Lexical> {
    let first = four_digits(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        // A trailing surrogate alone is no character of a Rust string.
        return char::from_u32(first).ok_or(Lexical::EscapeDigits);
    }
    *rest = rest.strip_prefix("\\u").ok_or(Lexical::SurrogatePair)?;
    let second = four_digits(rest)?;
    if !(0xdc00..0xe000).contains(&second) {
        return Err(Lexical::TrailingSurrogate);
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(code).ok_or(Lexical::EscapeDigits)
}

fn four_digits(rest: &mut &str) -> Result<u32, Lexical> {
    let digits = rest.as_bytes().get(..4).ok_or(Lexical::EscapeEnd)?;
    let value = digits
        .iter()
        .try_fold(0, |value, &digit| Some(value << 4 | (digit as char).to_digit(16)?))
        .ok_or(Lexical::EscapeDigits)?;
    if value == 0 {
        return Err(Lexical::NullByte);
    }
    *rest = &rest[4..];
    Ok(value)
}
