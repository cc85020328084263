//! `ovn-xdp trace` says of random packets in random networks what `ovn-trace` says, line for line.
//!
//! The networks are made with `ovn-nbctl` on a real `ovn-northd`. What is compared is the answer of
//! `--all`: the packet, the detailed, the summary and the minimal trace. Half of the packets are
//! asked of `ovn-trace` as a daemon, and half with connection states, a backend and a member of
//! `select` of their own.
//!
//! northd writes rules of one priority that match the same packet; which one `ovn-trace` takes hangs
//! on the order of rows in its hash table, which we follow from bucket to bucket, but nobody can know
//! within one. Where the two part at such a pair, the test holds first that it is one ([`Ours::tie`]),
//! then lets ours choose as `ovn-trace` did, and the answers must be the same.
//!
//! `OVN_XDP_TRACE_SEED=N` repeats a run with other dice.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ovn_xdp_compile::southbound::{
    AddressSet, DatapathBinding, LogicalDpGroup, LogicalFlow, MulticastGroup, PortBinding,
    PortGroup, Record,
};
use ovn_xdp_compile::whole::Whole;
use ovn_xdp_control::contents;
use ovn_xdp_control::trace::{Answer, Passed, Question, in_network};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::dice::Dice;
use ovn_xdp_kit::microflow::{microflow, states};
use ovn_xdp_kit::namespace::unique;
use ovn_xdp_kit::network::{FEATURES, Network};
use ovn_xdp_kit::process::{self, Process};
use ovn_xdp_kit::wait;
use ovn_xdp_logical::canonical::{self, Canonical, Names};
use ovn_xdp_logical::set::member;
use ovn_xdp_ovsdb::client::Client;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

const NETWORKS: usize = FEATURES.len();
const PACKETS: usize = 50;

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

fn question(microflow: &str, states: &[String], backend: Option<&String>) -> Question {
    Question {
        all: true,
        ct: states.to_vec(),
        lb_dst: backend.cloned(),
        select_id: Some("1".into()),
        arguments: vec![microflow.into()],
        ..Question::default()
    }
}

/// Pairs of rules at which one answer may part from another.
const MOST_TIES: usize = 8;

struct Ours {
    client: Client,
    whole: Whole,
    ties: usize,
}

impl Ours {
    /// Whether our answer is that of `ovn-trace`, but for rules that it is free to choose among.
    fn agrees(&mut self, question: &Question, theirs: &str) -> Result<(), String> {
        for _ in 0..MOST_TIES {
            let answer = match in_network(&self.whole, self.client.replica(), question) {
                Ok(answer) => answer,
                Err(error) => Answer { text: format!("{error}\n"), passed: Vec::new() },
            };
            if answer.text == theirs {
                return Ok(());
            }
            match self.tie(&answer, theirs) {
                Ok(chosen) => self.whole.prefer(chosen),
                Err(why) => return Err(format!("{why}; {}", difference(theirs, &answer.text))),
            }
            self.ties += 1;
        }
        Err(format!("no end of rules of one priority: {theirs}"))
    }

    /// The rule that `ovn-trace` chose where the two part, if ours is of the same table and priority
    /// and both match the packet there, by OVN's own way to evaluate a match.
    fn tie(&self, answer: &Answer, theirs: &str) -> Result<Uuid, String> {
        let mut lines = theirs.lines().zip(answer.text.lines());
        let (one, other) = lines.find(|(a, b)| a != b).ok_or("one is longer")?;
        let (chosen, ours) = (self.flow(one)?, self.flow(other)?);
        let place = |flow: &LogicalFlow| (flow.pipeline(), flow.table(), flow.priority());
        if place(&chosen) != place(&ours) {
            return Err("the rules are of two tables or priorities".into());
        }
        let here = answer.passed.iter().filter(|passed| passed.flow == ours.uuid());
        let mut why = "our rule was not passed".to_owned();
        for passed in here {
            match self.matches(&chosen, passed).and_then(|()| self.matches(&ours, passed)) {
                Ok(()) => return Ok(chosen.uuid()),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// The flow that a table's line ends with.
    fn flow(&self, line: &str) -> Result<LogicalFlow, String> {
        let (_, digits) = line.rsplit_once(", uuid ").ok_or("no table stands there")?;
        let mut rows = self.client.replica().rows(LogicalFlow::TABLE);
        let found = rows.find(|(uuid, _)| uuid.to_string().starts_with(digits));
        let (uuid, row) = found.ok_or_else(|| format!("there is no flow {digits}"))?;
        LogicalFlow::from_row(uuid, row).map_err(|error| error.to_string())
    }

    fn matches(&self, flow: &LogicalFlow, passed: &Passed) -> Result<(), String> {
        let rows = self.client.replica();
        let key = passed.datapath.get();
        let datapath = rows.rows(DatapathBinding::TABLE).find(|(uuid, row)| {
            DatapathBinding::from_row(*uuid, row).is_ok_and(|row| row.key == passed.datapath)
        });
        let (datapath, _) = datapath.ok_or("there is no such datapath")?;
        let group = flow.group().and_then(|group| rows.row(LogicalDpGroup::TABLE, group));
        let group = group.map(|row| LogicalDpGroup::from_row(Uuid::nil(), row));
        let members = group.transpose().map_err(|error| error.to_string())?;
        let members = members.map_or_else(Box::default, |group| group.datapaths);
        if flow.datapath() != Some(datapath) && !members.contains(&datapath) {
            return Err(format!("flow {} is not of datapath {key}", flow.uuid()));
        }
        let mut names = Names::default();
        for (uuid, row) in rows.rows(AddressSet::TABLE) {
            let set = AddressSet::from_row(uuid, row).unwrap();
            let members = set.addresses.iter().filter_map(|text| member(text)).collect();
            names.address_sets.insert(set.name.to_string(), members);
        }
        for (uuid, row) in rows.rows(PortGroup::TABLE) {
            let group = PortGroup::from_row(uuid, row).unwrap();
            if let Some(name) = group.name.strip_prefix(&format!("{key}_")) {
                let ports = group.ports.iter().map(ToString::to_string).collect();
                names.port_groups.insert(name.to_owned(), ports);
            }
        }
        let mut keys = HashMap::new();
        for (uuid, row) in rows.rows(MulticastGroup::TABLE) {
            let group = MulticastGroup::from_row(uuid, row).unwrap();
            if group.datapath == datapath {
                keys.insert(group.name.to_string(), u32::from(group.key.get()));
            }
        }
        for (uuid, row) in rows.rows(PortBinding::TABLE) {
            let port = PortBinding::from_row(uuid, row).unwrap();
            if port.datapath == datapath {
                keys.insert(port.logical_port.to_string(), u32::from(port.key.get()));
            }
        }
        let symbols = self.whole.network().symbols();
        let tree = canonical::parse(flow.matches(), symbols, &names).unwrap();
        let actions = self.whole.network().actions(flow).ok_or("its actions do not read")?;
        let tree = match &actions.prerequisites {
            Some(prerequisites) => tree.and(Canonical::from(prerequisites)),
            None => tree,
        };
        let tree = tree.annotated(symbols).unwrap();
        match tree.holds(&passed.packet, &|name| keys.get(name).copied()) {
            true => Ok(()),
            false => Err(format!("flow {} does not match there", flow.uuid())),
        }
    }
}

#[test]
fn random_packets_in_random_networks_are_traced_as_ovn_trace_does() {
    let seed = std::env::var("OVN_XDP_TRACE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let central = Central::new(Southbound::Standalone).unwrap();
    let mut kept = std::collections::BTreeSet::new();
    let (mut compared, mut delivered, mut crashed, mut ties) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for number in 0..NETWORKS {
        let mut dice = Dice::new(seed * 1000 + number as u64);
        let network = Network::random(&mut dice, number);
        if let Err(error) = network.build(&central) {
            let log = std::fs::read_to_string(central.directory().join("northd.log"));
            let features = &network.features;
            panic!("network {number} of seed {seed}, {features:?}\n{error:#}\nnorthd: {log:?}");
        }
        kept.extend(network.features.iter().map(|feature| format!("{feature:?}")));
        let db = central.remote();
        let client = runtime.block_on(contents::read(&db, None, false)).unwrap();
        let whole = Whole::new(client.replica());
        let mut ours = Ours { client, whole, ties: 0 };
        let mut daemon = Daemon::start(&db, central.directory(), number).unwrap();
        for packet in 0..PACKETS {
            let microflow = microflow(&mut dice, &network);
            // A choice among backends is only the same if it is made beforehand.
            let own = !network.backends.is_empty() || packet % 2 == 1;
            let (states, backend) = match own {
                true => {
                    let v6 = microflow.contains("ip6");
                    let backend = network.backends.iter().find(|it| it.starts_with('[') == v6);
                    (states(&mut dice), backend)
                }
                false => (Vec::new(), None),
            };
            let mut command = Command::new("ovn-trace");
            command.arg(format!("--db={db}")).args(["--all", "--select-id=1"]);
            command.args(states.iter().map(|state| format!("--ct={state}")));
            command.args(backend.map(|backend| format!("--lb-dst={backend}")));
            command.arg(&microflow);
            let theirs = if own { process::run(&mut command) } else { daemon.trace(&microflow) };
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
            let question = question(&microflow, &states, backend);
            if let Err(why) = ours.agrees(&question, &theirs) {
                let file = std::env::temp_dir().join(format!("ovn-xdp-trace-{number}.db"));
                central.record(&file).unwrap();
                failures.push(format!(
                    "network {number} of seed {seed}, {:?}, database {}\n{}\n{why}",
                    network.features,
                    file.display(),
                    process::line(&command),
                ));
            }
        }
        ties += ours.ties;
    }
    println!("{compared} traces compared; {ties} ties between rules of one priority");
    assert!(
        failures.is_empty(),
        "{} of {compared} traces differ; the first ten:\n{}",
        failures.len(),
        failures[..failures.len().min(10)].join("\n\n")
    );
    assert!(crashed <= compared / 50, "ovn-trace had no answer to {crashed} packets");
    assert!(compared >= 2000, "{compared} traces");
    assert_eq!(kept.len(), FEATURES.len(), "features met");
    assert!(delivered > compared / 4, "{delivered} of {compared} packets arrive: a poor mixture");
}

/// Questions that cannot be answered, or only just.
const ODD: [&[&str]; 55] = [
    &[],
    &["s1", "inport == \"s1p1\"", "ip4"],
    &["r0", "ip4"],
    &["r0", "inport == \"s1p1\" && ip4.src == 10.0.1.1 && ip.ttl == 64"],
    &["r0", "eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.tpa == 10.0.1.254"],
    &["nosuch", "ip4"],
    &["nosuch", "xyzzy"],
    &["s1", ""],
    &["s1", "xyzzy"],
    &[""],
    &["0"],
    &["1"],
    &["ip4"],
    &["inport == \"nosuch\""],
    &["inport == \"s1p1\" && inport == \"s1p2\""],
    &["inport == {\"s1p1\", \"s1p2\"}"],
    &["inport == \"s1p1\" && ip4 && ip6"],
    &["inport == \"s1p1\" && tcp.src == 80"],
    &["inport == \"s1p1\" && ip4 && tcp.src > 1024"],
    &["inport == \"s1p1\" &&"],
    &["inport == s1p1"],
    &["inport == \"s1p1\" && ip4.src == $nosuch"],
    &["inport == \"s1p1\" && eth.type == 0x1234/0xfff0"],
    &["inport == \"s1p1\" && ip4 && ip.ttl == 0x40/0xf0"],
    &["inport == \"s1p1\" && ip6 && icmp6.type == 0x80/0x80"],
    &["inport == \"s1p1\" && ip4 && ip.dscp == 8"],
    &["inport == \"s1p1\" && arp.op == 0xddbd"],
    &["inport == \"s1p1\" && vlan.tci == 0x8316"],
    &["inport == \"s1p1\" && ct_state == 0xcb8fc1e6 && ip4"],
    &["inport == \"s1p1\" && ct_state[15..20] == 0x3d"],
    &["inport == \"s1p1\" && icmp6.type == 135 && ip.frag == 3"],
    &["inport == \"s1p1\" && icmp6.type == 135 && icmp6.code == 3 && ip.frag == 3"],
    &["inport == \"s1p1\" && ip6 && ip.proto == 2"],
    &["inport == \"s1p1\" && ip4 && ip.proto == 58 && ip.frag == 2"],
    &["--ct=often", "inport == \"s1p1\""],
    &["--ct=new|est", "inport == \"s1p1\""],
    &["--ct=new,est", "inport == \"s1p1\""],
    &["--ct=inv trk", "inport == \"s1p1\""],
    &["--lb-dst=foo", "inport == \"s1p1\""],
    &["--lb-dst=", "inport == \"s1p1\""],
    &["--lb-dst=1.2.3.4:", "inport == \"s1p1\""],
    &["--lb-dst=1.2.3.4:99999", "inport == \"s1p1\""],
    &["--lb-dst=[1.2.3.4]:80", "inport == \"s1p1\""],
    &["--lb-dst=1.2.3.4/24", "inport == \"s1p1\""],
    &["--select-id=", "inport == \"s1p1\""],
    &["--select-id=0", "inport == \"s1p1\""],
    &["--select-id=-1", "inport == \"s1p1\""],
    &["--select-id=65536", "inport == \"s1p1\""],
    &["--select-id=1x", "inport == \"s1p1\""],
    &["--min", "--sum", "inport == \"s1p1\""],
    &["--minimal", "inport == \"s1p1\"", "--ct", "new"],
    &["--no-friendly-names", "--friendly-names", "inport == \"s1p1\""],
    &["--no-leader-only", "--leader-only", "s1", "inport == \"s1p1\""],
    &["nothing", "inport == \"s1p1\""],
    &["--db=unix:/nonexistent/socket", "inport == \"s1p1\""],
];

#[test]
fn a_wrong_or_odd_question_gets_the_answer_and_the_exit_status_of_ovn_trace() {
    let central = Central::new(Southbound::Standalone).unwrap();
    Network::random(&mut Dice::new(1), 0).build(&central).unwrap();
    let db = format!("--db={}", central.remote());
    // Its log goes there too, line by line with the time.
    let said = |text: &[u8], name: &str| {
        let lines = String::from_utf8_lossy(text).into_owned();
        let lines = lines
            .lines()
            .filter(|line| !line.contains("|ovntrace|") && !line.contains("|socket_util|"));
        lines.map(|line| line.replace(&format!("{name}: "), "")).collect::<Vec<_>>().join("\n")
    };
    for question in ODD {
        let theirs = Command::new("ovn-trace").arg(&db).args(question).output().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovn-xdp"));
        let ours = command.args(["trace", &db]).args(question).output().unwrap();
        let answer = |output: &std::process::Output| {
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert_eq!(answer(&ours), answer(&theirs), "{question:?}");
        // How a connection fails is each system's own; that states contradict is said in the log.
        let own = question.iter().any(|it| it.starts_with("--db=") || it.contains("new,est"));
        let (ours, theirs) = (said(&ours.stderr, "ovn-xdp"), said(&theirs.stderr, "ovn-trace"));
        assert!(own || ours == theirs, "{question:?}: {ours:?}, {theirs:?}");
    }
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
