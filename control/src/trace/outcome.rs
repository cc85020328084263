//! What a chassis would do with a packet: the frames that leave it, with all their headers, or the
//! flow that drops it.

use super::live::Chassis;
use super::names::Names;
use super::text;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_compile::report::Flow;
use ovn_xdp_datapath::geneve;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::memory::MemoryFrame;
use ovn_xdp_datapath::parse::parse;
use ovn_xdp_datapath::program::Family;
use ovn_xdp_datapath::publish::Mac;
use ovn_xdp_datapath::trace::{Leaving, Traced};
use ovn_xdp_datapath::verdict::{Drop, Target};
use serde::Serialize;
use std::fmt;

/// The answer of a chassis.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// `Chassis.name`.
    pub chassis: String,
    /// The generation.
    pub generation: u64,
    /// The way through the pipelines, as `ovn-trace` tells it.
    pub trace: String,
    /// The frame that enters, as on the wire, in hexadecimal digits.
    pub frame: String,
    /// The chassis that it comes from by a tunnel.
    pub from: Option<String>,
    /// What would leave.
    pub frames: Vec<Sent>,
    /// Why nothing does.
    pub drop: Option<Dropped>,
    /// What the chassis would learn from such a packet; from a trace it learns nothing.
    pub learns: Vec<String>,
}

/// A frame that would leave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Sent {
    /// Where to.
    pub to: Destination,
    /// Its bytes in hexadecimal digits, if it can be made.
    pub frame: Option<String>,
    /// Label of why it cannot.
    pub dropped: Option<&'static str>,
    /// What the bytes say, the outermost first.
    pub headers: Vec<String>,
}

/// Where a frame goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// To a workload.
    Port {
        /// Logical port.
        name: String,
        /// Host interface.
        interface: String,
        /// Tag of a nested container.
        tag: Option<u16>,
    },
    /// To another chassis.
    Chassis {
        /// `Chassis.name`.
        name: String,
        /// Our end of the tunnel.
        local: String,
        /// The other.
        remote: String,
        /// Host interface.
        interface: String,
        /// MAC address of the next hop.
        next_hop: String,
    },
}

/// A drop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Dropped {
    /// Label of the reason.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub description: &'static str,
    /// The last flow on the way.
    pub flow: Option<Flow>,
}

impl Outcome {
    pub(super) fn new(
        chassis: &Chassis<'_>,
        names: &Names<'_>,
        (trace, frame, from): (String, &[u8], Option<String>),
        traced: Result<Traced, DropReason>,
    ) -> Self {
        let (frames, drop, learns) = match traced {
            Ok(Traced { walked, leaving }) => {
                let sent = leaving.iter().map(|leaving| sent(chassis, names, leaving));
                let drop = walked.verdict.drop.as_deref().map(|drop| dropped(chassis, drop));
                let learns = walked.learned.iter().map(|fact| learned(names, fact));
                (sent.collect(), drop, learns.collect())
            }
            Err(reason) => {
                let (reason, description) = (reason.label(), reason.description());
                (Vec::new(), Some(Dropped { reason, description, flow: None }), Vec::new())
            }
        };
        let generation = chassis.generation.number;
        let (chassis, frame) = (chassis.name.to_owned(), digits(frame));
        Self { chassis, generation, trace, frame, from, frames, drop, learns }
    }
}

fn dropped(chassis: &Chassis<'_>, drop: &Drop) -> Dropped {
    Dropped {
        reason: drop.reason.label(),
        description: drop.reason.description(),
        flow: chassis.network.flow(drop.flow).map(Flow::new),
    }
}

fn sent(chassis: &Chassis<'_>, names: &Names<'_>, leaving: &Leaving) -> Sent {
    let bytes = leaving.frame.as_deref().unwrap_or_default();
    let to = match &leaving.target {
        Target::Interface { to, tag, .. } => {
            let interface = chassis.generation.interfaces.get(*to);
            let child = tag.map(|tag| tag.vid);
            let port = interface.and_then(|interface| match child {
                Some(tag) => interface.children.get(tag),
                None => interface.vif,
            });
            let name = port.map(|port| names.port(port.datapath, port.port.get()));
            Destination::Port {
                name: name.unwrap_or_default(),
                interface: interface.map(|it| it.name.clone()).unwrap_or_default(),
                tag: child.map(|tag| tag.get()),
            }
        }
        Target::Tunnel(outer) => {
            let (local, remote) = outer.ends();
            let mut tunnels = chassis.generation.tunnels.values();
            let tunnel = tunnels.find(|it| (it.local, it.remote) == (local, remote));
            Destination::Chassis {
                name: tunnel.map(|tunnel| tunnel.chassis.clone()).unwrap_or_default(),
                local: local.to_string(),
                remote: remote.to_string(),
                interface: chassis.nic(outer.nic).unwrap_or_default().to_owned(),
                next_hop: mac(outer.next_hop()),
            }
        }
    };
    let tunnelled = matches!(leaving.target, Target::Tunnel(_));
    Sent {
        to,
        frame: leaving.frame.as_deref().ok().map(digits),
        dropped: leaving.frame.as_ref().err().map(|reason| reason.label()),
        headers: headers(bytes, tunnelled),
    }
}

/// What a frame's headers say, as `ovs-ofctl` would.
fn headers(bytes: &[u8], tunnelled: bool) -> Vec<String> {
    let read = |bytes: &[u8]| {
        let parsed = parse(bytes, bytes.len(), None).ok()?;
        Some(text::packet(&parsed.context(bytes)))
    };
    let mut headers = Vec::from_iter(read(bytes));
    if let (true, Ok(outer)) = (tunnelled, geneve::decapsulate(&MemoryFrame::new(bytes))) {
        let geneve::Arrival { vni, inport, outport, header_len, payload_len, .. } = outer;
        headers.push(format!("geneve,vni={vni},ingress={inport},egress={outport}"));
        headers.extend(bytes.get(header_len..header_len + payload_len).and_then(read));
    }
    headers
}

fn learned(names: &Names<'_>, fact: &Learned) -> String {
    let neighbour = |family: &Family, address: u128| match family {
        Family::V4 => text::ip4(address),
        Family::V6 => text::ip6(address),
    };
    match fact {
        Learned::Neighbour { datapath, port, family, address, mac } => format!(
            "{} is at {} on port \"{}\"",
            neighbour(family, *address),
            self::mac(*mac),
            names.port(*datapath, port.get())
        ),
        Learned::NeighbourUsed { datapath, port, family, address, mac } => format!(
            "{} is still at {} on port \"{}\"",
            neighbour(family, *address),
            self::mac(*mac),
            names.port(*datapath, port.get())
        ),
        Learned::Fdb { datapath, port, mac } => {
            format!("{} is at port \"{}\"", self::mac(*mac), names.port(*datapath, port.get()))
        }
    }
}

fn mac(mac: Mac) -> String {
    text::mac(mac.iter().fold(0, |word, byte| word << 8 | u128::from(*byte)))
}

/// Bytes in hexadecimal digits.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chassis, generation, trace, frame, from, frames, drop, learns } = self;
        writeln!(f, "{trace}\n# Chassis \"{chassis}\", generation {generation}.")?;
        match from {
            Some(from) => writeln!(f, "the frame that enters, from chassis \"{from}\"")?,
            None => writeln!(f, "the frame that enters")?,
        }
        writeln!(f, "    {frame}")?;
        for Sent { to, frame, dropped, headers } in frames {
            match to {
                Destination::Port { name, interface, tag } => {
                    write!(f, "to port \"{name}\", interface \"{interface}\"")?;
                    tag.map_or(Ok(()), |tag| write!(f, ", tag {tag}"))?;
                }
                Destination::Chassis { name, local, remote, interface, next_hop } => write!(
                    f,
                    "to chassis \"{name}\", tunnel from {local} to {remote}, interface \
                     \"{interface}\", next hop {next_hop}"
                )?,
            }
            writeln!(f)?;
            headers.iter().try_for_each(|header| writeln!(f, "    {header}"))?;
            frame.iter().try_for_each(|digits| writeln!(f, "    {digits}"))?;
            dropped.iter().try_for_each(|reason| writeln!(f, "    dropped: {reason}"))?;
        }
        if let Some(Dropped { reason, description, flow }) = drop {
            writeln!(f, "dropped: {reason}: {description}")?;
            if let Some(flow) = flow {
                writeln!(f, "    flow {flow}")?;
                writeln!(f, "    match: {}\n    actions: {}", flow.matches, flow.actions)?;
            }
        }
        learns.iter().try_for_each(|fact| writeln!(f, "would learn: {fact}"))
    }
}
