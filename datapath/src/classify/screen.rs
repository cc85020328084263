//! Many small groups as one: the clauses that a packet may match, found some hundred at a time.
//!
//! A hash costs the same for a group of one clause as for one of a hundred thousand. Where a table
//! has many groups of few clauses, each with bits of its own to look at, the clauses lie here, in
//! blocks in the order of their rules. For each four bits that clauses of a block look at, and each
//! of the sixteen values, the block has a word of a bit for each clause: whether it may hold. The
//! words that a packet picks are ANDed, and what is left is checked as a whole, so that bits which
//! are not kept cost time and no more. Both the time and the memory that a clause costs have a
//! bound, whatever its masks are.

use super::Rank;
use super::group::{Best, Candidate};
use super::plan::{Bits, Entry, Plan};
use super::sets::Sets;
use crate::field::Context;
use std::sync::Arc;

/// Clauses of a block.
pub(super) const ROWS: usize = 64 * WORDS;

const WORDS: usize = 8;

/// Groups of four bits that a block keeps; more would cost a miss more than they spare.
const MOST_COLUMNS: usize = 24;

/// Columns that are ANDed before it is asked whether anything is left.
const STRIDE: usize = 4;

/// A bit for each clause of a block.
type Mark = [u64; WORDS];

/// The clauses of small groups.
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
    /// By their bit.
    rows: Vec<Option<Row>>,
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
    /// Which of the clause's entries it is.
    pub(super) id: u64,
    /// The table's pairs of a field and sets that it may ask about.
    pub(super) pairs: u32,
}

/// Its place: by rule, and then any that is always the same.
type Key = ((Rank, u32), u64);

impl Row {
    fn key(&self) -> Key {
        (self.candidate.key(), self.id)
    }

    /// The bits that it looks at, and what it looks for, from its clause.
    pub(super) fn entry(&self) -> Option<Entry> {
        let entries = Plan::new(self.candidate.clause()).entries;
        entries.into_iter().find(|entry| entry.id() == self.id)
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

    /// The order of the best rule.
    pub(super) fn best(&self) -> u32 {
        let first = self.blocks.first();
        first.and_then(|it| it.living().map(|row| row.candidate.order).min()).unwrap_or(u32::MAX)
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
    pub(super) fn insert(&mut self, row: Row, entry: &Entry) -> bool {
        let key = row.key();
        let Some(at) = self.block_of(&key) else {
            let mut block = Block::new(key);
            block.insert(row, entry);
            self.blocks.insert(0, Arc::new(block));
            self.len += 1;
            return true;
        };
        if self.blocks[at].find(&key).is_some() {
            return false;
        }
        if self.blocks[at].is_full() {
            let [low, high] = self.blocks[at].halves();
            self.blocks.splice(at..=at, [Arc::new(low), Arc::new(high)]);
            return self.insert(row, entry);
        }
        let block = Arc::make_mut(&mut self.blocks[at]);
        block.first = block.first.min(key);
        block.insert(row, entry);
        self.len += 1;
        true
    }

    /// Takes a clause out; false if it is not there.
    pub(super) fn remove(&mut self, candidate: (Rank, u32), id: u64) -> bool {
        let key = (candidate, id);
        let Some(at) = self.block_of(&key) else { return false };
        let Some(bit) = self.blocks[at].find(&key) else { return false };
        self.len -= 1;
        let block = Arc::make_mut(&mut self.blocks[at]);
        block.live[bit / 64] &= !(1 << (bit % 64));
        block.rows[bit] = None;
        let left = block.living().count();
        if left == 0 {
            self.blocks.remove(at);
        } else if left < ROWS / 8 && self.blocks.len() > 1 {
            // What is left of it goes to its neighbour.
            let few = self.blocks.remove(at);
            self.len -= left;
            for row in few.living() {
                if let Some(entry) = row.entry() {
                    self.insert(row.clone(), &entry);
                }
            }
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
            COUNTS + size_of::<Block>() + columns + block.rows.capacity() * size_of::<Row>()
        };
        size_of_val(&*self.blocks) + self.blocks.iter().map(block).sum::<usize>()
    }
}

impl Block {
    fn new(first: Key) -> Self {
        Self { first, live: [0; WORDS], columns: Vec::new(), rows: Vec::new() }
    }

    fn search<'a>(&'a self, context: &Context, sets: &Sets, best: &mut Best<'a>) {
        let mut left = self.live;
        for some in self.columns.chunks(STRIDE) {
            for column in some {
                let value = context.slots[usize::from(column.slot)] >> column.shift & 15;
                let mark = &column.marks[value as usize];
                left.iter_mut().zip(mark).for_each(|(left, mark)| *left &= mark);
            }
            if left == [0; WORDS] {
                return;
            }
        }
        for (index, mut word) in left.into_iter().enumerate() {
            while word != 0 {
                let bit = word.trailing_zeros() as usize;
                word &= word - 1;
                if let Some(row) = &self.rows[index * 64 + bit] {
                    best.consider(&row.candidate, row.pairs, context, sets);
                }
            }
        }
    }

    fn living(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flatten()
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let is = |row: &Option<Row>| {
            row.as_ref().is_some_and(|row| row.id == key.1 && row.key() == *key)
        };
        self.rows.iter().position(is)
    }

    fn is_full(&self) -> bool {
        self.live == [u64::MAX; WORDS]
    }

    fn insert(&mut self, row: Row, Entry { look, values, .. }: &Entry) {
        let free = self.live.iter().position(|word| *word != u64::MAX).unwrap_or_default();
        let bit = self.live[free].trailing_ones() as usize;
        let at = free * 64 + bit;
        self.live[free] |= 1 << bit;
        match self.rows.get_mut(at) {
            Some(free) => *free = Some(row),
            None => self.rows.push(Some(row)),
        }
        for (slot, shift) in nibbles(&look.bits) {
            let known = self.columns.iter().any(|it| (it.slot, it.shift) == (slot, shift));
            if !known && self.columns.len() < MOST_COLUMNS {
                // Nobody else looks there, or it would be known.
                self.columns.push(Column { slot, shift, marks: [[u64::MAX; WORDS]; 16] });
            }
        }
        for column in &mut self.columns {
            let word = look.bits.iter().position(|(slot, _)| *slot == column.slot);
            let nibble = |word: u128| (word >> column.shift & 15) as usize;
            let (mask, value) =
                word.map_or((0, 0), |at| (nibble(look.bits[at].1), nibble(values[at])));
            for (found, mark) in column.marks.iter_mut().enumerate() {
                let may = u64::from((found ^ value) & mask == 0);
                mark[free] = mark[free] & !(1 << bit) | may << bit;
            }
        }
    }

    /// Its clauses in two blocks, with the columns that most of them look at.
    fn halves(&self) -> [Self; 2] {
        let mut rows: Vec<_> = self.living().filter_map(|row| Some((row, row.entry()?))).collect();
        rows.sort_by_key(|(row, _)| row.key());
        let (low, high) = rows.split_at(rows.len() / 2);
        [low, high].map(|rows| {
            let mut block = Self::new(rows.first().map_or(self.first, |(row, _)| row.key()));
            let mut used: Vec<((u8, u8), usize)> = Vec::new();
            for at in rows.iter().flat_map(|(_, entry)| nibbles(&entry.look.bits)) {
                match used.iter_mut().find(|it| it.0 == at) {
                    Some(it) => it.1 += 1,
                    None => used.push((at, 1)),
                }
            }
            used.sort_by_key(|it| std::cmp::Reverse(it.1));
            for ((slot, shift), _) in used.into_iter().take(MOST_COLUMNS) {
                block.columns.push(Column { slot, shift, marks: [[u64::MAX; WORDS]; 16] });
            }
            for (row, entry) in rows {
                block.insert((*row).clone(), entry);
            }
            block
        })
    }
}
