//! What clients that watch are told.
//!
//! Each has a queue of its own, which is bounded: what a slow reader has no room for is counted, and
//! the count is the next thing that it is told. Nobody waits for a reader.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that wait for one reader at most.
pub const QUEUE: usize = 1024;
/// How often drops are compared with a reader's limit.
pub const PERIOD: Duration = Duration::from_secs(1);

/// What a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// Frames a second, of one reason, above which drops are told.
    pub drops_above: Option<u64>,
}

/// The clients that watch.
#[derive(Debug, Default)]
pub struct Events {
    watchers: Vec<Watcher>,
    ports: BTreeSet<String>,
    generation: u64,
    drops: BTreeMap<&'static str, u64>,
    counted: Duration,
}

#[derive(Debug)]
struct Watcher {
    wish: Wish,
    sender: mpsc::Sender<Value>,
    lost: u64,
}

/// What changes are found by comparing with.
#[derive(Debug, Default)]
pub struct Scene {
    /// Ports that the workers forward for.
    pub ports: BTreeSet<String>,
    /// The newest generation.
    pub generation: u64,
}

impl Events {
    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// A client watches from now on.
    pub fn watch(&mut self, wish: Wish, scene: Scene) -> mpsc::Receiver<Value> {
        if self.watchers.is_empty() {
            (self.ports, self.generation) = (scene.ports, scene.generation);
            self.drops.clear();
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.watchers.push(Watcher { wish, sender, lost: 0 });
        receiver
    }

    /// Tells everybody.
    pub fn tell(&mut self, event: &Value) {
        self.watchers.retain_mut(|watcher| watcher.tell(event));
    }

    /// Tells what is not as it was when this was called last.
    pub fn compare(&mut self, scene: Scene) {
        let gone: Vec<String> = self.ports.difference(&scene.ports).cloned().collect();
        let new: Vec<String> = scene.ports.difference(&self.ports).cloned().collect();
        for port in gone {
            self.tell(&json!({ "event": "port-down", "port": port }));
        }
        for port in new {
            self.tell(&json!({ "event": "port-up", "port": port }));
        }
        if self.generation != scene.generation {
            self.tell(&json!({ "event": "generation", "number": scene.generation }));
        }
        (self.ports, self.generation) = (scene.ports, scene.generation);
    }

    /// When [`Events::drops`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let any = self.watchers.iter().any(|watcher| watcher.wish.drops_above.is_some());
        any.then(|| self.counted + PERIOD)
    }

    /// Tells whose limit the drops since the last call exceed.
    pub fn drops(&mut self, now: Duration, counts: BTreeMap<&'static str, u64>) {
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        let known = std::mem::replace(&mut self.drops, counts);
        self.counted = now;
        if known.is_empty() || passed <= 0.0 {
            return;
        }
        for (reason, count) in &self.drops {
            let before = known.get(reason).copied().unwrap_or(0);
            let rate = (count.saturating_sub(before) as f64 / passed) as u64;
            let event = json!({ "event": "drops", "reason": reason, "frames-per-second": rate });
            self.watchers.retain_mut(|watcher| {
                watcher.wish.drops_above.is_none_or(|limit| rate <= limit) || watcher.tell(&event)
            });
        }
    }
}

impl Watcher {
    /// Whether the reader is still there.
    fn tell(&mut self, event: &Value) -> bool {
        if self.lost > 0 {
            let lost = json!({ "event": "lost", "events": self.lost });
            match self.sender.try_send(lost) {
                Ok(()) => self.lost = 0,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.lost += 1;
                    return true;
                }
            }
        }
        match self.sender.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost += 1;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(ports: &[&str], generation: u64) -> Scene {
        Scene { ports: ports.iter().map(ToString::to_string).collect(), generation }
    }

    #[test]
    fn a_reader_that_does_not_read_is_told_how_much_it_missed() {
        let mut events = Events::default();
        let mut reader = events.watch(Wish::default(), Scene::default());
        for number in 0..QUEUE + 10 {
            events.tell(&json!(number));
        }
        for number in 0..QUEUE {
            assert_eq!(reader.try_recv().unwrap(), json!(number));
        }
        assert!(reader.try_recv().is_err());
        events.tell(&json!("next"));
        assert_eq!(reader.try_recv().unwrap(), json!({ "event": "lost", "events": 10 }));
        assert_eq!(reader.try_recv().unwrap(), json!("next"));
        drop(reader);
        events.tell(&json!("nobody"));
        assert!(!events.is_watched());
    }

    #[test]
    fn ports_and_generations_are_told_when_they_change() {
        let mut events = Events::default();
        let mut reader = events.watch(Wish::default(), scene(&["a"], 1));
        events.compare(scene(&["a"], 1));
        assert!(reader.try_recv().is_err());
        events.compare(scene(&["b"], 2));
        let told: Vec<Value> = std::iter::from_fn(|| reader.try_recv().ok()).collect();
        assert_eq!(
            told,
            [
                json!({ "event": "port-down", "port": "a" }),
                json!({ "event": "port-up", "port": "b" }),
                json!({ "event": "generation", "number": 2 }),
            ]
        );
    }

    #[test]
    fn drops_are_told_above_the_rate_that_a_reader_named() {
        let mut events = Events::default();
        let mut quiet = events.watch(Wish::default(), Scene::default());
        let mut keen = events.watch(Wish { drops_above: Some(10) }, Scene::default());
        let counts = |count| BTreeMap::from([("no-port", count)]);
        events.drops(Duration::from_secs(1), counts(100));
        events.drops(Duration::from_secs(3), counts(120));
        assert!(keen.try_recv().is_err(), "ten a second are not above ten");
        events.drops(Duration::from_secs(5), counts(142));
        assert_eq!(
            keen.try_recv().unwrap(),
            json!({ "event": "drops", "reason": "no-port", "frames-per-second": 11 })
        );
        assert!(quiet.try_recv().is_err());
    }
}
