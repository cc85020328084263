//! A guest's VLAN device in user space: a relay between a container's link and its VM's interface.
//!
//! It stands in for the eBPF programs of `ovn_xdp_port::nested` where these are what is tested, and
//! moves plain frames only (a segment that nobody has cut would not fit the interface).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::namespace::Namespace;
use crate::packet::PacketSocket;

const LOOK_UP: Duration = Duration::from_millis(50);

/// A running relay. Dropping it stops it.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Relay {
    /// Frames of `inner` leave by `outer` with `tag`; frames of `outer` with `tag` come out of
    /// `inner` without it. Both links are in `vm`.
    pub fn start(vm: &Namespace, outer: &str, inner: &str, tag: u16) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let open = |link| PacketSocket::open(vm, link);
        let push = move |mut frame: Vec<u8>| {
            let [a, b] = tag.to_be_bytes();
            frame.splice(12..12, [0x81, 0x00, a, b]);
            Some(frame)
        };
        let pop = move |mut frame: Vec<u8>| {
            let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
            let ours = word(12)? == 0x8100 && word(14)? & 0xfff == tag;
            ours.then(|| {
                frame.drain(12..16);
                frame
            })
        };
        let threads = vec![
            relay(open(inner)?, open(outer)?, push, stop.clone()),
            relay(open(outer)?, open(inner)?, pop, stop.clone()),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn relay(
    mut from: PacketSocket,
    to: PacketSocket,
    change: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Result<()>> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Some(frame) = from.next(LOOK_UP)?
                && !frame.outgoing
                && let Some(frame) = change(frame.bytes)
            {
                to.send(&frame)?;
            }
        }
        Ok(())
    })
}
