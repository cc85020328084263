//! Workload interfaces and which logical ports their frames belong to (PHY-I1, PHY-I2).

use hashbrown::HashMap;
use ovn_xdp_datapath::key::{InterfaceId, VlanId};
use ovn_xdp_datapath::publish::{self, Attachment, Children, Interface, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a logical port is on this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalPort {
    /// The interface.
    pub interface: InterfaceId,
    /// The tag of a nested container, none for a port that has the interface for itself.
    pub tag: Option<Tag>,
}

/// A place that one logical port can have: an interface, or a tag on it.
type Slot = (InterfaceId, Option<VlanId>);

/// The interfaces and who is on them.
#[derive(Default, Debug)]
pub(crate) struct Interfaces {
    names: BTreeMap<InterfaceId, Arc<str>>,
    /// Ports by slot; of several the first by name has it.
    ports: BTreeMap<Slot, BTreeSet<Arc<str>>>,
    /// Slots whose port may have changed.
    touched: BTreeSet<Slot>,
    /// Interfaces that are new or have another name.
    renamed: BTreeSet<InterfaceId>,
}

fn slot(local: LocalPort) -> Slot {
    (local.interface, local.tag.map(|tag| tag.vid))
}

impl Interfaces {
    pub(crate) fn attach(&mut self, local: LocalPort, port: &Arc<str>) {
        self.ports.entry(slot(local)).or_default().insert(port.clone());
        self.touched.insert(slot(local));
    }

    pub(crate) fn detach(&mut self, local: LocalPort, port: &Arc<str>) {
        let slot = slot(local);
        if let Some(ports) = self.ports.get_mut(&slot) {
            ports.remove(port);
            if ports.is_empty() {
                self.ports.remove(&slot);
            }
        }
        self.touched.insert(slot);
    }

    /// A port's row has changed.
    pub(crate) fn touch(&mut self, bound: &BTreeMap<Arc<str>, LocalPort>, port: &str) {
        self.touched.extend(bound.get(port).map(|local| slot(*local)));
    }

    /// All rows have.
    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.ports.keys());
    }

    pub(crate) fn set_name(&mut self, id: InterfaceId, name: &str) {
        let known = self.names.insert(id, name.into());
        if known.as_deref() != Some(name) {
            self.renamed.insert(id);
        }
        if known.is_none() {
            self.touched
                .extend(self.ports.range((id, None)..).map(|(s, _)| *s).take_while(|s| s.0 == id));
        }
    }

    pub(crate) fn remove_name(&mut self, id: InterfaceId) -> bool {
        self.renamed.remove(&id);
        self.names.remove(&id).is_some()
    }

    /// The interfaces that are not as published, each under a new epoch.
    pub(crate) fn refresh(
        &mut self,
        published: &publish::Interfaces,
        attachment: impl Fn(&Arc<str>) -> Option<Attachment>,
        epoch: &mut u64,
    ) -> Vec<(InterfaceId, Arc<Interface>)> {
        let mut slots: HashMap<InterfaceId, Vec<Option<VlanId>>> = HashMap::new();
        for (id, vid) in std::mem::take(&mut self.touched) {
            slots.entry(id).or_default().push(vid);
        }
        for id in std::mem::take(&mut self.renamed) {
            slots.entry(id).or_default();
        }
        let mut changed = Vec::new();
        for (id, slots) in slots {
            let Some(name) = self.names.get(&id) else { continue };
            let known = published.get(id);
            let mut interface = match known {
                Some(known) => (**known).clone(),
                None => Interface {
                    epoch: 0,
                    name: String::new(),
                    vif: None,
                    children: Children::default(),
                },
            };
            let mut differs = known.is_none() || *interface.name != **name;
            interface.name = name.to_string();
            for vid in slots {
                let ports = self.ports.get(&(id, vid));
                let port = ports.into_iter().flatten().find_map(&attachment);
                let place = match vid {
                    None => &interface.vif,
                    Some(vid) => &interface.children.get(vid),
                };
                if *place == port {
                    continue;
                }
                differs = true;
                match vid {
                    None => interface.vif = port,
                    Some(vid) => interface.children.set(vid, port),
                }
            }
            if differs {
                *epoch += 1;
                interface.epoch = *epoch;
                changed.push((id, Arc::new(interface)));
            }
        }
        changed
    }
}
