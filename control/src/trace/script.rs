//! What a trace is told beforehand about what a packet will meet: states of connections, backends
//! of load balancers, members of `select`.

use super::text::CT_STATES;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of ct_state.
pub mod state {
    /// The connection is known.
    pub const ESTABLISHED: u128 = 1 << 1;
    /// The packet was looked up.
    pub const TRACKED: u128 = 1 << 5;
    /// Its source is translated.
    pub const SOURCE_NAT: u128 = 1 << 6;
    /// Its destination is translated.
    pub const DESTINATION_NAT: u128 = 1 << 7;
}

/// An option whose value does not read, in `ovn-trace`'s words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScriptError {
    /// `--ct`
    #[error("{0}: unknown connection tracking state flag")]
    State(String),
    /// `--lb-dst`
    #[error("{0}: bad address")]
    Address(String),
    /// `--select-id`
    #[error("{0}: bad select-id")]
    Member(String),
}

/// The options that decide what is met.
#[derive(Clone, Default, Debug)]
pub struct Script {
    states: VecDeque<u128>,
    /// Whether anything was said of connections and backends.
    pub(super) told: bool,
    /// `--lb-dst`, until it is used.
    pub(super) backend: Option<(IpAddr, u16)>,
    /// `--select-id`
    pub(super) member: Option<u16>,
    seed: u64,
}

impl Script {
    /// Reads the values of `--ct`, `--lb-dst` and `--select-id`.
    ///
    /// # Errors
    /// If one of them does not read.
    pub fn new(
        states: &[String],
        backend: Option<&str>,
        member: Option<&str>,
    ) -> Result<Self, ScriptError> {
        let backend =
            backend.map(|text| address(text).ok_or_else(|| ScriptError::Address(text.to_owned())));
        let member = member.map(|text| {
            let digits = text.trim_start();
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let number: u64 = digits[..end].parse().unwrap_or(0);
            // As wide as a member's number, like upstream's.
            let number = number as u16;
            (number != 0).then_some(number).ok_or_else(|| ScriptError::Member(text.to_owned()))
        });
        Ok(Self {
            told: !states.is_empty() || backend.is_some(),
            states: states.iter().map(|text| state(text)).collect::<Result<_, _>>()?,
            backend: backend.transpose()?,
            member: member.transpose()?,
            seed: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// The next state of a connection, and what is to be said about it.
    pub(super) fn next_state(&mut self) -> (u128, &'static str) {
        match self.states.pop_front() {
            Some(state) => (state, ""),
            None => {
                let assumed = state::ESTABLISHED | state::TRACKED;
                (assumed, " /* default (use --ct to customize) */")
            }
        }
    }

    /// A number below `limit`: the choice that nobody made.
    pub(super) fn any_below(&mut self, limit: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) as usize % limit.max(1)
    }
}

fn state(text: &str) -> Result<u128, ScriptError> {
    let words = text.split([',', ' ', '|', '+']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let bit = CT_STATES.iter().position(|name| *name == word);
            bit.map(|bit| 1 << bit).ok_or_else(|| ScriptError::State(word.to_owned()))
        })
        .try_fold(state::TRACKED, |state, bit| Ok(state | bit?))
}

/// `1.2.3.4`, `1.2.3.4:80`, `fd00::1`, `[fd00::1]:80`
fn address(text: &str) -> Option<(IpAddr, u16)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, 0));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = if port.is_empty() { 0 } else { port.strip_prefix(':')?.parse().ok()? };
        return Some((address.parse::<Ipv6Addr>().ok()?.into(), port));
    }
    let (address, port) = text.rsplit_once(':')?;
    Some((address.parse::<Ipv4Addr>().ok()?.into(), port.parse().ok()?))
}
