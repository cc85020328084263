//! Where a logical port is: rows of Port_Binding as destinations (sections 3.2 and 5.4).

use crate::compiler::Compiler;
use crate::database::Database;
use crate::locality::{Own, active, peer};
use crate::southbound::{MulticastGroup, PortBinding, PortType};
use crate::{LocalPort, security};
use hashbrown::HashMap;
use ovn_xdp_datapath::key::{PortKey, TunnelId};
use ovn_xdp_datapath::publish::{Attachment, Group, Place, Port, Tunnel};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

impl Compiler {
    /// Finds out where ports are, and who serves the members of their groups.
    pub(crate) fn place_ports(&mut self) {
        let ports = std::mem::take(&mut self.dirty.ports);
        let mut groups = std::mem::take(&mut self.dirty.groups);
        for uuid in ports {
            let Some(port) = self.database.ports.get(&uuid) else { continue };
            groups.extend(self.database.multicast_of_port.rows(&uuid));
            if !self.locals.contains_key(&port.datapath) {
                continue;
            }
            let placed = self.map().port(port);
            let (datapath, key) = (port.datapath, port.key);
            if let Some(local) = self.locals.get_mut(&datapath)
                && local.ports.get(key).is_none_or(|known| !same(known, &placed))
            {
                local.ports.insert(key, Arc::new(placed));
                self.touched.insert(datapath);
            }
        }
        for uuid in groups {
            let Some(group) = self.database.multicast.get(&uuid) else { continue };
            if !self.locals.contains_key(&group.datapath) {
                continue;
            }
            let members = self.map().group(group);
            let (datapath, key) = (group.datapath, group.key);
            if let Some(local) = self.locals.get_mut(&datapath)
                && local
                    .groups
                    .get(&key)
                    .is_none_or(|known| Group { epoch: 0, ..(**known).clone() } != members)
            {
                self.epoch += 1;
                let group = Group { epoch: self.epoch, ..members };
                local.groups.insert_mut(key, Arc::new(group));
                self.touched.insert(datapath);
            }
        }
    }
}

/// The ways to each chassis, by its name.
pub(crate) type Tunnels = HashMap<Arc<str>, Vec<(TunnelId, Arc<Tunnel>)>>;

/// What the place of a port depends on.
#[derive(Clone, Copy)]
pub(crate) struct Map<'a> {
    pub(crate) database: &'a Database,
    pub(crate) own: &'a Own,
    pub(crate) bound: &'a BTreeMap<Arc<str>, LocalPort>,
    pub(crate) tunnels: &'a Tunnels,
}

impl Map<'_> {
    /// A port as a destination.
    pub(crate) fn port(&self, port: &PortBinding) -> Port {
        Port {
            key: port.key,
            name: port.logical_port.clone(),
            place: self.place(port),
            security: security::parse(port.port_security().iter().map(|text| &**text)),
            localport: port.kind == PortType::Localport,
        }
    }

    /// A port as the source of frames.
    pub(crate) fn attachment(&self, port: &PortBinding) -> Option<Attachment> {
        let datapath = self.database.datapaths.get(&port.datapath)?;
        Some(Attachment { datapath: datapath.key, port: port.key })
    }

    fn place(&self, port: &PortBinding) -> Place {
        if self.own.whole {
            return self.within_reach(port);
        }
        if let Some(local) = self.bound.get(&port.logical_port) {
            let also = match port.additional_chassis().next() {
                None => Box::default(),
                Some(_) => self.remote(port, port.chassis()),
            };
            return Place::Local { interface: local.interface, tag: local.tag, also };
        }
        let not_executed = Place::NotExecuted(port.kind.label());
        match port.kind {
            PortType::Patch => self.patch(port),
            PortType::L3Gateway if self.is_here(port, "l3gateway-chassis") => self.patch(port),
            PortType::Localport => Place::Unbound,
            PortType::Localnet | PortType::Mirror | PortType::Unknown => not_executed,
            PortType::ChassisRedirect => match active(self.database, port) {
                Some(chassis) if Some(chassis) != self.own.uuid => {
                    self.tunnelled(port, Some(chassis))
                }
                Some(_) => not_executed,
                None => Place::Unbound,
            },
            PortType::L2Gateway if self.is_here(port, "l2gateway-chassis") => not_executed,
            PortType::External | PortType::Virtual
                if port.chassis().is_some() && port.chassis() == self.own.uuid =>
            {
                not_executed
            }
            PortType::Vif
            | PortType::L3Gateway
            | PortType::L2Gateway
            | PortType::External
            | PortType::Virtual
            | PortType::Remote
            | PortType::Vtep => self.tunnelled(port, port.chassis()),
        }
    }

    /// Where a port is in the whole network: gateways are as near as anything.
    fn within_reach(&self, port: &PortBinding) -> Place {
        let named = |option| self.database.port(port.option(option)?);
        match port.kind {
            PortType::Patch | PortType::L3Gateway => named("peer")
                .and_then(|peer| self.attachment(peer))
                .map_or(Place::Anywhere, Place::Patch),
            PortType::ChassisRedirect => named("distributed-port")
                .filter(|distributed| distributed.datapath == port.datapath)
                .map_or(Place::NotExecuted(port.kind.label()), |distributed| {
                    Place::Distributed(distributed.key)
                }),
            _ => Place::Anywhere,
        }
    }

    fn is_here(&self, port: &PortBinding, option: &str) -> bool {
        port.option(option) == Some(&self.own.name)
            || port.chassis().is_some() && port.chassis() == self.own.uuid
    }

    fn patch(&self, port: &PortBinding) -> Place {
        peer(self.database, port)
            .and_then(|peer| self.attachment(peer))
            .map_or(Place::Unbound, Place::Patch)
    }

    /// On another chassis: by tunnel, unless the switch has a physical network of its own (OUT-5).
    fn tunnelled(&self, port: &PortBinding, chassis: Option<Uuid>) -> Place {
        let remote = self.remote(port, chassis);
        if remote.is_empty() {
            Place::Unbound
        } else if self.by_localnet(port.datapath) {
            Place::NotExecuted(PortType::Localnet.label())
        } else {
            Place::Remote(remote)
        }
    }

    /// Tunnels to all other chassis that have a port (OUT-2, OUT-8).
    fn remote(&self, port: &PortBinding, chassis: Option<Uuid>) -> Box<[TunnelId]> {
        let main = chassis.and_then(|chassis| self.tunnel(chassis, port.encap()));
        let encap_of = |chassis: Uuid| {
            port.additional_encap().find(|encap| {
                let encap = self.database.encaps.get(encap);
                let chassis = self.database.chassis.get(&chassis);
                encap.zip(chassis).is_some_and(|(e, c)| e.chassis_name == c.name)
            })
        };
        let others = port.additional_chassis();
        let others = others.filter_map(|chassis| self.tunnel(chassis, encap_of(chassis)));
        main.into_iter().chain(others).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The tunnel to a chassis, by the Encap that the port asks for if there is one (PBO-10).
    fn tunnel(&self, chassis: Uuid, encap: Option<Uuid>) -> Option<TunnelId> {
        if Some(chassis) == self.own.uuid {
            return None;
        }
        let tunnels = self.tunnels.get(&self.database.chassis.get(&chassis)?.name)?;
        let wanted = encap.and_then(|encap| self.database.encaps.get(&encap)).map(|e| e.ip);
        let by_encap = tunnels.iter().find(|(_, tunnel)| Some(tunnel.remote) == wanted);
        by_encap.or_else(|| tunnels.first()).map(|(id, _)| *id)
    }

    fn by_localnet(&self, datapath: Uuid) -> bool {
        self.database.localnets_of_datapath.contains(&datapath)
            && !self.database.global_flag("always_tunnel")
    }

    /// The members of a multicast group, by who serves them (OUT-6, ENC-11).
    pub(crate) fn group(&self, group: &MulticastGroup) -> Group {
        if self.own.whole {
            return self.all_members(group);
        }
        let by_localnet = self.by_localnet(group.datapath);
        let (mut local, mut ingress_only) = (BTreeSet::<PortKey>::new(), BTreeSet::new());
        let mut remote = BTreeSet::new();
        for port in group.ports.iter().filter_map(|port| self.database.ports.get(port)) {
            if port.datapath != group.datapath {
                continue;
            }
            let bound = self.bound.contains_key(&port.logical_port);
            match port.kind {
                PortType::Patch => {
                    ingress_only.insert(port.key);
                }
                PortType::Localport => {
                    ingress_only.extend(bound.then_some(port.key));
                }
                PortType::L3Gateway if self.is_here(port, "l3gateway-chassis") => {
                    local.insert(port.key);
                }
                _ if bound => {
                    local.insert(port.key);
                    if !by_localnet && port.additional_chassis().next().is_some() {
                        remote.extend(self.remote(port, port.chassis()));
                    }
                }
                PortType::Localnet => {}
                _ if by_localnet => {}
                _ => remote.extend(self.remote(port, port.chassis())),
            }
        }
        Group {
            epoch: 0,
            local: local.into_iter().collect(),
            ingress_only: ingress_only.into_iter().collect(),
            remote: remote.into_iter().collect(),
        }
    }
}

impl Map<'_> {
    /// The members of a group in the whole network, in the order of their names.
    fn all_members(&self, group: &MulticastGroup) -> Group {
        let ports = group.ports.iter().filter_map(|port| self.database.ports.get(port));
        let mut members: Vec<_> = ports.filter(|port| port.datapath == group.datapath).collect();
        members.sort_by(|a, b| a.logical_port.cmp(&b.logical_port));
        Group { local: members.iter().map(|port| port.key).collect(), ..Group::default() }
    }
}

fn same(a: &Port, b: &Port) -> bool {
    a.key == b.key
        && a.name == b.name
        && a.place == b.place
        && a.security == b.security
        && a.localport == b.localport
}
