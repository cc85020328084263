//! Local flows through the control API: how many updates a second a running daemon takes, from the
//! client's first byte to the answer that the workers run the change.
//!
//! A switch with a bound port and 10,000 flows; in each round as many flows are replaced as the
//! batch says, each by one with another address. `cargo bench --bench api`, as root.

use anyhow::{Context, Result, ensure};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::workload::{Addresses, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
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
        "{:>8}  {:>8}  {:>12}  {:>10}  {:>10}",
        "batch", "on disk", "updates/s", "median", "p99"
    );
    for on_disk in [false, true] {
        let mut chassis = start(&underlay, on_disk)?;
        let _vm =
            Workload::plugged("vm1", chassis.namespace(), "vm1", Addresses::nth(1, 2), false)?;
        chassis.plug("vm1", "vm1")?;
        let mut client = Client(UnixStream::connect(chassis.socket())?);
        let rows = fill(&mut client)?;
        wait::until("the port to be forwarded for", PATIENCE, || {
            match chassis.forwards("vm1").map_err(|error| format!("{error:#}"))? {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        })?;
        for batch in [1, 100, 1000, 10_000] {
            measure(&mut client, &rows, batch, on_disk)?;
        }
    }
    Ok(())
}

fn start(underlay: &Underlay, on_disk: bool) -> Result<XdpChassis> {
    let options = XdpOptions {
        binary: Path::new(env!("CARGO_BIN_EXE_ovn-xdp")),
        name: "hv1",
        remote: "",
        address: ("192.0.2.1".parse()?, 24),
        identity: None,
        settings: "",
    };
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

fn measure(client: &mut Client, rows: &[Value], batch: usize, on_disk: bool) -> Result<()> {
    let mut next = FLOWS as u32;
    let mut times = Vec::new();
    let start = Instant::now();
    let mut spent = Duration::ZERO;
    while spent < EACH && start.elapsed() < 4 * EACH {
        // The client's own work is not the daemon's.
        let operations: Vec<Value> = (0..batch)
            .map(|_| {
                next += 1;
                json!({ "op": "update", "table": "Logical_Flow",
                        "where": [["_uuid", "==", rows[next as usize % rows.len()]]],
                        "row": { "match": matching(next) } })
            })
            .collect();
        let request = request(&operations);
        let sent = Instant::now();
        let answer = client.exchange(&request)?;
        times.push(sent.elapsed());
        spent += sent.elapsed();
        ensure!(answer["error"].is_null(), "{}", answer["error"]);
        ensure!(answer["result"].as_array().is_some_and(|list| list.len() == batch));
    }
    times.sort_unstable();
    let rate = (batch * times.len()) as f64 / spent.as_secs_f64();
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    println!(
        "{batch:>8}  {:>8}  {rate:>12.0}  {:>10.2?}  {p99:>10.2?}",
        if on_disk { "yes" } else { "no" },
        times[times.len() / 2],
    );
    Ok(())
}

fn request(operations: &[Value]) -> Vec<u8> {
    json!({ "method": "transact", "params": operations, "id": 0 }).to_string().into_bytes()
}

struct Client(UnixStream);

impl Client {
    fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>> {
        let mut answer = self.exchange(&request(operations))?;
        ensure!(answer["error"].is_null(), "{}", answer["error"]);
        let results = answer["result"].as_array_mut().context("no list of results")?;
        Ok(std::mem::take(results))
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Value> {
        self.0.write_all(request)?;
        let mut text = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let count = self.0.read(&mut chunk)?;
            ensure!(count > 0, "the daemon hung up");
            text.extend_from_slice(&chunk[..count]);
            // The answer ends with its last brace; only then is it worth reading.
            if text.ends_with(b"}")
                && let Ok(answer) = serde_json::from_slice(&text)
            {
                return Ok(answer);
            }
        }
    }
}
