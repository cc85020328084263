//! How a clause is entered in a table: the bits that it is hashed by, and the sets and the range of
//! values that it chooses by.
//!
//! It depends on the clause alone, so that a rule is found again to be taken out. The values of one
//! list may each have an entry, the most telling list first; lists are never multiplied with each
//! other beyond [`MOST_EXPANDED`], and shared sets not at all: up to [`MOST_PIVOTS`] can be hashed by
//! their names, and what is not hashed is checked on what is found.

use super::sets::{Domain, SetId};
use super::{Literal, Masked, Range, SPREAD, Values};
use crate::cache::mix;
use crate::field::{Context, ETH_TYPE, Slice};
use smallvec::{SmallVec, smallvec};

/// The largest product of lists that is written out.
const MOST_EXPANDED: usize = 16;

/// Values that are noted of a clause beside its entries, with all of them together.
const MOST_NOTED: usize = 1024;

/// Shared sets that a clause is hashed by.
pub(super) const MOST_PIVOTS: usize = 2;

/// A slot, the bits looked for, and the bits looked at.
type Word = (u8, u128, u128);

/// Bits of the words of a packet.
pub(super) type Bits = SmallVec<[(u8, u128); 4]>;

/// The field and the sets that are compared with it.
pub(super) type Pair = (Slice, Domain);

/// What clauses that are looked up together have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Look {
    /// The protocol that they are all for, if it is one of the common ones.
    pub(super) protocol: Option<u16>,
    /// What they look at.
    pub(super) bits: Bits,
    /// The sets that they choose by.
    pub(super) pivots: SmallVec<[Pair; MOST_PIVOTS]>,
    /// The field of which they take a range each.
    pub(super) range: Option<Slice>,
}

/// What a clause chooses by.
#[derive(Clone, Default)]
pub(super) struct Choice {
    /// Sets, one of each of the pairs.
    pub(super) sets: SmallVec<[SetId; MOST_PIVOTS]>,
    /// The range of the field.
    pub(super) range: Option<Range>,
}

/// What a clause looks for.
pub(super) struct Entry {
    /// Where.
    pub(super) look: Look,
    /// The bits to find, word by word.
    pub(super) values: SmallVec<[u128; 4]>,
    /// Their hash.
    pub(super) hash: u64,
}

impl Entry {
    /// A number that tells the entries of a clause apart.
    pub(super) fn id(&self) -> u64 {
        let masks = self.look.bits.iter().map(|bits| bits.1);
        hash_words(self.values.iter().copied().chain(masks))
    }
}

/// How a clause is entered.
pub(super) struct Plan<'a> {
    /// Several for a list.
    pub(super) entries: SmallVec<[Entry; 1]>,
    /// What it chooses by.
    pub(super) choice: Choice,
    /// What is noted of it with each entry, where entries do not tell clauses apart.
    pub(super) rest: Rest<'a>,
}

/// Conditions that no entry is made of: exceptions, ranges, and further lists and sets, unless they
/// are so long that they would multiply the clause.
pub(super) type Rest<'a> = SmallVec<[&'a Literal; 4]>;

/// What is made of a clause's conditions.
struct Sorted<'a> {
    tuple: SmallVec<[Word; 4]>,
    protocol: Option<u16>,
    pivots: SmallVec<[Pair; MOST_PIVOTS]>,
    choice: Choice,
    /// The field of the range that it chooses by.
    range: Option<Slice>,
    /// Lists of which each value has an entry.
    expanded: SmallVec<[(&'a Literal, &'a [Masked]); 4]>,
    rest: Rest<'a>,
}

impl<'a> Sorted<'a> {
    /// `None` if the clause can never hold.
    fn new(clause: &'a [Literal]) -> Option<Self> {
        let mut lists: SmallVec<[(&Literal, &[Masked]); 4]> = SmallVec::new();
        let range = narrowest(clause);
        let mut sorted = Self {
            tuple: SmallVec::new(),
            protocol: None,
            pivots: SmallVec::new(),
            choice: Choice { sets: SmallVec::new(), range: range.map(|it| *it.1) },
            range: range.map(|it| it.0),
            expanded: SmallVec::new(),
            rest: Rest::new(),
        };
        for literal in clause {
            match literal.values() {
                _ if literal.negated() => sorted.rest.push(literal),
                Values::Shared(set) => {
                    let pair = (literal.field(), set.domain);
                    if sorted.pivots.len() < MOST_PIVOTS && !sorted.pivots.contains(&pair) {
                        sorted.pivots.push(pair);
                        sorted.choice.sets.push(set.id);
                    } else {
                        sorted.rest.push(literal);
                    }
                }
                Values::Any(list) if list.len() > 1 => lists.push((literal, list)),
                Values::Range(_) => sorted.rest.push(literal),
                _ => {
                    let one = *literal.list().first()?;
                    if literal.field() == ETH_TYPE && one.mask == ETH_TYPE.ones() {
                        sorted.protocol = common(one.value);
                    }
                    if !add(&mut sorted.tuple, literal, one) {
                        return None;
                    }
                }
            }
        }
        lists.sort_by_cached_key(|(literal, values)| (-telling(values), literal.field()));
        let most = lists.first().map_or(0, |(_, values)| values.len()).max(MOST_EXPANDED);
        let mut entries = 1;
        for (literal, values) in lists {
            if entries * values.len() > most {
                sorted.rest.push(literal);
            } else {
                entries *= values.len();
                sorted.expanded.push((literal, values));
            }
        }
        let mut room = MOST_NOTED.max(entries) / entries;
        sorted.rest.retain(|literal| match room.checked_sub(literal.many()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        Some(sorted)
    }
}

impl<'a> Plan<'a> {
    /// No entries if the clause can never hold.
    pub(super) fn new(clause: &'a [Literal]) -> Self {
        let Some(sorted) = Sorted::new(clause) else {
            return Self { entries: SmallVec::new(), choice: Choice::default(), rest: Rest::new() };
        };
        let Sorted { tuple, protocol, pivots, choice, range, expanded, rest } = sorted;
        let mut tuples: SmallVec<[SmallVec<[Word; 4]>; 1]> = smallvec![tuple];
        for (literal, values) in expanded {
            let expand = |tuple: &SmallVec<[Word; 4]>| {
                let tuple = tuple.clone();
                values.iter().filter_map(move |value| {
                    let mut tuple = tuple.clone();
                    add(&mut tuple, literal, *value).then_some(tuple)
                })
            };
            tuples = tuples.iter().flat_map(expand).collect();
        }
        let entries = tuples.into_iter().map(|tuple| {
            let bits = tuple.iter().filter(|word| word.2 != 0).map(|word| (word.0, word.2));
            let look = Look { protocol, bits: bits.collect(), pivots: pivots.clone(), range };
            let words = tuple.iter().filter(|word| word.2 != 0).map(|word| word.1);
            let values: SmallVec<[u128; 4]> = words.collect();
            let hash = hash_words(values.iter().copied());
            Entry { look, values, hash }
        });
        Self { entries: entries.collect(), choice, rest }
    }

    /// The range that a clause chooses by.
    pub(super) fn range(clause: &[Literal]) -> Option<&Range> {
        narrowest(clause).map(|it| it.1)
    }

    /// What a clause chooses by, and what is noted of it with each entry.
    pub(super) fn beside_entries(clause: &'a [Literal]) -> (Choice, Rest<'a>) {
        Sorted::new(clause).map_or_else(Default::default, |it| (it.choice, it.rest))
    }

    /// The entry of a number.
    pub(super) fn entry(&self, id: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id() == id)
    }
}

impl Look {
    /// Whether a packet is of the protocol that all the clauses are for.
    #[inline]
    pub(super) fn may_hold(&self, context: &Context) -> bool {
        self.protocol.is_none_or(|protocol| context.get(ETH_TYPE) == u128::from(protocol))
    }

    /// The hash of what a packet has there.
    #[inline]
    pub(super) fn hash(&self, context: &Context) -> u64 {
        hash_words(self.bits.iter().map(|&(slot, mask)| context.slots[usize::from(slot)] & mask))
    }
}

/// The hash of words.
#[inline]
pub(super) fn hash_words(words: impl Iterator<Item = u128>) -> u64 {
    words.fold(0, |hash, word| mix(hash ^ word as u64, (word >> 64) as u64 ^ SPREAD))
}

/// A hash with a set in it.
#[inline]
pub(super) fn hash_set(hash: u64, set: SetId) -> u64 {
    mix(hash, u64::from(set.0) ^ SPREAD)
}

/// A hash with all the sets in it that a clause chooses by.
pub(super) fn hash_choice(hash: u64, sets: &[SetId]) -> u64 {
    sets.iter().fold(hash, |hash, set| hash_set(hash, *set))
}

/// The field and the range of a clause that take the fewest of the values they might.
fn narrowest(clause: &[Literal]) -> Option<(Slice, &Range)> {
    let ranges = clause.iter().filter_map(|literal| match literal.values() {
        Values::Range(range) if !literal.negated() => Some((literal.field(), range)),
        _ => None,
    });
    ranges.min_by_key(|(field, range)| {
        let bits = (range.high - range.low).checked_ilog2().unwrap_or(0);
        (i64::from(bits) - i64::from(field.width()), *field)
    })
}

/// The EtherTypes by which clauses are told apart before anything is hashed.
fn common(protocol: u128) -> Option<u16> {
    u16::try_from(protocol).ok().filter(|protocol| [0x0800, 0x0806, 0x86dd].contains(protocol))
}

/// How few packets a list lets pass: the bits that it looks at, but for those its length takes back.
fn telling(values: &[Masked]) -> i64 {
    let bits: u64 = values.iter().map(|value| u64::from(value.mask.count_ones())).sum();
    bits as i64 / values.len() as i64 - i64::from(values.len().ilog2())
}

/// Adds a condition to a tuple; false if it contradicts what is there.
fn add(tuple: &mut SmallVec<[Word; 4]>, literal: &Literal, value: Masked) -> bool {
    let (slot, shift) = (literal.field().slot() as u8, literal.field().shift());
    let (value, mask) = (value.value << shift, value.mask << shift);
    match tuple.binary_search_by_key(&slot, |word| word.0) {
        Ok(at) => {
            let word = &mut tuple[at];
            if (word.1 ^ value) & word.2 & mask != 0 {
                return false;
            }
            word.1 |= value;
            word.2 |= mask;
        }
        Err(at) => tuple.insert(at, (slot, value, mask)),
    }
    true
}
