//! From tokens to an expression (EX-G1 to EX-G14, EX-E1 to EX-E19).
//!
//! Reading keeps track of whether it is behind an odd number of `!`, because nominal fields may be
//! tested for equality only, all of them counted (EX-G10). Sets and groups stay names here: who
//! turns the expression into clauses says what is in them.

use crate::constant::{Format, Number};
use crate::cursor::Cursor;
use crate::error::{Error, Problem};
use crate::expr::{Comparison, Expr, Operand, Relation};
use crate::field::FieldRef;
use crate::lexer::{Mark, Token, unescape};
use crate::symbol::{Kind, Level, Symbols};
use ovn_xdp_datapath::classify::Masked;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Nested parentheses (EX-G13).
const MAX_DEPTH: u32 = 100;

/// Reads a match.
///
/// # Errors
/// The first problem in the text, with its place.
pub fn parse(text: &str, symbols: &Symbols) -> Result<Expr, Error> {
    let mut parser = Parser { cursor: Cursor::new(text), symbols, not: false, depth: 0 };
    let expr = parser.chain()?;
    parser.cursor.expect_end()?;
    Ok(expr)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    symbols: &'a Symbols,
    not: bool,
    depth: u32,
}

fn relation(token: Token<'_>) -> Option<Relation> {
    let Token::Mark(mark) = token else { return None };
    Some(match mark {
        Mark::Equal => Relation::Equal,
        Mark::NotEqual => Relation::NotEqual,
        Mark::Less => Relation::Less,
        Mark::LessOrEqual => Relation::LessOrEqual,
        Mark::Greater => Relation::Greater,
        Mark::GreaterOrEqual => Relation::GreaterOrEqual,
        _ => return None,
    })
}

/// Constants as written, one or several.
#[derive(Default, Clone)]
pub(crate) struct Constants<'a> {
    pub(crate) numbers: SmallVec<[Number; 2]>,
    pub(crate) strings: SmallVec<[Cow<'a, str>; 1]>,
    sets: SmallVec<[&'a str; 1]>,
    groups: SmallVec<[&'a str; 1]>,
    pub(crate) braces: bool,
}

impl<'a> Constants<'a> {
    pub(crate) fn are_strings(&self) -> bool {
        !self.strings.is_empty() || !self.groups.is_empty()
    }

    fn are_integers(&self) -> bool {
        !self.numbers.is_empty() || !self.sets.is_empty()
    }

    /// One or several constants; names of sets and groups only if `named`.
    pub(crate) fn read(cursor: &mut Cursor<'a>, named: bool) -> Result<Self, Error> {
        let mut constants = Self::default();
        if cursor.accept(Mark::LeftBrace) {
            constants.braces = true;
            loop {
                constants.read_one(cursor, named)?;
                cursor.accept(Mark::Comma);
                if cursor.accept(Mark::RightBrace) {
                    break;
                }
            }
        } else {
            constants.read_one(cursor, named)?;
        }
        Ok(constants)
    }

    pub(crate) fn read_one(&mut self, cursor: &mut Cursor<'a>, named: bool) -> Result<(), Error> {
        let string = match cursor.token {
            Token::Text(_) | Token::PortGroup(_) => true,
            Token::Number(_) | Token::AddressSet(_) => false,
            Token::Template(_) => return Err(cursor.error(Problem::UnexpandedTemplate)),
            _ => return Err(cursor.syntax("expecting constant")),
        };
        if string && self.are_integers() {
            return Err(cursor.syntax("expecting integer"));
        }
        if !string && self.are_strings() {
            return Err(cursor.syntax("expecting string"));
        }
        match cursor.token {
            Token::Text(raw) => self.strings.push(unescape(raw).unwrap_or(Cow::Borrowed(raw))),
            Token::Number(number) => self.numbers.push(number),
            Token::AddressSet(name) if named => self.sets.push(name),
            Token::PortGroup(name) if named => self.groups.push(name),
            Token::AddressSet(_) => return Err(cursor.syntax("expecting address set name")),
            _ => return Err(cursor.syntax("expecting port group name")),
        }
        cursor.advance();
        Ok(())
    }

    /// EX-E5 and EX-E6.
    pub(crate) fn check(&self, cursor: &Cursor<'_>, field: &FieldRef) -> Result<(), Error> {
        let symbol = field.symbol;
        if self.are_strings() != (symbol.width == 0) {
            return Err(cursor.error(Problem::ConstantType {
                field: symbol.name.into(),
                integer_field: symbol.width != 0,
            }));
        }
        for number in &self.numbers {
            let bits = number.width();
            if bits > symbol.width {
                return Err(cursor.error(Problem::ConstantWidth {
                    bits,
                    width: symbol.width,
                    field: symbol.name.into(),
                }));
            }
        }
        Ok(())
    }
}

/// A field or a slice of one (EX-G8).
pub(crate) fn field(cursor: &mut Cursor<'_>, symbols: &Symbols) -> Result<FieldRef, Error> {
    let symbol = match cursor.token {
        Token::Id(name) => symbols.get(name),
        Token::Template(_) => return Err(cursor.error(Problem::UnexpandedTemplate)),
        _ => None,
    };
    let symbol = symbol.ok_or_else(|| cursor.syntax("expecting field name"))?;
    cursor.advance();
    if !cursor.accept(Mark::LeftBracket) {
        return Ok(FieldRef::whole(symbol));
    }
    let name = || symbol.name.into();
    if symbol.width == 0 {
        return Err(cursor.error(Problem::SliceOfString(name())));
    }
    let low = cursor.expect_small_integer()?;
    let high = if cursor.accept(Mark::Ellipsis) { cursor.expect_small_integer()? } else { low };
    cursor.expect(Mark::RightBracket)?;
    if low > high {
        return Err(cursor.error(Problem::SliceReversed { low, high }));
    }
    if high >= symbol.width {
        let width = symbol.width;
        return Err(cursor.error(Problem::SliceOutside { low, high, width, field: name() }));
    }
    if symbol.level == Level::Nominal && (low != 0 || high != symbol.width - 1) {
        return Err(cursor.error(Problem::SliceOfNominal(name())));
    }
    Ok(FieldRef { symbol, low, bits: high - low + 1 })
}

impl<'a> Parser<'a> {
    /// EX-G1.
    fn chain(&mut self) -> Result<Expr, Error> {
        let mut expr = self.not()?;
        let mark = match self.cursor.token {
            Token::Mark(mark @ (Mark::And | Mark::Or)) => mark,
            _ => return Ok(expr),
        };
        while self.cursor.accept(mark) {
            let next = self.not()?;
            expr = if mark == Mark::And { expr.and(next) } else { expr.or(next) };
        }
        if self.cursor.is(Mark::And) || self.cursor.is(Mark::Or) {
            return Err(self.cursor.error(Problem::MixedChain));
        }
        Ok(expr)
    }

    /// EX-G2.
    fn not(&mut self) -> Result<Expr, Error> {
        if !self.cursor.accept(Mark::Not) {
            return Ok(self.primary()?.0);
        }
        self.not = !self.not;
        let (expr, atomic) = self.primary()?;
        self.not = !self.not;
        if atomic {
            Ok(expr.inverted())
        } else {
            Err(self.cursor.error(Problem::UnparenthesizedNot))
        }
    }

    /// An operand, and whether `!` may stand before it.
    fn primary(&mut self) -> Result<(Expr, bool), Error> {
        if self.cursor.accept(Mark::LeftParen) {
            if self.depth >= MAX_DEPTH {
                return Err(self.cursor.error(Problem::TooDeep));
            }
            self.depth += 1;
            let expr = self.chain()?;
            self.depth -= 1;
            self.cursor.expect(Mark::RightParen)?;
            return Ok((expr, true));
        }
        match self.cursor.token {
            Token::Id(name) => {
                if self.cursor.lookahead() == Token::Mark(Mark::LeftParen) {
                    return Ok((self.function(name)?, true));
                }
                self.field_first()
            }
            _ => self.constant_first(),
        }
    }

    /// EX-G12.
    fn function(&mut self, name: &str) -> Result<Expr, Error> {
        if name != "is_chassis_resident" {
            return Err(self.cursor.error(Problem::FunctionName));
        }
        self.cursor.advance();
        self.cursor.advance();
        let port = self.cursor.expect_string("expecting string")?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Expr::Resident { port, negated: false })
    }

    fn relop(&mut self) -> Result<Relation, Error> {
        let found = relation(self.cursor.token)
            .ok_or_else(|| self.cursor.syntax("expecting relational operator"))?;
        self.cursor.advance();
        Ok(found)
    }

    fn field_first(&mut self) -> Result<(Expr, bool), Error> {
        let field = field(&mut self.cursor, self.symbols)?;
        if let Some(relation) = relation(self.cursor.token) {
            self.cursor.advance();
            let constants = Constants::read(&mut self.cursor, true)?;
            return Ok((self.compare(&field, relation, &constants)?, false));
        }
        if field.bits == 0 || self.cursor.is(Mark::Assign) {
            return Err(self.cursor.syntax("expecting relational operator"));
        }
        if field.bits > 1 && !self.not {
            return Err(self.cursor.error(Problem::BareMultibit));
        }
        let zero = Number { value: 0, mask: None, format: Format::Hexadecimal };
        let mut constants = Constants::default();
        constants.numbers.push(zero);
        Ok((self.compare(&field, Relation::NotEqual, &constants)?, true))
    }

    /// EX-G3 and EX-G7.
    fn constant_first(&mut self) -> Result<(Expr, bool), Error> {
        let first = Constants::read(&mut self.cursor, true)?;
        if relation(self.cursor.token).is_none()
            && !first.braces
            && let [Number { value: value @ (0 | 1), mask: None, format: Format::Decimal }] =
                first.numbers[..]
        {
            return Ok((Expr::Constant(value == 1), true));
        }
        let left = self.relop()?;
        let field = field(&mut self.cursor, self.symbols)?;
        let Some(right) = relation(self.cursor.token) else {
            return Ok((self.compare(&field, left.turned(), &first)?, false));
        };
        self.cursor.advance();
        let second = Constants::read(&mut self.cursor, true)?;
        use Relation::{Greater, GreaterOrEqual, Less, LessOrEqual};
        let same_way = matches!((left, right), (Less | LessOrEqual, Less | LessOrEqual))
            || matches!((left, right), (Greater | GreaterOrEqual, Greater | GreaterOrEqual));
        if !same_way {
            return Err(self.cursor.error(Problem::RangeDirection));
        }
        let low = self.compare(&field, left.turned(), &first)?;
        let high = self.compare(&field, right, &second)?;
        Ok((low.and(high), false))
    }

    fn compare(
        &self,
        field: &FieldRef,
        relation: Relation,
        constants: &Constants<'_>,
    ) -> Result<Expr, Error> {
        constants.check(&self.cursor, field)?;
        if relation.orders() {
            self.check_order(field, constants)?;
        }
        self.check_nominal(field, relation, constants)?;
        Ok(comparisons(field, relation, constants))
    }

    /// EX-E7.
    fn check_order(&self, field: &FieldRef, constants: &Constants<'_>) -> Result<(), Error> {
        let problem = if constants.braces || !constants.sets.is_empty() {
            Problem::OrderOnSet
        } else if field.symbol.level != Level::Ordinal {
            Problem::OrderOnLevel {
                level: field.symbol.level.as_str(),
                field: field.symbol.name.into(),
            }
        } else if constants.numbers.iter().any(|number| number.mask.is_some()) {
            Problem::OrderOnMasked
        } else {
            return Ok(());
        };
        Err(self.cursor.error(problem))
    }

    /// EX-E8.
    fn check_nominal(
        &self,
        field: &FieldRef,
        relation: Relation,
        constants: &Constants<'_>,
    ) -> Result<(), Error> {
        let symbol = field.symbol;
        if matches!(symbol.kind, Kind::ErrorMessage) {
            return Err(self.cursor.error(Problem::WriteOnly(symbol.name.into())));
        }
        if symbol.level != Level::Nominal {
            return Ok(());
        }
        if symbol.predicate.is_some() {
            for number in &constants.numbers {
                let positive =
                    (number.value & 1 == 1) ^ (relation == Relation::NotEqual) ^ self.not;
                if !positive {
                    let problem = Problem::NominalPredicate(symbol.name.into());
                    return Err(self.cursor.error(problem));
                }
            }
        } else if relation != if self.not { Relation::NotEqual } else { Relation::Equal } {
            return Err(self.cursor.error(Problem::NominalField(symbol.name.into())));
        }
        Ok(())
    }
}

/// One comparison for the constants written out, and one for each set named.
fn comparisons(field: &FieldRef, relation: Relation, constants: &Constants<'_>) -> Expr {
    let symbol = field.symbol;
    let compare = |operand| Expr::Compare(Comparison { symbol, relation, operand });
    let mut list: SmallVec<[Expr; 2]> = SmallVec::new();
    if !constants.numbers.is_empty() {
        let ones = u128::MAX >> (128 - field.bits);
        let masked = |number: &Number| {
            let mask = number.mask.unwrap_or(ones) & ones;
            Masked { value: (number.value & mask) << field.low, mask: mask << field.low }
        };
        list.push(compare(Operand::Numbers(constants.numbers.iter().map(masked).collect())));
    }
    if !constants.strings.is_empty() {
        let names = constants.strings.iter().map(|name| Box::from(&**name)).collect();
        list.push(compare(Operand::Ports(names)));
    }
    list.extend(constants.sets.iter().map(|&name| {
        compare(Operand::AddressSet {
            name: name.into(),
            low: field.low,
            bits: field.bits,
            limit: symbol.width,
        })
    }));
    list.extend(constants.groups.iter().map(|&name| compare(Operand::PortGroup(name.into()))));
    let none = relation == Relation::NotEqual;
    list.into_iter()
        .reduce(|a, b| if none { a.and(b) } else { a.or(b) })
        .unwrap_or(Expr::Constant(none))
}
