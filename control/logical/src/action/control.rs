//! Assignments, the stack and what steers a packet within its chassis (ACT-03 to ACT-07, ACT-43 to
//! ACT-49, ACT-63).

use super::context::Context;
use super::{Action, Function};
use crate::canonical::Names;
use crate::error::{Error, Mismatch, Refused};
use crate::field::FieldRef;
use crate::lexer::{Mark, Token};
use crate::parse::Constants;
use crate::symbol::Kind;

/// The highest queue of `set_queue` (ACT-43).
const MAX_QUEUE: u32 = 0xf000;

impl Context<'_> {
    /// ACT-03 and ACT-65.
    pub(super) fn load(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.check(&to, to.bits, true)?;
        let mut constants = Constants::default();
        constants.read_one(&mut self.cursor, &Names::NONE)?;
        constants.check(&self.cursor, &to)?;
        if let Some(port) = constants.strings().next() {
            return Ok(Action::LoadPort { to, port: port.into() });
        }
        let Some(&value) = constants.numbers().next() else {
            return Err(self.cursor.syntax("expecting constant"));
        };
        Ok(match to.symbol.kind {
            Kind::ErrorMessage => Action::LoadErrorMessage { to, value },
            _ => Action::Load { to, value },
        })
    }

    /// ACT-04.
    pub(super) fn assign(&mut self, to: FieldRef) -> Result<Action, Error> {
        let from = self.lvalue()?;
        if to.is_port() != from.is_port() {
            return Err(self.cursor.error(Mismatch::AssignTypes {
                left_type: to.type_name(),
                left: to.symbol.name.into(),
                right_type: from.type_name(),
                right: from.symbol.name.into(),
            }));
        }
        if to.bits != from.bits {
            let (left, right) = (to.bits, from.bits);
            return Err(self.cursor.error(Mismatch::AssignWidths { left, right }));
        }
        self.check_strings(&to, &from, "assignment")?;
        self.check(&to, to.bits, true)?;
        Ok(Action::Move { to, from })
    }

    /// ACT-05.
    pub(super) fn exchange(&mut self, left: FieldRef) -> Result<Action, Error> {
        let right = self.lvalue()?;
        if left.is_port() != right.is_port() {
            return Err(self.cursor.error(Mismatch::ExchangeTypes {
                left_type: left.type_name(),
                left: left.symbol.name.into(),
                right_type: right.type_name(),
                right: right.symbol.name.into(),
            }));
        }
        if left.bits != right.bits {
            let (left, right) = (left.bits, right.bits);
            return Err(self.cursor.error(Mismatch::ExchangeWidths { left, right }));
        }
        self.check_strings(&left, &right, "exchange")?;
        self.check(&left, left.bits, true)?;
        self.check(&right, right.bits, true)?;
        Ok(Action::Exchange(left, right))
    }

    /// All fields that hold a port are equally wide; one of a test is not.
    fn check_strings(
        &self,
        left: &FieldRef,
        right: &FieldRef,
        use_: &'static str,
    ) -> Result<(), Error> {
        if left.bits == 0 && left.symbol.slice.width() != right.symbol.slice.width() {
            let (left, right) = (left.symbol.name.into(), right.symbol.name.into());
            return Err(self.cursor.error(Mismatch::Strings { left, right, use_ }));
        }
        Ok(())
    }

    /// ACT-06.
    pub(super) fn stack(&mut self, pop: bool) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let field = self.lvalue()?;
        self.check(&field, field.bits, pop)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(if pop { Action::Pop(field) } else { Action::Push(field) })
    }

    /// ACT-07.
    pub(super) fn decrement_ttl(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::Decrement)?;
        self.require("ip");
        Ok(Action::DecrementTtl)
    }

    /// `R = f();`
    pub(super) fn function(&mut self, to: FieldRef, function: Function) -> Result<Action, Error> {
        self.cursor.advance();
        self.cursor.advance();
        if !self.cursor.accept(Mark::RightParen) {
            return Err(self.refuse(Refused::Parameters(function.as_str())));
        }
        self.check(&to, function.width(), true)?;
        Ok(Action::Result { to, function })
    }

    /// ACT-43.
    pub(super) fn set_queue(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let queue = self.integer()?;
        self.cursor.expect(Mark::RightParen)?;
        if queue > MAX_QUEUE {
            return Err(self.refuse(Refused::Queue(queue)));
        }
        Ok(Action::SetQueue(queue as u16))
    }

    /// A small integer, the lack of which OVN notices only at the end of the action.
    fn integer(&mut self) -> Result<u32, Error> {
        let value = self.cursor.small_integer();
        let value = value.ok_or_else(|| self.cursor.syntax("expecting `;'"))?;
        self.cursor.advance();
        Ok(value)
    }

    /// ACT-44.
    pub(super) fn set_meter(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let rate = self.cursor.decimal().unwrap_or(0);
        self.cursor.advance();
        let mut burst = 0;
        if self.cursor.accept(Mark::Comma) {
            burst = self.cursor.decimal().unwrap_or(0);
            self.cursor.advance();
        }
        self.cursor.expect(Mark::RightParen)?;
        if rate == 0 {
            return Err(self.refuse(Refused::Rate(rate)));
        }
        Ok(Action::SetMeter { rate, burst })
    }

    /// ACT-45.
    pub(super) fn check_packet_larger(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.check(&to, 1, true)?;
        self.cursor.advance();
        self.cursor.expect(Mark::LeftParen)?;
        let limit = self.integer()?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::CheckPacketLarger { to, limit })
    }

    /// ACT-46.
    pub(super) fn bind_vport(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.cursor.expect_string("expecting port name string")?;
        self.cursor.expect(Mark::Comma)?;
        let parent = self.argument(0)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::BindVport { port, parent })
    }

    /// ACT-47.
    pub(super) fn handle_service_check(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::HandleServiceCheck(port))
    }

    /// ACT-48.
    pub(super) fn handle_bfd(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::HandleBfd)
    }

    /// `true` or `false`, in quotes or not.
    pub(super) fn truth(&mut self) -> Result<bool, Error> {
        if self.cursor.accept_text("true") || self.cursor.accept_id("true") {
            Ok(true)
        } else if self.cursor.accept_text("false") || self.cursor.accept_id("false") {
            Ok(false)
        } else {
            Err(self.cursor.syntax("expecting true or false"))
        }
    }

    /// ACT-49.
    pub(super) fn forwarding_group(&mut self) -> Result<Action, Error> {
        let (mut liveness, mut ports) = (false, Vec::new());
        if self.cursor.accept(Mark::LeftParen) {
            if self.cursor.accept_id("liveness") {
                self.cursor.expect(Mark::Assign)?;
                liveness = self.truth()?;
                self.cursor.expect(Mark::Comma)?;
            }
            if self.cursor.accept_id("childports") {
                self.cursor.expect(Mark::Assign)?;
                while !self.cursor.accept(Mark::RightParen) {
                    ports.push(self.cursor.expect_string("expecting logical switch port")?);
                    self.cursor.accept(Mark::Comma);
                }
            }
        }
        Ok(Action::ForwardingGroup { liveness, ports })
    }

    /// ACT-63.
    pub(super) fn mirror(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.cursor.expect_string("expecting port name string")?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::Mirror(port))
    }

    /// ACT-57.
    pub(super) fn commit_ecmp_nh(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        self.parameter("ipv6")?;
        let ipv6 = self.truth()?;
        self.cursor.expect(Mark::Comma)?;
        self.parameter("proto")?;
        let protocol = self.protocol()?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::CommitEcmpNh { ipv6, protocol })
    }

    /// `name =`
    pub(super) fn parameter(&mut self, name: &'static str) -> Result<(), Error> {
        if !self.cursor.accept_id(name) {
            return Err(self.cursor.syntax("invalid parameter"));
        }
        self.cursor.expect(Mark::Assign)
    }

    /// `tcp`, `udp` or `sctp` as an IP protocol.
    pub(super) fn protocol(&mut self) -> Result<u8, Error> {
        let number = match self.cursor.token {
            Token::Id("tcp") => 6,
            Token::Id("udp") => 17,
            Token::Id("sctp") => 132,
            _ => return Err(self.cursor.syntax("invalid protocol")),
        };
        self.cursor.advance();
        Ok(number)
    }
}
