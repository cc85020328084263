//! Workload interfaces by their numbers: two array accesses, whatever their number.
//!
//! Numbers count up from one, so pages fill up; a change copies one page and the list of pages, and
//! shares all others with the generation before.

use super::Interface;
use crate::key::InterfaceId;
use std::sync::Arc;

/// Interfaces of a page.
const PAGE: usize = 1024;

type Page = [Option<Arc<Interface>>; PAGE];

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Interfaces(Arc<Vec<Option<Arc<Page>>>>);

impl Interfaces {
    /// The interface with this number.
    #[inline]
    pub fn get(&self, id: InterfaceId) -> Option<&Arc<Interface>> {
        let (page, place) = at(id);
        self.0.get(page)?.as_ref()?[place].as_ref()
    }

    /// Puts an interface in place of the one with its number, if any.
    pub fn insert(&mut self, id: InterfaceId, interface: Arc<Interface>) {
        let (page, place) = at(id);
        let pages = Arc::make_mut(&mut self.0);
        if page >= pages.len() {
            pages.resize(page + 1, None);
        }
        let page = pages[page].get_or_insert_with(|| Arc::new([const { None }; PAGE]));
        Arc::make_mut(page)[place] = Some(interface);
    }

    /// Takes the interface with this number out. False if there was none.
    pub fn remove(&mut self, id: InterfaceId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let (page, place) = at(id);
        let slot = &mut Arc::make_mut(&mut self.0)[page];
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
    pub fn iter(&self) -> impl Iterator<Item = (InterfaceId, &Arc<Interface>)> {
        let pages = self.0.iter().enumerate();
        pages.flat_map(|(page, entries)| {
            entries.iter().flat_map(|entries| entries.iter()).enumerate().filter_map(
                move |(place, interface)| {
                    Some((InterfaceId((page * PAGE + place) as u32), interface.as_ref()?))
                },
            )
        })
    }
}

/// Which page, and where on it.
#[inline]
const fn at(id: InterfaceId) -> (usize, usize) {
    (id.0 as usize / PAGE, id.0 as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::super::Children;
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
