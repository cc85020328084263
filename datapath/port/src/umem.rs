//! The memory that frames live in: one mapping per worker, cut into chunks.
//!
//! A chunk is always in exactly one place: in the worker's pool, in a ring on its way through the
//! kernel, or owned by a [`UmemFrame`]. That is the whole safety argument: who holds the number of a
//! chunk may touch its bytes. Each socket registers the same mapping for itself, so that a frame
//! received on one may be sent on another without a copy.
//!
//! ```text
//!   0      16                    256 + …                        2048
//!   │ link │ room to grow         │ frame                 │ room │
//! ```
//!
//! A frame larger than a chunk is a chain; the link at a chunk's start leads to the next segment.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use ovn_xdp_datapath::frame::Frame;

/// Bytes of a chunk. Copy mode splits larger frames; a small chunk keeps the cache warm.
pub const CHUNK: u32 = 2048;

/// Where the kernel puts what it receives (`XDP_PACKET_HEADROOM`), and where a new frame starts.
pub const HEADROOM: u32 = 256;

const LINK: u32 = size_of::<Link>() as u32;
const NONE: u32 = u32::MAX;

/// What stands at a chunk's start while it is a later segment of a frame, or its last.
#[derive(Clone, Copy)]
#[repr(C)]
struct Link {
    next: u32,
    offset: u32,
    len: u32,
    reserved: u32,
}

/// One segment as the rings know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub chunk: u32,
    pub offset: u32,
    pub len: u32,
}

/// The mapping. It ends when the last socket that registered it does.
#[derive(Debug)]
pub struct Umem {
    base: NonNull<u8>,
    chunks: u32,
}

// SAFETY: the mapping is plain memory, and its bytes are reached only through `frame` and `link`,
// whose callers hold the chunk and so are alone.
unsafe impl Send for Umem {}
// SAFETY: as above.
unsafe impl Sync for Umem {}

impl Umem {
    /// Maps memory for `chunks` chunks.
    pub fn new(chunks: u32) -> io::Result<Self> {
        let size = chunks as usize * CHUNK as usize;
        // SAFETY: a new private mapping, of no file.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, chunks })
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The address of the mapping, for the kernel.
    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Bytes of the mapping.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.chunks) * u64::from(CHUNK)
    }

    /// The segment in a descriptor of the kernel, or `None` if it is none of ours.
    pub(crate) fn segment(&self, address: u64, len: u32) -> Option<Segment> {
        let chunk = u32::try_from(address / u64::from(CHUNK)).ok()?;
        let offset = (address % u64::from(CHUNK)) as u32;
        let fits = chunk < self.chunks && offset >= LINK && offset.checked_add(len)? <= CHUNK;
        fits.then_some(Segment { chunk, offset, len })
    }

    /// A frame of one segment.
    ///
    /// # Safety
    ///
    /// The caller holds the chunk, and hands it over: nothing else uses it until the frame is taken
    /// apart again. The segment came from [`Umem::segment`], or lies as one would.
    pub(crate) unsafe fn frame(&self, segment: Segment) -> UmemFrame<'_> {
        let Segment { chunk, offset, len } = segment;
        UmemFrame {
            umem: self,
            chunk,
            offset,
            len,
            rest_len: 0,
            next: NONE,
            last: NONE,
            thread: PhantomData,
        }
    }

    /// Copies a segment's bytes.
    ///
    /// # Safety
    ///
    /// The caller holds both chunks, which are not the same, and both segments have one length.
    pub(crate) unsafe fn copy(&self, from: Segment, to: Segment) {
        // SAFETY: as the caller promises.
        unsafe {
            let source = self.at(from.chunk, from.offset);
            let target = self.at(to.chunk, to.offset);
            source.copy_to_nonoverlapping(target, from.len as usize);
        }
    }

    pub(crate) fn at(&self, chunk: u32, offset: u32) -> *mut u8 {
        debug_assert!(chunk < self.chunks && offset < CHUNK);
        // SAFETY: inside the mapping, by the invariant of every chunk number and offset.
        unsafe { self.base.as_ptr().add(chunk as usize * CHUNK as usize + offset as usize) }
    }

    fn link(&self, chunk: u32) -> *mut Link {
        self.at(chunk, 0).cast()
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: our own mapping; frames borrow the value, and sockets keep it alive.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size() as usize) };
    }
}

/// A frame in the mapping of a worker. To be given back to the sockets that it came from: one that
/// is just dropped is lost to them, which they count.
#[derive(Debug)]
pub struct UmemFrame<'u> {
    umem: &'u Umem,
    chunk: u32,
    offset: u32,
    len: u32,
    rest_len: u32,
    next: u32,
    last: u32,
    // A frame stays with its worker.
    thread: PhantomData<*mut u8>,
}

impl<'u> UmemFrame<'u> {
    /// Adds a segment behind the others.
    ///
    /// # Safety
    ///
    /// As of [`Umem::frame`].
    pub(crate) unsafe fn append(&mut self, segment: Segment) {
        let link = Link { next: NONE, offset: segment.offset, len: segment.len, reserved: 0 };
        // SAFETY: this frame owns the new chunk, as the caller promises, and the last one.
        unsafe {
            self.umem.link(segment.chunk).write(link);
            if self.next == NONE {
                self.next = segment.chunk;
            } else {
                (*self.umem.link(self.last)).next = segment.chunk;
            }
        }
        self.last = segment.chunk;
        self.rest_len += segment.len;
    }

    /// Adds what another frame has behind the first `skip` bytes of its head.
    pub(crate) fn join(&mut self, other: UmemFrame<'u>, skip: usize) {
        debug_assert!(skip <= other.len as usize);
        let mut skip = skip as u32;
        for Segment { chunk, offset, len } in other.segments() {
            // SAFETY: the other frame's own, and it is not used again.
            unsafe { self.append(Segment { chunk, offset: offset + skip, len: len - skip }) };
            skip = 0;
        }
    }

    /// All segments, also empty ones, the head first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Segment> + use<'u> {
        let umem = self.umem;
        let head = Segment { chunk: self.chunk, offset: self.offset, len: self.len };
        let mut next = self.next;
        std::iter::once(head).chain(std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            // SAFETY: a chunk of the chain, which this frame owns. The caller has the frame, or has
            // just taken it apart and not reused its chunks yet: links are read before each is.
            let link = unsafe { *umem.link(next) };
            let segment = Segment { chunk: next, offset: link.offset, len: link.len };
            next = link.next;
            Some(segment)
        }))
    }

    /// How many segments the frame has, the head included.
    pub(crate) fn segment_count(&self) -> usize {
        if self.next == NONE { 1 } else { self.segments().count() }
    }
}

impl Frame for UmemFrame<'_> {
    #[inline]
    fn head(&self) -> &[u8] {
        // SAFETY: this frame owns the chunk, and its bytes are initialized (the mapping is zeroed).
        unsafe { slice::from_raw_parts(self.umem.at(self.chunk, self.offset), self.len as usize) }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the frame is borrowed mutably.
        unsafe {
            slice::from_raw_parts_mut(self.umem.at(self.chunk, self.offset), self.len as usize)
        }
    }

    fn rest(&self) -> impl Iterator<Item = &[u8]> {
        self.segments().skip(1).filter(|segment| segment.len > 0).map(|segment| {
            // SAFETY: as in `head`, for a later chunk of the chain.
            unsafe {
                let start = self.umem.at(segment.chunk, segment.offset);
                slice::from_raw_parts(start, segment.len as usize)
            }
        })
    }

    #[inline]
    fn len(&self) -> usize {
        (self.len + self.rest_len) as usize
    }

    #[inline]
    fn push_front(&mut self, bytes: usize) -> bool {
        if bytes > (self.offset - LINK) as usize {
            return false;
        }
        self.offset -= bytes as u32;
        self.len += bytes as u32;
        true
    }

    #[inline]
    fn pull_front(&mut self, bytes: usize) -> bool {
        if bytes > self.len as usize {
            return false;
        }
        // An empty frame at the very end of its chunk would have no address.
        if bytes as u32 == CHUNK - self.offset {
            return false;
        }
        self.offset += bytes as u32;
        self.len -= bytes as u32;
        true
    }

    fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let len = len as u32;
        let mut left = len.saturating_sub(self.len);
        self.len = self.len.min(len);
        self.rest_len = left;
        let mut chunk = self.next;
        while chunk != NONE {
            // SAFETY: a chunk of the chain, which this frame owns.
            unsafe {
                let link = &mut *self.umem.link(chunk);
                link.len = link.len.min(left);
                left -= link.len;
                chunk = link.next;
            }
        }
    }

    fn push_back(&mut self, bytes: &[u8]) -> bool {
        let end = self.offset + self.len;
        if self.rest_len > 0 || bytes.len() > (CHUNK - end) as usize {
            return false;
        }
        let old = self.len as usize;
        self.len += bytes.len() as u32;
        self.head_mut()[old..].copy_from_slice(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(frame: &UmemFrame<'_>) -> Vec<u8> {
        let mut all = frame.head().to_vec();
        frame.rest().for_each(|segment| all.extend_from_slice(segment));
        all
    }

    #[derive(Clone, Debug)]
    enum Step {
        PushFront(usize),
        PullFront(usize),
        Truncate(usize),
        PushBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..300usize).prop_map(Step::PushFront),
            (0..2100usize).prop_map(Step::PullFront),
            (0..6000usize).prop_map(Step::Truncate),
            (0..2100usize).prop_map(Step::PushBack),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_behaves_like_a_vector_whatever_is_done_to_it(
            lengths in prop::collection::vec(1u32..=1792, 1..5),
            steps in prop::collection::vec(step(), 0..20),
        ) {
            let umem = Umem::new(8).unwrap();
            let mut model = Vec::new();
            let mut frame: Option<UmemFrame<'_>> = None;
            for (chunk, len) in lengths.iter().enumerate() {
                let segment = Segment { chunk: chunk as u32, offset: HEADROOM, len: *len };
                // SAFETY: every chunk is used once, and in range.
                unsafe {
                    for i in 0..*len {
                        let byte = (i as u8) ^ (chunk as u8 * 17);
                        umem.at(segment.chunk, HEADROOM + i).write(byte);
                        model.push(byte);
                    }
                    match &mut frame {
                        None => frame = Some(umem.frame(segment)),
                        Some(frame) => frame.append(segment),
                    }
                }
            }
            let mut frame = frame.unwrap();
            prop_assert_eq!(frame.segment_count(), lengths.len());
            for step in steps {
                match step {
                    Step::PushFront(n) => if frame.push_front(n) {
                        frame.head_mut()[..n].fill(0xee);
                        model.splice(0..0, std::iter::repeat_n(0xee, n));
                    } else {
                        prop_assert!(n > 0);
                    },
                    Step::PullFront(n) => if frame.pull_front(n) {
                        model.drain(..n);
                    },
                    Step::Truncate(n) => {
                        frame.truncate(n);
                        model.truncate(n);
                    }
                    Step::PushBack(n) => {
                        let bytes = vec![0xdd; n];
                        if frame.push_back(&bytes) {
                            model.extend_from_slice(&bytes);
                        }
                    }
                }
                prop_assert_eq!(frame.len(), model.len());
                prop_assert_eq!(content(&frame), model.clone());
                prop_assert_eq!(frame.segment_count(), lengths.len());
            }
        }

        #[test]
        fn a_descriptor_that_is_not_of_this_mapping_is_refused(address: u64, len: u32) {
            let umem = Umem::new(4).unwrap();
            if let Some(segment) = umem.segment(address, len) {
                prop_assert!(address + u64::from(len) <= umem.size());
                prop_assert!(segment.offset + segment.len <= CHUNK);
            }
        }
    }
}
