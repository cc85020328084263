//! `cargo bench --bench versus_stock`: our chassis beside stock OVS and beside the kernel alone.
//!
//! Four worlds of two hypervisors on one underlay each, alive at the same time and measured in turn,
//! round after round, so that a drift of the machine meets all of them: our chassis, stock OVS
//! (userspace datapath) on AF_PACKET and on AF_XDP ports, and as the limit the kernel's own bridge
//! and VXLAN. Every figure is a ratio to a peer within its round; printed are the median and the
//! spread over the rounds, and a drawing goes to `target/versus_stock.svg`.
//!
//! `cargo bench --bench versus_stock -- WORLD [MEASURE…]` runs one world alone, for a profiler.
//! `VERSUS_ROUNDS` (default 5) and `VERSUS_SECONDS` per measurement (default 2) change the effort.

#[path = "versus_stock/chart.rs"]
mod chart;
#[path = "versus_stock/measure.rs"]
mod measure;
#[path = "versus_stock/world.rs"]
mod world;

use anyhow::{Context, Result};
use measure::Measure;
use std::time::Duration;
use world::{Kind, World};

fn main() -> Result<()> {
    // `cargo test --benches` asks every bench to run once and quickly.
    let rehearsal = std::env::args().any(|argument| argument == "--test");
    let rounds = setting("VERSUS_ROUNDS", if rehearsal { 1 } else { 5 })?;
    let seconds = setting("VERSUS_SECONDS", if rehearsal { 1 } else { 2 })?;
    let effort = Duration::from_secs(seconds as u64);

    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [world, measures @ ..] = wanted.as_slice() {
        return one_world(world, measures, rounds, effort);
    }
    let mut worlds = Vec::new();
    for kind in Kind::ALL {
        eprintln!("building the world of {}", kind.label());
        worlds.push(World::new(kind)?);
    }
    let mut table = Table::new(rounds);
    for round in 0..rounds {
        for measure in Measure::ALL {
            for world in &worlds {
                let value = measure.take(world, effort)?;
                eprintln!(
                    "round {}/{rounds}  {:<28} {:<16} {:>10.2} {}",
                    round + 1,
                    measure.label(),
                    world.kind().label(),
                    value,
                    measure.unit()
                );
                table.record(measure, world.kind(), value);
            }
        }
    }
    table.print();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/versus_stock.svg");
    chart::draw(&table, &path)?;
    println!("\ndrawn: {}", path.strip_prefix(env!("CARGO_MANIFEST_DIR"))?.display());
    Ok(())
}

/// For profilers: one world alone, and the measures whose labels hold one of the words.
fn one_world(world: &str, measures: &[String], rounds: usize, effort: Duration) -> Result<()> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.label().contains(world));
    let labels = Kind::ALL.map(Kind::label).join(", ");
    let kind = kind.with_context(|| format!("{world:?} is none of: {labels}"))?;
    let wanted = |measure: &Measure| {
        measures.is_empty() || measures.iter().any(|word| measure.label().contains(word.as_str()))
    };
    let world = World::new(kind)?;
    for _ in 0..rounds {
        for measure in Measure::ALL.into_iter().filter(wanted) {
            let value = measure.take(&world, effort)?;
            println!("{:<28} {value:>10.2} {}", measure.label(), measure.unit());
        }
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| {
            anyhow::anyhow!("{name} is {text:?}; it must be a whole number from 1 up, such as 5")
        }),
        Err(_) => Ok(default),
    }
}

/// What was measured, by measure and world, a value a round.
pub struct Table {
    rounds: usize,
    values: Vec<(Measure, Kind, f64)>,
}

/// A ratio over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Table {
    fn new(rounds: usize) -> Self {
        Self { rounds, values: Vec::new() }
    }

    fn record(&mut self, measure: Measure, kind: Kind, value: f64) {
        self.values.push((measure, kind, value));
    }

    fn of(&self, measure: Measure, kind: Kind) -> Vec<f64> {
        let of = |&&(m, k, _): &&(Measure, Kind, f64)| m == measure && k == kind;
        self.values.iter().filter(of).map(|&(_, _, value)| value).collect()
    }

    /// How many times better ours is than a peer: above 1 is ahead, whichever way the unit counts.
    pub fn ahead(&self, measure: Measure, peer: Kind) -> Spread {
        let ours = self.of(measure, Kind::Ours);
        let ratios = ours.iter().zip(self.of(measure, peer)).map(|(&ours, theirs)| {
            if measure.more_is_better() { ours / theirs } else { theirs / ours }
        });
        spread(ratios.collect())
    }

    fn print(&self) {
        println!(
            "\n{:<28} {:>12} {:>24} {:>24} {:>24}",
            format!("{} rounds", self.rounds),
            "ours",
            "times stock AF_PACKET",
            "times stock AF_XDP",
            "times kernel VXLAN"
        );
        for measure in Measure::ALL {
            let ours = spread(self.of(measure, Kind::Ours)).median;
            let cells = [Kind::StockPacket, Kind::StockXdp, Kind::Kernel].map(|peer| {
                let Spread { least, median, most } = self.ahead(measure, peer);
                format!("{median:.2} ({least:.2} to {most:.2})")
            });
            println!(
                "{:<28} {:>12} {:>24} {:>24} {:>24}",
                measure.label(),
                format!("{ours:.2} {}", measure.unit()),
                cells[0],
                cells[1],
                cells[2]
            );
        }
        println!(
            "\nA ratio above 1 means that ours is ahead; median (least to most) of the rounds."
        );
    }
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => Spread { least: f64::NAN, median: f64::NAN, most: f64::NAN },
        n => Spread { least: values[0], median: values[n / 2], most: values[n - 1] },
    }
}
