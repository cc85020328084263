//! Connection tracking and address translation (ACT-08 to ACT-15).

use super::Action;
use super::context::Context;
use crate::constant::{Format, Number};
use crate::error::{Error, Refused};
use crate::lexer::{Mark, Token};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which zone of a router; a switch has one per port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// That of destination NAT, which is the default.
    Dnat,
    /// That of source NAT.
    Snat,
}

impl Zone {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dnat => "dnat",
            Self::Snat => "snat",
        }
    }
}

/// Which address is translated, and in which zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatKind {
    /// `ct_dnat` (ACT-13)
    Dnat,
    /// `ct_snat` (ACT-14)
    Snat,
    /// `ct_dnat_in_czone` (ACT-15)
    DnatInCommonZone,
    /// `ct_snat_in_czone` (ACT-15)
    SnatInCommonZone,
}

impl NatKind {
    /// The action's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dnat => "ct_dnat",
            Self::Snat => "ct_snat",
            Self::DnatInCommonZone => "ct_dnat_in_czone",
            Self::SnatInCommonZone => "ct_snat_in_czone",
        }
    }
}

/// Transport ports to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// The lowest; not zero.
    pub low: u16,
    /// The highest, above `low`, or `None` for the lowest alone.
    pub high: Option<u16>,
}

/// A value under a mask to put on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitValue {
    /// Zero outside the mask.
    pub value: u128,
    /// The bits written.
    pub mask: u128,
}

/// An unmasked IPv4 or IPv6 address.
pub(super) fn address(token: Token<'_>) -> Option<IpAddr> {
    match token {
        Token::Number(Number { value, mask: None, format: Format::Ipv4 }) => {
            Some(Ipv4Addr::from(value as u32).into())
        }
        Token::Number(Number { value, mask: None, format: Format::Ipv6 }) => {
            Some(Ipv6Addr::from(value).into())
        }
        _ => None,
    }
}

impl Context<'_> {
    /// ACT-08.
    pub(super) fn ct_next(&mut self) -> Result<Action, Error> {
        self.not_in_last_table("ct_next")?;
        self.require("ip");
        Ok(Action::CtNext(self.optional_zone("ct_next")?))
    }

    /// ACT-09 and ACT-10.
    pub(super) fn ct_commit(&mut self) -> Result<Action, Error> {
        if self.cursor.is(Mark::LeftBrace) {
            return Ok(Action::CtCommit(self.block(Some("ip"), true)?));
        }
        self.require("ip");
        if !self.cursor.accept(Mark::LeftParen) {
            return Ok(Action::CtCommit(Vec::new()));
        }
        let (mut mark, mut label) = (None, None);
        while !self.cursor.accept(Mark::RightParen) {
            if self.cursor.accept_id("ct_mark") {
                mark = Some(self.commit_value(32)?);
            } else if self.cursor.accept_id("ct_label") {
                label = Some(self.commit_value(128)?);
            } else {
                return Err(self.cursor.syntax("invalid argument"));
            }
            self.cursor.accept(Mark::Comma);
        }
        Ok(Action::CtCommitV1 { mark, label })
    }

    fn commit_value(&mut self, width: u32) -> Result<CommitValue, Error> {
        self.cursor.expect(Mark::Assign)?;
        let Token::Number(number) = self.cursor.token else {
            return Err(self.cursor.syntax("expecting integer"));
        };
        let ones = u128::MAX >> (128 - width);
        let mask = number.mask.unwrap_or(ones) & ones;
        self.cursor.advance();
        Ok(CommitValue { value: number.value & mask, mask })
    }

    /// ACT-11.
    pub(super) fn ct_commit_to_zone(&mut self) -> Result<Action, Error> {
        self.require("ip");
        self.not_in_last_table("ct_commit_to_zone")?;
        self.cursor.expect(Mark::LeftParen)?;
        Ok(Action::CtCommitToZone(self.zone("ct_commit_to_zone")?))
    }

    /// ACT-12.
    pub(super) fn ct_commit_nat(&mut self) -> Result<Action, Error> {
        self.require("ip");
        self.not_in_last_table("ct_commit_nat")?;
        Ok(Action::CtCommitNat(self.optional_zone("ct_commit_nat")?))
    }

    fn optional_zone(&mut self, action: &'static str) -> Result<Zone, Error> {
        if self.cursor.accept(Mark::LeftParen) { self.zone(action) } else { Ok(Zone::Dnat) }
    }

    fn zone(&mut self, action: &'static str) -> Result<Zone, Error> {
        let zone = if self.cursor.accept_id("dnat") {
            Zone::Dnat
        } else if self.cursor.accept_id("snat") {
            Zone::Snat
        } else {
            return Err(self.refuse(Refused::Zone(action)));
        };
        self.cursor.expect(Mark::RightParen)?;
        Ok(zone)
    }

    /// ACT-13 to ACT-15.
    pub(super) fn ct_nat(&mut self, name: &str) -> Result<Action, Error> {
        let kind = match name {
            "ct_dnat" => NatKind::Dnat,
            "ct_snat" => NatKind::Snat,
            "ct_dnat_in_czone" => NatKind::DnatInCommonZone,
            _ => NatKind::SnatInCommonZone,
        };
        self.require("ip");
        self.not_in_last_table(kind.as_str())?;
        if !self.cursor.accept(Mark::LeftParen) {
            return Ok(Action::CtNat { kind, address: None, ports: None });
        }
        let address = address(self.cursor.token)
            .ok_or_else(|| self.cursor.syntax("expecting IPv4 or IPv6 address"))?;
        self.cursor.advance();
        let ports = if self.cursor.accept(Mark::Comma) { Some(self.port_range()?) } else { None };
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::CtNat { kind, address: Some(address), ports })
    }

    fn port_range(&mut self) -> Result<PortRange, Error> {
        let expecting = "expecting Integer for port range";
        let port = |context: &Self| {
            let value = context.cursor.decimal()?;
            u16::try_from(value).ok()
        };
        let low = port(self).ok_or_else(|| self.cursor.syntax(expecting))?;
        if low == 0 {
            return Err(self.cursor.syntax("range can't be 0"));
        }
        self.cursor.advance();
        if !self.cursor.accept(Mark::Hyphen) {
            return Ok(PortRange { low, high: None });
        }
        let high = port(self).ok_or_else(|| self.cursor.syntax(expecting))?;
        if high <= low {
            return Err(self.cursor.syntax("range high should be greater than range low"));
        }
        self.cursor.advance();
        Ok(PortRange { low, high: Some(high) })
    }
}
