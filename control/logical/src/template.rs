//! Template variables (EX-S7): text put in place of `^name` before anything is read, except within
//! a string in quotes.

use crate::error::{Error, Problem};
use crate::lexer::{Lexer, Token};
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
    let (mut lexer, mut copied) = (Lexer::new(text), 0);
    loop {
        match lexer.token() {
            (_, Token::End) => break,
            (start, Token::Template(name)) => {
                let value = value(name)
                    .ok_or_else(|| Error::new(start, Problem::UnknownTemplate(name.into())))?;
                out.push_str(&text[copied..start]);
                out.push_str(value.as_ref());
                copied = lexer.position();
            }
            // What is no token is left for the parser to refuse.
            _ => {}
        }
    }
    out.push_str(&text[copied..]);
    Ok(Cow::Owned(out))
}
