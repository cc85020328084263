//! Verdicts by what identifies a packet's connection: one look-up for an established packet.
//!
//! Sets of eight ways, found by a seeded hash, so that a tenant cannot aim at a set; memory is fixed
//! at the start but for the verdicts themselves. A key may be in two sets, so that the cache fills
//! to its capacity before anything has to go; then the way that has not been used since the hand
//! came by goes (CLOCK). A verdict that does not hold for a packet is replaced by that packet's.

use crate::parse::Parsed;
use crate::verdict::Verdict;

/// What a verdict is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Where the packet came from, and the VLAN tag behind its outermost one.
    pub origin: u128,
    /// Slots 6, 7, 8 and 11 of its context.
    pub fields: [u128; 4],
}

impl Key {
    /// The key of a packet from a workload's interface.
    #[inline]
    pub fn interface(interface: u32, parsed: &Parsed) -> Self {
        Self::new(u128::from(interface), parsed)
    }

    /// The key of a packet from a tunnel.
    #[inline]
    pub fn tunnel(vni: u32, inport: u16, outport: u16, parsed: &Parsed) -> Self {
        let keys = u128::from(vni) << 32 | u128::from(inport) << 16 | u128::from(outport);
        Self::new(1 << 64 | keys, parsed)
    }

    fn new(origin: u128, parsed: &Parsed) -> Self {
        let layers = &parsed.layers;
        // Frames whose layers differ under equal fields are not the same connection: a rewrite
        // made for one must not be applied to the other.
        let shape = u128::from(layers.tags) << 4
            | (layers.network as u128) << 1
            | u128::from(layers.transport_at.is_some());
        Self {
            origin: origin | u128::from(parsed.second_tci) << 96 | shape << 112,
            fields: [parsed.link, parsed.source, parsed.destination, parsed.transport],
        }
    }

    /// The hash of the key, which finds it.
    #[inline]
    pub fn hash(&self, seed: u64) -> u64 {
        let [link, source, destination, transport] = self.fields;
        hash(seed, [self.origin, link, source, destination, transport])
    }

    /// The hash of the packet's flow, however it came in: its tags are no part of it.
    pub fn flow(&self, seed: u64) -> u64 {
        let [link, source, destination, transport] = self.fields;
        hash(seed, [0, link >> 16, source, destination, transport])
    }
}

#[inline]
fn hash(seed: u64, words: [u128; 5]) -> u64 {
    let step = |hash, word: u128| mix(hash ^ word as u64, (word >> 64) as u64 ^ SEED);
    mix(words.into_iter().fold(seed, step), SEED)
}

/// Folds the product of two words; both should be hard to guess or well spread.
#[inline]
pub fn mix(one: u64, other: u64) -> u64 {
    let product = u128::from(one ^ 0xe703_7ed1_a0b4_28db) * u128::from(other | 1);
    (product as u64 ^ (product >> 64) as u64) ^ one.rotate_left(23)
}

/// A verdict kept.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The verdict.
    pub verdict: Verdict,
    /// The generation it was last found to hold under.
    pub generation: u64,
    /// When it is to be walked again, nanoseconds.
    pub expires: u64,
}

/// Verdicts of one worker.
#[derive(Debug)]
pub struct Cache {
    sets: Box<[Set]>,
    mask: usize,
    /// Which of its two sets the next key without a free way takes one from.
    turn: bool,
}

/// A set: two lines of memory, of which a look-up reads the signatures and the way that has its own.
#[derive(Default, Debug)]
#[repr(align(128))]
struct Set {
    signatures: [u32; WAYS],
    used: u8,
    hand: u8,
    entries: [Option<Box<Entry>>; WAYS],
}

const WAYS: usize = 8;
const SEED: u64 = 0xa076_1d64_78bd_642f;

impl Cache {
    /// A cache of at least `capacity` verdicts.
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: std::iter::repeat_with(Set::default).take(sets).collect(),
            mask: sets - 1,
            turn: false,
        }
    }

    /// The place of the entry with this key.
    #[inline]
    pub fn find(&mut self, hash: u64, key: &Key) -> Option<usize> {
        let [first, second] = self.sets_of(hash);
        self.find_in(first, hash, key).or_else(|| self.find_in(second, hash, key))
    }

    #[inline]
    fn find_in(&mut self, index: usize, hash: u64, key: &Key) -> Option<usize> {
        let signature = signature(hash);
        let set = &mut self.sets[index];
        for way in 0..WAYS {
            if set.signatures[way] == signature
                && set.entries[way].as_ref().is_some_and(|entry| entry.key == *key)
            {
                set.used |= 1 << way;
                return Some(index * WAYS + way);
            }
        }
        None
    }

    #[inline]
    fn sets_of(&self, hash: u64) -> [usize; 2] {
        [hash as usize & self.mask, hash.wrapping_mul(SEED).rotate_left(32) as usize & self.mask]
    }

    /// The entry at a place that [`Cache::find`] gave.
    #[inline]
    pub fn entry(&mut self, place: usize) -> Option<&mut Entry> {
        let set = self.sets.get_mut(place / WAYS)?;
        set.entries[place % WAYS].as_deref_mut()
    }

    /// Keeps an entry, in the place of the one with its key or of another; whether another went.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> bool {
        let (place, evicted) = match self.find(hash, &entry.key) {
            Some(place) => (place, false),
            None => {
                let sets = self.sets_of(hash);
                let emptier = sets.into_iter().max_by_key(|index| self.sets[*index].free());
                let found = emptier.and_then(|index| {
                    let signatures = &self.sets[index].signatures;
                    let way = signatures.iter().position(|signature| *signature == 0)?;
                    Some((index, way))
                });
                let (index, way) = found.unwrap_or_else(|| {
                    let index = sets[usize::from(self.turn)];
                    self.turn = !self.turn;
                    (index, self.sets[index].victim())
                });
                let set = &mut self.sets[index];
                set.signatures[way] = signature(hash);
                set.used |= 1 << way;
                (index * WAYS + way, found.is_none())
            }
        };
        self.sets[place / WAYS].entries[place % WAYS] = Some(Box::new(entry));
        evicted
    }

    /// The verdicts that are kept.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sets.iter().flat_map(|set| &set.entries).filter_map(|entry| entry.as_deref())
    }

    /// How many verdicts are kept.
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| WAYS - set.free()).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many verdicts can be kept.
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }
}

impl Set {
    fn free(&self) -> usize {
        self.signatures.iter().filter(|signature| **signature == 0).count()
    }

    fn victim(&mut self) -> usize {
        loop {
            let way = usize::from(self.hand) % WAYS;
            self.hand = self.hand.wrapping_add(1);
            if self.used & 1 << way == 0 {
                return way;
            }
            self.used &= !(1 << way);
        }
    }
}

/// Never zero, which is an empty way.
fn signature(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
