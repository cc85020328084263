//! A long text of updates, cut where rows end and read by several at once.
//!
//! A first download is one message of hundreds of megabytes. To cut it needs no look at most of it:
//! in JSON `},"` with a hexadecimal digit behind is never inside of a string, for there a quotation
//! mark has a backslash before it, and behind one that ends a string comes no digit. So a row's UUID
//! after that is a place where a row ends, unless the server says something unheard of; then a piece
//! does not read, or does not end in the table that the next one was taken to begin in, and the
//! whole is read by one, who also says what is wrong with it and where.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::memmem;

use crate::intern::Interner;
use crate::monitor::{Notation, RowUpdate, Shapes, UpdatesSeed};

/// Who reads, if there is much to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readers {
    pub(crate) many: usize,
    /// Bytes that each takes at a time. A text of fewer than two such pieces is read by one.
    pub(crate) piece: usize,
}

impl Readers {
    const PIECE: usize = 4 << 20;

    /// Those for a text; none if it is short, without asking how many cores there are, which takes
    /// longer than to read it.
    pub(crate) fn of(text: &str) -> Option<Self> {
        /// More would only wait for memory.
        const MOST: usize = 4;
        if text.len() < 2 * Self::PIECE {
            return None;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Self { many: cores.min(MOST), piece: Self::PIECE })
    }
}

/// A run of whole rows, and what must be around it to be read as updates.
struct Piece<'a> {
    /// The table of the first row; the piece at the start of the text says it by itself.
    table: Option<&'a str>,
    text: &'a str,
    is_last: bool,
}

/// What is in a piece, and the table of its last row.
struct Read {
    updates: Vec<RowUpdate>,
    table: Option<String>,
}

/// Reads a text by several, if it is long and they can.
pub(crate) fn read(
    readers: Readers,
    text: &str,
    (shapes, notation): (&Shapes, Notation),
    strings: &mut Interner,
) -> Option<Vec<RowUpdate>> {
    if readers.many < 2 || text.len() < 2 * readers.piece {
        return None;
    }
    let pieces = cut(text, readers.piece);
    if pieces.len() < 2 {
        return None;
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new((Vec::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..readers.many {
            scope.spawn(|| {
                let (mut strings, mut text) = (Interner::default(), String::new());
                let mut made = Vec::new();
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(piece) = pieces.get(at)
                {
                    let read = piece.read(&mut text, (shapes, notation), &mut strings);
                    let failed = read.is_none();
                    made.push((at, read));
                    if failed {
                        next.store(pieces.len(), Ordering::Relaxed);
                    }
                }
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.0.extend(made);
                found.1.push(strings);
            });
        }
    });
    let (mut read, known) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    read.sort_unstable_by_key(|(at, _)| *at);
    let read: Vec<Read> = read.into_iter().map(|(_, read)| read).collect::<Option<_>>()?;
    let tables = read.iter().map(|read| read.table.as_deref());
    let follows = pieces.iter().skip(1).zip(tables).all(|(piece, table)| piece.table == table);
    if read.len() != pieces.len() || !follows {
        return None;
    }
    known.into_iter().for_each(|other| strings.learn(other));
    let mut all = Vec::with_capacity(read.iter().map(|read| read.updates.len()).sum());
    read.into_iter().for_each(|read| all.extend(read.updates));
    Some(all)
}

impl Piece<'_> {
    fn read(
        &self,
        text: &mut String,
        (shapes, notation): (&Shapes, Notation),
        strings: &mut Interner,
    ) -> Option<Read> {
        text.clear();
        if let Some(table) = self.table {
            text.extend(["{\"", table, "\":{"]);
        }
        text.push_str(self.text);
        if !self.is_last {
            text.push_str("}}");
        }
        let mut table = None;
        let seed = UpdatesSeed { shapes, notation, strings };
        let updates = seed.parse_to(text, &mut table).ok()?;
        Some(Read { updates, table })
    }
}

/// Pieces of about that many bytes.
fn cut(text: &str, bytes: usize) -> Vec<Piece<'_>> {
    let mut starts = Vec::new();
    let ends = memmem::Finder::new("},\"");
    let mut from = bytes;
    while let Some(rest) = text.as_bytes().get(from..) {
        let all = ends.find_iter(rest).map(|at| from + at + 2);
        let Some(start) = all.take(MOST_LOOKED_AT).find(|at| is_row(text, *at)) else { break };
        starts.push(start);
        from = start + bytes;
    }
    let tables = tables(text);
    let table_at = |at: usize| {
        let last = tables.partition_point(|table| table.start < at).checked_sub(1)?;
        Some(&text[tables[last].clone()])
    };
    let mut pieces = Vec::with_capacity(starts.len() + 1);
    let mut start = 0;
    for end in starts.into_iter().map(Some).chain([None]) {
        let table = if start == 0 { None } else { table_at(start) };
        // The comma between two rows belongs to neither.
        let text = end.map_or(&text[start..], |end| &text[start..end - 1]);
        pieces.push(Piece { table, text, is_last: end.is_none() });
        start = end.unwrap_or_default();
    }
    pieces
}

/// Ends of objects that are looked at for a row's.
const MOST_LOOKED_AT: usize = 1 << 16;

/// The names of the tables of which there are rows, in their order; one that is missing shows in
/// the pieces.
fn tables(text: &str) -> Vec<Range<usize>> {
    let first = memmem::find(text.as_bytes(), b"{\"").map(|at| at + 1);
    let ends = memmem::find_iter(text.as_bytes(), "}},\"").map(|at| at + 3);
    let others = ends.filter(|at| !is_row(text, *at));
    let name = |quote: usize| {
        let name = &text.as_bytes()[quote + 1..];
        let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let length = name.iter().take_while(is_letter).count();
        let (name, rest) = (quote + 1..quote + 1 + length, &name[length..]);
        (length > 0 && rest.starts_with(b"\":{\"")).then_some(name)
    };
    first.into_iter().chain(others).filter_map(name).collect()
}

/// Whether the quotation mark at that place starts a row: its UUID and an object.
fn is_row(text: &str, quote: usize) -> bool {
    let Some(key) = text.as_bytes().get(quote + 1..quote + 40) else { return false };
    let (uuid, rest) = key.split_at(36);
    let is_uuid = uuid.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid && rest == b"\":{"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ColumnType;
    use crate::shape::Shape;
    use crate::value::AtomType;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use std::sync::Arc;
    use uuid::Uuid;

    fn shapes() -> Shapes {
        let text = ColumnType::scalar(AtomType::String);
        let shape = |name: &str| Shape::new(name, [(Arc::from("c"), text.clone())]);
        Shapes::new(["A", "B", "Logical_Flow"].map(shape))
    }

    /// Strings that look like the end of a row, and others.
    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,20}",
            Just("}},".to_owned()),
            Just("}},\"3e0ffd8e-d587-4828-bea3-62f5ae6fa643\":{".to_owned()),
            Just("}},\"B\":{\"3e0ffd8e-d587-4828-bea3-62f5ae6fa643\":{".to_owned()),
            Just("\\".to_owned()),
        ]
    }

    fn change() -> impl Strategy<Value = Value> {
        prop_oneof![
            6 => word().prop_map(|word| json!({ "insert": { "c": word } })),
            1 => Just(json!({ "delete": null })),
            1 => Just(json!({ "insert": {} })),
        ]
    }

    fn updates() -> impl Strategy<Value = Vec<(&'static str, Vec<(u128, Value)>)>> {
        let table = prop::sample::select(&["A", "B", "Logical_Flow", "not_monitored"][..]);
        let rows = prop::collection::vec((any::<u128>(), change()), 0..12);
        prop::collection::vec((table, rows), 0..6)
    }

    fn both(text: &str, piece: usize) -> (Option<Vec<RowUpdate>>, Option<Vec<RowUpdate>>) {
        let (shapes, notation) = (shapes(), Notation::Difference);
        let (mut one, mut several) = (Interner::default(), Interner::default());
        let seed = UpdatesSeed { shapes: &shapes, notation, strings: &mut one };
        let readers = Readers { many: 3, piece };
        (seed.parse(text).ok(), read(readers, text, (&shapes, notation), &mut several))
    }

    proptest! {
        #[test]
        fn several_read_what_one_reads_or_nothing(updates in updates(), piece in 1..600usize) {
            let object = |rows: &[(u128, Value)]| {
                let rows = rows.iter().map(|(id, value)| (Uuid::from_u128(*id).to_string(), value.clone()));
                Value::Object(rows.collect::<Map<_, _>>())
            };
            let tables = updates.iter().map(|(table, rows)| format!("\"{table}\":{}", object(rows)));
            let text = format!("{{{}}}", tables.collect::<Vec<_>>().join(","));
            let (one, several) = both(&text, piece);
            prop_assert!(one.is_some());
            if several.is_some() {
                prop_assert_eq!(several, one);
            }
        }

        #[test]
        fn what_one_cannot_read_several_cannot(
            text in "\\{\"A\":\\{(\"3e0ffd8e-d587-4828-bea3-62f5ae6fa643\":\\{\"insert\":\\{(\"c\":\"x\")?\\}?\\}?\\}?,?(\"B\":\\{)?){0,6}\\}{0,3}",
            piece in 1..100usize,
        ) {
            let (one, several) = both(&text, piece);
            if several.is_some() {
                prop_assert_eq!(several, one);
            }
        }
    }

    #[test]
    fn a_long_text_is_read_by_several() {
        let row = |n: u128| format!("\"{}\":{{\"initial\":{{\"c\":\"{n}\"}}}}", Uuid::from_u128(n));
        let rows = |from: u128| (from..from + 50).map(row).collect::<Vec<_>>().join(",");
        let text = format!("{{\"A\":{{{}}},\"Logical_Flow\":{{{}}}}}", rows(0), rows(50));
        let (one, several) = both(&text, 300);
        assert_eq!(one.as_ref().map(Vec::len), Some(100));
        assert_eq!(several, one);
    }
}
