//! `cargo bench --bench versus_stock`: our chassis beside stock OVS and beside the kernel alone.
//!
//! Four worlds of two hypervisors on one underlay each, alive at the same time and measured in turn,
//! round after round, so that a drift of the machine meets all of them: our chassis, stock OVS
//! (userspace datapath) on AF_PACKET and on AF_XDP ports, and as the limit the kernel's own bridge
//! and VXLAN. Every figure is a ratio to a peer within its round; printed are the median and the
//! spread over the rounds, and a drawing goes to `target/versus_stock.svg`.
//!
//! `cargo bench --bench versus_stock -- [WORD…]` takes only the worlds and the lines whose names hold
//! one of the words, such as `ovn-xdp AF_XDP UDP`; without a word for either, all of them.
//! `VERSUS_ROUNDS` (default 5) and `VERSUS_SECONDS` per measurement (default 2) change the effort, and
//! `VERSUS_OTHER` is the path of another build of ours, to be measured beside this one.

mod chart;
#[path = "versus_stock/measure.rs"]
mod measure;
#[path = "versus_stock/world.rs"]
mod world;

use anyhow::{Result, bail};
use chart::{Bar, Picture};
use measure::Measure;
use std::time::Duration;
use world::{Kind, World};

fn main() -> Result<()> {
    // `cargo test --benches` asks every bench to run once and quickly.
    let rehearsal = std::env::args().any(|argument| argument == "--test");
    let rounds = setting("VERSUS_ROUNDS", if rehearsal { 1 } else { 5 })?;
    let seconds = setting("VERSUS_SECONDS", if rehearsal { 1 } else { 2 })?;
    let effort = Duration::from_secs(seconds as u64);

    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let measures = chosen(Measure::ALL.to_vec(), Measure::label, &words);
    let kinds = chosen(world::kinds(), Kind::label, &words);
    let known = |word: &&String| {
        let labels = world::kinds().into_iter().map(Kind::label);
        labels.chain(Measure::ALL.map(Measure::label)).any(|label| label.contains(word.as_str()))
    };
    if let Some(word) = words.iter().find(|word| !known(word)) {
        bail!("{word:?} is in the name of no world and of no line");
    }
    let mut worlds = Vec::new();
    for &kind in &kinds {
        eprintln!("building the world of {}", kind.label());
        worlds.push(World::new(kind)?);
    }
    let mut table = Table { rounds, measures, kinds, values: Vec::new() };
    for round in 0..rounds {
        for &measure in &table.measures {
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
                table.values.push((measure, world.kind(), value));
            }
        }
    }
    table.print();
    if table.is_whole() {
        table.picture().draw("versus_stock")?;
    }
    Ok(())
}

/// What has one of the words in its label, or all if nothing has.
fn chosen<T: Copy>(mut all: Vec<T>, label: fn(T) -> &'static str, words: &[String]) -> Vec<T> {
    let named = |one: &T| words.iter().any(|word| label(*one).contains(word.as_str()));
    if all.iter().any(named) {
        all.retain(named);
    }
    all
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
    measures: Vec<Measure>,
    kinds: Vec<Kind>,
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
    /// Whether everything was measured that a drawing shows.
    fn is_whole(&self) -> bool {
        self.measures.len() == Measure::ALL.len() && self.kinds.len() >= Kind::ALL.len()
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

    fn picture(&self) -> Picture {
        let peers = [Kind::StockPacket, Kind::StockXdp, Kind::Kernel];
        let mut bars = Vec::new();
        for (row, measure) in Measure::ALL.into_iter().enumerate() {
            for (series, peer) in peers.into_iter().enumerate() {
                let Spread { least, median, most } = self.ahead(measure, peer);
                let note = format!("{median:.2}");
                let spread = (least, most);
                bars.push(Bar { row, series, value: median, spread, budget: None, note });
            }
        }
        Picture {
            caption: "ovn-xdp, user tier: times ahead (1 = equal)".into(),
            rows: Measure::ALL.map(|measure| measure.label().into()).into(),
            series: peers.map(|peer| format!("against {}", peer.label())).into(),
            scale: 0.1..10.0,
            base: 1.0,
            bars,
        }
    }

    fn print(&self) {
        let peers = || self.kinds.iter().filter(|kind| **kind != Kind::Ours);
        print!("\n{:<28} {:>12}", format!("{} rounds", self.rounds), "ours");
        for peer in peers() {
            print!(" {:>24}", format!("times {}", peer.label()));
        }
        println!();
        for &measure in &self.measures {
            let ours = spread(self.of(measure, Kind::Ours)).median;
            print!("{:<28} {:>12}", measure.label(), format!("{ours:.2} {}", measure.unit()));
            for &peer in peers() {
                let Spread { least, median, most } = self.ahead(measure, peer);
                print!(" {:>24}", format!("{median:.2} ({least:.2} to {most:.2})"));
            }
            println!();
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
