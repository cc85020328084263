//! Lists of any length as text, for people or as JSON, in pieces: each is made when it is asked for, so
//! that neither a list nor its text is ever there as a whole.

use super::table::Columns;
use serde::Serialize;
use std::fmt;

/// Items in a piece: some 100 KB.
const AT_A_TIME: usize = 256;

/// A text in pieces.
pub struct Pieces(Box<dyn Iterator<Item = String> + Send>);

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.next()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces(…)")
    }
}

/// Something that is listed, an object or a line each.
pub trait Listed: Serialize + Send {
    /// Titles of its columns, as `Columns` wants them.
    const TITLES: &'static [&'static str];

    /// A cell for each of them.
    fn cells(&self) -> Vec<String>;
}

/// A list. For people the items are made twice, because columns are as wide as their widest cell.
pub fn told<T: Listed + 'static, I>(json: bool, items: impl Fn() -> I + Send + 'static) -> Pieces
where
    I: Iterator<Item = T> + Send + 'static,
{
    Pieces(match json {
        true => Box::new(std::iter::once_with(move || objects(items())).flatten()),
        false => Box::new(std::iter::once_with(move || lines(items)).flatten()),
    })
}

/// What serde_json makes of the whole list, and a line's end.
fn objects<T: Serialize>(mut items: impl Iterator<Item = T>) -> impl Iterator<Item = String> {
    let mut next = Some("[");
    std::iter::from_fn(move || {
        let before = next.take()?;
        let some: Vec<T> = items.by_ref().take(AT_A_TIME).collect();
        if some.is_empty() {
            return Some(if before == "[" { "[]\n" } else { "\n]\n" }.to_owned());
        }
        next = Some(",");
        let text = serde_json::to_string_pretty(&some).unwrap_or_default();
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix("\n]"));
        Some(format!("{before}{}", inside.unwrap_or_default()))
    })
}

/// Lines under a line of titles; nothing if there is no item.
fn lines<T: Listed, I: Iterator<Item = T>>(items: impl Fn() -> I) -> impl Iterator<Item = String> {
    let mut columns = Columns::new(T::TITLES);
    items().for_each(|item| columns.widen(&item.cells()));
    let mut items = items().peekable();
    let mut before = columns.head();
    std::iter::from_fn(move || {
        items.peek()?;
        let mut text = std::mem::take(&mut before);
        text.extend(items.by_ref().take(AT_A_TIME).map(|item| columns.line(&item.cells())));
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Number(usize);

    impl Listed for Number {
        const TITLES: &'static [&'static str] = &["number#"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_string()]
        }
    }

    #[test]
    fn pieces_of_a_list_are_together_what_the_whole_is() {
        for many in [0, 1, AT_A_TIME, AT_A_TIME + 1, 3 * AT_A_TIME] {
            let numbers: Vec<usize> = (0..many).collect();
            let text: String = told(true, move || (0..many).map(Number)).collect();
            assert_eq!(text, serde_json::to_string_pretty(&numbers).unwrap() + "\n");
            let text: String = told(false, move || (0..many).map(Number)).collect();
            let mut lines = text.lines();
            assert_eq!(lines.next(), (many > 0).then_some("  number"));
            let found: Vec<usize> = lines.map(|line| line.trim().parse().unwrap()).collect();
            assert_eq!(found, numbers);
        }
    }
}
