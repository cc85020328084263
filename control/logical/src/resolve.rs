//! What names in an expression mean, which only its user knows.

use ovn_xdp_datapath::classify::{Masked, SharedSet};

/// Turns names into values, for one datapath. An implementor can record what was asked, to know
/// what the result depends on.
pub trait Resolve {
    /// The tunnel key of a port or multicast group of this datapath (EX-S4). `"none"` never gets
    /// here: it is key 0 (EX-S3).
    fn port(&mut self, name: &str) -> Option<u32>;

    /// The address set as compared with fields of `width` bits, whatever its members are now.
    ///
    /// # Errors
    /// If there is no such set, or a member is wider than the field.
    fn address_set(&mut self, name: &str, width: u32) -> Result<SharedSet, SetError>;

    /// Its members now, as [`crate::set::fit`] makes them, for who compares with a part of them.
    ///
    /// # Errors
    /// As of [`Resolve::address_set`].
    fn address_list(&mut self, name: &str, width: u32) -> Result<Vec<Masked>, SetError>;

    /// Whether there is such an address set, and nothing in it now.
    fn has_no_members(&mut self, name: &str) -> bool;

    /// The set of the keys of a port group's members, under the mask of 32 ones (EX-S6).
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
