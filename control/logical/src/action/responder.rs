//! Answers that the agent gives in place of a server (ACT-35 to ACT-40, ACT-42).

use super::context::Context;
use super::option::{GivenOption, OptionRef};
use super::{Action, OptionTable};
use crate::constant::{Format, Number};
use crate::error::{Error, Refused};
use crate::field::FieldRef;
use crate::lexer::{Mark, Token};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

/// `offerip` among the DHCPv4 options.
const OFFER_IP: u16 = 0;

/// The options of `put_nd_ra_opts`: name, number and type of value. Numbers above 255 are flags of
/// the advertisement itself.
const ND_RA_OPTIONS: [(&str, u16, &str); 8] = [
    ("addr_mode", 0x1000, "str"),
    ("router_preference", 0x1001, "str"),
    ("slla", 1, "mac"),
    ("prefix", 3, "ipv6"),
    ("mtu", 5, "uint32"),
    ("route_info", 24, "str"),
    ("rdnss", 25, "ipv6"),
    ("dnssl", 31, "str"),
];

/// The options of the event `empty_lb_backends`.
const EMPTY_LB_BACKENDS: [(&str, u16, &str); 3] =
    [("vip", 1, "str"), ("protocol", 2, "str"), ("load_balancer", 3, "str")];

fn among(table: &'static [(&str, u16, &str)], name: &str) -> Option<OptionRef<'static>> {
    let &(_, code, kind) = table.iter().find(|row| row.0 == name)?;
    Some(OptionRef { code, kind })
}

impl<'a> Context<'a> {
    /// ACT-35.
    pub(super) fn put_dhcp_opts(&mut self, to: FieldRef) -> Result<Action, Error> {
        let table = self.parameters.dhcp_options;
        let options = self.put_options(&to, "DHCPv4", table)?;
        if !options.iter().any(|option| option.code == OFFER_IP) {
            return Err(self.refuse(Refused::OfferIp));
        }
        Ok(Action::PutDhcpOpts { to, options })
    }

    /// ACT-36.
    pub(super) fn put_dhcpv6_opts(&mut self, to: FieldRef) -> Result<Action, Error> {
        let table = self.parameters.dhcpv6_options;
        let options = self.put_options(&to, "DHCPv6", table)?;
        Ok(Action::PutDhcpv6Opts { to, options })
    }

    fn put_options(
        &mut self,
        to: &FieldRef,
        family: &'static str,
        table: &'a OptionTable,
    ) -> Result<Vec<GivenOption>, Error> {
        self.cursor.advance();
        self.cursor.advance();
        self.check(to, 1, true)?;
        self.options(family, |name| table.get(name).map(OptionRef::from))
    }

    /// ACT-37.
    pub(super) fn put_nd_ra_opts(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.cursor.advance();
        self.cursor.advance();
        self.check(&to, 1, true)?;
        let options = self.options("IPv6 ND RA", |name| among(&ND_RA_OPTIONS, name))?;
        if let Some(bad) = options.iter().find(|option| !fits_advertisement(option)) {
            return Err(self.refuse(Refused::OptionValue(bad.name.clone())));
        }
        let given = |name: &str| options.iter().find(|option| &*option.name == name);
        if given("slla").is_none() {
            return Err(self.refuse(Refused::Slla));
        }
        let stateful = given("addr_mode").and_then(GivenOption::string) == Some("dhcpv6_stateful");
        if !stateful && given("prefix").is_none() {
            return Err(self.refuse(Refused::Prefix));
        }
        self.require("ip6");
        Ok(Action::PutNdRaOpts { to, options })
    }

    /// ACT-39.
    pub(super) fn dhcp_relay(&mut self, to: FieldRef, response: bool) -> Result<Action, Error> {
        self.cursor.advance();
        self.cursor.expect(Mark::LeftParen)?;
        self.check(&to, 1, true)?;
        let relay = self.ipv4("expecting IPv4 dhcp relay and server ips")?;
        self.cursor.accept(Mark::Comma);
        let server = self.ipv4("expecting IPv4 dhcp server ip")?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::DhcpRelayCheck { response, to, relay, server })
    }

    fn ipv4(&mut self, expected: &'static str) -> Result<Ipv4Addr, Error> {
        let Token::Number(Number { value, mask: None, format: Format::Ipv4 }) = self.cursor.token
        else {
            return Err(self.cursor.syntax(expected));
        };
        self.cursor.advance();
        Ok(Ipv4Addr::from(value as u32))
    }

    /// ACT-40. The hint of newer versions is kept as it is written.
    pub(super) fn dns_lookup(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.cursor.advance();
        self.cursor.advance();
        if !self.cursor.accept(Mark::RightParen) {
            return Err(self.refuse(Refused::Parameters("dns_lookup")));
        }
        self.check(&to, 1, true)?;
        self.require("udp");
        Ok(Action::DnsLookup { to })
    }

    /// ACT-42. The meter of older versions is accepted; the flow's own limits the event.
    pub(super) fn trigger_event(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        if !self.cursor.accept_id("event") {
            return Err(self.cursor.syntax("Expecting 'event' option"));
        }
        self.cursor.expect(Mark::Assign)?;
        match self.cursor.token {
            Token::Text("empty_lb_backends") => {}
            Token::Text(_) => return Err(self.cursor.syntax("Unknown event '-1'")),
            _ => return Err(self.cursor.syntax("Expecting string")),
        }
        let event = self.cursor.expect_string("Expecting string")?;
        self.cursor.accept(Mark::Comma);
        let options = self.options("empty_lb_backends", |name| match name {
            "meter" => Some(OptionRef { code: 0, kind: "str" }),
            _ => among(&EMPTY_LB_BACKENDS, name),
        })?;
        for option in &options {
            let Some(value) = option.string() else {
                return Err(self.refuse(Refused::OptionValue(option.name.clone())));
            };
            let refused = match &*option.name {
                "vip" if !is_address_with_port(value) => Refused::EventVip(value.into()),
                "protocol" if !matches!(value, "tcp" | "udp" | "sctp") => {
                    Refused::EventProtocol(value.into())
                }
                "load_balancer" if !is_uuid(value) => Refused::EventLoadBalancer(value.into()),
                _ => continue,
            };
            return Err(self.refuse(refused));
        }
        Ok(Action::TriggerEvent { event, options })
    }
}

fn fits_advertisement(option: &GivenOption) -> bool {
    if option.is_many() {
        return false;
    }
    let format = option.number().map(|number| number.format);
    let masked = option.number().is_some_and(|number| number.mask.is_some());
    match &*option.name {
        "addr_mode" => {
            matches!(option.string(), Some("slaac" | "dhcpv6_stateful" | "dhcpv6_stateless"))
        }
        "router_preference" => matches!(option.string(), Some("MEDIUM" | "HIGH" | "LOW")),
        "slla" => format == Some(Format::Ethernet),
        "prefix" => format == Some(Format::Ipv6) && masked,
        "mtu" => format == Some(Format::Decimal),
        "rdnss" => format == Some(Format::Ipv6),
        _ => option.string().is_some(),
    }
}

/// `10.0.0.1:80` or `[fe80::1]:80`.
fn is_address_with_port(text: &str) -> bool {
    text.parse::<std::net::SocketAddrV4>().is_ok()
        || text.parse::<SocketAddrV6>().is_ok()
        || text.parse::<Ipv4Addr>().is_ok()
        || text.parse::<Ipv6Addr>().is_ok()
        || text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|rest| rest.parse::<Ipv6Addr>().is_ok())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
