//! Forwarding as a user would tell it: frames in, frames out, and the reasons for those that stay.

mod journey;
mod kit;
