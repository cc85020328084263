//! The loop of a worker: one thread, its sockets, and the forwarder that decides about each frame.
//!
//! A batch is at most 64 frames of a lane; then the kernel is told, once, what to send. What a worker
//! does without work, `patience.rs` says; an eventfd wakes it from a sleep for everything that does not
//! come from a socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ovn_xdp_datapath::frame::{Frame, Io, VlanHeader};
use ovn_xdp_datapath::key::InterfaceId;

use crate::handover::{Device, Handover};
use crate::patience::{Patience, Rest};
use crate::socket::XdpSocket;
use crate::sockets::Sockets;
use crate::statistics::WorkerStatistics;
use crate::umem::{Umem, UmemFrame};

/// Frames of one lane before the others have their turn.
const BATCH: usize = 64;

/// The longest sleep, in milliseconds: also a worker without packets looks at its generation.
const TICK: libc::c_int = 100;

/// How often the kernel is asked what it dropped, in nanoseconds.
const SAMPLE: u64 = 500_000_000;

/// What decides about frames. Each frame must be sent or released through `io`, exactly once.
#[expect(clippy::wrong_self_convention, reason = "a frame from somewhere, not a conversion")]
pub trait Forward: Send {
    /// Takes up what control has published; called before each batch and when woken.
    fn refresh(&mut self);

    /// Whether the worker may sleep now; the next call is [`Forward::refresh`]. False if control has
    /// published something since the last.
    fn sleep(&mut self) -> bool;

    /// A frame of a workload; `vlan` is the outermost tag, `now` monotonic nanoseconds.
    fn from_interface<I: Io>(
        &mut self,
        now: u64,
        from: InterfaceId,
        vlan: Option<VlanHeader>,
        frame: I::Frame,
        io: &mut I,
    );

    /// A tunnel packet of a NIC, whole.
    fn from_nic<I: Io>(&mut self, now: u64, nic: u16, frame: I::Frame, io: &mut I);

    /// Frames of workloads that came together; the vector is left empty.
    fn from_interfaces<I: Io>(
        &mut self,
        now: u64,
        frames: &mut Vec<(InterfaceId, Option<VlanHeader>, I::Frame)>,
        io: &mut I,
    ) {
        for (from, vlan, frame) in frames.drain(..) {
            self.from_interface(now, from, vlan, frame, io);
        }
    }

    /// Tunnel packets that came together; the vector is left empty.
    fn from_nics<I: Io>(&mut self, now: u64, nic: u16, frames: &mut Vec<I::Frame>, io: &mut I) {
        for frame in frames.drain(..) {
            self.from_nic(now, nic, frame, io);
        }
    }
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Polling {
    /// Looks again at once: least latency, a whole core.
    Busy,
    /// Looks for some microseconds if that has paid lately, then sleeps; naps where frames come thick.
    #[default]
    Adaptive,
    /// As adaptive, but never looks before it sleeps: least CPU time.
    Sleep,
}

impl std::str::FromStr for Polling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "busy" => Ok(Self::Busy),
            "adaptive" => Ok(Self::Adaptive),
            "sleep" => Ok(Self::Sleep),
            other => Err(format!("{other:?} is not \"busy\", \"adaptive\" or \"sleep\"")),
        }
    }
}

/// Wakes a worker that sleeps, and hands it sockets.
#[derive(Debug)]
pub struct Mailbox {
    event: OwnedFd,
    stop: AtomicBool,
    full: AtomicBool,
    post: Mutex<Post>,
}

#[derive(Debug, Default)]
struct Post {
    nics: Vec<NicSockets>,
    devices: Vec<(InterfaceId, Option<Device>)>,
}

/// The sockets of a NIC that a worker is to serve: all at once, since they share its memory.
struct NicSockets {
    nic: u16,
    sockets: Vec<XdpSocket>,
    /// Dropped when the worker serves them.
    taken: Sender<()>,
}

impl std::fmt::Debug for NicSockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NicSockets {{ nic: {}, sockets: {} }}", self.nic, self.sockets.len())
    }
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new, and owned from here on.
        let event = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self {
            event,
            stop: AtomicBool::new(false),
            full: AtomicBool::new(false),
            post: Mutex::default(),
        })
    }

    /// Has the worker look at what was published, soon.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes, as an eventfd wants. It fails only if it is about to wake anyway.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn add_nic(&self, nic: u16, sockets: Vec<XdpSocket>, taken: Sender<()>) {
        self.put(|post| post.nics.push(NicSockets { nic, sockets, taken }));
        self.wake();
    }

    /// Says which device an interface has from now on. What is published after this call finds the
    /// worker knowing it.
    pub(crate) fn set_device(&self, interface: InterfaceId, device: Option<Device>) {
        self.put(|post| post.devices.push((interface, device)));
    }

    fn put(&self, change: impl FnOnce(&mut Post)) {
        change(&mut self.post.lock().unwrap_or_else(PoisonError::into_inner));
        self.full.store(true, Ordering::Release);
    }

    fn collect(&self, sockets: &mut Sockets<'_>) {
        if !self.full.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut post = self.post.lock().unwrap_or_else(PoisonError::into_inner);
        for (interface, device) in post.devices.drain(..) {
            sockets.set_device(interface, device);
        }
        for NicSockets { nic, sockets: new, taken } in post.nics.drain(..) {
            new.into_iter().for_each(|socket| sockets.add_nic(nic, socket));
            sockets.replenish();
            drop(taken);
        }
    }

    fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes, as an eventfd gives.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

/// What a worker needs to begin.
pub(crate) struct Seat {
    pub umem: Arc<Umem>,
    pub trunk: XdpSocket,
    pub handover: Handover,
    pub mailbox: Arc<Mailbox>,
    pub statistics: Arc<WorkerStatistics>,
    pub polling: Polling,
    /// Dropped when the worker forwards.
    pub ready: Sender<()>,
}

impl Seat {
    /// Runs until told to stop, and gives the forwarder back.
    pub(crate) fn run<F: Forward>(self, mut forward: F) -> F {
        let Self { umem, trunk, handover, mailbox, statistics, polling, ready } = self;
        let mut sockets = Sockets::new(&umem, trunk, handover, Arc::clone(&statistics));
        sockets.replenish();
        mailbox.collect(&mut sockets);
        drop(ready);
        let mut batch = Batch::default();
        let mut waiting = Vec::new();
        let mut patience = Patience::new(polling);
        exact_timers();
        let mut sample_at = 0;
        while !mailbox.stop.load(Ordering::Acquire) {
            // In this order: what a generation names was put into the mailbox before.
            forward.refresh();
            mailbox.collect(&mut sockets);
            sockets.replenish();
            let now = monotonic();
            let frames = turn(now, &mut sockets, &mut batch, &mut forward, &statistics);
            sockets.flush();
            sockets.account();
            if now >= sample_at {
                sockets.sample_kernel();
                sample_at = now + SAMPLE;
            }
            patience.served(now, frames);
            if frames > 0 || sockets.has_unsent() {
                continue;
            }
            match patience.rest(now) {
                Rest::Look => std::hint::spin_loop(),
                Rest::Nap(nanoseconds) => {
                    statistics.naps.add(1);
                    std::thread::sleep(Duration::from_nanos(nanoseconds));
                }
                Rest::Sleep if sockets.has_received() || !forward.sleep() => {}
                Rest::Sleep => {
                    statistics.sleeps.add(1);
                    let from = monotonic();
                    sleep(&mailbox, &sockets, &mut waiting);
                    patience.slept(monotonic() - from);
                }
            }
        }
        forward
    }
}

/// Frames of a lane on their way to the forwarder; empty between two.
#[derive(Default)]
struct Batch<'u> {
    workloads: Vec<(InterfaceId, Option<VlanHeader>, UmemFrame<'u>)>,
    tunnels: Vec<UmemFrame<'u>>,
}

fn turn<'u, F: Forward>(
    now: u64,
    sockets: &mut Sockets<'u>,
    batch: &mut Batch<'u>,
    forward: &mut F,
    statistics: &WorkerStatistics,
) -> usize {
    let Batch { workloads, tunnels } = batch;
    let mut frames = 0;
    for lane in 0..sockets.lanes() {
        match sockets.nic_of(lane) {
            None => {
                while workloads.len() < BATCH
                    && let Some(arrival) = sockets.receive_from_workload()
                {
                    workloads.push((arrival.from, arrival.vlan, arrival.frame));
                }
                frames += workloads.len();
                statistics.from_workload.add(workloads.len() as u64);
                forward.from_interfaces(now, workloads, sockets);
            }
            Some(nic) => {
                while tunnels.len() < BATCH
                    && let Some(frame) = sockets.receive(lane)
                {
                    debug_assert!(!frame.is_empty());
                    tunnels.push(frame);
                }
                frames += tunnels.len();
                statistics.from_nic.add(tunnels.len() as u64);
                forward.from_nics(now, nic, tunnels, sockets);
            }
        }
        sockets.release_received(lane);
    }
    frames
}

fn sleep(mailbox: &Mailbox, sockets: &Sockets<'_>, waiting: &mut Vec<libc::pollfd>) {
    let wait = |fd: libc::c_int| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    waiting.clear();
    waiting.push(wait(mailbox.event.as_raw_fd()));
    for lane in 0..sockets.lanes() {
        waiting.push(wait(sockets.socket(lane).as_fd().as_raw_fd()));
    }
    // SAFETY: as many entries as are told, of descriptors that are open.
    let ready = unsafe { libc::poll(waiting.as_mut_ptr(), waiting.len() as libc::nfds_t, TICK) };
    if ready > 0 && waiting[0].revents != 0 {
        mailbox.drain();
    }
}

/// The kernel may end the calling thread's sleeps 50 µs late, to save wake-ups; here it may not.
fn exact_timers() {
    let slack: libc::c_ulong = 1;
    // SAFETY: one number, of the calling thread only. It fails only if the kernel lacks it.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack) };
}

fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the result; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
