//! The rows behind a generation: by what a trace names flows, ports and datapaths.

use crate::compiler::Compiler;
use crate::southbound::{DatapathBinding, LogicalFlow, MulticastGroup, PortBinding};
use crate::whole::Order;
use ovn_xdp_datapath::key::{DatapathKey, FlowId};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{Actions, Parameters, Position, parse_actions};
use ovn_xdp_logical::canonical::Names;
use ovn_xdp_logical::dialect::Release;
use ovn_xdp_logical::set::member;
use ovn_xdp_logical::symbol::Symbols;
use uuid::Uuid;

/// What a compiler has been told.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    compiler: &'a Compiler,
    /// How its flows are numbered, if not by their UUIDs.
    order: Option<&'a Order>,
}

impl Compiler {
    /// The rows, for people.
    pub fn network(&self) -> Network<'_> {
        Network { compiler: self, order: None }
    }
}

impl<'a> Network<'a> {
    pub(crate) fn ordered(compiler: &'a Compiler, order: &'a Order) -> Self {
        Self { compiler, order: Some(order) }
    }

    /// The row of a rule.
    pub fn flow(self, id: FlowId) -> Option<&'a LogicalFlow> {
        let row = match self.order {
            Some(order) => order.row(id),
            None => Uuid::from_u128(id.0),
        };
        self.compiler.database.flows.get(&row)
    }

    /// Its actions as a tree; one for each operation of the rule's program.
    pub fn actions(self, flow: &LogicalFlow) -> Option<Actions> {
        let parameters = Parameters {
            symbols: self.compiler.texts.symbols(flow.is_translated()),
            position: Position::new(flow.pipeline(), flow.table()),
            dhcp_options: &self.compiler.texts.dhcp,
            dhcpv6_options: &self.compiler.texts.dhcpv6,
        };
        parse_actions(flow.actions(), &parameters).ok()
    }

    /// The names that its flows speak with, but for those that are translated (FLD-51).
    pub fn symbols(self) -> &'static Symbols {
        self.compiler.texts.symbols(false)
    }

    /// The release that the database's `ovn-northd` is of, if it says so.
    pub fn release(self) -> Option<Release> {
        self.compiler.database.release()
    }

    /// The name of a table's stage, as a flow in it has it. Of a datapath that was compiled it is one
    /// of the table's rules: a million flows are too many to look through for one.
    pub fn stage(self, datapath: DatapathKey, pipeline: Pipeline, table: u8) -> Option<&'a str> {
        let database = &self.compiler.database;
        let row = database.datapath_by_key.first(&datapath)?;
        let flow = match self.compiler.locals.get(&row) {
            Some(local) => {
                let rule = local.any_rule(pipeline, table)?;
                database.flows.get(&Uuid::from_u128(rule.flow().0))?
            }
            None => database
                .flows_for(row)
                .find(|flow| flow.pipeline() == pipeline && flow.table() == table)?,
        };
        Some(flow.stage()).filter(|stage| !stage.is_empty())
    }

    /// All logical switches and routers.
    pub fn datapaths(self) -> impl Iterator<Item = &'a DatapathBinding> {
        self.compiler.database.datapaths.values().map(|datapath| &**datapath)
    }

    /// All logical ports.
    pub fn ports(self) -> impl Iterator<Item = &'a PortBinding> {
        self.compiler.database.ports.values().map(|port| &**port)
    }

    /// A multicast group of a datapath.
    pub fn group(self, datapath: DatapathKey, key: u16) -> Option<&'a MulticastGroup> {
        let database = &self.compiler.database;
        let row = database.datapath_by_key.first(&datapath)?;
        let mut rows = database.multicast_of_datapath.rows(&row);
        rows.find_map(|row| database.multicast.get(&row).filter(|it| it.key.get() == key))
            .map(|group| &**group)
    }

    /// A multicast group of a datapath, by its name.
    pub fn group_named(self, datapath: DatapathKey, name: &str) -> Option<&'a MulticastGroup> {
        let database = &self.compiler.database;
        let row = database.datapath_by_key.first(&datapath)?;
        let row = database.multicast_by_name.first(&(row, name.into()))?;
        Some(database.multicast.get(&row)?)
    }

    /// A logical switch or router.
    pub fn datapath(self, key: DatapathKey) -> Option<&'a DatapathBinding> {
        self.datapath_row(self.compiler.database.datapath_by_key.first(&key)?)
    }

    /// A logical switch or router by its row.
    pub fn datapath_row(self, row: Uuid) -> Option<&'a DatapathBinding> {
        Some(self.compiler.database.datapaths.get(&row)?)
    }

    /// The port of that name.
    pub fn port(self, name: &str) -> Option<&'a PortBinding> {
        Some(self.compiler.database.port(name)?)
    }

    /// The name of the chassis that a port is bound to.
    pub fn chassis_of(self, port: &PortBinding) -> Option<&'a str> {
        Some(&self.compiler.database.chassis.get(&port.chassis()?)?.name)
    }

    /// What the address sets are that a text may name; `ovn-trace` knows no port groups there.
    pub fn names(self, text: &str) -> Names {
        let mut names = Names::default();
        for word in text.split('$').skip(1) {
            let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
            let name = &word[..end.unwrap_or(word.len())];
            let database = &self.compiler.database;
            let row = database.address_set_by_name.first(name);
            if let Some(set) = row.and_then(|row| database.address_sets.get(&row)) {
                let members = set.addresses.iter().filter_map(|text| member(text)).collect();
                names.address_sets.insert(name.to_owned(), members);
            }
        }
        names
    }
}
