//! A NIC of the underlay: its XDP program, one AF_XDP socket per queue, and what it can do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::xdp::XdpMode;
use ovn_xdp_abi::map::MAX_QUEUES;

use crate::ethtool::{self, Channels};
use crate::namespace::Namespace;
use crate::ports::PortsError;
use crate::program::{Object, ifindex};
use crate::report::{DeviceReport, Role};
use crate::socket::XdpSocket;
use crate::umem::Umem;

/// A NIC in use. Dropping gives it back to the host.
pub(crate) struct Nic {
    device: String,
    home: Arc<Namespace>,
    object: Object,
    mode: XdpMode,
    queues: u32,
    zero_copy: bool,
    mtu: u32,
    driver: String,
    /// After the program, which some drivers want gone before channels change.
    _restore: Option<Restore>,
}

/// The channels of a device before we changed them; dropping puts them back.
struct Restore {
    device: String,
    home: Arc<Namespace>,
    channels: Channels,
}

impl Nic {
    /// Makes the device's sockets; `umems` holds a memory for each worker, and the sockets come back by
    /// worker. Queues are dealt out to workers in turn.
    pub(crate) fn open(
        home: &Arc<Namespace>,
        device: &str,
        queues: Option<u32>,
        umems: &[Arc<Umem>],
        addresses: &[IpAddr],
    ) -> Result<(Self, Vec<Vec<XdpSocket>>), PortsError> {
        home.run(|| {
            let index = ifindex(device).ok_or_else(|| PortsError::NoDevice(device.into()))?;
            let workers = umems.len() as u32;
            let old = ethtool::channels(device);
            let wanted = queues.unwrap_or_else(|| old.receive().clamp(workers, MAX_QUEUES));
            if wanted < workers {
                return Err(PortsError::FewQueues {
                    device: device.into(),
                    queues: wanted,
                    workers,
                });
            }
            let mut restore = None;
            if wanted != old.receive() {
                ethtool::set_channels(device, old.with(wanted)).map_err(|source| {
                    PortsError::Channels { device: device.into(), wanted, most: old.most(), source }
                })?;
                restore =
                    Some(Restore { device: device.into(), home: Arc::clone(home), channels: old });
            }
            let mut nic = Self {
                device: device.into(),
                home: Arc::clone(home),
                object: Object::load()?,
                mode: XdpMode::Driver,
                queues: wanted,
                zero_copy: true,
                mtu: ethtool::mtu(device).unwrap_or(0),
                driver: ethtool::driver(device).unwrap_or_else(|_| "?".into()),
                _restore: restore,
            };
            nic.set_addresses(&[], addresses)?;
            let mut sockets: Vec<Vec<XdpSocket>> = umems.iter().map(|_| Vec::new()).collect();
            for queue in 0..wanted {
                let worker = (queue % workers) as usize;
                let socket = XdpSocket::open(&umems[worker], index, queue).map_err(|source| {
                    PortsError::Socket { device: device.into(), queue, source }
                })?;
                nic.zero_copy &= socket.is_zero_copy();
                nic.object.set_socket("NIC_SOCKETS", queue, &socket)?;
                sockets[worker].push(socket);
            }
            nic.object.verify_xdp("nic")?;
            Ok((nic, sockets))
        })
    }

    /// Takes frames from now on.
    pub(crate) fn attach(&mut self) -> Result<(), PortsError> {
        let Self { home, object, device, mode, .. } = self;
        home.run(|| {
            if let Err(error) = object.attach_xdp("nic", device, XdpMode::Driver) {
                tracing::warn!(device, %error, "no native XDP, taking the generic one");
                object.attach_xdp("nic", device, XdpMode::Skb)?;
                *mode = XdpMode::Skb;
            }
            Ok(())
        })
    }

    /// Replaces the addresses that end tunnels here.
    pub(crate) fn set_addresses(
        &mut self,
        old: &[IpAddr],
        new: &[IpAddr],
    ) -> Result<(), PortsError> {
        for address in new {
            self.object.insert("TUNNEL_ADDRESSES", mapped(*address), 0u32)?;
        }
        for address in old.iter().filter(|address| !new.contains(address)) {
            self.object.remove::<[u8; 16], u32>("TUNNEL_ADDRESSES", mapped(*address));
        }
        Ok(())
    }

    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    pub(crate) fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    pub(crate) fn report(&self) -> DeviceReport {
        DeviceReport {
            device: self.device.clone(),
            role: Role::Nic,
            driver: self.driver.clone(),
            native: self.mode != XdpMode::Skb,
            queues: self.queues,
            zero_copy: self.zero_copy,
            mtu: self.mtu,
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let restored = self.home.run(|| {
            // The kernel lets go of the queues some milliseconds after their sockets are closed.
            let deadline = Instant::now() + Duration::from_secs(1);
            loop {
                match ethtool::set_channels(&self.device, self.channels) {
                    Err(_) if Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    result => return result,
                }
            }
        });
        if let Err(error) = restored {
            tracing::warn!(device = self.device, %error, "its channels stay as they are");
        }
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
