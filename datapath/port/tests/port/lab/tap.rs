//! A tap device, with the test in the place of the VM.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::{inside, ip};

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const OFFLOAD_CHECKSUM_TSO4: libc::c_ulong = 1 | 2;

/// Bytes of `struct virtio_net_hdr`.
pub const VNET_HEADER: usize = 10;

pub struct Tap(File);

impl Tap {
    /// Makes the device, up. With `vnet`, frames have a virtio header in front, and the VM may leave
    /// checksums and segmentation to the host.
    pub fn new(namespace: &str, name: &str, vnet: bool) -> Self {
        let file = inside(namespace, || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .expect("/dev/net/tun");
            let flags = libc::IFF_TAP | libc::IFF_NO_PI | if vnet { libc::IFF_VNET_HDR } else { 0 };
            // SAFETY: a request in full size with a name that ends in zero.
            unsafe {
                let mut request: libc::ifreq = std::mem::zeroed();
                for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                    *to = from as libc::c_char;
                }
                request.ifr_ifru.ifru_flags = flags as libc::c_short;
                assert_eq!(libc::ioctl(file.as_raw_fd(), TUNSETIFF, &request), 0);
                if vnet {
                    let set = libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, OFFLOAD_CHECKSUM_TSO4);
                    assert_eq!(set, 0);
                }
            }
            file
        });
        super::sysctl(namespace, &format!("net.ipv6.conf.{name}.disable_ipv6=1"));
        ip(namespace, &format!("link set {name} up"));
        Self(file)
    }

    pub fn send(&mut self, frame: &[u8]) {
        assert_eq!(self.0.write(frame).expect("the tap takes a frame"), frame.len());
    }

    /// The next frame for which `wanted` holds, or `None` after ten seconds.
    pub fn receive(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut frame = vec![0; 70_000];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.0.read(&mut frame) {
                Ok(len) if wanted(&frame[..len]) => {
                    frame.truncate(len);
                    return Some(frame);
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let mut wait =
                        libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                    // SAFETY: one entry, of a descriptor that is open.
                    unsafe { libc::poll(&mut wait, 1, left.as_millis() as libc::c_int) };
                }
                Err(error) => panic!("tap: {error}"),
            }
        }
        None
    }
}
