//! Tunnels to the other chassis: which there are, and where their frames go next.
//!
//! A pure function of the Chassis and Encap tables and of the configuration, with a memory for
//! numbers: the tunnel to one address of one chassis from one of ours keeps its [`TunnelId`] as long
//! as it exists, so that a change of one never touches another (CH-8). The next hop of each comes
//! from the kernel by [`Tunnels::hop`].

use crate::config::Encap;
use crate::southbound::chassis::{ChassisRow, EncapRow};
use ovn_xdp_datapath::key::TunnelId;
use ovn_xdp_datapath::publish::{Link, Tunnel};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use uuid::Uuid;

/// What identifies a tunnel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ends {
    /// `Chassis.name` at the other end.
    pub chassis: String,
    /// Its address.
    pub remote: IpAddr,
    /// Ours.
    pub local: IpAddr,
}

/// A tunnel as the compiler is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Who and where.
    pub ends: Ends,
    /// Row of Chassis at the other end.
    pub chassis: Uuid,
    /// Row of Encap at the other end.
    pub encap: Uuid,
    /// Whether ports of that chassis without an encap of their own are reached this way.
    pub preferred: bool,
    /// For the workers.
    pub tunnel: Tunnel,
}

/// What became of a tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new, or differs from before.
    Set(TunnelId, Way),
    /// It is gone.
    Remove(TunnelId),
}

/// All tunnels.
#[derive(Debug, Default)]
pub struct Tunnels {
    ids: BTreeMap<Ends, TunnelId>,
    next: u32,
    ways: BTreeMap<TunnelId, Way>,
    hops: BTreeMap<(IpAddr, IpAddr), Link>,
}

/// Who we are among the chassis.
#[derive(Clone, Copy, Debug)]
pub struct Ourselves<'a> {
    /// `Chassis.name`.
    pub name: &'a str,
    /// Transport zones (CH-4).
    pub zones: &'a [String],
    /// Whether we speak with chassis of other availability zones.
    pub interconn: bool,
    /// Our ends.
    pub encap: &'a Encap,
}

impl Tunnels {
    /// Compares the two tables with the tunnels there are.
    pub fn update(
        &mut self,
        chassis: &BTreeMap<Uuid, ChassisRow>,
        encaps: &BTreeMap<Uuid, EncapRow>,
        us: Ourselves<'_>,
    ) -> Vec<Change> {
        let mut wanted: BTreeMap<Ends, Way> = BTreeMap::new();
        for (uuid, row) in chassis.iter().filter(|(_, row)| speaks_with(us, row)) {
            for way in ways(*uuid, row, encaps, us) {
                wanted.insert(way.ends.clone(), way);
            }
        }
        let mut changes = Vec::new();
        self.ids.retain(|ends, id| {
            let stays = wanted.contains_key(ends);
            if !stays {
                self.ways.remove(id);
                changes.push(Change::Remove(*id));
            }
            stays
        });
        for (ends, mut way) in wanted {
            let id = *self.ids.entry(ends).or_insert_with(|| {
                self.next += 1;
                TunnelId(self.next)
            });
            way.tunnel.link = self.hops.get(&(way.tunnel.local, way.tunnel.remote)).copied();
            if self.ways.get(&id) != Some(&way) {
                self.ways.insert(id, way.clone());
                changes.push(Change::Set(id, way));
            }
        }
        let used: BTreeSet<(IpAddr, IpAddr)> = self.pairs();
        self.hops.retain(|pair, _| used.contains(pair));
        changes
    }

    /// The kernel knows, or no longer knows, how to get from `local` to `remote`.
    pub fn hop(&mut self, local: IpAddr, remote: IpAddr, link: Option<Link>) -> Vec<Change> {
        match link {
            Some(link) => self.hops.insert((local, remote), link),
            None => self.hops.remove(&(local, remote)),
        };
        let mut changes = Vec::new();
        for (id, way) in &mut self.ways {
            let here = (way.tunnel.local, way.tunnel.remote) == (local, remote);
            if here && way.tunnel.link != link {
                way.tunnel.link = link;
                changes.push(Change::Set(*id, way.clone()));
            }
        }
        changes
    }

    /// Pairs of addresses that need a next hop, ours first.
    pub fn pairs(&self) -> BTreeSet<(IpAddr, IpAddr)> {
        self.ways.values().map(|way| (way.tunnel.local, way.tunnel.remote)).collect()
    }

    /// Addresses from which tunnel packets are accepted (ENC-13).
    pub fn peers(&self) -> BTreeSet<IpAddr> {
        self.ways.values().map(|way| way.tunnel.remote).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (TunnelId, &Way)> {
        self.ways.iter().map(|(id, way)| (*id, way))
    }
}

fn speaks_with(us: Ourselves<'_>, row: &ChassisRow) -> bool {
    let remote = row.other_config.get("is-remote").is_some_and(|value| value == "true");
    let share = if us.zones.is_empty() {
        row.transport_zones.is_empty()
    } else {
        us.zones.iter().any(|zone| row.transport_zones.contains(zone))
    };
    row.name != us.name && share && (us.interconn || !remote)
}

/// One tunnel for each address of the other chassis, from that of ours which fits it best.
fn ways(
    chassis: Uuid,
    row: &ChassisRow,
    encaps: &BTreeMap<Uuid, EncapRow>,
    us: Ourselves<'_>,
) -> Vec<Way> {
    let mut theirs: Vec<(IpAddr, Uuid, &EncapRow)> = row
        .encaps
        .iter()
        .filter_map(|uuid| Some((*uuid, encaps.get(uuid)?)))
        .filter(|(_, encap)| encap.kind == "geneve")
        .filter_map(|(uuid, encap)| Some((encap.ip.parse().ok()?, uuid, encap)))
        .filter(|(remote, _, _)| local_for(us.encap, *remote).is_some())
        .collect();
    theirs.sort_by_key(|(address, _, _)| *address);
    let flagged = |encap: &EncapRow| encap.options.get("is_default").is_some_and(|v| v == "true");
    let preferred = theirs
        .iter()
        .find(|(_, _, encap)| flagged(encap))
        .or(theirs.first())
        .map(|(address, _, _)| *address);
    let way = |(remote, uuid, encap): (IpAddr, Uuid, &EncapRow)| {
        let local = local_for(us.encap, remote)?;
        // The other end says whether it wants checksums; upstream takes its word, too.
        let csum = encap.options.get("csum").is_none_or(|value| value != "false");
        Some(Way {
            ends: Ends { chassis: row.name.clone(), remote, local },
            chassis,
            encap: uuid,
            preferred: preferred == Some(remote),
            tunnel: Tunnel {
                epoch: 0,
                chassis: row.name.clone(),
                local,
                remote,
                link: None,
                csum,
                tos: us.encap.tos,
                df: us.encap.df,
            },
        })
    };
    theirs.into_iter().filter_map(way).collect()
}

/// Our address for a peer: the default one if its family fits, else the first that does.
fn local_for(encap: &Encap, remote: IpAddr) -> Option<IpAddr> {
    let fits = |address: &IpAddr| address.is_ipv4() == remote.is_ipv4();
    encap.default.filter(fits).or_else(|| encap.addresses.iter().copied().find(fits))
}

#[cfg(test)]
mod tests;
