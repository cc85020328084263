//! Checksums: the Internet checksum whole (RFC 1071) and in steps (RFC 1624), and SCTP's CRC32c.
//!
//! Sums are kept in the machine's byte order, which the ones' complement sum does not mind, and
//! turned once at the end. Nothing here looks at packets; callers say which bytes count.

/// A ones' complement sum under way, over bytes that may come in several pieces.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum {
    words: u64,
    odd: bool,
}

impl Sum {
    /// Adds bytes. A piece of odd length is continued by the next, not padded.
    #[inline]
    pub fn add(&mut self, mut bytes: &[u8]) {
        if self.odd
            && let Some((&first, rest)) = bytes.split_first()
        {
            self.words += u64::from(u16::from_ne_bytes([0, first]));
            self.odd = false;
            bytes = rest;
        }
        let (quads, tail) = bytes.as_chunks::<4>();
        self.words += quads.iter().map(|quad| u64::from(u32::from_ne_bytes(*quad))).sum::<u64>();
        let (pairs, last) = tail.as_chunks::<2>();
        self.words += pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>();
        if let [last] = last {
            self.words += u64::from(u16::from_ne_bytes([*last, 0]));
            self.odd = true;
        }
    }

    /// Adds a 16-bit word in host order, at an even place.
    #[inline]
    pub fn add_word(&mut self, word: u16) {
        self.words += u64::from(word.to_be());
    }

    /// The checksum to store, in host order; zero is not replaced.
    #[inline]
    pub fn finish(self) -> u16 {
        let mut sum = self.words;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::from_be(sum as u16)
    }
}

/// The Internet checksum of some bytes, in host order.
pub fn internet(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.finish()
}

/// The sum of the pseudo header of IPv4 (RFC 793) or IPv6 (RFC 8200, 8.1), by the length of the
/// addresses; `length` is of the transport header and its payload.
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> Sum {
    let mut sum = Sum::default();
    sum.add(source);
    sum.add(destination);
    sum.add(&(length as u32).to_be_bytes());
    sum.add(&[0, protocol]);
    sum
}

/// What a change of some words does to a checksum that covers them (RFC 1624, equation 3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta(u32);

impl Delta {
    /// Notes that the 16-bit word `old` becomes `new`, both in host order.
    #[inline]
    pub fn word(&mut self, old: u16, new: u16) {
        self.0 += u32::from(!old) + u32::from(new);
        self.0 = (self.0 & 0xffff) + (self.0 >> 16);
    }

    /// Notes that an even number of aligned bytes changes.
    #[inline]
    pub fn bytes(&mut self, old: &[u8], new: &[u8]) {
        let (old, new) = (old.as_chunks::<2>().0, new.as_chunks::<2>().0);
        for (old, new) in old.iter().zip(new) {
            self.word(u16::from_be_bytes(*old), u16::from_be_bytes(*new));
        }
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        Self((sum & 0xffff) + (sum >> 16))
    }

    /// The checksum after the change, in host order.
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        let mut sum = u32::from(!checksum) + self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// A CRC32c under way (RFC 9260, appendix A), over bytes that may come in several pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 >> 8) ^ CRC32C[usize::from(self.0 as u8 ^ byte)];
        }
    }

    /// The four bytes to store, in the order of the wire.
    pub fn finish(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as written: sixteen bits at a time, big endian.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn crc32c_of_the_digits_is_the_published_one() {
        let mut crc = Crc32c::default();
        crc.add(b"12345");
        crc.add(b"6789");
        assert_eq!(u32::from_le_bytes(crc.finish()), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_sum_like_the_whole(pieces: Vec<Vec<u8>>) {
            let mut sum = Sum::default();
            pieces.iter().for_each(|piece| sum.add(piece));
            prop_assert_eq!(sum.finish(), slow(&pieces.concat()));
        }

        #[test]
        fn a_change_in_steps_verifies_like_the_whole(
            mut bytes in proptest::collection::vec(any::<u8>(), 4..80),
            new: [u8; 2],
            at: proptest::sample::Index,
        ) {
            bytes.truncate(bytes.len() & !1);
            bytes[..2].fill(0);
            let before = slow(&bytes);
            let at = 2 + 2 * at.index((bytes.len() - 2) / 2);
            let mut delta = Delta::default();
            delta.bytes(&bytes[at..at + 2], &new);
            bytes[at..at + 2].copy_from_slice(&new);
            bytes[..2].copy_from_slice(&delta.apply(before).to_be_bytes());
            // Zero has two names in ones' complement; a receiver accepts both.
            prop_assert_eq!(slow(&bytes), 0);
        }
    }
}
