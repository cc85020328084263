//! Chassis, their tunnel ends, their order in HA groups, and what is the same for all of them.

use super::{BadRow, Reader, Record, StringMap};
use ovn_xdp_ovsdb::Row;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A hypervisor or gateway (SB-02).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chassis {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The system-id (CH-1).
    pub name: Arc<str>,
    /// Host name, which `requested-chassis` may give as well (PBO-2).
    pub hostname: Arc<str>,
    /// Rows of Encap.
    pub encaps: Box<[Uuid]>,
    /// Capabilities (FF-*) and settings; empty before OVN 20.03.
    pub other_config: StringMap,
    /// Tunnels exist between chassis that share a zone, or have none (CH-4).
    pub transport_zones: Box<[Arc<str>]>,
    /// Free use.
    pub external_ids: StringMap,
}

impl Record for Chassis {
    const TABLE: &'static str = "Chassis";
    const COLUMNS: &'static [&'static str] =
        &["name", "hostname", "encaps", "other_config", "transport_zones", "external_ids"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            name: row.string("name")?,
            hostname: row.optional_string("hostname")?.unwrap_or_default(),
            encaps: row.uuids("encaps")?,
            other_config: row.map("other_config")?,
            transport_zones: row.strings("transport_zones")?,
            external_ids: row.map("external_ids")?,
        })
    }
}

/// A tunnel end of a chassis (SB-04).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encap {
    /// `_uuid`.
    pub uuid: Uuid,
    /// `geneve`, `vxlan` or `stt`.
    pub kind: Arc<str>,
    /// The tunnel's address.
    pub ip: IpAddr,
    /// `csum`, `is_default`.
    pub options: StringMap,
    /// `Chassis.name` of the owner.
    pub chassis_name: Arc<str>,
}

impl Record for Encap {
    const TABLE: &'static str = "Encap";
    const COLUMNS: &'static [&'static str] = &["type", "ip", "options", "chassis_name"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        let ip = row.string("ip")?;
        Ok(Self {
            uuid,
            kind: row.string("type")?,
            ip: ip.parse().map_err(|_| row.value("ip", "an IPv4 or IPv6 address", &ip))?,
            options: row.map("options")?,
            chassis_name: row.optional_string("chassis_name")?.unwrap_or_default(),
        })
    }
}

/// Chassis in order of preference (SB-18).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HaChassisGroup {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name.
    pub name: Arc<str>,
    /// Rows of HA_Chassis.
    pub ha_chassis: Box<[Uuid]>,
    /// Chassis that send to the group and therefore watch it.
    pub ref_chassis: Box<[Uuid]>,
}

impl Record for HaChassisGroup {
    const TABLE: &'static str = "HA_Chassis_Group";
    const COLUMNS: &'static [&'static str] = &["name", "ha_chassis", "ref_chassis"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            name: row.string("name")?,
            ha_chassis: row.uuids("ha_chassis")?,
            ref_chassis: row.uuids("ref_chassis")?,
        })
    }
}

/// A member of an HA group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HaChassis {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The chassis, once it is known.
    pub chassis: Option<Uuid>,
    /// 0..32767; the highest is preferred.
    pub priority: i64,
}

impl Record for HaChassis {
    const TABLE: &'static str = "HA_Chassis";
    const COLUMNS: &'static [&'static str] = &["chassis", "priority"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            chassis: row.optional_uuid("chassis")?,
            priority: row.integer("priority")?,
        })
    }
}

/// Values of `^variables` on one chassis (SB-17, EX-S7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChassisTemplateVar {
    /// `_uuid`.
    pub uuid: Uuid,
    /// `Chassis.name`.
    pub chassis: Arc<str>,
    /// Text by name.
    pub variables: StringMap,
}

impl Record for ChassisTemplateVar {
    const TABLE: &'static str = "Chassis_Template_Var";
    const COLUMNS: &'static [&'static str] = &["chassis", "variables"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self { uuid, chassis: row.string("chassis")?, variables: row.map("variables")? })
    }
}

/// The one row about the whole deployment (SB-01).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SbGlobal {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The barrier of `ovn-nbctl --wait=hv` (CH-5).
    pub nb_cfg: i64,
    /// Section 3.4.
    pub options: StringMap,
    /// Tunnels are to be encrypted (CH-9).
    pub ipsec: bool,
}

impl Record for SbGlobal {
    const TABLE: &'static str = "SB_Global";
    const COLUMNS: &'static [&'static str] = &["nb_cfg", "options", "ipsec"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            nb_cfg: row.integer("nb_cfg")?,
            options: row.map("options")?,
            ipsec: row.optional_boolean("ipsec")?.unwrap_or(false),
        })
    }
}
