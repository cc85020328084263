//! What a worker counts, for others to read at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds, without a locked instruction: there is one writer.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }
}

macro_rules! statistics {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal;)*) => {
        /// Counters and the account of one worker. Counters only grow.
        #[derive(Debug, Default)]
        pub struct WorkerStatistics {
            $($(#[doc = $doc])* pub $name: Gauge,)*
        }

        impl WorkerStatistics {
            /// All numbers with their labels.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($label, self.$name.get()),)*].into_iter()
            }
        }
    };
}

statistics! {
    /// Frames of workloads, received.
    from_workload = "from-workload";
    /// Frames to workloads, queued.
    to_workload = "to-workload";
    /// Of these, segments that were joined to the one before them.
    joined = "joined";
    /// Frames of NICs, received.
    from_nic = "from-nic";
    /// Frames to NICs, queued.
    to_nic = "to-nic";
    /// Dropped: on the trunk, but not written by our kernel side.
    foreign = "foreign";
    /// Dropped by the kernel: this worker did not take frames as fast as they came.
    receive_full = "receive-full";
    /// Dropped by the kernel: it had no buffer to receive into.
    receive_starved = "receive-starved";
    /// Dropped: the kernel did not take frames as fast as they were sent.
    send_full = "send-full";
    /// Dropped: more segments than the kernel sends in one frame.
    too_many_segments = "too-many-segments";
    /// Dropped: no room in the buffer for the private header or padding.
    no_room = "no-room";
    /// Dropped: to a NIC on which this worker has no queue.
    no_nic = "no-nic";
    /// Dropped: the workload's device was gone, or not up.
    no_device = "no-device";
    /// A frame was wanted, and none was free.
    no_buffer = "no-buffer";
    /// The kernel did not take all in one batch; the rest was sent later.
    send_stalls = "send-stalls";
    /// Times that the worker went to sleep.
    sleeps = "sleeps";
    /// Times that the worker let frames gather.
    naps = "naps";
    /// Buffers in the pool.
    free = "free";
    /// Buffers with the kernel, to receive into.
    filling = "filling";
    /// Buffers with the kernel, being sent.
    sending = "sending";
    /// Buffers that are nowhere. Not zero means a defect: please report it.
    missing = "missing";
}

impl WorkerStatistics {
    /// The numbers that count frames which went nowhere, with their labels.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        const LABELS: [&str; 8] = [
            "foreign",
            "receive-full",
            "receive-starved",
            "send-full",
            "too-many-segments",
            "no-room",
            "no-nic",
            "no-device",
        ];
        self.each().filter(|(label, _)| LABELS.contains(label))
    }
}
