//! The parsers' place in a text: one current token, and errors that say where it is.

use crate::constant::{Format, Number};
use crate::error::{Error, Problem};
use crate::lexer::{Lexer, Mark, Token, unescape};
use std::borrow::Cow;

/// The current token of a text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    lexer: Lexer<'a>,
    start: usize,
    pub(crate) token: Token<'a>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut lexer = Lexer::new(text);
        let (start, token) = lexer.token();
        Self { lexer, start, token }
    }

    pub(crate) fn advance(&mut self) {
        (self.start, self.token) = self.lexer.token();
    }

    /// The token behind the current one.
    pub(crate) fn lookahead(&self) -> Token<'a> {
        self.lexer.clone().token().1
    }

    pub(crate) fn error(&self, problem: impl Into<Problem>) -> Error {
        match self.token {
            // Nothing accepts a token that is none; the cause is more useful than the effect.
            Token::Error(error) => Error::new(self.start, error.into()),
            _ => Error::new(self.start, problem.into()),
        }
    }

    /// "Syntax error at …" followed by `expected`, which starts with "expecting" or is empty.
    pub(crate) fn syntax(&self, expected: impl Into<Cow<'static, str>>) -> Error {
        let found = (self.token != Token::End)
            .then(|| self.lexer.text()[self.start..self.lexer.position()].into());
        self.error(Problem::Syntax { found, expected: expected.into() })
    }

    pub(crate) fn is(&self, mark: Mark) -> bool {
        self.token == Token::Mark(mark)
    }

    pub(crate) fn accept(&mut self, mark: Mark) -> bool {
        let found = self.is(mark);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect(&mut self, mark: Mark) -> Result<(), Error> {
        if self.accept(mark) {
            Ok(())
        } else {
            Err(self.syntax(format!("expecting `{}'", mark.as_str())))
        }
    }

    pub(crate) fn accept_id(&mut self, id: &str) -> bool {
        let found = matches!(self.token, Token::Id(found) if found == id);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn accept_text(&mut self, text: &str) -> bool {
        let found = matches!(self.token, Token::Text(found) if found == text);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn expect_end(&self) -> Result<(), Error> {
        if self.token == Token::End { Ok(()) } else { Err(self.syntax("expecting end of input")) }
    }

    /// An unmasked decimal that fits a C `int`, without advancing.
    pub(crate) fn small_integer(&self) -> Option<u32> {
        match self.token {
            Token::Number(Number { value, mask: None, format: Format::Decimal })
                if value <= i32::MAX as u128 =>
            {
                Some(value as u32)
            }
            _ => None,
        }
    }

    pub(crate) fn expect_small_integer(&mut self) -> Result<u32, Error> {
        let value = self.small_integer().ok_or_else(|| self.syntax("expecting small integer"))?;
        self.advance();
        Ok(value)
    }

    pub(crate) fn expect_u16(&mut self, what: &'static str) -> Result<u16, Error> {
        match self.small_integer().and_then(|value| u16::try_from(value).ok()) {
            Some(value) => {
                self.advance();
                Ok(value)
            }
            None => Err(self.syntax(format!("expecting {what}"))),
        }
    }

    /// An unmasked decimal of up to 64 bits, without advancing.
    pub(crate) fn decimal(&self) -> Option<u64> {
        match self.token {
            Token::Number(Number { value, mask: None, format: Format::Decimal }) => {
                Some(value as u64)
            }
            _ => None,
        }
    }

    /// A quoted string, decoded; advances if there is one.
    pub(crate) fn accept_string(&mut self) -> Option<Cow<'a, str>> {
        let Token::Text(raw) = self.token else { return None };
        let text = unescape(raw).ok()?;
        self.advance();
        Some(text)
    }

    pub(crate) fn expect_string(&mut self, expected: &'static str) -> Result<Box<str>, Error> {
        match self.accept_string() {
            Some(text) => Ok(text.into()),
            None => Err(self.syntax(expected)),
        }
    }
}
