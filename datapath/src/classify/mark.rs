//! A bit for each clause of a block.

/// Clauses of a block.
pub(super) const ROWS: usize = 64 * WORDS;

const WORDS: usize = 8;

/// Some of the clauses of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark([u64; WORDS]);

impl Mark {
    pub(super) const NONE: Self = Self([0; WORDS]);
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    #[inline]
    pub(super) fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    #[inline]
    pub(super) fn set(&mut self, bit: usize, to: bool) {
        let word = &mut self.0[bit / 64];
        *word = *word & !(1 << (bit % 64)) | u64::from(to) << (bit % 64);
    }

    /// Keeps those that the other has.
    #[inline]
    pub(super) fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// Drops those that the other has.
    #[inline]
    pub(super) fn drop(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// Adds those that the other has.
    #[inline]
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The first that it does not have.
    pub(super) fn free(&self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != u64::MAX)?;
        Some(word * 64 + self.0[word].trailing_ones() as usize)
    }

    /// Whether it has more than so many.
    #[inline]
    pub(super) fn exceeds(&self, mut many: u32) -> bool {
        for mut word in self.0 {
            while word != 0 {
                let Some(fewer) = many.checked_sub(1) else { return true };
                many = fewer;
                word &= word - 1;
            }
        }
        false
    }

    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(index * 64 + bit)
            })
        })
    }
}
