//! The private header of the trunk: fourteen bytes in front of every frame between tcx and AF_XDP.
//!
//! It looks like an Ethernet header of IPv4 to the kernel, so that GSO frames are still cut behind it;
//! what stands where the addresses would be is ours. All numbers are big-endian.

/// Bytes of the header.
pub const TRUNK_HEADER: usize = 14;

/// Marks a header written by the kernel side, for user space.
pub const FROM_WORKLOAD: u16 = 0xa500;

/// Marks a header written by user space, for the kernel side. It has no tags: they are in the frame.
pub const TO_WORKLOAD: u16 = 0x5a00;

/// The part of [`TrunkHeader::shape`] that marks the direction.
pub const DIRECTION: u16 = 0xff00;

/// VLAN tags that fit; a frame with more is dropped by the kernel side.
pub const MAX_TAGS: usize = 3;

/// The ethertype that stands at the header's end.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// 802.1Q.
pub const TPID_8021Q: u16 = 0x8100;

/// 802.1ad.
pub const TPID_8021AD: u16 = 0x88a8;

/// The header as it lies in memory, on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct TrunkHeader {
    /// The interface's number, upper half.
    pub interface_high: u16,
    /// The interface's number, lower half.
    pub interface_low: u16,
    /// Priority, DEI and VLAN identifier of the outermost tag.
    pub outer: u16,
    /// The same of the second tag.
    pub second: u16,
    /// The same of the third tag.
    pub third: u16,
    /// Direction, number of tags (two low bits), and from bit 4 on, outermost first, whether each
    /// is 802.1ad.
    pub shape: u16,
    /// Always [`ETHERTYPE_IPV4`].
    pub ethertype: u16,
}

const _: () = assert!(core::mem::size_of::<TrunkHeader>() == TRUNK_HEADER);

impl TrunkHeader {
    /// A header without tags.
    #[inline(always)]
    pub const fn new(interface: u32, direction: u16) -> Self {
        Self {
            interface_high: ((interface >> 16) as u16).to_be(),
            interface_low: (interface as u16).to_be(),
            outer: 0,
            second: 0,
            third: 0,
            shape: direction.to_be(),
            ethertype: ETHERTYPE_IPV4.to_be(),
        }
    }

    /// The interface that the frame came from or goes to.
    #[inline(always)]
    pub const fn interface(self) -> u32 {
        ((u16::from_be(self.interface_high) as u32) << 16) | u16::from_be(self.interface_low) as u32
    }

    /// Whether this is a header of the trunk, in this direction.
    #[inline(always)]
    pub const fn is(self, direction: u16) -> bool {
        u16::from_be(self.shape) & DIRECTION == direction
            && self.ethertype == ETHERTYPE_IPV4.to_be()
    }

    /// How many tags it carries, at most [`MAX_TAGS`].
    #[inline(always)]
    pub const fn tags(self) -> usize {
        (u16::from_be(self.shape) & 3) as usize
    }

    /// Tag `index`, outermost first, as TPID and TCI. Meaningless at or past [`Self::tags`].
    #[inline(always)]
    pub const fn tag(self, index: usize) -> (u16, u16) {
        let tci = match index {
            0 => self.outer,
            1 => self.second,
            _ => self.third,
        };
        let is_ad = u16::from_be(self.shape) & (0x10 << index) != 0;
        (if is_ad { TPID_8021AD } else { TPID_8021Q }, u16::from_be(tci))
    }

    /// The header with one more tag behind those it has; `None` if it is full.
    #[inline(always)]
    pub const fn with_tag(mut self, tpid: u16, tci: u16) -> Option<Self> {
        let tags = self.tags();
        match tags {
            0 => self.outer = tci.to_be(),
            1 => self.second = tci.to_be(),
            2 => self.third = tci.to_be(),
            _ => return None,
        }
        let mut shape = u16::from_be(self.shape) + 1;
        if tpid == TPID_8021AD {
            shape |= 0x10 << tags;
        }
        self.shape = shape.to_be();
        Some(self)
    }

    /// The header's bytes.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; TRUNK_HEADER] {
        let [a, b] = self.interface_high.to_ne_bytes();
        let [c, d] = self.interface_low.to_ne_bytes();
        let [e, f] = self.outer.to_ne_bytes();
        let [g, h] = self.second.to_ne_bytes();
        let [i, j] = self.third.to_ne_bytes();
        let [k, l] = self.shape.to_ne_bytes();
        let [m, n] = self.ethertype.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }

    /// The header in these bytes.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; TRUNK_HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = bytes;
        Self {
            interface_high: u16::from_ne_bytes([a, b]),
            interface_low: u16::from_ne_bytes([c, d]),
            outer: u16::from_ne_bytes([e, f]),
            second: u16::from_ne_bytes([g, h]),
            third: u16::from_ne_bytes([i, j]),
            shape: u16::from_ne_bytes([k, l]),
            ethertype: u16::from_ne_bytes([m, n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_its_interface_and_up_to_three_tags() {
        let header = TrunkHeader::new(0xdead_beef, FROM_WORKLOAD)
            .with_tag(TPID_8021AD, 0x2001)
            .and_then(|h| h.with_tag(TPID_8021Q, 0x0fff))
            .and_then(|h| h.with_tag(TPID_8021AD, 7))
            .unwrap();
        let header = TrunkHeader::from_bytes(header.to_bytes());
        assert!(header.is(FROM_WORKLOAD) && !header.is(TO_WORKLOAD));
        assert_eq!(header.interface(), 0xdead_beef);
        assert_eq!(header.tags(), 3);
        assert_eq!(header.tag(0), (TPID_8021AD, 0x2001));
        assert_eq!(header.tag(1), (TPID_8021Q, 0x0fff));
        assert_eq!(header.tag(2), (TPID_8021AD, 7));
        assert_eq!(header.with_tag(TPID_8021Q, 1), None);
        assert_eq!(&header.to_bytes()[..4], &[0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(&header.to_bytes()[12..], &[0x08, 0x00]);
    }
}
