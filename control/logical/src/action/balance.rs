//! Load balancers and choices among equals (ACT-16 to ACT-19, ACT-58).

use super::Action;
use super::connection::address;
use super::context::Context;
use crate::error::{Error, Refused};
use crate::field::FieldRef;
use crate::lexer::{Mark, Token};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The weight of a member of `select` that names none.
const DEFAULT_WEIGHT: u16 = 100;

/// Where a load balancer's choice is noted, and whom it chooses from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BalanceKind {
    /// `ct_lb` (ACT-17): ct_label.
    Label,
    /// `ct_lb_mark` (ACT-16): ct_mark.
    Mark,
    /// `ct_lb_mark_local` (ACT-18): ct_mark, of the backends on this chassis.
    MarkLocal,
}

impl BalanceKind {
    /// The action's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Label => "ct_lb",
            Self::Mark => "ct_lb_mark",
            Self::MarkLocal => "ct_lb_mark_local",
        }
    }
}

/// Source NAT of a balanced connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnatFlag {
    /// `skip_snat`
    Skip,
    /// `force_snat`
    Force,
}

/// Where a load balancer sends a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Where it must be bound, for `ct_lb_mark_local`.
    pub logical_port: Option<Box<str>>,
    /// New destination.
    pub address: IpAddr,
    /// New destination port, or zero to keep it.
    pub port: u16,
}

/// An address and, unless zero, a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AffinityAddress {
    /// The address.
    pub address: IpAddr,
    /// The port, or zero for any.
    pub port: u16,
}

impl fmt::Display for AffinityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        if self.port == 0 { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn affinity_address(text: &str) -> Option<AffinityAddress> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None if text.bytes().filter(|&b| b == b':').count() > 1 => {
            (IpAddr::V6(text.parse::<Ipv6Addr>().ok()?), "")
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (IpAddr::V4(text[..end].parse::<Ipv4Addr>().ok()?), &text[end..])
        }
    };
    let port = match port {
        "" => 0,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    Some(AffinityAddress { address, port })
}

impl Context<'_> {
    /// ACT-16 to ACT-18.
    pub(super) fn ct_lb(&mut self, name: &str) -> Result<Action, Error> {
        let kind = match name {
            "ct_lb" => BalanceKind::Label,
            "ct_lb_mark" => BalanceKind::Mark,
            _ => BalanceKind::MarkLocal,
        };
        self.not_in_last_table("ct_lb")?;
        self.require("ip");
        let (mut backends, mut hash_fields, mut snat) = (Vec::new(), None, None);
        if self.cursor.accept(Mark::LeftParen) && !self.cursor.accept(Mark::RightParen) {
            if !self.cursor.accept_id("backends") {
                return Err(self.cursor.syntax("expecting backends"));
            }
            self.cursor.expect(Mark::Assign)?;
            let mut more = false;
            while !self.cursor.accept(Mark::RightParen) {
                if self.cursor.accept(Mark::Semicolon) {
                    more = true;
                    break;
                }
                backends.push(self.backend(kind)?);
                self.cursor.accept(Mark::Comma);
            }
            if more {
                (hash_fields, snat) = self.balance_arguments()?;
            }
        }
        Ok(Action::CtLb { kind, backends, hash_fields, snat })
    }

    /// What stands behind the backends, and the closing parenthesis.
    fn balance_arguments(&mut self) -> Result<(Option<Box<str>>, Option<SnatFlag>), Error> {
        let (mut hash_fields, mut snat) = (None, None);
        loop {
            if self.cursor.accept_id("hash_fields") {
                if !self.cursor.accept(Mark::Assign) {
                    return Err(self.cursor.syntax("invalid hash_fields"));
                }
                hash_fields = Some(self.cursor.expect_string("invalid hash_fields")?);
            } else if self.cursor.accept_id("skip_snat") {
                snat = Some(SnatFlag::Skip);
            } else if self.cursor.accept_id("force_snat") {
                snat = Some(SnatFlag::Force);
            } else {
                return Err(self.cursor.syntax("expecting `;'"));
            }
            if self.cursor.accept(Mark::RightParen) {
                break;
            }
            self.cursor.accept(Mark::Semicolon);
        }
        Ok((hash_fields, snat))
    }

    fn backend(&mut self, kind: BalanceKind) -> Result<Backend, Error> {
        let mut logical_port = None;
        if kind == BalanceKind::MarkLocal {
            logical_port = Some(
                self.cursor
                    .expect_string("expecting logical port name for distributed load balancer")?,
            );
            self.cursor.expect(Mark::Colon)?;
        }
        let brackets = self.cursor.accept(Mark::LeftBracket);
        let address = address(self.cursor.token).filter(|a| !brackets || a.is_ipv6());
        let Some(address) = address else {
            let expecting =
                if brackets { "expecting IPv6 address" } else { "expecting IP address" };
            return Err(self.cursor.syntax(expecting));
        };
        self.cursor.advance();
        if brackets && !self.cursor.accept(Mark::RightBracket) {
            return Err(self.cursor.syntax("no closing square bracket"));
        }
        let mut port = 0;
        if self.cursor.accept(Mark::Colon) {
            if address.is_ipv6() && !brackets {
                let needs = "IPv6 address needs square brackets if port is included";
                return Err(self.cursor.syntax(needs));
            }
            port = self.cursor.expect_u16("port number")?;
        }
        Ok(Backend { logical_port, address, port })
    }

    /// ACT-19.
    pub(super) fn select(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.check(&to, to.bits, true)?;
        if to.bits < 16 {
            let field = to.bit_range().into();
            return Err(self.refuse(Refused::SelectWidth { bits: to.bits, field }));
        }
        self.not_in_last_table("select")?;
        self.cursor.advance();
        self.cursor.advance();
        let with_hash = self.cursor.accept_id("values");
        if with_hash {
            self.cursor.expect(Mark::Assign)?;
            self.cursor.expect(Mark::LeftParen)?;
        }
        let mut members = Vec::new();
        while !self.cursor.accept(Mark::RightParen) {
            let member = self.cursor.expect_u16("id")?;
            let mut weight = DEFAULT_WEIGHT;
            if self.cursor.accept(Mark::Assign) {
                weight = self.cursor.expect_u16("weight")?;
                if weight == 0 {
                    return Err(self.cursor.syntax("weight can't be 0"));
                }
            }
            self.cursor.accept(Mark::Comma);
            members.push((member, weight));
        }
        if members.len() < 2 {
            return Err(self.cursor.syntax("expecting at least 2 group members"));
        }
        let mut hash_fields = None;
        if with_hash {
            self.cursor.expect(Mark::Semicolon)?;
            if !self.cursor.accept_id("hash_fields") {
                return Err(self.cursor.syntax("expecting hash_fields"));
            }
            if !self.cursor.accept(Mark::Assign) {
                return Err(self.cursor.syntax("invalid hash_fields"));
            }
            hash_fields = Some(self.cursor.expect_string("invalid hash_fields")?);
            self.cursor.expect(Mark::RightParen)?;
        }
        Ok(Action::Select { to, members, hash_fields })
    }

    /// ACT-58.
    pub(super) fn commit_lb_affinity(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let vip = self.affinity("vip", None)?;
        let backend = self.affinity("backend", Some(vip))?;
        let mut protocol = None;
        if vip.port != 0 {
            self.parameter("proto")?;
            protocol = Some(self.protocol()?);
            self.cursor.expect(Mark::Comma)?;
        }
        self.parameter("timeout")?;
        let timeout = self.cursor.expect_u16("affinity timeout")?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::CommitLbAffinity { vip, backend, protocol, timeout })
    }

    /// `name = "address:port",`, of the same family as another address.
    fn affinity(
        &mut self,
        name: &'static str,
        like: Option<AffinityAddress>,
    ) -> Result<AffinityAddress, Error> {
        self.parameter(name)?;
        let found = match self.cursor.token {
            Token::Text(text) => affinity_address(text),
            _ => None,
        };
        let address = found.ok_or_else(|| self.cursor.syntax("invalid parameter"))?;
        if like.is_some_and(|other| other.address.is_ipv4() != address.address.is_ipv4()) {
            return Err(self.cursor.syntax("invalid protocol family"));
        }
        self.cursor.advance();
        self.cursor.expect(Mark::Comma)?;
        Ok(address)
    }
}
