//! Beside stock: our daemon and Debian's `ovn-controller` on the same Southbound DB, in turns.
//!
//! The database has the shape that northd writes (`cloud`); both chassis have the same VMs. What is
//! timed is what each says itself, by `nb_cfg` in its row of Chassis_Private: that its workers run
//! what belongs to that number, or that `ovs-vswitchd` has it. *Cold* is from the start of a daemon
//! on a full database; an address and an ACL from the server's notice of the change to its notice of
//! the answer, medians of [`TIMES`] that come and go. Memory is what is resident: of ours the one
//! process with its workers, of stock `ovn-controller` without `ovs-vswitchd`.
//! `cargo bench --bench beside_controller [-- SIZE ...]`; needs root and Debian's OVN packages.

#[expect(dead_code, reason = "the side of the compiler is for other benches")]
mod cloud;

use anyhow::{Context, Result};
use cloud::{Cloud, acl, row};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::{self, Underlay};
use ovn_xdp_kit::process;
use ovn_xdp_kit::stock::{Ports, StockChassis, StockOptions};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};
use ovn_xdp_ovsdb::client::{Client, Config, Event};
use ovn_xdp_ovsdb::monitor::Wanted;
use ovn_xdp_ovsdb::remote::Remote;
use ovn_xdp_ovsdb::transact::Transaction;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Times that something comes, and goes.
const TIMES: usize = 25;

/// How long a daemon may take for anything.
const PATIENCE: Duration = Duration::from_secs(600);

const ADDRESS: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 24);

/// A chassis that can be ended and started.
trait Daemon {
    fn kill(&mut self);
    fn start(&mut self) -> Result<()>;
    fn pid(&self) -> Option<u32>;
}

impl Daemon for XdpChassis {
    fn kill(&mut self) {
        XdpChassis::kill(self);
    }

    fn start(&mut self) -> Result<()> {
        XdpChassis::start(self)
    }

    fn pid(&self) -> Option<u32> {
        XdpChassis::pid(self)
    }
}

impl Daemon for StockChassis {
    fn kill(&mut self) {
        self.kill_controller();
    }

    fn start(&mut self) -> Result<()> {
        self.start_controller()
    }

    fn pid(&self) -> Option<u32> {
        self.controller()
    }
}

/// What was measured of a chassis.
struct Measured {
    /// Seconds.
    cold: f64,
    /// Milliseconds, ascending.
    address: Vec<f64>,
    acl: Vec<f64>,
    /// Bytes.
    memory: f64,
}

/// Writes a Southbound DB with a cloud in it, as `ovsdb-server` keeps it.
fn write(cloud: &Cloud, file: &Path) -> Result<()> {
    std::fs::remove_file(file)?;
    let schema = "/usr/share/ovn/ovn-sb.ovsschema";
    process::run(Command::new("ovsdb-tool").arg("create").arg(file).arg(schema))?;
    let mut tables: Vec<String> = Vec::new();
    for (table, rows) in &cloud.tables {
        let rows =
            rows.iter().map(|(row, columns)| format!("\"{}\":{{{columns}}}", cloud::uuid(*row)));
        tables.push(format!("\"{table}\":{{{}}}", rows.collect::<Vec<_>>().join(",")));
    }
    tables.push(format!("\"SB_Global\":{{\"{}\":{{\"nb_cfg\":0}}}}", cloud::uuid(9)));
    let record = format!("{{{},\"_date\":0}}\n", tables.join(","));
    let scratch = file.with_extension("record");
    std::fs::write(&scratch, &record)?;
    let sum = process::run(Command::new("sha1sum").arg(&scratch))?;
    let sum = sum.split_whitespace().next().context("a sum")?;
    let mut file = std::fs::OpenOptions::new().append(true).open(file)?;
    write!(file, "OVSDB JSON {} {sum}\n{record}", record.len())?;
    Ok(())
}

/// A central with a cloud in it, on which northd does not work.
fn central(cloud: &Cloud) -> Result<Central> {
    let mut central = Central::new(Southbound::Standalone)?;
    central.stop_northd();
    central.kill_member(0);
    let file = central.southbound_file().to_owned();
    write(cloud, &file)?;
    central.start_member(0)?;
    Ok(central)
}

/// Who watches what the server is told.
struct Watch {
    runtime: tokio::runtime::Runtime,
    client: Client,
    last: i64,
}

impl Watch {
    fn new(central: &Central) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut config = Config::new(Remote::parse_list(&central.remote())?, "OVN_Southbound");
        config.tables = vec![
            Wanted::columns("SB_Global", &["nb_cfg"]),
            Wanted::columns("Chassis_Private", &["nb_cfg"]),
        ];
        let client = runtime.block_on(async {
            let mut client = Client::spawn(config);
            while !matches!(client.next_event().await, Event::Initial(_)) {}
            client
        });
        Ok(Self { runtime, client, last: 0 })
    }

    /// Changes rows of the database in one transaction with the next number, and returns the time
    /// from when that is known to when a chassis says that it runs it, and the row that was inserted.
    fn change(&mut self, change: Option<Value>) -> Result<(Duration, Option<Uuid>)> {
        self.last += 1;
        let Self { runtime, client, last } = self;
        let (handle, transaction) = (client.handle().clone(), transaction(change, *last));
        runtime.block_on(async {
            let told = async { anyhow::Ok(handle.transact(transaction).await?) };
            let (told, taken) = tokio::try_join!(told, answered(client, *last))?;
            Ok((taken, told.inserted().next()))
        })
    }

    /// Writes the next number; nobody needs to answer it yet.
    fn number(&mut self) -> Result<()> {
        self.last += 1;
        let handle = self.client.handle().clone();
        self.runtime.block_on(handle.transact(transaction(None, self.last)))?;
        Ok(())
    }

    /// Waits for the answer to the last number.
    fn answered(&mut self) -> Result<Duration> {
        let Self { runtime, client, last } = self;
        runtime.block_on(answered(client, *last))
    }
}

/// An operation, and a number for who has done it.
fn transaction(change: Option<Value>, number: i64) -> Transaction {
    let number = json!({
        "op": "update", "table": "SB_Global", "where": [], "row": {"nb_cfg": number}
    });
    let mut transaction = Transaction::new();
    change.into_iter().chain([number]).for_each(|operation| {
        transaction.operation(operation);
    });
    transaction
}

/// The time from when a number is known to when a chassis answers it.
async fn answered(client: &mut Client, number: i64) -> Result<Duration> {
    let has = |client: &Client, table: &str| {
        let mut rows = client.replica().rows(table);
        rows.any(|(_, row)| row.integer("nb_cfg").is_ok_and(|it| it == number))
    };
    let wait = async {
        let mut known = None;
        while !has(client, "Chassis_Private") {
            client.next_event().await;
            if known.is_none() && has(client, "SB_Global") {
                known = Some(Instant::now());
            }
        }
        known.map(|it| it.elapsed()).unwrap_or_default()
    };
    Ok(tokio::time::timeout(PATIENCE, wait).await?)
}

fn measure(watch: &mut Watch, daemon: &mut impl Daemon) -> Result<Measured> {
    watch.change(None)?;
    daemon.kill();
    watch.number()?;
    let start = Instant::now();
    daemon.start()?;
    watch.answered()?;
    let cold = start.elapsed().as_secs_f64();
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().context("a pid")?))?;
    let resident = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib: f64 =
        resident.and_then(|it| it.split_whitespace().next()).context("VmRSS")?.parse()?;
    let (mut address, mut acls) = (Vec::new(), Vec::new());
    let millis = |taken: Duration| taken.as_secs_f64() * 1e3;
    let row = |row: &str| json!([["_uuid", "==", ["uuid", row]]]);
    for turn in 0..TIMES {
        let member = cloud::address(30_000 + turn);
        for verb in ["insert", "delete"] {
            let change = json!({
                "op": "mutate",
                "table": "Address_Set",
                "where": row(&cloud::uuid(row::SHARED)),
                "mutations": [["addresses", verb, member]],
            });
            address.push(millis(watch.change(Some(change))?.0));
        }
        let create = json!({
            "op": "insert",
            "table": "Logical_Flow",
            "row": {
                "logical_datapath": ["uuid", cloud::uuid(row::FIRST_SWITCH)],
                "pipeline": "egress",
                "table_id": 4,
                "priority": 1500 + turn,
                "match": acl(4000 + turn),
                "actions": "next;",
            },
        });
        let (taken, flow) = watch.change(Some(create))?;
        acls.push(millis(taken));
        let flow = row(&flow.context("the flow")?.to_string());
        let destroy = json!({"op": "delete", "table": "Logical_Flow", "where": flow});
        acls.push(millis(watch.change(Some(destroy))?.0));
    }
    address.sort_by(f64::total_cmp);
    acls.sort_by(f64::total_cmp);
    Ok(Measured { cold, address, acl: acls, memory: kib * 1024.0 })
}

/// The VMs of ours, each on an interface.
fn vms(cloud: &Cloud) -> impl Iterator<Item = (String, &str)> {
    let vms = cloud.ours.iter().filter(|port| port.2.is_none());
    vms.map(|(name, number, _)| (format!("vm{number}"), &**name))
}

fn ours(cloud: &Cloud) -> Result<Measured> {
    let (central, underlay) = (central(cloud)?, Underlay::new(1500)?);
    let remote = central.remote();
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), &remote);
    let mut chassis = XdpChassis::prepare(&underlay, options)?;
    for (link, port) in vms(cloud) {
        link::tap(chassis.namespace(), &link)?;
        chassis.plug(&link, port)?;
    }
    chassis.start()?;
    measure(&mut Watch::new(&central)?, &mut chassis)
}

fn stock(cloud: &Cloud) -> Result<Measured> {
    let (central, underlay) = (central(cloud)?, Underlay::new(1500)?);
    let remote = central.remote();
    let options = StockOptions {
        name: "hv1",
        remote: &remote,
        address: ADDRESS,
        ports: Ports::Packet,
        core: None,
    };
    let mut chassis = StockChassis::new(&underlay, options)?;
    for (link, port) in vms(cloud) {
        chassis.vsctl(&format!(
            "add-port br-int {link} -- set interface {link} type=internal external_ids:iface-id={port}"
        ))?;
    }
    measure(&mut Watch::new(&central)?, &mut chassis)
}

fn main() -> Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    println!("{:>8}  {:<26} {:>10} {:>10} {:>8}", "flows", "", "ours", "stock", "ahead");
    for size in if sizes.is_empty() { vec![10_000, 100_000] } else { sizes } {
        let cloud = Cloud::new(size);
        let (ours, stock) = (ours(&cloud)?, stock(&cloud)?);
        let row = |what: &str, ours: f64, stock: f64| {
            println!("{size:>8}  {what:<26} {ours:>10.2} {stock:>10.2} {:>8.2}", stock / ours);
        };
        let at = |all: &[f64], percent: usize| all[(all.len() - 1) * percent / 100];
        row("cold start, s", ours.cold, stock.cold);
        row("an address, ms", at(&ours.address, 50), at(&stock.address, 50));
        row("an address, ms, p90", at(&ours.address, 90), at(&stock.address, 90));
        row("an ACL, ms", at(&ours.acl, 50), at(&stock.acl, 50));
        row("an ACL, ms, p90", at(&ours.acl, 90), at(&stock.acl, 90));
        row("memory, MB", ours.memory / 1e6, stock.memory / 1e6);
    }
    Ok(())
}
