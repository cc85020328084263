//! Transactions on the local rows, answered when the workers run what they changed.

use super::Daemon;
use crate::api::unixctl::Answer;
use ovn_xdp_local::Refusal;
use ovn_xdp_local::transaction::{Operations, Outcome};
use serde_json::Value;
use tokio::sync::oneshot;

type Sender = oneshot::Sender<Result<Answer, Value>>;

/// A client that waits for what became of its transaction.
#[derive(Debug)]
struct Waiting {
    sender: Sender,
    outcomes: Vec<Outcome>,
    as_text: bool,
}

impl Waiting {
    /// It was carried out.
    fn answer(self) {
        // Nothing in it cannot be written.
        let mut results = serde_json::to_string(&self.outcomes).unwrap_or_default();
        if self.as_text {
            results.push('\n');
        }
        let _ = self.sender.send(Ok(match self.as_text {
            true => Answer::Result(results.into()),
            false => Answer::Written(results),
        }));
    }

    fn refuse(self, refusal: &Refusal) {
        refuse(self.sender, refusal, self.as_text);
    }
}

fn refuse(sender: Sender, refusal: &Refusal, as_text: bool) {
    let _ = sender.send(Err(match as_text {
        true => Value::String(refusal.to_string()),
        false => refusal.to_json(),
    }));
}

/// Answers that wait for the workers.
#[derive(Debug, Default)]
pub struct Answers {
    /// For the generation that the next turn publishes.
    next: Vec<Waiting>,
    /// For the workers to reach a generation, in ascending order.
    published: Vec<(u64, Waiting)>,
}

impl Answers {
    /// A generation was published with all that was changed so far.
    fn published(&mut self, generation: u64) {
        self.published.extend(self.next.drain(..).map(|waiting| (generation, waiting)));
    }

    /// All workers run this generation.
    fn reached(&mut self, generation: u64) {
        let due = self.published.partition_point(|(wanted, _)| *wanted <= generation);
        self.published.drain(..due).for_each(|(_, waiting)| waiting.answer());
    }
}

impl Daemon {
    /// Executes a transaction; refuses at once, or answers when it is committed and the workers run it.
    pub(super) fn transact(&mut self, operations: &Operations, as_text: bool, sender: Sender) {
        let now = self.now();
        match self.engine.transact(operations, now) {
            Ok(outcomes) => self.answers.next.push(Waiting { sender, outcomes, as_text }),
            Err(refusal) => refuse(sender, &refusal, as_text),
        }
    }

    /// Before a turn: what was executed is committed together, or refused together.
    pub(super) fn commit(&mut self) {
        let now = self.now();
        if let Err(refusal) = self.engine.commit_local(now) {
            self.answers.next.drain(..).for_each(|waiting| waiting.refuse(&refusal));
        }
    }

    /// After a turn: what waits for it, or for the workers, is answered.
    pub(super) fn settle_answers(&mut self) {
        let (published, reached) = self.engine.generation;
        self.answers.published(published);
        self.answers.reached(reached.max(self.publisher.seen_by_all()));
    }
}
