//! The maps that both sides of the kernel boundary use: their names, keys, values and sizes.

/// Interfaces that one daemon can have attached at a time.
pub const MAX_INTERFACES: u32 = 65_536;

/// Queues of one device, and so workers, that a daemon can serve.
pub const MAX_QUEUES: u32 = 64;

/// Addresses that end tunnels on this host.
pub const MAX_TUNNEL_ADDRESSES: u32 = 64;

/// Containers nested in one VM, in the programs that stand in for a VM's VLAN devices.
pub const MAX_NESTED: u32 = 4_096;

/// The UDP port of Geneve (ENC-1).
pub const GENEVE_PORT: u16 = 6081;

/// What the workload programs need to know of the trunk.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TrunkConfig {
    /// Index of the near end.
    pub ifindex: u32,
    /// Queues of the trunk.
    pub queues: u32,
}

/// A tag that a container's frames get, and where they go.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct NestedTag {
    /// Index of the VM's NIC.
    pub ifindex: u32,
    /// TPID, host order.
    pub tpid: u16,
    /// TCI, host order.
    pub tci: u16,
}

const _: () = assert!(core::mem::size_of::<TrunkConfig>() == 8);
const _: () = assert!(core::mem::size_of::<NestedTag>() == 8);

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal;)*) => {
        /// What the kernel side counts, by packets.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $doc])* $name,)*
        }

        impl Counter {
            /// All counters, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A short stable label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counters! {
    /// Frames of workloads that went up the trunk.
    FromWorkload = "from-workload";
    /// Frames of an interface whose port the workers do not know yet, or no longer: dropped.
    NotAttached = "not-attached";
    /// Frames with more tags than the trunk carries: dropped.
    TooManyTags = "too-many-tags";
    /// Frames for which the kernel had no room for the private header: dropped.
    NoRoom = "no-room";
    /// Frames of user space that went to a workload.
    ToWorkload = "to-workload";
    /// Frames on the trunk that user space did not write: dropped.
    Foreign = "foreign";
    /// Frames to an interface that is gone: dropped.
    NoTarget = "no-target";
    /// Frames whose private header could not be taken off: dropped.
    NotRestored = "not-restored";
    /// Tunnel packets of the NIC that went to user space.
    FromNic = "from-nic";
    /// Packets of the NIC that the host got.
    Passed = "passed";
}

impl Counter {
    /// Those that count frames which went nowhere.
    pub const LOSSES: &[Self] = &[
        Self::NotAttached,
        Self::TooManyTags,
        Self::NoRoom,
        Self::Foreign,
        Self::NoTarget,
        Self::NotRestored,
    ];
}
