//! An OVSDB client: RFC 7047 and its extensions.
#![forbid(unsafe_code)]

pub mod value;
