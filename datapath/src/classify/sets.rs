//! Shared sets: what values are in them, and which of them a value is in.
//!
//! Rules name a set by its [`SetId`]; what is in it lives in the generation, so that an address
//! that comes or goes touches one entry here and no rule, table or datapath. Members are kept by
//! value: one look-up for each mask in use says which sets a packet's value belongs to, however
//! many there are. [`Sets::print`] condenses that, for a verdict to notice when it changes.

use super::trie::{Entry, Trie};
use super::{Masked, SPREAD};
use crate::cache::mix;
use crate::key::DatapathKey;
use crate::publish::Map;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::sync::Arc;

/// An address set as compared with fields of one width, or a port group of one datapath. Never used
/// again for another set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetId(pub u32);

/// Values that can be compared with each other: sets of one domain are looked up together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Domain {
    /// Addresses, by the width of the fields that they are compared with.
    Width(u8),
    /// Ports of a datapath.
    Ports(DatapathKey),
}

/// A [`Domain`] in one word of 32 bits, of which a datapath's key takes 24.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedDomain(u32);

const WIDTH: u32 = 0xff << 24;

impl From<Domain> for PackedDomain {
    fn from(domain: Domain) -> Self {
        Self(match domain {
            Domain::Width(width) => WIDTH | u32::from(width),
            Domain::Ports(datapath) => datapath.get(),
        })
    }
}

impl From<PackedDomain> for Domain {
    fn from(PackedDomain(word): PackedDomain) -> Self {
        match DatapathKey::new(word) {
            Some(datapath) => Self::Ports(datapath),
            None => Self::Width(word as u8),
        }
    }
}

/// A set that rules share by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SharedSet {
    /// Which.
    pub id: SetId,
    /// What it is compared with.
    pub domain: Domain,
}

/// The contents of all shared sets of a generation.
#[derive(Clone, Default, Debug)]
pub struct Sets {
    members: Trie<Member>,
    domains: Map<Domain, Arc<Used>>,
    sets: Map<SetId, Arc<Masks>>,
}

/// Masks, and how many members have each.
type Masks = SmallVec<[(u128, u32); 1]>;

/// The masks of a domain.
#[derive(Clone, Default, Debug)]
struct Used {
    masks: Masks,
    /// Counts changes, for who cannot look at every mask.
    changes: u64,
}

/// Masks of a domain beyond which what a value belongs to is no longer looked up by value.
const MOST_MASKS: usize = 256;

/// A masked value and the sets that it is in, sorted.
#[derive(Clone, Debug)]
struct Member {
    domain: Domain,
    values: Masked,
    sets: SmallVec<[SetId; 4]>,
}

impl Member {
    fn key(&self) -> (Domain, Masked) {
        (self.domain, self.values)
    }
}

impl Entry for Member {
    fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[inline]
fn hash(domain: Domain, values: Masked) -> u64 {
    let domain = match domain {
        Domain::Width(width) => u64::from(width),
        Domain::Ports(datapath) => u64::from(datapath.get()) << 8 | 0xff,
    };
    let fold = |hash, word: u128| mix(hash ^ word as u64, (word >> 64) as u64 ^ SPREAD);
    mix(fold(fold(domain, values.mask), values.value), SPREAD)
}

impl Sets {
    /// Puts values into a set; false if they are there.
    pub fn insert(&mut self, set: SharedSet, values: Masked) -> bool {
        let hash = hash(set.domain, values);
        let known = self.member(hash, set.domain, values);
        let mut sets = known.map(|member| member.sets.clone()).unwrap_or_default();
        let Err(at) = sets.binary_search(&set.id) else { return false };
        sets.insert(at, set.id);
        self.members.insert(hash, Member { domain: set.domain, values, sets });
        self.count(set, values.mask, true);
        true
    }

    /// Takes values out of a set; false if they are not there.
    pub fn remove(&mut self, set: SharedSet, values: Masked) -> bool {
        let hash = hash(set.domain, values);
        let Some(known) = self.member(hash, set.domain, values) else { return false };
        let Ok(at) = known.sets.binary_search(&set.id) else { return false };
        let mut member = known.clone();
        member.sets.remove(at);
        if member.sets.is_empty() {
            self.members.remove(hash, |it| it.order(&member));
        } else {
            self.members.insert(hash, member);
        }
        self.count(set, values.mask, false);
        true
    }

    /// Whether a value is in a set.
    #[inline]
    pub fn contains(&self, set: SharedSet, value: u128) -> bool {
        self.sets.get(&set.id).is_some_and(|masks| {
            masks.iter().any(|&(mask, _)| {
                let values = Masked { value: value & mask, mask };
                self.member(hash(set.domain, values), set.domain, values)
                    .is_some_and(|member| member.sets.binary_search(&set.id).is_ok())
            })
        })
    }

    /// The sets that a value belongs to, a sorted list for each mask; one may be in several. `None`
    /// if there are too many masks to look.
    #[inline]
    pub(super) fn of(&self, domain: Domain, value: u128) -> Option<SmallVec<[&[SetId]; 4]>> {
        let Some(used) = self.domains.get(&domain) else { return Some(SmallVec::new()) };
        if used.masks.len() > MOST_MASKS {
            return None;
        }
        let found = used.masks.iter().filter_map(|&(mask, _)| {
            let values = Masked { value: value & mask, mask };
            self.member(hash(domain, values), domain, values).map(|member| &*member.sets)
        });
        Some(found.collect())
    }

    /// A number that changes when what sets a value belongs to does, and seldom else.
    pub fn print(&self, domain: Domain, value: u128) -> u64 {
        match self.of(domain, value) {
            Some(lists) => lists
                .into_iter()
                .flatten()
                .fold(0, |sum, id| sum.wrapping_add(mix(u64::from(id.0), SPREAD) | 1)),
            None => self.domains.get(&domain).map_or(0, |used| used.changes),
        }
    }

    /// Everything that is in any set, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (SetId, Masked)> {
        self.members.iter().flat_map(|it| it.sets.iter().map(|set| (*set, it.values)))
    }

    /// The number of different values, and of sets with any.
    pub fn len(&self) -> (usize, usize) {
        (self.members.len(), self.sets.size())
    }

    /// Bytes that the members take.
    pub fn bytes(&self) -> usize {
        self.members.bytes()
    }

    #[inline]
    fn member(&self, hash: u64, domain: Domain, values: Masked) -> Option<&Member> {
        let mut found = self.members.find(hash);
        found.find(|member| member.values == values && member.domain == domain)
    }

    /// Counts a member with a mask more or less.
    fn count(&mut self, set: SharedSet, mask: u128, more: bool) {
        if !self.sets.contains_key(&set.id) {
            self.sets.insert_mut(set.id, Arc::default());
        }
        if let Some(masks) = self.sets.get_mut(&set.id) {
            let masks = Arc::make_mut(masks);
            counted(masks, mask, more);
            if masks.is_empty() {
                self.sets.remove_mut(&set.id);
            }
        }
        if !self.domains.contains_key(&set.domain) {
            self.domains.insert_mut(set.domain, Arc::default());
        }
        if let Some(used) = self.domains.get_mut(&set.domain) {
            let used = Arc::make_mut(used);
            counted(&mut used.masks, mask, more);
            used.changes += 1;
        }
    }
}

fn counted(masks: &mut Masks, mask: u128, more: bool) {
    match masks.iter().position(|known| known.0 == mask) {
        Some(at) if more => masks[at].1 += 1,
        Some(at) => {
            masks[at].1 -= 1;
            if masks[at].1 == 0 {
                masks.remove(at);
            }
        }
        None if more => masks.push((mask, 1)),
        None => {}
    }
}
