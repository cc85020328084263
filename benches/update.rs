//! One change at a time, from the text of the server's message to the published generation.
//!
//! On databases in the shape that northd writes (`cloud`) at 10,000, 100,000 and 1,000,000 logical
//! flows: an address of a set that 3,500 ACLs share, and of a set of 10,000; an ACL; a port with its
//! flows; a nested container of ours. Each is added and removed; median and p99 of both, apart. The
//! budget is 1 ms and 10 ms. That everything goes and returns is measured by `scale`.
//! `cargo bench --bench update [-- SIZE ...]`; with all sizes a drawing goes to `target/update.svg`.

mod chart;
mod cloud;

use chart::{Bar, Picture};
use cloud::{Chassis, Cloud, To, acl, address, flow_row, port_flows, port_row_of, row, uuid};
use ovn_xdp_compile::LocalPort;
use ovn_xdp_datapath::key::{InterfaceId, VlanId};
use ovn_xdp_datapath::publish::Tag;
use std::time::{Duration, Instant};

/// Times that something comes, and goes.
const TIMES: usize = 250;

/// Numbers of rows that no cloud has.
const SPARE: u64 = 0x7000_0000;

struct Bench {
    chassis: Chassis,
    /// Kept: were its million texts freed, the first change would wait until they are sorted.
    cloud: Cloud,
    lines: Vec<Line>,
}

/// What a change took, in microseconds: added, and removed.
struct Line {
    what: &'static str,
    added: Taken,
    removed: Taken,
}

struct Taken {
    median: f64,
    p99: f64,
    most: f64,
}

impl Taken {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let [median, p99, most] =
            [50, 99, 100].map(|percent| all[(all.len() - 1) * percent / 100].as_secs_f64() * 1e6);
        Self { median, p99, most }
    }
}

impl Bench {
    fn new(flows: usize) -> Self {
        let cloud = Cloud::new(flows);
        let mut chassis = Chassis::new(&cloud.ours);
        chassis.hear(&cloud.initial());
        Self { chassis, cloud, lines: Vec::new() }
    }

    /// What comes and goes by two messages, made anew for each turn.
    fn turns(&mut self, what: &'static str, messages: impl Fn(usize) -> [String; 2]) {
        self.around(what, messages, |_, _, _| {});
    }

    fn around(
        &mut self,
        what: &'static str,
        messages: impl Fn(usize) -> [String; 2],
        also: impl Fn(&mut Chassis, usize, bool),
    ) {
        let mut taken = [Vec::new(), Vec::new()];
        let before = self.chassis.compiler.publish().number;
        for turn in 0..TIMES {
            for ((message, comes), taken) in
                messages(turn).iter().zip([true, false]).zip(&mut taken)
            {
                let start = Instant::now();
                also(&mut self.chassis, turn, comes);
                let generation = self.chassis.hear(message);
                taken.push(start.elapsed());
                drop(generation);
            }
        }
        let made = self.chassis.compiler.publish().number - before;
        assert!(made >= 2 * TIMES as u64, "{what}: {made} generations");
        let [added, removed] = taken.map(Taken::of);
        print!("{:>9}  {what:<44}", self.cloud.flows);
        for Taken { median, p99, most } in [&added, &removed] {
            print!(" {median:>8.1} {p99:>8.1} {most:>8.1}");
        }
        println!();
        self.lines.push(Line { what, added, removed });
    }

    fn run(&mut self) {
        for (row, what) in [
            (row::SHARED, "an address of a set that 3,500 ACLs share"),
            (row::LARGE, "an address of a set of 10,000"),
        ] {
            self.turns(what, |turn| {
                let member = address(30_000 + turn);
                let change = format!(
                    "{{\"Address_Set\":{{\"{}\":{{\"modify\":{{\"addresses\":\"{member}\"}}}}}}}}",
                    uuid(row)
                );
                [change.clone(), change]
            });
        }
        let switch = row::FIRST_SWITCH;
        self.turns("an ACL of 3,500", |turn| {
            let flow =
                flow_row(To::Datapath(switch), ("egress", 4), 1500, &acl(4000 + turn), "next;");
            come_and_go(&[("Logical_Flow", flow)])
        });
        let rows = move |turn: usize, nested: Option<(&str, u16)>| {
            let host = 40_000 + turn;
            let name = format!("p0-{host}");
            let flows = port_flows(0, switch, host).into_iter();
            let flows = flows.map(|(to, stage, priority, matches, actions)| {
                ("Logical_Flow", flow_row(to, stage, priority, &matches, &actions))
            });
            let port = port_row_of(switch, 30_000 + turn, &name, nested);
            let rows: Vec<_> = flows.chain([("Port_Binding", port)]).collect();
            come_and_go(&rows)
        };
        self.turns("a port elsewhere, with its flows", |turn| rows(turn, None));
        self.around(
            "a nested container of ours, with its flows",
            |turn| rows(turn, Some(("p0-0", 100))),
            |chassis, turn, comes| {
                let tag = VlanId::new(100).map(|vid| Tag { tpid: 0x8100, vid });
                let local = comes.then_some(LocalPort { interface: InterfaceId(1), tag });
                chassis.compiler.bind(&format!("p0-{}", 40_000 + turn), local);
            },
        );
    }
}

/// The messages that insert rows, and delete them.
fn come_and_go(rows: &[(&str, String)]) -> [String; 2] {
    let mut tables: Vec<&str> = rows.iter().map(|(table, _)| *table).collect();
    tables.dedup();
    [true, false].map(|comes| {
        let of = |table: &str| {
            let own = rows.iter().enumerate().filter(|(_, row)| row.0 == table);
            let own = own.map(|(at, (_, columns))| {
                let change = match comes {
                    true => format!("\"insert\":{{{columns}}}"),
                    false => "\"delete\":null".to_owned(),
                };
                format!("\"{}\":{{{change}}}", uuid(SPARE + at as u64))
            });
            format!("\"{table}\":{{{}}}", own.collect::<Vec<_>>().join(","))
        };
        format!("{{{}}}", tables.iter().map(|table| of(table)).collect::<Vec<_>>().join(","))
    })
}

/// Microseconds that a change may take, in the median.
const BUDGET: f64 = 1000.0;

/// The medians of some sizes' lines, with the p99 behind.
fn picture(benches: &[(usize, Vec<Line>)]) -> Picture {
    let mut bars = Vec::new();
    let mut rows = Vec::new();
    for (series, (_, lines)) in benches.iter().enumerate() {
        let both = lines.iter().flat_map(|it| [(it.what, &it.added), (it.what, &it.removed)]);
        for (row, (what, Taken { median, p99, .. })) in both.enumerate() {
            if series == 0 {
                let comes = if row % 2 == 0 { "added" } else { "removed" };
                rows.push(format!("{what}: {comes}"));
            }
            let note = format!("{median:.0}, p99 {p99:.0}");
            let spread = (*median, *p99);
            bars.push(Bar { row, series, value: *median, spread, budget: Some(BUDGET), note });
        }
    }
    Picture {
        caption: "One change, from message to published generation, µs (red: 1 ms, the budget)"
            .into(),
        rows,
        series: benches.iter().map(|(flows, _)| format!("{flows} flows")).collect(),
        scale: 1.0..50_000.0,
        base: 1.0,
        bars,
    }
}

fn main() -> anyhow::Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    println!(
        "{:>9}  {:<44} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "flows", "change, µs", "added", "p99", "most", "removed", "p99", "most"
    );
    let all = [10_000, 100_000, 1_000_000];
    let chosen = if sizes.is_empty() { &all[..] } else { &sizes };
    let run = |size: &usize| {
        let mut bench = Bench::new(*size);
        bench.run();
        (bench.cloud.flows, bench.lines)
    };
    let benches: Vec<_> = chosen.iter().map(run).collect();
    if chosen.len() == all.len() {
        picture(&benches).draw("update")?;
    }
    Ok(())
}
