//! The sockets and eBPF programs, and the workers on them, as the engine wants them.

use super::parts;
use crate::config::Config;
use crossbeam_channel::Sender;
use ovn_xdp_abi::map::Counter;
use ovn_xdp_datapath::counters::WorkerCounters;
use ovn_xdp_datapath::frame::{Io, VlanHeader};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_datapath::publisher::Publisher;
use ovn_xdp_datapath::worker::{Worker, WorkerConfig};
use ovn_xdp_port::{Forward, Ports, PortsConfig, PortsError};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

/// Ports with running workers.
pub struct Attachments {
    ports: Ports,
    next: u32,
    /// What each worker counts.
    pub counters: Vec<Arc<WorkerCounters>>,
    /// Seed of the workers' hashes.
    pub seed: u64,
}

impl Attachments {
    /// Opens the trunk and starts the workers, which follow `publisher` and report to `learned`.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn start(
        config: &Config,
        publisher: &Publisher,
        learned: &Sender<Learned>,
    ) -> Result<Self, PortsError> {
        let datapath = &config.datapath;
        let mut ports = Ports::open(PortsConfig {
            system_id: config.system_id.clone(),
            workers: datapath.workers.into(),
            queues: datapath.queues.map(u32::from),
            polling: datapath.polling,
            frames: datapath.frames,
            cores: datapath.cores.iter().map(|core| usize::from(*core)).collect(),
        })?;
        ports.set_tunnel_addresses(&config.encap.addresses)?;
        let seed = RandomState::new().hash_one(std::process::id());
        let settings = WorkerConfig {
            cache_capacity: datapath.cache_entries as usize,
            hash_seed: seed,
            ..WorkerConfig::default()
        };
        let forwarders: Vec<Forwarder> = ports
            .mailboxes()
            .into_iter()
            .map(|mailbox| {
                let reader = publisher.join(move || mailbox.wake());
                Forwarder(Worker::new(settings, reader, learned.clone()))
            })
            .collect();
        let counters = forwarders.iter().map(|forwarder| forwarder.0.counters().clone()).collect();
        ports.start(forwarders)?;
        Ok(Self { ports, next: 0, counters, seed })
    }

    /// Name of a NIC by its number.
    pub fn nic(&self, number: u16) -> Option<&str> {
        self.ports.nic(number)
    }

    /// What the devices in use can do, as a table.
    pub fn devices(&self) -> String {
        self.ports.report().to_string()
    }

    /// Frames that were lost between the devices and the workers, by label.
    pub fn losses(&mut self) -> BTreeMap<&'static str, u64> {
        let mut losses = BTreeMap::new();
        for worker in self.ports.statistics() {
            for (label, frames) in worker.losses() {
                *losses.entry(label).or_default() += frames;
            }
        }
        match self.ports.counters() {
            Ok(counters) => {
                for (counter, frames) in counters {
                    if Counter::LOSSES.contains(&counter) {
                        *losses.entry(counter.label()).or_default() += frames;
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the kernel's counters cannot be read"),
        }
        losses
    }

    /// [`Ports::look_at_offloads`].
    pub fn look_at_offloads(&self, ifindex: Option<u32>) {
        self.ports.look_at_offloads(ifindex);
    }

    /// Ends the workers and gives all devices back.
    pub fn stop(&mut self) {
        self.ports.stop();
    }
}

impl parts::Ports for Attachments {
    fn attach_interface(&mut self, name: &str) -> Result<InterfaceId, String> {
        let id = InterfaceId(self.next + 1);
        self.ports.attach_interface(id, name).map_err(|error| error.to_string())?;
        self.next += 1;
        Ok(id)
    }

    fn admit_interface(&mut self, id: InterfaceId) -> Result<(), String> {
        self.ports.admit_interface(id).map(drop).map_err(|error| error.to_string())
    }

    fn detach_interface(&mut self, id: InterfaceId) {
        self.ports.detach_interface(id);
    }

    fn open_nic(&mut self, name: &str) -> Result<u16, String> {
        self.ports.open_nic(name).map_err(|error| error.to_string())
    }

    fn set_tunnel_addresses(&mut self, addresses: &[IpAddr]) {
        if let Err(error) = self.ports.set_tunnel_addresses(addresses) {
            tracing::error!(%error, "cannot change the addresses at which tunnels end");
        }
    }
}

struct Forwarder(Worker);

impl Forward for Forwarder {
    fn refresh(&mut self) {
        self.0.refresh();
    }

    fn sleep(&mut self) -> bool {
        self.0.sleep()
    }

    fn from_interface<I: Io>(
        &mut self,
        now: u64,
        from: InterfaceId,
        vlan: Option<VlanHeader>,
        frame: I::Frame,
        io: &mut I,
    ) {
        self.0.from_interface(now, from, vlan, frame, io);
    }

    fn from_nic<I: Io>(&mut self, now: u64, nic: u16, frame: I::Frame, io: &mut I) {
        self.0.from_nic(now, nic, frame, io);
    }

    fn from_interfaces<I: Io>(
        &mut self,
        now: u64,
        frames: &mut Vec<(InterfaceId, Option<VlanHeader>, I::Frame)>,
        io: &mut I,
    ) {
        self.0.from_interfaces(now, frames, io);
    }

    fn from_nics<I: Io>(&mut self, now: u64, nic: u16, frames: &mut Vec<I::Frame>, io: &mut I) {
        self.0.from_nics(now, nic, frames, io);
    }
}
