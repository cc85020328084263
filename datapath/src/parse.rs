//! Reads a frame's headers: the fields of a [`Context`], and where each layer starts.
//!
//! A header that is cut short or impossible reads as zero fields and ends the parse, exactly where
//! Open vSwitch's flow extraction (`miniflow_extract`) ends it: the version of an IP header is not
//! looked at, its lengths are. Such a frame is still switched by what was read. Only a frame
//! without a whole Ethernet header is dropped here. Two VLAN tags are looked through
//! (`vlan-limit=0` means OVS's own maximum, which is two): a third reads as eth.type 0x8100 and
//! nothing behind it (TRAP-5). Nothing panics on any bytes.

use crate::field::{self, Context};
use crate::frame::VlanHeader;
use ovn_xdp_abi::drop::DropReason;

/// The most VLAN tags that are looked through.
pub const MAX_TAGS: u8 = 2;

/// `eth.type` of a frame that has none: 802.3 without SNAP.
pub const ETHERTYPE_NONE: u16 = 0x05ff;

/// Values of eth.type.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// RARP.
    pub const RARP: u16 = 0x8035;
    /// 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad.
    pub const QINQ: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// Values of ip.proto.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// What is behind the fragment header of a later IPv6 fragment, as OVS reports it.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// What is behind the Ethernet header and its tags.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Network {
    /// Nothing that is known, or its header is not whole.
    #[default]
    None,
    /// ARP or RARP over Ethernet and IPv4.
    Arp,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Where the layers of a frame start, bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Layers {
    /// Tags in the data, those beside the frame not counted.
    pub tags: u8,
    /// What is at `network_at`.
    pub network: Network,
    /// Start of the network header.
    pub network_at: u16,
    /// ip.proto, for the sake of checksums.
    pub protocol: u8,
    /// Start of the transport header, if it is whole and not of a later fragment.
    pub transport_at: Option<u16>,
    /// End of the network packet; what follows is Ethernet padding.
    pub end: u32,
    /// An IPv6 routing header names further stops: ip6.dst is not the destination that the
    /// transport's checksum covers (RFC 8200, 8.1).
    pub routed: bool,
}

/// A frame's fields, in the words of a [`Context`] that a verdict is looked up by, and its layers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Parsed {
    /// Slot 6; the TCI is of the outermost tag, beside the frame or in it.
    pub link: u128,
    /// Slot 7.
    pub source: u128,
    /// Slot 8.
    pub destination: u128,
    /// Slot 11.
    pub transport: u128,
    /// Slot 12.
    pub guarded: u128,
    /// TCI of the second tag, bit 12 set if there is one.
    pub second_tci: u16,
    /// Where the layers are.
    pub layers: Layers,
}

impl Parsed {
    /// eth.type.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        (self.link >> 16) as u16
    }

    /// vlan.tci of the outermost tag.
    #[inline]
    pub fn tci(&self) -> u16 {
        self.link as u16
    }

    /// ip.proto.
    #[inline]
    pub fn protocol(&self) -> u8 {
        (self.transport >> 32) as u8
    }

    /// Whether the packet is ARP, RARP, router or neighbour discovery: its meaning is in fields
    /// that are not part of a verdict's key.
    #[inline]
    pub fn is_resolution(&self) -> bool {
        match self.layers.network {
            Network::Arp => true,
            Network::V6 => {
                self.protocol() == protocol::ICMPV6
                    && (130..=143).contains(&((self.transport >> 16) as u8))
            }
            _ => matches!(self.ethertype(), ethertype::ARP | ethertype::RARP),
        }
    }

    /// All fields, also those of ARP and neighbour discovery, which only the slow path needs.
    pub fn context(&self, head: &[u8]) -> Context {
        let mut context = Context::default();
        context.slots[6] = self.link;
        context.slots[7] = self.source;
        context.slots[8] = self.destination;
        context.slots[11] = self.transport;
        context.slots[12] = self.guarded;
        match self.layers.network {
            Network::Arp => arp(head, usize::from(self.layers.network_at), &mut context),
            Network::V6 if self.protocol() == protocol::ICMPV6 => {
                let end = head.len().min(self.layers.end as usize);
                if let Some(at) = self.layers.transport_at {
                    discovery(&head[..end], usize::from(at), &mut context);
                }
            }
            _ => {}
        }
        context
    }
}

/// Parses a frame of `len` bytes of which `head` are contiguous, with the tag that came beside it.
///
/// # Errors
/// [`DropReason::Truncated`] if there is no whole Ethernet header.
#[inline]
pub fn parse(head: &[u8], len: usize, vlan: Option<VlanHeader>) -> Result<Parsed, DropReason> {
    let Some(ethernet) = head.first_chunk::<14>() else { return Err(DropReason::Truncated) };
    let len = len.max(head.len());
    let mut parsed = Parsed::default();
    let mut tags = 0;
    let mut tci = 0;
    if let Some(vlan) = vlan {
        tci = vlan.tci | PRESENT;
        tags = 1;
    }
    let mut at = 12;
    let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    while is_vlan(ethertype) && tags < MAX_TAGS {
        // The tag and the type behind it.
        let Some(tag) = word(head, at + 2).zip(word(head, at + 4)) else { break };
        *(if tags == 0 { &mut tci } else { &mut parsed.second_tci }) = tag.0 | PRESENT;
        ethertype = tag.1;
        tags += 1;
        at += 4;
        parsed.layers.tags += 1;
    }
    at += 2;
    if ethertype < 0x0600 {
        ethertype = ETHERTYPE_NONE;
        if let Some([0xaa, 0xaa, 3, 0, 0, 0, high, low]) =
            head.get(at..).and_then(|llc| llc.first_chunk::<8>())
            && *high >= 6
        {
            ethertype = u16::from_be_bytes([*high, *low]);
            at += 8;
        }
    }
    parsed.link = u128::from(mac(&ethernet[..6])) << 80
        | u128::from(mac(&ethernet[6..12])) << 32
        | u128::from(ethertype) << 16
        | u128::from(tci);
    parsed.layers.network_at = at as u16;
    parsed.layers.end = len as u32;
    match ethertype {
        ethertype::IPV4 => ipv4(head, at, len, &mut parsed),
        ethertype::IPV6 => ipv6(head, at, len, &mut parsed),
        ethertype::ARP | ethertype::RARP => {
            if let Some([0, 1, 8, 0, 6, 4]) = head.get(at..).and_then(|arp| arp.first_chunk::<6>())
                && head.len() >= at + 28
            {
                parsed.layers.network = Network::Arp;
            }
        }
        _ => {}
    }
    Ok(parsed)
}

/// Whether an eth.type announces a VLAN tag.
#[inline]
pub fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::QINQ)
}

const PRESENT: u16 = 1 << 12;

const FRAGMENT: u128 = 1 << 28;
const LATER_FRAGMENT: u128 = 1 << 29;

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

#[inline]
fn mac(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |mac, byte| mac << 8 | u64::from(*byte))
}

fn ipv4(head: &[u8], at: usize, len: usize, parsed: &mut Parsed) {
    let Some(header) = head.get(at..).and_then(|rest| rest.first_chunk::<20>()) else { return };
    let header_len = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let impossible = header_len < 20 || header_len > total || head.len() < at + header_len;
    if impossible || total > len - at {
        return;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    parsed.layers.network = Network::V4;
    parsed.layers.end = (at + total) as u32;
    parsed.source =
        u128::from(u32::from_be_bytes([header[12], header[13], header[14], header[15]]));
    parsed.destination =
        u128::from(u32::from_be_bytes([header[16], header[17], header[18], header[19]]));
    parsed.transport = u128::from(header[9]) << 32;
    parsed.guarded = u128::from(header[8]) | u128::from(header[1]) << 8;
    if fragment & 0x3fff != 0 {
        parsed.guarded |= FRAGMENT;
        if fragment & 0x1fff != 0 {
            parsed.guarded |= LATER_FRAGMENT;
            return;
        }
    }
    transport(head, at + header_len, header[9], parsed);
}

fn ipv6(head: &[u8], at: usize, len: usize, parsed: &mut Parsed) {
    let Some(header) = head.get(at..).and_then(|rest| rest.first_chunk::<40>()) else { return };
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if payload > len - at - 40 {
        return;
    }
    let (source, destination) = header[8..].split_at(16);
    let address = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u128::from(*byte));
    parsed.source = address(source);
    parsed.destination = address(destination);
    parsed.layers.network = Network::V6;
    let end = at + 40 + payload;
    parsed.layers.end = end as u32;
    let head = &head[..head.len().min(end)];
    let mut next = header[6];
    let mut at = at + 40;
    let mut fragment = 0;
    // CT-19: extension headers are skipped to the transport header.
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let Some(extension) = head.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return;
        };
        let length = match next {
            51 => (usize::from(extension[1]) + 2) * 4,
            44 => 8,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        if next == 44 {
            let offset = u16::from_be_bytes([extension[2], extension[3]]);
            fragment |= if offset != 0 { FRAGMENT } else { 0 };
            fragment |= if offset & 0xfff8 != 0 { LATER_FRAGMENT } else { 0 };
        }
        if head.len() < at + length {
            return;
        }
        parsed.layers.routed |= next == 43 && extension[3] != 0;
        next = extension[0];
        at += length;
        if fragment & LATER_FRAGMENT != 0 {
            next = protocol::FRAGMENT;
            break;
        }
    }
    let traffic_class = header[0] << 4 | header[1] >> 4;
    let label = u32::from_be_bytes([0, header[1] & 15, header[2], header[3]]);
    parsed.transport = u128::from(next) << 32;
    parsed.guarded =
        u128::from(header[7]) | u128::from(traffic_class) << 8 | u128::from(label) << 32 | fragment;
    if fragment & LATER_FRAGMENT == 0 {
        transport(head, at, next, parsed);
    }
}

#[inline]
fn transport(head: &[u8], at: usize, number: u8, parsed: &mut Parsed) {
    let end = head.len().min(parsed.layers.end as usize);
    let Some(bytes) = head.get(at..end) else { return };
    let (length, ports) = match (number, parsed.layers.network) {
        (protocol::TCP, _) => (20, true),
        (protocol::UDP, _) => (8, true),
        (protocol::SCTP, _) => (12, true),
        (protocol::ICMP, Network::V4) => (8, false),
        (protocol::ICMPV6, Network::V6) => (8, false),
        _ => return,
    };
    if bytes.len() < length {
        return;
    }
    // Of a fragment, of the first one too, OVS shows its tables no ports (OFPC_FRAG_NORMAL).
    if parsed.guarded & FRAGMENT == 0 {
        parsed.transport |= if ports {
            u128::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        } else {
            u128::from(bytes[0]) << 16 | u128::from(bytes[1])
        };
    }
    if number == protocol::TCP {
        let flags = u16::from_be_bytes([bytes[12], bytes[13]]) & 0x0fff;
        parsed.guarded |= u128::from(flags) << 16;
    }
    parsed.layers.protocol = number;
    parsed.layers.transport_at = Some(at as u16);
}

fn arp(head: &[u8], at: usize, context: &mut Context) {
    let Some(arp) = head.get(at..).and_then(|rest| rest.first_chunk::<28>()) else { return };
    let address = |at: usize| {
        u128::from(u32::from_be_bytes([arp[at], arp[at + 1], arp[at + 2], arp[at + 3]]))
    };
    // OVS keeps the operation in eight bits and reads a larger one as zero.
    context.set(field::ARP_OP, if arp[6] == 0 { u128::from(arp[7]) } else { 0 });
    context.set(field::ARP_SHA, u128::from(mac(&arp[8..14])));
    context.set(field::ARP_SPA, address(14));
    context.set(field::ARP_THA, u128::from(mac(&arp[18..24])));
    context.set(field::ARP_TPA, address(24));
}

/// Fields of a neighbour solicitation or advertisement, of code 0, whose ICMPv6 header starts at
/// `at`; a repeated link-layer address makes all of them zero, as in OVS.
fn discovery(head: &[u8], at: usize, context: &mut Context) {
    let Some(message) = head.get(at..) else { return };
    if !matches!(message.first_chunk::<2>(), Some([135 | 136, 0])) || message.len() < 24 {
        return;
    }
    let target = message[8..24].iter().fold(0, |word, byte| word << 8 | u128::from(*byte));
    let (mut source, mut destination) = (0, 0);
    for (kind, option) in DiscoveryOptions::new(message) {
        let address = match kind {
            1 => &mut source,
            2 => &mut destination,
            _ => continue,
        };
        let found = &message[option];
        if found.len() == 8 {
            if *address != 0 {
                return;
            }
            *address = mac(&found[2..8]);
        }
    }
    context.set(field::ND_TARGET, target);
    context.set(field::ND_SLL, u128::from(source));
    context.set(field::ND_TLL, u128::from(destination));
}

/// The options of a neighbour discovery message: type and range of bytes, up to one that is
/// impossible.
pub struct DiscoveryOptions<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> DiscoveryOptions<'a> {
    /// Of a solicitation or advertisement that starts with its ICMPv6 header.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 24 }
    }
}

impl Iterator for DiscoveryOptions<'_> {
    type Item = (u8, std::ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, length, ..] = self.message.get(self.at..)?.first_chunk::<8>()?;
        let length = usize::from(*length) * 8;
        let option = self.at..self.at + length;
        if length == 0 || option.end > self.message.len() {
            return None;
        }
        self.at = option.end;
        Some((*kind, option))
    }
}
