//! What routers and switches know of addresses: MAC_Binding, Static_MAC_Binding and FDB, merged by
//! precedence (sections 5.6 and 5.8).

use crate::compiler::Compiler;
use ovn_xdp_datapath::program::Family;
use ovn_xdp_datapath::publish::{Mac, Neighbour};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

impl Compiler {
    /// Merges learned and given neighbours (section 5.6), and copies FDB.
    pub(crate) fn merge_neighbours(&mut self) {
        for (name, ip) in std::mem::take(&mut self.dirty.neighbours) {
            let Some(port) = self.database.port(&name) else { continue };
            let mac = self.neighbour(&(name, ip));
            let (family, address) = match ip {
                IpAddr::V4(ip) => (Family::V4, u128::from(u32::from(ip))),
                IpAddr::V6(ip) => (Family::V6, u128::from(ip)),
            };
            let key = Neighbour { port: port.key, family, address };
            let datapath = port.datapath;
            let Some(local) = self.locals.get_mut(&datapath) else { continue };
            if local.neighbours.get(&key) != mac.as_ref() {
                match mac {
                    Some(mac) => local.neighbours.insert_mut(key, mac),
                    None => {
                        local.neighbours.remove_mut(&key);
                    }
                }
                self.touched.insert(datapath);
            }
        }
        for (key, mac) in std::mem::take(&mut self.dirty.fdb) {
            let row = self.database.fdb_of.first(&(key, mac));
            let port = row.and_then(|row| Some(self.database.fdb.get(&row)?.port_key));
            let Some(datapath) = self.database.datapath_by_key.first(&key) else { continue };
            let Some(local) = self.locals.get_mut(&datapath) else { continue };
            if local.fdb.get(&mac) != port.as_ref() {
                match port {
                    Some(port) => local.fdb.insert_mut(mac, port),
                    None => {
                        local.fdb.remove_mut(&mac);
                    }
                }
                self.touched.insert(datapath);
            }
        }
    }

    /// Given neighbours that override go before learned ones, and other given ones behind.
    fn neighbour(&self, key: &(Arc<str>, IpAddr)) -> Option<Mac> {
        // ovn-trace does not know of given neighbours.
        let given = self.database.static_macs_of.rows(key).filter(|_| !self.own.whole);
        let given = given.filter_map(|row: Uuid| self.database.static_macs.get(&row));
        let learned = self.database.mac_bindings_of.rows(key);
        let learned = learned.filter_map(|row| self.database.mac_bindings.get(&row));
        let mut given: Vec<_> = given.map(|row| (row.override_dynamic_mac, row.mac)).collect();
        given.sort_by_key(|(overrides, _)| !overrides);
        match given.first() {
            Some((true, mac)) => Some(*mac),
            other => learned.map(|row| row.mac).next().or(other.map(|(_, mac)| *mac)),
        }
    }
}
