//! What claims are tested in: the rows of one database, workers, and the claims of one chassis between
//! them. Each write is checked against what must hold of it.

use super::*;

pub(super) fn at(millis: u64) -> Now {
    Duration::from_millis(millis)
}

pub(super) fn port(name: &str) -> PortRow {
    PortRow {
        name: name.into(),
        kind: Kind::Vif,
        parent: None,
        tag: None,
        chassis: None,
        additional: Vec::new(),
        encap: None,
        up: Some(false),
        requested: None,
        iface_id_ver: None,
        ours: false,
    }
}

pub(super) fn tagged(vid: u16) -> Option<Tag> {
    VlanId::new(vid).map(|vid| Tag { tpid: 0x8100, vid })
}

pub(super) fn child(name: &str, parent: &str, tag: u16) -> PortRow {
    PortRow { parent: Some(parent.into()), tag: tagged(tag), ..port(name) }
}

/// A database of Port_Binding, workers, and the claims of one chassis between them.
pub(super) struct World {
    pub(super) claims: Claims,
    pub(super) rows: BTreeMap<Uuid, PortRow>,
    pub(super) now: Now,
    pub(super) generation: u64,
    pub(super) workers: u64,
    /// Generation that forwards for a row, once it was published after all conditions.
    pub(super) forwards: HashMap<Uuid, Option<u64>>,
    pub(super) writes: Vec<Write>,
    pub(super) connected: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let mut claims = Claims::new("hv1", "hv1.example");
        claims.chassis(Some(ME), BTreeMap::new());
        claims.writable(true);
        claims.interfaces_complete();
        Self {
            claims,
            rows: BTreeMap::new(),
            now: at(0),
            generation: 0,
            workers: 0,
            forwards: HashMap::new(),
            writes: Vec::new(),
            connected: true,
        }
    }

    pub(super) fn put(&mut self, id: u128, row: PortRow) -> Uuid {
        let uuid = Uuid::from_u128(id);
        self.rows.insert(uuid, row.clone());
        self.claims.row(uuid, Some(row), self.now);
        uuid
    }

    pub(super) fn edit(&mut self, uuid: Uuid, change: impl FnOnce(&mut PortRow)) {
        if let Some(mut row) = self.rows.get(&uuid).cloned() {
            change(&mut row);
            self.rows.insert(uuid, row.clone());
            self.claims.row(uuid, Some(row), self.now);
        }
    }

    pub(super) fn delete(&mut self, uuid: Uuid) {
        self.rows.remove(&uuid);
        self.claims.row(uuid, None, self.now);
    }

    pub(super) fn plug(&mut self, name: &str, interface: u32) {
        let vif = Vif { interface: InterfaceId(interface), version: None, encap: None };
        self.claims.interface(name.into(), Some(vif));
    }

    pub(super) fn unplug(&mut self, name: &str) {
        self.claims.interface(name.into(), None);
    }

    /// One turn of the daemon: run, publish, and let the database answer.
    pub(super) fn turn(&mut self, settled: bool) -> Vec<Action> {
        let actions = self.claims.run(self.now);
        let mut changed = Vec::new();
        for action in &actions {
            match action {
                Action::Bind { row, .. } => {
                    self.forwards.insert(*row, None);
                }
                Action::Unbind { row, .. } => {
                    self.forwards.remove(row);
                }
                Action::Write(write) => {
                    self.check(write);
                    self.writes.push(write.clone());
                    changed.push(write.row());
                    if self.connected {
                        self.apply(write);
                    }
                }
            }
        }
        self.generation += 1;
        self.claims.published(self.generation, settled);
        if settled {
            for forwards in self.forwards.values_mut() {
                forwards.get_or_insert(self.generation);
            }
        }
        if self.connected {
            for row in &changed {
                if let Some(now) = self.rows.get(row) {
                    self.claims.row(*row, Some(now.clone()), self.now);
                }
            }
            self.claims.written(&changed, true, self.now);
        }
        actions
    }

    pub(super) fn workers_catch_up(&mut self) {
        self.workers = self.generation;
        self.claims.workers_at(self.workers);
    }

    /// What must hold of every write.
    pub(super) fn check(&self, write: &Write) {
        let Some(row) = self.rows.get(&write.row()) else { return };
        match write {
            Write::Up { row: uuid, up: true } => {
                let forwards = self.forwards.get(uuid).copied().flatten();
                assert!(
                    forwards.is_some_and(|generation| generation <= self.workers),
                    "{}: up before the workers forward for it",
                    row.name
                );
                if let Some(parent) = &row.parent {
                    let parent = self.rows.values().find(|row| row.name == *parent).unwrap();
                    assert_eq!(parent.up, Some(true), "{}: up before its parent", row.name);
                }
            }
            Write::Claim { .. } => {
                // A child is main or additional as its parent is, whatever its own order says.
                let own = row.verdict("hv1", "hv1.example");
                assert_ne!(own, Verdict::Never, "{}", row.name);
                assert!(own == Verdict::Main || row.is_child(), "{}", row.name);
            }
            _ => {}
        }
    }

    pub(super) fn apply(&mut self, write: &Write) {
        let Some(row) = self.rows.get_mut(&write.row()) else { return };
        match write {
            Write::Claim { encap, lower, .. } => {
                row.chassis = Some(ME);
                row.encap = *encap;
                if *lower {
                    row.up = Some(false);
                }
            }
            Write::Release { lower, .. } if row.chassis == Some(ME) => {
                row.chassis = None;
                row.encap = None;
                if *lower {
                    row.up = Some(false);
                }
            }
            Write::Up { up, .. } if row.chassis == Some(ME) => row.up = Some(*up),
            Write::JoinAdditional { .. } => row.additional = vec![ME],
            Write::LeaveAdditional { .. } => row.additional.clear(),
            _ => {}
        }
    }

    /// Runs until nothing happens any more.
    pub(super) fn rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..30 {
            self.now += POSTPONE + RETRY;
            quiet = if self.turn(true).is_empty() { quiet + 1 } else { 0 };
            self.workers_catch_up();
            if quiet == 3 {
                return;
            }
        }
        panic!("never comes to rest: {:?}", self.writes);
    }
}
