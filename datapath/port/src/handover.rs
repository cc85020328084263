//! Straight to a workload: one packet socket of a worker hands frames to every device of the host.
//!
//! The trunk's way down costs a frame two more passes through the kernel. That pays for TCP, whose
//! segments GRO joins there; every other frame is handed to the workload's own device by
//! `sendmmsg(2)`, a batch a call. All TCP goes one way and all else the other, so frames of a
//! connection stay in order. The devices' queueing discipline and captures see them as before, and
//! nothing is attached to a device, so that a workload's offloads stay as they are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use ovn_xdp_abi::map::MAX_INTERFACES;
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::key::InterfaceId;

use crate::umem::{Umem, UmemFrame};

/// Frames that one call hands over.
pub(crate) const HANDS: usize = 64;

/// What is between the kernel and its receivers at most, in bytes of its own account.
const ROOM: libc::c_int = 16 << 20;

/// A frame that waits to be handed over, its tag in it.
pub(crate) struct Handed<'u> {
    pub frame: UmemFrame<'u>,
    pub to: InterfaceId,
    pub device: u32,
}

/// The socket of a worker, and which device belongs to an interface.
#[derive(Debug)]
pub(crate) struct Handover {
    socket: OwnedFd,
    devices: Vec<u32>,
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
        let room = ROOM;
        // SAFETY: a number of the size that is told. For speed only: a lesser capability does without.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUFFORCE,
                (&raw const room).cast(),
                size_of_val(&room) as libc::socklen_t,
            );
        }
        Ok(Self {
            socket,
            devices: Vec::new(),
            pieces: Vec::new(),
            addresses: Vec::with_capacity(HANDS),
            messages: Vec::with_capacity(HANDS),
        })
    }

    /// Sets or forgets the device of an interface.
    pub(crate) fn set(&mut self, interface: InterfaceId, device: Option<u32>) {
        let index = interface.0 as usize;
        if index >= MAX_INTERFACES as usize {
            return;
        }
        if self.devices.len() <= index {
            self.devices.resize(index + 1, 0);
        }
        self.devices[index] = device.unwrap_or(0);
    }

    /// The index of an interface's device.
    #[inline]
    pub(crate) fn device(&self, interface: InterfaceId) -> Option<u32> {
        self.devices.get(interface.0 as usize).copied().filter(|device| *device != 0)
    }

    /// Hands frames over, and calls `refused` with the place and the reason of each that the kernel
    /// did not take.
    pub(crate) fn send(
        &mut self,
        umem: &Umem,
        frames: &[Handed<'_>],
        mut refused: impl FnMut(usize, io::Error),
    ) {
        self.pieces.clear();
        self.addresses.clear();
        self.messages.clear();
        for handed in frames {
            let first = self.pieces.len();
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
        // Only now do the pieces and the addresses stay where they are.
        let mut piece = self.pieces.as_mut_ptr();
        for (message, address) in self.messages.iter_mut().zip(&mut self.addresses) {
            message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            message.msg_hdr.msg_iov = piece;
            // SAFETY: at most one past the last piece, since the counts add up to all of them.
            piece = unsafe { piece.add(message.msg_hdr.msg_iovlen) };
        }
        let mut done = 0;
        while done < self.messages.len() {
            let rest = &mut self.messages[done..];
            // SAFETY: as many messages as are told; names, pieces and the chunks that they point to
            // are ours until the call returns, and the kernel only reads them.
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

/// Whether a frame belongs on the trunk: TCP, or what cannot be told apart from it.
#[inline]
pub(crate) fn is_stream(head: &[u8]) -> bool {
    streams(head).unwrap_or(true)
}

#[inline]
fn streams(head: &[u8]) -> Option<bool> {
    let mut at = 12;
    for _ in 0..4 {
        let kind = u16::from_be_bytes(*head.get(at..)?.first_chunk()?);
        at += 2;
        match kind {
            0x8100 | 0x88a8 => at += 2,
            0x0800 => return Some(*head.get(at + 9)? == TCP),
            0x86dd => return behind_extensions(head, at + 40, *head.get(at + 6)?),
            _ => return Some(false),
        }
    }
    None
}

const TCP: u8 = 6;

fn behind_extensions(head: &[u8], mut at: usize, mut next: u8) -> Option<bool> {
    for _ in 0..8 {
        let length = match next {
            0 | 43 | 60 => (usize::from(*head.get(at + 1)?) + 1) * 8,
            44 => 8,
            other => return Some(other == TCP),
        };
        next = *head.get(at)?;
        at += length;
    }
    None
}

/// Puts a tag that is kept beside a frame into it; false if there is no room.
#[must_use]
pub(crate) fn put_tag(frame: &mut UmemFrame<'_>, tag: VlanHeader) -> bool {
    use ovn_xdp_datapath::frame::Frame;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(kinds: &[&[u8]]) -> Vec<u8> {
        kinds.iter().fold(vec![2; 12], |frame, part| [&frame, *part].concat())
    }

    fn v4(protocol: u8) -> Vec<u8> {
        let mut header = vec![8, 0, 0x45];
        header.extend([0; 8]);
        header.push(protocol);
        header
    }

    fn v6(chain: &[u8]) -> Vec<u8> {
        let mut all = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, chain[0], 64];
        all.extend([0; 32]);
        for pair in chain.windows(2) {
            all.extend([pair[1], 0, 0, 0, 0, 0, 0, 0]);
        }
        all
    }

    #[test]
    fn tcp_of_both_families_goes_one_way_and_all_else_the_other() {
        let tag: &[u8] = &[0x81, 0, 0, 7];
        let outer: &[u8] = &[0x88, 0xa8, 0, 7];
        for (frame, stream) in [
            (ethernet(&[&v4(6)]), true),
            (ethernet(&[&v4(17)]), false),
            (ethernet(&[tag, &v4(6)]), true),
            (ethernet(&[outer, tag, &v4(17)]), false),
            (ethernet(&[&v6(&[6])]), true),
            (ethernet(&[&v6(&[17])]), false),
            // Every fragment of a datagram, and every segment behind options, as the whole.
            (ethernet(&[&v6(&[44, 17])]), false),
            (ethernet(&[&v6(&[0, 60, 44, 6])]), true),
            (ethernet(&[&[8, 6], &[0; 28]]), false),
        ] {
            assert_eq!(is_stream(&frame), stream, "{frame:02x?}");
        }
    }

    #[test]
    fn a_frame_too_short_to_tell_takes_the_way_of_streams() {
        for frame in [ethernet(&[]), ethernet(&[&[8, 0, 0x45]]), ethernet(&[&[0x86, 0xdd]]), vec![]]
        {
            assert!(is_stream(&frame), "{frame:02x?}");
        }
    }
}
