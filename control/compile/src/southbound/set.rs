//! Named sets: of addresses, of ports, and of ports that get a copy.

use super::{BadRow, Reader, Record};
use ovn_xdp_datapath::key::PortKey;
use ovn_xdp_ovsdb::Row;
use std::sync::Arc;
use uuid::Uuid;

/// `$name` in a match (SB-09). northd writes the automatic sets of port groups as rows as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressSet {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name without the sigil.
    pub name: Arc<str>,
    /// MAC, IPv4 and IPv6 addresses and networks.
    pub addresses: Box<[Arc<str>]>,
}

impl Record for AddressSet {
    const TABLE: &'static str = "Address_Set";
    const COLUMNS: &'static [&'static str] = &["name", "addresses"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self { uuid, name: row.string("name")?, addresses: row.strings("addresses")? })
    }
}

/// The ports of one datapath in `@name` (EX-S6): the row's name is `<datapath key>_<name>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortGroup {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name with the datapath's key in front.
    pub name: Arc<str>,
    /// Names of logical ports.
    pub ports: Box<[Arc<str>]>,
}

impl Record for PortGroup {
    const TABLE: &'static str = "Port_Group";
    const COLUMNS: &'static [&'static str] = &["name", "ports"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self { uuid, name: row.string("name")?, ports: row.strings("ports")? })
    }
}

/// Ports that each get a copy of what is sent to the group (SB-10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MulticastGroup {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The datapath.
    pub datapath: Uuid,
    /// Name, which stands where a port's name may.
    pub name: Arc<str>,
    /// 32768..65535 (ENC-3).
    pub key: PortKey,
    /// Rows of Port_Binding.
    pub ports: Box<[Uuid]>,
}

impl Record for MulticastGroup {
    const TABLE: &'static str = "Multicast_Group";
    const COLUMNS: &'static [&'static str] = &["datapath", "name", "tunnel_key", "ports"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        let multicast = |key| PortKey::new(key).filter(|key| key.is_multicast());
        Ok(Self {
            uuid,
            datapath: row.uuid("datapath")?,
            name: row.string("name")?,
            key: row.number("tunnel_key", "32768..65535", multicast)?,
            ports: row.uuids("ports")?,
        })
    }
}
