//! A worker's sockets: where its frames come from and go to, and the account of every chunk.
//!
//! Lane 0 is the trunk, the others are queues of NICs. Sending only writes into rings; one call
//! after each batch tells the kernel. Whatever happens, chunks in the pool, in the rings' hands and
//! in frames under way add up to all there are.

use std::sync::Arc;

use ovn_xdp_abi::trunk::{FROM_WORKLOAD, TO_WORKLOAD, TRUNK_HEADER, TrunkHeader};
use ovn_xdp_datapath::frame::{Frame, Io, VlanHeader};
use ovn_xdp_datapath::key::InterfaceId;

use crate::handover::{self, Device, Handed, Handover, Hands};
use crate::socket::{RING, XdpSocket};
use crate::statistics::WorkerStatistics;
use crate::umem::{CHUNK, HEADROOM, Segment, Umem, UmemFrame};

/// Segments of one frame that the kernel sends in copy mode (`MAX_SKB_FRAGS`).
const MAX_SEGMENTS: usize = 17;

/// How often one batch asks the kernel to go on sending, before it looks at other work.
const WAKES: usize = 64;

struct Lane<'u> {
    socket: XdpSocket,
    /// Segments of a frame of which the kernel has not shown the last.
    partial: Option<UmemFrame<'u>>,
    filling: u32,
    sending: u32,
    unsent: bool,
}

/// All sockets of a worker.
pub struct Sockets<'u> {
    umem: &'u Umem,
    pool: Vec<u32>,
    lanes: Vec<Lane<'u>>,
    /// NIC number to the lane that this worker sends on.
    nics: Vec<Option<usize>>,
    /// Lane to NIC number; the trunk has none.
    numbers: Vec<Option<u16>>,
    handover: Handover,
    hands: Hands<'u>,
    statistics: Arc<WorkerStatistics>,
}

/// A frame of a workload, with what the trunk told about it.
pub(crate) struct Arrival<'u> {
    pub from: InterfaceId,
    pub vlan: Option<VlanHeader>,
    pub frame: UmemFrame<'u>,
}

impl<'u> Sockets<'u> {
    /// Takes the trunk's socket and the way to workloads beside it. All of `umem` is this value's,
    /// to be used by nobody else.
    pub(crate) fn new(
        umem: &'u Umem,
        trunk: XdpSocket,
        handover: Handover,
        statistics: Arc<WorkerStatistics>,
    ) -> Self {
        let pool = (0..umem.chunks()).rev().collect();
        let mut sockets = Self {
            umem,
            pool,
            lanes: Vec::new(),
            nics: Vec::new(),
            numbers: Vec::new(),
            handover,
            hands: Hands::default(),
            statistics,
        };
        sockets.add_lane(trunk, None);
        sockets
    }

    /// Takes a socket on a queue of NIC `nic`.
    pub(crate) fn add_nic(&mut self, nic: u16, socket: XdpSocket) {
        let lane = self.add_lane(socket, Some(nic));
        let index = usize::from(nic);
        if self.nics.len() <= index {
            self.nics.resize(index + 1, None);
        }
        self.nics[index].get_or_insert(lane);
    }

    /// Sets or forgets the device of a workload's interface.
    pub(crate) fn set_device(&mut self, interface: InterfaceId, device: Option<Device>) {
        self.handover.set(interface, device);
    }

    fn add_lane(&mut self, socket: XdpSocket, nic: Option<u16>) -> usize {
        debug_assert_eq!(socket.umem().address(), self.umem.address());
        self.lanes.push(Lane { socket, partial: None, filling: 0, sending: 0, unsent: false });
        self.numbers.push(nic);
        self.lanes.len() - 1
    }

    /// How many lanes there are, the trunk included.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The NIC of a lane.
    pub(crate) fn nic_of(&self, lane: usize) -> Option<u16> {
        self.numbers[lane]
    }

    /// The socket of a lane.
    pub(crate) fn socket(&self, lane: usize) -> &XdpSocket {
        &self.lanes[lane].socket
    }

    /// Takes back what was sent, and hands free chunks to the kernel to receive into: as many to one
    /// lane as to another, and half of all at most, so that a lane that joins later gets its share.
    pub(crate) fn replenish(&mut self) {
        for index in 0..self.lanes.len() {
            self.reap(index);
        }
        // Some chunks stay for frames that workers make: copies of a flood, answers.
        let reserve = self.umem.chunks() as usize / 8;
        let share = (self.umem.chunks() as usize - reserve) / (2 * self.lanes.len().max(1));
        let share = (share as u32).min(RING);
        for lane in &mut self.lanes {
            let spare = self.pool.len().saturating_sub(reserve) as u32;
            let wanted = share.saturating_sub(lane.filling);
            let count = lane.socket.fill.free(RING).min(wanted).min(spare);
            for _ in 0..count {
                let Some(chunk) = self.pool.pop() else { break };
                lane.socket.fill.push(u64::from(chunk) * u64::from(CHUNK));
                lane.filling += 1;
            }
            if count > 0 {
                lane.socket.fill.submit();
                if lane.socket.is_zero_copy() && lane.socket.fill.needs_wakeup() {
                    lane.socket.wake_receive();
                }
            }
        }
    }

    /// The next frame of a lane.
    pub(crate) fn receive(&mut self, index: usize) -> Option<UmemFrame<'u>> {
        let lane = &mut self.lanes[index];
        loop {
            let descriptor = lane.socket.receive.pop()?;
            lane.filling = lane.filling.saturating_sub(1);
            let Some(segment) = self.umem.segment(descriptor.addr, descriptor.len) else {
                debug_assert!(false, "the kernel gave {:#x}", descriptor.addr);
                continue;
            };
            // SAFETY: the kernel gives a chunk that it was given to fill, once; so it is ours now.
            let frame = unsafe {
                match lane.partial.take() {
                    None => self.umem.frame(segment),
                    Some(mut frame) => {
                        frame.append(segment);
                        frame
                    }
                }
            };
            if descriptor.options & libc::XDP_PKT_CONTD == 0 {
                return Some(frame);
            }
            lane.partial = Some(frame);
        }
    }

    /// The next frame of the trunk. Tags behind the first are back in the frame.
    pub(crate) fn receive_from_workload(&mut self) -> Option<Arrival<'u>> {
        loop {
            let mut frame = self.receive(0)?;
            if let Some((from, vlan)) = unwrap_trunk(&mut frame) {
                return Some(Arrival { from, vlan, frame });
            }
            self.statistics.foreign.add(1);
            self.release(frame);
        }
    }

    /// Tells the kernel what of a lane's receive ring was taken.
    pub(crate) fn release_received(&mut self, lane: usize) {
        self.lanes[lane].socket.receive.release();
    }

    /// Has the kernel send what was queued since the last call.
    pub(crate) fn flush(&mut self) {
        self.hand_over();
        for index in 0..self.lanes.len() {
            if self.lanes[index].unsent {
                self.flush_lane(index);
            }
        }
    }

    fn hand_over(&mut self) {
        if self.hands.is_empty() {
            return;
        }
        let mut hands = std::mem::take(&mut self.hands);
        let mut refused = Vec::new();
        self.handover.send(self.umem, &mut hands, |place, error| refused.push((place, error)));
        let mut refused = refused.into_iter().peekable();
        for (place, handed) in hands.drain().enumerate() {
            let count = handed.count();
            let Handed { frame, to, .. } = handed;
            let error = refused.next_if(|(at, _)| *at == place);
            match error.and_then(|(_, error)| error.raw_os_error()) {
                None => {
                    self.statistics.to_workload.add(count);
                    self.statistics.joined.add(count - 1);
                }
                // The trunk knows what the device makes of a frame that is larger than it should be.
                Some(libc::EMSGSIZE) => {
                    self.down_trunk(frame, to);
                    continue;
                }
                Some(libc::ENXIO | libc::ENODEV | libc::ENETDOWN) => {
                    self.statistics.no_device.add(count);
                }
                Some(_) => self.statistics.send_full.add(count),
            }
            self.release(frame);
        }
        self.hands = hands;
    }

    fn down_trunk(&mut self, mut frame: UmemFrame<'u>, to: InterfaceId) {
        let header = TrunkHeader::new(to.0, TO_WORKLOAD);
        if !frame.push_front(TRUNK_HEADER) {
            self.statistics.no_room.add(1);
            return self.release(frame);
        }
        frame.head_mut()[..TRUNK_HEADER].copy_from_slice(&header.to_bytes());
        if self.transmit(0, frame) {
            self.statistics.to_workload.add(1);
        }
    }

    fn flush_lane(&mut self, index: usize) {
        self.lanes[index].socket.transmit.submit();
        for _ in 0..WAKES {
            let lane = &mut self.lanes[index];
            if !lane.socket.transmit.needs_wakeup() || !lane.socket.wake_transmit() {
                lane.unsent = false;
                return;
            }
            self.reap(index);
        }
        // Rest stays in the ring, `unsent`, for the next batch.
        self.statistics.send_stalls.add(1);
    }

    /// Whether a lane holds frames that the kernel has not taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.lanes.iter().any(|lane| lane.unsent)
    }

    /// Whether a frame waits to be received.
    pub(crate) fn has_received(&mut self) -> bool {
        self.lanes.iter_mut().any(|lane| lane.socket.receive.has_entries())
    }

    fn reap(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.sending == 0 {
            return;
        }
        let mut count = 0;
        while let Some(address) = lane.socket.completion.pop() {
            self.pool.push((address / u64::from(CHUNK)) as u32);
            count += 1;
        }
        if count > 0 {
            lane.sending = lane.sending.saturating_sub(count);
            lane.socket.completion.release();
        }
    }

    /// Brings the account up to date: to be called when no frame is under way.
    pub(crate) fn account(&self) {
        let mut filling = 0;
        let mut sending = 0;
        let mut partial = 0;
        for lane in &self.lanes {
            filling += u64::from(lane.filling);
            sending += u64::from(lane.sending);
            partial += lane.partial.as_ref().map_or(0, |frame| frame.segment_count() as u64);
        }
        let found = self.pool.len() as u64 + filling + sending + partial;
        let all = u64::from(self.umem.chunks());
        debug_assert_eq!(found, all, "frames were lost or given back twice");
        self.statistics.free.set(self.pool.len() as u64);
        self.statistics.filling.set(filling);
        self.statistics.sending.set(sending);
        self.statistics.missing.set(all.saturating_sub(found));
    }

    /// Reads what the kernel dropped on the way to the receive rings.
    pub(crate) fn sample_kernel(&self) {
        let mut dropped = 0;
        let mut starved = 0;
        for lane in &self.lanes {
            if let Some(statistics) = lane.socket.kernel_statistics() {
                dropped += statistics.rx_dropped + statistics.rx_ring_full;
                starved += statistics.rx_fill_ring_empty_descs;
            }
        }
        self.statistics.receive_full.set(dropped);
        self.statistics.receive_starved.set(starved);
    }

    fn transmit(&mut self, index: usize, frame: UmemFrame<'u>) -> bool {
        let count = frame.segment_count();
        if count > MAX_SEGMENTS {
            self.statistics.too_many_segments.add(1);
            self.release(frame);
            return false;
        }
        if self.lanes[index].socket.transmit.free(count as u32) < count as u32 {
            self.flush_lane(index);
            self.reap(index);
            if self.lanes[index].socket.transmit.free(count as u32) < count as u32 {
                self.statistics.send_full.add(1);
                self.release(frame);
                return false;
            }
        }
        let lane = &mut self.lanes[index];
        let mut left = frame.len() as u32;
        for segment in frame.segments() {
            // What a truncation emptied stays behind.
            if segment.len == 0 {
                self.pool.push(segment.chunk);
                continue;
            }
            left -= segment.len;
            lane.socket.transmit.push(libc::xdp_desc {
                addr: u64::from(segment.chunk) * u64::from(CHUNK) + u64::from(segment.offset),
                len: segment.len,
                options: if left > 0 { libc::XDP_PKT_CONTD } else { 0 },
            });
            lane.sending += 1;
        }
        lane.unsent = true;
        true
    }
}

impl<'u> Io for Sockets<'u> {
    type Frame = UmemFrame<'u>;

    #[inline]
    fn allocate(&mut self) -> Option<UmemFrame<'u>> {
        let Some(chunk) = self.pool.pop() else {
            self.statistics.no_buffer.add(1);
            return None;
        };
        // SAFETY: a chunk of the pool is held by nobody.
        Some(unsafe { self.umem.frame(Segment { chunk, offset: HEADROOM, len: 0 }) })
    }

    fn duplicate(&mut self, frame: &UmemFrame<'u>) -> Option<UmemFrame<'u>> {
        let count = frame.segment_count();
        if self.pool.len() < count {
            self.statistics.no_buffer.add(1);
            return None;
        }
        let mut copy: Option<UmemFrame<'u>> = None;
        for segment in frame.segments() {
            let chunk = self.pool.pop()?;
            let twin = Segment { chunk, ..segment };
            // SAFETY: the frame owns its segments, and a chunk of the pool is held by nobody; they
            // are different chunks, and the lengths fit as those of the original do.
            unsafe {
                self.umem.copy(segment, twin);
                match &mut copy {
                    None => copy = Some(self.umem.frame(twin)),
                    Some(copy) => copy.append(twin),
                }
            }
        }
        copy
    }

    fn to_interface(
        &mut self,
        mut frame: UmemFrame<'u>,
        to: InterfaceId,
        vlan: Option<VlanHeader>,
    ) {
        let Some(device) = self.handover.device(to) else {
            self.statistics.no_device.add(1);
            return self.release(frame);
        };
        if vlan.is_some_and(|vlan| !handover::put_tag(&mut frame, vlan)) {
            self.statistics.no_room.add(1);
            return self.release(frame);
        }
        self.hands.push(frame, to, device);
        if self.hands.is_full() {
            self.hand_over();
        }
    }

    fn to_nic(&mut self, frame: UmemFrame<'u>, nic: u16) {
        match self.nics.get(usize::from(nic)).copied().flatten() {
            Some(lane) => {
                if self.transmit(lane, frame) {
                    self.statistics.to_nic.add(1);
                }
            }
            None => {
                self.statistics.no_nic.add(1);
                self.release(frame);
            }
        }
    }

    #[inline]
    fn release(&mut self, frame: UmemFrame<'u>) {
        self.pool.extend(frame.segments().map(|segment| segment.chunk));
    }
}

/// Takes the private header off, and puts tags behind the first back into the frame.
fn unwrap_trunk(frame: &mut UmemFrame<'_>) -> Option<(InterfaceId, Option<VlanHeader>)> {
    let bytes = *frame.head().first_chunk::<TRUNK_HEADER>()?;
    let header = TrunkHeader::from_bytes(bytes);
    if !header.is(FROM_WORKLOAD) || !frame.pull_front(TRUNK_HEADER) {
        return None;
    }
    let tags = header.tags();
    let vlan = (tags > 0).then(|| {
        let (tpid, tci) = header.tag(0);
        VlanHeader { tpid, tci }
    });
    if tags > 1 {
        const ADDRESSES: usize = 12;
        let inner = 4 * (tags - 1);
        if frame.head().len() < ADDRESSES || !frame.push_front(inner) {
            return None;
        }
        let head = frame.head_mut();
        head.copy_within(inner..inner + ADDRESSES, 0);
        for index in 1..tags {
            let (tpid, tci) = header.tag(index);
            let at = ADDRESSES + 4 * (index - 1);
            head[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
            head[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
        }
    }
    Some((InterfaceId(header.interface()), vlan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovn_xdp_abi::trunk::{TPID_8021AD, TPID_8021Q};

    #[test]
    fn inner_tags_of_the_private_header_come_back_into_the_frame_in_order() {
        let umem = Umem::new(2).unwrap();
        // SAFETY: the only frame of this memory.
        let mut frame = unsafe { umem.frame(Segment { chunk: 0, offset: HEADROOM, len: 0 }) };
        let header = TrunkHeader::new(9, FROM_WORKLOAD)
            .with_tag(TPID_8021AD, 1)
            .and_then(|header| header.with_tag(TPID_8021Q, 2))
            .and_then(|header| header.with_tag(TPID_8021Q, 0x6003))
            .unwrap();
        let ethernet = *b"ddddddssssss\x08\x00payload";
        assert!(frame.push_back(&header.to_bytes()) && frame.push_back(&ethernet));
        let (from, vlan) = unwrap_trunk(&mut frame).unwrap();
        assert_eq!(from, InterfaceId(9));
        assert_eq!(vlan, Some(VlanHeader { tpid: TPID_8021AD, tci: 1 }));
        assert_eq!(frame.head(), b"ddddddssssss\x81\x00\x00\x02\x81\x00\x60\x03\x08\x00payload");
    }

    #[test]
    fn a_frame_that_the_kernel_side_did_not_write_is_refused() {
        let umem = Umem::new(2).unwrap();
        for bytes in [&TrunkHeader::new(1, TO_WORKLOAD).to_bytes()[..], &[0; 64], &[0; 3]] {
            // SAFETY: one frame at a time.
            let mut frame = unsafe { umem.frame(Segment { chunk: 0, offset: HEADROOM, len: 0 }) };
            assert!(frame.push_back(bytes));
            assert!(unwrap_trunk(&mut frame).is_none());
        }
    }
}
