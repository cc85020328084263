//! The names that the language knows (FLD-*).
//!
//! A [`Symbol`] is a field of the packet's context, a part of one, a predicate that stands for an
//! expression, a field that holds a port, or a field that only error messages have. The tables are
//! built once and live as long as the process, so that trees can point into them.

use crate::annotate;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::expr::Expr;
use crate::parse::parse;
use hashbrown::HashMap;
use ovn_xdp_datapath::field::Slice;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

/// What may be asked of a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Equality only, and only positively (EX-G10).
    Nominal,
    /// True or false.
    Boolean,
    /// Order and single bits, too.
    Ordinal,
}

impl Level {
    /// The level's name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Boolean => "Boolean",
            Self::Ordinal => "ordinal",
        }
    }
}

/// Where actions may write a field (ACT-P3, FLD-17).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writable {
    /// Nowhere.
    Never,
    /// Outside of `ct_commit { … }`.
    Packet,
    /// Only inside of `ct_commit { … }`.
    Commit,
    /// Anywhere.
    Anywhere,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole field.
    Field,
    /// Bits of another field.
    Subfield {
        /// The field.
        parent: &'static Symbol,
        /// Its lowest bit that belongs to the symbol.
        low: u32,
    },
    /// An expression.
    Predicate,
    /// A field that holds a logical port, compared with names.
    Port,
    /// A field of error messages, written by the agent (FLD-50).
    ErrorMessage,
}

/// A name.
pub struct Symbol {
    /// As written.
    pub name: &'static str,
    /// Bits, or zero for one that is compared with strings.
    pub width: u32,
    /// What may be asked of it.
    pub level: Level,
    /// What it stands for.
    pub kind: Kind,
    /// Where it is in the packet's context; meaningless for a predicate.
    pub slice: Slice,
    /// Where actions may write it.
    pub writable: Writable,
    /// Text of the condition under which it has a meaning.
    pub prerequisite: Option<&'static str>,
    /// Text that a predicate stands for.
    pub predicate: Option<&'static str>,
    expansion: OnceLock<Expansion>,
}

#[derive(Default)]
struct Expansion {
    prerequisite: Option<Expr>,
    predicate: Option<Expr>,
}

impl Symbol {
    /// The condition under which the symbol has a meaning, annotated.
    pub(crate) fn prerequisite(&self) -> Option<&Expr> {
        self.expansion.get()?.prerequisite.as_ref()
    }

    /// What a predicate stands for, annotated.
    pub(crate) fn predicate(&self) -> Option<&Expr> {
        self.expansion.get()?.predicate.as_ref()
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Symbol {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Symbol {}

/// Why a table of symbols cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SymbolError {
    /// A text does not read.
    #[error(
        "Error parsing expression `{text}' encountered as prerequisite or predicate of initial \
         expression: {error}"
    )]
    Text {
        /// The text.
        text: &'static str,
        /// What is wrong with it.
        error: Error,
    },
    /// A symbol is needed to know what it stands for (EX-S2).
    #[error("Recursive expansion of symbol `{0}'.")]
    Recursive(&'static str),
}

/// A table of symbols.
pub struct Symbols {
    by_name: HashMap<&'static str, &'static Symbol>,
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} symbols", self.by_name.len())
    }
}

impl Symbols {
    /// The symbols of logical flows: the union of those of OVN 23.03 to 26.03, in the newest dialect.
    pub fn flow() -> &'static Self {
        Self::of(Dialect::default())
    }

    /// The symbols of logical flows in a dialect.
    pub fn of(dialect: Dialect) -> &'static Self {
        static EARLY: LazyLock<Symbols> = LazyLock::new(|| crate::vocabulary::flow(Dialect::Early));
        static LATE: LazyLock<Symbols> = LazyLock::new(|| crate::vocabulary::flow(Dialect::Late));
        match dialect {
            Dialect::Early => &EARLY,
            Dialect::Late => &LATE,
        }
    }

    /// The symbols of flows tagged `acl_ct_translation=true` (FLD-51), of which there are none in
    /// any but the newest dialect.
    pub fn acl_ct_translation() -> &'static Self {
        static TRANSLATION: LazyLock<Symbols> =
            LazyLock::new(crate::vocabulary::acl_ct_translation);
        &TRANSLATION
    }

    /// Those of logical flows and, to test errors with, the five that OVN's `ovstest` adds to them:
    /// what these stand for does not read, or is themselves.
    pub fn ovstest() -> &'static Self {
        static OVSTEST: LazyLock<Symbols> = LazyLock::new(crate::vocabulary::ovstest);
        &OVSTEST
    }

    /// The symbol of this name.
    pub fn get(&self, name: &str) -> Option<&'static Symbol> {
        self.by_name.get(name).copied()
    }

    /// All symbols, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Symbol> + '_ {
        self.by_name.values().copied()
    }
}

/// Collects the definitions of a table.
#[derive(Default)]
pub struct Definitions {
    symbols: Vec<&'static Symbol>,
    table: HashMap<&'static str, &'static Symbol>,
}

impl Definitions {
    fn add(&mut self, symbol: Symbol) -> &mut Self {
        let symbol: &'static Symbol = Box::leak(Box::new(symbol));
        self.symbols.push(symbol);
        self.table.insert(symbol.name, symbol);
        self
    }

    /// A whole field.
    pub fn field(
        &mut self,
        name: &'static str,
        slice: Slice,
        level: Level,
        prerequisite: Option<&'static str>,
        writable: Writable,
    ) -> &mut Self {
        self.add(Symbol {
            name,
            width: slice.width(),
            level,
            kind: Kind::Field,
            slice,
            writable,
            prerequisite,
            predicate: None,
            expansion: OnceLock::new(),
        })
    }

    /// Bits `low..=high` of a field defined before, which gives level and writability.
    ///
    /// # Panics
    /// If there is no such field or it has no such bits.
    pub fn subfield(
        &mut self,
        name: &'static str,
        parent: &str,
        low: u32,
        high: u32,
        prerequisite: Option<&'static str>,
    ) -> &mut Self {
        let parent = self.table[parent];
        let slice = parent.slice.bits(low as u8, high as u8).expect("the parent has these bits");
        self.add(Symbol {
            name,
            width: slice.width(),
            level: parent.level,
            kind: Kind::Subfield { parent, low },
            slice,
            writable: parent.writable,
            prerequisite,
            predicate: None,
            expansion: OnceLock::new(),
        })
    }

    /// A field that holds a logical port.
    pub fn port(&mut self, name: &'static str, slice: Slice) -> &mut Self {
        self.add(Symbol {
            name,
            width: 0,
            level: Level::Nominal,
            kind: Kind::Port,
            slice,
            writable: Writable::Packet,
            prerequisite: None,
            predicate: None,
            expansion: OnceLock::new(),
        })
    }

    /// A field of error messages.
    pub fn error_message(&mut self, name: &'static str, slice: Slice) -> &mut Self {
        self.add(Symbol {
            name,
            width: slice.width(),
            level: Level::Nominal,
            kind: Kind::ErrorMessage,
            slice,
            writable: Writable::Anywhere,
            prerequisite: None,
            predicate: None,
            expansion: OnceLock::new(),
        })
    }

    /// A name for an expression over symbols defined before.
    pub fn predicate(&mut self, name: &'static str, expansion: &'static str) -> &mut Self {
        let level = match parse(expansion, &self.as_symbols()) {
            Ok(expr) => level(&expr),
            // Said again, with its cause, by `finish`.
            Err(_) => Level::Nominal,
        };
        self.add(Symbol {
            name,
            width: 1,
            level,
            kind: Kind::Predicate,
            slice: Slice::new(0, 0, 1),
            writable: Writable::Never,
            prerequisite: None,
            predicate: Some(expansion),
            expansion: OnceLock::new(),
        })
    }

    pub(crate) fn as_symbols(&self) -> Symbols {
        Symbols { by_name: self.table.clone() }
    }

    /// Reads what the symbols stand for.
    ///
    /// # Errors
    /// If a text does not read, or expands to itself.
    pub fn finish(&mut self) -> Result<Symbols, SymbolError> {
        let symbols = self.as_symbols();
        for symbol in &self.symbols {
            expand(symbol, &symbols, &mut Vec::new())?;
        }
        Ok(symbols)
    }
}

/// The level of measurement of an expression: that of its least measured leaf.
fn level(expr: &Expr) -> Level {
    let mut least = Level::Ordinal;
    match expr {
        Expr::Compare(comparison) => match comparison.symbol.level {
            Level::Nominal => Level::Nominal,
            _ => Level::Boolean,
        },
        Expr::And(list) | Expr::Or(list) => {
            for expr in list {
                least = least.min(level(expr));
            }
            least
        }
        Expr::Constant(_) | Expr::Resident { .. } | Expr::NoMembers { .. } => Level::Boolean,
    }
}

fn expand(
    symbol: &'static Symbol,
    symbols: &Symbols,
    nesting: &mut Vec<&'static Symbol>,
) -> Result<(), SymbolError> {
    if nesting.contains(&symbol) {
        return Err(SymbolError::Recursive(symbol.name));
    }
    if symbol.expansion.get().is_some() {
        return Ok(());
    }
    nesting.push(symbol);
    let mut read = |text: Option<&'static str>| -> Result<Option<Expr>, SymbolError> {
        let Some(text) = text else { return Ok(None) };
        let expr = parse(text, symbols).map_err(|error| SymbolError::Text { text, error })?;
        let mut mentioned = Vec::new();
        expr.leaves(&mut |leaf| {
            if let Expr::Compare(comparison) = leaf {
                mentioned.push(comparison.symbol);
            }
        });
        for symbol in mentioned {
            expand(symbol, symbols, nesting)?;
        }
        Ok(Some(annotate::expand(expr)))
    };
    let expansion =
        Expansion { prerequisite: read(symbol.prerequisite)?, predicate: read(symbol.predicate)? };
    nesting.pop();
    // Tables built at the same time may share no symbol, so nobody else set it.
    symbol.expansion.get_or_init(|| expansion);
    Ok(())
}
