//! Where a flow's actions are read: what surrounds them, and which action a word starts.

use super::{Action, Actions, Function, NestedKind};
use crate::canonical;
use crate::cursor::Cursor;
use crate::error::{Error, Problem, Refused};
use crate::expr::Expr;
use crate::field::FieldRef;
use crate::lexer::{Mark, Token};
use crate::parse::{field, parse};
use crate::symbol::Symbols;
use hashbrown::HashMap;
use ovn_xdp_datapath::program::{Family, Pipeline};

/// Blocks in blocks (ACT-P1).
const MAX_DEPTH: u32 = 32;

/// Where a flow is, and how far its pipelines go (ACT-P4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// `Logical_Flow.pipeline`
    pub pipeline: Pipeline,
    /// `Logical_Flow.table_id`
    pub table: u8,
    /// Tables of the ingress pipeline.
    pub ingress_tables: u8,
    /// Tables of the egress pipeline.
    pub egress_tables: u8,
}

impl Position {
    /// In a table of a pipeline, under the largest limits of OVN 23.03 to 26.03: 35 tables of
    /// ingress, 29 of egress.
    pub const fn new(pipeline: Pipeline, table: u8) -> Self {
        Self { pipeline, table, ingress_tables: 35, egress_tables: 29 }
    }

    const fn tables(self, pipeline: Pipeline) -> u8 {
        match pipeline {
            Pipeline::Ingress => self.ingress_tables,
            Pipeline::Egress => self.egress_tables,
        }
    }
}

/// The options that an action knows by name: rows of DHCP_Options or DHCPv6_Options.
#[derive(Clone, Debug, Default)]
pub struct OptionTable {
    by_name: HashMap<Box<str>, OptionKind>,
}

/// An option's number on the wire and the type of its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionKind {
    /// Column `code`.
    pub code: u16,
    /// Column `type`: bool, uint8, uint16, uint32, ipv4, static_routes, str, host_id, domains,
    /// domain, ipv6 or mac.
    pub kind: Box<str>,
}

impl OptionTable {
    /// A table of rows `(name, code, type)`.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, u16, &'a str)>) -> Self {
        let row = |(name, code, kind): (&str, u16, &str)| {
            (name.into(), OptionKind { code, kind: kind.into() })
        };
        Self { by_name: rows.into_iter().map(row).collect() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&OptionKind> {
        self.by_name.get(name)
    }
}

/// What the text of actions is read with.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// [`Symbols::of`] the dialect, or [`Symbols::acl_ct_translation`] for a flow so tagged.
    pub symbols: &'a Symbols,
    /// Where the flow is.
    pub position: Position,
    /// Options of `put_dhcp_opts`.
    pub dhcp_options: &'a OptionTable,
    /// Options of `put_dhcpv6_opts`.
    pub dhcpv6_options: &'a OptionTable,
}

/// Reads the actions of a flow.
///
/// # Errors
/// The first problem in the text, with its place.
pub fn parse_actions(text: &str, parameters: &Parameters<'_>) -> Result<Actions, Error> {
    let mut context = Context {
        cursor: Cursor::new(text),
        parameters,
        prerequisites: None,
        depth: 0,
        in_commit: false,
    };
    let list = context.sequence(None)?;
    Ok(Actions { list, prerequisites: context.prerequisites })
}

pub(super) struct Context<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) parameters: &'a Parameters<'a>,
    prerequisites: Option<Expr>,
    depth: u32,
    in_commit: bool,
}

impl<'a> Context<'a> {
    /// Actions up to a mark, or to the end of the text.
    fn sequence(&mut self, end: Option<Mark>) -> Result<Vec<Action>, Error> {
        if matches!(self.cursor.token, Token::Id("drop"))
            && self.cursor.lookahead() == Token::Mark(Mark::Semicolon)
        {
            self.cursor.advance();
            self.cursor.advance();
            match end {
                Some(mark) => self.cursor.expect(mark)?,
                None => self.cursor.expect_end()?,
            }
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        loop {
            match end {
                None if self.cursor.token == Token::End => return Ok(list),
                Some(mark) if self.cursor.accept(mark) => return Ok(list),
                _ => {}
            }
            list.push(self.action()?);
            self.cursor.expect(Mark::Semicolon)?;
        }
    }

    fn action(&mut self) -> Result<Action, Error> {
        let name = match self.cursor.token {
            Token::Id(name) => name,
            Token::Template(_) => return Err(self.cursor.error(Problem::UnexpandedTemplate)),
            _ => return Err(self.cursor.syntax("")),
        };
        if let Token::Mark(Mark::Assign | Mark::Exchange | Mark::LeftBracket) =
            self.cursor.lookahead()
        {
            return self.set();
        }
        let unknown = self.cursor.syntax("expecting action");
        self.cursor.advance();
        if let Some(kind) = NestedKind::named(name) {
            return self.nested(kind);
        }
        match name {
            "output" => Ok(Action::Output),
            "next" => self.next(),
            "push" => self.stack(false),
            "pop" => self.stack(true),
            "ip.ttl" => self.decrement_ttl(),
            "ct_next" => self.ct_next(),
            "ct_commit" => self.ct_commit(),
            "ct_commit_to_zone" => self.ct_commit_to_zone(),
            "ct_commit_nat" => self.ct_commit_nat(),
            "ct_dnat" | "ct_snat" | "ct_dnat_in_czone" | "ct_snat_in_czone" => self.ct_nat(name),
            "ct_lb" | "ct_lb_mark" | "ct_lb_mark_local" => self.ct_lb(name),
            "ct_clear" => Ok(Action::CtClear),
            "ct_snat_to_vip" => Ok(Action::CtSnatToVip),
            "igmp" => Ok(Action::Igmp),
            "get_arp" => self.get_neighbour(Family::V4),
            "get_nd" => self.get_neighbour(Family::V6),
            "put_arp" => self.put_neighbour(Family::V4),
            "put_nd" => self.put_neighbour(Family::V6),
            "put_fdb" => self.put_fdb(),
            "mac_cache_use" => Ok(Action::MacCacheUse),
            "set_queue" => self.set_queue(),
            "set_meter" => self.set_meter(),
            "log" => self.log(),
            "sample" => self.sample(),
            "trigger_event" => self.trigger_event(),
            "bind_vport" => self.bind_vport(),
            "handle_svc_check" => self.handle_service_check(),
            "handle_dhcpv6_reply" => Ok(Action::HandleDhcpv6Reply),
            "handle_bfd_msg" => self.handle_bfd(),
            "fwd_group" => self.forwarding_group(),
            "commit_ecmp_nh" => self.commit_ecmp_nh(),
            "commit_lb_aff" => self.commit_lb_affinity(),
            "flood_remote" => Ok(Action::FloodRemote),
            "mirror" => self.mirror(),
            _ => Err(unknown),
        }
    }

    /// What starts with a field: assignments, exchanges and functions with a result.
    fn set(&mut self) -> Result<Action, Error> {
        let to = self.lvalue()?;
        if self.cursor.accept(Mark::Exchange) {
            return self.exchange(to);
        }
        if !self.cursor.accept(Mark::Assign) {
            return Err(self.cursor.syntax("expecting `=' or `<->'"));
        }
        let Token::Id(name) = self.cursor.token else { return self.load(to) };
        if self.cursor.lookahead() != Token::Mark(Mark::LeftParen) {
            return self.assign(to);
        }
        if let Some(function) = Function::named(name) {
            return self.function(to, function);
        }
        match name {
            "select" => self.select(to),
            "put_dhcp_opts" => self.put_dhcp_opts(to),
            "put_dhcpv6_opts" => self.put_dhcpv6_opts(to),
            "put_nd_ra_opts" => self.put_nd_ra_opts(to),
            "dns_lookup" => self.dns_lookup(to),
            "dhcp_relay_req_chk" => self.dhcp_relay(to, false),
            "dhcp_relay_resp_chk" => self.dhcp_relay(to, true),
            "check_pkt_larger" => self.check_packet_larger(to),
            "lookup_arp" => self.lookup_neighbour(to, Family::V4, true),
            "lookup_nd" => self.lookup_neighbour(to, Family::V6, true),
            "lookup_arp_ip" => self.lookup_neighbour(to, Family::V4, false),
            "lookup_nd_ip" => self.lookup_neighbour(to, Family::V6, false),
            "get_fdb" => self.get_fdb(to, false),
            "get_remote_fdb" => self.get_fdb(to, true),
            "lookup_fdb" => self.lookup_fdb(to),
            "chk_evpn_arp" => self.check_evpn_arp(to),
            _ => self.assign(to),
        }
    }

    fn nested(&mut self, kind: NestedKind) -> Result<Action, Error> {
        // A copy is a packet like any other; what answers to a commit's block stays in it.
        let in_commit = self.in_commit && kind != NestedKind::Clone;
        let actions = self.block(kind.prerequisite(), in_commit)?;
        Ok(Action::Nested { kind, actions })
    }

    /// `{ … }`. With a prerequisite of its own, those of the actions inside do not count: they
    /// run on another packet.
    pub(super) fn block(
        &mut self,
        prerequisite: Option<&'static str>,
        in_commit: bool,
    ) -> Result<Vec<Action>, Error> {
        self.cursor.expect(Mark::LeftBrace)?;
        if self.depth + 1 == MAX_DEPTH {
            return Err(self.refuse(Refused::Depth));
        }
        let outer = self.prerequisites.take();
        let outer_commit = std::mem::replace(&mut self.in_commit, in_commit);
        self.depth += 1;
        let list = self.sequence(Some(Mark::RightBrace));
        self.depth -= 1;
        self.in_commit = outer_commit;
        let inner = std::mem::replace(&mut self.prerequisites, outer);
        match prerequisite {
            Some(text) => self.require(text),
            None => self.add(inner),
        }
        list
    }

    fn add(&mut self, prerequisite: Option<Expr>) {
        let Some(new) = prerequisite else { return };
        self.prerequisites = Some(match self.prerequisites.take() {
            Some(old) => old.and(new),
            None => new,
        });
    }

    /// Adds a prerequisite (ACT-P2).
    pub(super) fn require(&mut self, text: &'static str) {
        // All such texts are single predicates, which both tables of symbols have.
        self.add(parse(text, self.parameters.symbols).ok());
    }

    /// A field; what it needs is added to the prerequisites.
    pub(super) fn lvalue(&mut self) -> Result<FieldRef, Error> {
        let found = field(&mut self.cursor, self.parameters.symbols)?;
        if found.symbol.predicate.is_some() {
            let problem = Problem::PredicateAsField(found.symbol.name.into());
            return Err(self.cursor.error(problem));
        }
        let mut symbol = Some(found.symbol);
        while let Some(each) = symbol {
            if each.prerequisite.is_some() && each.prerequisite().is_none() {
                let wrong = canonical::prerequisite(each, self.parameters.symbols);
                wrong.map_err(|error| self.cursor.error(error))?;
            }
            self.add(each.prerequisite().cloned());
            symbol = match each.kind {
                crate::symbol::Kind::Subfield { parent, .. } => Some(parent),
                _ => None,
            };
        }
        Ok(found)
    }

    /// A field that is read, of so many bits; zero for a port.
    pub(super) fn argument(&mut self, bits: u32) -> Result<FieldRef, Error> {
        let found = self.lvalue()?;
        self.check(&found, bits, false)?;
        Ok(found)
    }

    pub(super) fn check(&self, field: &FieldRef, bits: u32, write: bool) -> Result<(), Error> {
        field.check(bits, write, self.in_commit).map_err(|problem| self.cursor.error(problem))
    }

    pub(super) fn refuse(&self, refused: Refused) -> Error {
        self.cursor.error(refused)
    }

    /// ACT-P5. OVN compares with the number of tables, so that the check never refuses a table
    /// that exists; a flow in one beyond is refused.
    pub(super) fn not_in_last_table(&self, action: &'static str) -> Result<(), Error> {
        let position = self.parameters.position;
        if position.table >= position.tables(position.pipeline) {
            return Err(self.refuse(Refused::LastTable(action)));
        }
        Ok(())
    }

    /// ACT-02, with the limits of ACT-P4.
    fn next(&mut self) -> Result<Action, Error> {
        let from = self.parameters.position;
        let mut pipeline = from.pipeline;
        if from.tables(pipeline) == 0 {
            return Err(self.refuse(Refused::Next));
        }
        let mut table = u32::from(from.table) + 1;
        if self.cursor.accept(Mark::LeftParen) {
            if self.cursor.small_integer().is_some() {
                table = self.cursor.expect_small_integer()?;
            } else {
                loop {
                    if self.cursor.accept_id("pipeline") {
                        self.cursor.expect(Mark::Assign)?;
                        pipeline = if self.cursor.accept_id("ingress") {
                            Pipeline::Ingress
                        } else if self.cursor.accept_id("egress") {
                            Pipeline::Egress
                        } else {
                            return Err(self.cursor.syntax("expecting \"ingress\" or \"egress\""));
                        };
                    } else if self.cursor.accept_id("table") {
                        self.cursor.expect(Mark::Assign)?;
                        table = self.cursor.expect_small_integer()?;
                    } else {
                        return Err(self.cursor.syntax("expecting \"pipeline\" or \"table\""));
                    }
                    if !self.cursor.accept(Mark::Comma) {
                        break;
                    }
                }
            }
            self.cursor.expect(Mark::RightParen)?;
        }
        let tables = u32::from(from.tables(pipeline));
        if table >= tables {
            return Err(self.refuse(Refused::BeyondTable(tables)));
        }
        Ok(Action::Next { pipeline, table: table as u8, from })
    }
}
