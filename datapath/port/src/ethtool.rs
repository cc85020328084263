//! What `ethtool` does, for a device of the calling thread's namespace: its driver, its channels, its
//! offloads, and its MTU.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_DRIVER: u32 = 0x03;
const GET_STRINGS: u32 = 0x1b;
const GET_TSO: u32 = 0x1e;
const GET_STRING_COUNT: u32 = 0x37;
const SET_FEATURES: u32 = 0x3b;
const GET_CHANNELS: u32 = 0x3c;
const SET_CHANNELS: u32 = 0x3d;
const STRINGS_OF_FEATURES: u32 = 4;
const STRING: usize = 32;

/// How many receive and transmit queues a device has, and may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Channels([u32; 9]);

impl Channels {
    const MAX_RX: usize = 1;
    const MAX_COMBINED: usize = 4;
    const RX: usize = 5;
    const TX: usize = 6;
    const COMBINED: usize = 8;

    pub(crate) fn receive(&self) -> u32 {
        (self.0[Self::RX] + self.0[Self::COMBINED]).max(1)
    }

    pub(crate) fn most(&self) -> u32 {
        self.0[Self::MAX_RX].max(self.0[Self::MAX_COMBINED]).max(1)
    }

    /// The same device with `queues` queues.
    pub(crate) fn with(mut self, queues: u32) -> Self {
        if self.0[Self::MAX_COMBINED] >= queues {
            self.0[Self::COMBINED] = queues;
        } else {
            self.0[Self::RX] = queues;
            self.0[Self::TX] = queues;
        }
        self
    }
}

/// The driver's name.
pub(crate) fn driver(device: &str) -> io::Result<String> {
    // struct ethtool_drvinfo, of 196 bytes: the name is the first string.
    let mut words = [0u32; 49];
    words[0] = GET_DRIVER;
    call(device, SIOCETHTOOL, &mut words)?;
    let bytes: Vec<u8> = words[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(text(&bytes))
}

/// The device's channels. A driver that does not say has one queue.
pub(crate) fn channels(device: &str) -> Channels {
    let mut words = [0; 9];
    words[0] = GET_CHANNELS;
    match call(device, SIOCETHTOOL, &mut words) {
        Ok(()) => Channels(words),
        Err(_) => Channels::default(),
    }
}

/// Changes the device's channels.
pub(crate) fn set_channels(device: &str, channels: Channels) -> io::Result<()> {
    let mut words = channels.0;
    words[0] = SET_CHANNELS;
    call(device, SIOCETHTOOL, &mut words)
}

/// Turns off every feature of the device that `unwanted` says yes to by its name, and that can be.
pub(crate) fn disable_features(device: &str, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let mut count = [GET_STRING_COUNT, 0, 1 << STRINGS_OF_FEATURES, 0, 0];
    call(device, SIOCETHTOOL, &mut count)?;
    let count = count[4] as usize;
    let mut names = vec![0u32; 3 + count * STRING / 4];
    names[..3].copy_from_slice(&[GET_STRINGS, STRINGS_OF_FEATURES, count as u32]);
    call(device, SIOCETHTOOL, &mut names)?;
    let names: Vec<u8> = names[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();

    let blocks = count.div_ceil(32);
    let mut set = vec![0u32; 2 + blocks * 2];
    set[..2].copy_from_slice(&[SET_FEATURES, blocks as u32]);
    for (bit, name) in names.chunks(STRING).enumerate() {
        if unwanted(&text(name)) {
            set[2 + bit / 32 * 2] |= 1 << (bit % 32);
        }
    }
    call(device, SIOCETHTOOL, &mut set)
}

/// Whether the device takes TCP that is not cut into segments yet.
pub(crate) fn takes_unsegmented(device: &str) -> io::Result<bool> {
    let mut words = [GET_TSO, 0];
    call(device, SIOCETHTOOL, &mut words)?;
    Ok(words[1] != 0)
}

/// The MTU.
pub(crate) fn mtu(device: &str) -> io::Result<u32> {
    let mut request = request(device)?;
    ioctl(libc::SIOCGIFMTU as libc::Ioctl, &mut request)?;
    // SAFETY: the call filled this variant.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn request(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: zero is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// `words` is the structure that the command in its first word asks for, in full size.
fn call(device: &str, number: libc::Ioctl, words: &mut [u32]) -> io::Result<()> {
    let mut request = request(device)?;
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    ioctl(number, &mut request)
}

fn ioctl(number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the request is in place, and what it points to is as large as its command says.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from_raw_fd(fd);
        if libc::ioctl(fd.as_raw_fd(), number, std::ptr::from_mut(request)) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
