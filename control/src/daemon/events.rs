//! What clients that watch are told.
//!
//! Each has a queue of its own, which is bounded: what a slow reader has no room for is counted, and
//! the count is the next thing that it is told. Nobody waits for a reader.

use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Events that wait for one reader at most.
pub const QUEUE: usize = 1024;
/// How often drops are compared with a reader's limit.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Logical flows that are named with a reason at most, those first that drop most.
pub const FLOWS: usize = 8;

/// What a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish {
    /// Frames a second, of one reason, above which drops are told.
    pub drops_above: Option<u64>,
}

impl Wish {
    /// Whether so many drops a second are not worth telling.
    fn is_content_with(self, rate: u64) -> bool {
        self.drops_above.is_none_or(|limit| rate <= limit)
    }
}

/// The clients that watch.
#[derive(Debug, Default)]
pub struct Events {
    watchers: Vec<Watcher>,
    ports: BTreeSet<String>,
    generation: u64,
    drops: Drops,
    counted: Duration,
}

#[derive(Debug)]
struct Watcher {
    wish: Wish,
    sender: mpsc::Sender<Value>,
    lost: u64,
}

/// Frames that were dropped so far, by reason.
pub type Drops = BTreeMap<&'static str, Dropped>;

/// Frames that were dropped for one reason.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Dropped {
    /// All of them.
    pub frames: u64,
    /// Those that can be laid to a logical flow.
    pub flows: BTreeMap<Uuid, u64>,
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
    pub fn drops(&mut self, now: Duration, counts: Drops) {
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        let known = std::mem::replace(&mut self.drops, counts);
        self.counted = now;
        if known.is_empty() || passed <= 0.0 {
            return;
        }
        let since = |count: u64, before: u64| (count.saturating_sub(before) as f64 / passed) as u64;
        let none = Dropped::default();
        for (reason, dropped) in &self.drops {
            let before = known.get(reason).unwrap_or(&none);
            let rate = since(dropped.frames, before.frames);
            if self.watchers.iter().all(|watcher| watcher.wish.is_content_with(rate)) {
                continue;
            }
            let flows = dropped.flows.iter().map(|(flow, frames)| {
                (since(*frames, before.flows.get(flow).copied().unwrap_or(0)), flow)
            });
            let mut flows: Vec<_> = flows.filter(|(rate, _)| *rate > 0).collect();
            flows.sort_unstable_by_key(|(rate, flow)| (Reverse(*rate), **flow));
            flows.truncate(FLOWS);
            let flow =
                |(rate, flow): &(u64, &Uuid)| json!({ "flow": flow, "frames-per-second": rate });
            let flows: Vec<Value> = flows.iter().map(flow).collect();
            let event = json!({ "event": "drops", "reason": reason, "frames-per-second": rate,
                                "flows": flows });
            self.watchers
                .retain_mut(|watcher| watcher.wish.is_content_with(rate) || watcher.tell(&event));
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
    fn drops_are_told_above_the_rate_that_a_reader_named_with_the_flows_that_drop() {
        let mut events = Events::default();
        let mut quiet = events.watch(Wish::default(), Scene::default());
        let mut keen = events.watch(Wish { drops_above: Some(10) }, Scene::default());
        let flow = Uuid::from_u128;
        let counts = |frames, by: &[u64]| {
            let flows = by.iter().zip(1..).map(|(frames, row)| (flow(row), *frames)).collect();
            Drops::from([("logical-flow", Dropped { frames, flows })])
        };
        events.drops(Duration::from_secs(1), counts(100, &[50, 0]));
        events.drops(Duration::from_secs(3), counts(120, &[70, 0]));
        assert!(keen.try_recv().is_err(), "ten a second are not above ten");
        events.drops(Duration::from_secs(5), counts(142, &[74, 16, 0]));
        assert_eq!(
            keen.try_recv().unwrap(),
            json!({ "event": "drops", "reason": "logical-flow", "frames-per-second": 11, "flows": [
                { "flow": flow(2), "frames-per-second": 8 },
                { "flow": flow(1), "frames-per-second": 2 },
            ] })
        );
        let many: Vec<u64> = (0..20).map(|n| 1000 + n).collect();
        events.drops(Duration::from_secs(6), counts(30_000, &many));
        let told = keen.try_recv().unwrap();
        assert_eq!(told["flows"].as_array().unwrap().len(), FLOWS);
        assert_eq!(told["flows"][0]["flow"], json!(flow(20)));
        assert!(quiet.try_recv().is_err());
    }
}
