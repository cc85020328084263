//! Who reached whom: ping and TCP over IPv4 and IPv6 between every ordered pair of workloads.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use ovn_xdp_kit::topology::{PORTS, Place, Port, home};
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait;

use crate::lab::Lab;
use crate::screen::Screen;

const STREAM: usize = 8 << 20;
const PINGS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(3);

/// The outcome of all attempts.
#[derive(Debug, Default)]
pub struct Matrix {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    from: &'static Port,
    to: &'static Port,
    cells: [Cell; 4],
}

/// One attempt: a latency or a throughput, or why there is none.
#[derive(Debug)]
enum Cell {
    Latency(Duration),
    BitsPerSecond(f64),
    Failed(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Latency(time) => format!("{:.3} ms", time.as_secs_f64() * 1e3),
            Self::BitsPerSecond(rate) if *rate >= 1e9 => format!("{:.2} Gb/s", rate / 1e9),
            Self::BitsPerSecond(rate) => format!("{:.0} Mb/s", rate / 1e6),
            Self::Failed(_) => "FAILED".into(),
        };
        f.pad(&text)
    }
}

impl Matrix {
    /// How many attempts failed.
    pub fn failures(&self) -> usize {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        cells.filter(|cell| matches!(cell, Cell::Failed(_))).count()
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> usize {
        self.rows.iter().map(|row| row.cells.len()).sum()
    }
}

/// Lets every workload reach every other, and prints a row for each pair.
pub fn run(screen: &Screen, lab: &Lab) -> Result<Matrix> {
    screen.section("Who reaches whom: round trip of ping, and one TCP stream of 8 MiB");
    screen.line(&format!(
        "{:<9} {:<9} {:<27} {:>10} {:>10} {:>10} {:>10}",
        "from", "to", "way", "ping v4", "ping v6", "TCP v4", "TCP v6"
    ));
    let mut matrix = Matrix::default();
    for from in &PORTS {
        for to in PORTS.iter().filter(|to| to.name != from.name) {
            let row = Row { from, to, cells: attempt(lab, from, to)? };
            let [ping4, ping6, tcp4, tcp6] = &row.cells;
            screen.line(&format!(
                "{:<9} {:<9} {:<27} {ping4:>10} {ping6:>10} {tcp4:>10} {tcp6:>10}",
                from.name,
                to.name,
                way(from, to)
            ));
            matrix.rows.push(row);
        }
    }
    for row in &matrix.rows {
        for (cell, what) in row.cells.iter().zip(["ping v4", "ping v6", "TCP v4", "TCP v6"]) {
            if let Cell::Failed(why) = cell {
                screen.line(&format!("{what} from {} to {}: {why}", row.from.name, row.to.name));
            }
        }
    }
    Ok(matrix)
}

fn attempt(lab: &Lab, from: &Port, to: &Port) -> Result<[Cell; 4]> {
    ensure!(!wait::interrupted(), "interrupted");
    let (here, there) = (lab.workload(from.name)?, lab.workload(to.name)?);
    let ping = |address: IpAddr| {
        let mut sum = Duration::ZERO;
        for answered in 0..PINGS {
            // Where nobody answers once, nobody is asked again: a broken demo ends soon, too.
            match traffic::ping(here.namespace(), address, 1, PATIENCE) {
                Ok(traffic::Pings { mean: Some(time), .. }) => sum += time,
                Ok(_) => {
                    return Cell::Failed(format!("the ping after {answered} was not answered"));
                }
                Err(error) => return Cell::Failed(format!("{error:#}")),
            }
        }
        Cell::Latency(sum / PINGS)
    };
    let tcp = |address: IpAddr| {
        let namespaces = (here.namespace(), there.namespace());
        match traffic::tcp(namespaces.0, namespaces.1, address, STREAM, PATIENCE) {
            Ok(time) => Cell::BitsPerSecond(STREAM as f64 * 8.0 / time.as_secs_f64()),
            Err(error) => Cell::Failed(format!("{error:#}")),
        }
    };
    let [v4, v6] = there.addresses().ips();
    Ok([ping(v4), ping(v6), tcp(v4), tcp(v6)])
}

fn way(from: &Port, to: &Port) -> String {
    let vm = |port: &Port| match port.place {
        Place::Plugged(_) => port.name,
        Place::Nested(vm, _) => vm,
    };
    let distance = match () {
        () if vm(from) == vm(to) => "in one VM",
        () if home(from) == home(to) => "in one hypervisor",
        () => "Geneve",
    };
    let kind = if from.switch == to.switch { "switched" } else { "routed" };
    format!("{kind}, {distance}")
}
