//! The packet that a trace starts with: an expression that leaves one value for each bit it speaks
//! of; all others are zero.

use super::names::Names;
use ovn_xdp_compile::whole::Whole;
use ovn_xdp_datapath::field::{self, Context, Slice};
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_logical::canonical;
use ovn_xdp_logical::expr::{Expr, Operand};
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::symbol::Symbols;

/// Fields that `ovn-trace` leaves at zero whatever the expression says: they fill no byte, and cannot
/// be set under a mask.
const IGNORED: [Slice; 2] = [field::IP_DSCP, field::IP_ECN];

/// Why an expression does not make a packet, in `ovn-trace`'s words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MicroflowError {
    /// It does not read.
    #[error("error parsing flow: {0}")]
    Syntax(String),
    /// It holds for no packet.
    #[error("error parsing flow: Constraints are contradictory.")]
    Contradictory,
    /// It holds for packets that differ in what it speaks of.
    #[error("error parsing flow: Constraints are ambiguous: {0}.")]
    Ambiguous(String),
    /// It does not say where the packet comes from, and nobody said in which datapath.
    #[error("error parsing flow: flow match expression does not match on inport")]
    NoInport,
    /// It names several.
    #[error("error parsing flow: flow match expression matches on multiple inports")]
    Inports,
    /// There is no such port.
    #[error("unknown port \"{0}\"")]
    Port(String),
    /// There is no such datapath.
    #[error("unknown datapath \"{0}\"")]
    Datapath(String),
    /// It holds for packets from nowhere.
    #[error("microflow does not specify ingress port")]
    FromNowhere,
}

/// Where a packet starts, and its fields.
pub fn read(
    whole: &mut Whole,
    friendly: bool,
    datapath: Option<&str>,
    text: &str,
) -> Result<(DatapathKey, Context), MicroflowError> {
    let mut expression =
        parse(text, Symbols::flow()).map_err(|error| MicroflowError::Syntax(error.to_string()))?;
    let names = Names::new(whole, friendly);
    let datapath = match datapath {
        Some(name) => {
            names.find_datapath(name).ok_or_else(|| MicroflowError::Datapath(name.to_owned()))?
        }
        None => {
            let port = inport(&expression)?;
            let row = whole.port(&port).map(|port| port.datapath);
            let row = row.and_then(|row| whole.datapaths().find(|datapath| datapath.uuid == row));
            row.ok_or(MicroflowError::Port(port))?.key
        }
    };
    // Ports may go by other names than their own.
    rename(&mut expression, &|name| {
        names.find_port(name).map(|port| Box::from(&*port.logical_port))
    });
    let annotated = expression.annotate();
    let ambiguous = || {
        let canonical = canonical::parse(text, Symbols::flow(), &canonical::Names::default())
            .ok()
            .and_then(|tree| tree.annotated(Symbols::flow()).ok());
        let tree = canonical.map_or_else(|| annotated.expr().to_string(), |it| it.to_string());
        MicroflowError::Ambiguous(tree)
    };
    let clauses = whole.clauses(&annotated, datapath).map_err(|_| ambiguous())?;
    let clause = match &clauses[..] {
        [] => return Err(MicroflowError::Contradictory),
        [clause] => clause,
        _ => return Err(ambiguous()),
    };
    let mut packet = Context::default();
    for literal in &clause.0 {
        // A shared set lists nothing.
        let [mut value] = literal.list()[..] else { return Err(ambiguous()) };
        if literal.negated() {
            // Not one bit's value is its other value.
            if value.mask.count_ones() != 1 {
                return Err(ambiguous());
            }
            value.value ^= value.mask;
        }
        if IGNORED.contains(&literal.field()) {
            continue;
        }
        let kept = packet.get(literal.field()) & !value.mask;
        packet.set(literal.field(), kept | value.value);
    }
    if packet.get(field::INPORT) == 0 {
        return Err(MicroflowError::FromNowhere);
    }
    Ok((datapath, packet))
}

/// The only port that an expression names as `inport`.
fn inport(expression: &Expr) -> Result<String, MicroflowError> {
    let mut found = Vec::new();
    inports(expression, &mut found)?;
    match &found[..] {
        [] => Err(MicroflowError::NoInport),
        [only] => Ok(only.clone()),
        _ => Err(MicroflowError::Inports),
    }
}

fn inports(expression: &Expr, found: &mut Vec<String>) -> Result<(), MicroflowError> {
    match expression {
        Expr::And(list) | Expr::Or(list) => list.iter().try_for_each(|each| inports(each, found)),
        Expr::Compare(comparison) if comparison.symbol.name == "inport" => {
            if let Operand::Ports(names) = &comparison.operand {
                found.extend(names.iter().map(ToString::to_string));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn rename(expression: &mut Expr, name: &impl Fn(&str) -> Option<Box<str>>) {
    match expression {
        Expr::And(list) | Expr::Or(list) => list.iter_mut().for_each(|each| rename(each, name)),
        Expr::Compare(comparison) => {
            if let Operand::Ports(ports) = &mut comparison.operand {
                for port in ports.iter_mut() as std::slice::IterMut<'_, Box<str>> {
                    if let Some(own) = name(port) {
                        *port = own;
                    }
                }
            }
        }
        _ => {}
    }
}
