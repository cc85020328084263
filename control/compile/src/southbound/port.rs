//! Logical switches and routers, and their ports.

use super::{BadRow, Reader, Record, StringMap};
use ovn_xdp_datapath::key::{DatapathKey, PortKey, VlanId};
use ovn_xdp_ovsdb::Row;
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortBinding {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Its name, unique in the deployment.
    pub logical_port: Arc<str>,
    /// Its type.
    pub kind: PortType,
    /// Its datapath.
    pub datapath: Uuid,
    /// Its key there, 1..32767.
    pub key: PortKey,
    /// Section 3.3.
    pub options: StringMap,
    /// Port that a nested container is behind (NEST-01).
    pub parent_port: Option<Arc<str>>,
    /// Its tag there, or the VLAN of a localnet or l2gateway port.
    pub tag: Option<VlanId>,
    /// The chassis that has claimed it.
    pub chassis: Option<Uuid>,
    /// Others that hold it during a live migration (OUT-8).
    pub additional_chassis: Box<[Uuid]>,
    /// The tunnel end to reach it by (PBO-10).
    pub encap: Option<Uuid>,
    /// The same for the others.
    pub additional_encap: Box<[Uuid]>,
    /// Section 5.5; `crate::security` reads it.
    pub port_security: Box<[Arc<str>]>,
    /// Row of HA_Chassis_Group.
    pub ha_chassis_group: Option<Uuid>,
    /// Copied from the Northbound DB.
    pub external_ids: StringMap,
}

impl PortBinding {
    /// An option, by name.
    pub fn option(&self, name: &str) -> Option<&Arc<str>> {
        self.options.get(name)
    }
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
        let row = Reader::new::<Self>(uuid, row);
        let tag = row.optional_integer("tag")?.map(|tag| {
            u16::try_from(tag)
                .ok()
                .and_then(VlanId::new)
                .ok_or_else(|| row.value("tag", "0..4095", &tag.to_string()))
        });
        let unicast = |key| PortKey::new(key).filter(|key| !key.is_multicast());
        Ok(Self {
            uuid,
            logical_port: row.string("logical_port")?,
            kind: PortType::new(&row.string("type")?),
            datapath: row.uuid("datapath")?,
            key: row.number("tunnel_key", "1..32767", unicast)?,
            options: row.map("options")?,
            parent_port: row.optional_string("parent_port")?.filter(|name| !name.is_empty()),
            tag: tag.transpose()?,
            chassis: row.optional_uuid("chassis")?,
            additional_chassis: row.uuids("additional_chassis")?,
            encap: row.optional_uuid("encap")?,
            additional_encap: row.uuids("additional_encap")?,
            port_security: row.strings("port_security")?,
            ha_chassis_group: row.optional_uuid("ha_chassis_group")?,
            external_ids: row.map("external_ids")?,
        })
    }
}
