//! `ovn-xdp trace` says of random packets in random networks what `ovn-trace` says, line for line.
//!
//! The networks are made with `ovn-nbctl` on a real `ovn-northd`. What is compared is the answer of
//! `--all`: the minimal traces are all the same, and of the whole answers (the packet, the detailed
//! and the summary trace as well) at least 199 in 200. northd writes rules of one priority that match
//! the same packet; which one `ovn-trace` takes hangs on the order of rows in its hash table, which
//! we follow from bucket to bucket, but nobody can know within one. Half of the
//! packets are asked of `ovn-trace` as a daemon, and half with connection states, a backend and a
//! member of `select` of their own.
//!
//! `OVN_XDP_TRACE_SEED=N` repeats a run with other dice.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ovn_xdp_compile::whole::Whole;
use ovn_xdp_control::contents;
use ovn_xdp_control::trace::{Options, Script, in_network};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::dice::Dice;
use ovn_xdp_kit::microflow::{microflow, states};
use ovn_xdp_kit::namespace::unique;
use ovn_xdp_kit::network::{FEATURES, Network};
use ovn_xdp_kit::process::{self, Process};
use ovn_xdp_kit::wait;
use ovn_xdp_ovsdb::client::Client;
use std::time::Duration;

const NETWORKS: usize = FEATURES.len();
const PACKETS: usize = 80;

/// `ovn-trace` as a daemon.
struct Daemon {
    socket: String,
    _process: Process,
}

impl Daemon {
    fn start(db: &str, directory: &Path, number: usize) -> Result<Self> {
        let socket = directory.join(format!("{}.ctl", unique("trace"))).display().to_string();
        let mut command = Command::new("ovn-trace");
        command.args(["--detach", "--no-chdir", "--no-self-confinement"]);
        command.arg(format!("--db={db}")).arg(format!("--unixctl={socket}"));
        command.arg("--select-id=1");
        let log = directory.join(format!("trace{number}.log"));
        let process = Process::spawn("ovn-trace", command, &log)?;
        let daemon = Self { socket, _process: process };
        wait::until("ovn-trace to answer", Duration::from_secs(20), || {
            let listed = process::run(Command::new("ovn-appctl").args([
                "-t",
                &daemon.socket,
                "list-commands",
            ]));
            listed.map_err(|error| error.to_string())
        })?;
        Ok(daemon)
    }

    fn trace(&self, microflow: &str) -> Result<String> {
        let mut command = Command::new("ovn-appctl");
        command.args(["-t", &self.socket, "trace", "--all", microflow]);
        process::run(&mut command)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = process::run(Command::new("ovn-appctl").args(["-t", &self.socket, "exit"]));
    }
}

fn script(states: &[String], backend: Option<&String>) -> Script {
    Script::new(states, backend.map(String::as_str), Some("1")).expect("what is generated reads")
}

struct Ours {
    client: Client,
    whole: Whole,
}

impl Ours {
    fn trace(&mut self, script: Script, microflow: &str) -> String {
        let options = Options { detailed: true, summary: true, minimal: true, friendly: true };
        let rows = self.client.replica();
        match in_network(&mut self.whole, rows, &options, script, None, microflow) {
            Ok(answer) => answer,
            Err(error) => format!("{error}\n"),
        }
    }
}

#[test]
fn random_packets_in_random_networks_are_traced_as_ovn_trace_does() {
    let seed = std::env::var("OVN_XDP_TRACE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let central = Central::new(Southbound::Standalone).unwrap();
    let mut kept = std::collections::BTreeSet::new();
    let (mut compared, mut delivered, mut crashed, mut texts_differ) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for number in 0..NETWORKS {
        let mut dice = Dice::new(seed * 1000 + number as u64);
        let network = Network::random(&mut dice, number);
        network.build(&central).unwrap();
        kept.extend(network.features.iter().map(|feature| format!("{feature:?}")));
        let db = central.remote();
        let client = runtime.block_on(contents::read(&db, None, false)).unwrap();
        let whole = Whole::new(client.replica());
        let mut ours = Ours { client, whole };
        let mut daemon = Daemon::start(&db, central.directory(), number).unwrap();
        for packet in 0..PACKETS {
            let microflow = microflow(&mut dice, &network);
            // A choice among backends is only the same if it is made beforehand.
            let own = !network.backends.is_empty() || packet % 2 == 1;
            let (states, backend) = match own {
                true => (states(&mut dice), network.backends.first()),
                false => (Vec::new(), None),
            };
            let mut command = Command::new("ovn-trace");
            command.arg(format!("--db={db}")).args(["--all", "--select-id=1"]);
            command.args(states.iter().map(|state| format!("--ct={state}")));
            command.args(backend.map(|backend| format!("--lb-dst={backend}")));
            command.arg(&microflow);
            let theirs = if own { process::run(&mut command) } else { daemon.trace(&microflow) };
            let ours = ours.trace(script(&states, backend), &microflow);
            let Ok(theirs) = theirs else {
                // It runs out of stack where a packet goes round in a circle; a walk has a bound.
                crashed += 1;
                if !own {
                    daemon = Daemon::start(&db, central.directory(), number).unwrap();
                }
                continue;
            };
            compared += 1;
            delivered += usize::from(theirs.contains("output(\""));
            texts_differ += usize::from(ours != theirs);
            if minimal(&ours) != minimal(&theirs) {
                let file = std::env::temp_dir().join(format!("ovn-xdp-trace-{number}.db"));
                central.record(&file).unwrap();
                failures.push(format!(
                    "network {number} of seed {seed}, {:?}, database {}\n{}\n{}",
                    network.features,
                    file.display(),
                    process::line(&command),
                    difference(&theirs, &ours)
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {compared} traces differ; the first ten:\n{}",
        failures.len(),
        failures[..failures.len().min(10)].join("\n\n")
    );
    assert!(texts_differ <= compared / 200, "{texts_differ} of {compared} whole answers differ");
    assert!(crashed <= compared / 50, "ovn-trace had no answer to {crashed} packets");
    assert!(compared >= 2000, "{compared} traces");
    assert_eq!(kept.len(), FEATURES.len(), "features met");
    assert!(delivered > compared / 4, "{delivered} of {compared} packets arrive: a poor mixture");
}

/// The minimal trace, which is the last.
fn minimal(answer: &str) -> &str {
    answer.split("# Minimal trace.\n").last().unwrap_or(answer)
}

/// The first lines where two answers part, and what leads there.
fn difference(theirs: &str, ours: &str) -> String {
    let same = theirs.lines().zip(ours.lines()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(3);
    let part = |text: &str| {
        text.lines().skip(from).take(8).map(|line| format!("    {line}\n")).collect::<String>()
    };
    format!("ovn-trace, from line {from}:\n{}ovn-xdp trace:\n{}", part(theirs), part(ours))
}
