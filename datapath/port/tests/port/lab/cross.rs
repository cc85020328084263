//! The simplest forwarder: interfaces and NICs in pairs, each frame to the other of its pair. It
//! writes down what it sees of frames whose ethertype is the tests' own.

use std::sync::{Arc, Mutex};

use ovn_xdp_datapath::frame::{Frame, Io, VlanHeader};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_port::Forward;

/// The local experimental ethertype (IEEE 802).
pub const TEST_ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// A frame as the forwarder saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub from: u32,
    pub vlan: Option<VlanHeader>,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Cross {
    /// Interface to interface.
    pub interfaces: Vec<(u32, u32)>,
    /// Interface to NIC, and back.
    pub nics: Vec<(u32, u16)>,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

impl Cross {
    /// Workloads 1 and 2.
    pub fn pair() -> Self {
        Self { interfaces: vec![(1, 2)], ..Self::default() }
    }

    fn other(&self, interface: u32) -> Option<u32> {
        self.interfaces.iter().find_map(|(a, b)| match interface {
            i if i == *a => Some(*b),
            i if i == *b => Some(*a),
            _ => None,
        })
    }

    fn write_down(&self, from: InterfaceId, vlan: Option<VlanHeader>, frame: &impl Frame) {
        if frame.head().windows(2).take(30).any(|bytes| bytes == TEST_ETHERTYPE) {
            let mut bytes = frame.head().to_vec();
            frame.rest().for_each(|segment| bytes.extend_from_slice(segment));
            self.seen.lock().unwrap().push(Seen { from: from.0, vlan, bytes });
        }
    }
}

impl Forward for Cross {
    fn refresh(&mut self) {}

    fn sleep(&mut self) -> bool {
        true
    }

    fn from_interface<I: Io>(
        &mut self,
        _now: u64,
        from: InterfaceId,
        vlan: Option<VlanHeader>,
        frame: I::Frame,
        io: &mut I,
    ) {
        self.write_down(from, vlan, &frame);
        if let Some(other) = self.other(from.0) {
            io.to_interface(frame, InterfaceId(other), vlan);
        } else if let Some((_, nic)) = self.nics.iter().find(|(id, _)| *id == from.0) {
            io.to_nic(frame, *nic);
        } else {
            io.release(frame);
        }
    }

    fn from_nic<I: Io>(&mut self, _now: u64, nic: u16, frame: I::Frame, io: &mut I) {
        self.write_down(InterfaceId(0), None, &frame);
        match self.nics.iter().find(|(_, other)| *other == nic) {
            Some((id, _)) => io.to_interface(frame, InterfaceId(*id), None),
            None => io.release(frame),
        }
    }
}
