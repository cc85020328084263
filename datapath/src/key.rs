//! Numbers that mean something, as types that cannot be built wrong or mixed up.

use std::fmt;

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name($repr);

        impl $name {
            /// The key, or `None` if `value` is outside the range of this kind of key.
            pub const fn new(value: $repr) -> Option<Self> {
                let range = $range;
                if value >= range.0 && value <= range.1 { Some(Self(value)) } else { None }
            }

            /// The number itself.
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

key!(
    /// `Datapath_Binding.tunnel_key`: a logical switch or router, 1..2^24-1, the Geneve VNI (ENC-1).
    DatapathKey, u32, (1, 0xff_ffff)
);
key!(
    /// `Port_Binding.tunnel_key` (1..32767) or `Multicast_Group.tunnel_key` (32768..65535).
    PortKey, u16, (1, 0xffff)
);
key!(
    /// A VLAN identifier, 0..4095 (0 is a priority tag).
    VlanId, u16, (0, 4095)
);
key!(
    /// A conntrack zone, 1..65535 (CTZ-2).
    Zone, u16, (1, 0xffff)
);

impl PortKey {
    /// Whether this key is of a multicast group rather than of a port (ENC-3).
    pub const fn is_multicast(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// An attachment of this host that carries frames of workloads, numbered by us and never reused
/// while the daemon runs: a tap or veth, not its name, which may come back as another device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceId(pub u32);

/// Index of a tunnel in [`crate::publish::Generation::tunnels`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TunnelId(pub u32);

/// UUID of the row that a rule came from (`Logical_Flow._uuid`), for counters, traces and drops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FlowId(pub u128);
