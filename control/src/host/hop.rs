//! The next hop of a tunnel: a link of ours, and the MAC address behind it.

use super::link::Links;
use ovn_xdp_datapath::publish::Mac;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What the kernel answers to "how would you send to this address?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Link to send on.
    pub link: u32,
    /// Gateway, or the address itself on a link that it is on.
    pub next: IpAddr,
    /// MTU of the route, if it has its own, bytes.
    pub mtu: Option<u32>,
}

/// Everything to put in front of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// Link to send on.
    pub link: u32,
    /// MAC address of the link.
    pub source: Mac,
    /// MAC address of the next hop.
    pub destination: Mac,
    /// Largest IP packet of the path, bytes.
    pub mtu: u16,
}

/// Why a tunnel cannot carry packets now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unresolved {
    /// The kernel has no route.
    #[error("no route from {local} to {remote} ({reason}): give this host the address and a route")]
    NoRoute {
        /// Our end.
        local: IpAddr,
        /// The other end.
        remote: IpAddr,
        /// What the kernel said.
        reason: String,
    },
    /// The other end is this host.
    #[error("{remote} is an address of this host: two chassis share an ovn-encap-ip")]
    Ourselves {
        /// The other end.
        remote: IpAddr,
    },
    /// The link is gone, or has no MAC address.
    #[error("{remote} is behind link {link}, which is not an Ethernet device that is there")]
    NoLink {
        /// The other end.
        remote: IpAddr,
        /// Its index.
        link: u32,
    },
    /// The link cannot be forwarded on.
    #[error("cannot open the NIC {nic}: {reason}")]
    NoNic {
        /// Its name.
        nic: String,
        /// Why not.
        reason: String,
    },
    /// The kernel does not know the MAC address yet; it was asked to find out.
    #[error("the MAC address of {next} on link {link} is not known yet")]
    NoNeighbour {
        /// Link.
        link: u32,
        /// Gateway, or the other end itself.
        next: IpAddr,
    },
}

impl Route {
    /// Reads the answer; `None` if the destination is this host, or the answer makes no sense.
    pub fn read(message: &RouteMessage, remote: IpAddr) -> Option<Self> {
        let mut route = Self { link: 0, next: remote, mtu: None };
        if message.header.kind != RouteType::Unicast {
            return None;
        }
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(link) => route.link = *link,
                RouteAttribute::Gateway(RouteAddress::Inet(next)) => route.next = (*next).into(),
                RouteAttribute::Gateway(RouteAddress::Inet6(next)) => route.next = (*next).into(),
                RouteAttribute::Via(RouteVia::Inet6(next)) => route.next = (*next).into(),
                RouteAttribute::Via(RouteVia::Inet(next)) => route.next = (*next).into(),
                RouteAttribute::Metrics(metrics) => {
                    route.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        (route.link != 0).then_some(route)
    }

    /// Joins the route with what is known of its link and its next hop.
    ///
    /// # Errors
    /// If the link or the MAC address is missing.
    pub fn next_hop(
        &self,
        remote: IpAddr,
        links: &Links,
        neighbours: &Neighbours,
    ) -> Result<NextHop, Unresolved> {
        let missing = || Unresolved::NoLink { remote, link: self.link };
        let link = links.get(self.link).filter(|link| link.up).ok_or_else(missing)?;
        let source = link.mac.ok_or_else(missing)?;
        let destination = neighbours
            .get(self.link, self.next)
            .ok_or(Unresolved::NoNeighbour { link: self.link, next: self.next })?;
        let mtu = self.mtu.filter(|mtu| *mtu != 0).unwrap_or(link.mtu).min(link.mtu);
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        Ok(NextHop { link: self.link, source, destination, mtu })
    }
}

/// The kernel's neighbours that have a MAC address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbours(BTreeMap<(u32, IpAddr), Mac>);

impl Neighbours {
    /// Takes over what a message says; whom it is about, if that changed anything.
    pub fn set(&mut self, message: &NeighbourMessage, gone: bool) -> Option<(u32, IpAddr)> {
        let mut address = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    address = Some(IpAddr::from(*ip));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    address = Some(IpAddr::from(*ip));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = Mac::try_from(bytes.as_slice()).ok();
                }
                _ => {}
            }
        }
        let key = (message.header.ifindex, address?);
        // A stale entry still holds: the kernel asks again by itself, and the old answer is what
        // it would send to meanwhile.
        let known = !gone
            && matches!(
                message.header.state,
                NeighbourState::Reachable
                    | NeighbourState::Stale
                    | NeighbourState::Delay
                    | NeighbourState::Probe
                    | NeighbourState::Permanent
                    | NeighbourState::Noarp
            );
        let before = self.0.get(&key).copied();
        let after = mac.filter(|_| known);
        match after {
            Some(mac) => self.0.insert(key, mac),
            None => self.0.remove(&key),
        };
        (before != after).then_some(key)
    }

    /// The MAC address of a neighbour.
    pub fn get(&self, link: u32, address: IpAddr) -> Option<Mac> {
        self.0.get(&(link, address)).copied()
    }

    /// Forgets all, before they are read anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn neighbour(state: NeighbourState) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 2].into())),
            NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
        ];
        message
    }

    fn links(mtu: u32) -> Links {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("eth1".to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
        ];
        let mut links = Links::default();
        links.set(&message);
        links
    }

    fn remote() -> IpAddr {
        [192, 0, 2, 2].into()
    }

    #[test]
    fn a_neighbour_is_known_until_it_fails_or_goes() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.set(&neighbour(NeighbourState::Incomplete), false), None);
        let key = Some((3, remote()));
        assert_eq!(neighbours.set(&neighbour(NeighbourState::Reachable), false), key);
        assert_eq!(neighbours.set(&neighbour(NeighbourState::Stale), false), None);
        assert_eq!(neighbours.get(3, remote()), Some(MAC));
        assert_eq!(neighbours.set(&neighbour(NeighbourState::Failed), false), key);
        assert_eq!(neighbours.get(3, remote()), None);
        neighbours.set(&neighbour(NeighbourState::Reachable), false);
        assert_eq!(neighbours.set(&neighbour(NeighbourState::Reachable), true), key);
    }

    #[test]
    fn the_path_is_as_wide_as_the_narrower_of_route_and_link() {
        let mut neighbours = Neighbours::default();
        neighbours.set(&neighbour(NeighbourState::Reachable), false);
        for (route, link, path) in
            [(None, 9000, 9000), (Some(1400), 9000, 1400), (Some(9000), 1500, 1500)]
        {
            let route = Route { link: 3, next: remote(), mtu: route };
            let hop = route.next_hop(remote(), &links(link), &neighbours).unwrap();
            assert_eq!((hop.mtu, hop.destination), (path, MAC));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let route = Route { link: 3, next: remote(), mtu: None };
        let error = route.next_hop(remote(), &links(1500), &Neighbours::default()).unwrap_err();
        assert_eq!(error, Unresolved::NoNeighbour { link: 3, next: remote() });
        let error = route.next_hop(remote(), &Links::default(), &Neighbours::default());
        assert!(matches!(error, Err(Unresolved::NoLink { link: 3, .. })));
    }

    #[test]
    fn a_gateway_is_the_next_hop_and_an_address_of_ours_is_none() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Oif(3),
            RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, 254].into())),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
        ];
        let route = Route::read(&message, remote()).unwrap();
        assert_eq!(route, Route { link: 3, next: [192, 0, 2, 254].into(), mtu: Some(1400) });
        message.header.kind = RouteType::Local;
        assert_eq!(Route::read(&message, remote()), None);
    }
}
