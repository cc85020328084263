//! The table of links, kept by what netlink says.
//!
//! A device that was replaced under the same name is another device: it has another index.

use ovn_xdp_datapath::publish::Mac;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use std::collections::BTreeMap;

/// A network device of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its index, not used again while it exists.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest IP packet, bytes.
    pub mtu: u32,
    /// Whether it carries Ethernet frames; the loopback and tunnels of IP packets do not.
    pub ethernet: bool,
    /// Its address, if it is an Ethernet device.
    pub mac: Option<Mac>,
    /// Whether it was set up by somebody.
    pub up: bool,
}

/// All devices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Links(BTreeMap<u32, Link>);

impl Links {
    /// A device appeared or changed; false if nothing that we look at did.
    pub fn set(&mut self, message: &LinkMessage) -> bool {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            mtu: 0,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            mac: None,
            up: message.header.flags.contains(LinkFlags::Up),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok(),
                _ => {}
            }
        }
        // Messages of other families (a bridge's, say) name a device without describing it.
        if link.name.is_empty() || self.0.get(&link.index) == Some(&link) {
            return false;
        }
        self.0.insert(link.index, link);
        true
    }

    /// A device went.
    pub fn remove(&mut self, index: u32) -> bool {
        self.0.remove(&index).is_some()
    }

    /// A device by its index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.0.get(&index)
    }

    /// A device by its name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.0.values().find(|link| link.name == name)
    }

    /// Forgets all, before they are read anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, name: &str, mtu: u32) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        ];
        message
    }

    #[test]
    fn a_device_that_comes_back_under_its_name_is_another_device() {
        let mut links = Links::default();
        assert!(links.set(&message(3, "tap0", 1500)));
        assert!(links.remove(3));
        assert_eq!(links.by_name("tap0"), None);
        assert!(links.set(&message(4, "tap0", 1500)));
        assert_eq!(links.by_name("tap0").map(|link| link.index), Some(4));
    }

    #[test]
    fn a_message_that_changes_nothing_for_us_is_no_change() {
        let mut links = Links::default();
        assert!(links.set(&message(3, "tap0", 1500)));
        assert!(!links.set(&message(3, "tap0", 1500)));
        assert!(links.set(&message(3, "tap0", 9000)));
        let mut other = message(3, "", 0);
        other.attributes.clear();
        assert!(!links.set(&other));
        assert_eq!(links.get(3).unwrap().mtu, 9000);
    }
}
