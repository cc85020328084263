//! Frames made by hand, right ones and wrong ones, to be put on a link by a packet socket.

use std::net::IpAddr;

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};

use crate::geneve::{Geneve, PORT};
use crate::link::Mac;

/// Who sends a frame and who shall get it.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Source MAC address.
    pub from_mac: Mac,
    /// Destination MAC address.
    pub to_mac: Mac,
    /// Source address.
    pub from: IpAddr,
    /// Destination address, of the same family.
    pub to: IpAddr,
}

impl Ends {
    /// Ethernet, and IP with a TTL of 64.
    fn network(&self) -> PacketBuilderStep<IpHeaders> {
        let builder = PacketBuilder::ethernet2(self.from_mac.0, self.to_mac.0);
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
            _ => panic!("addresses of two families: {self:?}"),
        }
    }

    /// A UDP frame with right checksums and a TTL of 64.
    ///
    /// # Panics
    /// When the families differ.
    pub fn udp(&self, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.network()
            .udp(source, destination)
            .write(&mut frame, payload)
            .expect("a vector takes all");
        frame
    }

    /// An empty TCP segment (SYN) with right checksums.
    pub fn tcp(&self, source: u16, destination: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        self.network()
            .tcp(source, destination, 1, 1024)
            .syn()
            .write(&mut frame, &[])
            .expect("a vector takes all");
        frame
    }

    /// A TCP segment with data (ACK) and right checksums.
    ///
    /// # Panics
    /// When the families differ.
    pub fn segment(&self, ports: (u16, u16), sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.network()
            .tcp(ports.0, ports.1, sequence, 1024)
            .ack(1)
            .write(&mut frame, payload)
            .expect("a vector takes all");
        frame
    }

    /// An ICMP or ICMPv6 echo request.
    pub fn echo(&self, identifier: u16, number: u16) -> Vec<u8> {
        let (network, mut frame) = (self.network(), Vec::new());
        match self.to {
            IpAddr::V4(_) => {
                network.icmpv4_echo_request(identifier, number).write(&mut frame, b"echo")
            }
            IpAddr::V6(_) => {
                network.icmpv6_echo_request(identifier, number).write(&mut frame, b"echo")
            }
        }
        .expect("a vector takes all");
        frame
    }

    /// An ARP request for the destination address, or `None` for IPv6.
    pub fn arp(&self) -> Option<Vec<u8>> {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (self.from, self.to) else { return None };
        let mut frame = [[0xff; 6], self.from_mac.0].concat();
        frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
        frame.extend(self.from_mac.0);
        frame.extend(from.octets());
        frame.extend([0; 6]);
        frame.extend(to.octets());
        Some(frame)
    }

    /// A Geneve packet between two tunnel addresses.
    pub fn geneve(&self, packet: &Geneve) -> Vec<u8> {
        self.udp(49_152, PORT, &packet.bytes())
    }
}

/// The frame with 802.1Q tags in front of its ethertype, the outermost first.
pub fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for tag in tags {
        bytes.extend([0x81, 0x00]);
        bytes.extend(tag.to_be_bytes());
    }
    bytes.extend(&frame[12..]);
    bytes
}

/// The outermost 802.1Q tag of a frame: its 12-bit identifier.
pub fn tag(frame: &[u8]) -> Option<u16> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    if word(12)? == 0x8100 { Some(word(14)? & 0xfff) } else { None }
}

/// What an untagged UDP frame carries.
pub fn udp_payload(frame: &[u8]) -> Option<&[u8]> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match packet.transport? {
        TransportSlice::Udp(udp) if packet.link_exts.is_empty() => Some(udp.payload()),
        _ => None,
    }
}

/// Every proper beginning of a frame that an Ethernet link takes (14 bytes and more).
pub fn truncations(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    (14..frame.len()).map(|length| &frame[..length])
}
