//! Whether a row holds what its table promises, before anything is changed for it.
//!
//! Ranges and kinds are those that the compiler reads by; beside them what northd would never write
//! and a user may: types of ports that need another chassis, addresses that are none.

use ovn_xdp_compile::southbound::*;
use ovn_xdp_ovsdb::Row;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// What is wrong with a row of a known table.
///
/// # Errors
/// The column, what was expected and what is there.
pub fn check(uuid: Uuid, row: &Row) -> Result<(), String> {
    let table: &str = row.table();
    match table {
        DatapathBinding::TABLE => read::<DatapathBinding>(uuid, row).map(drop),
        PortBinding::TABLE => port(&read(uuid, row)?),
        LogicalFlow::TABLE => flow(&read(uuid, row)?),
        LogicalDpGroup::TABLE => read::<LogicalDpGroup>(uuid, row).map(drop),
        MulticastGroup::TABLE => {
            let group: MulticastGroup = read(uuid, row)?;
            named("name", &group.name)
        }
        AddressSet::TABLE => {
            let set: AddressSet = read(uuid, row)?;
            named("name", &set.name)?;
            match set.addresses.iter().find(|address| !is_address(address)) {
                Some(wrong) => Err(format!(
                    "column addresses: expected MAC, IPv4 and IPv6 addresses and networks, found \
                     {wrong:?}"
                )),
                None => Ok(()),
            }
        }
        PortGroup::TABLE => {
            let group: PortGroup = read(uuid, row)?;
            let key = group.name.split_once('_').and_then(|(key, _)| key.parse::<u32>().ok());
            match key {
                Some(_) => Ok(()),
                None => Err(format!(
                    "column name: expected the tunnel key of a datapath, _ and a name, as in \
                     1_servers, found {:?}",
                    group.name
                )),
            }
        }
        StaticMacBinding::TABLE => read::<StaticMacBinding>(uuid, row).map(drop),
        _ => Err("no such table".to_owned()),
    }
}

fn read<R: Record>(uuid: Uuid, row: &Row) -> Result<R, String> {
    R::from_row(uuid, row).map_err(|error| match error {
        BadRow::Value { column, expected, found, .. } => {
            format!("column {column}: expected {expected}, found {found}")
        }
        BadRow::Column { error, .. } => error.to_string(),
    })
}

fn named(column: &str, name: &str) -> Result<(), String> {
    match name.is_empty() {
        true => Err(format!("column {column}: expected a name, found \"\"")),
        false => Ok(()),
    }
}

fn port(port: &PortBinding) -> Result<(), String> {
    named("logical_port", &port.logical_port)?;
    match port.kind {
        PortType::Vif | PortType::Localport => {}
        PortType::Patch if port.option("peer").is_some() => {}
        PortType::Patch => {
            return Err(
                "column options: expected the key peer for a port of type patch, found none"
                    .to_owned(),
            );
        }
        other => {
            return Err(format!(
                "column type: expected \"\", \"localport\" or \"patch\", found {:?}",
                other.label()
            ));
        }
    }
    match (port.parent_port(), port.tag()) {
        (Some(parent), None) => {
            Err(format!("column tag: expected a tag for a container behind {parent}, found none"))
        }
        (None, Some(tag)) => Err(format!(
            "column parent_port: expected the port that tag {tag} is behind, found none"
        )),
        (Some(parent), Some(_)) if port.kind != PortType::Vif || *parent == *port.logical_port => {
            Err(format!("column parent_port: expected a VM's port, found {parent}"))
        }
        _ => Ok(()),
    }
}

fn flow(flow: &LogicalFlow) -> Result<(), String> {
    match (flow.datapath(), flow.group()) {
        (None, None) => Err("column logical_datapath: expected a datapath, or a group of them in \
                             logical_dp_group, found neither"
            .to_owned()),
        _ => Ok(()),
    }
}

fn is_address(text: &str) -> bool {
    let mac = || {
        let mut octets = text.split(':');
        octets.clone().count() == 6
            && octets.all(|octet| octet.len() == 2 && u8::from_str_radix(octet, 16).is_ok())
    };
    let (address, mask) = text.split_once('/').map_or((text, None), |(a, m)| (a, Some(m)));
    let network = |address: IpAddr| match (address, mask) {
        (_, None) => true,
        (IpAddr::V4(_), Some(mask)) => {
            mask.parse::<u8>().is_ok_and(|mask| mask <= 32) || mask.parse::<Ipv4Addr>().is_ok()
        }
        (IpAddr::V6(_), Some(mask)) => mask.parse::<u8>().is_ok_and(|mask| mask <= 128),
    };
    address.parse().is_ok_and(network) || mac()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_of_both_families_and_macs_are_addresses() {
        for good in [
            "192.0.2.1",
            "192.0.2.0/24",
            "192.0.2.0/255.255.255.0",
            "2001:db8::/32",
            "0a:00:00:00:00:01",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "0a:00:00:00:00", "x"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
