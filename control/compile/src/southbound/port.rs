//! Logical switches and routers, and their ports.

use super::{BadRow, Reader, Record, StringMap};
use ovn_xdp_datapath::key::{DatapathKey, PortKey, VlanId};
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::rows::Identified;
use std::sync::Arc;
use uuid::Uuid;

/// A logical switch or router (SB-05).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatapathBinding {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The Geneve VNI (ENC-1).
    pub key: DatapathKey,
    /// Name and kind in the Northbound DB, and settings.
    pub external_ids: StringMap,
}

impl DatapathBinding {
    /// Name in the Northbound DB, or the key if there is none.
    pub fn name(&self) -> String {
        self.external_ids.get("name").map_or_else(|| self.key.to_string(), |name| name.to_string())
    }
}

impl Record for DatapathBinding {
    const TABLE: &'static str = "Datapath_Binding";
    const COLUMNS: &'static [&'static str] = &["tunnel_key", "external_ids"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            key: row.number("tunnel_key", "1..16777215", DatapathKey::new)?,
            external_ids: row.map("external_ids")?,
        })
    }
}

/// `Port_Binding.type` (section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortType {
    /// A workload, or a container nested in one (PBT-1, PBT-2).
    Vif,
    /// The physical network of a switch (PBT-3).
    Localnet,
    /// The same port on every chassis (PBT-4).
    Localport,
    /// An end of a link between datapaths (PBT-5).
    Patch,
    /// The same on one chassis (PBT-6).
    L3Gateway,
    /// A physical network on one chassis (PBT-6).
    L2Gateway,
    /// Where a distributed gateway port is centralised (PBT-7).
    ChassisRedirect,
    /// An address that moves between ports (PBT-8).
    Virtual,
    /// A port that is not plugged into any chassis (PBT-9).
    External,
    /// A port of another availability zone (PBT-10).
    Remote,
    /// A port of a hardware VTEP (PBT-11).
    Vtep,
    /// Where copies of a port's packets go (ACT-63).
    Mirror,
    /// A type that this version does not know.
    Unknown,
}

impl PortType {
    /// By the text of the column.
    pub fn new(text: &str) -> Self {
        match text {
            "" => Self::Vif,
            "localnet" => Self::Localnet,
            "localport" => Self::Localport,
            "patch" => Self::Patch,
            "l3gateway" => Self::L3Gateway,
            "l2gateway" => Self::L2Gateway,
            "chassisredirect" => Self::ChassisRedirect,
            "virtual" => Self::Virtual,
            "external" => Self::External,
            "remote" => Self::Remote,
            "vtep" => Self::Vtep,
            "mirror" => Self::Mirror,
            _ => Self::Unknown,
        }
    }

    /// The text of the column.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vif => "",
            Self::Localnet => "localnet",
            Self::Localport => "localport",
            Self::Patch => "patch",
            Self::L3Gateway => "l3gateway",
            Self::L2Gateway => "l2gateway",
            Self::ChassisRedirect => "chassisredirect",
            Self::Virtual => "virtual",
            Self::External => "external",
            Self::Remote => "remote",
            Self::Vtep => "vtep",
            Self::Mirror => "mirror",
            Self::Unknown => "unknown",
        }
    }
}

/// A logical port (SB-06), as far as the compiler looks at it; claims read the rest from the row.
///
/// What is asked of every port is kept beside its row; the other columns are read when asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortBinding {
    /// Its name, unique in the deployment.
    pub logical_port: Arc<str>,
    /// Its type.
    pub kind: PortType,
    /// Its datapath.
    pub datapath: Uuid,
    /// Its key there, 1..32767.
    pub key: PortKey,
    row: Row,
}

impl PortBinding {
    /// `_uuid`.
    pub fn uuid(&self) -> Uuid {
        self.row.id()
    }

    /// An option, by name (section 3.3).
    pub fn option(&self, name: &str) -> Option<&Arc<str>> {
        self.row.map("options").ok()?.get(name)
    }

    /// A key that was copied from the Northbound DB.
    pub fn external_id(&self, name: &str) -> Option<&Arc<str>> {
        self.row.map("external_ids").ok()?.get(name)
    }

    /// Port that a nested container is behind (NEST-01).
    pub fn parent_port(&self) -> Option<&str> {
        let name = self.row.optional_string("parent_port").ok().flatten();
        name.filter(|name| !name.is_empty())
    }

    /// Its tag there, or the VLAN of a localnet or l2gateway port.
    pub fn tag(&self) -> Option<VlanId> {
        self.row.optional_integer("tag").ok().flatten().and_then(vlan)
    }

    /// The chassis that has claimed it.
    pub fn chassis(&self) -> Option<Uuid> {
        self.row.optional_uuid("chassis").ok().flatten()
    }

    /// Others that hold it during a live migration (OUT-8).
    pub fn additional_chassis(&self) -> impl Iterator<Item = Uuid> {
        self.row.uuids("additional_chassis").into_iter().flatten()
    }

    /// The tunnel end to reach it by (PBO-10).
    pub fn encap(&self) -> Option<Uuid> {
        self.row.optional_uuid("encap").ok().flatten()
    }

    /// The same for the others.
    pub fn additional_encap(&self) -> impl Iterator<Item = Uuid> {
        self.row.uuids("additional_encap").into_iter().flatten()
    }

    /// Section 5.5; `crate::security` reads it.
    pub fn port_security(&self) -> Vec<Arc<str>> {
        self.row.strings("port_security").unwrap_or_default()
    }

    /// Row of HA_Chassis_Group.
    pub fn ha_chassis_group(&self) -> Option<Uuid> {
        self.row.optional_uuid("ha_chassis_group").ok().flatten()
    }
}

fn vlan(tag: i64) -> Option<VlanId> {
    u16::try_from(tag).ok().and_then(VlanId::new)
}

impl Record for PortBinding {
    const TABLE: &'static str = "Port_Binding";
    const COLUMNS: &'static [&'static str] = &[
        "logical_port",
        "type",
        "datapath",
        "tunnel_key",
        "options",
        "parent_port",
        "tag",
        "virtual_parent",
        "chassis",
        "additional_chassis",
        "encap",
        "additional_encap",
        "mac",
        "port_security",
        "nat_addresses",
        "up",
        "requested_chassis",
        "requested_additional_chassis",
        "ha_chassis_group",
        "gateway_chassis",
        "mirror_rules",
        "external_ids",
    ];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let read = Reader::new::<Self>(uuid, row);
        for column in ["options", "external_ids"] {
            row.map(column).map_err(|error| read.column(error))?;
        }
        for column in ["additional_chassis", "additional_encap"] {
            read.uuids(column)?;
        }
        for column in ["chassis", "encap", "ha_chassis_group"] {
            read.optional_uuid(column)?;
        }
        read.strings("port_security")?;
        read.optional_string("parent_port")?;
        if let Some(tag) = read.optional_integer("tag")?.filter(|tag| vlan(*tag).is_none()) {
            return Err(read.value("tag", "0..4095", &tag.to_string()));
        }
        let unicast = |key| PortKey::new(key).filter(|key| !key.is_multicast());
        Ok(Self {
            logical_port: read.string("logical_port")?,
            kind: PortType::new(row.string("type").map_err(|error| read.column(error))?),
            datapath: read.uuid("datapath")?,
            key: read.number("tunnel_key", "1..32767", unicast)?,
            row: if row.id() == uuid { row.clone() } else { row.as_row(uuid) },
        })
    }
}
