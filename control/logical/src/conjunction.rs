//! Tests that must all hold, kept small while they are put together.
//!
//! Tests of one field are intersected where that is exact and cheap, so that the many repetitions
//! of a prerequisite vanish and contradictions are found early. Where it is not, both are kept:
//! a conjunction never means more or less than its tests.

use ovn_xdp_datapath::classify::{Clause, Literal, Masked, SharedSet, Values};
use ovn_xdp_datapath::field::{self, Slice};
use smallvec::SmallVec;

/// Pairs of values beyond which two tests are kept rather than intersected.
const MAX_PAIRS: usize = 4096;

/// Values of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Set {
    /// Of this expression alone; not empty, and no mask is zero.
    List(SmallVec<[Masked; 1]>),
    /// Named.
    Shared(SharedSet),
}

/// One condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Test {
    pub(crate) slice: Slice,
    pub(crate) set: Set,
    pub(crate) negated: bool,
}

/// Tests that must all hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Conjunction(pub(crate) SmallVec<[Test; 1]>);

fn intersect(a: Masked, b: Masked) -> Option<Masked> {
    ((a.value ^ b.value) & a.mask & b.mask == 0)
        .then_some(Masked { value: a.value | b.value, mask: a.mask | b.mask })
}

/// Whether all that `inner` matches, `outer` matches.
fn covers(outer: Masked, inner: Masked) -> bool {
    outer.mask & !inner.mask == 0 && inner.value & outer.mask == outer.value
}

/// Sorts and removes duplicates.
pub(crate) fn tidy(list: &mut SmallVec<[Masked; 1]>) {
    if list.len() > 1 {
        list.sort_unstable();
        list.dedup();
    }
}

impl Test {
    fn list(&self, negated: bool) -> Option<&SmallVec<[Masked; 1]>> {
        match &self.set {
            Set::List(list) if self.negated == negated => Some(list),
            _ => None,
        }
    }

    /// The list of a test that holds for any of it.
    pub(crate) fn any_of(&self) -> Option<&SmallVec<[Masked; 1]>> {
        self.list(false)
    }

    /// The same test on the 32-bit register that it looks at, if it is written as one on several.
    pub(crate) fn in_register(self) -> Self {
        if self.slice.width() <= 32 || !is_divisible(self.slice) {
            return self;
        }
        let Set::List(list) = &self.set else { return self };
        let (low, high) = hull(list);
        if low / 32 == high / 32 { self.cut(low / 32 * 32, low / 32 * 32 + 31) } else { self }
    }

    /// The same test on the bits it looks at, if they are one run for all its values.
    fn narrowed(self) -> Self {
        let Set::List(list) = &self.set else { return self };
        let (low, high) = hull(list);
        let run = (u128::MAX >> (127 - (high - low))) << low;
        if list.iter().all(|value| value.mask == run) { self.cut(low, high) } else { self }
    }

    fn cut(mut self, low: u32, high: u32) -> Self {
        let Set::List(list) = &mut self.set else { return self };
        if let Some(slice) = self.slice.bits(low as u8, high as u8) {
            self.slice = slice;
            for value in list {
                value.value >>= low;
                value.mask >>= low;
            }
        }
        self
    }

    fn literal(self) -> Literal {
        let Self { slice, set, negated } =
            if is_divisible(self.slice) { self.narrowed() } else { self };
        let values = match &set {
            Set::Shared(set) => Values::Shared(*set),
            Set::List(list) => match &list[..] {
                [one] => Values::One(one),
                list => Values::Any(list),
            },
        };
        Literal::new(slice, values, negated)
    }
}

/// The lowest and the highest bit that any of the values looks at.
fn hull(list: &[Masked]) -> (u32, u32) {
    let mask = list.iter().fold(0, |mask, value| mask | value.mask);
    (mask.trailing_zeros(), 127 - mask.leading_zeros())
}

/// Fields whose bits have meanings of their own, unlike those of an address.
fn is_divisible(slice: Slice) -> bool {
    [
        field::XXREG0,
        field::XXREG1,
        field::XREG4,
        field::FLAGS,
        field::CT_STATE,
        field::CT_MARK,
        field::CT_LABEL,
        field::VLAN_TCI,
    ]
    .iter()
    .any(|whole| whole.overlaps(slice))
}

impl Conjunction {
    /// Adds a test; false if it contradicts those before.
    pub(crate) fn add(&mut self, test: Test) -> bool {
        if self.0.contains(&test) {
            return true;
        }
        let slice = test.slice;
        let merged = test.any_of().and_then(|new| {
            let at = self.0.iter().position(|old| {
                old.slice == slice
                    && old.any_of().is_some_and(|old| old.len() * new.len() <= MAX_PAIRS)
            })?;
            let old = self.0[at].any_of()?;
            let mut both: SmallVec<[Masked; 1]> = old
                .iter()
                .flat_map(|&a| new.iter().filter_map(move |&b| intersect(a, b)))
                .collect();
            tidy(&mut both);
            Some((at, both))
        });
        match merged {
            Some((at, both)) => {
                if both.is_empty() {
                    return false;
                }
                self.0[at].set = Set::List(both);
            }
            None => self.0.push(test),
        }
        self.subtract(slice)
    }

    /// Simplifies what is compared positively with `slice` by what is compared negatively; false
    /// if nothing is left.
    fn subtract(&mut self, slice: Slice) -> bool {
        let at = |tests: &[Test], negated| {
            tests.iter().position(|t| t.slice == slice && t.list(negated).is_some())
        };
        let (Some(any), Some(none)) = (at(&self.0, false), at(&self.0, true)) else { return true };
        let (Set::List(kept), Set::List(excluded)) = (&self.0[any].set, &self.0[none].set) else {
            return true;
        };
        if kept.len() * excluded.len() > MAX_PAIRS {
            return true;
        }
        let kept: SmallVec<[Masked; 1]> = kept
            .iter()
            .copied()
            .filter(|&value| !excluded.iter().any(|&other| covers(other, value)))
            .collect();
        if kept.is_empty() {
            return false;
        }
        let excluded: SmallVec<[Masked; 1]> = excluded
            .iter()
            .copied()
            .filter(|&other| kept.iter().any(|&value| intersect(value, other).is_some()))
            .collect();
        self.0[any].set = Set::List(kept);
        if excluded.is_empty() {
            self.0.remove(none);
        } else {
            self.0[none].set = Set::List(excluded);
        }
        true
    }

    /// Both; `None` if they contradict.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        other.0.iter().all(|test| both.add(test.clone())).then_some(both)
    }

    /// As the datapath has it.
    pub(crate) fn clause(self) -> Clause {
        Clause(self.0.into_iter().map(Test::literal).collect())
    }
}
