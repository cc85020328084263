//! Local flows through the control API: how many updates a second a running daemon takes, from the
//! client's first byte to the last of the answer that the workers run the change.
//!
//! A switch with a bound port and 10,000 flows; in each round as many flows are replaced as the
//! batch says, each by one with another address: in one transaction, or in one each that are sent
//! without waiting between them (`pipelined`). `cargo bench --bench api`, as root.

use anyhow::{Context, Result, ensure};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use ovn_xdp_ovsdb::wire::{DEFAULT_LIMIT, Framer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const FLOWS: usize = 10_000;
const BUDGET: f64 = 100_000.0;
const EACH: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let underlay = Underlay::new(1500)?;
    println!("local flow updates a second, answered when the workers run them (budget {BUDGET})\n");
    println!(
        "{:>9}  {:>13}  {:>8}  {:>12}  {:>10}  {:>10}",
        "a round", "transactions", "on disk", "updates/s", "median", "p99"
    );
    for (name, on_disk) in [("hv1", false), ("hv2", true)] {
        let mut chassis = start(&underlay, name, on_disk)?;
        let _vm =
            Workload::plugged("vm1", chassis.namespace(), "vm1", Addresses::nth(1, 2), false)?;
        chassis.plug("vm1", "vm1")?;
        let stream = UnixStream::connect(chassis.socket())?;
        let mut client = Client { stream, framer: Framer::new(DEFAULT_LIMIT) };
        let rows = fill(&mut client)?;
        wait::until("the port to be forwarded for", PATIENCE, || {
            match chassis.forwards("vm1").map_err(|error| format!("{error:#}"))? {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        })?;
        let mut next = FLOWS as u32;
        for (transactions, each) in [(1, 1), (1000, 1), (1, 100), (1, 1000), (1, 10_000)] {
            measure(&mut client, &rows, &mut next, (transactions, each), on_disk)?;
        }
    }
    Ok(())
}

fn start(underlay: &Underlay, name: &str, on_disk: bool) -> Result<XdpChassis> {
    let options =
        XdpOptions { name, ..XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), "") };
    let mut chassis = XdpChassis::prepare(underlay, options)?;
    chassis.keep_local_rows(on_disk);
    chassis.start()?;
    Ok(chassis)
}

/// The switch; the rows of its flows.
fn fill(client: &mut Client) -> Result<Vec<Value>> {
    let mut operations = vec![
        json!({ "op": "insert", "table": "Datapath_Binding", "uuid-name": "sw",
                "row": { "tunnel_key": 1 } }),
        json!({ "op": "insert", "table": "Port_Binding", "row": {
            "logical_port": "vm1", "datapath": ["named-uuid", "sw"], "tunnel_key": 1 } }),
    ];
    operations.extend((0..FLOWS).map(|number| {
        json!({ "op": "insert", "table": "Logical_Flow", "row": {
            "logical_datapath": ["named-uuid", "sw"], "pipeline": "ingress", "table_id": 0,
            "priority": 100, "match": matching(number as u32), "actions": "drop;" } })
    }));
    let results = client.transact(&operations)?;
    Ok(results.into_iter().skip(2).map(|mut result| result["uuid"].take()).collect())
}

fn matching(number: u32) -> String {
    let [_, b, c, d] = number.to_be_bytes();
    format!("inport == \"vm1\" && ip4.dst == 10.{b}.{c}.{d} && tcp.dst == {}", 1 + number % 65_535)
}

fn measure(
    client: &mut Client,
    rows: &[Value],
    next: &mut u32,
    (transactions, each): (usize, usize),
    on_disk: bool,
) -> Result<()> {
    let mut times = Vec::new();
    let start = Instant::now();
    let mut spent = Duration::ZERO;
    while spent < EACH && start.elapsed() < 4 * EACH {
        // The client's own work is not the daemon's.
        let mut requests = Vec::new();
        for _ in 0..transactions {
            let operations: Vec<Value> = (0..each)
                .map(|_| {
                    *next += 1;
                    json!({ "op": "update", "table": "Logical_Flow",
                            "where": [["_uuid", "==", rows[*next as usize % rows.len()]]],
                            "row": { "match": matching(*next) } })
                })
                .collect();
            requests.extend(request(&operations));
        }
        let sent = Instant::now();
        let answers = client.exchange(&requests, transactions)?;
        times.push(sent.elapsed());
        spent += sent.elapsed();
        for answer in answers {
            let answer: Value = serde_json::from_slice(&answer)?;
            ensure!(answer["error"].is_null(), "{}", answer["error"]);
            ensure!(answer["result"].as_array().is_some_and(|list| list.len() == each));
        }
    }
    times.sort_unstable();
    let updates = transactions * each;
    let rate = (updates * times.len()) as f64 / spent.as_secs_f64();
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    println!(
        "{updates:>9}  {:>13}  {:>8}  {rate:>12.0}  {:>10.2?}  {p99:>10.2?}",
        if transactions == 1 { "one" } else { "pipelined" },
        if on_disk { "yes" } else { "no" },
        times[times.len() / 2],
    );
    Ok(())
}

fn request(operations: &[Value]) -> Vec<u8> {
    json!({ "method": "transact", "params": operations, "id": 0 }).to_string().into_bytes()
}

struct Client {
    stream: UnixStream,
    framer: Framer,
}

impl Client {
    fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>> {
        let answers = self.exchange(&request(operations), 1)?;
        let mut answer: Value = serde_json::from_slice(&answers[0])?;
        ensure!(answer["error"].is_null(), "{}", answer["error"]);
        let results = answer["result"].as_array_mut().context("no list of results")?;
        Ok(std::mem::take(results))
    }

    /// Sends requests, and waits for as many answers.
    fn exchange(&mut self, requests: &[u8], count: usize) -> Result<Vec<Vec<u8>>> {
        self.stream.write_all(requests)?;
        let mut answers = Vec::with_capacity(count);
        let mut chunk = vec![0; 1 << 16];
        while answers.len() < count {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the daemon hung up");
            self.framer.buffer().extend_from_slice(&chunk[..read]);
            while let Some(frame) = self.framer.next_frame()? {
                answers.push(frame.bytes);
            }
        }
        Ok(answers)
    }
}
