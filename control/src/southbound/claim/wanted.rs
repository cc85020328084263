//! What should be of one row: whether and how it is bound here, and what the database lacks.
//!
//! Both are functions of what is known, without memory: [`super::Claims::run`] compares them with
//! what is.

use super::{Claims, Local, Role, State, Write};
use crate::southbound::binding::{Kind, PortRow, Verdict};
use uuid::Uuid;

impl Claims {
    /// How a row should be bound here, if it should.
    pub(super) fn wanted(&self, uuid: Uuid) -> Option<Local> {
        let row = self.rows.get(&uuid)?;
        if self.by_name.get(&row.name) != Some(&uuid) || self.postponed.contains_key(&row.name) {
            return None;
        }
        let own = match row.kind {
            Kind::Vif => row.verdict(&self.name, &self.hostname),
            Kind::Localport if !row.is_child() => Verdict::Main,
            _ => return None,
        };
        let own = match (row.kind, own) {
            (_, Verdict::Never) => return None,
            (Kind::Localport, _) => Role::Unclaimed,
            (_, Verdict::Main) => Role::Main,
            (_, Verdict::Additional) => Role::Additional,
        };
        if let Some(parent) = &row.parent {
            let parent = self.by_name.get(parent)?;
            if self.is_child(*parent) {
                return None;
            }
            let host = self.local.get(parent).filter(|host| host.role != Role::Unclaimed)?;
            return Some(Local {
                port: row.name.clone(),
                tag: Some(row.tag?),
                state: State::Claimed,
                ..host.clone()
            });
        }
        let vif = self.interfaces.get(&row.name)?;
        if row.iface_id_ver.is_some() && row.iface_id_ver != vif.version {
            return None;
        }
        Some(Local {
            port: row.name.clone(),
            interface: vif.interface,
            tag: None,
            role: own,
            state: State::Claimed,
            encap: vif.encap,
        })
    }

    /// The next change that a row needs, if the database can take it now.
    pub(super) fn write(&self, uuid: Uuid) -> Option<Write> {
        let me = self.chassis.filter(|_| self.writable)?;
        let row = self.rows.get(&uuid)?;
        if row.ours || self.pending.contains(&uuid) || self.held.contains_key(&uuid) {
            return None;
        }
        let additional = row.additional.contains(&me);
        let Some(local) = self.local.get(&uuid).filter(|local| local.role != Role::Unclaimed)
        else {
            return if !self.complete {
                None
            } else if row.chassis == Some(me) {
                Some(Write::Release { row: uuid, lower: row.up == Some(true) })
            } else if additional {
                Some(Write::LeaveAdditional { row: uuid })
            } else {
                None
            };
        };
        let encap = local.encap.and_then(|address| self.encaps.get(&address).copied());
        match local.role {
            Role::Additional if row.chassis == Some(me) => {
                Some(Write::Release { row: uuid, lower: false })
            }
            Role::Additional if !additional => Some(Write::JoinAdditional { row: uuid, encap }),
            Role::Main if row.chassis != Some(me) || row.encap != encap => {
                let lower = row.up == Some(true) && row.chassis != Some(me);
                Some(Write::Claim { row: uuid, encap, lower })
            }
            Role::Main if additional => Some(Write::LeaveAdditional { row: uuid }),
            Role::Main => match (local.state, row.up) {
                (State::MarkUp | State::Installed, Some(false)) if self.may_rise(row) => {
                    Some(Write::Up { row: uuid, up: true })
                }
                (State::Claimed | State::WaitingSbCond | State::InstallFlows(_), Some(true)) => {
                    Some(Write::Up { row: uuid, up: false })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A child waits for its parent's `up` to show in the database (NEST-10), as of our claim: what
    /// another chassis left there is about to be lowered.
    fn may_rise(&self, row: &PortRow) -> bool {
        let Some(parent) = &row.parent else { return true };
        let Some(parent) = self.by_name.get(parent) else { return false };
        let installed = self
            .local
            .get(parent)
            .is_some_and(|host| matches!(host.state, State::MarkUp | State::Installed));
        let shows = |row: &PortRow| row.chassis == self.chassis && row.up != Some(false);
        installed && self.rows.get(parent).is_some_and(shows)
    }
}
