//! What a verdict changes in a frame, and the change itself.
//!
//! A [`Rewrite`] is the difference between a packet's fields as they came and as they leave. It is
//! made once, on the slow path, and applied to every frame of the verdict; checksums follow by
//! RFC 1624 steps, so a frame whose checksum was wrong stays wrong and is never blessed. Layers
//! that a frame does not have are never written.

use crate::checksum::{Crc32c, Delta};
use crate::field::{self, Context};
use crate::frame::{Frame, VlanHeader};
use crate::parse::{DiscoveryOptions, Layers, Network, ethertype, protocol};
use ovn_xdp_abi::drop::DropReason;

/// Change of the time to live.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TtlChange {
    /// As it came.
    #[default]
    Keep,
    /// Less by this much, which is less than it is.
    Decrement(u8),
    /// This value.
    Set(u8),
}

/// Change of the outermost VLAN tag, after `pop` tags were taken off.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TagChange {
    /// None.
    #[default]
    Keep,
    /// A new 802.1Q tag with this TCI.
    Push(u16),
    /// The TCI of the tag that is there.
    Retag(u16),
}

/// Changes of a frame.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rewrite {
    /// Destination and source MAC address, as on the wire.
    pub link: Option<[u8; 12]>,
    /// Tags to take off the front.
    pub pop: u8,
    /// What then happens to the outermost.
    pub tag: TagChange,
    /// IP source and destination, IPv4 in the low 32 bits.
    pub addresses: Option<(u128, u128)>,
    /// TTL or hop limit.
    pub ttl: TtlChange,
    /// ToS or traffic class: bits to change and their values.
    pub tos: Option<(u8, u8)>,
    /// IPv6 flow label: bits to change and their values.
    pub label: Option<(u32, u32)>,
    /// First two words of the transport header: ports, or ICMP type and code in the first.
    pub ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Fields of ARP, RARP or neighbour discovery; such packets are not cached.
    pub resolution: Option<Box<Resolution>>,
}

/// New values of the fields of address resolution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The ARP body from the operation on: 22 bytes of the wire.
    Arp([u8; 22]),
    /// nd.target, nd.sll, nd.tll; an option that the message lacks is not added.
    Discovery(u128, u64, u64),
}

impl Rewrite {
    /// The difference between `before` (of a frame with `layers`, from which `popped` tags were
    /// taken) and `after`. In the guarded slot the difference is what was `written`, whatever the
    /// value: other frames of the same verdict may differ there.
    pub fn between(
        before: &Context,
        after: &Context,
        layers: &Layers,
        popped: u8,
        ttl: TtlChange,
        written: u128,
    ) -> Self {
        let changed = |slice| before.get(slice) != after.get(slice);
        let mut rewrite = Self { pop: popped, ttl, ..Self::default() };
        if changed(field::ETH_DST) || changed(field::ETH_SRC) {
            let word = (after.slots[6] >> 32).to_be_bytes();
            rewrite.link = word[4..].first_chunk().copied();
        }
        if changed(field::VLAN_TCI) {
            let (old, new) =
                (before.get(field::VLAN_TCI) as u16, after.get(field::VLAN_TCI) as u16);
            match (old & TAGGED != 0, new & TAGGED != 0) {
                (true, true) => rewrite.tag = TagChange::Retag(new),
                (false, true) => rewrite.tag = TagChange::Push(new),
                (true, false) => rewrite.pop += 1,
                (false, false) => {}
            }
        }
        match layers.network {
            Network::V4 | Network::V6 => {
                let mask =
                    if layers.network == Network::V4 { u128::from(u32::MAX) } else { u128::MAX };
                if (before.slots[7] ^ after.slots[7]) & mask != 0
                    || (before.slots[8] ^ after.slots[8]) & mask != 0
                {
                    rewrite.addresses = Some((after.slots[7] & mask, after.slots[8] & mask));
                }
                let tos = TOS.mask() & written;
                if tos != 0 {
                    rewrite.tos = Some(((tos >> 8) as u8, after.get(TOS) as u8));
                }
                let label = field::IP6_LABEL.mask() & written;
                if layers.network == Network::V6 && label != 0 {
                    rewrite.label =
                        Some(((label >> 32) as u32, after.get(field::IP6_LABEL) as u32));
                }
                let number = before.get(field::IP_PROTO) as u8;
                // What a fragment has there was not read.
                let read = layers.transport_at.is_some() && before.get(field::IP_FRAG) == 0;
                if read && changed(TRANSPORT) {
                    if matches!(number, protocol::ICMP | protocol::ICMPV6) {
                        rewrite.icmp = Some((
                            after.get(field::ICMP_TYPE) as u8,
                            after.get(field::ICMP_CODE) as u8,
                        ));
                    } else {
                        rewrite.ports = Some((
                            after.get(field::TP_SRC) as u16,
                            after.get(field::TP_DST) as u16,
                        ));
                    }
                }
                if layers.network == Network::V6
                    && (before.slots[13] != after.slots[13]
                        || changed(field::ND_SLL)
                        || changed(field::ND_TLL))
                {
                    rewrite.resolution = Some(Box::new(Resolution::Discovery(
                        after.get(field::ND_TARGET),
                        after.get(field::ND_SLL) as u64,
                        after.get(field::ND_TLL) as u64,
                    )));
                }
            }
            Network::Arp => {
                rewrite.ttl = TtlChange::Keep;
                if before.slots[9] != after.slots[9] || before.slots[10] != after.slots[10] {
                    rewrite.resolution = Some(Box::new(Resolution::Arp(arp_body(after))));
                }
            }
            Network::None => rewrite.ttl = TtlChange::Keep,
        }
        rewrite
    }

    /// By how many bytes the frame grows, its tag beside it counted.
    pub fn growth(&self) -> isize {
        let push = if matches!(self.tag, TagChange::Push(_)) { 4 } else { 0 };
        push - 4 * isize::from(self.pop)
    }

    /// Changes the frame, whose outermost tag may be beside it in `vlan`, before and after.
    ///
    /// # Errors
    /// [`DropReason::NoBuffer`] if a tag finds no room, [`DropReason::Internal`] if the frame is
    /// not the one that `layers` describe.
    #[inline]
    pub fn apply<F: Frame>(
        &self,
        frame: &mut F,
        layers: &Layers,
        vlan: &mut Option<VlanHeader>,
    ) -> Result<(), DropReason> {
        let delta = match layers.network {
            Network::V4 => self.ipv4(frame.head_mut(), layers),
            Network::V6 => self.ipv6(frame.head_mut(), layers),
            _ => Some(Delta::default()),
        }
        .ok_or(DropReason::Internal)?;
        self.transport(frame, layers, delta).ok_or(DropReason::Internal)?;
        if let Some(resolution) = &self.resolution {
            resolution.apply(frame.head_mut(), layers).ok_or(DropReason::Internal)?;
        }
        if let Some(link) = &self.link {
            frame
                .head_mut()
                .first_chunk_mut()
                .map(|start| *start = *link)
                .ok_or(DropReason::Internal)?;
        }
        for _ in 0..self.pop {
            pop(frame, vlan)?;
        }
        match self.tag {
            TagChange::Keep => {}
            TagChange::Push(tci) => {
                push(frame, vlan, VlanHeader { tpid: ethertype::VLAN, tci: tci & !TAGGED })?
            }
            TagChange::Retag(tci) => match vlan {
                Some(vlan) => vlan.tci = tci & !TAGGED,
                None => {
                    let word = frame.head_mut().get_mut(14..16).ok_or(DropReason::Internal)?;
                    word.copy_from_slice(&(tci & !TAGGED).to_be_bytes());
                }
            },
        }
        Ok(())
    }

    /// Changes only what is at and behind `layers.network_at`, as far as the bytes go: the quoted
    /// packet of an error message.
    pub fn network_headers(&self, bytes: &mut [u8], layers: &Layers) {
        let _ = match layers.network {
            Network::V4 => self.ipv4(bytes, layers),
            Network::V6 => self.ipv6(bytes, layers),
            _ => None,
        };
    }

    /// Writes the IPv4 header; what that does to a checksum over the pseudo header.
    #[inline]
    fn ipv4(&self, head: &mut [u8], layers: &Layers) -> Option<Delta> {
        let header: &mut [u8; 20] =
            head.get_mut(usize::from(layers.network_at)..)?.first_chunk_mut()?;
        let mut addresses = Delta::default();
        let mut others = Delta::default();
        if let Some((source, destination)) = self.addresses {
            let mut new = [0; 8];
            new[..4].copy_from_slice(&(source as u32).to_be_bytes());
            new[4..].copy_from_slice(&(destination as u32).to_be_bytes());
            addresses.bytes(&header[12..20], &new);
            header[12..20].copy_from_slice(&new);
        }
        let before = (
            u16::from_be_bytes([header[0], header[1]]),
            u16::from_be_bytes([header[8], header[9]]),
        );
        self.ttl(&mut header[8]);
        if let Some((mask, value)) = self.tos {
            header[1] = header[1] & !mask | value & mask;
        }
        others.word(before.0, u16::from_be_bytes([header[0], header[1]]));
        others.word(before.1, u16::from_be_bytes([header[8], header[9]]));
        let checksum = u16::from_be_bytes([header[10], header[11]]);
        let changed = self.addresses.is_some()
            || before.0 != u16::from_be_bytes([header[0], header[1]])
            || before.1 != u16::from_be_bytes([header[8], header[9]]);
        if changed {
            let checksum = others.and(addresses).apply(checksum);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(addresses)
    }

    #[inline]
    fn ipv6(&self, head: &mut [u8], layers: &Layers) -> Option<Delta> {
        let header: &mut [u8; 40] =
            head.get_mut(usize::from(layers.network_at)..)?.first_chunk_mut()?;
        let mut addresses = Delta::default();
        if let Some((source, destination)) = self.addresses {
            let mut new = [0; 32];
            new[..16].copy_from_slice(&source.to_be_bytes());
            new[16..].copy_from_slice(&destination.to_be_bytes());
            let covered = if layers.routed { 16 } else { 32 };
            addresses.bytes(&header[8..8 + covered], &new[..covered]);
            header[8..40].copy_from_slice(&new);
        }
        self.ttl(&mut header[7]);
        if let Some((mask, value)) = self.tos {
            header[0] = header[0] & !(mask >> 4) | (value & mask) >> 4;
            header[1] = header[1] & !(mask << 4) | (value & mask) << 4;
        }
        if let Some((mask, value)) = self.label {
            let word = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            header[..4].copy_from_slice(&(word & !mask | value & mask).to_be_bytes());
        }
        Some(addresses)
    }

    #[inline]
    fn ttl(&self, ttl: &mut u8) {
        match self.ttl {
            TtlChange::Keep => {}
            TtlChange::Decrement(by) => *ttl = ttl.saturating_sub(by),
            TtlChange::Set(value) => *ttl = value,
        }
    }

    #[inline]
    fn transport<F: Frame>(&self, frame: &mut F, layers: &Layers, addresses: Delta) -> Option<()> {
        let Some(at) = layers.transport_at else { return Some(()) };
        if self.addresses.is_none() && self.ports.is_none() && self.icmp.is_none() {
            return Some(());
        }
        let at = usize::from(at);
        let number = layers.protocol;
        let header = frame.head_mut().get_mut(at..)?;
        // ICMP over IPv4 alone has no pseudo header.
        let mut delta = if number == protocol::ICMP { Delta::default() } else { addresses };
        if let Some((source, destination)) = self.ports {
            let start: &mut [u8; 4] = header.first_chunk_mut()?;
            let new = (u32::from(source) << 16 | u32::from(destination)).to_be_bytes();
            delta.bytes(start, &new);
            *start = new;
        }
        if let Some((kind, code)) = self.icmp {
            let start: &mut [u8; 2] = header.first_chunk_mut()?;
            delta.bytes(start, &[kind, code]);
            *start = [kind, code];
        }
        let checksum_at = match number {
            protocol::TCP => 16,
            protocol::UDP => 6,
            protocol::ICMPV6 => 2,
            protocol::ICMP if self.icmp.is_some() => 2,
            protocol::SCTP if self.ports.is_some() => return sctp(frame, layers, at),
            _ => return Some(()),
        };
        let field: &mut [u8; 2] = header.get_mut(checksum_at..)?.first_chunk_mut()?;
        let old = u16::from_be_bytes(*field);
        if number == protocol::UDP && old == 0 {
            return Some(());
        }
        let mut new = delta.apply(old);
        if number == protocol::UDP && new == 0 {
            new = 0xffff;
        }
        *field = new.to_be_bytes();
        Some(())
    }
}

impl Resolution {
    fn apply(&self, head: &mut [u8], layers: &Layers) -> Option<()> {
        match self {
            Self::Arp(body) => {
                let at = usize::from(layers.network_at) + 6;
                *head.get_mut(at..)?.first_chunk_mut()? = *body;
            }
            Self::Discovery(target, source, destination) => {
                let at = usize::from(layers.transport_at?);
                let end = head.len().min(layers.end as usize);
                let message = head.get_mut(at..end)?;
                if message.len() < 24 {
                    return Some(());
                }
                let mut delta = Delta::default();
                let target = target.to_be_bytes();
                delta.bytes(&message[8..24], &target);
                message[8..24].copy_from_slice(&target);
                let options: Vec<_> = DiscoveryOptions::new(message).collect();
                for (kind, range) in options {
                    let address = match kind {
                        1 => source,
                        2 => destination,
                        _ => continue,
                    };
                    if range.len() != 8 {
                        continue;
                    }
                    let address = &address.to_be_bytes()[2..];
                    let option = &mut message[range][2..];
                    delta.bytes(option, address);
                    option.copy_from_slice(address);
                }
                let checksum = delta.apply(u16::from_be_bytes([message[2], message[3]]));
                message[2..4].copy_from_slice(&checksum.to_be_bytes());
            }
        }
        Some(())
    }
}

/// Puts a tag in front: beside the frame, after what was there went into it.
///
/// # Errors
/// [`DropReason::NoBuffer`] if there is no room.
pub fn push<F: Frame>(
    frame: &mut F,
    vlan: &mut Option<VlanHeader>,
    tag: VlanHeader,
) -> Result<(), DropReason> {
    into_frame(frame, vlan)?;
    *vlan = Some(tag);
    Ok(())
}

/// Writes a tag that is beside the frame into it.
///
/// # Errors
/// [`DropReason::NoBuffer`] if there is no room.
pub fn into_frame<F: Frame>(
    frame: &mut F,
    vlan: &mut Option<VlanHeader>,
) -> Result<(), DropReason> {
    let Some(tag) = *vlan else { return Ok(()) };
    if !frame.push_front(4) {
        return Err(DropReason::NoBuffer);
    }
    let head = frame.head_mut();
    head.copy_within(4..16, 0);
    head[12..14].copy_from_slice(&tag.tpid.to_be_bytes());
    head[14..16].copy_from_slice(&tag.tci.to_be_bytes());
    *vlan = None;
    Ok(())
}

fn pop<F: Frame>(frame: &mut F, vlan: &mut Option<VlanHeader>) -> Result<(), DropReason> {
    if vlan.take().is_some() {
        return Ok(());
    }
    let head = frame.head_mut();
    if head.len() < 18 {
        return Err(DropReason::Internal);
    }
    head.copy_within(0..12, 4);
    if frame.pull_front(4) { Ok(()) } else { Err(DropReason::Internal) }
}

fn sctp<F: Frame>(frame: &mut F, layers: &Layers, at: usize) -> Option<()> {
    let end = layers.end as usize;
    let len = frame.head().len();
    frame.head_mut().get_mut(at + 8..at + 12)?.fill(0);
    let mut crc = Crc32c::default();
    crc.add(&frame.head()[at..len.min(end)]);
    let mut left = end.saturating_sub(len);
    for piece in frame.rest() {
        let piece = &piece[..piece.len().min(left)];
        crc.add(piece);
        left -= piece.len();
    }
    frame.head_mut().get_mut(at + 8..at + 12)?.copy_from_slice(&crc.finish());
    Some(())
}

fn arp_body(context: &Context) -> [u8; 22] {
    let mut body = [0; 22];
    let mut put = |at: usize, width: usize, value: u128| {
        body[at..at + width].copy_from_slice(&value.to_be_bytes()[16 - width..]);
    };
    put(0, 2, context.get(field::ARP_OP));
    put(2, 6, context.get(field::ARP_SHA));
    put(8, 4, context.get(field::ARP_SPA));
    put(12, 6, context.get(field::ARP_THA));
    put(18, 4, context.get(field::ARP_TPA));
    body
}

const TAGGED: u16 = 1 << 12;
const TOS: field::Slice = field::Slice::new(12, 8, 8);
const TRANSPORT: field::Slice = field::Slice::new(11, 0, 32);
