//! What the daemon says of its parts, and to who watches.

use super::Daemon;
use super::events::{Dropped, Drops, Scene};
use crate::api::command::Section;
use crate::api::section::{self, Memory, Version};
use crate::api::show::{Drop, drop_table};
use crate::southbound::claim::State;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_local::schema::TABLES;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write;
use uuid::Uuid;

impl Daemon {
    /// One part, for people or as JSON.
    pub(super) fn read(&mut self, section: Section, json: bool) -> String {
        match section {
            Section::Ports | Section::Datapaths | Section::Tunnels | Section::Workers => {
                let report = self.report();
                if !json {
                    return report.section(section);
                }
                match section {
                    Section::Ports => pretty(&report.ports),
                    Section::Datapaths => pretty(&report.datapaths),
                    Section::Tunnels => pretty(&report.tunnels),
                    _ => pretty(&report.workers),
                }
            }
            Section::Drops => told(json, &self.all_drops(), |drops| drop_table(drops)),
            // Answered in pieces, after the turn (`lists.rs`, `connections.rs`).
            Section::Flows | Section::Tables | Section::Connections => String::new(),
            Section::Memory => told(json, &self.memory(), Clone::clone),
            Section::Versions => told(json, &self.versions(), |all| section::versions(all)),
        }
    }

    fn drop_counts(&self) -> BTreeMap<&'static str, u64> {
        let count = |reason: DropReason| {
            self.engine.ports.counters.iter().map(|worker| worker.dropped(reason)).sum::<u64>()
        };
        DropReason::ALL.iter().map(|reason| (reason.label(), count(*reason))).collect()
    }

    fn drops_by_flow(&self) -> Drops {
        let dropped = |frames| Dropped { frames, flows: BTreeMap::new() };
        let all = self.drop_counts().into_iter().map(|(reason, frames)| (reason, dropped(frames)));
        let mut all: Drops = all.collect();
        let workers = self.engine.ports.counters.iter();
        for drop in workers.flat_map(|worker| worker.flow_drops.apart()) {
            // Without a flow on its way there is no more to say than the reason.
            if drop.flow != FlowId::default()
                && let Some(reason) = all.get_mut(drop.reason.label())
            {
                *reason.flows.entry(Uuid::from_u128(drop.flow.0)).or_default() += drop.frames.get();
            }
        }
        all
    }

    fn all_drops(&self) -> Vec<Drop> {
        let counts = self.drop_counts().into_iter().filter(|(_, frames)| *frames > 0);
        counts.map(|(reason, frames)| Drop { reason, frames }).collect()
    }

    fn memory(&self) -> Memory {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            number.unwrap_or(0) * 1024
        };
        let local = &self.engine.local;
        Memory {
            resident: kibibytes("VmRSS"),
            peak: kibibytes("VmHWM"),
            rules: self.publisher.current().rules(),
            local_rows: TABLES
                .keys()
                .map(|table| (table.to_string(), local.database.len(table)))
                .filter(|(_, rows)| *rows > 0)
                .collect(),
            put_aside: local.aside.clone(),
        }
    }

    fn versions(&self) -> Vec<Version> {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let none = || "none".to_owned();
        vec![
            Version { what: "ovn-xdp", version: env!("CARGO_PKG_VERSION").to_owned() },
            Version { what: "kernel", version: kernel.trim().to_owned() },
            Version {
                what: "Southbound schema",
                version: self.schema.clone().unwrap_or_else(none),
            },
            Version { what: "OVN_Local schema", version: ovn_xdp_local::schema::version() },
        ]
    }

    /// Events of the workers, as `coverage/show` of OVS lists them: totals, no rates.
    pub(super) fn coverage(&self) -> String {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for worker in &self.engine.ports.counters {
            for (name, counter) in [
                ("cache_hit", &worker.hits),
                ("cache_miss", &worker.misses),
                ("cache_guard_miss", &worker.guard_misses),
                ("cache_stale", &worker.stale),
                ("cache_eviction", &worker.evictions),
                ("learn_overflow", &worker.learn_overflows),
                ("error_suppressed", &worker.suppressed_errors),
                ("tunnel_tx", &worker.tunnel_tx),
                ("tunnel_rx", &worker.tunnel_rx),
            ] {
                *sums.entry(name).or_default() += counter.get();
            }
        }
        let uncounted = self.engine.ports.counters.iter().map(|worker| worker.paths.other().0);
        sums.insert("frames_not_by_flow", uncounted.sum());
        let mut text = String::new();
        for (name, total) in sums {
            let _ = writeln!(text, "{name:<24} total: {total}");
        }
        text
    }

    /// What watchers are told the changes of.
    pub(super) fn scene(&self) -> Scene {
        let local = self.engine.claims.local();
        let forwarding =
            local.filter(|(_, local, _)| matches!(local.state, State::MarkUp | State::Installed));
        Scene {
            ports: forwarding.map(|(_, local, _)| local.port.to_string()).collect(),
            generation: self.engine.generation.0,
        }
    }

    /// After a turn.
    pub(super) fn tell_watchers(&mut self) {
        let skipped = std::mem::take(&mut self.engine.compiler.news);
        if !self.events.is_watched() {
            return;
        }
        for flow in skipped {
            self.events.tell(&json!({ "event": "flow-skipped", "flow": flow }));
        }
        let scene = self.scene();
        self.events.compare(scene);
        let now = self.now();
        if self.events.deadline().is_some_and(|due| due <= now) {
            let counts = self.drops_by_flow();
            self.events.drops(now, counts);
        }
    }
}

pub(super) fn told<T: Serialize, D: Display>(
    json: bool,
    what: &T,
    people: impl Fn(&T) -> D,
) -> String {
    match json {
        true => pretty(what),
        false => people(what).to_string(),
    }
}

fn pretty(what: &impl Serialize) -> String {
    serde_json::to_string_pretty(what).unwrap_or_default() + "\n"
}
