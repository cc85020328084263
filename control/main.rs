//! The `ovn-xdp` command.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use ovn_xdp_control::api::unixctl;
use ovn_xdp_control::config::{Config, Tls, default_socket};
use ovn_xdp_control::{check, daemon, start_logging};
use ovn_xdp_demo::DemoOptions;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "src/trace/command.rs"]
mod trace;

/// An OVN chassis with eBPF, XDP and AF_XDP, in place of ovn-controller and ovs-vswitchd.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the chassis that a configuration file describes.
    Run {
        /// TOML with OVN's keys.
        #[arg(long)]
        config: PathBuf,
    },
    /// Shows ports, tunnels, datapaths, workers and drops of a running chassis.
    Show(Show),
    /// Lists the flows of a Southbound DB that do not compile or are not executed.
    ///
    /// The exit status is 1 if any flow does not compile.
    Check(Check),
    /// Tells what becomes of a packet in the logical network, as ovn-trace does.
    ///
    /// MICROFLOW is an expression such as 'inport == "vm1" && eth.src == 0a:00:00:00:00:01 && ...'.
    Trace(trace::Trace),
    /// Runs two hypervisors in network namespaces and shows that their workloads reach each other.
    Demo {
        /// On a real ovn-northd and ovsdb-server; installs them if they are missing.
        #[arg(long)]
        live: bool,
    },
}

#[derive(Args)]
struct Show {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Socket of the chassis; by default the only one in /run/ovn-xdp.
    #[arg(long, conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Configuration of the chassis, which names its socket.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Check {
    /// unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH.
    #[arg(long)]
    db: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Client key for ssl:, PEM.
    #[arg(long, requires_all = ["certificate", "ca_cert"])]
    private_key: Option<PathBuf>,
    /// Client certificate for ssl:, PEM.
    #[arg(long, requires = "private_key")]
    certificate: Option<PathBuf>,
    /// Certificate of the CA that signed the server's, PEM.
    #[arg(long, requires = "private_key")]
    ca_cert: Option<PathBuf>,
}

fn main() -> ExitCode {
    start_logging();
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Show(show) => show.run(),
        Command::Check(check) => check.run(),
        Command::Trace(trace) => trace.run(),
        Command::Demo { live } => ovn_xdp_demo::run(DemoOptions { live, binary: None }),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("ovn-xdp: {error:#}");
        ExitCode::FAILURE
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let ended = runtime()?.block_on(daemon::run(config));
    Ok(ended.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::from(error.status())
        },
        |()| ExitCode::SUCCESS,
    ))
}

impl Show {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let params: &[&str] = if self.json { &["--json"] } else { &[] };
        let socket = self.socket()?;
        print!("{}", runtime()?.block_on(unixctl::call(&socket, "show", params))?);
        Ok(ExitCode::SUCCESS)
    }

    fn socket(&self) -> anyhow::Result<PathBuf> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        if let Some(config) = &self.config {
            let config = Config::load(config).map_err(|faults| {
                anyhow::anyhow!(
                    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
                )
            })?;
            return Ok(config.control.socket);
        }
        let directory = default_socket("");
        let directory = directory.parent().unwrap_or(Path::new("/"));
        let found: Vec<PathBuf> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
            .collect();
        match found.as_slice() {
            [socket] => Ok(socket.clone()),
            found => anyhow::bail!(
                "{} chassis have a socket in {}; say which one with --socket or --config",
                found.len(),
                directory.display()
            ),
        }
    }
}

impl Check {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let tls = match (&self.private_key, &self.certificate, &self.ca_cert) {
            (Some(key), Some(certificate), Some(ca_cert)) => Some(Tls {
                private_key: key.clone(),
                certificate: certificate.clone(),
                ca_cert: ca_cert.clone(),
            }),
            _ => None,
        };
        let report = runtime()?.block_on(check::run(&self.db, tls))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        Ok(if check::failed(&report) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
