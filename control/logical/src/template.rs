//! Template variables (EX-S7): text put in place of `^name` before anything is read.

use crate::error::{Error, Problem};
use std::borrow::Cow;

/// Replaces every `^name` in a match, in actions or in a load balancer's addresses.
///
/// # Errors
/// At the first variable that `value` does not know.
pub fn expand<'a, V: AsRef<str>>(
    text: &'a str,
    mut value: impl FnMut(&str) -> Option<V>,
) -> Result<Cow<'a, str>, Error> {
    if !text.contains('^') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find('^') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let length = behind
            .bytes()
            .enumerate()
            .take_while(|&(i, b)| {
                b.is_ascii_alphabetic() || b == b'_' || b == b'.' || (i > 0 && b.is_ascii_digit())
            })
            .count();
        let (name, tail) = behind.split_at(length);
        if name.is_empty() {
            // Left for the lexer to refuse.
            out.push('^');
        } else {
            let value = value(name).ok_or_else(|| {
                Error::new(text.len() - rest.len() + at, Problem::UnknownTemplate(name.into()))
            })?;
            out.push_str(value.as_ref());
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}
