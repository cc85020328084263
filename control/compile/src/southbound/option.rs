//! How options of DHCP answers are encoded, and load balancers by name.

use super::{BadRow, Reader, Record, StringMap};
use ovn_xdp_ovsdb::Row;
use std::sync::Arc;
use uuid::Uuid;

/// How an option of a DHCPv4 answer is encoded (SB-14).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpOptions {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name in `put_dhcp_opts`.
    pub name: Arc<str>,
    /// RFC 2132 code, 0..254.
    pub code: u8,
    /// `bool`, `uint8`, `ipv4`, `static_routes` and so on.
    pub kind: Arc<str>,
}

/// How an option of a DHCPv6 answer is encoded (SB-14).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcpv6Options {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name in `put_dhcpv6_opts`.
    pub name: Arc<str>,
    /// RFC 8415 code, 0..254.
    pub code: u8,
    /// `ipv6`, `str` or `mac`.
    pub kind: Arc<str>,
}

macro_rules! options {
    ($name:ident, $table:literal) => {
        impl Record for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &["name", "code", "type"];

            fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
                let row = Reader::new::<Self>(uuid, row);
                Ok(Self {
                    uuid,
                    name: row.string("name")?,
                    code: row.number("code", "0..254", Some)?,
                    kind: row.string("type")?,
                })
            }
        }
    };
}

options!(DhcpOptions, "DHCP_Options");
options!(Dhcpv6Options, "DHCPv6_Options");

/// A load balancer (SB-19).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadBalancer {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Name.
    pub name: Arc<str>,
    /// Backends by virtual address.
    pub vips: StringMap,
    /// `tcp`, `udp`, `sctp`, or none for all.
    pub protocol: Option<Arc<str>>,
    /// `hairpin_snat_ip` and others.
    pub options: StringMap,
}

impl Record for LoadBalancer {
    const TABLE: &'static str = "Load_Balancer";
    const COLUMNS: &'static [&'static str] = &["name", "vips", "protocol", "options"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        let row = Reader::new::<Self>(uuid, row);
        Ok(Self {
            uuid,
            name: row.string("name")?,
            vips: row.map("vips")?,
            protocol: row.optional_string("protocol")?,
            options: row.map("options")?,
        })
    }
}
