//! `ovn-xdp trace`: what becomes of a packet in a logical network, as `ovn-trace` tells it.
//!
//! The packet walks the tables that the workers run, by the workers' own walk; what is different is
//! what surrounds it. No chassis is looked at: every port is within reach, and what a connection
//! tracker, DHCP client or load balancer would say is what the options say. The answer is
//! `ovn-trace`'s, line for line.

mod answers;
mod microflow;
mod names;
mod script;
mod text;
mod tracer;
mod tree;

pub use microflow::MicroflowError;
pub use script::{Script, ScriptError};

use ovn_xdp_compile::whole::Whole;
use ovn_xdp_datapath::pipeline::follow;
use ovn_xdp_ovsdb::replica::Replica;
use tracer::Tracer;

/// How the answer is given.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Table by table.
    pub detailed: bool,
    /// Without tables.
    pub summary: bool,
    /// What can be seen from outside.
    pub minimal: bool,
    /// Ports and datapaths by names for people.
    pub friendly: bool,
}

/// Traces a packet through a database.
///
/// # Errors
/// [`MicroflowError`] if the expression does not say which packet is meant.
pub fn trace(
    rows: &Replica,
    options: &Options,
    script: Script,
    datapath: Option<&str>,
    microflow: &str,
) -> Result<String, MicroflowError> {
    let mut whole = Whole::new(rows);
    in_network(&mut whole, rows, options, script, datapath, microflow)
}

/// The same, through a network that is compiled already.
///
/// # Errors
/// As [`trace`].
pub fn in_network(
    whole: &mut Whole,
    rows: &Replica,
    options: &Options,
    script: Script,
    datapath: Option<&str>,
    microflow: &str,
) -> Result<String, MicroflowError> {
    let (key, packet) = microflow::read(whole, options.friendly, datapath, microflow)?;
    let whole = &*whole;
    let tracer = Tracer::new(whole, rows, options.friendly, script);
    let mut answer = format!("# {}\n", text::packet(&packet));
    if let Some(datapath) = whole.generation().datapaths.get(&key) {
        let place = tracer.enter(datapath, &packet);
        follow(whole.generation(), key, packet, place, &tracer, &mut &tracer);
    }
    let tree = tracer.tree();
    let forms = [
        (options.detailed, "# Detailed trace.\n", tree.detailed()),
        (options.summary, "# Summary trace.\n", tree.summary()),
        (options.minimal, "# Minimal trace.\n", tree.minimal()),
    ];
    let several = forms.iter().filter(|form| form.0).count() > 1;
    for (wanted, title, form) in forms {
        if wanted {
            answer.push_str(if several { title } else { "" });
            answer.push_str(&form);
        }
    }
    Ok(answer)
}
