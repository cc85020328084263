//! The barrier of `ovn-nbctl --wait=hv` (CH-5): which `nb_cfg` the workers forward by.
//!
//! An `nb_cfg` is reached when all workers run a generation that was compiled with it, and with the
//! server's answers to all conditions: before that, flows of a datapath that has just become local
//! may still be on their way (TRAP-12).

/// Where the barrier stands.
#[derive(Debug)]
pub struct Barrier {
    /// `SB_Global.nb_cfg`.
    pub seen: i64,
    /// The newest that all workers forward by.
    pub reached: i64,
    /// A write is under way.
    pub pending: bool,
    /// Not `options:enable_chassis_nb_cfg_update=false`.
    enabled: bool,
    /// It came with this generation.
    published: Option<(i64, u64)>,
}

impl Default for Barrier {
    fn default() -> Self {
        Self { seen: 0, reached: 0, pending: false, enabled: true, published: None }
    }
}

impl Barrier {
    /// What SB_Global says.
    pub fn global(&mut self, nb_cfg: i64, enabled: bool) {
        self.seen = nb_cfg;
        self.enabled = enabled;
    }

    /// A generation was published after all conditions were answered. Later ones do not move an
    /// `nb_cfg` that waits already, so a database that never rests cannot keep it waiting.
    pub fn published(&mut self, generation: u64) {
        let waits = self.published.is_some_and(|(nb_cfg, _)| nb_cfg == self.seen);
        if self.seen != self.reached && !waits {
            self.published = Some((self.seen, generation));
        }
    }

    /// All workers run this generation.
    pub fn workers_at(&mut self, generation: u64) {
        if let Some((nb_cfg, _)) = self.published.take_if(|(_, wanted)| *wanted <= generation) {
            self.reached = nb_cfg;
        }
    }

    /// The number to write, unless the row says so already.
    pub fn due(&self) -> Option<i64> {
        (self.enabled && !self.pending && self.reached != 0).then_some(self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_never_rests_does_not_keep_a_sync_waiting() {
        let mut barrier = Barrier::default();
        barrier.global(7, true);
        // The workers are always one generation behind.
        for generation in 1..5 {
            barrier.workers_at(generation - 1);
            barrier.published(generation);
        }
        assert_eq!(barrier.due(), Some(7));
    }
}
