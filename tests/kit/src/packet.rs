//! A packet socket (AF_PACKET) on one link: frames as they pass it, and frames put on it.
//!
//! The kernel keeps an 802.1Q tag beside the frame where it can; a [`Frame`] has it back inside,
//! where the wire has it. Frames are read whole, up to a segment of 64 KB that nobody has cut yet.

use std::io::{IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recvmsg, sendto, setsockopt, socket, sockopt,
};

use crate::namespace::Namespace;

nix::setsockopt_impl!(
    AuxData,
    libc::SOL_PACKET,
    libc::PACKET_AUXDATA,
    libc::c_int,
    sockopt::SetStruct<'_, libc::c_int>
);

#[derive(Clone, Copy)]
struct AuxData;

/// A frame that passed a link.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// From the destination MAC address on, with its 802.1Q tag in place.
    pub bytes: Vec<u8>,
    /// Whether the namespace of the socket sent it (else it received it).
    pub outgoing: bool,
    /// When the socket handed it over.
    pub time: SystemTime,
    /// Whether the kernel still owes its transport checksum.
    pub checksum_pending: bool,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.outgoing { "out" } else { "in" };
        write!(f, "{way} {} bytes:", self.bytes.len())?;
        self.bytes.iter().take(96).try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// A packet socket bound to a link.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    link: LinkAddr,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket on `link` of `namespace`. It sees what passes from now on, both ways.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        namespace.enter(|| Self::open_here(link))?.with_context(|| {
            format!("cannot open a packet socket on {link} in {}", namespace.name())
        })
    }

    fn open_here(link: &str) -> Result<Self> {
        let link = getifaddrs()?
            .filter(|candidate| candidate.interface_name == link)
            .find_map(|candidate| candidate.address?.as_link_addr().copied())
            .context("no such link")?;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        bind(fd.as_raw_fd(), &link)?;
        setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20))?;
        setsockopt(&fd, AuxData, &1)?;
        let mut socket = Self { fd, link, buffer: vec![0; 1 << 17] };
        // Between its making and its binding the socket heard every link.
        while socket.next(Duration::ZERO)?.is_some() {}
        Ok(socket)
    }

    /// The next frame, or `None` if none passes within `patience`.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Frame>> {
        if let Some(frame) = self.take()? {
            return Ok(Some(frame));
        }
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => Ok(None),
            Ok(_) => self.take(),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a frame on the link, from the destination MAC address on, with any tags inside.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        loop {
            match sendto(self.fd.as_raw_fd(), frame, &self.link, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut fds, PollTimeout::from(100u8))?;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("frame of {} bytes", frame.len()));
                }
            }
        }
    }

    fn take(&mut self) -> Result<Option<Frame>> {
        let mut control = cmsg_space!([u8; 64]);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let fd = self.fd.as_raw_fd();
        let received =
            match recvmsg::<LinkAddr>(fd, &mut slices, Some(&mut control), MsgFlags::empty()) {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                // The link went down or away; there is nothing to see, which is not our failure.
                Err(Errno::ENETDOWN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        let outgoing = received.address.is_some_and(|from| from.pkttype() == PACKET_OUTGOING);
        let auxiliary = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Unknown(raw)
                if raw.cmsg_header.cmsg_level == libc::SOL_PACKET
                    && raw.cmsg_header.cmsg_type == libc::PACKET_AUXDATA =>
            {
                Auxiliary::read(&raw.data_bytes)
            }
            _ => None,
        });
        let length = received.bytes;
        let mut bytes = self.buffer[..length].to_vec();
        if let Some((tci, protocol)) = auxiliary.and_then(|auxiliary| auxiliary.tag)
            && bytes.len() >= 12
        {
            let [a, b] = protocol.to_be_bytes();
            let [c, d] = tci.to_be_bytes();
            bytes.splice(12..12, [a, b, c, d]);
        }
        Ok(Some(Frame {
            bytes,
            outgoing,
            time: SystemTime::now(),
            checksum_pending: auxiliary.is_some_and(|auxiliary| auxiliary.checksum_pending),
        }))
    }
}

const PACKET_OUTGOING: u8 = 4;

/// What `struct tpacket_auxdata` (packet(7)) says beside a frame.
#[derive(Clone, Copy)]
struct Auxiliary {
    tag: Option<(u16, u16)>,
    checksum_pending: bool,
}

impl Auxiliary {
    const CHECKSUM_NOT_READY: u32 = 1 << 3;
    const VLAN_VALID: u32 = 1 << 4;
    const VLAN_TPID_VALID: u32 = 1 << 6;

    /// status u32, len u32, snaplen u32, mac u16, net u16, vlan_tci u16, vlan_tpid u16.
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let status = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let protocol = if status & Self::VLAN_TPID_VALID != 0 { word(18)? } else { 0x8100 };
        Some(Self {
            tag: if status & Self::VLAN_VALID != 0 { Some((word(16)?, protocol)) } else { None },
            checksum_pending: status & Self::CHECKSUM_NOT_READY != 0,
        })
    }
}

/// Writes frames as a pcap file (the classic format, microseconds, Ethernet).
pub fn write_pcap<'a>(
    mut file: impl Write,
    frames: impl IntoIterator<Item = &'a Frame>,
) -> Result<()> {
    let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 1 << 18, 1];
    header.iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))?;
    for frame in frames {
        let time = frame.time.duration_since(SystemTime::UNIX_EPOCH)?;
        let length = u32::try_from(frame.bytes.len())?;
        let record = [u32::try_from(time.as_secs())?, time.subsec_micros(), length, length];
        record.iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))?;
        file.write_all(&frame.bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::veth;

    #[test]
    fn a_frame_put_on_one_end_of_a_veth_comes_out_of_the_other_with_its_tags() {
        let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
        b.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        a.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        veth((&a, "x"), (&b, "y")).unwrap();
        let sender = PacketSocket::open(&a, "x").unwrap();
        let mut receiver = PacketSocket::open(&b, "y").unwrap();
        for tags in [&[][..], &[0x81, 0, 0, 7], &[0x88, 0xa8, 0, 7, 0x81, 0, 0x20, 8]] {
            let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
            frame.extend(tags);
            frame.extend([0x88, 0xb5]);
            frame.extend([0x5a; 50]);
            sender.send(&frame).unwrap();
            let seen = receiver.next(crate::wait::PATIENCE).unwrap().unwrap();
            assert_eq!(seen.bytes, frame);
            assert!(!seen.outgoing);
        }
    }
}
