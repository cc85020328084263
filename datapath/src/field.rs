//! Where each field of a packet, register or piece of metadata lives.
//!
//! A packet under way in the logical pipelines is [`SLOTS`] words of 128 bits, its *context*. A
//! field is a [`Slice`] of one word, so that a subfield, a masked match, a move or an exchange is a
//! shift and a mask, and the overlapping registers of OVN (reg0 in xreg0 in xxreg0) overlap by
//! construction. A field never spans two words.
//!
//! Fields that can never be valid together share bits where OpenFlow lets them share a name:
//! `ip4.src` is the low 32 bits of `ip6.src`, `icmp4.type` and `icmp6.type` are the transport source
//! port. The prerequisites that the language adds (FLD-*) keep them apart.

use std::fmt;

/// Words of 128 bits in a context.
pub const SLOTS: usize = 17;

/// A run of `width` bits in one word, `shift` bits above its least significant end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    slot: u8,
    shift: u8,
    width: u8,
}

impl Slice {
    /// A slice of `width` bits (1..=128) starting at bit `shift` of word `slot`.
    ///
    /// # Panics
    /// At compile time of a constant, or when called, if the slice leaves its word.
    pub const fn new(slot: u8, shift: u8, width: u8) -> Self {
        assert!((slot as usize) < SLOTS && width >= 1 && shift as u32 + width as u32 <= 128);
        Self { slot, shift, width }
    }

    /// Bits `low..=high` of this slice, or `None` if it is narrower than that.
    pub const fn bits(self, low: u8, high: u8) -> Option<Self> {
        if low <= high && high < self.width {
            Some(Self { slot: self.slot, shift: self.shift + low, width: high - low + 1 })
        } else {
            None
        }
    }

    /// Index of the word.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Bits below this slice in its word.
    pub const fn shift(self) -> u32 {
        self.shift as u32
    }

    /// Number of bits, 1..=128.
    pub const fn width(self) -> u32 {
        self.width as u32
    }

    /// The largest value this slice holds: `width` ones.
    pub const fn ones(self) -> u128 {
        u128::MAX >> (128 - self.width as u32)
    }

    /// The bits of this slice within its word.
    pub const fn mask(self) -> u128 {
        self.ones() << self.shift
    }

    /// Whether the two slices have a bit in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.slot == other.slot && self.mask() & other.mask() != 0
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}[{}..{}]", self.slot, self.shift, self.shift + self.width - 1)
    }
}

/// The fields of a packet under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// The words; use [`Context::get`] and [`Context::set`] unless a whole word is meant.
    pub slots: [u128; SLOTS],
}

impl Default for Context {
    fn default() -> Self {
        Self { slots: [0; SLOTS] }
    }
}

impl Context {
    /// The value of `field`, right-aligned.
    #[inline]
    pub fn get(&self, field: Slice) -> u128 {
        (self.slots[field.slot()] >> field.shift) & field.ones()
    }

    /// Sets `field` to the low bits of `value`.
    #[inline]
    pub fn set(&mut self, field: Slice, value: u128) {
        let word = &mut self.slots[field.slot()];
        *word = (*word & !field.mask()) | ((value & field.ones()) << field.shift);
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $slot:literal, $shift:literal, $width:literal;)*) => {
        $($(#[$doc])* pub const $name: Slice = Slice::new($slot, $shift, $width);)*
    };
}

// Slots 0 to 3: registers and metadata.
fields! {
    /// xxreg0; reg0 is its most significant quarter, reg3 its least (FLD-05..08).
    XXREG0 = 0, 0, 128;
    /// xxreg1: reg4 to reg7.
    XXREG1 = 1, 0, 128;
    /// xreg4: reg8 above reg9 (FLD-09).
    XREG4 = 2, 64, 64;
    /// Logical flags, reg10 (FLD-10..16).
    FLAGS = 2, 32, 32;
    /// pkt.mark (FLD-49).
    PKT_MARK = 2, 0, 32;
    /// inport as its tunnel key, reg14 (FLD-01).
    INPORT = 3, 96, 32;
    /// outport as its tunnel key, reg15.
    OUTPORT = 3, 64, 32;
    /// Conntrack zones of the datapath (EX-R3): DNAT, reg11.
    DNAT_ZONE = 3, 48, 16;
    /// SNAT zone, reg12.
    SNAT_ZONE = 3, 32, 16;
    /// Conntrack zone of the port, reg13 (EX-R4).
    PORT_ZONE = 3, 16, 16;
    /// Queue of `set_queue` (ACT-43).
    QUEUE = 3, 0, 16;
}

/// `reg0` to `reg9` (FLD-08, FLD-09).
///
/// # Panics
/// If `n` is above 9.
pub const fn reg(n: u8) -> Slice {
    match n {
        0..=3 => Slice::new(0, 96 - 32 * n, 32),
        4..=7 => Slice::new(1, 96 - 32 * (n - 4), 32),
        8 => Slice::new(2, 96, 32),
        9 => Slice::new(2, 64, 32),
        _ => panic!("there are ten registers, reg0 to reg9"),
    }
}

/// `xreg0` to `xreg4` (FLD-06, FLD-07).
///
/// # Panics
/// If `n` is above 4.
pub const fn xreg(n: u8) -> Slice {
    match n {
        0 | 2 => Slice::new(n / 2, 64, 64),
        1 | 3 => Slice::new(n / 2, 0, 64),
        4 => XREG4,
        _ => panic!("there are five double registers, xreg0 to xreg4"),
    }
}

// Slots 4, 5, 15, 16: connection tracking.
fields! {
    /// ct_state (FLD-22).
    CT_STATE = 4, 96, 32;
    /// ct_mark (FLD-17).
    CT_MARK = 4, 64, 32;
    /// Protocol of the connection's original tuple (FLD-51).
    CT_PROTO = 4, 32, 8;
    /// Source port of the original tuple.
    CT_TP_SRC = 4, 16, 16;
    /// Destination port of the original tuple.
    CT_TP_DST = 4, 0, 16;
    /// ct_label (FLD-19).
    CT_LABEL = 5, 0, 128;
    /// Source of the original tuple; IPv4 in the low 32 bits.
    CT_IP_SRC = 15, 0, 128;
    /// Destination of the original tuple; IPv4 in the low 32 bits.
    CT_IP_DST = 16, 0, 128;
}

// Slot 6: link layer.
fields! {
    /// eth.dst (FLD-25).
    ETH_DST = 6, 80, 48;
    /// eth.src.
    ETH_SRC = 6, 32, 48;
    /// eth.type, behind every VLAN header that the parser skipped (FLD-26, TRAP-5).
    ETH_TYPE = 6, 16, 16;
    /// vlan.tci of the outermost tag, bit 12 set if there is one (FLD-28).
    VLAN_TCI = 6, 0, 16;
}

// Slots 7 and 8: network addresses.
fields! {
    /// ip6.src (FLD-38).
    IP6_SRC = 7, 0, 128;
    /// ip4.src (FLD-34).
    IP4_SRC = 7, 0, 32;
    /// ip6.dst.
    IP6_DST = 8, 0, 128;
    /// ip4.dst.
    IP4_DST = 8, 0, 32;
}

// Slots 9 and 10: ARP and RARP (FLD-42, FLD-43).
fields! {
    /// arp.op.
    ARP_OP = 9, 64, 16;
    /// arp.spa.
    ARP_SPA = 9, 32, 32;
    /// arp.tpa.
    ARP_TPA = 9, 0, 32;
    /// arp.sha.
    ARP_SHA = 10, 48, 48;
    /// arp.tha.
    ARP_THA = 10, 0, 48;
}

// Slot 11: what of the transport is part of a connection's key.
fields! {
    /// ip.proto; for IPv6 the protocol behind the extension headers (FLD-31, CT-19).
    IP_PROTO = 11, 32, 8;
    /// Transport source port (FLD-47, FLD-48).
    TP_SRC = 11, 16, 16;
    /// Transport destination port.
    TP_DST = 11, 0, 16;
    /// icmp4.type and icmp6.type (FLD-36, FLD-40).
    ICMP_TYPE = 11, 16, 8;
    /// icmp4.code and icmp6.code.
    ICMP_CODE = 11, 0, 8;
}

// Slot 12: what of a packet may change within a connection. A verdict guards the bits it consulted.
fields! {
    /// ip.ttl, the hop limit of IPv6 (FLD-32).
    IP_TTL = 12, 0, 8;
    /// ip.ecn.
    IP_ECN = 12, 8, 2;
    /// ip.dscp.
    IP_DSCP = 12, 10, 6;
    /// tcp.flags (FLD-47).
    TCP_FLAGS = 12, 16, 12;
    /// ip.frag: bit 0 any fragment, bit 1 not the first (FLD-33).
    IP_FRAG = 12, 28, 2;
    /// ip6.label.
    IP6_LABEL = 12, 32, 20;
}

/// The word whose bits a verdict guards instead of keying on.
pub const GUARDED_SLOT: usize = 12;

// Slots 13 and 14: neighbour discovery, and fields that exist only in OVN's error messages.
fields! {
    /// nd.target (FLD-45).
    ND_TARGET = 13, 0, 128;
    /// nd.sll.
    ND_SLL = 14, 48, 48;
    /// nd.tll.
    ND_TLL = 14, 0, 48;
    /// icmp4.frag_mtu and icmp6.frag_mtu (FLD-50), write-only.
    ICMP_FRAG_MTU = 14, 96, 32;
}

/// Bits of [`FLAGS`] that the physical layer sets or reads (FLD-11..16).
pub mod flag {
    /// flags.loopback: may leave where it came in.
    pub const LOOPBACK: u32 = 1 << 0;
    /// Came from a nested container: may leave on the interface it came in on.
    pub const NESTED_CONTAINER: u32 = 1 << 5;
    /// Must not leave this chassis.
    pub const LOCAL_ONLY: u32 = 1 << 4;
    /// Came from a localport.
    pub const LOCALPORT: u32 = 1 << 10;
    /// flags.localnet: came from a localnet port.
    pub const LOCALNET: u32 = 1 << 15;
    /// flags.tunnel_rx: came over a tunnel.
    pub const TUNNEL_RX: u32 = 1 << 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_overlap_as_ovn_lays_them_out() {
        let mut context = Context::default();
        context.set(reg(0), 0x11111111);
        context.set(reg(3), 0x44444444);
        context.set(reg(4), 0x55555555);
        context.set(reg(9), 0x99999999);
        assert_eq!(context.get(XXREG0), 0x11111111_00000000_00000000_44444444);
        assert_eq!(context.get(xreg(0)), 0x11111111_00000000);
        assert_eq!(context.get(xreg(1)), 0x44444444);
        assert_eq!(context.get(xreg(2)), 0x55555555_00000000);
        assert_eq!(context.get(XREG4), 0x99999999);
        assert_eq!(context.get(FLAGS), 0);
    }

    #[test]
    fn a_slice_of_a_slice_is_counted_from_its_own_low_end() {
        let vid = VLAN_TCI.bits(0, 11).unwrap();
        let mut context = Context::default();
        context.set(VLAN_TCI, 0xf123);
        assert_eq!(context.get(vid), 0x123);
        context.set(vid, 0xfff);
        assert_eq!(context.get(VLAN_TCI), 0xffff);
        assert_eq!(vid.bits(4, 11).unwrap().width(), 8);
        assert_eq!(vid.bits(0, 12), None);
    }
}
