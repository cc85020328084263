//! The command line of `ovn-xdp trace`: the options and arguments of `ovn-trace`.

use crate::Socket;
use crate::credentials::Credentials;
use clap::Args;
use ovn_xdp_compile::whole::Whole;
use ovn_xdp_control::api::unixctl;
use ovn_xdp_control::contents;
use ovn_xdp_control::trace::{Question, TraceError, in_network};
use std::process::ExitCode;

/// Options of a trace.
#[derive(Args)]
pub(crate) struct Trace {
    /// unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH; by default OVN_SB_DB, or the socket of
    /// a local server.
    #[arg(long)]
    db: Option<String>,
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
    /// Through a running chassis, with what it has learned, and on to the frames that leave it.
    #[arg(long, conflicts_with = "db")]
    live: bool,
    #[command(flatten)]
    daemon: Socket,
    #[command(flatten)]
    question: Question,
}

impl Trace {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            self.ovs.is_none(),
            "--ovs: this chassis runs no OpenFlow flows that could be shown beside the logical ones"
        );
        for complaint in self.question.check()? {
            eprintln!("ovn-xdp: {complaint}");
        }
        if self.live {
            let words = self.question.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let socket = self.daemon.socket()?;
            let called = unixctl::call(&socket, "trace", &words);
            crate::say(crate::runtime()?.block_on(called)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        anyhow::ensure!(
            self.question.frame.is_none() && !self.question.json && !self.daemon.is_given(),
            "--frame, --json, --socket and --config are about a running chassis: they need --live"
        );
        let db = self.db.clone().unwrap_or_else(default_db);
        let leader = !self.no_leader_only;
        let client =
            crate::runtime()?.block_on(contents::read(&db, self.credentials.tls(), leader))?;
        let rows = client.replica();
        match in_network(&Whole::new(rows), rows, &self.question) {
            Ok(answer) => crate::say(answer.text)?,
            // Where ovn-trace says it, and with its status.
            Err(TraceError::Microflow(error)) => crate::say(format_args!("{error}\n"))?,
            Err(error) => return Err(error.into()),
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
