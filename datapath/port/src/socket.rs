//! An AF_XDP socket: one queue of one device, with its four rings, over a worker's memory.
//!
//! Own code rather than the `xdp` crate: frames in several segments need `XDP_USE_SG`, which that
//! crate cannot ask for, and a worker's memory shared by its sockets, which it cannot express.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ring::{Consumer, Producer};
use crate::umem::{CHUNK, Umem};

/// Entries of each ring.
pub(crate) const RING: u32 = 2048;

/// `XDP_MAX_TX_SKB_BUDGET`, of Linux 6.17: how many frames one system call sends in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Which call for an AF_XDP socket failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}{}", advice(source))]
pub struct SocketError {
    call: &'static str,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            " (the frames' memory counts against `ulimit -l` unless the process has CAP_IPC_LOCK)"
        }
        Some(libc::EPERM) => " (needs CAP_NET_RAW and CAP_NET_ADMIN)",
        Some(libc::EBUSY) => " (another process has an AF_XDP socket on this queue)",
        Some(libc::EAFNOSUPPORT) => " (the kernel was built without CONFIG_XDP_SOCKETS)",
        _ => "",
    }
}

fn check(call: &'static str, result: libc::c_int) -> Result<(), SocketError> {
    if result == 0 {
        return Ok(());
    }
    Err(SocketError { call, source: io::Error::last_os_error() })
}

/// A bound socket.
pub(crate) struct XdpSocket {
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) receive: Consumer<libc::xdp_desc>,
    pub(crate) transmit: Producer<libc::xdp_desc>,
    fd: OwnedFd,
    zero_copy: bool,
    // Last: the kernel lets go of the pages when the descriptor above is closed.
    umem: Arc<Umem>,
}

impl XdpSocket {
    /// Opens a socket on `queue` of device `ifindex` of the calling thread's namespace: without
    /// copies if the driver can, with them otherwise.
    pub(crate) fn open(umem: &Arc<Umem>, ifindex: u32, queue: u32) -> Result<Self, SocketError> {
        if let Ok(socket) = Self::bind(umem, ifindex, queue, libc::XDP_ZEROCOPY) {
            return Ok(socket);
        }
        // A queue is free again only some milliseconds after its last socket was closed.
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            match Self::bind(umem, ifindex, queue, libc::XDP_COPY) {
                Err(error)
                    if error.source.raw_os_error() == Some(libc::EBUSY)
                        && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                result => return result,
            }
        }
    }

    fn bind(umem: &Arc<Umem>, ifindex: u32, queue: u32, mode: u16) -> Result<Self, SocketError> {
        // SAFETY: no pointers; the descriptor is new, and owned from here on.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                check("socket(AF_XDP)", -1)?;
            }
            OwnedFd::from_raw_fd(fd)
        };
        let register = libc::xdp_umem_reg_v1 {
            addr: umem.address(),
            len: umem.size(),
            chunk_size: CHUNK,
            headroom: 0,
        };
        set_option(&fd, libc::SOL_XDP, libc::XDP_UMEM_REG, "XDP_UMEM_REG", &register)?;
        for (option, name) in [
            (libc::XDP_UMEM_FILL_RING, "XDP_UMEM_FILL_RING"),
            (libc::XDP_UMEM_COMPLETION_RING, "XDP_UMEM_COMPLETION_RING"),
            (libc::XDP_RX_RING, "XDP_RX_RING"),
            (libc::XDP_TX_RING, "XDP_TX_RING"),
        ] {
            set_option(&fd, libc::SOL_XDP, option, name, &RING)?;
        }
        // Both are for speed only, and an older kernel or a lesser capability does without.
        let _ = set_option(&fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, "budget", &RING);
        let room: libc::c_int = 16 << 20;
        let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, "SO_SNDBUFFORCE", &room);

        let offsets = mmap_offsets(&fd)?;
        let mapped = |source| SocketError { call: "mmap of a ring", source };
        let at = fd.as_fd();
        let fill_page = libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t;
        let completion_page = libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t;
        let fill = Producer::map(at, fill_page, &offsets.fr, RING).map_err(mapped)?;
        let completion = Consumer::map(at, completion_page, &offsets.cr, RING).map_err(mapped)?;
        let receive =
            Consumer::map(at, libc::XDP_PGOFF_RX_RING, &offsets.rx, RING).map_err(mapped)?;
        let transmit =
            Producer::map(at, libc::XDP_PGOFF_TX_RING, &offsets.tx, RING).map_err(mapped)?;

        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: mode | libc::XDP_USE_NEED_WAKEUP | libc::XDP_USE_SG,
            sxdp_ifindex: ifindex,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: an address of the size that is told.
        let bound = unsafe {
            let size = size_of_val(&address) as libc::socklen_t;
            libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size)
        };
        check("bind", bound)?;
        let zero_copy = mode == libc::XDP_ZEROCOPY;
        Ok(Self { fill, completion, receive, transmit, fd, zero_copy, umem: Arc::clone(umem) })
    }

    /// Whether frames move without a copy.
    pub(crate) fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// The memory that the socket's frames are in.
    pub(crate) fn umem(&self) -> &Arc<Umem> {
        &self.umem
    }

    /// Has the kernel send what is in the transmit ring. True if there is more to do: in copy mode
    /// the kernel sends a limited number of frames at a time.
    pub(crate) fn wake_transmit(&self) -> bool {
        // SAFETY: no buffer is passed.
        let result = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::sendto(self.fd.as_raw_fd(), std::ptr::null(), 0, flags, std::ptr::null(), 0)
        };
        result < 0
            && matches!(
                io::Error::last_os_error().raw_os_error(),
                Some(libc::EAGAIN | libc::EBUSY | libc::EINTR | libc::ENOBUFS)
            )
    }

    /// Has a driver without copies take up the fill ring.
    pub(crate) fn wake_receive(&self) {
        // SAFETY: no buffer is passed. Whatever it answers, the next batch tries again.
        unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
    }

    /// What the kernel counted for this socket.
    pub(crate) fn kernel_statistics(&self) -> Option<libc::xdp_statistics> {
        // SAFETY: zero is a value of it, and the kernel writes at most the size it is told.
        unsafe {
            let mut statistics: libc::xdp_statistics = std::mem::zeroed();
            let mut size = size_of_val(&statistics) as libc::socklen_t;
            let result = libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_STATISTICS,
                (&raw mut statistics).cast(),
                &mut size,
            );
            (result == 0).then_some(statistics)
        }
    }
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_option<T>(
    fd: &OwnedFd,
    level: libc::c_int,
    option: libc::c_int,
    name: &'static str,
    value: &T,
) -> Result<(), SocketError> {
    // SAFETY: a value of the size that is told, read during the call only.
    let result = unsafe {
        let size = size_of::<T>() as libc::socklen_t;
        libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size)
    };
    check(name, result)
}

fn mmap_offsets(fd: &OwnedFd) -> Result<libc::xdp_mmap_offsets, SocketError> {
    // SAFETY: zero is a value of it, and the kernel writes at most the size it is told.
    unsafe {
        let mut offsets: libc::xdp_mmap_offsets = std::mem::zeroed();
        let mut size = size_of_val(&offsets) as libc::socklen_t;
        let result = libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &mut size,
        );
        check("XDP_MMAP_OFFSETS", result)?;
        Ok(offsets)
    }
}
