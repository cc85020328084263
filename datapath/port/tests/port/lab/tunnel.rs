//! A forwarder between one interface and one NIC: a fixed Geneve header on, and off again.

use std::net::Ipv4Addr;

use ovn_xdp_datapath::frame::{Frame, Io, VlanHeader};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::Forward;

use super::checksum;

/// Ethernet, IPv4, UDP and Geneve without options.
pub const ENCAPSULATION: usize = 14 + 20 + 8 + 8;

#[derive(Clone)]
pub struct Tunnel {
    pub interface: InterfaceId,
    pub macs: [[u8; 6]; 2],
    pub local: Ipv4Addr,
    pub remote: Ipv4Addr,
}

impl Tunnel {
    /// The outer header in front of `inner` bytes.
    pub fn header(&self, inner: usize) -> Vec<u8> {
        let mut header = Vec::with_capacity(ENCAPSULATION);
        header.extend(self.macs[1]);
        header.extend(self.macs[0]);
        header.extend([0x08, 0x00]);
        let total = (inner + ENCAPSULATION - 14) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend(total.to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        ip.extend(self.local.octets());
        ip.extend(self.remote.octets());
        let sum = checksum(&ip, 0);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(ip);
        header.extend([0xc0, 0x01, 0x17, 0xc1]);
        header.extend((total - 20).to_be_bytes());
        header.extend([0, 0]);
        header.extend([0, 0, 0x65, 0x58, 0, 0, 5, 0]);
        header
    }
}

impl Forward for Tunnel {
    fn refresh(&mut self) {}

    fn sleep(&mut self) -> bool {
        true
    }

    fn from_interface<I: Io>(
        &mut self,
        _now: u64,
        _from: InterfaceId,
        _vlan: Option<VlanHeader>,
        mut frame: I::Frame,
        io: &mut I,
    ) {
        let header = self.header(frame.len());
        if !frame.push_front(ENCAPSULATION) {
            return io.release(frame);
        }
        frame.head_mut()[..ENCAPSULATION].copy_from_slice(&header);
        io.to_nic(frame, 0);
    }

    fn from_nic<I: Io>(&mut self, _now: u64, _nic: u16, mut frame: I::Frame, io: &mut I) {
        if frame.pull_front(ENCAPSULATION) {
            io.to_interface(frame, self.interface, None);
        } else {
            io.release(frame);
        }
    }
}
