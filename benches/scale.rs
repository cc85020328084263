//! A whole Southbound DB at once: how long until it forwards, and what it takes to keep it.
//!
//! From the text of the server's message to the published generation, on databases in the shape that
//! northd writes (`cloud`), against the budgets of DESIGN: 1 s at 100,000 logical flows, 8 s at
//! 1,000,000, and 200 bytes of resident memory a flow beyond the flow's own text. Each size has a
//! process of its own, which is given the message as a file: what made it must leave no free memory
//! behind that would go uncounted. Afterwards all rows go, and return.
//! `cargo bench --bench scale [-- SIZE ...]`; with all sizes a drawing goes to `target/scale.svg`.

mod chart;
mod cloud;

use chart::{Bar, Picture};
use cloud::{Chassis, Cloud, Ours};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Bytes of this process in memory, by a line of `/proc/self/status`.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let found = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|it| it.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("a size") * 1024
}

/// What a size takes: seconds, and bytes of each flow beyond its text.
#[derive(serde::Serialize, serde::Deserialize)]
struct Measured {
    flows: usize,
    read: f64,
    cold: f64,
    gone: f64,
    back: f64,
    beyond: f64,
}

/// What there is to read, beside the text of the message.
#[derive(serde::Serialize, serde::Deserialize)]
struct About {
    flows: usize,
    /// Bytes of their matches and actions.
    words: usize,
    rows: usize,
    ours: Vec<Ours>,
}

fn write(flows: usize, to: &Path) {
    let cloud = Cloud::new(flows);
    std::fs::write(to.join("initial"), cloud.initial()).expect("a file");
    let about = About {
        flows: cloud.flows,
        words: cloud.text,
        rows: cloud.tables.values().map(Vec::len).sum(),
        ours: cloud.ours,
    };
    std::fs::write(to.join("about"), serde_json::to_vec(&about).expect("JSON")).expect("a file");
}

fn measure(from: &Path) {
    let text = std::fs::read_to_string(from.join("initial")).expect("a file");
    let deletion = text.replace("{\"initial\":{", "{\"delete\":null,\"was\":{");
    let about = std::fs::read(from.join("about")).expect("a file");
    let About { flows, words, rows, ours } = serde_json::from_slice(&about).expect("JSON");
    let mut chassis = Chassis::new(&ours);
    let ours = ours.len();
    let before = memory("VmRSS");
    let start = Instant::now();
    chassis.read(&text);
    let (read, rows_take) = (start.elapsed(), memory("VmRSS") - before);
    let generation = chassis.compiler.publish();
    let (cold, all_takes) = (start.elapsed(), memory("VmRSS") - before);
    assert_eq!(chassis.compiler.skipped().count(), 0);
    let rules: usize = generation
        .datapaths
        .values()
        .flat_map(|datapath| datapath.ingress.iter().chain(&datapath.egress))
        .map(|table| table.len())
        .sum();
    drop(generation);
    let start = Instant::now();
    chassis.hear(&deletion);
    let gone = start.elapsed();
    let start = Instant::now();
    chassis.hear(&text);
    let back = start.elapsed();
    let of_each = |bytes: usize| bytes as f64 / flows as f64;
    println!(
        "{flows:>9} {rows:>9} {rules:>9} {ours:>6} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>8.0} {:>7.0} {:>7.0} {:>9.0}",
        read.as_secs_f64(),
        cold.as_secs_f64(),
        gone.as_secs_f64(),
        back.as_secs_f64(),
        all_takes as f64 / 1e6,
        of_each(words),
        of_each(rows_take) - of_each(words),
        of_each(all_takes) - of_each(words),
    );
    let [read, cold, gone, back] = [read, cold, gone, back].map(|it| it.as_secs_f64());
    let beyond = of_each(all_takes) - of_each(words);
    let measured = Measured { flows, read, cold, gone, back, beyond };
    let measured = serde_json::to_vec(&measured).expect("JSON");
    std::fs::write(from.join("measured"), measured).expect("a file");
}

/// What is wanted: seconds of a start, by flows, and bytes of each flow.
const COLD: [(usize, f64); 2] = [(100_000, 1.0), (1_000_000, 8.0)];
const BEYOND: f64 = 200.0;

fn picture(sizes: &[(usize, Measured)]) -> Picture {
    let rows = [
        "rows read, s",
        "forwards (read and compiled), s",
        "everything gone, s",
        "everything back, s",
        "memory of a flow beyond its text, KB",
    ];
    let mut bars = Vec::new();
    for (series, (size, it)) in sizes.iter().enumerate() {
        let cold = COLD.iter().find(|budget| budget.0 == *size).map(|budget| budget.1);
        let values = [
            (it.read, None),
            (it.cold, cold),
            (it.gone, None),
            (it.back, None),
            (it.beyond / 1000.0, Some(BEYOND / 1000.0)),
        ];
        bars.extend(values.into_iter().enumerate().map(|(row, (value, budget))| {
            let note = format!("{value:.2}");
            Bar { row, series, value, spread: (value, value), budget, note }
        }));
    }
    Picture {
        caption: "A whole Southbound DB at once (red: the budget)".into(),
        rows: rows.map(String::from).into(),
        series: sizes.iter().map(|(_, it)| format!("{} flows", it.flows)).collect(),
        scale: 0.01..100.0,
        base: 0.01,
        bars,
    }
}

fn main() -> anyhow::Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    if let Some(from) = std::env::var_os("OVN_XDP_SCALE") {
        measure(Path::new(&from));
        return Ok(());
    }
    println!(
        "{:>9} {:>9} {:>9} {:>6} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>9}",
        "flows",
        "rows",
        "rules",
        "ours",
        "read s",
        "cold s",
        "gone s",
        "back s",
        "MB",
        "text B",
        "rows B",
        "beyond B"
    );
    let all = [10_000, 100_000, 1_000_000];
    let chosen = if sizes.is_empty() { &all[..] } else { &sizes };
    let mut measured = Vec::new();
    for &size in chosen {
        let own = std::env::current_exe().expect("this program");
        let files = tempfile::tempdir().expect("a directory");
        write(size, files.path());
        let status = Command::new(own).env("OVN_XDP_SCALE", files.path()).status();
        assert!(status.expect("a process").success());
        let of_it = std::fs::read(files.path().join("measured"))?;
        measured.push((size, serde_json::from_slice(&of_it)?));
    }
    if chosen.len() == all.len() {
        picture(&measured).draw("scale")?;
    }
    Ok(())
}
