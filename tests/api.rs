//! Each example of `docs/api.md`, in the order of the manual, against a running daemon; and who may
//! open the socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::process;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use serde_json::{Value, json};

const MANUAL: &str = include_str!("../docs/api.md");

fn alone(underlay: &Underlay, control: &str) -> XdpChassis {
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), "");
    let mut chassis = XdpChassis::prepare(underlay, options).unwrap();
    chassis.control(control);
    chassis.start().unwrap();
    chassis
}

struct Conversation {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Conversation {
    fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    fn send(&mut self, request: &Value) {
        self.stream.write_all(request.to_string().as_bytes()).unwrap();
    }

    fn next(&mut self) -> Value {
        loop {
            if self.buffer.ends_with(b"}") {
                let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
                if let Some(Ok(value)) = values.next() {
                    let used = values.byte_offset();
                    self.buffer.drain(..used);
                    return value;
                }
            }
            let mut chunk = [0; 1 << 16];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the daemon hung up");
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

/// The fenced blocks of a kind that a test runs, in order.
fn blocks() -> Vec<(&'static str, Value)> {
    let mut blocks = Vec::new();
    let mut rest = MANUAL;
    while let Some(start) = rest.find("```") {
        let (kind, body) = rest[start + 3..].split_once('\n').unwrap();
        let (body, after) = body.split_once("\n```").unwrap();
        if ["call", "answer", "error", "event"].contains(&kind) {
            let json = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in\n{body}"));
            blocks.push((kind, json));
        }
        rest = after;
    }
    blocks
}

/// Whether a value is as the manual has it, where `…` stands for anything.
fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), _) if any == "…" => true,
        (Value::String(expected), Value::String(found)) => {
            let mut parts = expected.split('…');
            let Some(mut rest) = found.strip_prefix(parts.next().unwrap()) else { return false };
            let parts: Vec<&str> = parts.collect();
            let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
            for part in middle {
                match rest.find(part) {
                    Some(at) => rest = &rest[at + part.len()..],
                    None => return false,
                }
            }
            rest.ends_with(last)
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| fits(e, f))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .all(|(key, value)| found.get(key).is_some_and(|f| fits(value, f)))
        }
        (expected, found) => expected == found,
    }
}

#[test]
fn every_example_of_the_manual_is_answered_as_it_says() {
    let underlay = Underlay::new(1500).unwrap();
    let mut chassis = alone(&underlay, "");
    let name = "vm1";
    let _vm1 = Workload::plugged(name, chassis.namespace(), name, Addresses::nth(1, 2), false);
    chassis.plug(name, name).unwrap();
    wait::until("the interface to be attached", PATIENCE, || {
        let show = chassis.show().map_err(|error| format!("{error:#}"))?;
        let waiting = &show["waiting"][0];
        let attached = waiting["reason"].as_str().is_some_and(|why| why.contains("no such port"));
        if attached { Ok(()) } else { Err(show.to_string()) }
    })
    .unwrap();

    let mut talk = Conversation::open(&chassis.socket());
    let mut watch = None;
    let mut answer = Value::Null;
    let mut examples = 0;
    for (kind, block) in blocks() {
        match kind {
            "call" => {
                let mut request = block.clone();
                request["id"] = json!(examples);
                examples += 1;
                let watching = request["method"] == "watch";
                let stream = match watching {
                    true => watch.insert(Conversation::open(&chassis.socket())),
                    false => &mut talk,
                };
                stream.send(&request);
                answer = stream.next();
                assert_eq!(answer["id"], request["id"]);
            }
            "event" => {
                let stream = watch.as_mut().expect("watch comes before its events");
                let seen = (0..10).map(|_| stream.next()).find(|event| {
                    assert_eq!((&event["method"], &event["id"]), (&json!("event"), &Value::Null));
                    fits(&block, &event["params"][0])
                });
                assert!(seen.is_some(), "{block} was not told");
            }
            _ => {
                let (there, not) = match kind {
                    "answer" => ("result", "error"),
                    _ => ("error", "result"),
                };
                assert_eq!(answer[not], Value::Null, "{answer}");
                assert!(fits(&block, &answer[there]), "expected {block}\nfound {}", answer[there]);
            }
        }
    }
    assert!(examples > 25);
}

/// Sent in one go: each is answered for itself, in order, and what is read behind them is what they
/// made.
#[test]
fn transactions_that_are_sent_together_are_answered_one_by_one() {
    let underlay = Underlay::new(1500).unwrap();
    let chassis = alone(&underlay, "");
    let mut talk = Conversation::open(&chassis.socket());
    let insert = |key: i64| json!([{ "op": "insert", "table": "Datapath_Binding", "row": { "tunnel_key": key } }]);
    let select = json!([{ "op": "select", "table": "Datapath_Binding", "where": [],
                          "columns": ["tunnel_key"] }]);
    let keys = [1, 2, 2, 0, 3];
    let transactions = keys.map(insert).into_iter().chain([select]);
    let mut all = String::new();
    for (id, params) in transactions.enumerate() {
        all += &json!({ "method": "transact", "params": params, "id": id }).to_string();
    }
    all += &json!({ "method": "memory/show", "params": ["--json"], "id": 6 }).to_string();
    talk.stream.write_all(all.as_bytes()).unwrap();
    let answers: Vec<Value> = (0..7).map(|_| talk.next()).collect();
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(answer["id"], id);
        let refused = [2, 3].contains(&id);
        assert_eq!(answer["error"].is_null(), !refused, "{answer}");
    }
    assert!(answers[2]["error"]["details"].as_str().unwrap().contains("tunnel_key 2"));
    assert_eq!(answers[5]["result"][0]["rows"].as_array().unwrap().len(), 3);
    let memory: Value = serde_json::from_str(answers[6]["result"].as_str().unwrap()).unwrap();
    assert_eq!(memory["local_rows"]["Datapath_Binding"], 3);
}

#[test]
fn every_command_has_an_example_in_the_manual() {
    let underlay = Underlay::new(1500).unwrap();
    let chassis = alone(&underlay, "");
    let mut appctl = Command::new("ovs-appctl");
    appctl.arg("-t").arg(chassis.socket()).arg("list-commands");
    let listed = process::run(&mut appctl).unwrap();
    let examples = blocks();
    let called =
        |name: &str| examples.iter().any(|(kind, call)| *kind == "call" && call["method"] == name);
    let commands: Vec<&str> =
        listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20);
    for command in commands {
        assert!(called(command), "{command} has no example");
    }
}

/// As with the daemons of OVS, where `ovs-appctl` says what happened in a line of its own.
#[test]
fn what_ovs_appctl_prints_of_an_error_is_a_line() {
    let underlay = Underlay::new(1500).unwrap();
    let chassis = alone(&underlay, "");
    let said = |words: &[&str]| {
        let mut appctl = Command::new("ovs-appctl");
        appctl.arg("-t").arg(chassis.socket()).args(words);
        let output = process::output(&mut appctl).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (words, line) in [
        (&["prots"][..], "\"prots\" is not a valid command"),
        (&["tables", "router"], "no datapath here has the name \"router\""),
        (&["trace", "inport == \"vm7\" && ip4"], "unknown port \"vm7\""),
    ] {
        assert_eq!(said(words).lines().next(), Some(line));
    }
}

/// The group may, others may not, whatever they try.
#[test]
fn only_root_and_the_named_group_may_open_the_socket() {
    const DAEMON: u32 = 1;
    const NOBODY: u32 = 65534;
    let underlay = Underlay::new(1500).unwrap();
    let chassis = alone(&underlay, "group = \"daemon\"\n");
    let socket = chassis.socket();
    // The directory of the test is root's own; the socket is what is tested.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(socket.parent().unwrap(), open).unwrap();
    let version = |uid: u32, gid: u32| {
        let mut command = Command::new("ovs-appctl");
        command.arg("-t").arg(&socket).arg("version").uid(uid).gid(gid);
        let output = process::output(&mut command).unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(version(0, 0).0);
    assert_eq!(version(NOBODY, DAEMON), (true, String::new()));
    let (may, said) = version(NOBODY, NOBODY);
    assert!(!may && said.contains("Permission denied"), "{said}");
    // Who got past the mode is still asked who it is.
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&socket, all).unwrap();
    assert!(!version(NOBODY, NOBODY).0);
    assert!(version(NOBODY, DAEMON).0);
}

#[test]
fn changes_are_answered_while_somebody_reads_all_flows_slowly_and_reads_those_of_one_generation() {
    const FLOWS: usize = 20_000;
    const PROMPT: Duration = Duration::from_secs(1);
    let underlay = Underlay::new(1500).unwrap();
    let mut chassis = alone(&underlay, "");
    let name = "vm1";
    let _vm1 = Workload::plugged(name, chassis.namespace(), name, Addresses::nth(1, 2), false);
    chassis.plug(name, name).unwrap();
    let mut changing = Conversation::open(&chassis.socket());
    let mut fill = vec![json!({ "op": "insert", "table": "Datapath_Binding", "uuid-name": "sw",
        "row": { "tunnel_key": 1 } })];
    fill.extend((0..FLOWS).map(|number| {
        json!({ "op": "insert", "table": "Logical_Flow", "row": {
            "logical_datapath": ["named-uuid", "sw"], "pipeline": "ingress", "table_id": 0,
            "priority": 100, "match": format!("reg0 == {number}"), "actions": "drop;" } })
    }));
    fill.push(json!({ "op": "insert", "table": "Port_Binding", "row": {
        "logical_port": name, "datapath": ["named-uuid", "sw"], "tunnel_key": 1 } }));
    let mut change = |operations: &[Value]| {
        let start = std::time::Instant::now();
        changing.send(&json!({ "method": "transact", "params": operations, "id": 0 }));
        let answer = changing.next();
        assert_eq!(answer["error"], Value::Null, "{answer}");
        (answer["result"].clone(), start.elapsed())
    };
    let rows = change(&fill).0;
    wait::until("the port to be forwarded for", PATIENCE, || {
        match chassis.forwards(name).map_err(|error| format!("{error:#}"))? {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    })
    .unwrap();
    let before = chassis.read(&["flows"]).unwrap();
    assert_eq!(before.as_array().unwrap().len(), FLOWS);

    // Of the answer no more is read than shows that it has begun.
    let mut slow = Conversation::open(&chassis.socket());
    slow.send(&json!({ "method": "flows", "params": ["--json"], "id": 0 }));
    let mut first = [0; 1];
    slow.stream.read_exact(&mut first).unwrap();
    slow.buffer.extend(first);
    for number in 1..=100 {
        let of = json!([["_uuid", "==", rows[number]["uuid"]]]);
        let (_, took) = change(&[match number % 2 {
            0 => json!({ "op": "delete", "table": "Logical_Flow", "where": of }),
            _ => json!({ "op": "update", "table": "Logical_Flow", "where": of,
                "row": { "match": format!("reg1 == {number}") } }),
        }]);
        assert!(took < PROMPT, "change {number} took {took:?}");
    }
    let answer = slow.next();
    let told: Value = serde_json::from_str(answer["result"].as_str().unwrap()).unwrap();
    assert!(told == before, "what was answered is not what there was when it was asked");
    let after = chassis.read(&["flows"]).unwrap();
    assert_eq!(after.as_array().unwrap().len(), FLOWS - 50);
}
