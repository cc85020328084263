//! Things by their numbers: two array accesses, whatever their number.
//!
//! Numbers count up from one, so pages fill up; a change copies one page and the list of pages, and
//! shares all others with the generation before.

use crate::key::{InterfaceId, PortKey};
use std::marker::PhantomData;
use std::sync::Arc;

/// A number that things are found by.
pub trait Number: Copy {
    /// The number itself.
    fn number(self) -> u32;

    /// What has that number.
    fn of(number: u32) -> Option<Self>;
}

impl Number for InterfaceId {
    fn number(self) -> u32 {
        self.0
    }

    fn of(number: u32) -> Option<Self> {
        Some(Self(number))
    }
}

impl Number for PortKey {
    fn number(self) -> u32 {
        self.get().into()
    }

    fn of(number: u32) -> Option<Self> {
        Self::new(u16::try_from(number).ok()?)
    }
}

type Page<T, const PAGE: usize> = [Option<Arc<T>>; PAGE];

/// See the module; `PAGE` is how many lie together.
#[derive(Clone, Debug)]
pub struct Numbered<K, T, const PAGE: usize> {
    pages: Arc<Vec<Option<Arc<Page<T, PAGE>>>>>,
    key: PhantomData<K>,
}

impl<K, T, const PAGE: usize> Default for Numbered<K, T, PAGE> {
    fn default() -> Self {
        Self { pages: Arc::default(), key: PhantomData }
    }
}

impl<K: Number, T, const PAGE: usize> Numbered<K, T, PAGE> {
    /// What has this number.
    #[inline]
    pub fn get(&self, key: K) -> Option<&Arc<T>> {
        let (page, place) = Self::at(key);
        self.pages.get(page)?.as_ref()?[place].as_ref()
    }

    /// Puts something in place of what has its number, if anything has.
    pub fn insert(&mut self, key: K, one: Arc<T>) {
        let (page, place) = Self::at(key);
        let pages = Arc::make_mut(&mut self.pages);
        if page >= pages.len() {
            pages.resize(page + 1, None);
        }
        let page = pages[page].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        Arc::make_mut(page)[place] = Some(one);
    }

    /// Takes out what has this number. False if nothing has.
    pub fn remove(&mut self, key: K) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let (page, place) = Self::at(key);
        let slot = &mut Arc::make_mut(&mut self.pages)[page];
        if let Some(page) = slot {
            let page = Arc::make_mut(page);
            page[place] = None;
            if page.iter().all(Option::is_none) {
                *slot = None;
            }
        }
        true
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = (K, &Arc<T>)> {
        let pages = self.pages.iter().enumerate();
        pages.flat_map(|(page, entries)| {
            entries.iter().flat_map(|entries| entries.iter()).enumerate().filter_map(
                move |(place, one)| Some((K::of((page * PAGE + place) as u32)?, one.as_ref()?)),
            )
        })
    }

    /// All of them, by number.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.iter().map(|(_, one)| one)
    }

    /// Which page, and where on it.
    #[inline]
    fn at(key: K) -> (usize, usize) {
        let number = key.number() as usize;
        (number / PAGE, number % PAGE)
    }
}

impl<K: Number, T, const PAGE: usize> FromIterator<(K, Arc<T>)> for Numbered<K, T, PAGE> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<T>)>>(all: I) -> Self {
        let mut numbered = Self::default();
        all.into_iter().for_each(|(key, one)| numbered.insert(key, one));
        numbered
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Children, Interface, Interfaces};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn named(name: u32) -> Arc<Interface> {
        let name = name.to_string();
        Arc::new(Interface { epoch: 1, name, vif: None, children: Children::default() })
    }

    fn content(interfaces: &Interfaces) -> BTreeMap<u32, String> {
        interfaces.iter().map(|(id, interface)| (id.0, interface.name.clone())).collect()
    }

    proptest! {
        /// An ordinary map is the oracle; a copy made on the way stays as it was.
        #[test]
        fn they_are_a_map_and_a_copy_keeps_what_it_had(
            steps in proptest::collection::vec((0..5000u32, any::<bool>()), 1..200),
            half in 0..200usize,
        ) {
            let (mut interfaces, mut oracle) = (Interfaces::default(), BTreeMap::new());
            let mut kept = None;
            for (step, (id, insert)) in steps.iter().enumerate() {
                if step == half {
                    kept = Some((interfaces.clone(), oracle.clone()));
                }
                // The same few numbers again and again, at both ends of a page.
                let id = id / 512 * 512 + id % 2;
                if *insert {
                    interfaces.insert(InterfaceId(id), named(step as u32));
                    oracle.insert(id, step.to_string());
                } else {
                    let was_there = oracle.remove(&id).is_some();
                    prop_assert_eq!(interfaces.remove(InterfaceId(id)), was_there);
                }
                let name = interfaces.get(InterfaceId(id)).map(|found| found.name.clone());
                prop_assert_eq!(name.as_ref(), oracle.get(&id));
            }
            prop_assert_eq!(content(&interfaces), oracle);
            if let Some((kept, oracle)) = kept {
                prop_assert_eq!(content(&kept), oracle);
            }
        }
    }
}
