//! What a trace is told beforehand about what a packet will meet: states of connections, backends
//! of load balancers, members of `select`.

use super::text::CT_STATES;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Bits of ct_state.
pub mod state {
    /// The packet opens a connection.
    pub const NEW: u128 = 1 << 0;
    /// The connection is known.
    pub const ESTABLISHED: u128 = 1 << 1;
    /// The packet is a reply.
    pub const REPLY: u128 = 1 << 3;
    /// The packet is of no connection that could be.
    pub const INVALID: u128 = 1 << 4;
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
        let member = member.map(|text| match leading_number(text) {
            0 => Err(ScriptError::Member(text.to_owned())),
            // As wide as a member's number, like upstream's.
            number => Ok(number as u16),
        });
        Ok(Self {
            told: !states.is_empty() || backend.is_some(),
            states: states.iter().map(|text| state(text)).collect::<Result<_, _>>()?,
            backend: backend.transpose()?,
            member: member.transpose()?,
            seed: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Why a connection would not be in one of the states.
    pub(super) fn contradictions(&self) -> Vec<String> {
        self.states.iter().flat_map(|state| contradictions(*state)).collect()
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
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let bit = CT_STATES.iter().position(|name| *name == word);
            bit.map(|bit| 1 << bit).ok_or_else(|| ScriptError::State(word.to_owned()))
        })
        .try_fold(state::TRACKED, |state, bit| Ok(state | bit?))
}

/// What no connection tracker would say of a packet, in `ovn-trace`'s words.
fn contradictions(state: u128) -> Vec<String> {
    let names = CT_STATES.iter().enumerate().filter(|(bit, _)| state >> bit & 1 == 1);
    let names = names.map(|(_, name)| *name).collect::<Vec<_>>().join("|");
    let both = |a, b| state & a != 0 && state & b != 0;
    [
        (
            both(state::INVALID, !(state::TRACKED | state::INVALID)),
            r#"when "inv" is set, only "trk" may also be set"#,
        ),
        (both(state::NEW, state::ESTABLISHED), r#""new" and "est" are mutually exclusive"#),
        (both(state::NEW, state::REPLY), r#""new" and "rpy" are mutually exclusive"#),
    ]
    .iter()
    .filter(|(wrong, _)| *wrong)
    .map(|(_, why)| format!("{names}: invalid connection state: {why}"))
    .collect()
}

/// `1.2.3.4`, `1.2.3.4:80`, `fd00::1`, `[fd00::1]:80`; a port that is empty is none.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let mut inside = false;
    let colons = text.char_indices().filter(|(_, c)| {
        inside = (inside || *c == '[') && *c != ']';
        *c == ':' && !inside
    });
    let (host, port) = match colons.map(|(at, _)| at).collect::<Vec<_>>()[..] {
        [colon] => (&text[..colon], &text[colon + 1..]),
        // Several colons are those of an address.
        _ => (text, ""),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let port = if port.is_empty() { 0 } else { port.trim_start().parse().ok()? };
    Some((host.parse().ok()?, port))
}

/// Digits as `strtoul` takes them: behind spaces and a sign, up to what is none, or 0.
fn leading_number(text: &str) -> u64 {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = match &digits[..end] {
        "" => 0,
        digits => digits.parse().unwrap_or(u64::MAX),
    };
    if negative { number.wrapping_neg() } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_backend_reads_as_in_ovn_trace() {
        let v4 = |port| Some(([1, 2, 3, 4].into(), port));
        let v6 = |port| Some((Ipv6Addr::LOCALHOST.into(), port));
        for (text, wanted) in [
            ("1.2.3.4", v4(0)),
            ("1.2.3.4:", v4(0)),
            ("1.2.3.4:80", v4(80)),
            ("1.2.3.4:+80", v4(80)),
            ("1.2.3.4: 80", v4(80)),
            ("[1.2.3.4]:80", v4(80)),
            ("::1", v6(0)),
            ("[::1]", v6(0)),
            ("[::1]:", v6(0)),
            ("[::1]:80", v6(80)),
            ("", None),
            ("::1:", None),
            ("foo", None),
            ("1.2.3.4:99999", None),
            ("1.2.3.4:80:90", None),
            ("1.2.3.4:0x50", None),
        ] {
            assert_eq!(address(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_member_reads_as_in_ovn_trace() {
        let member = |text| Script::new(&[], None, Some(text)).map(|script| script.member);
        for (text, wanted) in
            [("1", 1), ("1x", 1), (" +3", 3), ("-1", u16::MAX), ("65536", 0), ("70000", 4464)]
        {
            assert_eq!(member(text), Ok(Some(wanted)), "{text:?}");
        }
        for text in ["", "0", "x"] {
            assert_eq!(member(text), Err(ScriptError::Member(text.into())));
        }
    }

    #[test]
    fn states_that_exclude_each_other_are_named() {
        let script = |states: &[&str]| {
            Script::new(&states.iter().map(ToString::to_string).collect::<Vec<_>>(), None, None)
        };
        let said = script(&["new, rpl", "est"]).unwrap().contradictions();
        assert_eq!(
            said,
            [r#"new|rpl|trk: invalid connection state: "new" and "rpy" are mutually exclusive"#]
        );
        assert_eq!(script(&["new|est"]).unwrap_err(), ScriptError::State("new|est".into()));
    }
}
