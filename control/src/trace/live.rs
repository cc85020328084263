//! A trace on a chassis: through the generation that its workers run, with what it is bound to and
//! has learned, and on to the frames that leave it.

use super::answers::Worker;
use super::names::Names;
use super::outcome::Outcome;
use super::tracer::Tracer;
use super::{Question, TraceError, compose, microflow, text};
use ovn_xdp_compile::network::Network;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::frame::{Frame, VlanHeader};
use ovn_xdp_datapath::key::PortKey;
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::parse::parse;
use ovn_xdp_datapath::pipeline::Start;
use ovn_xdp_datapath::publish::{Attachment, Generation, Place};
use ovn_xdp_datapath::trace::{Entrance, on_the_wire, trace};
use ovn_xdp_datapath::worker::{demux, from_tunnel};
use ovn_xdp_ovsdb::replica::Replica;
use std::net::IpAddr;

/// What a running chassis has.
#[derive(Clone, Copy)]
pub struct Chassis<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it forwards by.
    pub generation: &'a Generation,
    /// The rows behind that.
    pub network: Network<'a>,
    /// The same as the server sent them.
    pub rows: &'a Replica,
    /// Seed of its workers' hashes.
    pub seed: u64,
    /// Its NICs by number and name.
    pub nics: &'a [(u16, &'a str)],
}

impl<'a> Chassis<'a> {
    /// Name of a NIC.
    pub(super) fn nic(&self, number: u16) -> Option<&'a str> {
        self.nics.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }

    /// The chassis that has a tunnel address.
    fn at(&self, address: IpAddr) -> Option<String> {
        let tunnel = self.generation.tunnels.values().find(|tunnel| tunnel.remote == address)?;
        Some(tunnel.chassis.clone())
    }
}

/// A frame on its way in.
struct Entering {
    entrance: Entrance,
    /// A tag beside it.
    vlan: Option<VlanHeader>,
    bytes: Vec<u8>,
    /// Its fields at the port, or of what the tunnel carries.
    packet: Context,
    /// The chassis that it comes from by a tunnel.
    from: Option<String>,
}

/// Traces a packet through a running chassis, which takes no notice.
///
/// # Errors
/// If the question does not say which packet is meant, or the packet cannot come from there.
pub fn on_chassis(chassis: &Chassis<'_>, question: &Question) -> Result<Outcome, TraceError> {
    let friendly = !question.no_friendly_names;
    let names = Names { network: chassis.network, generation: chassis.generation, friendly };
    let (first, last) = question.packet()?;
    let entering = match (&question.frame, first) {
        (Some(digits), None) => given(chassis, &names, digits, last)?,
        (Some(_), Some(_)) => return Err(TraceError::FramePort),
        (None, datapath) => described(&names, datapath, last)?,
    };
    let Entering { entrance, vlan, bytes, packet, from } = entering;
    let tracer = Tracer::new(names, chassis.rows, false, question.script()?);
    let Chassis { generation, seed, .. } = *chassis;
    let traced = trace(generation, entrance, vlan, &bytes, seed, Worker(&tracer), &mut &tracer);
    let (tree, _) = tracer.end();
    let title = format!("# {}\n", text::packet(&packet));
    let text = title + &tree.text(question.forms());
    Ok(Outcome::new(chassis, &names, (text, &on_the_wire(vlan, bytes), from), traced))
}

/// The frame that a workload would send for the packet to have these fields.
fn described(
    names: &Names<'_>,
    datapath: Option<&str>,
    microflow: &str,
) -> Result<Entering, TraceError> {
    let (datapath, packet) = microflow::read(names, datapath, microflow)?;
    let key = PortKey::new(packet.get(field::INPORT) as u16);
    let port = key.map(|port| Attachment { datapath, port });
    let port = port.ok_or(microflow::MicroflowError::FromNowhere)?;
    let (entrance, vlan) = entrance(names, port)?;
    let entering = enter(names.generation, entrance, vlan, compose::frame(&packet))?;
    if entering.packet.slots != packet.slots {
        let (asked, found) = (text::packet(&packet), text::packet(&entering.packet));
        return Err(TraceError::NoSuchFrame { asked, found });
    }
    Ok(entering)
}

/// A frame that somebody has seen, at a port, at an interface or at a NIC.
fn given(
    chassis: &Chassis<'_>,
    names: &Names<'_>,
    digits: &str,
    from: &str,
) -> Result<Entering, TraceError> {
    let bytes = hexadecimal(digits).ok_or_else(|| TraceError::Frame(digits.to_owned()))?;
    let unknown = || microflow::MicroflowError::Port(from.to_owned());
    let (entrance, vlan) = match names.find_port(from) {
        None if chassis.nics.iter().any(|(_, name)| *name == from) => {
            return Ok(tunnelled(chassis, bytes));
        }
        Some(row) => {
            let datapath = names.network.datapath_row(row.datapath).ok_or_else(unknown)?;
            entrance(names, Attachment { datapath: datapath.key, port: row.key })?
        }
        None => {
            let mut interfaces = names.generation.interfaces.iter();
            let (id, _) = interfaces.find(|(_, it)| it.name == from).ok_or_else(unknown)?;
            (Entrance::Interface(id), None)
        }
    };
    enter(names.generation, entrance, vlan, bytes)
}

/// Where frames of a port enter, and with which tag.
fn entrance(
    names: &Names<'_>,
    port: Attachment,
) -> Result<(Entrance, Option<VlanHeader>), TraceError> {
    let datapath = names.generation.datapaths.get(&port.datapath);
    let datapath = datapath.ok_or_else(|| TraceError::Elsewhere(names.datapath(port.datapath)))?;
    let name = names.port(port.datapath, port.port.get());
    let known = datapath.ports.get(port.port);
    let known = known.ok_or_else(|| TraceError::Unbound(name.clone()))?;
    match &known.place {
        Place::Local { interface, tag, .. } => {
            let vlan = tag.map(|tag| VlanHeader { tpid: tag.tpid, tci: tag.vid.get() });
            Ok((Entrance::Interface(*interface), vlan))
        }
        Place::Remote(_) => {
            let row = names.network.port(&known.name);
            let chassis = row.and_then(|row| names.network.chassis_of(row)).unwrap_or_default();
            Err(TraceError::OtherChassis { port: name, chassis: chassis.to_owned() })
        }
        Place::Unbound => Err(TraceError::Unbound(name)),
        _ => Ok((Entrance::Port(port), None)),
    }
}

/// A frame at its logical port, whose own tag is taken off.
fn enter(
    generation: &Generation,
    entrance: Entrance,
    vlan: Option<VlanHeader>,
    bytes: Vec<u8>,
) -> Result<Entering, TraceError> {
    let parsed = parse(&bytes, bytes.len(), vlan);
    let parsed = parsed.map_err(|_| TraceError::Frame(super::outcome::digits(&bytes)))?;
    let mut packet = parsed.context(&bytes);
    let inport = match entrance {
        Entrance::Port(port) => port.port.get(),
        Entrance::Interface(interface) => match demux(generation, interface, parsed.tci()) {
            Ok(Start::Ingress { port, nested, .. }) => {
                if nested {
                    packet.set(field::VLAN_TCI, parsed.second_tci.into());
                }
                port.port.get()
            }
            // It will be dropped as of no port.
            _ => 0,
        },
        Entrance::Nic => 0,
    };
    packet.set(field::INPORT, inport.into());
    Ok(Entering { entrance, vlan, bytes, packet, from: None })
}

/// A frame with the headers of a tunnel; what is wrong with them will be told as a drop.
fn tunnelled(chassis: &Chassis<'_>, bytes: Vec<u8>) -> Entering {
    let mut frame = MemoryFrame::new(&bytes);
    let (mut packet, mut from) = (Context::default(), None);
    if let Ok((outer, parsed)) = from_tunnel(&mut frame, |_| true) {
        packet = parsed.context(frame.head());
        packet.set(field::INPORT, outer.inport.into());
        packet.set(field::OUTPORT, outer.outport.get().into());
        from = chassis.at(outer.remote);
    }
    Entering { entrance: Entrance::Nic, vlan: None, bytes, packet, from }
}

/// Bytes of a text of hexadecimal digits, in which space and colons mean nothing.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let kept = text.chars().filter(|c| !c.is_whitespace() && *c != ':');
    let digits: Option<Vec<u8>> = kept.map(|c| Some(c.to_digit(16)? as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    (rest.is_empty() && pairs.len() >= 14).then(|| pairs.iter().map(|[a, b]| a << 4 | b).collect())
}
