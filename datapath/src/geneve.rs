//! Geneve as OVN speaks it (RFC 8926; ENC-1 to ENC-3, ENC-7, ENC-13 to ENC-15).
//!
//! One VNI for the datapath and one critical option for the two port keys. The outer header of a
//! tunnel is built once into an [`Outer`]; for each frame only lengths, ToS and checksums are
//! filled in.

use crate::checksum::{Sum, internet, pseudo_header};
use crate::frame::Frame;
use crate::key::{DatapathKey, PortKey};
use crate::parse::{Parsed, ethertype, protocol};
use crate::publish::{Link, Mac, Tunnel};
use crate::rewrite::Rewrite;
use ovn_xdp_abi::drop::DropReason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// UDP destination port (ENC-4).
pub const PORT: u16 = 6081;

/// Bytes between the outer IP header and the inner frame: UDP, Geneve, OVN's option.
const SHIM: usize = 8 + 8 + 8;

/// OVN's option: class, type with the critical bit, words (ENC-2).
const OPTION: [u8; 4] = [0x01, 0x02, 0x80, 1];

/// The outer headers of one verdict, ready to be put in front of frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outer {
    bytes: [u8; 14 + 40 + SHIM],
    len: u8,
    csum: bool,
    tos: Option<u8>,
    /// Over the IPv4 header, without what differs from frame to frame.
    ip_sum: Sum,
    /// Over the pseudo header, UDP and Geneve, without the source port and the lengths.
    udp_sum: Sum,
    /// NIC to send by.
    pub nic: u16,
    /// The longest inner frame, bytes with its Ethernet header, that fits the path.
    pub max_frame: usize,
}

impl Outer {
    /// Headers to the other end of `tunnel` by `link`, for packets of `datapath` from `inport` (0
    /// for none) to `outport`.
    ///
    /// # Errors
    /// [`DropReason::Internal`] if the tunnel's addresses are of different families.
    pub fn new(
        tunnel: &Tunnel,
        link: &Link,
        datapath: DatapathKey,
        inport: u16,
        outport: PortKey,
    ) -> Result<Self, DropReason> {
        let mut bytes = [0; 14 + 40 + SHIM];
        bytes[..6].copy_from_slice(&link.destination);
        bytes[6..12].copy_from_slice(&link.source);
        let udp_at = match (tunnel.local, tunnel.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                bytes[12..14].copy_from_slice(&ethertype::IPV4.to_be_bytes());
                let header = &mut bytes[14..34];
                header[0] = 0x45;
                header[6] = if tunnel.df { 0x40 } else { 0 };
                header[8] = 64;
                header[9] = protocol::UDP;
                header[12..16].copy_from_slice(&local.octets());
                header[16..20].copy_from_slice(&remote.octets());
                34
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                bytes[12..14].copy_from_slice(&ethertype::IPV6.to_be_bytes());
                let header = &mut bytes[14..54];
                header[0] = 0x60;
                header[6] = protocol::UDP;
                header[7] = 64;
                header[8..24].copy_from_slice(&local.octets());
                header[24..40].copy_from_slice(&remote.octets());
                54
            }
            _ => return Err(DropReason::Internal),
        };
        let shim = &mut bytes[udp_at..udp_at + SHIM];
        shim[2..4].copy_from_slice(&PORT.to_be_bytes());
        shim[8] = 2;
        shim[9] = CRITICAL;
        shim[10..12].copy_from_slice(&ETHERNET.to_be_bytes());
        shim[12..16].copy_from_slice(&(datapath.get() << 8).to_be_bytes());
        shim[16..20].copy_from_slice(&OPTION);
        shim[20..22].copy_from_slice(&(inport & 0x7fff).to_be_bytes());
        shim[22..24].copy_from_slice(&outport.get().to_be_bytes());
        let len = udp_at + SHIM;
        let mut ip_sum = Sum::default();
        ip_sum.add(&bytes[14..34]);
        let addresses = if udp_at == 34 { &bytes[26..34] } else { &bytes[22..54] };
        let mut udp_sum = pseudo_header(addresses, &[], protocol::UDP, 0);
        udp_sum.add(&bytes[udp_at..len]);
        Ok(Self {
            bytes,
            ip_sum,
            udp_sum,
            len: len as u8,
            csum: tunnel.csum || tunnel.remote.is_ipv6(),
            tos: tunnel.tos,
            nic: link.nic,
            max_frame: usize::from(link.mtu).saturating_sub(len - 14),
        })
    }

    /// All but what differs from frame to frame.
    pub fn headers(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// MAC address of the next hop.
    pub fn next_hop(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.bytes;
        [a, b, c, d, e, f]
    }

    /// Our end and the other end of the tunnel.
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        fn pair<const N: usize>(bytes: &[u8]) -> ([u8; N], [u8; N]) {
            let (mut local, mut remote) = ([0; N], [0; N]);
            local.copy_from_slice(&bytes[..N]);
            remote.copy_from_slice(&bytes[N..2 * N]);
            (local, remote)
        }
        match usize::from(self.len) - SHIM {
            34 => {
                let (local, remote) = pair::<4>(&self.bytes[26..34]);
                (Ipv4Addr::from(local).into(), Ipv4Addr::from(remote).into())
            }
            _ => {
                let (local, remote) = pair::<16>(&self.bytes[22..54]);
                (Ipv6Addr::from(local).into(), Ipv6Addr::from(remote).into())
            }
        }
    }

    /// Puts the headers in front of a frame; `tos` is of its IP header, if it has one, `source_port`
    /// of UDP (RFC 8926, 3.3).
    ///
    /// # Errors
    /// [`DropReason::TooBig`] if the frame does not fit the path, [`DropReason::NoBuffer`] if it
    /// has no room in front.
    #[inline]
    pub fn encapsulate<F: Frame>(
        &self,
        frame: &mut F,
        tos: Option<u8>,
        source_port: u16,
    ) -> Result<(), DropReason> {
        let payload = frame.len();
        if payload > self.max_frame {
            return Err(DropReason::TooBig);
        }
        let len = usize::from(self.len);
        if !frame.push_front(len) {
            return Err(DropReason::NoBuffer);
        }
        let tos = outer_tos(self.tos, tos);
        let head = frame.head_mut();
        head[..len].copy_from_slice(&self.bytes[..len]);
        let udp_at = len - SHIM;
        let udp_len = (SHIM + payload) as u16;
        head[udp_at..udp_at + 2].copy_from_slice(&source_port.to_be_bytes());
        head[udp_at + 4..udp_at + 6].copy_from_slice(&udp_len.to_be_bytes());
        if udp_at == 34 {
            head[15] = tos;
            head[16..18].copy_from_slice(&(20 + udp_len).to_be_bytes());
            let mut sum = self.ip_sum;
            sum.add_word(u16::from(tos));
            sum.add_word(20 + udp_len);
            head[24..26].copy_from_slice(&sum.finish().to_be_bytes());
        } else {
            head[14] |= tos >> 4;
            head[15] |= tos << 4;
            head[18..20].copy_from_slice(&udp_len.to_be_bytes());
        }
        if self.csum {
            let mut sum = self.udp_sum;
            // Once in the pseudo header, once in UDP's own.
            sum.add_word(udp_len);
            sum.add_word(udp_len);
            sum.add_word(source_port);
            sum.add(&frame.head()[len..]);
            frame.rest().for_each(|piece| sum.add(piece));
            let checksum = match sum.finish() {
                0 => 0xffff,
                checksum => checksum,
            };
            frame.head_mut()[udp_at + 6..udp_at + 8].copy_from_slice(&checksum.to_be_bytes());
        }
        Ok(())
    }
}

/// What the outer headers of a received frame say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Bytes in front of the inner frame.
    pub header_len: usize,
    /// Bytes of the inner frame; what follows it is padding of the outer.
    pub payload_len: usize,
    /// Where it came from.
    pub remote: IpAddr,
    /// VNI; zero is no datapath.
    pub vni: u32,
    /// Ingress port key; zero if the sender gave none.
    pub inport: u16,
    /// Egress port or group key.
    pub outport: PortKey,
    /// The outer header carries the congestion mark (ECN CE).
    pub congestion: bool,
}

/// Reads and verifies the outer headers of a frame from a NIC.
///
/// # Errors
/// `Truncated` or `Malformed` for impossible lengths and values, `BadChecksum`, `TunnelControl`,
/// `UnknownOption`, `BadTunnelKey`.
pub fn decapsulate<F: Frame>(frame: &F) -> Result<Arrival, DropReason> {
    let head = frame.head();
    let ethernet = head.first_chunk::<14>().ok_or(DropReason::Truncated)?;
    let (udp_at, ip_end, remote, tos) = match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        ethertype::IPV4 => {
            let header = head[14..].first_chunk::<20>().ok_or(DropReason::Truncated)?;
            let header_len = usize::from(header[0] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
            if header[0] >> 4 != 4 || header_len < 20 || fragment || header[9] != protocol::UDP {
                return Err(DropReason::Malformed);
            }
            let whole = head.get(14..14 + header_len).ok_or(DropReason::Truncated)?;
            if total < header_len + 8 {
                return Err(DropReason::Malformed);
            }
            if internet(whole) != 0 {
                return Err(DropReason::BadChecksum);
            }
            let remote = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
            (14 + header_len, 14 + total, IpAddr::V4(remote), header[1])
        }
        ethertype::IPV6 => {
            let header = head[14..].first_chunk::<40>().ok_or(DropReason::Truncated)?;
            if header[0] >> 4 != 6 || header[6] != protocol::UDP {
                return Err(DropReason::Malformed);
            }
            let mut remote = [0; 16];
            remote.copy_from_slice(&header[8..24]);
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let tos = header[0] << 4 | header[1] >> 4;
            (54, 54 + length, IpAddr::V6(Ipv6Addr::from(remote)), tos)
        }
        _ => return Err(DropReason::Malformed),
    };
    if ip_end > frame.len() {
        return Err(DropReason::Truncated);
    }
    let udp = head.get(udp_at..).and_then(|udp| udp.first_chunk::<16>());
    let udp = udp.ok_or(DropReason::Truncated)?;
    let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if udp_len < 16 || udp_at + udp_len > ip_end || u16::from_be_bytes([udp[2], udp[3]]) != PORT {
        return Err(DropReason::Malformed);
    }
    let absent = udp[6..8] == [0, 0];
    if absent && remote.is_ipv6() || !absent && udp_checksum(frame, udp_at, udp_len).finish() != 0 {
        return Err(DropReason::BadChecksum);
    }
    if udp[8] >> 6 != 0 || u16::from_be_bytes([udp[10], udp[11]]) != ETHERNET {
        return Err(DropReason::Malformed);
    }
    let options_len = usize::from(udp[8] & 0x3f) * 4;
    let header_len = udp_at + 16 + options_len;
    if udp_len < 16 + options_len {
        return Err(DropReason::Malformed);
    }
    let options = head.get(udp_at + 16..header_len).ok_or(DropReason::Truncated)?;
    if udp[9] & CONTROL != 0 {
        return Err(DropReason::TunnelControl);
    }
    let keys = keys(options)?.ok_or(DropReason::BadTunnelKey)?;
    Ok(Arrival {
        header_len,
        payload_len: udp_at + udp_len - header_len,
        remote,
        vni: u32::from_be_bytes([0, udp[12], udp[13], udp[14]]),
        inport: (keys >> 16) as u16 & 0x7fff,
        outport: PortKey::new(keys as u16).ok_or(DropReason::BadTunnelKey)?,
        congestion: tos & 3 == 3,
    })
}

/// The source port of a flow: of the range that OVS uses, by the flow's hash.
pub fn source_port(hash: u64) -> u16 {
    const FIRST: u64 = 32768;
    const END: u64 = 61000;
    (FIRST + (hash ^ hash >> 32) % (END - FIRST)) as u16
}

const ETHERNET: u16 = 0x6558;
const CONTROL: u8 = 0x80;
const CRITICAL: u8 = 0x40;

/// OVN's option among others; the reserved top bit of its word is not looked at.
fn keys(mut options: &[u8]) -> Result<Option<u32>, DropReason> {
    let mut keys = None;
    while let Some((header, rest)) = options.split_first_chunk::<4>() {
        let length = usize::from(header[3] & 0x1f) * 4;
        let (data, rest) = rest.split_at_checked(length).ok_or(DropReason::Malformed)?;
        if header[..3] == OPTION[..3] {
            let word = data.try_into().map_err(|_| DropReason::BadTunnelKey)?;
            if keys.replace(u32::from_be_bytes(word)).is_some() {
                return Err(DropReason::BadTunnelKey);
            }
        } else if header[2] & 0x80 != 0 {
            return Err(DropReason::UnknownOption);
        }
        options = rest;
    }
    Ok(keys)
}

/// ENC-15: DSCP given or inherited; ECN always inherited, the congestion mark as ECT(0) as OVS does.
fn outer_tos(given: Option<u8>, inner: Option<u8>) -> u8 {
    let inner = inner.unwrap_or(0);
    let ecn = if inner & 3 == 3 { 2 } else { inner & 3 };
    given.map_or(inner & 0xfc, |tos| tos & 0xfc) | ecn
}

#[inline]
fn udp_checksum<F: Frame>(frame: &F, udp_at: usize, udp_len: usize) -> Sum {
    let head = frame.head();
    // Addresses stand right in front of UDP, but for IPv4 options.
    let addresses = if head[14] >> 4 == 4 { &head[26..34] } else { &head[22..54] };
    let mut sum = pseudo_header(addresses, &[], protocol::UDP, udp_len);
    let end = udp_at + udp_len;
    sum.add(&head[udp_at..head.len().min(end)]);
    let mut left = end.saturating_sub(head.len());
    for piece in frame.rest() {
        let piece = &piece[..piece.len().min(left)];
        sum.add(piece);
        left -= piece.len();
    }
    sum
}

/// Marks the inner packet of a tunnel packet that met congestion (RFC 6040, 4.2).
///
/// # Errors
/// [`DropReason::Ecn`] if the inner packet's sender does not know of such marks.
pub fn mark_congestion(head: &mut [u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    match parsed.guarded >> 8 & 3 {
        0 => return Err(DropReason::Ecn),
        3 => return Ok(()),
        _ => parsed.guarded |= 3 << 8,
    }
    let mark = Rewrite { tos: Some((3, 3)), ..Rewrite::default() };
    mark.network_headers(head, &parsed.layers);
    Ok(())
}
