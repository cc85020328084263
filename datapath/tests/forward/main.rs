//! Forwarding as a user would tell it: frames in, frames out, and the reasons for those that stay.

mod cache;
mod drops;
mod journey;
mod kit;
mod learn;
mod nesting;
mod parse;
mod publish;
mod rewrite;
mod security;
mod size;
mod trace;
mod tunnel;
