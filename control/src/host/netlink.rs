//! The conversation with the kernel.

use super::hop::{Neighbours, NextHop, Route, Unresolved};
use super::link::Links;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use std::net::IpAddr;

/// Netlink does not work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}; ovn-xdp needs CAP_NET_ADMIN")]
    Open(#[from] std::io::Error),
    /// A dump failed.
    #[error("cannot read {what} from the kernel: {error}")]
    Dump {
        /// Links or neighbours.
        what: &'static str,
        /// Why.
        error: rtnetlink::Error,
    },
}

/// What changed on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Links, by name or otherwise; routes may have changed with them.
    Links,
    /// A link by its index, in something that is not among what is kept of links: its offloads, perhaps.
    Link(u32),
    /// Routes or addresses.
    Routes,
    /// The MAC address of a neighbour.
    Neighbour(u32, IpAddr),
    /// The kernel lost messages: call [`Host::reload`].
    Lost,
}

/// Links and neighbours of this network namespace, and its routes on request.
pub struct Host {
    handle: Handle,
    messages: BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>,
    /// All links.
    pub links: Links,
    neighbours: Neighbours,
}

impl Host {
    /// Connects to the kernel and reads everything once.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn open() -> Result<Self, HostError> {
        let (connection, handle, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ])?;
        tokio::spawn(connection);
        let mut host = Self {
            handle,
            messages: messages.map(|(message, _)| message).boxed(),
            links: Links::default(),
            neighbours: Neighbours::default(),
        };
        host.reload().await?;
        Ok(host)
    }

    /// Reads links and neighbours anew.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn reload(&mut self) -> Result<(), HostError> {
        let dump = |what| move |error| HostError::Dump { what, error };
        self.links.clear();
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(dump("links"))? {
            self.links.set(&link);
        }
        self.neighbours.clear();
        let mut neighbours = self.handle.neighbours().get().execute();
        while let Some(neighbour) = neighbours.try_next().await.map_err(dump("neighbours"))? {
            self.neighbours.set(&neighbour, false);
        }
        Ok(())
    }

    /// Waits for the next change that may concern us. May be dropped at any time.
    pub async fn changed(&mut self) -> Change {
        loop {
            match self.messages.next().await {
                Some(message) => {
                    if let Some(change) = self.apply(message.payload) {
                        return change;
                    }
                }
                // The connection ended: nothing will ever be heard again.
                None => std::future::pending().await,
            }
        }
    }

    fn apply(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
        use RouteNetlinkMessage as M;
        let message = match payload {
            NetlinkPayload::InnerMessage(message) => message,
            NetlinkPayload::Overrun(_) => return Some(Change::Lost),
            _ => return None,
        };
        match message {
            M::NewLink(link) => {
                let changed = self.links.set(&link);
                Some(if changed { Change::Links } else { Change::Link(link.header.index) })
            }
            M::DelLink(link) => self.links.remove(link.header.index).then_some(Change::Links),
            M::NewNeighbour(message) => {
                self.neighbours.set(&message, false).map(|(link, ip)| Change::Neighbour(link, ip))
            }
            M::DelNeighbour(message) => {
                self.neighbours.set(&message, true).map(|(link, ip)| Change::Neighbour(link, ip))
            }
            M::NewRoute(_) | M::DelRoute(_) | M::NewAddress(_) | M::DelAddress(_) => {
                Some(Change::Routes)
            }
            _ => None,
        }
    }

    /// The kernel's route from one of our addresses to another host.
    ///
    /// # Errors
    /// If there is none, or the other host is this one.
    pub async fn route(&self, local: IpAddr, remote: IpAddr) -> Result<Route, Unresolved> {
        let mut message = RouteMessage::default();
        let (family, bits) =
            if remote.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        message.header.source_prefix_length = bits;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(remote)));
        message.attributes.push(RouteAttribute::Source(RouteAddress::from(local)));
        let no_route = |reason| Unresolved::NoRoute { local, remote, reason };
        let mut answers = std::pin::pin!(self.handle.route().get(message).execute());
        let answer = answers.try_next().await.map_err(|error| {
            no_route(match error {
                rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
                error => error.to_string(),
            })
        })?;
        let answer = answer.ok_or_else(|| no_route("the kernel did not answer".to_owned()))?;
        Route::read(&answer, remote).ok_or(Unresolved::Ourselves { remote })
    }

    /// The next hop of a route, as far as it is known.
    ///
    /// # Errors
    /// What is missing.
    pub fn next_hop(&self, route: &Route, remote: IpAddr) -> Result<NextHop, Unresolved> {
        route.next_hop(remote, &self.links, &self.neighbours)
    }

    /// Asks the kernel to find the MAC address of a neighbour and to keep it fresh
    /// (`NTF_EXT_MANAGED`). The answer arrives as [`Change::Neighbour`].
    pub async fn solicit(&self, link: u32, address: IpAddr) {
        if let Err(error) = self.manage(link, address, true).await {
            tracing::warn!(%address, link, %error, "cannot ask for the neighbour of a tunnel");
        }
    }

    /// Leaves a neighbour to the kernel again, which forgets it when nobody uses it.
    pub async fn release(&self, link: u32, address: IpAddr) {
        if self.links.get(link).is_none() {
            return;
        }
        if let Err(error) = self.manage(link, address, false).await {
            tracing::debug!(%address, link, %error, "a neighbour stays managed");
        }
    }

    async fn manage(
        &self,
        link: u32,
        address: IpAddr,
        managed: bool,
    ) -> Result<(), rtnetlink::Error> {
        let neighbours = self.handle.neighbours();
        let mut request = neighbours
            .add(link, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        if managed {
            let flags = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
            request.message_mut().attributes.push(flags);
        }
        request.execute().await
    }
}
