//! Tables of neighbours and of MAC addresses (ACT-30 to ACT-33, ACT-52 to ACT-55, ACT-64).

use super::Action;
use super::context::Context;
use crate::error::Error;
use crate::field::FieldRef;
use crate::lexer::Mark;
use ovn_xdp_datapath::program::Family;

const fn width(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

impl Context<'_> {
    /// ACT-30.
    pub(super) fn get_neighbour(&mut self, family: Family) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::Comma)?;
        let address = self.argument(width(family))?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::GetNeighbour { family, port, address })
    }

    /// ACT-31.
    pub(super) fn put_neighbour(&mut self, family: Family) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::Comma)?;
        let address = self.argument(width(family))?;
        self.cursor.expect(Mark::Comma)?;
        let mac = self.argument(48)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::PutNeighbour { family, port, address, mac })
    }

    /// The name and the opening parenthesis of a function whose result is one bit.
    fn test(&mut self, to: &FieldRef) -> Result<(), Error> {
        self.check(to, 1, true)?;
        self.cursor.advance();
        self.cursor.advance();
        Ok(())
    }

    /// ACT-32 and ACT-33.
    pub(super) fn lookup_neighbour(
        &mut self,
        to: FieldRef,
        family: Family,
        with_mac: bool,
    ) -> Result<Action, Error> {
        self.test(&to)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::Comma)?;
        let address = self.argument(width(family))?;
        let mut mac = None;
        if with_mac {
            self.cursor.expect(Mark::Comma)?;
            mac = Some(self.argument(48)?);
        }
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::LookupNeighbour { family, to, port, address, mac })
    }

    /// ACT-52.
    pub(super) fn put_fdb(&mut self) -> Result<Action, Error> {
        self.cursor.expect(Mark::LeftParen)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::Comma)?;
        let mac = self.argument(48)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::PutFdb { port, mac })
    }

    /// ACT-53 and ACT-55.
    pub(super) fn get_fdb(&mut self, to: FieldRef, remote: bool) -> Result<Action, Error> {
        self.check(&to, if to.is_port() { 0 } else { 32 }, true)?;
        self.cursor.advance();
        self.cursor.advance();
        let mac = self.argument(48)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::GetFdb { remote, to, mac })
    }

    /// ACT-54.
    pub(super) fn lookup_fdb(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.test(&to)?;
        let port = self.argument(0)?;
        self.cursor.expect(Mark::Comma)?;
        let mac = self.argument(48)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::LookupFdb { to, port, mac })
    }

    /// ACT-64: the address is that of an ARP request or of a neighbour solicitation.
    pub(super) fn check_evpn_arp(&mut self, to: FieldRef) -> Result<Action, Error> {
        self.test(&to)?;
        let address = self.lvalue()?;
        let wanted = if address.bits == 128 { 128 } else { 32 };
        self.check(&address, wanted, false)?;
        self.cursor.expect(Mark::RightParen)?;
        Ok(Action::CheckEvpnArp { to, address })
    }
}
