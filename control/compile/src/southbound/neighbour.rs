//! What routers and switches have learned, or were told, about addresses (sections 5.6 and 5.8).

use super::{BadRow, Reader, Record};
use ovn_xdp_datapath::key::{DatapathKey, PortKey};
use ovn_xdp_datapath::publish::Mac;
use ovn_xdp_ovsdb::Row;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A learned neighbour (SB-11).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MacBinding {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Router port it was seen behind.
    pub logical_port: Arc<str>,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
    /// The router.
    pub datapath: Uuid,
    /// Milliseconds since 1970 of its last use; 0 before OVN 22.12.
    pub timestamp: i64,
}

impl Record for MacBinding {
    const TABLE: &'static str = "MAC_Binding";
    const COLUMNS: &'static [&'static str] =
        &["logical_port", "ip", "mac", "datapath", "timestamp"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            logical_port: row.string("logical_port")?,
            ip: ip(&row)?,
            mac: mac(&row)?,
            datapath: row.uuid("datapath")?,
            timestamp: row.optional_integer("timestamp")?.unwrap_or(0),
        })
    }
}

/// A neighbour given by the operator (SB-12).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticMacBinding {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Router port.
    pub logical_port: Arc<str>,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// The neighbour's MAC address.
    pub mac: Mac,
    /// Goes before what is learned, instead of behind.
    pub override_dynamic_mac: bool,
    /// The router.
    pub datapath: Uuid,
}

impl Record for StaticMacBinding {
    const TABLE: &'static str = "Static_MAC_Binding";
    const COLUMNS: &'static [&'static str] =
        &["logical_port", "ip", "mac", "override_dynamic_mac", "datapath"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            logical_port: row.string("logical_port")?,
            ip: ip(&row)?,
            mac: mac(&row)?,
            override_dynamic_mac: row.boolean("override_dynamic_mac")?,
            datapath: row.uuid("datapath")?,
        })
    }
}

/// A learned MAC address of a switch (SB-13).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fdb {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The address.
    pub mac: Mac,
    /// `Datapath_Binding.tunnel_key`.
    pub dp_key: DatapathKey,
    /// `Port_Binding.tunnel_key`.
    pub port_key: PortKey,
    /// Milliseconds since 1970 of its last use; 0 before OVN 23.09.
    pub timestamp: i64,
}

impl Record for Fdb {
    const TABLE: &'static str = "FDB";
    const COLUMNS: &'static [&'static str] = &["mac", "dp_key", "port_key", "timestamp"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            mac: mac(&row)?,
            dp_key: row.number("dp_key", "1..16777215", DatapathKey::new)?,
            port_key: row.number("port_key", "1..65535", PortKey::new)?,
            timestamp: row.optional_integer("timestamp")?.unwrap_or(0),
        })
    }
}

fn ip(row: &Reader<'_>) -> Result<IpAddr, BadRow> {
    let text = row.string("ip")?;
    text.parse().map_err(|_| row.value("ip", "an IPv4 or IPv6 address", &text))
}

fn mac(row: &Reader<'_>) -> Result<Mac, BadRow> {
    let text = row.string("mac")?;
    crate::mac::parse(&text)
        .ok_or_else(|| row.value("mac", "a MAC address, six bytes in hex with colons", &text))
}
