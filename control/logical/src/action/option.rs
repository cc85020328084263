//! Options with values: `name = constant` or `name = {constant, …}`.

use super::context::{Context, OptionKind};
use crate::canonical::Names;
use crate::constant::{Format, Number};
use crate::error::{Error, Problem, Refused};
use crate::lexer::{Mark, Token};
use crate::parse::Constants;

/// An option and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenOption {
    /// As written.
    pub name: Box<str>,
    /// Its number on the wire.
    pub code: u16,
    /// The type of its value, as the table of options has it.
    pub kind: Box<str>,
    /// Its value.
    pub value: OptionValue,
    /// Whether the value was written in braces.
    pub braces: bool,
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OptionValue {
    /// Integers, addresses or prefixes; at least one.
    Numbers(Vec<Number>),
    /// Strings; at least one.
    Strings(Vec<Box<str>>),
}

impl GivenOption {
    /// The only value, if it is a string.
    pub fn string(&self) -> Option<&str> {
        match &self.value {
            OptionValue::Strings(strings) => match &strings[..] {
                [only] => Some(only),
                _ => None,
            },
            OptionValue::Numbers(_) => None,
        }
    }

    /// The only value, if it is a number.
    pub fn number(&self) -> Option<&Number> {
        match &self.value {
            OptionValue::Numbers(numbers) => match &numbers[..] {
                [only] => Some(only),
                _ => None,
            },
            OptionValue::Strings(_) => None,
        }
    }

    /// Whether there is more than one value.
    pub(super) fn is_many(&self) -> bool {
        match &self.value {
            OptionValue::Numbers(numbers) => numbers.len() > 1,
            OptionValue::Strings(strings) => strings.len() > 1,
        }
    }
}

impl Context<'_> {
    /// Options up to the closing parenthesis.
    pub(super) fn options<'t>(
        &mut self,
        family: &'static str,
        known: impl Fn(&str) -> Option<OptionRef<'t>>,
    ) -> Result<Vec<GivenOption>, Error> {
        let mut options = Vec::new();
        while !self.cursor.accept(Mark::RightParen) {
            options.push(self.option(family, &known)?);
            self.cursor.accept(Mark::Comma);
        }
        Ok(options)
    }

    fn option<'t>(
        &mut self,
        family: &'static str,
        known: &impl Fn(&str) -> Option<OptionRef<'t>>,
    ) -> Result<GivenOption, Error> {
        let Token::Id(name) = self.cursor.token else { return Err(self.cursor.syntax("")) };
        let option = known(name)
            .ok_or_else(|| self.cursor.syntax(format!("expecting {family} option name")))?;
        self.cursor.advance();
        self.cursor.expect(Mark::Assign)?;
        let constants = Constants::read(&mut self.cursor, &Names::NONE)?;
        let strings = constants.are_strings();
        let wanted = match option.kind {
            "host_id" => strings,
            "str" | "domains" | "domain" => true,
            _ => false,
        };
        if strings != wanted {
            let option = name.into();
            return Err(self.refuse(Refused::OptionType { family, option, string: wanted }));
        }
        let value = if strings {
            OptionValue::Strings(constants.strings().map(Box::from).collect())
        } else {
            OptionValue::Numbers(constants.numbers().copied().collect())
        };
        if let Some(wide) = constants.numbers().find(|n| matches!(n.format, Format::Wide(_))) {
            let (bits, width) = (wide.width(), 128);
            return Err(self.cursor.error(Problem::ConstantWidth {
                bits,
                width,
                field: name.into(),
            }));
        }
        let (code, kind) = (option.code, option.kind.into());
        Ok(GivenOption { name: name.into(), code, kind, value, braces: constants.braces })
    }
}

/// An option as a table knows it.
#[derive(Clone, Copy)]
pub(super) struct OptionRef<'a> {
    pub(super) code: u16,
    pub(super) kind: &'a str,
}

impl<'a> From<&'a OptionKind> for OptionRef<'a> {
    fn from(kind: &'a OptionKind) -> Self {
        Self { code: kind.code, kind: &kind.kind }
    }
}
