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
    masks: Vec<(u128, HashMap<u128, Box<[u32]>>)>,
}

/// [`FieldSets`] of all fields, under construction. Sets are the same if they are the same
/// allocation.
#[derive(Default)]
pub(super) struct Builder {
    fields: Vec<(Slice, Vec<Arc<[Masked]>>, HashMap<usize, u32>)>,
}

impl Builder {
    /// Enters a set, and gives the number of its field and its own there.
    pub(super) fn enter(&mut self, field: Slice, set: &Arc<[Masked]>) -> (u16, u32) {
        let found = self.fields.iter().position(|entry| entry.0 == field);
        let index = found.unwrap_or_else(|| {
            self.fields.push((field, Vec::new(), HashMap::new()));
            self.fields.len() - 1
        });
        let (_, sets, numbers) = &mut self.fields[index];
        let address = set.as_ptr().addr();
        let number = *numbers.entry(address).or_insert_with(|| {
            sets.push(Arc::clone(set));
            sets.len() as u32 - 1
        });
        (index as u16, number)
    }

    pub(super) fn finish(self) -> Box<[FieldSets]> {
        self.fields.into_iter().map(|(field, sets, _)| FieldSets::new(field, &sets)).collect()
    }
}

impl FieldSets {
    fn new(field: Slice, sets: &[Arc<[Masked]>]) -> Self {
        let mut masks: Vec<(u128, HashMap<u128, Vec<u32>>)> = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            for value in set.iter() {
                let found = masks.iter().position(|(mask, _)| *mask == value.mask);
                let index = found.unwrap_or_else(|| {
                    masks.push((value.mask, HashMap::new()));
                    masks.len() - 1
                });
                let numbers = masks[index].1.entry(value.value).or_default();
                if numbers.last() != Some(&(number as u32)) {
                    numbers.push(number as u32);
                }
            }
        }
        let frozen = |(mask, values): (u128, HashMap<u128, Vec<u32>>)| {
            let values = values.into_iter().map(|(value, numbers)| (value, numbers.into()));
            (mask, values.collect())
        };
        Self { field, masks: masks.into_iter().map(frozen).collect() }
    }

    /// The sets that `value` belongs to, a sorted list for each mask; one may be in several.
    #[inline]
    pub(super) fn of(&self, value: u128) -> impl Iterator<Item = &[u32]> {
        self.masks
            .iter()
            .filter_map(move |(mask, values)| values.get(&(value & mask)).map(|numbers| &**numbers))
    }

    /// Whether `value` belongs to `set`.
    #[inline]
    pub(super) fn contain(&self, value: u128, set: u32) -> bool {
        self.of(value).any(|numbers| numbers.binary_search(&set).is_ok())
    }
}
