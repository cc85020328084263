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
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// Nested parentheses (EX-G13).
const MAX_DEPTH: u32 = 100;

/// Reads a match.
///
/// # Errors
/// The first problem in the text, with its place.
pub fn parse(text: &str, symbols: &Symbols) -> Result<Expr, Error> {
    read(text, symbols, &Unresolved)
}

/// Reads a match into the kind of tree that `grower` makes.
pub(crate) fn read<G: Grower>(text: &str, symbols: &Symbols, grower: &G) -> Result<G::Tree, Error> {
    let mut parser = Parser { cursor: Cursor::new(text), symbols, grower, not: false, depth: 0 };
    let tree = parser.chain()?;
    parser.cursor.expect_end()?;
    Ok(tree)
}

/// Makes a tree of what is read, and says what a set or group holds.
pub(crate) trait Grower {
    type Tree;

    /// Adds the members of an address set; false if there is none of that name.
    fn address_set<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool;
    /// Adds the members of a port group; false if there is none of that name.
    fn port_group<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool;
    /// Why a field may not be compared, if so.
    fn refuses(&self, _field: &FieldRef) -> Option<Problem> {
        None
    }
    fn constant(&self, value: bool) -> Self::Tree;
    fn resident(&self, port: Box<str>) -> Self::Tree;
    fn compare(
        &self,
        field: &FieldRef,
        relation: Relation,
        constants: &Constants<'_>,
    ) -> Self::Tree;
    fn and(&self, left: Self::Tree, right: Self::Tree) -> Self::Tree;
    fn or(&self, left: Self::Tree, right: Self::Tree) -> Self::Tree;
    fn inverted(&self, tree: Self::Tree) -> Self::Tree;
}

struct Parser<'a, G> {
    cursor: Cursor<'a>,
    symbols: &'a Symbols,
    grower: &'a G,
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

/// One constant of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Constant<'a> {
    /// As written.
    Number(Number),
    /// A member of an address set.
    Member(Number),
    /// A string, or a member of a port group.
    Text(Cow<'a, str>),
    /// An address set that stays a name.
    Set(&'a str),
    /// A port group that stays a name.
    Group(&'a str),
}

impl Constant<'_> {
    fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) | Self::Member(number) => Some(number),
            Self::Text(_) | Self::Set(_) | Self::Group(_) => None,
        }
    }
}

pub(crate) type List<'a> = SmallVec<[Constant<'a>; 2]>;

/// Constants as written, one or several.
#[derive(Default, Clone)]
pub(crate) struct Constants<'a> {
    pub(crate) list: List<'a>,
    strings: bool,
    pub(crate) braces: bool,
}

impl<'a> Constants<'a> {
    pub(crate) fn are_strings(&self) -> bool {
        self.strings
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = &Number> {
        self.list.iter().filter_map(Constant::number)
    }

    pub(crate) fn strings(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|constant| match constant {
            Constant::Text(text) => Some(&**text),
            _ => None,
        })
    }

    fn names_set(&self) -> bool {
        self.list.iter().any(|constant| matches!(constant, Constant::Set(_)))
    }

    /// One or several constants.
    pub(crate) fn read(cursor: &mut Cursor<'a>, grower: &impl Grower) -> Result<Self, Error> {
        let mut constants = Self::default();
        if cursor.accept(Mark::LeftBrace) {
            constants.braces = true;
            loop {
                constants.read_one(cursor, grower)?;
                cursor.accept(Mark::Comma);
                if cursor.accept(Mark::RightBrace) {
                    break;
                }
            }
        } else {
            constants.read_one(cursor, grower)?;
        }
        Ok(constants)
    }

    pub(crate) fn read_one(
        &mut self,
        cursor: &mut Cursor<'a>,
        grower: &impl Grower,
    ) -> Result<(), Error> {
        let first = self.list.is_empty();
        let strings = match cursor.token {
            Token::Text(raw) => {
                self.list.push(Constant::Text(unescape(raw).unwrap_or(Cow::Borrowed(raw))));
                true
            }
            Token::Number(number) => {
                self.list.push(Constant::Number(number));
                false
            }
            Token::AddressSet(name) if grower.address_set(name, &mut self.list) => false,
            Token::PortGroup(name) if grower.port_group(name, &mut self.list) => true,
            Token::AddressSet(_) => return Err(cursor.syntax("expecting address set name")),
            Token::PortGroup(_) => return Err(cursor.syntax("expecting port group name")),
            Token::Template(_) => return Err(cursor.error(Problem::UnexpandedTemplate)),
            _ => return Err(cursor.syntax("expecting constant")),
        };
        if !first && strings != self.strings {
            let wanted = if self.strings { "expecting string" } else { "expecting integer" };
            return Err(cursor.syntax(wanted));
        }
        self.strings = strings;
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
        for number in self.numbers() {
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

impl<G: Grower> Parser<'_, G> {
    /// EX-G1.
    fn chain(&mut self) -> Result<G::Tree, Error> {
        let mut expr = self.not()?;
        let mark = match self.cursor.token {
            Token::Mark(mark @ (Mark::And | Mark::Or)) => mark,
            _ => return Ok(expr),
        };
        while self.cursor.accept(mark) {
            let next = self.not()?;
            expr = match mark {
                Mark::And => self.grower.and(expr, next),
                _ => self.grower.or(expr, next),
            };
        }
        if self.cursor.is(Mark::And) || self.cursor.is(Mark::Or) {
            return Err(self.cursor.error(Problem::MixedChain));
        }
        Ok(expr)
    }

    /// EX-G2.
    fn not(&mut self) -> Result<G::Tree, Error> {
        if !self.cursor.accept(Mark::Not) {
            return Ok(self.primary()?.0);
        }
        self.not = !self.not;
        let (expr, atomic) = self.primary()?;
        self.not = !self.not;
        if atomic {
            Ok(self.grower.inverted(expr))
        } else {
            Err(self.cursor.error(Problem::UnparenthesizedNot))
        }
    }

    /// An operand, and whether `!` may stand before it.
    fn primary(&mut self) -> Result<(G::Tree, bool), Error> {
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
    fn function(&mut self, name: &str) -> Result<G::Tree, Error> {
        if name != "is_chassis_resident" {
            return Err(self.cursor.error(Problem::FunctionName));
        }
        self.cursor.advance();
        self.cursor.advance();
        let port = self.cursor.expect_string("expecting string")?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(self.grower.resident(port))
    }

    fn relop(&mut self) -> Result<Relation, Error> {
        let found = relation(self.cursor.token)
            .ok_or_else(|| self.cursor.syntax("expecting relational operator"))?;
        self.cursor.advance();
        Ok(found)
    }

    fn field_first(&mut self) -> Result<(G::Tree, bool), Error> {
        let field = field(&mut self.cursor, self.symbols)?;
        if let Some(relation) = relation(self.cursor.token) {
            self.cursor.advance();
            let constants = Constants::read(&mut self.cursor, self.grower)?;
            return Ok((self.compare(&field, relation, &constants)?, false));
        }
        if field.bits == 0 || self.cursor.is(Mark::Assign) {
            return Err(self.cursor.syntax("expecting relational operator"));
        }
        if field.bits > 1 && !self.not {
            return Err(self.cursor.error(Problem::BareMultibit));
        }
        let zero = Number { value: 0, mask: None, format: Format::Hexadecimal };
        let constants =
            Constants { list: smallvec![Constant::Number(zero)], ..Constants::default() };
        Ok((self.compare(&field, Relation::NotEqual, &constants)?, true))
    }

    /// EX-G3 and EX-G7.
    fn constant_first(&mut self) -> Result<(G::Tree, bool), Error> {
        let first = Constants::read(&mut self.cursor, self.grower)?;
        if relation(self.cursor.token).is_none()
            && !first.braces
            && let [
                Constant::Number(Number {
                    value: value @ (0 | 1),
                    mask: None,
                    format: Format::Decimal,
                })
                | Constant::Member(Number {
                    value: value @ (0 | 1),
                    mask: None,
                    format: Format::Decimal,
                }),
            ] = first.list[..]
        {
            return Ok((self.grower.constant(value == 1), true));
        }
        let left = self.relop()?;
        let field = field(&mut self.cursor, self.symbols)?;
        let Some(right) = relation(self.cursor.token) else {
            return Ok((self.compare(&field, left.turned(), &first)?, false));
        };
        self.cursor.advance();
        let second = Constants::read(&mut self.cursor, self.grower)?;
        use Relation::{Greater, GreaterOrEqual, Less, LessOrEqual};
        let same_way = matches!((left, right), (Less | LessOrEqual, Less | LessOrEqual))
            || matches!((left, right), (Greater | GreaterOrEqual, Greater | GreaterOrEqual));
        if !same_way {
            return Err(self.cursor.error(Problem::RangeDirection));
        }
        let low = self.compare(&field, left.turned(), &first)?;
        let high = self.compare(&field, right, &second)?;
        Ok((self.grower.and(low, high), false))
    }

    fn compare(
        &self,
        field: &FieldRef,
        relation: Relation,
        constants: &Constants<'_>,
    ) -> Result<G::Tree, Error> {
        constants.check(&self.cursor, field)?;
        if relation.orders() {
            self.check_order(field, constants)?;
        }
        self.check_nominal(field, relation, constants)?;
        Ok(self.grower.compare(field, relation, constants))
    }

    /// EX-E7.
    fn check_order(&self, field: &FieldRef, constants: &Constants<'_>) -> Result<(), Error> {
        let problem = if constants.braces {
            Problem::OrderOnSet
        } else if field.symbol.level != Level::Ordinal {
            Problem::OrderOnLevel {
                level: field.symbol.level.as_str(),
                field: field.symbol.name.into(),
            }
        } else if constants.names_set() {
            // What is in it decides later.
            return Ok(());
        } else if constants.list.is_empty() {
            Problem::OrderOnEmpty
        } else if constants.numbers().next().is_some_and(|number| number.mask.is_some()) {
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
        if let Some(problem) = self.grower.refuses(field) {
            return Err(self.cursor.error(problem));
        }
        if symbol.level != Level::Nominal {
            return Ok(());
        }
        if symbol.predicate.is_some() {
            for number in constants.numbers() {
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

/// Grows an [`Expr`], in which sets and groups stay names.
pub(crate) struct Unresolved;

impl Grower for Unresolved {
    type Tree = Expr;

    fn address_set<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool {
        to.push(Constant::Set(name));
        true
    }

    fn port_group<'a>(&self, name: &'a str, to: &mut List<'a>) -> bool {
        to.push(Constant::Group(name));
        true
    }

    fn refuses(&self, field: &FieldRef) -> Option<Problem> {
        matches!(field.symbol.kind, Kind::ErrorMessage)
            .then(|| Problem::WriteOnly(field.symbol.name.into()))
    }

    fn constant(&self, value: bool) -> Expr {
        Expr::Constant(value)
    }

    fn resident(&self, port: Box<str>) -> Expr {
        Expr::Resident { port, negated: false }
    }

    /// One comparison for the constants written out, and one for each set named.
    fn compare(&self, field: &FieldRef, relation: Relation, constants: &Constants<'_>) -> Expr {
        let symbol = field.symbol;
        let compare = |operand| Expr::Compare(Comparison { symbol, relation, operand });
        let mut list: SmallVec<[Expr; 2]> = SmallVec::new();
        let numbers: SmallVec<[Masked; 1]> =
            constants.numbers().map(|number| field.placed(number)).collect();
        if !numbers.is_empty() {
            list.push(compare(Operand::Numbers(numbers)));
        }
        let names: SmallVec<[Box<str>; 1]> = constants.strings().map(Box::from).collect();
        if !names.is_empty() {
            list.push(compare(Operand::Ports(names)));
        }
        list.extend(constants.list.iter().filter_map(|constant| match *constant {
            Constant::Set(name) => Some(compare(Operand::AddressSet {
                name: name.into(),
                low: field.low,
                bits: field.bits,
                limit: symbol.width,
                all: true,
            })),
            Constant::Group(name) => Some(compare(Operand::PortGroup(name.into()))),
            Constant::Number(_) | Constant::Member(_) | Constant::Text(_) => None,
        }));
        let none = relation == Relation::NotEqual;
        list.into_iter()
            .reduce(|a, b| if none { a.and(b) } else { a.or(b) })
            .unwrap_or(Expr::Constant(none))
    }

    fn and(&self, left: Expr, right: Expr) -> Expr {
        left.and(right)
    }

    fn or(&self, left: Expr, right: Expr) -> Expr {
        left.or(right)
    }

    fn inverted(&self, tree: Expr) -> Expr {
        tree.inverted()
    }
}
