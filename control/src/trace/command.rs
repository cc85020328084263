//! The command line of `ovn-xdp trace`: the options and arguments of `ovn-trace`.

use crate::credentials::Credentials;
use clap::Args;
use ovn_xdp_control::contents;
use ovn_xdp_control::trace::{Options, Script, trace};
use std::process::ExitCode;

/// Options of a trace.
#[derive(Args)]
pub(crate) struct Trace {
    /// Table by table (the default).
    #[arg(long)]
    detailed: bool,
    /// Without tables.
    #[arg(long)]
    summary: bool,
    /// Only what can be seen from outside.
    #[arg(long)]
    minimal: bool,
    /// All three.
    #[arg(long)]
    all: bool,
    /// unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH; by default OVN_SB_DB, or the socket of
    /// a local server.
    #[arg(long)]
    db: Option<String>,
    /// State of a connection, such as new or est,rpl; once for each time that one is looked up.
    #[arg(long, value_name = "FLAGS")]
    ct: Vec<String>,
    /// Backend that the first load balancer with this one chooses.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    lb_dst: Option<String>,
    /// Member that `select` chooses.
    #[arg(long, value_name = "ID")]
    select_id: Option<String>,
    /// Ports and datapaths by names for people (the default).
    #[arg(long, overrides_with = "no_friendly_names")]
    friendly_names: bool,
    /// Ports and datapaths by the names of their rows.
    #[arg(long, overrides_with = "friendly_names")]
    no_friendly_names: bool,
    /// Only the leader of a cluster will do (the default).
    #[arg(long, overrides_with = "no_leader_only")]
    leader_only: bool,
    /// Any member of a cluster will do.
    #[arg(long, overrides_with = "leader_only")]
    no_leader_only: bool,
    /// Not available: there are no OpenFlow flows behind the logical ones.
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true)]
    ovs: Option<Option<String>>,
    #[command(flatten)]
    credentials: Credentials,
    /// Datapath that the packet is in, and the packet.
    #[arg(value_name = "[DATAPATH] MICROFLOW", num_args = 1..=2, required = true)]
    arguments: Vec<String>,
}

impl Trace {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            self.ovs.is_none(),
            "--ovs: this chassis runs no OpenFlow flows that could be shown beside the logical ones"
        );
        let none = !(self.detailed || self.summary || self.minimal || self.all);
        let options = Options {
            detailed: self.detailed || self.all || none,
            summary: self.summary || self.all,
            minimal: self.minimal || self.all,
            friendly: !self.no_friendly_names,
        };
        let script = Script::new(&self.ct, self.lb_dst.as_deref(), self.select_id.as_deref())?;
        let (datapath, microflow) = match &self.arguments[..] {
            [microflow] => (None, microflow),
            [datapath, microflow] => (Some(datapath.as_str()), microflow),
            _ => anyhow::bail!("one or two arguments are required: [DATAPATH] MICROFLOW"),
        };
        let db = self.db.clone().unwrap_or_else(default_db);
        let leader = !self.no_leader_only;
        let client =
            crate::runtime()?.block_on(contents::read(&db, self.credentials.tls(), leader))?;
        match trace(client.replica(), &options, script, datapath, microflow) {
            Ok(answer) => print!("{answer}"),
            // Where ovn-trace says it, and with its status.
            Err(error) => println!("{error}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where OVN's tools look for the Southbound DB.
fn default_db() -> String {
    std::env::var("OVN_SB_DB").unwrap_or_else(|_| {
        let directory = std::env::var("OVN_RUNDIR").unwrap_or_else(|_| "/var/run/ovn".into());
        format!("unix:{directory}/ovnsb_db.sock")
    })
}
