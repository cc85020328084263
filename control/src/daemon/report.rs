//! What the daemon says of itself.

use super::Daemon;
use super::engine::state_name;
use crate::api::show::{
    Datapath, Drop, Elsewhere, FlowDrop, Port, Report, Southbound, Tunnel, Waiting, Worker,
};
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::counters::PortId;
use ovn_xdp_datapath::key::FlowId;
use ovn_xdp_datapath::publish::Generation;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use uuid::Uuid;

/// What all workers counted of a port.
#[derive(Default)]
struct Sums {
    rx: (u64, u64),
    tx: (u64, u64),
    drops: BTreeMap<DropReason, u64>,
}

impl Daemon {
    /// Everything that `show` shows.
    pub(super) fn report(&mut self) -> Report {
        let generation = self.publisher.current();
        let mut sums = self.port_sums();
        let mut ports = Vec::new();
        for (_, local, row) in self.engine.claims.local() {
            let (id, datapath) = find(&generation, &row.name);
            let sums = id.and_then(|id| sums.remove(&id)).unwrap_or_default();
            ports.push(Port {
                name: row.name.to_string(),
                datapath,
                interface: self.engine.interface_name(local.interface).to_owned(),
                tag: local.tag.map(|tag| tag.vid.get()),
                state: state_name(local.state).to_owned(),
                rx: sums.rx,
                tx: sums.tx,
                drops: drops(&sums.drops),
            });
        }
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        let lost = self.engine.ports.losses().into_iter().filter(|(_, frames)| *frames > 0);
        Report {
            lost: lost.map(|(reason, frames)| Drop { reason, frames }).collect(),
            chassis: self.engine.config.system_id.clone(),
            southbound: self.southbound(),
            waiting: self.waiting(&ports),
            ports,
            tunnels: self.tunnels(),
            datapaths: datapaths(&generation),
            workers: self.workers(),
            drops: self.other_drops(),
            elsewhere: elsewhere(&generation, &sums),
            flows: self.flow_drops(),
            other_flows: self.engine.ports.counters.iter().map(|it| it.flow_drops.other()).sum(),
            generation: self.engine.generation,
            skipped: self.engine.compiler.compiler.skipped().count(),
            frozen: self.engine.frozen.as_ref().map(ToString::to_string),
            unlearned: self.engine.learning.lost,
        }
    }

    fn southbound(&self) -> Southbound {
        let Some(status) = self.central.status() else {
            let state = "there is no Southbound DB, all rows are local".to_owned();
            return Southbound { remote: "none".to_owned(), state, ..Southbound::default() };
        };
        Southbound {
            remote: status
                .remote
                .map_or_else(|| self.engine.config.remote.clone(), |remote| remote.to_string()),
            state: status.state.to_string(),
            last_error: status.last_error,
            downloads: status.downloads,
            resumptions: status.resumptions,
            nb_cfg: self.engine.nb_cfg(),
            conflict: self.engine.conflict.as_ref().map(ToString::to_string),
        }
    }

    fn waiting(&self, ports: &[Port]) -> Vec<Waiting> {
        let interfaces = self.engine.config.interfaces.iter();
        interfaces
            .filter(|(port, _)| ports.iter().all(|known| known.name != **port))
            .map(|(port, interface)| Waiting {
                interface: interface.name.clone(),
                port: port.clone(),
                reason: self
                    .engine
                    .missing
                    .get(port)
                    .cloned()
                    .unwrap_or_else(|| "there is no such port to bind".to_owned()),
            })
            .collect()
    }

    fn tunnels(&self) -> Vec<Tunnel> {
        let tunnel = |way: &crate::tunnels::Way| {
            let link = way.tunnel.link;
            let pair = (way.tunnel.local, way.tunnel.remote);
            Tunnel {
                chassis: way.ends.chassis.clone(),
                local: pair.0.to_string(),
                remote: pair.1.to_string(),
                interface: link.and_then(|link| self.engine.ports.nic(link.nic)).map(str::to_owned),
                next_hop: link.map(|link| {
                    let octets = link.destination.map(|octet| format!("{octet:02x}"));
                    octets.join(":")
                }),
                mtu: link.map(|link| link.mtu),
                reason: self.engine.unresolved.get(&pair).map(ToString::to_string),
            }
        };
        self.engine.tunnels.iter().map(|(_, way)| tunnel(way)).collect()
    }

    fn workers(&self) -> Vec<Worker> {
        let counters = self.engine.ports.counters.iter().enumerate();
        counters
            .map(|(number, counters)| Worker {
                number,
                hits: counters.hits.get(),
                misses: counters.misses.get(),
                stale: counters.stale.get(),
                tunnel: (counters.tunnel_tx.get(), counters.tunnel_rx.get()),
            })
            .collect()
    }

    fn other_drops(&self) -> Vec<Drop> {
        let mut sums = BTreeMap::new();
        for counters in &self.engine.ports.counters {
            for reason in DropReason::ALL {
                *sums.entry(*reason).or_default() += counters.drops.get(*reason);
            }
        }
        drops(&sums)
    }

    fn flow_drops(&self) -> Vec<FlowDrop> {
        let mut sums: BTreeMap<(DropReason, FlowId), u64> = BTreeMap::new();
        let workers = self.engine.ports.counters.iter();
        for drop in workers.flat_map(|worker| worker.flow_drops.apart()) {
            // Without a flow on its way there is no more to say than the reason.
            if drop.flow != FlowId::default() {
                *sums.entry((drop.reason, drop.flow)).or_default() += drop.frames.get();
            }
        }
        let compiler = &self.engine.compiler.compiler;
        let mut flows: Vec<FlowDrop> = sums
            .into_iter()
            .map(|((reason, flow), frames)| FlowDrop {
                uuid: Uuid::from_u128(flow.0),
                reason: reason.label(),
                frames,
                flow: compiler.flow(flow),
            })
            .collect();
        flows.sort_by_key(|drop| Reverse(drop.frames));
        flows
    }

    fn port_sums(&self) -> BTreeMap<PortId, Sums> {
        let mut all: BTreeMap<PortId, Sums> = BTreeMap::new();
        for (id, port) in self.engine.ports.counters.iter().flat_map(|worker| worker.ports()) {
            let sums = all.entry(id).or_default();
            sums.rx.0 += port.rx_packets.get();
            sums.rx.1 += port.rx_bytes.get();
            sums.tx.0 += port.tx_packets.get();
            sums.tx.1 += port.tx_bytes.get();
            for reason in DropReason::ALL {
                *sums.drops.entry(*reason).or_default() += port.drops.get(*reason);
            }
        }
        all
    }

    /// Flows that could not be used.
    pub(super) fn skipped(&self) -> String {
        let mut text = String::new();
        for skipped in self.engine.compiler.compiler.skipped() {
            let _ = writeln!(text, "{skipped}");
        }
        text
    }

    /// One line for each port that is bound here.
    pub(super) fn local_bindings(&self) -> String {
        let mut text = String::new();
        for (uuid, local, row) in self.engine.claims.local() {
            let tag = local.tag.map(|tag| format!(" tag {}", tag.vid)).unwrap_or_default();
            let interface = self.engine.interface_name(local.interface);
            let _ = writeln!(
                text,
                "{uuid} {} on {interface}{tag}, {:?}, {}, up {:?}",
                row.name,
                local.role,
                state_name(local.state),
                row.up
            );
        }
        text
    }

    /// One line for each datapath that concerns us.
    pub(super) fn local_datapaths(&self) -> String {
        let mut text = String::new();
        for Datapath { name, key, ports } in datapaths(&self.publisher.current()) {
            let _ = writeln!(text, "{name}, key {key}, {ports} ports");
        }
        text
    }
}

fn datapaths(generation: &Generation) -> Vec<Datapath> {
    let mut found: Vec<Datapath> = generation
        .datapaths
        .values()
        .map(|datapath| Datapath {
            name: datapath.name.clone(),
            key: datapath.key.get(),
            ports: datapath.ports.iter().count(),
        })
        .collect();
    found.sort_by_key(|datapath| datapath.key);
    found
}

/// The keys of a port by its name, and the name of its datapath.
fn find(generation: &Generation, name: &str) -> (Option<PortId>, String) {
    for datapath in generation.datapaths.values() {
        if let Some(port) = datapath.ports.values().find(|port| *port.name == *name) {
            return (Some((datapath.key, port.key)), datapath.name.clone());
        }
    }
    (None, "-".to_owned())
}

/// What is left of the sums when the ports bound here have taken theirs.
fn elsewhere(generation: &Generation, sums: &BTreeMap<PortId, Sums>) -> Vec<Elsewhere> {
    let named = |((datapath, port), sums): (&PortId, &Sums)| {
        let known = generation.datapaths.values().find(|known| known.key == *datapath);
        let found = known.and_then(|known| known.ports.get(*port));
        Elsewhere {
            name: found.map_or_else(|| port.get().to_string(), |port| port.name.to_string()),
            datapath: known.map_or_else(|| datapath.get().to_string(), |it| it.name.clone()),
            drops: drops(&sums.drops),
        }
    };
    sums.iter().map(named).filter(|port| !port.drops.is_empty()).collect()
}

fn drops(sums: &BTreeMap<DropReason, u64>) -> Vec<Drop> {
    sums.iter()
        .filter(|(_, frames)| **frames > 0)
        .map(|(reason, frames)| Drop { reason: reason.label(), frames: *frames })
        .collect()
}
