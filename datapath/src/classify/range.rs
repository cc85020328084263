//! Values from one to another, as `tcp.dst >= 1024 && tcp.dst <= 2047` has them.

use super::Masked;
use crate::field::Slice;
use smallvec::SmallVec;

/// All values from one to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Range {
    /// The least.
    pub low: u128,
    /// The greatest.
    pub high: u128,
}

impl Range {
    /// The range that masked values of a field make up together. `None` if they leave a gap, or if
    /// they are a plain list, none of them under a mask: neighbours in a list are there by chance, and
    /// a hash finds each.
    pub(super) fn of(field: Slice, list: &[Masked]) -> Option<Self> {
        let ones = field.ones();
        let one = |it: &Masked| {
            let rest = it.mask ^ ones;
            (rest & rest.wrapping_add(1) == 0)
                .then_some(Self { low: it.value, high: it.value | rest })
        };
        if list.iter().all(|it| it.mask == ones) {
            return None;
        }
        let mut ranges = list.iter().map(one).collect::<Option<SmallVec<[Self; 32]>>>()?;
        ranges.sort_unstable_by_key(|range| range.low);
        let (first, others) = ranges.split_first()?;
        others.iter().try_fold(*first, |all, next| {
            let joins = next.low <= all.high || next.low - all.high == 1;
            joins.then(|| Self { low: all.low, high: all.high.max(next.high) })
        })
    }

    /// Whether a value lies in it.
    #[inline]
    pub fn has(&self, value: u128) -> bool {
        self.low <= value && value <= self.high
    }

    /// The fewest prefixes of a field that make it up, from the least value to the greatest.
    pub fn prefixes(&self, field: Slice) -> SmallVec<[Masked; 1]> {
        let (ones, mut prefixes) = (field.ones(), SmallVec::new());
        let mut next = Some(self.low);
        while let Some(low) = next.filter(|low| *low <= self.high) {
            // As many low bits as are zero in the first value and do not lead beyond the last.
            let fits = |rest: &u128| low & rest == 0 && low | rest <= self.high;
            let rests = (0..field.width()).map(|bits| ones >> (field.width() - 1 - bits));
            let rest = rests.take_while(fits).last().unwrap_or(0);
            prefixes.push(Masked { value: low, mask: ones ^ rest });
            next = (low | rest).checked_add(1);
        }
        prefixes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_and_the_prefixes_that_make_it_up_are_the_same(
            ends: [u8; 2],
            shift in prop_oneof![Just(0u32), Just(120)],
            lost in any::<proptest::sample::Index>(),
        ) {
            // At the low and at the high end of a field.
            let field = if shift == 0 { field::IP_TTL } else { field::IP6_SRC };
            let whole = |end: u8, rest: u128| u128::from(end) << shift | rest;
            let rest = (1 << shift) - 1;
            let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let range = Range { low: whole(low, 0), high: whole(high, rest) };
            let prefixes = range.prefixes(field);
            for end in 0..=u8::MAX {
                let (inside, value) = ((low..=high).contains(&end), whole(end, 5 & rest));
                prop_assert_eq!(range.has(value), inside);
                let any = prefixes.iter().filter(|it| value & it.mask == it.value).count();
                prop_assert_eq!(any, usize::from(inside), "each value in one prefix");
            }
            prop_assert!(prefixes.len() <= 14, "{} prefixes", prefixes.len());
            let is_plain = prefixes.iter().all(|it| it.mask == field.ones());
            let made = Range::of(field, &prefixes);
            prop_assert_eq!(made, (!is_plain).then_some(range));
            // With one prefix twice, and the other way round, it is the same; without one it is none.
            let again: Vec<_> = prefixes.iter().chain(prefixes.first()).rev().copied().collect();
            prop_assert_eq!(Range::of(field, &again), made);
            if prefixes.len() > 2 {
                let mut less = prefixes.to_vec();
                less.remove(1 + lost.index(prefixes.len() - 2));
                prop_assert_eq!(Range::of(field, &less), None);
            }
        }
    }
}
