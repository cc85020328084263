//! What was learned while the Southbound DB is a file: it is kept in memory instead.
//!
//! Nobody can write into the file, but forwarding may rest on what a workload said of itself, so
//! the facts become rows of our own copy. They are gone with the daemon, and at most [`ROWS`].

use super::{Learning, ip};
use crate::southbound::learn::Names;
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::replica::Change;
use ovn_xdp_ovsdb::value::Datum;
use std::time::Duration;
use uuid::Uuid;

/// Rows that are kept at most.
pub const ROWS: u64 = 16_384;

/// The upper half of our rows' UUIDs, which no server makes: they are not of version 4.
const OURS: u64 = 0x6c65_6172_6e65_6400;

impl Learning {
    /// The facts that are due, as changes of our copy; to be told to everybody who follows the
    /// database, this included.
    pub fn remember(&mut self, now: Duration, names: &impl Names) -> Vec<Change> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let facts = std::mem::take(&mut self.queue);
        facts.into_iter().filter_map(|fact| self.row(fact.learned, names)).collect()
    }

    fn row(&mut self, learned: Learned, names: &impl Names) -> Option<Change> {
        let (known, row) = match learned {
            Learned::Neighbour { datapath, port, family, address, mac } => {
                let (datapath, port) = names.port(datapath, port)?;
                let (ip, mac) = (ip(family, address).to_string(), super::format_mac(mac));
                let known = self.bindings.get(&(port.clone(), ip.clone()));
                if known.is_some_and(|known| known.mac.eq_ignore_ascii_case(&mac)) {
                    return None;
                }
                let columns = [
                    ("logical_port", Datum::from(&*port)),
                    ("ip", Datum::from(ip.as_str())),
                    ("mac", Datum::from(mac.as_str())),
                    ("datapath", Datum::from(datapath)),
                ];
                (known.map(|known| known.row), Row::made("MAC_Binding", columns))
            }
            Learned::Fdb { datapath, port, mac } => {
                let known = self.fdb.get(&(mac, datapath.get()));
                if known.is_some_and(|(_, at)| !super::moves(*at, port, datapath, names)) {
                    return None;
                }
                let columns = [
                    ("mac", Datum::from(super::format_mac(mac).as_str())),
                    ("dp_key", Datum::from(i64::from(datapath.get()))),
                    ("port_key", Datum::from(i64::from(port.get()))),
                ];
                (known.map(|(row, _)| *row), Row::made("FDB", columns))
            }
            Learned::NeighbourUsed { .. } => return None,
        };
        let uuid = match known {
            Some(uuid) => uuid,
            None if self.remembered < ROWS => {
                self.remembered += 1;
                Uuid::from_u64_pair(OURS, self.remembered)
            }
            None => {
                self.lost += 1;
                return None;
            }
        };
        let table = row.table().clone();
        Some(Change { table, row: uuid, old: None, new: Some(row) })
    }
}
