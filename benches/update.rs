//! One change at a time, from the text of the server's message to the published generation.
//!
//! On databases in the shape that northd writes (`cloud`) at 10,000, 100,000 and 1,000,000 logical
//! flows: an address of a set that 3,500 ACLs share, and of a set of 10,000; an ACL; a port with its
//! flows; a nested container of ours. Each comes and goes; median and p99 of all. The budget is 1 ms
//! and 10 ms. `cargo bench --bench update [-- SIZE ...]`.

mod cloud;

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
    flows: usize,
}

impl Bench {
    fn new(flows: usize) -> Self {
        let cloud = Cloud::new(flows);
        let mut chassis = Chassis::new(&cloud.ours);
        chassis.hear(&cloud.initial());
        Self { chassis, flows: cloud.flows }
    }

    /// What comes and goes by two messages, made anew for each turn.
    fn turns(&mut self, what: &str, messages: impl Fn(usize) -> [String; 2]) {
        self.around(what, messages, |_, _, _| {});
    }

    fn around(
        &mut self,
        what: &str,
        messages: impl Fn(usize) -> [String; 2],
        also: impl Fn(&mut Chassis, usize, bool),
    ) {
        let mut taken = Vec::new();
        let before = self.chassis.compiler.publish().number;
        for turn in 0..TIMES {
            for (message, comes) in messages(turn).iter().zip([true, false]) {
                let start = Instant::now();
                also(&mut self.chassis, turn, comes);
                let generation = self.chassis.hear(message);
                taken.push(start.elapsed());
                drop(generation);
            }
        }
        let made = self.chassis.compiler.publish().number - before;
        assert!(made >= 2 * TIMES as u64, "{what}: {made} generations");
        taken.sort_unstable();
        let micros = |at: usize| taken[at].as_secs_f64() * 1e6;
        let last: Duration = taken[taken.len() - 1];
        println!(
            "{:>9}  {what:<46} {:>9.1} {:>9.1} {:>9.1}",
            self.flows,
            micros(taken.len() / 2),
            micros(taken.len() * 99 / 100),
            last.as_secs_f64() * 1e6
        );
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

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    println!(
        "{:>9}  {:<46} {:>9} {:>9} {:>9}",
        "flows", "change", "median µs", "p99 µs", "most µs"
    );
    for size in if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes } {
        Bench::new(size).run();
    }
}
