//! Verdicts by what identifies a packet's connection: one look-up for an established packet.
//!
//! Sets of eight ways, found by a seeded hash, so that a tenant cannot aim at a set; memory is fixed
//! at the start but for the verdicts themselves. A connection takes three lines of it: its set's
//! signatures, and an entry of two. What the connections of the same ports have in common, which is
//! all but their key, is one [`Verdict`] for all of them, so that it stays near while the
//! connections are many. A key may be in two sets, so that the cache fills to its capacity before
//! anything has to go; then the way that has not been used since the hand came by goes (CLOCK). A
//! verdict that does not hold for a packet is replaced by that packet's.
//!
//! A batch of packets is looked up in three goes ([`Cache::approach`], [`Cache::reach`],
//! [`Cache::find`]), each of which reads one line for every packet of the batch before it waits for
//! any of them.

use crate::parse::Parsed;
use crate::verdict::Verdict;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

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

/// A connection kept.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// When it is to be walked again, nanoseconds.
    expires: u64,
    verdict: u32,
    source_port: u16,
}

const EMPTY: Entry =
    Entry { key: Key { origin: 0, fields: [0; 4] }, expires: 0, verdict: 0, source_port: 0 };

/// A connection that was found.
#[derive(Debug)]
pub struct Found<'c> {
    /// What becomes of its packets.
    pub verdict: &'c Verdict,
    /// The generation that the verdict was last found to hold under.
    pub generation: &'c mut u64,
    /// When it is to be walked again, nanoseconds.
    pub expires: u64,
    /// Source port of its tunnel packets.
    pub source_port: u16,
}

/// Connections and verdicts of one worker.
#[derive(Debug)]
pub struct Cache {
    sets: Box<[Set]>,
    /// The ways of all sets.
    entries: Box<[Entry]>,
    verdicts: Verdicts,
    mask: usize,
    /// Which of its two sets the next key without a free way takes one from.
    turn: bool,
}

/// What is looked at first: a line of memory.
#[derive(Clone, Copy, Default, Debug)]
#[repr(align(64))]
struct Set {
    signatures: [u32; WAYS],
    used: u8,
    hand: u8,
}

const WAYS: usize = 8;
const SEED: u64 = 0xa076_1d64_78bd_642f;

impl Cache {
    /// A cache of at least `capacity` connections.
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: vec![Set::default(); sets].into(),
            entries: vec![EMPTY; sets * WAYS].into(),
            verdicts: Verdicts::default(),
            mask: sets - 1,
            turn: false,
        }
    }

    /// Reads what [`Cache::reach`] will look at; gives something that depends on it.
    #[inline]
    pub fn approach(&self, hash: u64) -> u32 {
        self.sets[self.sets_of(hash)[0]].signatures[0]
    }

    /// Reads the entry that [`Cache::find`] will compare with, most likely; gives something that
    /// depends on it.
    #[inline]
    pub fn reach(&self, hash: u64) -> u32 {
        let place = self.sets_of(hash).into_iter().find_map(|set| {
            let matches = self.sets[set].matches(signature(hash));
            (matches != 0).then(|| set * WAYS + matches.trailing_zeros() as usize)
        });
        // An entry may lie across two lines.
        place.map_or(0, |place| {
            let entry = &self.entries[place];
            entry.key.origin as u32 ^ entry.verdict
        })
    }

    /// The place of the connection with this key.
    #[inline]
    pub fn find(&mut self, hash: u64, key: &Key) -> Option<usize> {
        let [first, second] = self.sets_of(hash);
        self.find_in(first, hash, key).or_else(|| self.find_in(second, hash, key))
    }

    #[inline]
    fn find_in(&mut self, index: usize, hash: u64, key: &Key) -> Option<usize> {
        let set = &mut self.sets[index];
        let mut matches = set.matches(signature(hash));
        while matches != 0 {
            let way = matches.trailing_zeros() as usize;
            let place = index * WAYS + way;
            if self.entries[place].key.is(key) {
                // Most times it is set: a line that is only read need not be written back.
                if set.used & 1 << way == 0 {
                    set.used |= 1 << way;
                }
                return Some(place);
            }
            matches &= matches - 1;
        }
        None
    }

    #[inline]
    fn sets_of(&self, hash: u64) -> [usize; 2] {
        [hash as usize & self.mask, hash.wrapping_mul(SEED).rotate_left(32) as usize & self.mask]
    }

    /// The connection at a place that [`Cache::find`] gave.
    #[inline]
    pub fn at(&mut self, place: usize) -> Option<Found<'_>> {
        let Entry { expires, verdict, source_port, .. } = *self.entries.get(place)?;
        let Shared { verdict, generation, .. } = self.verdicts.at(verdict)?;
        Some(Found { verdict, generation, expires, source_port })
    }

    /// Keeps a connection, in the place of the one with its key or of another; whether another went.
    pub fn insert(
        &mut self,
        hash: u64,
        key: Key,
        verdict: Verdict,
        generation: u64,
        expires: u64,
        source_port: u16,
    ) -> bool {
        let (place, evicted) = match self.find(hash, &key) {
            Some(place) => (place, false),
            None => self.make_room(hash),
        };
        // Before the old one goes: it is the same more often than not.
        let verdict = self.verdicts.keep(verdict, generation);
        let old = std::mem::replace(
            &mut self.entries[place],
            Entry { key, expires, verdict, source_port },
        );
        self.verdicts.release(old.verdict);
        evicted
    }

    fn make_room(&mut self, hash: u64) -> (usize, bool) {
        let sets = self.sets_of(hash);
        // The first is where a look-up begins; it is not filled up while the second has more room.
        let found = match sets.map(|index| self.sets[index].free()) {
            [0, 0] => None,
            [0 | 1, second] if second > 1 => Some(sets[1]),
            [0, _] => Some(sets[1]),
            _ => Some(sets[0]),
        };
        let (index, way) = match found {
            Some(index) => (index, self.sets[index].matches(0).trailing_zeros() as usize),
            None => {
                let index = sets[usize::from(self.turn)];
                self.turn = !self.turn;
                (index, self.sets[index].victim())
            }
        };
        let set = &mut self.sets[index];
        set.signatures[way] = signature(hash);
        set.used |= 1 << way;
        (index * WAYS + way, found.is_none())
    }

    /// The connections that are kept.
    pub fn connections(&self) -> impl Iterator<Item = (&Key, &Verdict)> {
        self.entries.iter().filter_map(|entry| {
            Some((&entry.key, &self.verdicts.slots.get(entry.verdict as usize)?.as_ref()?.verdict))
        })
    }

    /// How many connections are kept.
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| WAYS - set.free() as usize).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections can be kept.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// How many verdicts the connections have.
    pub fn verdicts(&self) -> usize {
        self.verdicts.by_print.len()
    }
}

impl Key {
    /// Equality without a branch a word.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.fields;
        let [e, f, g, h] = other.fields;
        (self.origin ^ other.origin) | (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }
}

impl Set {
    /// The ways with a signature, a bit each.
    #[inline]
    fn matches(&self, signature: u32) -> u32 {
        let bit = |way: usize| u32::from(self.signatures[way] == signature) << way;
        (0..WAYS).fold(0, |ways, way| ways | bit(way))
    }

    fn free(&self) -> u32 {
        self.matches(0).count_ones()
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

/// Verdicts by number, from one on; each is kept once, as long as a connection has it.
#[derive(Default, Debug)]
struct Verdicts {
    slots: Vec<Option<Box<Shared>>>,
    free: Vec<u32>,
    /// Of the prints: nobody outside can make many of them equal.
    state: RandomState,
    /// Numbers by print.
    by_print: HashTable<(u64, u32)>,
}

#[derive(Debug)]
struct Shared {
    verdict: Verdict,
    generation: u64,
    print: u64,
    connections: u32,
}

impl Verdicts {
    #[inline]
    fn at(&mut self, number: u32) -> Option<&mut Shared> {
        self.slots.get_mut(number as usize)?.as_deref_mut()
    }

    /// The number of a verdict that has just been found to hold under a generation.
    fn keep(&mut self, verdict: Verdict, generation: u64) -> u32 {
        let print = verdict.print(&self.state);
        let slots = &mut self.slots;
        let known = self.by_print.find(print, |(_, number)| {
            let known = slots.get(*number as usize).and_then(Option::as_deref);
            known.is_some_and(|known| known.verdict.is(&verdict))
        });
        if let Some(&(_, number)) = known
            && let Some(Some(shared)) = slots.get_mut(number as usize)
        {
            shared.generation = generation;
            shared.connections += 1;
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            slots.resize_with((slots.len() + 1).max(2), || None);
            slots.len() as u32 - 1
        });
        let shared = Shared { verdict, generation, print, connections: 1 };
        slots[number as usize] = Some(Box::new(shared));
        self.by_print.insert_unique(print, (print, number), |(print, _)| *print);
        number
    }

    /// A connection has it no more; zero is none.
    fn release(&mut self, number: u32) {
        let Some(shared) = self.at(number) else { return };
        shared.connections -= 1;
        if shared.connections > 0 {
            return;
        }
        let print = shared.print;
        if let Ok(known) = self.by_print.find_entry(print, |known| known.1 == number) {
            known.remove();
        }
        self.slots[number as usize] = None;
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outputs;

    fn key(number: u64) -> Key {
        Key { origin: number.into(), fields: [0; 4] }
    }

    fn verdict(guard: u128) -> Verdict {
        Verdict {
            outputs: Outputs::Many(Box::new([])),
            drop: None,
            arrival: None,
            path: None,
            guard: (guard, guard),
            lengths: (0, u32::MAX),
            ttl_above: 0,
            expires: u64::MAX,
            rests_on: Box::new([]),
            cacheable: true,
        }
    }

    #[test]
    fn a_verdict_is_kept_once_and_as_long_as_a_connection_has_it() {
        let mut cache = Cache::new(64);
        let mut evicted = 0;
        let mut keep = |cache: &mut Cache, number: u64, guard| {
            let key = key(number);
            evicted += u32::from(cache.insert(key.hash(1), key, verdict(guard), 1, u64::MAX, 0));
        };
        for number in 0..1000 {
            keep(&mut cache, number, number.into());
            assert_eq!(cache.verdicts(), cache.len());
        }
        for number in 0..1000 {
            keep(&mut cache, number, u128::from(number % 2));
        }
        assert_eq!(cache.len(), cache.capacity());
        assert!(cache.verdicts() <= 2 && evicted > 1800, "{} {evicted}", cache.verdicts());
        let last = key(999);
        let place = cache.find(last.hash(1), &last).expect("the last is there");
        assert_eq!(cache.at(place).expect("a connection").verdict.guard, (1, 1));
    }
}
