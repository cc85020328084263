//! The sets that matches refer to, and what names mean in a datapath.
//!
//! A set stays a set: all rules that name it hold its number, and what is in it is kept once, in the
//! contents that are published (DESIGN, "Sets stay sets"). A member that comes or goes is entered or
//! taken out there; rules are made again only when the set itself comes, goes, or stops to fit.

use crate::database::Database;
use crate::locality::{Own, active};
use crate::names::Name;
use crate::southbound::{AddressSet, DatapathBinding, PortType};
use hashbrown::HashMap;
use ovn_xdp_datapath::classify::{self, Domain, Masked, SetId, SharedSet};
use ovn_xdp_datapath::key::DatapathKey;
use ovn_xdp_logical::resolve::{Resolve, SetError};
use ovn_xdp_logical::set::{fit, member};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sets that some rule has asked for.
#[derive(Default, Debug)]
pub(crate) struct Sets {
    addresses: HashMap<Arc<str>, Addresses>,
    groups: HashMap<(DatapathKey, Arc<str>), Group>,
    contents: classify::Sets,
    changed: bool,
    /// The number of the next set.
    next: u32,
}

/// An address set.
#[derive(Debug)]
struct Addresses {
    row: Arc<AddressSet>,
    /// By width of the field that it is compared with.
    fitted: Vec<Fitted>,
}

/// An address set as compared with fields of one width.
#[derive(Debug)]
struct Fitted {
    width: u32,
    set: SharedSet,
    /// Texts that mean what another text means, beside that one.
    again: HashMap<Masked, u32>,
    /// Members that are wider than the field, by how wide they are.
    wide: BTreeMap<u32, u32>,
}

/// A port group in one datapath.
#[derive(Debug)]
struct Group {
    set: SharedSet,
    /// Keys of its ports, sorted.
    members: Vec<Masked>,
}

/// What of a set may mean something else than before.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Refreshed {
    /// Whether there is such a set, and whether it fits.
    pub(crate) itself: bool,
    /// What is in it.
    pub(crate) members: bool,
    /// Whether anything is in it.
    pub(crate) emptiness: bool,
}

impl Sets {
    /// What is in all sets, if that has changed since the last time.
    pub(crate) fn changed(&mut self) -> Option<classify::Sets> {
        std::mem::take(&mut self.changed).then(|| self.contents.clone())
    }

    /// Takes note that an address set may have changed.
    pub(crate) fn refresh_addresses(&mut self, database: &Database, name: &Arc<str>) -> Refreshed {
        let now = row(database, name);
        let Some(known) = self.addresses.get_mut(name) else {
            let came = now.is_some();
            return Refreshed { itself: came, members: came, emptiness: came };
        };
        let contents = &mut self.contents;
        let Some(now) = now else {
            let gone = known.row.addresses.clone();
            gone.iter().for_each(|text| known.leave(text, contents));
            self.addresses.remove(name);
            self.changed = true;
            return Refreshed { itself: true, members: true, emptiness: true };
        };
        let before = std::mem::replace(&mut known.row, now.clone());
        let refused = known.refused();
        let mut members = false;
        // Entered before others are taken out, so that nothing that stays is away in between.
        difference(&before.addresses, &now.addresses, |text, came| {
            members = true;
            if came {
                known.enter(text, contents);
            }
        });
        if members {
            difference(&before.addresses, &now.addresses, |text, came| {
                if !came {
                    known.leave(text, contents);
                }
            });
        }
        self.changed |= members;
        let emptiness = has_members(&before) != has_members(&now);
        Refreshed { itself: refused != known.refused(), members, emptiness }
    }

    /// Takes note that a port group of a datapath, or a member's key, may have changed; returns
    /// whether rules can see it.
    pub(crate) fn refresh_group(
        &mut self,
        database: &Database,
        datapath: DatapathKey,
        name: &Arc<str>,
    ) -> bool {
        let key = (datapath, name.clone());
        let now = members(database, datapath, name);
        let Some(known) = self.groups.get_mut(&key) else { return now.is_some() };
        let exists = now.is_some();
        let now = now.unwrap_or_default();
        let (contents, changed, set) = (&mut self.contents, &mut self.changed, known.set);
        difference(&known.members, &now, |member, came| {
            *changed = true;
            if came {
                contents.insert(set, *member);
            } else {
                contents.remove(set, *member);
            }
        });
        known.members = now;
        if !exists {
            self.groups.remove(&key);
        }
        !exists
    }

    /// An address set as compared with fields of a width, for the first time.
    fn fit_addresses(
        &mut self,
        name: Arc<str>,
        row: Arc<AddressSet>,
        width: u32,
    ) -> Result<SharedSet, SetError> {
        let Self { addresses, contents, changed, next, .. } = self;
        let known = addresses.entry(name).or_insert_with(|| Addresses { row, fitted: Vec::new() });
        let set = Self::set(next, Domain::Width(width as u8));
        let (again, wide) = (HashMap::new(), BTreeMap::new());
        let mut fitted = Fitted { width, set, again, wide };
        known.row.addresses.iter().for_each(|text| fitted.enter(text, contents));
        *changed = true;
        let made = fitted.usable();
        known.fitted.push(fitted);
        made
    }

    /// A port group of a datapath, for the first time.
    fn fit_group(&mut self, key: (DatapathKey, Arc<str>), members: Vec<Masked>) -> SharedSet {
        let set = Self::set(&mut self.next, Domain::Ports(key.0));
        for member in &members {
            self.contents.insert(set, *member);
        }
        self.changed = true;
        self.groups.insert(key, Group { set, members });
        set
    }

    fn set(next: &mut u32, domain: Domain) -> SharedSet {
        *next += 1;
        SharedSet { id: SetId(*next), domain }
    }
}

impl Addresses {
    fn enter(&mut self, text: &str, contents: &mut classify::Sets) {
        self.fitted.iter_mut().for_each(|fitted| fitted.enter(text, contents));
    }

    fn leave(&mut self, text: &str, contents: &mut classify::Sets) {
        self.fitted.iter_mut().for_each(|fitted| fitted.leave(text, contents));
    }

    /// As compared with fields of a width, if any has been before.
    fn of_width(&self, width: u32) -> Option<Result<SharedSet, SetError>> {
        Some(self.fitted.iter().find(|fitted| fitted.width == width)?.usable())
    }

    /// By width, the bits of a member that does not fit.
    fn refused(&self) -> Vec<Option<u32>> {
        self.fitted.iter().map(|fitted| fitted.wide.keys().next_back().copied()).collect()
    }
}

impl Fitted {
    fn usable(&self) -> Result<SharedSet, SetError> {
        match self.wide.keys().next_back() {
            Some(&bits) => Err(SetError::TooWide { bits }),
            None => Ok(self.set),
        }
    }

    fn enter(&mut self, text: &str, contents: &mut classify::Sets) {
        let Some(number) = member(text) else { return };
        match fit(&number, self.width) {
            Ok(values) if contents.insert(self.set, values) => {}
            Ok(values) => *self.again.entry(values).or_default() += 1,
            Err(_) => *self.wide.entry(number.width()).or_default() += 1,
        }
    }

    fn leave(&mut self, text: &str, contents: &mut classify::Sets) {
        let Some(number) = member(text) else { return };
        match fit(&number, self.width) {
            Ok(values) => match self.again.get_mut(&values) {
                Some(more) if *more > 1 => *more -= 1,
                Some(_) => {
                    self.again.remove(&values);
                }
                None => {
                    contents.remove(self.set, values);
                }
            },
            Err(_) => {
                if let Some(count) = self.wide.get_mut(&number.width()) {
                    *count -= 1;
                    if *count == 0 {
                        self.wide.remove(&number.width());
                    }
                }
            }
        }
    }
}

/// What is in one of two sorted lists only; true for the second.
fn difference<T: Ord>(before: &[T], after: &[T], mut each: impl FnMut(&T, bool)) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        match order {
            Ordering::Less => old.next().into_iter().for_each(|it| each(it, false)),
            Ordering::Greater => new.next().into_iter().for_each(|it| each(it, true)),
            Ordering::Equal => {
                old.next();
                new.next();
            }
        }
    }
}

fn row(database: &Database, name: &str) -> Option<Arc<AddressSet>> {
    database.address_sets.get(&database.address_set_by_name.first(name)?).cloned()
}

/// Whether any of a set's texts is one of an address.
fn has_members(row: &AddressSet) -> bool {
    row.addresses.iter().any(|text| member(text).is_some())
}

/// The keys of a port group's members in one datapath (EX-S6).
fn members(database: &Database, datapath: DatapathKey, name: &str) -> Option<Vec<Masked>> {
    let row = database.port_group_by_name.first(&*format!("{datapath}_{name}"))?;
    let row = database.port_groups.get(&row)?;
    let of = database.datapath_by_key.first(&datapath)?;
    let key = |name: &Arc<str>| {
        let port = database.port(name).filter(|port| port.datapath == of)?;
        Some(Masked { value: port.key.get().into(), mask: u32::MAX.into() })
    };
    let mut keys: Vec<Masked> = row.ports.iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    Some(keys)
}

/// A port group's name apart from the datapath's key that SB puts in front.
pub(crate) fn split_group(name: &str) -> Option<(DatapathKey, &str)> {
    let (key, name) = name.split_once('_')?;
    Some((DatapathKey::new(key.parse().ok()?)?, name))
}

/// The sets, as who reads texts has them.
#[derive(Debug)]
pub(crate) enum Access<'a> {
    /// A set that nobody has asked for yet is made.
    Alone(&'a mut Sets),
    /// It is not, because others read at the same time.
    Shared {
        /// The sets.
        sets: &'a Sets,
        /// Whether one was missing: then what was made does not count.
        lacks: bool,
    },
}

impl<'a> Access<'a> {
    /// The sets for one of several who read.
    pub(crate) fn shared(sets: &'a Sets) -> Self {
        Self::Shared { sets, lacks: false }
    }

    /// Whether a set was missing since this was asked last.
    pub(crate) fn lacked(&mut self) -> bool {
        match self {
            Self::Alone(_) => false,
            Self::Shared { lacks, .. } => std::mem::take(lacks),
        }
    }
}

/// What names mean in one datapath. Every question is noted in `asked`.
pub(crate) struct Resolver<'a, 'b> {
    pub(crate) database: &'a Database,
    pub(crate) own: &'a Own,
    pub(crate) datapath: &'a DatapathBinding,
    pub(crate) sets: &'a mut Access<'b>,
    pub(crate) asked: Vec<Name>,
}

impl Resolver<'_, '_> {
    fn ask(&mut self, name: Name) {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
    }
}

impl Resolve for Resolver<'_, '_> {
    fn port(&mut self, name: &str) -> Option<u32> {
        let port = self.database.port(name);
        let shared = port.map_or_else(|| Arc::from(name), |port| port.logical_port.clone());
        self.ask(Name::Port(shared.clone()));
        let own = self.datapath.uuid;
        if let Some(port) = port.filter(|port| port.datapath == own) {
            return Some(port.key.get().into());
        }
        let group = self.database.multicast_by_name.first(&(own, shared))?;
        Some(self.database.multicast.get(&group)?.key.get().into())
    }

    fn address_set(&mut self, name: &str, width: u32) -> Result<SharedSet, SetError> {
        let sets: &Sets = match self.sets {
            Access::Alone(sets) => sets,
            Access::Shared { sets, .. } => sets,
        };
        let (shared, known) = match sets.addresses.get_key_value(name) {
            Some((shared, known)) => (shared.clone(), known.of_width(width)),
            None => (Arc::from(name), None),
        };
        self.ask(Name::AddressSet(shared.clone()));
        if let Some(known) = known {
            return known;
        }
        let row = row(self.database, name).ok_or(SetError::Unknown)?;
        match self.sets {
            Access::Alone(sets) => sets.fit_addresses(shared, row, width),
            Access::Shared { lacks, .. } => {
                *lacks = true;
                Err(SetError::Unknown)
            }
        }
    }

    fn address_list(&mut self, name: &str, width: u32) -> Result<Vec<Masked>, SetError> {
        self.ask(Name::Members(name.into()));
        let row = row(self.database, name).ok_or(SetError::Unknown)?;
        let numbers = row.addresses.iter().filter_map(|text| member(text));
        numbers.map(|number| fit(&number, width)).collect()
    }

    fn has_no_members(&mut self, name: &str) -> bool {
        self.ask(Name::Emptiness(name.into()));
        row(self.database, name).is_some_and(|row| !has_members(&row))
    }

    fn port_group(&mut self, name: &str) -> Option<SharedSet> {
        let shared: Arc<str> = Arc::from(name);
        self.ask(Name::PortGroup(shared.clone()));
        let key = (self.datapath.key, shared);
        let sets: &Sets = match self.sets {
            Access::Alone(sets) => sets,
            Access::Shared { sets, .. } => sets,
        };
        if let Some(known) = sets.groups.get(&key) {
            return Some(known.set);
        }
        let members = members(self.database, key.0, name)?;
        match self.sets {
            Access::Alone(sets) => Some(sets.fit_group(key, members)),
            Access::Shared { lacks, .. } => {
                *lacks = true;
                None
            }
        }
    }

    fn is_chassis_resident(&mut self, name: &str) -> bool {
        let port = self.database.port(name);
        let shared = port.map_or_else(|| Arc::from(name), |port| port.logical_port.clone());
        self.ask(Name::Resident(shared));
        if self.own.whole {
            return port.is_some() || name.is_empty();
        }
        let Some(port) = port else { return false };
        let chassis = match port.kind {
            PortType::ChassisRedirect => active(self.database, port),
            _ => port.chassis(),
        };
        self.own.uuid.is_some() && chassis == self.own.uuid
    }
}
