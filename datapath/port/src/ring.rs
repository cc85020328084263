//! The rings between us and the kernel: one producer, one consumer, in shared memory.
//!
//! The kernel's side of the protocol is in `net/xdp/xsk_queue.h`: the producer writes entries and
//! then its index with release order; the consumer reads the index with acquire order, and gives
//! entries back by its own index. We keep copies of both indices and touch the shared ones once per
//! batch. Sizes are powers of two, so that every index masks into the ring.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// An entry of a ring: plain numbers, any bytes of which are a value.
pub(crate) trait Entry: Copy {}

impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

/// A ring in shared memory.
struct Ring<T> {
    base: NonNull<libc::c_void>,
    mapped: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
}

impl<T: Entry> Ring<T> {
    fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        assert!(size.is_power_of_two());
        let mapped = offsets.desc as usize + size as usize * size_of::<T>();
        // SAFETY: a new mapping, of a ring that this socket has (the kernel refuses others).
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                page,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the kernel said where in the mapping these lie, aligned for what they are.
        unsafe {
            Ok(Self {
                base,
                mapped,
                producer: base.byte_add(offsets.producer as usize).cast(),
                consumer: base.byte_add(offsets.consumer as usize).cast(),
                flags: base.byte_add(offsets.flags as usize).cast(),
                entries: base.byte_add(offsets.desc as usize).cast(),
                size,
            })
        }
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: in the mapping, which lives as long as `self`; the kernel accesses it atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        let flags = unsafe { self.flags.as_ref() }.load(Ordering::Relaxed);
        flags & libc::XDP_RING_NEED_WAKEUP != 0
    }

    fn slot(&self, index: u32) -> *mut T {
        // SAFETY: the mask keeps it among the `size` entries of the mapping.
        unsafe { self.entries.as_ptr().add((index & (self.size - 1)) as usize) }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr(), self.mapped) };
    }
}

// SAFETY: the pointers lead into a mapping that belongs to the value alone on our side of the ring.
unsafe impl<T: Entry> Send for Ring<T> {}

/// A ring that we write: fill, or transmit.
pub(crate) struct Producer<T: Entry> {
    ring: Ring<T>,
    next: u32,
    consumed: u32,
}

impl<T: Entry> Producer<T> {
    pub(crate) fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let ring = Ring::map(socket, page, offsets, size)?;
        let next = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Relaxed);
        Ok(Self { ring, next, consumed })
    }

    /// Entries that can be pushed now; looks at the kernel's index only if fewer than `wanted` are
    /// known to be free.
    #[inline]
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        let known = self.ring.size - self.next.wrapping_sub(self.consumed);
        if known >= wanted {
            return known;
        }
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.ring.size - self.next.wrapping_sub(self.consumed)
    }

    /// Writes an entry, for which [`Producer::free`] found room; the kernel sees it at the next
    /// [`Producer::submit`].
    #[inline]
    pub(crate) fn push(&mut self, entry: T) {
        debug_assert!(self.next.wrapping_sub(self.consumed) < self.ring.size);
        // SAFETY: the entry is ours until the index is published.
        unsafe { self.ring.slot(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
    }

    /// Shows the kernel what was pushed.
    #[inline]
    pub(crate) fn submit(&mut self) {
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// Whether the kernel waits for a system call.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// A ring that we read: receive, or completion.
pub(crate) struct Consumer<T: Entry> {
    ring: Ring<T>,
    next: u32,
    produced: u32,
}

impl<T: Entry> Consumer<T> {
    pub(crate) fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let ring = Ring::map(socket, page, offsets, size)?;
        let next = ring.consumer().load(Ordering::Relaxed);
        Ok(Self { ring, next, produced: next })
    }

    /// Takes the next entry, if there is one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.next == self.produced {
            self.produced = self.ring.producer().load(Ordering::Acquire);
            if self.next == self.produced {
                return None;
            }
        }
        // SAFETY: the kernel published the entry, and does not touch it until it is released.
        let entry = unsafe { self.ring.slot(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Whether an entry waits.
    pub(crate) fn has_entries(&mut self) -> bool {
        self.produced = self.ring.producer().load(Ordering::Acquire);
        self.next != self.produced
    }

    /// Gives the entries that were taken back to the kernel.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}
