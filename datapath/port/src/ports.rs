//! All attachments of one daemon: its trunk, its workloads, its NICs, and the workers that serve them.
//!
//! Everything is made in the network namespace of the thread that called [`Ports::open`], whoever
//! calls later; workloads' host ends must be there. Dropping stops the workers and removes it all.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use aya::programs::tc::SchedClassifierLinkId;
use ovn_xdp_abi::map::{Counter, MAX_QUEUES};
use ovn_xdp_datapath::key::InterfaceId;

use crate::ethtool;
use crate::handover::{Device, Handover};
use crate::kernel::{self, OldKernel};
use crate::namespace::Namespace;
use crate::nic::Nic;
use crate::program::{BpfError, Object, ifindex};
use crate::report::{DeviceReport, Report, Role};
use crate::socket::{RING, SocketError, XdpSocket};
use crate::statistics::WorkerStatistics;
use crate::trunk::{MAX_WORKLOAD_MTU, TRUNK_MTU, Trunk};
use crate::umem::Umem;
use crate::worker::{Forward, Mailbox, Polling, Seat};

/// Buffers of a worker if nothing else is asked for.
pub const DEFAULT_FRAMES: u32 = 8 * RING;

/// How ports are to be set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortsConfig {
    /// The chassis' name; the trunk's name comes from it.
    pub system_id: String,
    /// Worker threads, 1 to 64.
    pub workers: u32,
    /// Queues to use of each NIC, at least as many as workers and 64 at most; `None` leaves NICs as they
    /// are, unless they have fewer or more.
    pub queues: Option<u32>,
    /// What idle workers do.
    pub polling: Polling,
    /// Buffers of 2 KiB for each worker. Its queues share them, so that many queues want many.
    pub frames: u32,
    /// The cores that workers are pinned to, in turn; if empty, all that the process may use.
    pub cores: Vec<usize>,
}

impl Default for PortsConfig {
    fn default() -> Self {
        Self {
            system_id: String::new(),
            workers: 1,
            queues: None,
            polling: Polling::default(),
            frames: DEFAULT_FRAMES,
            cores: Vec::new(),
        }
    }
}

/// What can go wrong with ports.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// The kernel is too old.
    #[error(transparent)]
    Kernel(#[from] OldKernel),
    /// A number of the configuration cannot be.
    #[error("{key} is {found}, expected {expected}")]
    Config {
        /// The field of [`PortsConfig`].
        key: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed.
        expected: String,
    },
    /// There is no such device.
    #[error("no device {0:?} in this network namespace")]
    NoDevice(String),
    /// A device was replaced while it was attached.
    #[error("device {0:?} was replaced while it was being attached; try again")]
    Replaced(String),
    /// The number is in use.
    #[error("interface {} is attached already", .0.0)]
    InUse(InterfaceId),
    /// The NIC has fewer queues than there are workers.
    #[error(
        "{device} is to have {queues} queues, fewer than the {workers} workers; use fewer workers"
    )]
    FewQueues {
        /// The NIC.
        device: String,
        /// Its queues.
        queues: u32,
        /// The workers.
        workers: u32,
    },
    /// The number of a NIC's queues could not be changed.
    #[error(
        "{device} could not get {wanted} queues (it has at most {most}): {source}; use fewer workers \
         or see `ethtool -l {device}`"
    )]
    Channels {
        /// The NIC.
        device: String,
        /// Queues that were asked for.
        wanted: u32,
        /// Queues that the driver says it can have.
        most: u32,
        /// Why.
        source: io::Error,
    },
    /// The trunk could not be made.
    #[error("trunk {device}: {what}: {source} (needs CAP_NET_ADMIN and CAP_SYS_ADMIN, or root)")]
    Trunk {
        /// Its near end.
        device: String,
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An AF_XDP socket could not be made.
    #[error("AF_XDP on {device} queue {queue}: {source}")]
    Socket {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// Why.
        source: SocketError,
    },
    /// eBPF.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// As many forwarders as workers are needed, once.
    #[error("{found} forwarders for {expected} workers that are not running")]
    Forwarders {
        /// Workers without a forwarder.
        expected: usize,
        /// Forwarders that were given.
        found: usize,
    },
    /// The system refused something else: memory, a thread, a namespace.
    #[error("the system refused memory, a thread or a namespace: {0}")]
    System(#[from] io::Error),
}

/// The numbers of the cores that this process may use.
pub fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

struct Attached {
    device: String,
    ifindex: u32,
    link: SchedClassifierLinkId,
}

struct Desk {
    umem: Arc<Umem>,
    mailbox: Arc<Mailbox>,
    statistics: Arc<WorkerStatistics>,
    trunk: Option<(XdpSocket, Handover)>,
    thread: Option<JoinHandle<()>>,
}

/// See the module.
pub struct Ports {
    config: PortsConfig,
    desks: Vec<Desk>,
    attached: HashMap<InterfaceId, Attached>,
    addresses: Vec<IpAddr>,
    nics: Vec<Nic>,
    object: Object,
    trunk: Trunk,
    home: Arc<Namespace>,
}

const _: () = {
    const fn may_move_between_threads<T: Send>() {}
    may_move_between_threads::<Ports>();
};

impl Ports {
    /// Makes the trunk and the workers' sockets on it. Nothing is forwarded before
    /// [`Ports::start`].
    pub fn open(config: PortsConfig) -> Result<Self, PortsError> {
        kernel::check()?;
        let within = |key, found: u32, low: u32, high: u32| {
            let expected = format!("{low} to {high}");
            let fits = (low..=high).contains(&found);
            let error = PortsError::Config { key, found: u64::from(found), expected };
            if fits { Ok(()) } else { Err(error) }
        };
        within("workers", config.workers, 1, MAX_QUEUES)?;
        within("frames", config.frames, 2 * RING, 1 << 22)?;
        within("queues", config.queues.unwrap_or(config.workers), config.workers, MAX_QUEUES)?;

        let home = Arc::new(Namespace::current()?);
        let mut object = Object::load()?;
        let trunk = Trunk::open(&home, &config.system_id, config.workers, &mut object)?;
        object.verify_tcx("workload")?;
        let mut desks = Vec::new();
        for queue in 0..config.workers {
            let umem = Arc::new(Umem::new(config.frames)?);
            let socket = trunk.socket(&umem, queue, &mut object)?;
            let handover = home.run(Handover::open)?;
            desks.push(Desk {
                umem,
                mailbox: Arc::new(Mailbox::new()?),
                statistics: Arc::default(),
                trunk: Some((socket, handover)),
                thread: None,
            });
        }
        Ok(Self {
            config,
            desks,
            attached: HashMap::new(),
            addresses: Vec::new(),
            nics: Vec::new(),
            object,
            trunk,
            home,
        })
    }

    /// Takes the frames of workload `device`, its tap or the host end of its veth, from the host.
    /// Until [`Ports::detach_interface`] the host's stack sees none of them, and until
    /// [`Ports::admit_interface`] the workers neither: the kernel side drops and counts them.
    pub fn attach_interface(&mut self, id: InterfaceId, device: &str) -> Result<(), PortsError> {
        if self.attached.contains_key(&id) {
            return Err(PortsError::InUse(id));
        }
        let object = &mut self.object;
        let (index, link) = self.home.run(|| {
            let missing = || PortsError::NoDevice(device.into());
            let index = ifindex(device).ok_or_else(missing)?;
            object.insert("TARGETS", id.0, index)?;
            // Whoever had this index before is another device.
            object.remove::<u32, u32>("INTERFACES", index);
            let attached = object.attach_tcx("workload", device);
            let link = match attached {
                Ok(link) if ifindex(device) == Some(index) => Ok(link),
                Ok(link) => {
                    object.detach_tcx("workload", link);
                    Err(PortsError::Replaced(device.into()))
                }
                Err(error) => Err(error.into()),
            };
            link.map(|link| (index, link))
                .inspect_err(|_| object.remove::<u32, u32>("TARGETS", id.0))
        })?;
        if let Ok(mtu) = self.home.run(|| ethtool::mtu(device))
            && mtu > MAX_WORKLOAD_MTU
        {
            tracing::warn!(device, mtu, "frames above {MAX_WORKLOAD_MTU} bytes will be lost");
        }
        let takes_unsegmented = self.takes_unsegmented(device);
        self.tell_device(id, Some(Device { index, takes_unsegmented }));
        self.attached.insert(id, Attached { device: device.into(), ifindex: index, link });
        Ok(())
    }

    /// From now on the workers get the frames of an attached workload. False if it is not attached.
    pub fn admit_interface(&mut self, id: InterfaceId) -> Result<bool, PortsError> {
        let Some(attached) = self.attached.get(&id) else { return Ok(false) };
        self.object.insert("INTERFACES", attached.ifindex, id.0)?;
        Ok(true)
    }

    /// Looks again at the offloads of attached workloads: of one by its device's index, or of all. Who
    /// has a device may change them at any time; the kernel tells those who listen for links.
    pub fn look_at_offloads(&self, ifindex: Option<u32>) {
        let concerns = |attached: &Attached| ifindex.is_none_or(|index| index == attached.ifindex);
        for (&id, attached) in self.attached.iter().filter(|(_, attached)| concerns(attached)) {
            let takes_unsegmented = self.takes_unsegmented(&attached.device);
            self.tell_device(id, Some(Device { index: attached.ifindex, takes_unsegmented }));
        }
    }

    /// A device that does not say, as one that is gone, takes only segments.
    fn takes_unsegmented(&self, device: &str) -> bool {
        self.home.run(|| ethtool::takes_unsegmented(device)).unwrap_or(false)
    }

    /// Gives a workload back to the host. The device may be gone. False if it was not attached.
    pub fn detach_interface(&mut self, id: InterfaceId) -> bool {
        let Some(Attached { ifindex, link, .. }) = self.attached.remove(&id) else { return false };
        self.tell_device(id, None);
        self.object.detach_tcx("workload", link);
        self.object.remove::<u32, u32>("TARGETS", id.0);
        // The index may belong to another interface by now, attached under the same number.
        if !self.attached.values().any(|other| other.ifindex == ifindex) {
            self.object.remove::<u32, u32>("INTERFACES", ifindex);
        }
        true
    }

    fn tell_device(&self, id: InterfaceId, device: Option<Device>) {
        for desk in &self.desks {
            desk.mailbox.set_device(id, device);
        }
    }

    /// The attached workloads, with the names and indices that their devices had then.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &str, u32)> {
        self.attached.iter().map(|(id, at)| (*id, at.device.as_str(), at.ifindex))
    }

    /// Takes tunnel packets from NIC `device`, and returns its number. Workers that run get it too.
    pub fn open_nic(&mut self, device: &str) -> Result<u16, PortsError> {
        let umems: Vec<_> = self.desks.iter().map(|desk| Arc::clone(&desk.umem)).collect();
        let queues = self.config.queues;
        let (mut nic, sockets) = Nic::open(&self.home, device, queues, &umems, &self.addresses)?;
        let number = self.nics.len() as u16;
        let (taken, is_taken) = mpsc::channel();
        for (desk, sockets) in self.desks.iter().zip(sockets) {
            desk.mailbox.add_nic(number, sockets, taken.clone());
        }
        drop(taken);
        // Workers that run have given the kernel buffers before the first frame can come.
        if self.desks.iter().any(|desk| desk.thread.is_some()) {
            is_taken.iter().for_each(drop);
        }
        nic.attach()?;
        self.nics.push(nic);
        Ok(number)
    }

    /// Sets the addresses that end tunnels on this host, in place of those before.
    pub fn set_tunnel_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), PortsError> {
        for nic in &mut self.nics {
            nic.set_addresses(&self.addresses, addresses)?;
        }
        self.addresses = addresses.to_vec();
        Ok(())
    }

    /// Starts the workers, one for each forwarder; returns when all of them forward.
    pub fn start<F: Forward + 'static>(&mut self, forwarders: Vec<F>) -> Result<(), PortsError> {
        let expected = self.desks.iter().filter(|desk| desk.trunk.is_some()).count();
        if forwarders.len() != expected || expected != self.desks.len() {
            return Err(PortsError::Forwarders { expected, found: forwarders.len() });
        }
        let cores = self.cores();
        let (ready, is_ready) = mpsc::channel();
        for (number, (desk, forwarder)) in self.desks.iter_mut().zip(forwarders).enumerate() {
            let Some((trunk, handover)) = desk.trunk.take() else { continue };
            let seat = Seat {
                umem: Arc::clone(&desk.umem),
                trunk,
                handover,
                mailbox: Arc::clone(&desk.mailbox),
                statistics: Arc::clone(&desk.statistics),
                polling: self.config.polling,
                ready: ready.clone(),
            };
            let core = (!cores.is_empty()).then(|| cores[number % cores.len()]);
            let thread =
                std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                    if let Some(core) = core
                        && !core_affinity::set_for_current(core)
                    {
                        tracing::warn!(worker = number, core = core.id, "could not be pinned");
                    }
                    drop(seat.run(forwarder));
                })?;
            desk.thread = Some(thread);
        }
        drop(ready);
        is_ready.iter().for_each(drop);
        Ok(())
    }

    fn cores(&self) -> Vec<core_affinity::CoreId> {
        if self.config.cores.is_empty() {
            core_affinity::get_core_ids().unwrap_or_default()
        } else {
            self.config.cores.iter().map(|id| core_affinity::CoreId { id: *id }).collect()
        }
    }

    /// Stops the workers, and closes their sockets. Workloads stay attached, so their frames are
    /// dropped and not the host's, until this value is dropped.
    pub fn stop(&mut self) {
        for desk in &self.desks {
            desk.mailbox.stop();
        }
        for (number, desk) in self.desks.iter_mut().enumerate() {
            if desk.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!(worker = number, "ended by a panic: a defect, please report it");
            }
        }
    }

    /// For each worker, what wakes it; to be called when something was published for it.
    pub fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.desks.iter().map(|desk| Arc::clone(&desk.mailbox)).collect()
    }

    /// For each worker, what it counts.
    pub fn statistics(&self) -> Vec<Arc<WorkerStatistics>> {
        self.desks.iter().map(|desk| Arc::clone(&desk.statistics)).collect()
    }

    /// What the kernel side counted, over all CPUs and NICs.
    pub fn counters(&mut self) -> Result<Vec<(Counter, u64)>, BpfError> {
        let mut sums: Vec<_> = Counter::ALL.iter().map(|counter| (*counter, 0)).collect();
        let nics = self.nics.iter_mut().map(Nic::object);
        for object in std::iter::once(&mut self.object).chain(nics) {
            for (counter, sum) in &mut sums {
                *sum += object.counter(*counter)?;
            }
        }
        Ok(sums)
    }

    /// What the devices in use can do.
    pub fn report(&self) -> Report {
        let trunk = DeviceReport {
            device: self.trunk.device().into(),
            role: Role::Trunk,
            driver: "veth".into(),
            native: true,
            queues: self.config.workers,
            zero_copy: false,
            mtu: TRUNK_MTU,
        };
        Report(std::iter::once(trunk).chain(self.nics.iter().map(Nic::report)).collect())
    }

    /// Name of NIC `number`.
    pub fn nic(&self, number: u16) -> Option<&str> {
        self.nics.get(usize::from(number)).map(Nic::device)
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop();
    }
}
