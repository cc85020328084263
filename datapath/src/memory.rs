//! Frames and sockets in memory: what tests, benches and offline tracing forward with.
//!
//! Frames are counted, so that a test can hold that each one was sent or released exactly once.

use crate::frame::{Frame, Io, VlanHeader};
use crate::key::InterfaceId;

/// Bytes in front of a new frame.
pub const HEADROOM: usize = 128;

/// A frame in memory, in one or more segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame {
    buffer: Vec<u8>,
    start: usize,
    rest: Vec<Vec<u8>>,
}

impl Default for MemoryFrame {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl MemoryFrame {
    /// A frame of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer, start: HEADROOM, rest: Vec::new() }
    }

    /// A frame whose first `head` bytes are contiguous, and whose rest is in pieces of `piece`.
    pub fn segmented(bytes: &[u8], head: usize, piece: usize) -> Self {
        let (head, rest) = bytes.split_at(head.min(bytes.len()));
        let mut frame = Self::new(head);
        frame.rest = rest.chunks(piece.max(1)).map(<[u8]>::to_vec).collect();
        frame
    }

    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().to_vec();
        self.rest.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Becomes a frame of these bytes, without allocating if it was as large before.
    pub fn refill(&mut self, bytes: &[u8]) {
        self.buffer.clear();
        self.buffer.resize(HEADROOM, 0);
        self.buffer.extend_from_slice(bytes);
        self.start = HEADROOM;
        self.rest.clear();
    }
}

impl Frame for MemoryFrame {
    fn head(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    fn rest(&self) -> impl Iterator<Item = &[u8]> {
        self.rest.iter().map(Vec::as_slice)
    }

    fn len(&self) -> usize {
        self.head().len() + self.rest.iter().map(Vec::len).sum::<usize>()
    }

    fn push_front(&mut self, bytes: usize) -> bool {
        self.start = match self.start.checked_sub(bytes) {
            Some(start) => start,
            None => return false,
        };
        true
    }

    fn pull_front(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.head().len();
        self.start += if fits { bytes } else { 0 };
        fits
    }

    fn truncate(&mut self, len: usize) {
        let mut left = len.saturating_sub(self.head().len());
        self.buffer.truncate(self.start + len);
        for piece in &mut self.rest {
            piece.truncate(left);
            left -= piece.len();
        }
        self.rest.retain(|piece| !piece.is_empty());
    }

    fn push_back(&mut self, bytes: &[u8]) -> bool {
        if self.rest.is_empty() {
            self.buffer.extend_from_slice(bytes);
        }
        self.rest.is_empty()
    }
}

/// A frame that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// To a workload.
    Interface(InterfaceId, Option<VlanHeader>, Vec<u8>),
    /// To a NIC.
    Nic(u16, Vec<u8>),
}

/// Sockets in memory.
#[derive(Debug)]
pub struct MemoryIo {
    /// What was sent, in order.
    pub sent: Vec<Sent>,
    /// Frames that may still be allocated or copied.
    pub free: usize,
    /// Frames that are neither sent nor released.
    pub outstanding: usize,
}

impl Default for MemoryIo {
    fn default() -> Self {
        Self { sent: Vec::new(), free: usize::MAX, outstanding: 0 }
    }
}

impl MemoryIo {
    /// A frame that came in.
    pub fn receive(&mut self, frame: MemoryFrame) -> MemoryFrame {
        self.outstanding += 1;
        frame
    }

    fn take(&mut self) -> Option<()> {
        self.free = self.free.checked_sub(1)?;
        self.outstanding += 1;
        Some(())
    }

    fn gone(&mut self) {
        self.outstanding = self.outstanding.checked_sub(1).expect("a frame went twice");
    }
}

impl Io for MemoryIo {
    type Frame = MemoryFrame;

    fn allocate(&mut self) -> Option<MemoryFrame> {
        self.take().map(|()| MemoryFrame::default())
    }

    fn duplicate(&mut self, frame: &MemoryFrame) -> Option<MemoryFrame> {
        self.take().map(|()| frame.clone())
    }

    fn to_interface(&mut self, frame: MemoryFrame, to: InterfaceId, vlan: Option<VlanHeader>) {
        self.gone();
        self.sent.push(Sent::Interface(to, vlan, frame.bytes()));
    }

    fn to_nic(&mut self, frame: MemoryFrame, nic: u16) {
        self.gone();
        self.sent.push(Sent::Nic(nic, frame.bytes()));
    }

    fn release(&mut self, _frame: MemoryFrame) {
        self.gone();
    }
}
