//! What names in an expression mean, which only its user knows.

use ovn_xdp_datapath::classify::SharedSet;

/// Turns names into values, for one datapath. An implementor can record what was asked, to know
/// what the result depends on.
pub trait Resolve {
    /// The tunnel key of a port or multicast group of this datapath (EX-S4). `"none"` never gets
    /// here: it is key 0 (EX-S3).
    fn port(&mut self, name: &str) -> Option<u32>;

    /// The members of an address set for a field of `width` bits; see [`crate::set::AddressSet`],
    /// which does this. Return the same allocation while the set is the same.
    ///
    /// # Errors
    /// If there is no such set, or a member is wider than the field.
    fn address_set(&mut self, name: &str, width: u32) -> Result<SharedSet, SetError>;

    /// The keys of the members of a port group, under the mask of 32 ones (EX-S6).
    fn port_group(&mut self, name: &str) -> Option<SharedSet>;

    /// Whether the port is bound here, or active here if it belongs to a gateway (EX-S5).
    fn is_chassis_resident(&mut self, port: &str) -> bool;
}

/// Why an address set cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError {
    /// There is none of this name.
    Unknown,
    /// A member has more bits than the field (EX-E5).
    TooWide {
        /// Bits of the member.
        bits: u32,
    },
}
