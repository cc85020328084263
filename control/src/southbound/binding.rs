//! A row of Port_Binding, as far as claims look at it.
//!
//! Every chassis sees the containers of the whole cloud (TRAP-9), so this is kept small.

use super::column;
use ovn_xdp_datapath::key::VlanId;
use ovn_xdp_datapath::publish::Tag;
use ovn_xdp_ovsdb::Row;
use std::sync::Arc;
use uuid::Uuid;

/// Kinds of ports that differ in who binds them (section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Type "": a VIF, or with a parent a container nested in one (PBT-1, PBT-2).
    Vif,
    /// Used where it is, claimed by nobody (PBT-4).
    Localport,
    /// Bound by other rules, or by nobody.
    Other,
}

/// A row of Port_Binding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRow {
    /// `logical_port`.
    pub name: Arc<str>,
    /// `type`.
    pub kind: Kind,
    /// `parent_port`.
    pub parent: Option<Arc<str>>,
    /// `tag`, as the header of `options:ethtype` (PBO-5).
    pub tag: Option<Tag>,
    /// `chassis`.
    pub chassis: Option<Uuid>,
    /// `additional_chassis`.
    pub additional: Vec<Uuid>,
    /// `encap`.
    pub encap: Option<Uuid>,
    /// `up`; empty when northd does not leave it to the chassis.
    pub up: Option<bool>,
    /// `options:requested-chassis`, main first (PBO-2).
    pub requested: Option<Arc<str>>,
    /// `options:iface-id-ver` (PBO-3).
    pub iface_id_ver: Option<Arc<str>>,
    /// It is a local row, not the Southbound's: nothing is ever written of it.
    pub ours: bool,
}

/// Whether, and as what, a chassis may bind a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Column `chassis`.
    Main,
    /// Column `additional_chassis`, during a live migration.
    Additional,
    /// Another chassis was requested.
    Never,
}

impl PortRow {
    /// Columns that are read.
    pub const COLUMNS: &'static [&'static str] = &[
        "logical_port",
        "type",
        "parent_port",
        "tag",
        "chassis",
        "additional_chassis",
        "encap",
        "up",
        "options",
    ];

    /// Reads a row.
    pub fn read(row: &Row) -> Self {
        let nonempty = |text: Option<Arc<str>>| text.filter(|text| !text.is_empty());
        Self {
            name: column::text(row, "logical_port"),
            kind: match &*column::text(row, "type") {
                "" => Kind::Vif,
                "localport" => Kind::Localport,
                _ => Kind::Other,
            },
            parent: nonempty(column::string(row, "parent_port")),
            tag: column::integer(row, "tag")
                .and_then(|tag| u16::try_from(tag).ok())
                .and_then(VlanId::new)
                .map(|vid| Tag { tpid: tpid(row), vid }),
            chassis: column::uuid(row, "chassis"),
            additional: column::uuids(row, "additional_chassis"),
            encap: column::uuid(row, "encap"),
            up: column::boolean(row, "up"),
            requested: nonempty(column::option(row, "options", "requested-chassis")),
            iface_id_ver: nonempty(column::option(row, "options", "iface-id-ver")),
            ours: false,
        }
    }

    /// Reads a local row.
    pub fn read_ours(row: &Row) -> Self {
        Self { ours: true, ..Self::read(row) }
    }

    /// Whether the port is a container nested in a VIF.
    pub fn is_child(&self) -> bool {
        self.parent.is_some()
    }

    /// What `options:requested-chassis` says of the chassis with this name and host name.
    pub fn verdict(&self, name: &str, hostname: &str) -> Verdict {
        let Some(requested) = &self.requested else { return Verdict::Main };
        let mut wanted = requested.split(',').map(str::trim);
        let me = |wanted: &str| wanted == name || (!hostname.is_empty() && wanted == hostname);
        if wanted.next().is_some_and(me) {
            Verdict::Main
        } else if wanted.any(me) {
            Verdict::Additional
        } else {
            Verdict::Never
        }
    }
}

fn tpid(row: &Row) -> u16 {
    match column::option(row, "options", "ethtype").as_deref() {
        Some("802.1ad") => 0x88a8,
        _ => 0x8100,
    }
}
