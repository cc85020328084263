//! The packet that a trace starts with: an expression that leaves one value for each bit it speaks
//! of; all others are zero.

use super::names::Names;
use ovn_xdp_datapath::field::Context;
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_logical::canonical;

/// Why an expression does not make a packet, in `ovn-trace`'s words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MicroflowError {
    /// It does not read, holds for no packet, or for packets that differ in what it speaks of.
    #[error("error parsing flow: {0}")]
    Packet(#[from] canonical::MicroflowError),
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
    /// It holds for packets from nowhere, which a chassis has none of.
    #[error("microflow does not specify ingress port")]
    FromNowhere,
}

/// Where a packet starts, and its fields. Who names a datapath may leave out the port, or name one
/// that is not there: the packet then comes from none.
pub fn read(
    names: &Names<'_>,
    datapath: Option<&str>,
    text: &str,
) -> Result<(DatapathKey, Context), MicroflowError> {
    let symbols = names.network.symbols();
    let named = datapath.map(|name| {
        names.find_datapath(name).ok_or_else(|| MicroflowError::Datapath(name.to_owned()))
    });
    let named = named.transpose()?;
    let expression = canonical::parse(text, symbols, &names.network.names(text))
        .map_err(canonical::MicroflowError::Text)?;
    let datapath = match named {
        Some(datapath) => datapath,
        None => match expression.ports("inport")[..] {
            [] => return Err(MicroflowError::NoInport),
            [port] => {
                let row = names.network.port(port).map(|port| port.datapath);
                let row = row.and_then(|row| names.network.datapath_row(row));
                row.ok_or_else(|| MicroflowError::Port(port.to_owned()))?.key
            }
            _ => return Err(MicroflowError::Inports),
        },
    };
    let packet = expression.microflow(symbols, &|port| names.key(datapath, port))?;
    Ok((datapath, packet))
}
