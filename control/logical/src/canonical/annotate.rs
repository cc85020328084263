//! Prerequisites and expansions (EX-S1, EX-S2), as [`crate::annotate`] adds them to the other tree.

use super::{Canonical, Compare, Names, Operand, parse};
use crate::error::Error;
use crate::expr::Relation;
use crate::symbol::{Kind, Symbol, Symbols};

/// Why an expression cannot be annotated: a symbol is defined wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnnotateError {
    /// A symbol is needed to know what it stands for.
    #[error("Recursive expansion of symbol `{0}'.")]
    Recursive(&'static str),
    /// What a symbol stands for does not read.
    #[error(transparent)]
    Text(#[from] Error),
    /// In what a symbol stands for.
    #[error(
        "Error parsing expression `{text}' encountered as prerequisite or predicate of initial \
         expression: {cause}"
    )]
    Within {
        /// What it stands for.
        text: &'static str,
        /// What is wrong there.
        cause: Box<AnnotateError>,
    },
}

impl Canonical {
    /// With prerequisites, over whole fields.
    ///
    /// # Errors
    /// If a symbol is defined wrong; none of the symbols of logical flows is.
    pub fn annotated(self, symbols: &Symbols) -> Result<Self, AnnotateError> {
        Annotation { symbols, nesting: Vec::new() }.walk(self, true)
    }
}

/// What must hold for a symbol to have a meaning.
///
/// # Errors
/// If the symbol is defined wrong.
pub(crate) fn prerequisite(
    symbol: &Symbol,
    symbols: &Symbols,
) -> Result<Option<Canonical>, AnnotateError> {
    Annotation { symbols, nesting: Vec::new() }.prerequisite(symbol)
}

struct Annotation<'a> {
    symbols: &'a Symbols,
    nesting: Vec<&'static Symbol>,
}

impl Annotation<'_> {
    fn text(&mut self, text: &'static str) -> Result<Canonical, AnnotateError> {
        parse(text, self.symbols, &Names::NONE)
            .map_err(AnnotateError::from)
            .and_then(|read| self.walk(read, true))
            .map_err(|cause| AnnotateError::Within { text, cause: cause.into() })
    }

    fn prerequisite(&mut self, symbol: &Symbol) -> Result<Option<Canonical>, AnnotateError> {
        symbol.prerequisite.map(|text| self.text(text)).transpose()
    }

    fn walk(&mut self, node: Canonical, add: bool) -> Result<Canonical, AnnotateError> {
        let only = match &node {
            Canonical::Compare(_) => {
                let Canonical::Compare(compare) = node else { unreachable!("it was just one") };
                return self.compare(compare, add);
            }
            Canonical::And(_) | Canonical::Or(_) if add => node.only_symbol(),
            Canonical::And(_) | Canonical::Or(_) => None,
            Canonical::Constant(_) | Canonical::Resident { .. } => return Ok(node),
        };
        let mut node = node;
        if let Some(symbol) = only
            && let Some(prerequisite) = self.prerequisite(symbol)?
        {
            node = node.and(prerequisite);
        }
        let add = add && only.is_none();
        let (list, or) = match node {
            Canonical::And(list) => (list, false),
            Canonical::Or(list) => (list, true),
            leaf => return Ok(leaf),
        };
        let list = list.into_iter().map(|e| self.walk(e, add)).collect::<Result<Vec<_>, _>>()?;
        let flat = Canonical::flat(list, or);
        Ok(if or { Canonical::Or(flat) } else { Canonical::And(flat) })
    }

    fn compare(&mut self, mut compare: Compare, add: bool) -> Result<Canonical, AnnotateError> {
        let symbol = compare.symbol;
        if self.nesting.contains(&symbol) {
            return Err(AnnotateError::Recursive(symbol.name));
        }
        self.nesting.push(symbol);
        let prerequisite = if add { self.prerequisite(symbol)? } else { None };
        let node = match (symbol.kind, symbol.predicate, &mut compare.operand) {
            (Kind::Subfield { parent, low }, _, Operand::Number(number)) => {
                number.value <<= low;
                number.mask <<= low;
                compare.symbol = parent;
                Canonical::Compare(compare)
            }
            (_, Some(text), Operand::Number(number)) => {
                let positive = (number.value & 1 == 1) != (compare.relation == Relation::NotEqual);
                let expansion = self.text(text)?;
                if positive { expansion } else { expansion.inverted() }
            }
            _ => Canonical::Compare(compare),
        };
        self.nesting.pop();
        Ok(match prerequisite {
            Some(prerequisite) => node.and(prerequisite),
            None => node,
        })
    }
}
