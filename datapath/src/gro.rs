//! Generic receive offload: which segments of a TCP stream may become one frame, and how.
//!
//! What a stack cut into segments is joined again where the way on costs by the frame. Only what
//! segmentation makes again, byte for byte, is joined: segments of nothing but data, in sequence, all
//! of a size but the last, their headers otherwise the same and their checksums right. (Of the
//! identification of IPv4 packets that must not be fragmented, which means nothing, the kernel makes
//! its own: RFC 6864, 4.1.)

use crate::checksum::{Sum, internet, pseudo_header};
use crate::frame::Frame;
use crate::parse::{ethertype, is_vlan, protocol};

/// Bytes of the longest frame that is made; a device's `gso_max_size` is one more.
pub const LONGEST: usize = 65_535;

/// Segments of a frame at most: with what their own pieces are, fewer than one call takes (`UIO_MAXIOV`).
const MOST: u16 = 512;

/// Tags in a frame that are looked behind.
const TAGS: usize = 2;

const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;

/// Where the headers of a TCP segment end, and what it carries. Places are bytes from the frame's
/// start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    network: usize,
    transport: usize,
    payload: usize,
    /// Bytes of payload.
    size: usize,
    /// Whether it is data and no more: no change of the connection's state, no padding behind it.
    data: bool,
}

impl Segment {
    /// Reads a frame of `len` bytes; `None` if it is not TCP over IPv4 without options or IPv6
    /// without extensions, or a fragment.
    #[inline]
    pub fn read(head: &[u8], len: usize) -> Option<Self> {
        let kind = |at| Some(u16::from_be_bytes(*head.get(at..)?.first_chunk()?));
        let tags = (0..TAGS).take_while(|tag| kind(12 + 4 * tag).is_some_and(is_vlan)).count();
        let network = 14 + 4 * tags;
        let (transport, end) = match kind(network - 2)? {
            ethertype::IPV4 => {
                let header = head.get(network..)?.first_chunk::<20>()?;
                let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
                if header[0] != 0x45 || word(6) & 0x3fff != 0 || header[9] != protocol::TCP {
                    return None;
                }
                (network + 20, network + usize::from(word(2)))
            }
            ethertype::IPV6 => {
                let header = head.get(network..)?.first_chunk::<40>()?;
                if header[0] >> 4 != 6 || header[6] != protocol::TCP {
                    return None;
                }
                let length = u16::from_be_bytes([header[4], header[5]]);
                (network + 40, network + 40 + usize::from(length))
            }
            _ => return None,
        };
        let header = head.get(transport..)?.first_chunk::<20>()?;
        let payload = transport + usize::from(header[12] >> 4) * 4;
        let whole = payload >= transport + 20 && payload <= head.len() && payload < end;
        let data = whole && end == len && matches!(header[13] & !PSH & !ECE, ACK);
        Some(Self { network, transport, payload, size: end.saturating_sub(payload), data })
    }

    /// Bytes of the headers.
    pub fn header_len(&self) -> usize {
        self.payload
    }

    fn is_v4(&self) -> bool {
        self.transport - self.network == 20
    }

    fn sequence(&self, head: &[u8]) -> u32 {
        let at = self.transport + 4;
        u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
    }

    fn pushes(&self, head: &[u8]) -> bool {
        head[self.transport + 13] & PSH != 0
    }

    /// Whether both are of one connection, or at least of the same ports.
    fn is_beside(&self, head: &[u8], other: &Self, others: &[u8]) -> bool {
        head[self.transport..self.transport + 4] == others[other.transport..other.transport + 4]
    }

    /// The pseudo header's sum for `length` bytes of header and payload.
    fn pseudo(&self, head: &[u8], length: usize) -> Sum {
        let addresses = self.transport - if self.is_v4() { 8 } else { 32 };
        pseudo_header(&head[addresses..self.transport], &[], protocol::TCP, length)
    }

    /// Whether the checksums are right.
    fn is_sound<F: Frame>(&self, frame: &F) -> bool {
        let head = frame.head();
        if self.is_v4() && internet(&head[self.network..self.transport]) != 0 {
            return false;
        }
        let mut sum = self.pseudo(head, self.payload - self.transport + self.size);
        sum.add(&head[self.transport..]);
        frame.rest().for_each(|piece| sum.add(piece));
        sum.finish() == 0
    }
}

/// What the receiver of a joined frame must know to cut it again (`struct virtio_net_hdr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// IPv4, not IPv6.
    pub v4: bool,
    /// Bytes of all headers.
    pub header_len: u16,
    /// Bytes of payload in each segment but the last.
    pub segment: u16,
    /// Where TCP begins, whose checksum is that of the pseudo header alone.
    pub transport: u16,
}

/// A frame that later segments may be joined to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    first: Segment,
    count: u16,
    open: bool,
}

impl Stream {
    /// Begins with a frame's segment.
    #[inline]
    pub fn begin(first: Segment, head: &[u8]) -> Self {
        Self { first, count: 1, open: first.data && !first.pushes(head) }
    }

    /// How many frames it was.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Whether a further segment may be joined.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Looks at a later frame to the same device, `next`, whose segment was read. True if it is to be
    /// joined: all behind its headers belongs behind `frame` now. If not, and it is of the same
    /// connection, nothing will be joined any more, so that order is kept.
    #[inline]
    pub fn joins<F: Frame>(&mut self, frame: &mut F, next: &F, segment: &Segment) -> bool {
        let (head, other) = (frame.head(), next.head());
        if !self.open || !self.first.is_beside(head, segment, other) {
            return false;
        }
        self.open = segment.data
            && self.count < MOST
            && segment.size <= self.first.size
            && frame.len() + segment.size <= LONGEST
            && self.follows(head, frame.len(), segment, other)
            && segment.is_sound(next)
            && (self.count > 1 || self.first.is_sound(frame));
        if !self.open {
            return false;
        }
        let pushes = segment.pushes(other);
        self.open = !pushes && segment.size == self.first.size;
        self.count += 1;
        if pushes {
            frame.head_mut()[self.first.transport + 13] |= PSH;
        }
        true
    }

    /// Whether the headers are those that segmentation would make.
    fn follows(&self, head: &[u8], len: usize, segment: &Segment, other: &[u8]) -> bool {
        let Segment { network, transport, payload, .. } = self.first;
        let places = |it: &Segment| (it.network, it.transport, it.payload);
        if places(&self.first) != places(segment) {
            return false;
        }
        let same = |from: usize, to: usize| head[from..to] == other[from..to];
        let carried = (len - payload) as u32;
        let internet = if self.first.is_v4() {
            let id = |head: &[u8]| u16::from_be_bytes([head[network + 4], head[network + 5]]);
            let unfragmented = head[network + 6] & 0x40 != 0;
            let (first, next) = (id(head), id(other));
            (next == first.wrapping_add(self.count) || unfragmented && next == first)
                && same(network, network + 2)
                && same(network + 6, network + 10)
                && same(network + 12, transport + 4)
        } else {
            same(network, network + 4) && same(network + 6, transport + 4)
        };
        internet
            && same(0, network)
            && segment.sequence(other) == self.first.sequence(head).wrapping_add(carried)
            && same(transport + 8, transport + 13)
            && (head[transport + 13] ^ other[transport + 13]) & !PSH == 0
            && same(transport + 14, transport + 16)
            && same(transport + 18, payload)
    }

    /// Writes the lengths and sums of a frame that something was joined to; `None` of one that is
    /// what it was.
    pub fn finish<F: Frame>(&self, frame: &mut F) -> Option<Joined> {
        if self.count == 1 {
            return None;
        }
        let Segment { network, transport, payload, size, .. } = self.first;
        let length = frame.len() - network;
        let head = frame.head_mut();
        if self.first.is_v4() {
            head[network + 2..network + 4].copy_from_slice(&(length as u16).to_be_bytes());
            head[network + 10..network + 12].fill(0);
            let sum = internet(&head[network..transport]);
            head[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
        } else {
            head[network + 4..network + 6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
        }
        let partial = !self.first.pseudo(head, network + length - transport).finish();
        head[transport + 16..transport + 18].copy_from_slice(&partial.to_be_bytes());
        Some(Joined {
            v4: self.first.is_v4(),
            header_len: payload as u16,
            segment: size as u16,
            transport: transport as u16,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFrame;
    use proptest::prelude::*;

    /// What a stack sends: one write of `data`, cut into segments of `size`.
    #[derive(Clone, Debug)]
    struct Write {
        v4: bool,
        tags: usize,
        options: usize,
        unfragmented: bool,
        id: u16,
        sequence: u32,
        flags: u8,
        push: bool,
        size: usize,
        data: Vec<u8>,
    }

    fn write() -> impl Strategy<Value = Write> {
        let shape = (any::<bool>(), 0..=TAGS, 0..=10usize, any::<bool>());
        let state = (any::<u16>(), any::<u32>(), prop_oneof![Just(ACK), Just(ACK | ECE)]);
        (shape, state, any::<bool>(), 1..80usize, prop::collection::vec(any::<u8>(), 1..600))
            .prop_map(
                |((v4, tags, options, unfragmented), (id, sequence, flags), push, size, data)| {
                    Write { v4, tags, options, unfragmented, id, sequence, flags, push, size, data }
                },
            )
    }

    impl Write {
        fn segments(&self) -> Vec<Vec<u8>> {
            let last = self.data.len().div_ceil(self.size) - 1;
            let cut = self.data.chunks(self.size).enumerate();
            cut.map(|(n, data)| self.segment(n, data, n == last)).collect()
        }

        fn segment(&self, number: usize, data: &[u8], last: bool) -> Vec<u8> {
            let mut tcp = vec![0x9c, 0x40, 0, 80];
            let sequence = self.sequence.wrapping_add((number * self.size) as u32);
            tcp.extend(sequence.to_be_bytes());
            tcp.extend(77u32.to_be_bytes());
            let push = if self.push && last { PSH } else { 0 };
            tcp.extend([(5 + self.options as u8) << 4, self.flags | push, 1, 0, 0, 0, 0, 0]);
            tcp.extend(vec![1; 4 * self.options]);
            tcp.extend(data);
            let mut network = if self.v4 {
                let id = self.id.wrapping_add(number as u16).to_be_bytes();
                let length = (20 + tcp.len() as u16).to_be_bytes();
                let df = if self.unfragmented { 0x40 } else { 0 };
                let mut header = vec![0x45, 2, length[0], length[1], id[0], id[1], df, 0, 64, 6];
                header.extend([0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
                let sum = internet(&header).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
                header
            } else {
                let length = (tcp.len() as u16).to_be_bytes();
                let mut header = vec![0x60, 0x20, 1, 2, length[0], length[1], 6, 64];
                header.extend([0xfd; 32]);
                header
            };
            let addresses = if self.v4 { 12 } else { 8 };
            let mut sum = pseudo_header(&network[addresses..], &[], 6, tcp.len());
            sum.add(&tcp);
            tcp[16..18].copy_from_slice(&sum.finish().to_be_bytes());
            let mut frame = vec![2; 12];
            (0..self.tags).for_each(|tag| frame.extend([0x81, 0, 0, tag as u8 + 1]));
            frame.extend(if self.v4 { [8, 0] } else { [0x86, 0xdd] });
            frame.append(&mut network);
            frame.append(&mut tcp);
            frame
        }
    }

    /// Joins what can be, in order: each frame that leaves, what is said of it, and how many it was.
    fn join(frames: &[Vec<u8>]) -> Vec<(Vec<u8>, Option<Joined>, u16)> {
        let mut all: Vec<(MemoryFrame, Option<Stream>)> = Vec::new();
        for bytes in frames {
            let next = MemoryFrame::new(bytes);
            let segment = Segment::read(bytes, bytes.len());
            if let (Some(segment), Some((frame, Some(stream)))) = (segment, all.last_mut())
                && stream.joins(frame, &next, &segment)
            {
                let joined = [&frame.bytes(), &bytes[segment.header_len()..]].concat();
                *frame = MemoryFrame::segmented(&joined, segment.header_len() + 1, 50);
            } else {
                all.push((next, segment.map(|segment| Stream::begin(segment, bytes))));
            }
        }
        let finished = all.into_iter().map(|(mut frame, stream)| {
            let joined = stream.and_then(|stream| stream.finish(&mut frame));
            (frame.bytes(), joined, stream.map_or(1, |stream| stream.count()))
        });
        finished.collect()
    }

    /// The frames that a stack cuts a joined one into, as the kernel's `tcp_gso_segment` does.
    fn cut(bytes: &[u8], joined: &Joined) -> Vec<Vec<u8>> {
        let (transport, payload) = (usize::from(joined.transport), usize::from(joined.header_len));
        let network = transport - if joined.v4 { 20 } else { 40 };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let chunks = bytes[payload..].chunks(usize::from(joined.segment));
        let last = chunks.len() - 1;
        let cut = chunks.enumerate().map(|(n, data)| {
            let mut frame = [&bytes[..payload], data].concat();
            let length = (frame.len() - network) as u16;
            if joined.v4 {
                frame[network + 2..][..2].copy_from_slice(&length.to_be_bytes());
                let id = word(network + 4).wrapping_add(n as u16);
                frame[network + 4..][..2].copy_from_slice(&id.to_be_bytes());
                frame[network + 10..][..2].fill(0);
                let sum = internet(&frame[network..transport]);
                frame[network + 10..][..2].copy_from_slice(&sum.to_be_bytes());
            } else {
                frame[network + 4..][..2].copy_from_slice(&(length - 40).to_be_bytes());
            }
            let at = transport + 4;
            let first =
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            let sequence = first.wrapping_add(n as u32 * u32::from(joined.segment));
            frame[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
            if n != last {
                frame[transport + 13] &= !PSH;
            }
            // The pseudo header is there already, for the length of all; its own is in its place.
            let whole = (bytes.len() - transport) as u16;
            let mut sum = Sum::default();
            sum.add_word(word(transport + 16));
            sum.add_word(!whole);
            sum.add_word((frame.len() - transport) as u16);
            frame[transport + 16..][..2].fill(0);
            sum.add(&frame[transport..]);
            frame[transport + 16..][..2].copy_from_slice(&sum.finish().to_be_bytes());
            frame
        });
        cut.collect()
    }

    fn as_sent(frames: &[(Vec<u8>, Option<Joined>, u16)]) -> Vec<Vec<u8>> {
        let cut = frames.iter().flat_map(|(bytes, joined, _)| match joined {
            Some(joined) => cut(bytes, joined),
            None => vec![bytes.clone()],
        });
        cut.collect()
    }

    proptest! {
        #[test]
        fn the_segments_of_a_write_become_one_frame_that_is_cut_into_the_same_again(write in write()) {
            let segments = write.segments();
            let joined = join(&segments);
            prop_assert_eq!(joined.len(), segments.len().div_ceil(usize::from(MOST)));
            prop_assert_eq!(usize::from(joined[0].2), segments.len().min(usize::from(MOST)));
            prop_assert_eq!(as_sent(&joined), segments);
        }

        #[test]
        fn writes_after_one_another_arrive_as_they_were_sent(
            first in write(),
            push: bool,
            data in prop::collection::vec(any::<u8>(), 1..200),
        ) {
            let mut segments = first.segments();
            let second = Write {
                id: first.id.wrapping_add(segments.len() as u16),
                sequence: first.sequence.wrapping_add(first.data.len() as u32),
                push,
                data,
                ..first
            };
            segments.extend(second.segments());
            prop_assert_eq!(as_sent(&join(&segments)), segments);
        }

        #[test]
        fn what_was_changed_anywhere_arrives_as_it_came_and_in_order(
            write in write(),
            frame in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(),
            change in 1u8..,
            repaired in any::<bool>(),
        ) {
            let mut frames = write.segments();
            let frame = frame.index(frames.len());
            let byte = byte.index(frames[frame].len());
            frames[frame][byte] ^= change;
            if repaired {
                repair(&mut frames[frame]);
            }
            let joined = join(&frames);
            // An identification that means nothing may become another one.
            let mut expected = frames.clone();
            let mut found = as_sent(&joined);
            if write.v4 && write.unfragmented {
                let at = 14 + 4 * write.tags;
                for frame in expected.iter_mut().chain(&mut found) {
                    frame[at + 4..at + 6].fill(0);
                    frame[at + 10..at + 12].fill(0);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, len in 0..100usize) {
            let _ = Segment::read(&bytes, bytes.len() + len);
        }
    }

    /// Makes the checksums right again, where the headers can be found.
    fn repair(bytes: &mut [u8]) {
        let Some(segment) = Segment::read(bytes, bytes.len()) else { return };
        let Segment { network, transport, .. } = segment;
        if segment.is_v4() {
            bytes[network + 10..network + 12].fill(0);
            let sum = internet(&bytes[network..transport]);
            bytes[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
        }
        bytes[transport + 16..transport + 18].fill(0);
        let mut sum = segment.pseudo(bytes, bytes.len() - transport);
        sum.add(&bytes[transport..]);
        bytes[transport + 16..transport + 18].copy_from_slice(&sum.finish().to_be_bytes());
    }

    #[test]
    fn a_frame_is_never_longer_than_a_device_takes() {
        let write = Write {
            v4: true,
            tags: 1,
            options: 3,
            unfragmented: true,
            id: 9,
            sequence: u32::MAX - 1000,
            flags: ACK,
            push: true,
            size: 1348,
            data: (0..200_000u32).map(|n| (n >> 3) as u8).collect(),
        };
        let segments = write.segments();
        let joined = join(&segments);
        assert_eq!(joined.len(), 4);
        assert!(joined.iter().all(|(bytes, _, _)| bytes.len() <= LONGEST));
        assert_eq!(as_sent(&joined), segments);
    }
}
