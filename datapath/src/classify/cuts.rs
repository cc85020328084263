//! What holds for each value of a field, where it changes at few of them.
//!
//! The values are cut where it changes; what lies between two cuts is a *piece*. Pieces lie in leaves
//! and are shared with whoever copied them before, so that a change costs the leaves that it touches.
//! Neighbours are never alike: the same is said of the same values in one way only.

use super::Range;
use smallvec::SmallVec;
use std::sync::Arc;

/// Something for each value.
#[derive(Clone, Debug)]
pub(super) struct Cuts<T> {
    /// In order; the first begins at zero, and none is empty.
    leaves: Vec<Leaf<T>>,
}

/// Some pieces, in order.
#[derive(Clone, Debug)]
struct Leaf<T> {
    /// Where the first begins.
    low: u128,
    pieces: Arc<[Piece<T>]>,
}

/// The values up to the next piece.
#[derive(Clone, Debug)]
struct Piece<T> {
    low: u128,
    holds: T,
}

/// Pieces of a leaf.
const MOST: usize = 64;

impl<T> Leaf<T> {
    fn new(pieces: Vec<Piece<T>>) -> Option<Self> {
        pieces.first().map(|first| first.low).map(|low| Self { low, pieces: pieces.into() })
    }

    /// The piece that a value lies in, which is not before the leaf.
    #[inline]
    fn piece_of(&self, value: u128) -> usize {
        self.pieces.partition_point(|piece| piece.low <= value).saturating_sub(1)
    }
}

impl<T: Clone + PartialEq> Cuts<T> {
    /// The same for all values.
    pub(super) fn new(holds: T) -> Self {
        Self { leaves: Leaf::new(vec![Piece { low: 0, holds }]).into_iter().collect() }
    }

    /// Whether it is the same for all values.
    pub(super) fn is_whole(&self) -> bool {
        self.leaves.len() == 1 && self.leaves[0].pieces.len() == 1
    }

    /// What holds for a value.
    #[inline]
    pub(super) fn get(&self, value: u128) -> &T {
        let leaf = &self.leaves[self.leaf_of(value)];
        &leaf.pieces[leaf.piece_of(value)].holds
    }

    /// What holds, piece by piece.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.leaves.iter().flat_map(|leaf| &*leaf.pieces).map(|piece| &piece.holds)
    }

    /// What holds for any value of a range, piece by piece.
    pub(super) fn within(&self, range: &Range) -> impl Iterator<Item = &T> {
        self.pieces(range).map(|piece| &piece.holds)
    }

    fn pieces(&self, range: &Range) -> impl Iterator<Item = &Piece<T>> {
        let high = range.high;
        let first = self.leaf_of(range.low);
        let start = self.leaves[first].piece_of(range.low);
        let pieces = self.leaves[first..].iter().flat_map(|leaf| &*leaf.pieces).skip(start);
        pieces.take_while(move |piece| piece.low <= high)
    }

    /// Changes what holds for the values of a range.
    pub(super) fn change(&mut self, range: &Range, mut change: impl FnMut(&mut T)) {
        let behind = range.high.checked_add(1);
        behind.into_iter().chain([range.low]).for_each(|value| self.cut(value));
        let (first, last) = (self.leaf_of(range.low), self.leaf_of(range.high));
        for leaf in &mut self.leaves[first..=last] {
            let pieces = Arc::make_mut(&mut leaf.pieces).iter_mut();
            pieces.filter(|it| range.has(it.low)).for_each(|it| change(&mut it.holds));
        }
        let from = Range { low: range.low.saturating_sub(1), high: behind.unwrap_or(range.high) };
        let pieces = || self.pieces(&from);
        let alike = pieces().zip(pieces().skip(1)).filter(|(one, other)| one.holds == other.holds);
        let alike: SmallVec<[u128; 4]> = alike.map(|(_, other)| other.low).collect();
        alike.into_iter().for_each(|value| self.join(value));
    }

    /// Bytes that it takes, apart from what is pointed to.
    pub(super) fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        let leaf = |leaf: &Leaf<T>| size_of::<Leaf<T>>() + COUNTS + size_of_val(&*leaf.pieces);
        self.leaves.iter().map(leaf).sum()
    }

    #[inline]
    fn leaf_of(&self, value: u128) -> usize {
        self.leaves.partition_point(|leaf| leaf.low <= value).saturating_sub(1)
    }

    /// Cuts before a value.
    fn cut(&mut self, value: u128) {
        let at = self.leaf_of(value);
        let before = self.leaves[at].piece_of(value);
        let mut pieces = self.leaves[at].pieces.to_vec();
        if pieces[before].low == value {
            return;
        }
        pieces.insert(before + 1, Piece { low: value, ..pieces[before].clone() });
        let half = if pieces.len() > MOST { MOST / 2 } else { pieces.len() };
        let high = pieces.split_off(half);
        self.leaves.splice(at..=at, [pieces, high].into_iter().filter_map(Leaf::new));
    }

    /// Takes the cut before a value back.
    fn join(&mut self, value: u128) {
        let at = self.leaf_of(value);
        let mut pieces = self.leaves[at].pieces.to_vec();
        pieces.retain(|piece| piece.low != value);
        self.leaves.splice(at..=at, Leaf::new(pieces));
        let first = at.saturating_sub(1);
        if let Some([one, other]) = self.leaves.get(first..first + 2)
            && one.pieces.len() + other.pieces.len() <= MOST / 2
        {
            let both = [&*one.pieces, &*other.pieces].concat();
            self.leaves.splice(first..first + 2, Leaf::new(both));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_what_a_list_of_all_values_holds_and_a_copy_stays_as_it_was(
            changes in proptest::collection::vec(any::<([u8; 2], u8)>(), 0..300),
            upper: bool,
        ) {
            // The lowest values of all, or the highest.
            let first = if upper { u128::MAX - 255 } else { 0 };
            let (mut cuts, mut model) = (Cuts::new(0u32), [0u32; 256]);
            let check = |cuts: &Cuts<u32>, model: &[u32; 256]| {
                for (value, holds) in model.iter().enumerate() {
                    prop_assert_eq!(cuts.get(first + value as u128), holds);
                }
                let pieces: Vec<u32> = cuts.iter().copied().collect();
                prop_assert!(pieces.windows(2).all(|two| two[0] != two[1]), "{pieces:?}");
                Ok(())
            };
            let mut kept = Vec::new();
            let mut inside: Vec<(u8, u8, u8)> = Vec::new();
            for (at, ([a, b], bit)) in changes.into_iter().enumerate() {
                let (low, high, bit) = match inside.len() {
                    // Half of what comes goes again.
                    many if bit >= 128 && many > 0 => inside.swap_remove(usize::from(bit) % many),
                    _ => {
                        inside.push((a.min(b), a.max(b), bit % 16));
                        inside[inside.len() - 1]
                    }
                };
                let [from, to] = [low, high].map(|end| first + u128::from(end));
                cuts.change(&Range { low: from, high: to }, |holds| *holds ^= 1 << bit);
                let changed = &mut model[usize::from(low)..=usize::from(high)];
                changed.iter_mut().for_each(|it| *it ^= 1 << bit);
                let within = cuts.within(&Range { low: from, high: to }).collect::<Vec<_>>();
                prop_assert_eq!(within.first().copied(), Some(&model[usize::from(low)]));
                prop_assert_eq!(within.last().copied(), Some(&model[usize::from(high)]));
                if at % 32 == 0 {
                    kept.push((cuts.clone(), model));
                }
            }
            check(&cuts, &model)?;
            for (low, high, bit) in inside {
                let [low, high] = [low, high].map(|end| first + u128::from(end));
                cuts.change(&Range { low, high }, |holds| *holds ^= 1 << bit);
            }
            prop_assert!(cuts.is_whole());
            prop_assert_eq!(cuts.bytes(), Cuts::new(0u32).bytes());
            kept.iter().try_for_each(|(cuts, model)| check(cuts, model))?;
        }
    }
}
