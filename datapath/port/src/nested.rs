//! Containers nested in a VM, for kernels without the `8021q` module: what a VLAN device would do in
//! the VM, done by two small tcx programs there. Tests and demos use it; a hypervisor does not.
//!
//! ```text
//!   container ─veth─ [push tag] ──► VM's NIC ──► hypervisor
//!   container ─veth─ ◄── [pop tag] VM's NIC ◄── hypervisor
//! ```

use std::collections::HashMap;

use aya::programs::tc::SchedClassifierLinkId;
use ovn_xdp_abi::map::NestedTag;
use ovn_xdp_datapath::frame::VlanHeader;

use crate::program::{BpfError, Object, Plain, ifindex};

/// What can go wrong when a container is nested.
#[derive(Debug, thiserror::Error)]
pub enum NestedError {
    /// There is no device of this name in the thread's network namespace.
    #[error("no device {0:?} in this network namespace")]
    NoDevice(String),
    /// The tag is in use in this VM.
    #[error("VLAN {0} of this VM belongs to another container")]
    TagInUse(u16),
    /// eBPF.
    #[error(transparent)]
    Bpf(#[from] BpfError),
}

/// The containers behind one NIC of a VM. Ends with the value: tags are no longer pushed or popped.
pub struct Nested {
    object: Object,
    nic: u32,
    containers: HashMap<u32, (SchedClassifierLinkId, u32)>,
}

impl Nested {
    /// Starts on the VM's NIC `nic`. The calling thread must be in the VM's network namespace, here
    /// and in [`Nested::add`].
    pub fn attach(nic: &str) -> Result<Self, NestedError> {
        let index = ifindex(nic).ok_or_else(|| NestedError::NoDevice(nic.into()))?;
        let mut object = Object::load()?;
        object.verify_tcx("nested_in")?;
        object.verify_tcx("nested_out")?;
        object.attach_tcx("nested_in", nic)?;
        Ok(Self { object, nic: index, containers: HashMap::new() })
    }

    /// Gives the container behind `veth`, the VM's end of its veth pair, the tag `tag`.
    pub fn add(&mut self, veth: &str, tag: VlanHeader) -> Result<(), NestedError> {
        let index = ifindex(veth).ok_or_else(|| NestedError::NoDevice(veth.into()))?;
        let key = key(tag);
        if self.containers.contains_key(&key) {
            return Err(NestedError::TagInUse(tag.tci & 0xfff));
        }
        let value = NestedTag { ifindex: self.nic, tpid: tag.tpid, tci: tag.tci };
        self.object.insert("NESTED_TAGS", index, Plain(value))?;
        self.object.insert("NESTED_PORTS", key, index)?;
        let link = self.object.attach_tcx("nested_out", veth)?;
        self.containers.insert(key, (link, index));
        Ok(())
    }

    /// Takes the container with this tag away, if there is one.
    pub fn remove(&mut self, tag: VlanHeader) {
        if let Some((link, index)) = self.containers.remove(&key(tag)) {
            self.object.detach_tcx("nested_out", link);
            self.object.remove::<u32, u32>("NESTED_PORTS", key(tag));
            self.object.remove::<u32, Plain<NestedTag>>("NESTED_TAGS", index);
        }
    }
}

fn key(tag: VlanHeader) -> u32 {
    u32::from(tag.tpid) << 16 | u32::from(tag.tci & 0xfff)
}
