//! Geneve (RFC 8926, section 3.4) as a reader of captures needs it, and OVN's one option (ENC-2).
//!
//! Written apart from the datapath's own code, so that the two can disagree.

use anyhow::{Context, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// The UDP port of Geneve.
pub const PORT: u16 = 6081;
/// The class of OVN's option.
pub const OVN_CLASS: u16 = 0x0102;
/// The type of OVN's option, with the critical bit.
pub const OVN_TYPE: u8 = 0x80;

/// One option of a Geneve header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneveOption {
    /// Who defines the types.
    pub class: u16,
    /// The type; its top bit says that a receiver must know it.
    pub kind: u8,
    /// A multiple of four bytes.
    pub data: Vec<u8>,
}

/// A Geneve packet, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geneve {
    /// Version, 0.
    pub version: u8,
    /// The control bit (O).
    pub control: bool,
    /// Some option is critical (C).
    pub critical: bool,
    /// The ethertype of what is inside; 0x6558 is Ethernet.
    pub protocol: u16,
    /// The virtual network identifier, 24 bits.
    pub vni: u32,
    /// The options, in order.
    pub options: Vec<GeneveOption>,
    /// The frame inside.
    pub inner: Vec<u8>,
}

/// What OVN says in its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OvnKeys {
    /// Tunnel key of the logical ingress port, 15 bits.
    pub ingress: u16,
    /// Tunnel key of the logical egress port or multicast group.
    pub egress: u16,
}

impl Geneve {
    /// Reads a UDP payload.
    ///
    /// # Errors
    /// When it is shorter than it says.
    pub fn parse(payload: &[u8]) -> Result<Self> {
        let (header, mut rest) = payload.split_at_checked(8).context("no whole Geneve header")?;
        let length = usize::from(header[0] & 0x3f) * 4;
        let (mut options, inner) = rest.split_at_checked(length).context("options cut short")?;
        rest = inner;
        let mut found = Vec::new();
        while !options.is_empty() {
            let (head, tail) = options.split_at_checked(4).context("an option cut short")?;
            let length = usize::from(head[3] & 0x1f) * 4;
            let (data, tail) = tail.split_at_checked(length).context("option data cut short")?;
            found.push(GeneveOption {
                class: u16::from_be_bytes([head[0], head[1]]),
                kind: head[2],
                data: data.to_vec(),
            });
            options = tail;
        }
        Ok(Self {
            version: header[0] >> 6,
            control: header[1] & 0x80 != 0,
            critical: header[1] & 0x40 != 0,
            protocol: u16::from_be_bytes([header[2], header[3]]),
            vni: u32::from_be_bytes([0, header[4], header[5], header[6]]),
            options: found,
            inner: rest.to_vec(),
        })
    }

    /// Reads a frame of the underlay, if it is one to the Geneve port.
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let TransportSlice::Udp(udp) = SlicedPacket::from_ethernet(frame).ok()?.transport? else {
            return None;
        };
        if udp.destination_port() == PORT { Self::parse(udp.payload()).ok() } else { None }
    }

    /// The header and what is inside, as a UDP payload. Says what it is told, right or wrong.
    pub fn bytes(&self) -> Vec<u8> {
        let mut options = Vec::new();
        for option in &self.options {
            options.extend(option.class.to_be_bytes());
            options.extend([option.kind, (option.data.len() / 4) as u8]);
            options.extend(&option.data);
        }
        let flags = u8::from(self.control) << 7 | u8::from(self.critical) << 6;
        let [_, a, b, c] = self.vni.to_be_bytes();
        let [d, e] = self.protocol.to_be_bytes();
        let mut bytes =
            vec![self.version << 6 | (options.len() / 4) as u8, flags, d, e, a, b, c, 0];
        bytes.extend(options);
        bytes.extend(&self.inner);
        bytes
    }

    /// A packet as OVN makes it (ENC-1, ENC-2).
    pub fn ovn(vni: u32, keys: OvnKeys, inner: Vec<u8>) -> Self {
        let mut data = keys.ingress.to_be_bytes().to_vec();
        data.extend(keys.egress.to_be_bytes());
        Self {
            version: 0,
            control: false,
            critical: true,
            protocol: 0x6558,
            vni,
            options: vec![GeneveOption { class: OVN_CLASS, kind: OVN_TYPE, data }],
            inner,
        }
    }

    /// The keys in OVN's option.
    ///
    /// # Errors
    /// When the packet has not exactly that option, or its reserved bit is set.
    pub fn ovn_keys(&self) -> Result<OvnKeys> {
        let [option] = self.options.as_slice() else {
            anyhow::bail!("{} options where OVN puts one", self.options.len());
        };
        ensure!(
            (option.class, option.kind) == (OVN_CLASS, OVN_TYPE),
            "option {:#06x}/{:#04x} is not OVN's",
            option.class,
            option.kind
        );
        let [a, b, c, d] = option.data[..] else {
            anyhow::bail!("OVN's option has {} bytes, not 4", option.data.len());
        };
        ensure!(a & 0x80 == 0, "the reserved bit of OVN's option is set");
        Ok(OvnKeys { ingress: u16::from_be_bytes([a, b]), egress: u16::from_be_bytes([c, d]) })
    }
}

/// What is wrong with the checksums of a frame: IPv4 header, TCP, UDP, ICMP, ICMPv6.
///
/// # Errors
/// With the checksum that does not add up, or when there is no whole IP packet to check.
pub fn verify_checksums(frame: &[u8]) -> Result<()> {
    let packet = SlicedPacket::from_ethernet(frame)?;
    let (pseudo, payload) = match packet.net.context("no IP packet")? {
        NetSlice::Ipv4(ip) => {
            ensure!(sum(&[ip.header().slice()]) == 0xffff, "the IPv4 header checksum is wrong");
            let header = ip.header();
            let mut pseudo = [header.source(), header.destination()].concat();
            let length = u16::try_from(ip.payload().payload.len())?;
            pseudo.extend([0, ip.payload().ip_number.0]);
            pseudo.extend(length.to_be_bytes());
            (pseudo, ip.payload().payload)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let mut pseudo = [header.source(), header.destination()].concat();
            pseudo.extend(u32::try_from(ip.payload().payload.len())?.to_be_bytes());
            pseudo.extend([0, 0, 0, ip.payload().ip_number.0]);
            (pseudo, ip.payload().payload)
        }
        NetSlice::Arp(_) => anyhow::bail!("ARP has no checksum"),
    };
    let (name, pseudo) = match packet.transport.context("no transport that is known")? {
        TransportSlice::Udp(udp) if udp.checksum() == 0 && pseudo.len() == 12 => return Ok(()),
        TransportSlice::Udp(_) => ("UDP", pseudo),
        TransportSlice::Tcp(_) => ("TCP", pseudo),
        TransportSlice::Icmpv4(_) => ("ICMP", Vec::new()),
        TransportSlice::Icmpv6(_) => ("ICMPv6", pseudo),
    };
    ensure!(sum(&[&pseudo, payload]) == 0xffff, "the {name} checksum is wrong");
    Ok(())
}

/// The ones' complement sum of 16-bit words (RFC 1071); every part but the last has even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for word in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn a_packet_as_ovn_makes_it_is_read_back_from_the_underlay() {
        let keys = OvnKeys { ingress: 0x7fff, egress: 32768 };
        let packet = Geneve::ovn(0x00ab_cdef, keys, vec![7; 60]);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(50_000, PORT)
            .write(&mut frame, &packet.bytes())
            .unwrap();
        let read = Geneve::of_frame(&frame).unwrap();
        assert_eq!(read, packet);
        assert_eq!(read.ovn_keys().unwrap(), keys);
        verify_checksums(&frame).unwrap();
    }

    #[test]
    fn a_geneve_header_cut_anywhere_is_an_error() {
        let bytes = Geneve::ovn(1, OvnKeys { ingress: 1, egress: 2 }, Vec::new()).bytes();
        for length in 0..bytes.len() {
            assert!(Geneve::parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn one_changed_bit_makes_a_checksum_wrong() {
        for version in [4, 6] {
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
            let mut frame = Vec::new();
            if version == 4 {
                builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 3, 4)
            } else {
                builder.ipv6([1; 16], [2; 16], 64).tcp(1, 2, 3, 4)
            }
            .write(&mut frame, b"odd")
            .unwrap();
            verify_checksums(&frame).unwrap();
            *frame.last_mut().unwrap() ^= 1;
            assert!(verify_checksums(&frame).unwrap_err().to_string().contains("TCP"));
        }
    }
}
