//! The boundary between forwarding and the sockets: frames that came in, and where they may go.
//!
//! Everything here is generic, not `dyn`: a worker is compiled for one kind of frame. The socket
//! side (AF_XDP) and the tests (vectors of bytes) implement the same two traits.

use crate::key::InterfaceId;

/// An 802.1Q or 802.1ad header, kept beside the frame as the kernel does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanHeader {
    /// 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority, DEI and VLAN identifier.
    pub tci: u16,
}

/// A frame in a buffer with room before and behind it, and possibly further segments.
pub trait Frame {
    /// The contiguous start of the frame. It holds all of it unless [`Frame::rest`] has more.
    fn head(&self) -> &[u8];

    /// The same, to change.
    fn head_mut(&mut self) -> &mut [u8];

    /// Segments behind the head, for frames larger than a buffer.
    fn rest(&self) -> impl Iterator<Item = &[u8]>;

    /// Bytes of the whole frame.
    fn len(&self) -> usize;

    /// Whether the frame has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows the frame at its start by `bytes` of unspecified content; false if there is no room,
    /// and then nothing changed.
    #[must_use]
    fn push_front(&mut self, bytes: usize) -> bool;

    /// Shrinks the frame at its start; false if the head is shorter, and then nothing changed.
    #[must_use]
    fn pull_front(&mut self, bytes: usize) -> bool;

    /// Cuts the frame to `len` bytes, dropping segments that are then empty.
    fn truncate(&mut self, len: usize);

    /// Grows a frame of one segment at its end; false if there is no room, and then nothing changed.
    #[must_use]
    fn push_back(&mut self, bytes: &[u8]) -> bool;
}

/// Where frames come from and go to. A frame that is taken must be sent or released, exactly once.
pub trait Io {
    /// A frame of these sockets.
    type Frame: Frame;

    /// An empty frame with full headroom, or `None` if none is free.
    fn allocate(&mut self) -> Option<Self::Frame>;

    /// A copy of a frame, all segments and headroom included, or `None` if too few are free.
    fn duplicate(&mut self, frame: &Self::Frame) -> Option<Self::Frame>;

    /// Queues a frame to a workload; `vlan` is pushed in front of what the frame has.
    fn to_interface(&mut self, frame: Self::Frame, to: InterfaceId, vlan: Option<VlanHeader>);

    /// Queues a frame to a NIC.
    fn to_nic(&mut self, frame: Self::Frame, nic: u16);

    /// Gives a frame back.
    fn release(&mut self, frame: Self::Frame);
}
