//! Straight to a workload: one packet socket of a worker hands frames to every device of the host.
//!
//! Frames are handed to the workload's own device by `sendmmsg(2)`, a batch a call. The segments of a
//! stream in a batch are joined to one frame before ([`gro`]) if the device takes it whole, as from a
//! neighbour on the same host. The devices' queueing discipline and captures see frames as ever, and
//! nothing is attached to a device, so that a workload's offloads stay as they are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use ovn_xdp_abi::map::MAX_INTERFACES;
use ovn_xdp_datapath::frame::{Frame, VlanHeader};
use ovn_xdp_datapath::gro::{self, Segment, Stream};
use ovn_xdp_datapath::key::InterfaceId;

use crate::umem::{Umem, UmemFrame};

/// Frames that one call hands over.
pub(crate) const HANDS: usize = 64;

/// What is between the kernel and its receivers at most, in bytes; it takes twice as many of its own
/// account. A device whose queueing discipline is slow keeps up to a thousand frames of [`gro::LONGEST`]
/// bytes waiting, and the other devices of the worker share the room.
const ROOM: libc::c_int = 512 << 20;

/// Streams of a batch whose further segments are joined; of more, the oldest is left as it is.
const STREAMS: usize = 8;

/// A workload's device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    pub index: u32,
    /// Whether it takes TCP that is not cut into segments.
    pub takes_unsegmented: bool,
}

/// A frame that waits to be handed over, its tag in it.
pub(crate) struct Handed<'u> {
    pub frame: UmemFrame<'u>,
    pub to: InterfaceId,
    device: u32,
    stream: Option<Stream>,
}

impl Handed<'_> {
    /// How many frames it was.
    pub(crate) fn count(&self) -> u64 {
        self.stream.map_or(1, |stream| u64::from(stream.count()))
    }
}

/// The frames that the next call hands over.
#[derive(Default)]
pub(crate) struct Hands<'u> {
    frames: Vec<Handed<'u>>,
    /// Places of streams that segments may be joined to, the oldest first.
    open: Vec<usize>,
}

impl<'u> Hands<'u> {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= HANDS
    }

    /// Adds a frame: to the segments before it, if it is the next of a stream.
    #[inline]
    pub(crate) fn push(&mut self, frame: UmemFrame<'u>, to: InterfaceId, device: Device) {
        let Self { frames, open } = self;
        let (device, joins) = (device.index, device.takes_unsegmented);
        let segment = Segment::read(frame.head(), frame.len()).filter(|_| joins);
        let Some(segment) = segment else {
            return frames.push(Handed { frame, to, device, stream: None });
        };
        let earlier = open.iter().copied().find(|&place| {
            let Handed { frame: earlier, stream, device: its, .. } = &mut frames[place];
            let stream = stream.as_mut().filter(|_| *its == device);
            stream.is_some_and(|stream| stream.joins(earlier, &frame, &segment))
        });
        match earlier {
            Some(place) => frames[place].frame.join(frame, segment.header_len()),
            None => {
                let stream = Some(Stream::begin(segment, frame.head()));
                open.push(frames.len());
                frames.push(Handed { frame, to, device, stream });
            }
        }
        open.retain(|&place| frames[place].stream.is_some_and(|stream| stream.is_open()));
        if open.len() > STREAMS {
            open.remove(0);
        }
    }

    /// All frames, the first first; none are left.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Handed<'u>> + use<'_, 'u> {
        self.open.clear();
        self.frames.drain(..)
    }
}

/// `struct virtio_net_hdr`, in this machine's order, as packet sockets have it.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
struct VnetHeader {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl From<gro::Joined> for VnetHeader {
    fn from(joined: gro::Joined) -> Self {
        const NEEDS_CSUM: u8 = 1;
        const GSO_TCPV4: u8 = 1;
        const GSO_TCPV6: u8 = 4;
        const TCP_CHECK: u16 = 16;
        Self {
            flags: NEEDS_CSUM,
            gso_type: if joined.v4 { GSO_TCPV4 } else { GSO_TCPV6 },
            hdr_len: joined.header_len,
            gso_size: joined.segment,
            csum_start: joined.transport,
            csum_offset: TCP_CHECK,
        }
    }
}

/// The socket of a worker, and which device belongs to an interface.
#[derive(Debug)]
pub(crate) struct Handover {
    socket: OwnedFd,
    devices: Vec<Option<Device>>,
    headers: Vec<VnetHeader>,
    pieces: Vec<libc::iovec>,
    addresses: Vec<libc::sockaddr_ll>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `pieces` and `messages` are made anew in each `send`, and used in it only.
unsafe impl Send for Handover {}

impl Handover {
    /// Opens the socket for devices of the calling thread's namespace. It receives nothing.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is new, and owned from here on.
        let socket = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let fd = libc::socket(libc::AF_PACKET, kind, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let on: libc::c_int = 1;
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, on)?;
        // For speed only: a lesser capability does without.
        let _ = set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, ROOM);
        Ok(Self {
            socket,
            devices: Vec::new(),
            headers: Vec::with_capacity(HANDS),
            pieces: Vec::new(),
            addresses: Vec::with_capacity(HANDS),
            messages: Vec::with_capacity(HANDS),
        })
    }

    /// Sets or forgets the device of an interface.
    pub(crate) fn set(&mut self, interface: InterfaceId, device: Option<Device>) {
        let index = interface.0 as usize;
        if index >= MAX_INTERFACES as usize {
            return;
        }
        if self.devices.len() <= index {
            self.devices.resize(index + 1, None);
        }
        self.devices[index] = device;
    }

    /// An interface's device.
    #[inline]
    pub(crate) fn device(&self, interface: InterfaceId) -> Option<Device> {
        self.devices.get(interface.0 as usize).copied().flatten()
    }

    /// Hands frames over, and calls `refused` with the place and the reason of each that the kernel
    /// did not take.
    pub(crate) fn send(
        &mut self,
        umem: &Umem,
        hands: &mut Hands<'_>,
        mut refused: impl FnMut(usize, io::Error),
    ) {
        self.headers.clear();
        self.pieces.clear();
        self.addresses.clear();
        self.messages.clear();
        for handed in &mut hands.frames {
            let first = self.pieces.len();
            let joined = handed.stream.and_then(|stream| stream.finish(&mut handed.frame));
            self.headers.push(joined.map(VnetHeader::from).unwrap_or_default());
            let header_len = size_of::<VnetHeader>();
            self.pieces.push(libc::iovec { iov_base: std::ptr::null_mut(), iov_len: header_len });
            for segment in handed.frame.segments().filter(|segment| segment.len > 0) {
                self.pieces.push(libc::iovec {
                    iov_base: umem.at(segment.chunk, segment.offset).cast(),
                    iov_len: segment.len as usize,
                });
            }
            self.addresses.push(address(handed.device));
            // SAFETY: zero is a value of it.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            message.msg_hdr.msg_iovlen = self.pieces.len() - first;
            self.messages.push(message);
        }
        // Only now do the headers, the pieces and the addresses stay where they are.
        let mut pieces = self.pieces.as_mut_slice();
        let own = self.headers.iter_mut().zip(&mut self.addresses);
        for (message, (header, address)) in self.messages.iter_mut().zip(own) {
            let (its, rest) = pieces.split_at_mut(message.msg_hdr.msg_iovlen);
            its[0].iov_base = std::ptr::from_mut(header).cast();
            message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            message.msg_hdr.msg_iov = its.as_mut_ptr();
            pieces = rest;
        }
        let mut done = 0;
        while done < self.messages.len() {
            let rest = &mut self.messages[done..];
            // SAFETY: as many messages as are told; names, headers, pieces and the chunks that they
            // point to are ours until the call returns, and the kernel only reads them.
            let sent = unsafe {
                let count = rest.len() as libc::c_uint;
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(count) if count > 0 => done += count,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        refused(done, error);
                        done += 1;
                    }
                }
            }
        }
    }
}

fn set_option(
    socket: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: a number of the size that is told, read during the call only.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn address(device: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: device as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// Puts a tag that is kept beside a frame into it; false if there is no room.
#[must_use]
pub(crate) fn put_tag(frame: &mut UmemFrame<'_>, tag: VlanHeader) -> bool {
    const ADDRESSES: usize = 12;
    const TAG: usize = 4;
    if frame.head().len() < ADDRESSES || !frame.push_front(TAG) {
        return false;
    }
    let head = frame.head_mut();
    head.copy_within(TAG..TAG + ADDRESSES, 0);
    head[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tag.tpid.to_be_bytes());
    head[ADDRESSES + 2..ADDRESSES + TAG].copy_from_slice(&tag.tci.to_be_bytes());
    true
}
