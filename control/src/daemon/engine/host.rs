//! The host's side of the engine: interfaces that come, go or are replaced, next hops, NICs.

use super::{ATTACH_AGAIN, Attached, Engine};
use crate::daemon::parts::{Compiler, Ports};
use crate::host::hop::{NextHop, Unresolved};
use crate::host::link::Links;
use crate::southbound::claim::{State, Vif};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_datapath::publish::Link;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

impl<C: Compiler, P: Ports> Engine<C, P> {
    /// The links of the host changed: interfaces of the configuration are attached and detached.
    pub fn links(&mut self, links: &Links, now: Duration) {
        self.attach_again = None;
        self.missing.clear();
        let gone: Vec<String> = self
            .attached
            .iter()
            .filter(|(port, attached)| {
                let wanted = self.config.interfaces.get(*port);
                let there = links.by_name(&attached.name).map(|link| link.index);
                wanted.is_none_or(|wanted| wanted.name != attached.name)
                    || there != Some(attached.link)
            })
            .map(|(port, _)| port.clone())
            .collect();
        for port in gone {
            if let Some(attached) = self.attached.remove(&port) {
                tracing::info!(%port, interface = %attached.name, "interface gone");
                self.ports.detach_interface(attached.id);
                self.outside.remove(&attached.id);
                self.compiler.remove_interface(attached.id);
                self.claims.interface(port.as_str().into(), None);
                self.stale = true;
            }
        }
        for (port, interface) in &self.config.interfaces {
            let Some(link) = links.by_name(&interface.name) else {
                self.missing.insert(port.clone(), "the interface does not exist".to_owned());
                continue;
            };
            if !link.ethernet {
                let reason = "the interface is no Ethernet device".to_owned();
                self.missing.insert(port.clone(), reason);
                continue;
            }
            let id = match self.attached.get(port) {
                Some(attached) => attached.id,
                None => match self.ports.attach_interface(&interface.name) {
                    Ok(id) => {
                        tracing::info!(%port, interface = %interface.name, "interface attached");
                        self.compiler.set_interface(id, &interface.name);
                        self.outside.insert(id, None);
                        let name = interface.name.clone();
                        let attached = Attached { name, link: link.index, id };
                        self.attached.insert(port.clone(), attached);
                        id
                    }
                    Err(error) => {
                        let name = &interface.name;
                        if let Some(withheld) = self.quiet.say("attach", name, now) {
                            tracing::warn!(%port, interface = %name, %error, withheld, "cannot attach");
                        }
                        self.missing.insert(port.clone(), error);
                        self.attach_again = Some(now + ATTACH_AGAIN);
                        continue;
                    }
                },
            };
            let vif = Vif {
                interface: id,
                version: interface.iface_id_ver.as_deref().map(Arc::from),
                encap: interface.encap_ip,
            };
            self.claims.interface(port.as_str().into(), Some(vif));
            self.stale = true;
        }
        self.claims.interfaces_complete();
        // A NIC that came back under its name is another one.
        self.nics.retain(|index, _| links.get(*index).is_some());
    }

    /// Lets frames in from interfaces that the workers know: those whose port they forward for, and
    /// those that certainly have none. `asking` says that new conditions are on their way.
    pub(super) fn admit(&mut self, asking: bool) {
        if self.outside.is_empty() {
            return;
        }
        let (newest, running) = self.generation;
        let complete = self.alone || self.initial && self.conditions.is_none() && !asking;
        for (port, Attached { id, .. }) in &self.attached {
            let Some(from) = self.outside.get_mut(id) else { continue };
            match self.claims.state_of(port) {
                Some(State::MarkUp | State::Installed) => *from = Some(running),
                // The server answers no condition now, but what we know of the port is to be used.
                Some(_) if !self.initial && !self.alone => *from = from.or(Some(newest)),
                None if complete => *from = from.or(Some(newest)),
                _ => *from = None,
            }
            if from.is_some_and(|from| from <= running) {
                self.outside.remove(id);
                if let Err(error) = self.ports.admit_interface(*id) {
                    tracing::error!(%port, %error, "its frames cannot be let in");
                }
            }
        }
    }

    /// How to get from one of our addresses to a peer.
    pub fn hop(
        &mut self,
        (local, remote): (IpAddr, IpAddr),
        hop: Result<NextHop, Unresolved>,
        links: &Links,
        now: Duration,
    ) {
        let link = match hop.and_then(|hop| self.open(hop, links)) {
            Ok(link) => {
                self.unresolved.remove(&(local, remote));
                Some(link)
            }
            Err(reason) => {
                let known = self.unresolved.get(&(local, remote)) == Some(&reason);
                if !known && let Some(withheld) = self.quiet.say("tunnel", &remote.to_string(), now)
                {
                    tracing::info!(%remote, %reason, withheld, "tunnel without a next hop");
                }
                self.unresolved.insert((local, remote), reason);
                None
            }
        };
        let changes = self.tunnels.hop(local, remote, link);
        self.tell(changes);
    }

    fn open(&mut self, hop: NextHop, links: &Links) -> Result<Link, Unresolved> {
        let nic = match self.nics.get(&hop.link) {
            Some(nic) => *nic,
            None => {
                let name = links.get(hop.link).map_or("", |link| &link.name);
                let nic = self.ports.open_nic(name).map_err(|reason| {
                    let nic = name.to_owned();
                    Unresolved::NoNic { nic, reason }
                })?;
                tracing::info!(nic = %name, "NIC opened");
                self.nics.insert(hop.link, nic);
                nic
            }
        };
        Ok(Link { nic, source: hop.source, destination: hop.destination, mtu: hop.mtu })
    }

    /// Whether an interface waits to be attached again.
    pub fn attach_due(&self, now: Duration) -> bool {
        self.attach_again.is_some_and(|due| due <= now)
    }

    /// Host interface of an attachment.
    pub fn interface_name(&self, id: InterfaceId) -> &str {
        let mut attached = self.attached.values();
        attached.find(|attached| attached.id == id).map_or("", |attached| &attached.name)
    }

    /// Numbers of the NICs that are opened.
    pub fn nics(&self) -> impl Iterator<Item = u16> {
        self.nics.values().copied()
    }

    /// Host interface of an opened NIC.
    pub fn nic_link(&self, nic: u16) -> Option<u32> {
        self.nics.iter().find(|(_, known)| **known == nic).map(|(link, _)| *link)
    }
}
