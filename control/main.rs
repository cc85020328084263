//! The `ovn-xdp` command.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use credentials::Credentials;
use ovn_xdp_control::api::unixctl;
use ovn_xdp_control::config::{Config, default_socket};
use ovn_xdp_control::lflow::{Given, Layout, Lflow as Texts, Step};
use ovn_xdp_control::{check, daemon, start_logging};
use ovn_xdp_demo::DemoOptions;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "src/credentials.rs"]
mod credentials;
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
    Show(Read),
    /// Lists the ports that are bound here, with their counters.
    Ports(Read),
    /// Lists the datapaths that concern a running chassis.
    Datapaths(Read),
    /// Lists the tunnels of a running chassis.
    Tunnels(Read),
    /// Lists the logical flows of local datapaths.
    Flows(ReadOf),
    /// Lists the tables of local datapaths, and how each is looked up.
    Tables(ReadOf),
    /// Lists the verdicts that the workers keep for connections.
    Connections(Read),
    /// Counts what was dropped, by reason.
    Drops(Read),
    /// Lists the workers of a running chassis.
    Workers(Read),
    /// Says what a running chassis keeps in memory.
    Memory(Read),
    /// Lists the versions of what works together.
    Versions(Read),
    /// Changes the local rows: flows and ports that are not the Southbound's.
    ///
    /// Prints a result for each operation when the workers run the change.
    Transact {
        #[command(flatten)]
        daemon: Socket,
        /// Operations of RFC 7047, or a list of them, as JSON; - reads them from the standard input.
        #[arg(required = true)]
        operations: Vec<String>,
    },
    /// Prints events of a running chassis, a JSON object a line, until it is interrupted.
    Watch {
        #[command(flatten)]
        daemon: Socket,
        /// Tell drops of one reason above this many frames a second.
        #[arg(long)]
        drops: Option<u64>,
    },
    /// Ends a running chassis for good: its rows in the Southbound DB go, and its ports are released.
    Exit {
        #[command(flatten)]
        daemon: Socket,
        /// The rows stay, for a chassis that follows at once.
        #[arg(long)]
        restart: bool,
    },
    /// Compiles all flows of a Southbound DB, and lists those that would not work.
    ///
    /// It says how many flows, expressions, programs and tables there are, and what they take. The
    /// exit status is 1 if any flow does not compile or holds an action that is not executed.
    Check(Check),
    /// Answers matches and actions, a line for a line of stdin, with their canonical text or error.
    ///
    /// What OVN's `ovstest test-ovn` prints, without OpenFlow. Where an error is, is said on stderr.
    /// What stands behind a # does not count.
    Lflow(Lflow),
    /// Tells what becomes of a packet in the logical network, as ovn-trace does.
    ///
    /// MICROFLOW is an expression such as 'inport == "vm1" && eth.src == 0a:00:00:00:00:01 && ...'.
    #[command(infer_long_args = true, args_override_self = true)]
    Trace(trace::Trace),
    /// Runs two hypervisors in network namespaces and shows that their workloads reach each other.
    Demo {
        /// On a real ovn-northd and ovsdb-server; installs them if they are missing.
        #[arg(long)]
        live: bool,
    },
}

/// Which daemon is meant.
#[derive(Args)]
struct Socket {
    /// Socket of the chassis; by default the only one in /run/ovn-xdp.
    #[arg(long, conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Configuration of the chassis, which names its socket.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct Read {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Socket,
}

#[derive(Args)]
struct ReadOf {
    #[command(flatten)]
    read: Read,
    /// Only of this datapath, by name.
    datapath: Option<String>,
}

#[derive(Args)]
struct Check {
    /// unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH.
    #[arg(long)]
    db: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Args)]
struct Lflow {
    #[command(subcommand)]
    step: LflowStep,
    /// Members of an address set; may be repeated.
    #[arg(long, global = true, value_name = "NAME=ADDRESS,…")]
    address_set: Vec<String>,
    /// Members of a port group.
    #[arg(long, global = true, value_name = "NAME=PORT,…")]
    port_group: Vec<String>,
    /// A port that is resident here.
    #[arg(long, global = true, value_name = "NAME=KEY")]
    port: Vec<String>,
    /// What ^NAME stands for.
    #[arg(long, global = true, value_name = "NAME=TEXT")]
    template: Vec<String>,
    /// A DHCPv4 option that put_dhcp_opts knows.
    #[arg(long, global = true, value_name = "NAME=CODE,TYPE")]
    dhcp_option: Vec<String>,
    /// A DHCPv6 option that put_dhcpv6_opts knows.
    #[arg(long, global = true, value_name = "NAME=CODE,TYPE")]
    dhcpv6_option: Vec<String>,
    /// In the dialect of flows tagged acl_ct_translation=true.
    #[arg(long, global = true)]
    acl_ct_translation: bool,
    /// Actions are of the egress pipeline.
    #[arg(long, global = true)]
    egress: bool,
    /// Table of the pipeline that actions are in.
    #[arg(long, global = true, default_value_t = 10)]
    table: u8,
    /// Adds the sets, groups, ports, options and broken symbols that `ovstest test-ovn` has, and
    /// lays actions out as it does.
    #[arg(long, global = true)]
    ovstest: bool,
}

#[derive(Subcommand)]
enum LflowStep {
    /// A match as it is read.
    ParseExpr,
    /// With prerequisites, over whole fields.
    AnnotateExpr,
    /// With == as the only operator, and ports resident or not.
    SimplifyExpr,
    /// An OR of ANDs of tests of single fields.
    NormalizeExpr,
    /// 1 or 0: whether a packet matches.
    EvaluateExpr {
        /// A match that describes the packet.
        microflow: String,
    },
    /// Actions, followed by "has prereqs" and what they add to the match.
    ParseActions,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // A command that answers and ends says nothing beside its answer, unless something is wrong.
    start_logging(if matches!(command, Command::Run { .. }) { "info" } else { "warn" });
    let outcome = match command {
        Command::Run { config } => run(&config),
        Command::Show(read) => read.run("show", None),
        Command::Ports(read) => read.run("ports", None),
        Command::Datapaths(read) => read.run("datapaths", None),
        Command::Tunnels(read) => read.run("tunnels", None),
        Command::Flows(ReadOf { read, datapath }) => read.run("flows", datapath.as_deref()),
        Command::Tables(ReadOf { read, datapath }) => read.run("tables", datapath.as_deref()),
        Command::Connections(read) => read.run("connections", None),
        Command::Drops(read) => read.run("drops", None),
        Command::Workers(read) => read.run("workers", None),
        Command::Memory(read) => read.run("memory/show", None),
        Command::Versions(read) => read.run("versions", None),
        Command::Transact { daemon, operations } => transact(&daemon, operations),
        Command::Watch { daemon, drops } => watch(&daemon, drops),
        Command::Exit { daemon, restart } => exit(&daemon, restart),
        Command::Check(check) => check.run(),
        Command::Lflow(lflow) => lflow.run(),
        Command::Trace(trace) => trace.run(),
        Command::Demo { live } => ovn_xdp_demo::run(DemoOptions { live, binary: None }),
    };
    outcome.unwrap_or_else(|error| {
        // Who reads the answer, such as `head`, has seen enough.
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("ovn-xdp: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints an answer, or a part of one.
fn say(text: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush())
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

fn transact(daemon: &Socket, operations: Vec<String>) -> anyhow::Result<ExitCode> {
    let operations = operations.into_iter().map(|text| match text.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()),
        _ => Ok(text),
    });
    let operations = operations.collect::<Result<Vec<_>, _>>()?;
    let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
    say(runtime()?.block_on(unixctl::call(&daemon.socket()?, "transact", &operations))?)?;
    Ok(ExitCode::SUCCESS)
}

fn exit(daemon: &Socket, restart: bool) -> anyhow::Result<ExitCode> {
    let params: &[&str] = if restart { &["--restart"] } else { &[] };
    say(runtime()?.block_on(unixctl::call(&daemon.socket()?, "exit", params))?)?;
    Ok(ExitCode::SUCCESS)
}

fn watch(daemon: &Socket, drops: Option<u64>) -> anyhow::Result<ExitCode> {
    let params: Vec<String> = drops.map(|rate| format!("drops={rate}")).into_iter().collect();
    let socket = daemon.socket()?;
    runtime()?.block_on(async {
        let mut client = unixctl::Client::connect(&socket).await?;
        client.call("watch", serde_json::json!(params)).await?;
        loop {
            say(format_args!("{}\n", client.event().await?))?;
        }
    })
}

impl Read {
    fn run(&self, method: &str, of: Option<&str>) -> anyhow::Result<ExitCode> {
        let params: Vec<&str> = self.json.then_some("--json").into_iter().chain(of).collect();
        let socket = self.daemon.socket()?;
        say(runtime()?.block_on(unixctl::call(&socket, method, &params))?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Socket {
    fn is_given(&self) -> bool {
        self.socket.is_some() || self.config.is_some()
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

impl Lflow {
    fn run(self) -> anyhow::Result<ExitCode> {
        let texts = Texts::new(Given {
            address_sets: self.address_set,
            port_groups: self.port_group,
            ports: self.port,
            templates: self.template,
            dhcp_options: self.dhcp_option,
            dhcpv6_options: self.dhcpv6_option,
            acl_ct_translation: self.acl_ct_translation,
            egress: self.egress,
            table: self.table,
            ovstest: self.ovstest,
        });
        let texts = match texts {
            Ok(texts) => texts,
            Err(wrong) => {
                eprintln!("ovn-xdp: {wrong}");
                return Ok(ExitCode::from(2));
            }
        };
        let layout = if self.ovstest { Layout::Ovstest } else { Layout::Line };
        let step = match &self.step {
            LflowStep::ParseExpr => Step::Parse,
            LflowStep::AnnotateExpr => Step::Annotate,
            LflowStep::SimplifyExpr => Step::Simplify,
            LflowStep::NormalizeExpr => Step::Normalize,
            LflowStep::EvaluateExpr { microflow } => texts.microflow(microflow)?,
            LflowStep::ParseActions => Step::Actions(layout),
        };
        let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
        texts.answer_all(&step, input, std::io::BufWriter::new(output), std::io::stderr())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let report = runtime()?.block_on(check::run(&self.db, self.credentials.tls()))?;
        if self.json {
            say(format_args!("{}\n", serde_json::to_string_pretty(&report)?))?;
        } else {
            say(&report)?;
        }
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
