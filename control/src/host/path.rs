//! Next hops of all tunnels, resolved again only when what they rest on changed.

use super::hop::{NextHop, Route, Unresolved};
use super::netlink::{Change, Host};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Our address and the peer's.
pub type Pair = (IpAddr, IpAddr);

/// The paths that are wanted, and what they rest on.
#[derive(Debug, Default)]
pub struct Paths {
    routes: BTreeMap<Pair, Option<Route>>,
    dirty: BTreeSet<Pair>,
    /// Neighbours that the kernel was asked to keep known since the host last changed.
    solicited: BTreeSet<(u32, IpAddr)>,
    /// All that it was ever asked for, and still is.
    managed: BTreeSet<(u32, IpAddr)>,
}

impl Paths {
    /// From now on these are wanted.
    pub fn want(&mut self, pairs: &BTreeSet<Pair>) {
        self.routes.retain(|pair, _| pairs.contains(pair));
        self.dirty.retain(|pair| pairs.contains(pair));
        for pair in pairs {
            if let std::collections::btree_map::Entry::Vacant(entry) = self.routes.entry(*pair) {
                entry.insert(None);
                self.dirty.insert(*pair);
            }
        }
    }

    /// Something changed on the host.
    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Neighbour(link, address) => {
                // Somebody may have deleted it, and our wish with it.
                self.solicited.remove(&(link, address));
                let rests = |route: &Route| (route.link, route.next) == (link, address);
                let dirty =
                    self.routes.iter().filter(|(_, route)| route.as_ref().is_some_and(rests));
                self.dirty.extend(dirty.map(|(pair, _)| *pair));
            }
            Change::Link(_) => {}
            Change::Links | Change::Routes | Change::Lost => {
                self.dirty.extend(self.routes.keys());
                // A link that came back has forgotten whom we asked for.
                self.solicited.clear();
            }
        }
    }

    /// Whether [`Paths::resolve`] has anything to do.
    pub fn pending(&self) -> bool {
        !self.dirty.is_empty() || !self.unused().is_empty()
    }

    /// Resolves what is dirty. A neighbour that is not known is asked for once; its answer makes
    /// the path dirty again.
    pub async fn resolve(&mut self, host: &Host) -> Vec<(Pair, Result<NextHop, Unresolved>)> {
        let mut resolved = Vec::new();
        for pair in std::mem::take(&mut self.dirty) {
            let (local, remote) = pair;
            let route = host.route(local, remote).await;
            self.routes.insert(pair, route.as_ref().ok().copied());
            let hop = match route {
                Ok(route) => {
                    if self.solicited.insert((route.link, route.next)) {
                        self.managed.insert((route.link, route.next));
                        host.solicit(route.link, route.next).await;
                    }
                    host.next_hop(&route, remote)
                }
                Err(error) => Err(error),
            };
            resolved.push((pair, hop));
        }
        for (link, next) in self.unused() {
            self.solicited.remove(&(link, next));
            self.managed.remove(&(link, next));
            host.release(link, next).await;
        }
        resolved
    }

    /// Neighbours that were asked for, and that no path rests on any more.
    fn unused(&self) -> Vec<(u32, IpAddr)> {
        let routes = self.routes.values().flatten();
        let used: BTreeSet<(u32, IpAddr)> = routes.map(|route| (route.link, route.next)).collect();
        self.managed.difference(&used).copied().collect()
    }

    /// Leaves all neighbours to the kernel again.
    pub async fn release(&mut self, host: &Host) {
        self.solicited.clear();
        for (link, next) in std::mem::take(&mut self.managed) {
            host.release(link, next).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(last: u8) -> Pair {
        ([192, 0, 2, 1].into(), [192, 0, 2, last].into())
    }

    #[test]
    fn a_neighbour_touches_only_the_paths_that_rest_on_it() {
        let mut paths = Paths::default();
        paths.want(&BTreeSet::from([pair(2), pair(3)]));
        assert!(paths.pending());
        paths.dirty.clear();
        for last in [2, 3] {
            let route = Route { link: 7, next: pair(last).1, mtu: None };
            paths.routes.insert(pair(last), Some(route));
        }
        paths.solicited.insert((7, pair(3).1));
        paths.changed(Change::Neighbour(7, pair(3).1));
        assert_eq!(paths.dirty, BTreeSet::from([pair(3)]));
        assert!(paths.solicited.is_empty(), "a neighbour that was flushed is asked for again");
        paths.changed(Change::Neighbour(8, pair(2).1));
        assert_eq!(paths.dirty.len(), 1);
        paths.changed(Change::Routes);
        assert_eq!(paths.dirty.len(), 2);
        paths.want(&BTreeSet::from([pair(2)]));
        assert_eq!(paths.dirty, BTreeSet::from([pair(2)]));
    }

    #[test]
    fn the_neighbour_of_a_tunnel_that_is_gone_is_left_to_the_kernel_again() {
        let mut paths = Paths::default();
        paths.want(&BTreeSet::from([pair(2)]));
        paths.dirty.clear();
        paths.routes.insert(pair(2), Some(Route { link: 7, next: pair(2).1, mtu: None }));
        paths.managed.insert((7, pair(2).1));
        assert!(!paths.pending());
        paths.want(&BTreeSet::new());
        assert!(paths.pending());
        assert_eq!(paths.unused(), [(7, pair(2).1)]);
    }
}
