//! The local rows of a chassis: given by the control API, compiled beside the Southbound's.
//!
//! A transaction is staged, handed to the compiler, and verified. Those that came since the last turn
//! are written to the file together; only then are they told to the claims, and published with the
//! next generation. What is refused is taken back before anything was published. A row of the Southbound DB that comes later with the same name or
//! key wins: the local row, and those that refer to it, are put aside until it is gone.

use super::Engine;
use crate::daemon::parts::{Compiler, Ports};
use crate::southbound::binding::PortRow;
use crate::southbound::learn::{Learning, Names};
use ovn_xdp_datapath::learn::Learned;
use ovn_xdp_local::database::{Database, identities, inverse, references};
use ovn_xdp_local::store::Store;
use ovn_xdp_local::transaction::{Operations, Outcome, Refusal, kind, stage};
use ovn_xdp_ovsdb::replica::Change;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use uuid::Uuid;

/// The local rows and what became of them.
#[derive(Debug, Default)]
pub struct Local {
    /// The rows.
    pub database: Database,
    /// Rows that are not compiled, and why.
    pub aside: BTreeMap<Uuid, String>,
    /// What was learned of local datapaths; it is never written to the Southbound DB.
    pub learning: Learning,
    store: Option<Store>,
    /// Transactions that are not in the file yet.
    open: Vec<Executed>,
    /// Rows whose name or key a row of the Southbound DB has: that row, and what it is.
    claimed: HashMap<Uuid, (Uuid, String)>,
}

/// What a transaction did.
#[derive(Debug)]
struct Executed {
    changes: Vec<Change>,
    /// What of [`Local::claimed`] it was the end of.
    unclaimed: Vec<(Uuid, (Uuid, String))>,
}

impl<C: Compiler, P: Ports> Engine<C, P> {
    /// Takes the rows that were kept in a file; once, before anything else is told.
    pub fn keep_local(&mut self, store: Store, database: Database, now: Duration) {
        let changes = database.insertions();
        self.local = Local { database, store: Some(store), ..Local::default() };
        self.follow_local(&changes, now);
    }

    /// Executes a transaction on the local rows: a result for each operation. What it changes is in
    /// the generation that the next turn publishes after [`Engine::commit_local`].
    ///
    /// # Errors
    /// What is wrong; then nothing was changed.
    pub fn transact(
        &mut self,
        operations: &Operations,
        now: Duration,
    ) -> Result<Vec<Outcome>, Refusal> {
        let compiler = &self.compiler;
        let staged =
            stage(&self.local.database, operations, &|table, row| compiler.knows(table, row))?;
        if staged.changes.is_empty() {
            return Ok(staged.outcomes);
        }
        if let Some(frozen) = &self.frozen {
            return Err(Refusal::whole("not allowed", frozen.to_string()));
        }
        self.compiler.apply(&staged.changes);
        if let Err(objection) = self.compiler.verify(&staged.changes) {
            self.take_back(&staged.changes);
            let (row, reason) = (objection.row, objection.reason);
            return Err(staged.refuse(operations, row, kind::CONSTRAINT, reason));
        }
        self.local.database.apply(&staged.changes);
        self.tell_claims(&staged.changes, now);
        self.stale = true;
        let mut unclaimed = Vec::new();
        if !self.local.claimed.is_empty() {
            let claimed = &mut self.local.claimed;
            let rows = staged.changes.iter().map(|change| change.row);
            unclaimed.extend(rows.filter_map(|row| claimed.remove_entry(&row)));
            self.put_aside(now);
        }
        self.local.open.push(Executed { changes: staged.changes, unclaimed });
        Ok(staged.outcomes)
    }

    /// Puts the transactions that were executed since the last time into the file: all, or none.
    ///
    /// # Errors
    /// What is in the way; then nothing was changed by any of them.
    pub fn commit_local(&mut self, now: Duration) -> Result<(), Refusal> {
        let open = std::mem::take(&mut self.local.open);
        let Local { store: Some(store), database, .. } = &mut self.local else { return Ok(()) };
        if open.is_empty() {
            return Ok(());
        }
        let changes: Vec<&[Change]> = open.iter().map(|executed| &*executed.changes).collect();
        let Err(error) = store.append(&changes, database) else { return Ok(()) };
        for Executed { changes, unclaimed } in open.into_iter().rev() {
            let back = inverse(&changes);
            self.local.database.apply(&back);
            self.follow_local(&back, now);
            self.local.claimed.extend(unclaimed);
        }
        if !self.local.claimed.is_empty() {
            self.put_aside(now);
        }
        Err(Refusal::whole("I/O error", error.to_string()))
    }

    /// Rows of the Southbound DB changed: some may have taken, or given back, what local rows have.
    pub(super) fn settle_local(&mut self, changes: &[Change], now: Duration) {
        if self.local.database.is_empty() {
            return;
        }
        let before = self.local.claimed.len();
        let mut moved = false;
        for change in changes {
            let Local { database, claimed, .. } = &mut self.local;
            claimed.retain(|_, (by, _)| *by != change.row);
            for identity in change.new.iter().flat_map(identities) {
                if let Some(row) = database.holder(&identity).filter(|row| *row != change.row) {
                    claimed.insert(row, (change.row, identity.to_string()));
                    moved = true;
                }
            }
        }
        if moved || self.local.claimed.len() != before {
            self.put_aside(now);
        }
    }

    /// Takes the rows that cannot be, and those that refer to them, out of what is compiled, and puts
    /// back those that can be again.
    fn put_aside(&mut self, now: Duration) {
        let Local { database, claimed, aside, .. } = &mut self.local;
        let mut wanted: BTreeMap<Uuid, String> = claimed
            .iter()
            .filter(|(row, _)| database.table_of(**row).is_some())
            .map(|(row, (by, what))| {
                (*row, format!("{what}: row {by} of the Southbound DB has it"))
            })
            .collect();
        loop {
            let dependent: Vec<(Uuid, String)> = database
                .all()
                .filter(|(_, uuid, _)| !wanted.contains_key(uuid))
                .filter_map(|(_, uuid, row)| {
                    let mut strong = references(row).filter(|(to, _)| !to.weak);
                    let (_, on) = strong.find(|(_, on)| wanted.contains_key(on))?;
                    Some((uuid, format!("it refers to row {on}, which is put aside")))
                })
                .collect();
            if dependent.is_empty() {
                break;
            }
            wanted.extend(dependent);
        }
        let mut changes = Vec::new();
        for (uuid, why) in &wanted {
            if !aside.contains_key(uuid)
                && let Some(table) = database.table_of(*uuid)
            {
                tracing::warn!(row = %uuid, %table, %why, "a local row is put aside");
                let old = database.row(table, *uuid).cloned();
                changes.push(Change { table: table.clone(), row: *uuid, old, new: None });
            }
        }
        for uuid in aside.keys().filter(|uuid| !wanted.contains_key(uuid)) {
            if let Some(table) = database.table_of(*uuid) {
                tracing::info!(row = %uuid, %table, "a local row is used again");
                let new = database.row(table, *uuid).cloned();
                changes.push(Change { table: table.clone(), row: *uuid, old: None, new });
            }
        }
        *aside = wanted;
        self.follow_local(&changes, now);
    }

    fn follow_local(&mut self, changes: &[Change], now: Duration) {
        self.tell_claims(changes, now);
        self.compiler.apply(changes);
        self.stale = true;
    }

    fn tell_claims(&mut self, changes: &[Change], now: Duration) {
        for change in changes.iter().filter(|change| &*change.table == "Port_Binding") {
            self.claims.row(change.row, change.new.as_ref().map(PortRow::read_ours), now);
        }
    }

    fn take_back(&mut self, changes: &[Change]) {
        self.compiler.apply(&inverse(changes));
        self.stale = true;
    }

    /// Whether what was learned must not leave this chassis: it is of a local datapath or port.
    pub(super) fn is_local(&self, learned: &Learned) -> bool {
        if self.local.database.is_empty() || self.offline {
            return false;
        }
        let (Learned::Neighbour { datapath, port, .. }
        | Learned::Fdb { datapath, port, .. }
        | Learned::NeighbourUsed { datapath, port, .. }) = learned;
        let found = self.compiler.names().port(*datapath, *port);
        found.is_some_and(|(row, port)| {
            let local = &self.local.database;
            local.row("Datapath_Binding", row).is_some()
                || local.holder(&ovn_xdp_local::database::Identity::Port(port)).is_some()
        })
    }

    /// What was learned of local datapaths goes into our own copy.
    pub(super) fn remember_local(&mut self, now: Duration) {
        if self.local.learning.deadline().is_none_or(|due| now < due) {
            return;
        }
        let names = self.compiler.names();
        let changes = self.local.learning.remember(now, &names);
        for change in &changes {
            let new = change.new.as_ref();
            match &*change.table {
                "MAC_Binding" => self.local.learning.binding_row(change.row, new),
                _ => self.local.learning.fdb_row(change.row, new),
            }
        }
        if !changes.is_empty() {
            self.compiler.apply(&changes);
            self.stale = true;
        }
    }
}
