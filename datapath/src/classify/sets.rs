//! Large sets of values: to which of them a packet's value belongs, in one look-up per mask.
//!
//! Each set is entered once, however many rules name it and whatever it is combined with. What a
//! value belongs to is a sorted list of set numbers.

use super::Masked;
use crate::field::Slice;
use hashbrown::HashMap;
use std::sync::Arc;

/// The sets that are compared with one field.
#[derive(Clone, Debug)]
pub(super) struct FieldSets {
    pub(super) field: Slice,
    masks: Vec<Members<Box<[u32]>>>,
}

/// Values under one mask, and the sets that each belongs to.
#[derive(Clone, Debug)]
struct Members<L> {
    mask: u128,
    of: HashMap<u128, L>,
}

/// [`FieldSets`] of all fields, under construction.
#[derive(Default)]
pub(super) struct Builder(Vec<Entered>);

/// The sets entered for one field; they are the same if they are the same allocation.
struct Entered {
    field: Slice,
    sets: Vec<Arc<[Masked]>>,
    numbers: HashMap<usize, u32>,
}

impl Builder {
    /// Enters a set, and gives the number of its field and its own there.
    pub(super) fn enter(&mut self, field: Slice, set: &Arc<[Masked]>) -> (u16, u32) {
        let found = self.0.iter().position(|entered| entered.field == field);
        let index = found.unwrap_or_else(|| {
            self.0.push(Entered { field, sets: Vec::new(), numbers: HashMap::new() });
            self.0.len() - 1
        });
        let Entered { sets, numbers, .. } = &mut self.0[index];
        let number = *numbers.entry(set.as_ptr().addr()).or_insert_with(|| {
            sets.push(Arc::clone(set));
            sets.len() as u32 - 1
        });
        (index as u16, number)
    }

    pub(super) fn finish(self) -> Box<[FieldSets]> {
        self.0.into_iter().map(|entered| FieldSets::new(entered.field, &entered.sets)).collect()
    }
}

impl FieldSets {
    fn new(field: Slice, sets: &[Arc<[Masked]>]) -> Self {
        let mut masks: Vec<Members<Vec<u32>>> = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let number = number as u32;
            for value in set.iter() {
                let found = masks.iter().position(|members| members.mask == value.mask);
                let index = found.unwrap_or_else(|| {
                    masks.push(Members { mask: value.mask, of: HashMap::new() });
                    masks.len() - 1
                });
                let numbers = masks[index].of.entry(value.value).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        let frozen = |Members { mask, of }: Members<Vec<u32>>| {
            let of = of.into_iter().map(|(value, numbers)| (value, numbers.into())).collect();
            Members { mask, of }
        };
        Self { field, masks: masks.into_iter().map(frozen).collect() }
    }

    /// The sets that `value` belongs to, a sorted list for each mask; one may be in several.
    #[inline]
    pub(super) fn of(&self, value: u128) -> impl Iterator<Item = &[u32]> {
        self.masks.iter().filter_map(move |members| {
            members.of.get(&(value & members.mask)).map(|numbers| &**numbers)
        })
    }

    /// Whether `value` belongs to `set`.
    #[inline]
    pub(super) fn contain(&self, value: u128, set: u32) -> bool {
        self.of(value).any(|numbers| numbers.binary_search(&set).is_ok())
    }
}
