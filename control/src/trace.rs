//! `ovn-xdp trace`: what becomes of a packet in a logical network, as `ovn-trace` tells it.
//!
//! The packet walks the tables that the workers run, by the workers' own walk; what is different is
//! what surrounds it. No chassis is looked at: every port is within reach, and what a connection
//! tracker, DHCP client or load balancer would say is what the options say. The answer is
//! `ovn-trace`'s, line for line.

mod answers;
mod compose;
mod live;
mod microflow;
mod names;
mod outcome;
mod question;
mod script;
mod security;
mod text;
mod tracer;
mod tree;

pub use live::{Chassis, on_chassis};
pub use microflow::MicroflowError;
pub use outcome::Outcome;
pub use question::Question;
pub use script::ScriptError;

use names::Names;
use ovn_xdp_compile::whole::Whole;
use ovn_xdp_datapath::field::Context;
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_datapath::pipeline::follow;
use ovn_xdp_ovsdb::replica::Replica;
use tracer::Tracer;
use uuid::Uuid;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TraceError {
    /// The packet.
    #[error(transparent)]
    Microflow(#[from] MicroflowError),
    /// An option.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// Not a packet, or more than a datapath and a packet.
    #[error("one or two non-option arguments are required (use --help for help)")]
    Arguments,
    /// `--frame`
    #[error("--frame: expected a frame in hexadecimal digits, found {0:?}")]
    Frame(String),
    /// `--frame` with more than a port.
    #[error("--frame: expected a port, interface or NIC that it comes from, found 2 arguments")]
    FramePort,
    /// Nothing of the port's datapath is here.
    #[error(
        "datapath {0:?} does not concern this chassis; without --live the whole network is traced"
    )]
    Elsewhere(String),
    /// The port is another chassis'.
    #[error("port {port:?} is not on this chassis, but on {chassis:?}: ask there")]
    OtherChassis {
        /// The port.
        port: String,
        /// `Chassis.name`.
        chassis: String,
    },
    /// The port is not bound.
    #[error("port {0:?} is not bound to a chassis: no packet comes from there")]
    Unbound(String),
    /// The fields are not those of any frame.
    #[error("no frame has these fields: asked for {asked}; a frame would have {found}")]
    NoSuchFrame {
        /// As in the microflow.
        asked: String,
        /// As a frame of it would be read.
        found: String,
    },
}

/// What a trace found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// The flows on the packet's way, as it comes to them.
    pub passed: Vec<Passed>,
}

/// A flow that matched.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Its row.
    pub flow: Uuid,
    /// In which datapath.
    pub datapath: DatapathKey,
    /// The packet there.
    pub packet: Context,
}

/// Traces a packet through a database that is compiled as one network.
///
/// # Errors
/// If the question does not say which packet is meant.
pub fn in_network(
    whole: &Whole,
    rows: &Replica,
    question: &Question,
) -> Result<Answer, TraceError> {
    let generation = whole.generation();
    let friendly = !question.no_friendly_names;
    let names = Names { network: whole.network(), generation, friendly };
    let (datapath, microflow) = question.packet()?;
    let (key, packet) = microflow::read(&names, datapath, microflow)?;
    let tracer = Tracer::new(names, rows, true, question.script()?);
    let mut text = format!("# {}\n", text::packet(&packet));
    follow(generation, key, packet, &tracer, &mut &tracer);
    let (tree, passed) = tracer.end();
    text.push_str(&tree.text(question.forms()));
    Ok(Answer { text, passed })
}
