//! Clauses that a hash does not tell apart: those that a packet may match, found some hundred at a
//! time.
//!
//! A hash costs the same for a group of one clause as for one of a hundred thousand. Where a table
//! has many groups of few clauses, each with bits of its own to look at, the clauses lie here, and so
//! do many clauses under one hash. They are in blocks, in the order of their rules. For each four bits
//! that clauses of a block look at, and each of the sixteen values, the block has a bit for each
//! clause: whether it may hold. The marks that a packet picks are ANDed, lists and exceptions take out
//! what they can ([`Lists`]), and what is left is checked as a whole, so that bits which are not kept
//! cost time and no more. Both the time and the memory that a clause costs have a bound, whatever its
//! masks are.

use super::Rank;
use super::group::{Best, Candidate};
use super::listed::Lists;
use super::mark::{Mark, ROWS};
use super::plan::{Bits, Entry, Plan, Rest};
use super::sets::Sets;
use crate::field::Context;
use std::sync::Arc;

/// Groups of four bits that a block keeps; more would cost a miss more than they spare.
const MOST_COLUMNS: usize = 24;

/// Columns that are ANDed before it is asked whether anything is left.
const STRIDE: usize = 4;

/// Clauses that are checked in whatever order they come; of more, the best first.
const FEW: u32 = 16;

/// The clauses.
#[derive(Clone, Default, Debug)]
pub(super) struct Screen {
    /// In order, none of them empty.
    blocks: Vec<Arc<Block>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Block {
    /// Not after any of its clauses, and after all of the blocks before.
    first: Key,
    live: Mark,
    columns: Vec<Column>,
    lists: Lists,
    /// By their bit.
    rows: Vec<Option<Row>>,
    /// The bits of the clauses, in order.
    sorted: Vec<u16>,
}

/// Four bits of a packet's word, and who may hold at each of their values.
#[derive(Clone, Debug)]
struct Column {
    slot: u8,
    shift: u8,
    marks: [Mark; 16],
}

/// A clause, as it was entered in a group.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) candidate: Candidate,
    /// Which of the clause's entries it is; [`Row::ONE_HASH`] where bits tell nothing.
    pub(super) id: u64,
    /// The table's pairs of a field and sets that it may ask about.
    pub(super) pairs: u32,
}

/// Its place: by rule, and then any that is always the same.
type Key = ((Rank, u32), u64);

impl Row {
    /// The number of an entry without bits.
    pub(super) const ONE_HASH: u64 = 0;

    fn key(&self) -> Key {
        (self.candidate.key(), self.id)
    }

    /// Calls with what tells it apart: its entry, and what is noted with it.
    fn told<T>(&self, call: impl FnOnce(Option<&Entry>, &Rest<'_>) -> T) -> T {
        let clause = self.candidate.clause();
        if self.id == Self::ONE_HASH {
            return call(None, &Plan::beside_entries(clause).1);
        }
        let plan = Plan::new(clause);
        call(plan.entry(self.id), &plan.rest)
    }
}

/// The groups of four bits that any bit of a mask is in.
fn nibbles(bits: &Bits) -> impl Iterator<Item = (u8, u8)> + '_ {
    bits.iter().flat_map(|&(slot, mask)| {
        let shifts = (0..128u8).step_by(4).filter(move |shift| mask >> shift & 15 != 0);
        shifts.map(move |shift| (slot, shift))
    })
}

impl Screen {
    /// The number of clauses.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The clause of the best rule.
    pub(super) fn first(&self) -> Option<&Row> {
        self.blocks.first().and_then(|block| block.sorted().next())
    }

    /// All clauses.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.blocks.iter().flat_map(|block| block.sorted())
    }

    /// Whether a clause is there.
    pub(super) fn has(&self, candidate: (Rank, u32), id: u64) -> bool {
        let key = (candidate, id);
        self.block_of(&key).is_some_and(|at| self.blocks[at].find(&key).is_ok())
    }

    /// Looks for a rule that is better than the best.
    #[inline]
    pub(super) fn search<'a>(&'a self, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        for block in &self.blocks {
            if block.first.0.0.order > best.rank.order {
                return;
            }
            block.search(context, sets, best);
        }
    }

    /// Enters a clause; false if it is there.
    pub(super) fn insert(&mut self, row: Row) -> bool {
        let key = row.key();
        let Some(at) = self.block_of(&key) else {
            let mut block = Block::new(key);
            block.insert(row);
            self.blocks.insert(0, Arc::new(block));
            self.len += 1;
            return true;
        };
        if self.blocks[at].find(&key).is_ok() {
            return false;
        }
        if self.blocks[at].sorted.len() == ROWS {
            let [low, high] = self.blocks[at].halves();
            self.blocks.splice(at..=at, [Arc::new(low), Arc::new(high)]);
            return self.insert(row);
        }
        let block = Arc::make_mut(&mut self.blocks[at]);
        block.first = block.first.min(key);
        block.insert(row);
        self.len += 1;
        true
    }

    /// Takes a clause out; false if it is not there.
    pub(super) fn remove(&mut self, candidate: (Rank, u32), id: u64) -> bool {
        let key = (candidate, id);
        let Some(at) = self.block_of(&key) else { return false };
        let Ok(place) = self.blocks[at].find(&key) else { return false };
        self.len -= 1;
        let left = self.blocks[at].sorted.len() - 1;
        if left == 0 {
            self.blocks.remove(at);
            return true;
        }
        Arc::make_mut(&mut self.blocks[at]).remove(place);
        if left < ROWS / 8 && self.blocks.len() > 1 {
            // What is left of it goes to its neighbour.
            let few = self.blocks.remove(at);
            self.len -= left;
            few.sorted().for_each(|row| {
                self.insert(row.clone());
            });
        }
        true
    }

    /// Where a clause belongs; the first block takes what is before it.
    fn block_of(&self, key: &Key) -> Option<usize> {
        let after = self.blocks.partition_point(|block| block.first <= *key);
        (!self.blocks.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Bytes that it takes, rules apart.
    pub(super) fn bytes(&self) -> usize {
        const COUNTS: usize = 16;
        let block = |block: &Arc<Block>| {
            let columns = block.columns.capacity() * size_of::<Column>();
            let rows = block.rows.capacity() * (size_of::<Row>() + size_of::<u16>());
            COUNTS + size_of::<Block>() + columns + rows + block.lists.bytes()
        };
        size_of_val(&*self.blocks) + self.blocks.iter().map(block).sum::<usize>()
    }
}

impl Block {
    fn new(first: Key) -> Self {
        Self {
            first,
            live: Mark::NONE,
            columns: Vec::new(),
            lists: Lists::default(),
            rows: Vec::new(),
            sorted: Vec::new(),
        }
    }

    fn search<'a>(&'a self, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        let mut left = self.live;
        for some in self.columns.chunks(STRIDE) {
            for column in some {
                let value = context.slots[usize::from(column.slot)] >> column.shift & 15;
                left.keep(&column.marks[value as usize]);
            }
            if left == Mark::NONE {
                return;
            }
        }
        if !self.lists.is_empty() {
            left = self.lists.sift(left, context, sets, best);
        }
        if !left.exceeds(FEW) {
            for row in left.iter().filter_map(|bit| self.rows[bit].as_ref()) {
                best.consider(&row.candidate, row.pairs, context, sets);
            }
            return;
        }
        let bits = self.sorted.iter().map(|bit| usize::from(*bit)).filter(|bit| left.has(*bit));
        for row in bits.filter_map(|bit| self.rows[bit].as_ref()) {
            if row.candidate.order > best.rank.order
                || best.consider(&row.candidate, row.pairs, context, sets)
            {
                return;
            }
        }
    }

    /// The clauses, in order.
    fn sorted(&self) -> impl Iterator<Item = &Row> {
        self.sorted.iter().filter_map(|bit| self.rows[usize::from(*bit)].as_ref())
    }

    /// Where a clause is among the sorted, or belongs.
    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.sorted.binary_search_by(|bit| {
            self.rows[usize::from(*bit)].as_ref().map(Row::key).cmp(&Some(*key))
        })
    }

    /// Puts a clause in that is not there; there is room.
    fn insert(&mut self, row: Row) {
        let (Err(place), Some(bit)) = (self.find(&row.key()), self.live.free()) else { return };
        self.live.set(bit, true);
        self.sorted.insert(place, bit as u16);
        row.told(|entry, rest| {
            self.lists.insert(bit, rest, row.pairs);
            self.mark(bit, entry);
        });
        match self.rows.get_mut(bit) {
            Some(free) => *free = Some(row),
            None => self.rows.push(Some(row)),
        }
    }

    /// Notes in the columns at which values a clause may hold.
    fn mark(&mut self, bit: usize, entry: Option<&Entry>) {
        for (slot, shift) in entry.into_iter().flat_map(|entry| nibbles(&entry.look.bits)) {
            let known = self.columns.iter().any(|it| (it.slot, it.shift) == (slot, shift));
            if !known && self.columns.len() < MOST_COLUMNS {
                // Nobody else looks there, or it would be known.
                self.columns.push(Column { slot, shift, marks: [Mark::ALL; 16] });
            }
        }
        for column in &mut self.columns {
            let nibble = |word: u128| (word >> column.shift & 15) as usize;
            let (mask, value) = entry
                .and_then(|entry| {
                    let word = entry.look.bits.iter().position(|it| it.0 == column.slot)?;
                    Some((nibble(entry.look.bits[word].1), nibble(entry.values[word])))
                })
                .unwrap_or_default();
            for (found, mark) in column.marks.iter_mut().enumerate() {
                mark.set(bit, (found ^ value) & mask == 0);
            }
        }
    }

    /// Takes the clause out that is in this place among the sorted.
    fn remove(&mut self, place: usize) {
        let bit = usize::from(self.sorted.remove(place));
        self.live.set(bit, false);
        if let Some(row) = self.rows[bit].take() {
            row.told(|_, rest| self.lists.remove(bit, rest));
        }
    }

    /// Its clauses in two blocks, with the columns that most of them look at.
    fn halves(&self) -> [Self; 2] {
        let rows: Vec<&Row> = self.sorted().collect();
        let (low, high) = rows.split_at(rows.len() / 2);
        [low, high].map(|rows| {
            let mut block = Self::new(rows.first().map_or(self.first, |row| row.key()));
            let mut used: Vec<((u8, u8), usize)> = Vec::new();
            let mut count = |at| match used.iter_mut().find(|it| it.0 == at) {
                Some(it) => it.1 += 1,
                None => used.push((at, 1)),
            };
            for row in rows {
                row.told(|entry, _| {
                    entry.into_iter().flat_map(|it| nibbles(&it.look.bits)).for_each(&mut count);
                });
            }
            used.sort_by_key(|it| std::cmp::Reverse(it.1));
            for ((slot, shift), _) in used.into_iter().take(MOST_COLUMNS) {
                block.columns.push(Column { slot, shift, marks: [Mark::ALL; 16] });
            }
            rows.iter().for_each(|row| block.insert((*row).clone()));
            block
        })
    }
}
