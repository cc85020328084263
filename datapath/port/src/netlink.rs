//! The few requests of rtnetlink(7) that the trunk needs: a veth pair, made, set up and removed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const VETH_INFO_PEER: u16 = 1;

/// Bytes of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// A veth pair that no host stack talks on: no addresses, no ARP, all queues and an MTU on both ends.
pub(crate) struct VethPair<'a> {
    pub near: &'a str,
    pub far: &'a str,
    /// Where the far end goes; the near end is made in the calling thread's namespace.
    pub far_namespace: BorrowedFd<'a>,
    pub queues: u32,
    pub mtu: u32,
    pub alias: &'a str,
}

/// Makes a pair, both ends down.
pub(crate) fn create_veth(pair: &VethPair<'_>) -> io::Result<()> {
    let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL);
    message.ifinfo(0, libc::IFF_NOARP as u32);
    quiet_end(&mut message, pair.near, pair);
    message.bytes(IFLA_IFALIAS, pair.alias.as_bytes());
    message.nested(IFLA_LINKINFO, |message| {
        message.bytes(IFLA_INFO_KIND, b"veth");
        message.nested(IFLA_INFO_DATA, |message| {
            message.nested(VETH_INFO_PEER, |message| {
                message.ifinfo(0, libc::IFF_NOARP as u32);
                quiet_end(message, pair.far, pair);
                let fd = pair.far_namespace.as_raw_fd() as u32;
                message.bytes(IFLA_NET_NS_FD, &fd.to_ne_bytes());
            });
        });
    });
    message.request()
}

fn quiet_end(message: &mut Message, name: &str, pair: &VethPair<'_>) {
    message.string(IFLA_IFNAME, name);
    message.bytes(IFLA_MTU, &pair.mtu.to_ne_bytes());
    message.bytes(IFLA_NUM_TX_QUEUES, &pair.queues.to_ne_bytes());
    message.bytes(IFLA_NUM_RX_QUEUES, &pair.queues.to_ne_bytes());
}

/// Sets a device up, without ARP and without addresses that make themselves.
pub(crate) fn set_up_quietly(ifindex: u32) -> io::Result<()> {
    // A kernel without IPv6 has no such mode, and nothing to be quiet about.
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    message.ifinfo(ifindex, 0);
    message.nested(IFLA_AF_SPEC, |message| {
        message.nested(libc::AF_INET6 as u16, |message| {
            message.bytes(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]);
        });
    });
    if let Err(error) = message.request() {
        tracing::debug!(%error, ifindex, "no IPv6 address mode to set");
    }
    let mut message = Message::new(libc::RTM_NEWLINK, 0);
    message.ifinfo(ifindex, libc::IFF_NOARP as u32 | libc::IFF_UP as u32);
    message.request()
}

/// Removes a device.
pub(crate) fn delete(ifindex: u32) -> io::Result<()> {
    let mut message = Message::new(libc::RTM_DELLINK, 0);
    message.ifinfo(ifindex, 0);
    message.request()
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: libc::c_int) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self(bytes)
    }

    /// `struct ifinfomsg`; the flags given are set, and no others changed.
    fn ifinfo(&mut self, ifindex: u32, flags: u32) {
        let mut info = [0; IFINFO];
        info[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        info[8..12].copy_from_slice(&flags.to_ne_bytes());
        info[12..16].copy_from_slice(&flags.to_ne_bytes());
        self.0.extend_from_slice(&info);
    }

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.align();
    }

    fn string(&mut self, kind: u16, value: &str) {
        let mut text = value.as_bytes().to_vec();
        text.push(0);
        self.bytes(kind, &text);
    }

    fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        content(self);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.align();
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Sends it and waits for the answer.
    fn request(mut self) -> io::Result<()> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        let mut answer = [0u8; 4096];
        // SAFETY: buffers of the sizes that are told; the descriptor is new, and owned from here on.
        let received = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            if libc::send(fd.as_raw_fd(), self.0.as_ptr().cast(), self.0.len(), 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::recv(fd.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let code = answer[..received as usize].get(HEADER..HEADER + 4);
        match code.and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
