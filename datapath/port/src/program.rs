//! The eBPF object: loaded, verified and attached, with errors that name the device and the way out.
//!
//! Nothing is pinned: programs, links and maps belong to file descriptors of this process, and the
//! kernel takes them away with it, however it ends. bpffs is therefore not needed.

use std::borrow::BorrowMut;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::xdp::{XdpLinkId, XdpMode};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use ovn_xdp_abi::map::{Counter, NestedTag, TrunkConfig};

use crate::socket::XdpSocket;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ovn-xdp-prog"));

/// What can go wrong with eBPF programs and their maps.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The object was refused.
    #[error(
        "the eBPF object could not be loaded: {0}; it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (or root), and a memlock limit large enough on kernels that charge maps to it"
    )]
    Load(#[source] Box<EbpfError>),
    /// A program or map that the object should have is not in it.
    #[error("the eBPF object has no {0:?}; was it built from this version's sources?")]
    Missing(&'static str),
    /// The verifier refused a program.
    #[error("eBPF program {program:?} was refused by the kernel: {source}")]
    Verify {
        /// The program.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A program could not be attached to a device.
    #[error("eBPF program {program:?} could not be attached to {device}: {source}")]
    Attach {
        /// The program.
        program: &'static str,
        /// The device's name.
        device: String,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A map refused an entry.
    #[error("eBPF map {map:?}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: Box<MapError>,
    },
}

// Plain numbers without padding, and any bytes are a value of them: what aya asks of `Pod`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub T);

// SAFETY: repr(C), 8 bytes, sizes of the fields add up (asserted in the abi crate), all integers.
unsafe impl Pod for Plain<TrunkConfig> {}
// SAFETY: as above.
unsafe impl Pod for Plain<NestedTag> {}

/// An instance of the object, with maps of its own.
pub(crate) struct Object(Ebpf);

impl Object {
    pub(crate) fn load() -> Result<Self, BpfError> {
        let ebpf = EbpfLoader::new().load(OBJECT).map_err(|e| BpfError::Load(Box::new(e)))?;
        Ok(Self(ebpf))
    }

    /// Loads tcx program `program`; to be done once.
    pub(crate) fn verify_tcx(&mut self, program: &'static str) -> Result<(), BpfError> {
        let classifier: &mut SchedClassifier = self.program(program)?;
        classifier.load().map_err(|e| BpfError::Verify { program, source: Box::new(e) })
    }

    /// Loads XDP program `program`; to be done once.
    pub(crate) fn verify_xdp(&mut self, program: &'static str) -> Result<(), BpfError> {
        let xdp: &mut Xdp = self.program(program)?;
        xdp.load().map_err(|e| BpfError::Verify { program, source: Box::new(e) })
    }

    /// Attaches at tcx ingress of `device`, in the thread's network namespace, before any other.
    pub(crate) fn attach_tcx(
        &mut self,
        program: &'static str,
        device: &str,
    ) -> Result<SchedClassifierLinkId, BpfError> {
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        self.program::<SchedClassifier>(program)?
            .attach_with_options(device, TcAttachType::Ingress, options)
            .map_err(|e| BpfError::Attach { program, device: device.into(), source: Box::new(e) })
    }

    pub(crate) fn detach_tcx(&mut self, program: &'static str, link: SchedClassifierLinkId) {
        // The link is gone already if its device is.
        if let Ok(classifier) = self.program::<SchedClassifier>(program) {
            let _ = classifier.detach(link);
        }
    }

    pub(crate) fn attach_xdp(
        &mut self,
        program: &'static str,
        device: &str,
        mode: XdpMode,
    ) -> Result<XdpLinkId, BpfError> {
        self.program::<Xdp>(program)?.attach(device, mode).map_err(|e| BpfError::Attach {
            program,
            device: device.into(),
            source: Box::new(e),
        })
    }

    fn program<'a, P>(&'a mut self, program: &'static str) -> Result<&'a mut P, BpfError>
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program>,
    {
        self.0
            .program_mut(program)
            .and_then(|p| p.try_into().ok())
            .ok_or(BpfError::Missing(program))
    }

    /// The map `map`, as what it is.
    pub(crate) fn map<'a, M>(&'a mut self, map: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let found = self.0.map_mut(map).ok_or(BpfError::Missing(map))?;
        M::try_from(found).map_err(|e| BpfError::Map { map, source: Box::new(e) })
    }

    pub(crate) fn insert<K: Pod, V: Pod>(
        &mut self,
        map: &'static str,
        key: K,
        value: V,
    ) -> Result<(), BpfError> {
        self.map::<HashMap<&mut MapData, K, V>>(map)?
            .insert(key, value, 0)
            .map_err(|e| BpfError::Map { map, source: Box::new(e) })
    }

    /// Removes an entry; it need not be there.
    pub(crate) fn remove<K: Pod, V: Pod>(&mut self, map: &'static str, key: K) {
        if let Ok(mut map) = self.map::<HashMap<&mut MapData, K, V>>(map) {
            let _ = map.borrow_mut().remove(&key);
        }
    }

    pub(crate) fn set<V: Pod>(
        &mut self,
        map: &'static str,
        index: u32,
        value: V,
    ) -> Result<(), BpfError> {
        self.map::<Array<&mut MapData, V>>(map)?
            .set(index, value, 0)
            .map_err(|e| BpfError::Map { map, source: Box::new(e) })
    }
}

impl Object {
    pub(crate) fn set_socket(
        &mut self,
        map: &'static str,
        queue: u32,
        socket: &XdpSocket,
    ) -> Result<(), BpfError> {
        self.map::<XskMap<&mut MapData>>(map)?
            .set(queue, socket.as_fd().as_raw_fd(), 0)
            .map_err(|e| BpfError::Map { map, source: Box::new(e) })
    }

    /// A counter, summed over the CPUs.
    pub(crate) fn counter(&mut self, counter: Counter) -> Result<u64, BpfError> {
        let map = "COUNTERS";
        let values = self
            .map::<PerCpuArray<&mut MapData, u64>>(map)?
            .get(&(counter as u32), 0)
            .map_err(|e| BpfError::Map { map, source: Box::new(e) })?;
        Ok(values.iter().sum())
    }
}

/// Index of the device of this name in the thread's network namespace.
pub(crate) fn ifindex(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a string that ends in zero, read during the call only.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}
