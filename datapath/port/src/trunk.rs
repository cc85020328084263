//! The trunk: one veth pair between tcx and AF_XDP, for all workloads of the daemon.
//!
//! The near end is where the workloads are, so that tcx can redirect to it; its offloads are off, so
//! what workloads left to hardware, checksums and segmentation, is done before a frame crosses. Back to
//! workloads it carries only what does not fit their device (`crate::handover` has the rest). The
//! far end is alone in a namespace without a name: no host stack, no other daemon sees it, and both
//! ends vanish when the process does.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::programs::xdp::XdpMode;
use ovn_xdp_abi::map::TrunkConfig;

use crate::ethtool;
use crate::namespace::Namespace;
use crate::netlink::{self, VethPair};
use crate::ports::PortsError;
use crate::program::{Object, Plain, ifindex};
use crate::socket::XdpSocket;
use crate::umem::Umem;

/// The trunk's own MTU, which counts the tenant's Ethernet header but not the private one.
pub(crate) const TRUNK_MTU: u32 = 9_600;

/// The largest MTU of a workload whose frames fit through the trunk.
pub(crate) const MAX_WORKLOAD_MTU: u32 = TRUNK_MTU - 14;

const FAR: &str = "trunk";

/// Both ends. Dropping removes them.
pub(crate) struct Trunk {
    near: String,
    ifindex: u32,
    home: Arc<Namespace>,
    far: Namespace,
    far_ifindex: u32,
}

impl Trunk {
    /// Makes the pair in namespace `home`, replaces one that an earlier run of the same `system_id`
    /// left behind, and attaches the programs of `object`.
    pub(crate) fn open(
        home: &Arc<Namespace>,
        system_id: &str,
        queues: u32,
        object: &mut Object,
    ) -> Result<Self, PortsError> {
        let near = name(system_id);
        let failed = |what| {
            let device = near.clone();
            move |source: io::Error| PortsError::Trunk { device, what, source }
        };
        let far = Namespace::anonymous().map_err(failed("making a network namespace"))?;
        let (index, far_index) = home.run::<_, PortsError>(|| {
            if let Some(old) = ifindex(&near) {
                tracing::info!(device = near, "removing the trunk that an earlier run left");
                match netlink::delete(old) {
                    Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                        return Err(failed("removing the old one")(error));
                    }
                    _ => {}
                }
            }
            netlink::create_veth(&VethPair {
                near: &near,
                far: FAR,
                far_namespace: far.as_fd(),
                queues,
                mtu: TRUNK_MTU,
                alias: "ovn-xdp: workloads to user space",
            })
            .map_err(failed("making the veth pair"))?;
            let index = ifindex(&near)
                .ok_or_else(|| failed("finding it")(io::ErrorKind::NotFound.into()))?;
            let far_index = far
                .run(|| ifindex(FAR).ok_or_else(|| io::ErrorKind::NotFound.into()))
                .map_err(failed("finding its far end"))?;
            Ok((index, far_index))
        })?;
        // From here on dropping cleans up.
        let trunk =
            Self { near, ifindex: index, home: Arc::clone(home), far, far_ifindex: far_index };
        trunk.home.run(|| trunk.prepare_near(queues, object))?;
        trunk.far.run(|| trunk.prepare_far(object))?;
        Ok(trunk)
    }

    fn prepare_near(&self, queues: u32, object: &mut Object) -> Result<(), PortsError> {
        let failed = |what| move |source| self.error(what, source);
        // Nothing may be left to "hardware" behind this device.
        ethtool::disable_features(&self.near, |feature| {
            feature.starts_with("tx-checksum")
                || feature.starts_with("tx-vlan")
                || feature.starts_with("tx-gso")
                || (feature.starts_with("tx-") && feature.ends_with("segmentation"))
                || feature == "tx-udp-segmentation"
                || feature == "tx-esp-segmentation"
        })
        .map_err(failed("turning its offloads off"))?;
        object.set("TRUNK", 0, Plain(TrunkConfig { ifindex: self.ifindex, queues }))?;
        object.verify_tcx("deliver")?;
        object.attach_tcx("deliver", &self.near)?;
        object.verify_xdp("lower")?;
        object.attach_xdp("lower", &self.near, XdpMode::Driver)?;
        netlink::set_up_quietly(self.ifindex).map_err(failed("setting it up"))
    }

    fn prepare_far(&self, object: &mut Object) -> Result<(), PortsError> {
        object.verify_xdp("trunk")?;
        object.attach_xdp("trunk", FAR, XdpMode::Driver)?;
        netlink::set_up_quietly(self.far_ifindex)
            .map_err(|source| self.error("setting its far end up", source))
    }

    /// The AF_XDP socket of one queue.
    pub(crate) fn socket(
        &self,
        umem: &Arc<Umem>,
        queue: u32,
        object: &mut Object,
    ) -> Result<XdpSocket, PortsError> {
        let socket =
            self.far.run::<_, PortsError>(|| {
                XdpSocket::open(umem, self.far_ifindex, queue).map_err(|source| {
                    PortsError::Socket { device: self.near.clone(), queue, source }
                })
            })?;
        object.set_socket("TRUNK_SOCKETS", queue, &socket)?;
        Ok(socket)
    }

    /// Name of the near end.
    pub(crate) fn device(&self) -> &str {
        &self.near
    }

    fn error(&self, what: &'static str, source: io::Error) -> PortsError {
        PortsError::Trunk { device: self.near.clone(), what, source }
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        let removed = self.home.run(|| netlink::delete(self.ifindex));
        if let Err(error) = removed {
            tracing::warn!(device = self.near, %error, "the trunk could not be removed");
        }
    }
}

/// The near end's name: the same for one system-id at every start, and short enough for a device.
fn name(system_id: &str) -> String {
    // FNV-1a, 32 bits.
    let hash = system_id
        .bytes()
        .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("ovxt-{hash:08x}")
}
