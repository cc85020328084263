//! What can be wrong with the text of a logical flow, and where.
//!
//! An [`Error`] is the byte offset at which reading stopped and a [`Problem`], which carries what
//! was found and what would have been accepted. Messages are worded as OVN words them, because
//! that is what operators search for. A flow with an error is skipped, never fatal (ACT-P7).

use crate::canonical::AnnotateError;
use std::borrow::Cow;
use std::fmt;

/// The first problem in a text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Error {
    /// Byte offset of the token that was not accepted; the length of the text for its end.
    pub offset: usize,
    /// What is wrong.
    pub problem: Box<Problem>,
}

impl Error {
    /// A problem at a byte offset.
    pub fn new(offset: usize, problem: Problem) -> Self {
        Self { offset, problem: Box::new(problem) }
    }
}

/// What is wrong with a text (EX-E1 to EX-E19, ACT-P1 to ACT-P5).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Not a token (EX-E19).
    #[error(transparent)]
    Lexical(#[from] Lexical),
    /// A token where another was expected; `found` is `None` at the end of the input.
    #[error("Syntax error{}{expected}.", Found(.found, .expected))]
    Syntax {
        /// The token's text.
        found: Option<Box<str>>,
        /// What would have been accepted, starting with "expecting", or empty.
        expected: Cow<'static, str>,
    },
    /// EX-E3.
    #[error("&& and || must be parenthesized when used together.")]
    MixedChain,
    /// EX-G2.
    #[error("Missing parentheses around operand of !.")]
    UnparenthesizedNot,
    /// EX-E14.
    #[error("Parentheses nested too deeply.")]
    TooDeep,
    /// EX-E9.
    #[error("Explicit `!= 0' is required for inequality test of multibit field against 0.")]
    BareMultibit,
    /// EX-E10.
    #[error(
        "Range expressions must have the form `x < field < y' or `x > field > y', with each `<' \
         optionally replaced by `<=' or `>' by `>=')."
    )]
    RangeDirection,
    /// EX-E17.
    #[error("parsing function name")]
    FunctionName,
    /// EX-E6.
    #[error("{} field {field} is not compatible with {} constant.",
        if *.integer_field { "Integer" } else { "String" },
        if *.integer_field { "string" } else { "integer" })]
    ConstantType {
        /// Name of the field.
        field: Box<str>,
        /// Whether the field, rather than the constant, is the integer.
        integer_field: bool,
    },
    /// EX-E5.
    #[error("{bits}-bit constant is not compatible with {width}-bit field {field}.")]
    ConstantWidth {
        /// Bits of the constant.
        bits: u32,
        /// Bits of the field.
        width: u32,
        /// Name of the field.
        field: Box<str>,
    },
    /// EX-E7 on a set.
    #[error("Only == and != operators may be used with value sets.")]
    OrderOnSet,
    /// EX-E7 on a set without members.
    #[error("Only == and != operators may be used to compare a field against an empty value set.")]
    OrderOnEmpty,
    /// EX-E7 on a level of measurement.
    #[error("Only == and != operators may be used with {level} field {field}.")]
    OrderOnLevel {
        /// Nominal or Boolean.
        level: &'static str,
        /// Name of the field.
        field: Box<str>,
    },
    /// EX-E7 on a masked constant.
    #[error(
        "Only == and != operators may be used with masked constants.  Consider using subfields \
         instead (e.g. eth.src[0..15] > 0x1111 in place of eth.src > \
         00:00:00:00:11:11/00:00:00:00:ff:ff)."
    )]
    OrderOnMasked,
    /// EX-E8 on a predicate.
    #[error(
        "Nominal predicate {0} may only be tested positively, e.g. `{0}' or `{0} == 1' but not \
         `!{0}' or `{0} == 0'."
    )]
    NominalPredicate(Box<str>),
    /// EX-E8.
    #[error(
        "Nominal field {0} may only be tested for equality (taking enclosing `!' operators into \
         account)."
    )]
    NominalField(Box<str>),
    /// A field of error messages cannot be matched (FLD-50).
    #[error("Field {0} can only be assigned, not matched.")]
    WriteOnly(Box<str>),
    /// EX-E11.
    #[error("Cannot select subfield of string field {0}.")]
    SliceOfString(Box<str>),
    /// EX-E11.
    #[error("Invalid bit range {low} to {high}.")]
    SliceReversed {
        /// First bit as written.
        low: u32,
        /// Last bit as written.
        high: u32,
    },
    /// EX-E11.
    #[error("Cannot select bits {low} to {high} of {width}-bit field {field}.")]
    SliceOutside {
        /// First bit as written.
        low: u32,
        /// Last bit as written.
        high: u32,
        /// Bits of the field.
        width: u32,
        /// Name of the field.
        field: Box<str>,
    },
    /// EX-E11.
    #[error("Cannot select subfield of nominal field {0}.")]
    SliceOfNominal(Box<str>),
    /// EX-E16.
    #[error("Unexpanded template.")]
    UnexpandedTemplate,
    /// EX-S7.
    #[error(
        "Template variable {0} has no value on this chassis; set it in Chassis_Template_Var or \
         remove its use."
    )]
    UnknownTemplate(Box<str>),
    /// A symbol's own definition is wrong (EX-S2).
    #[error(transparent)]
    Definition(#[from] AnnotateError),
    /// A predicate where something assignable is needed.
    #[error("Predicate symbol {0} used where lvalue required.")]
    PredicateAsField(Box<str>),
    /// ACT-P3.
    #[error("Cannot use {found}-bit field {field} where {wanted}-bit field is required.")]
    FieldWidth {
        /// Bits of the field or slice.
        found: u32,
        /// Bits required.
        wanted: u32,
        /// The field or slice.
        field: Box<str>,
    },
    /// ACT-P3.
    #[error("Cannot use string field {0} where numeric field is required.")]
    StringField(Box<str>),
    /// ACT-P3.
    #[error("Cannot use numeric field {0} where string field is required.")]
    NumericField(Box<str>),
    /// ACT-P3.
    #[error("Field {0} is not modifiable.")]
    NotModifiable(Box<str>),
    /// ACT-03 to ACT-05 over fields that do not fit each other.
    #[error(transparent)]
    Assignment(#[from] Mismatch),
    /// ACT-P4, ACT-P5 and the limits of single actions.
    #[error(transparent)]
    Action(#[from] Refused),
}

struct Found<'a>(&'a Option<Box<str>>, &'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(" at end of input")?,
            Some(text) => write!(f, " at `{text}'")?,
        }
        if self.1.is_empty() { Ok(()) } else { f.write_str(" ") }
    }
}

/// Text that is no token (EX-T1 to EX-T9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lexical {
    /// Nothing numeric where a mask is needed.
    #[error("Integer constant expected.")]
    NoInteger,
    /// EX-T4.
    #[error("Decimal constants must not have leading zeros.")]
    LeadingZero,
    /// EX-T4.
    #[error("Decimal constants must be less than 2**64.")]
    DecimalTooLarge,
    /// EX-T4.
    #[error("Hex digits expected following 0{0}.")]
    NoHexDigits(char),
    /// EX-T4.
    #[error("Invalid syntax in hexadecimal constant.")]
    HexSyntax,
    /// EX-T4.
    #[error("Hexadecimal constant requires more than 1024 bits.")]
    HexTooLong,
    /// EX-T5.
    #[error("Invalid numeric constant.")]
    Numeric,
    /// EX-T6.
    #[error("Value and mask have incompatible formats.")]
    MaskFormat,
    /// EX-T3.
    #[error("Input ends inside quoted string.")]
    UnterminatedString,
    /// EX-T3.
    #[error("bad escape \\{0}")]
    Escape(char),
    /// EX-T3.
    #[error("quoted string may not end with backslash")]
    Backslash,
    /// EX-T3.
    #[error("quoted string ends within \\u escape")]
    EscapeEnd,
    /// EX-T3.
    #[error("malformed \\u escape")]
    EscapeDigits,
    /// EX-T3.
    #[error("malformed escaped surrogate pair")]
    SurrogatePair,
    /// EX-T3.
    #[error("second half of escaped surrogate pair is not trailing surrogate")]
    TrailingSurrogate,
    /// EX-T3.
    #[error("null bytes not supported in quoted strings")]
    NullByte,
    /// EX-T2.
    #[error("`{0}' must be followed by a valid identifier.")]
    Sigil(char),
    /// EX-T8.
    #[error("`{0}' is only valid as part of `{0}{0}'.")]
    Single(char),
    /// EX-T8.
    #[error("`.' is only valid as part of `..' or a number.")]
    Dot,
    /// EX-T9.
    #[error("`/' is only valid as part of `//' or `/*'.")]
    Slash,
    /// EX-T9.
    #[error("`/*' without matching `*/'.")]
    Comment,
    /// A printable character that starts no token.
    #[error("Invalid character `{0}' in input.")]
    Character(char),
    /// A byte that is no printable ASCII.
    #[error("Invalid byte 0x{} in input.", .0.cast_signed())]
    Byte(u8),
}

/// Two fields that cannot be assigned to or exchanged with each other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    /// One holds a string.
    #[error("Can't exchange {left_type} field ({left}) with {right_type} field ({right}).")]
    ExchangeTypes {
        /// "integer" or "string".
        left_type: &'static str,
        /// Field on the left.
        left: Box<str>,
        /// "integer" or "string".
        right_type: &'static str,
        /// Field on the right.
        right: Box<str>,
    },
    /// One holds a string.
    #[error("Can't assign {right_type} field ({right}) to {left_type} field ({left}).")]
    AssignTypes {
        /// "integer" or "string".
        left_type: &'static str,
        /// Destination.
        left: Box<str>,
        /// "integer" or "string".
        right_type: &'static str,
        /// Source.
        right: Box<str>,
    },
    /// Both hold strings, but not of one kind.
    #[error("String fields {left} and {right} are incompatible for {use_}.")]
    Strings {
        /// Field on the left.
        left: Box<str>,
        /// Field on the right.
        right: Box<str>,
        /// "assignment" or "exchange".
        use_: &'static str,
    },
    /// Widths differ.
    #[error("Can't exchange {left}-bit field with {right}-bit field.")]
    ExchangeWidths {
        /// Bits on the left.
        left: u32,
        /// Bits on the right.
        right: u32,
    },
    /// Widths differ.
    #[error("Can't assign {right}-bit value to {left}-bit destination.")]
    AssignWidths {
        /// Bits of the destination.
        left: u32,
        /// Bits of the source.
        right: u32,
    },
}

/// An action that reads well but may not be used so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The pipeline has no tables to go to.
    #[error("\"next\" action not allowed here.")]
    Next,
    /// ACT-P4.
    #[error("\"next\" action cannot advance beyond table {0}.")]
    BeyondTable(u32),
    /// ACT-P5.
    #[error("\"{0}\" action not allowed in last table.")]
    LastTable(&'static str),
    /// A zone is needed.
    #[error("\"{0}\" action accepts only \"dnat\" or \"snat\" parameter.")]
    Zone(&'static str),
    /// ACT-P1.
    #[error("maximum depth of nested actions reached")]
    Depth,
    /// The function has no arguments.
    #[error("{0} doesn't take any parameters")]
    Parameters(&'static str),
    /// ACT-19.
    #[error("cannot use {bits}-bit field {field} for \"select\", which requires at least 16 bits.")]
    SelectWidth {
        /// Bits of the field or slice.
        bits: u32,
        /// The field or slice.
        field: Box<str>,
    },
    /// ACT-35, ACT-36.
    #[error("{family} option {option} requires {} value.",
        if *.string { "string" } else { "numeric" })]
    OptionType {
        /// DHCPv4, DHCPv6 and so on.
        family: &'static str,
        /// Name of the option.
        option: Box<str>,
        /// Whether a string was needed.
        string: bool,
    },
    /// ACT-35.
    #[error("put_dhcp_opts requires offerip to be specified.")]
    OfferIp,
    /// ACT-37, ACT-42.
    #[error("Invalid value for \"{0}\" option")]
    OptionValue(Box<str>),
    /// ACT-37.
    #[error("slla option not present")]
    Slla,
    /// ACT-37.
    #[error("prefix option needs to be set when address mode is slaac/dhcpv6_stateless.")]
    Prefix,
    /// ACT-42.
    #[error("Invalid load balancer VIP '{0}'")]
    EventVip(Box<str>),
    /// ACT-42.
    #[error("Load balancer protocol '{0}' is not 'tcp', 'udp', or 'sctp'")]
    EventProtocol(Box<str>),
    /// ACT-42.
    #[error("Load balancer '{0}' is not a UUID")]
    EventLoadBalancer(Box<str>),
    /// ACT-43.
    #[error("Queue ID {0} for set_queue is not in valid range 0 to 61440.")]
    Queue(u32),
    /// ACT-44.
    #[error("Rate {0} for set_meter is not in valid.")]
    Rate(u64),
    /// ACT-59.
    #[error("probability must be greater than zero")]
    Probability,
}
