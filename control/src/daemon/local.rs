//! Transactions on the local rows, answered when the workers run what they changed.

use super::Daemon;
use crate::api::unixctl::Answer;
use serde_json::Value;
use tokio::sync::oneshot;

type Sender = oneshot::Sender<Result<Answer, Value>>;

/// Answers that wait for the workers.
#[derive(Debug, Default)]
pub struct Answers {
    /// For the generation that the next turn publishes.
    next: Vec<(Sender, Value)>,
    /// For the workers to reach a generation, in ascending order.
    published: Vec<(u64, Sender, Value)>,
}

impl Answers {
    /// A generation was published with all that was changed so far.
    fn published(&mut self, generation: u64) {
        let waiting = self.next.drain(..).map(|(sender, result)| (generation, sender, result));
        self.published.extend(waiting);
    }

    /// All workers run this generation.
    fn reached(&mut self, generation: u64) {
        let due = self.published.partition_point(|(wanted, ..)| *wanted <= generation);
        for (_, sender, result) in self.published.drain(..due) {
            let _ = sender.send(Ok(Answer::Result(result)));
        }
    }
}

impl Daemon {
    /// Executes a transaction; refuses at once, or answers when the workers run it.
    pub(super) fn transact(&mut self, operations: &[Value], as_text: bool, answer: Sender) {
        let now = self.now();
        match self.engine.transact(operations, now) {
            Ok(results) => {
                let results = Value::Array(results);
                let result = match as_text {
                    true => Value::String(results.to_string() + "\n"),
                    false => results,
                };
                self.answers.next.push((answer, result));
            }
            Err(refusal) => {
                let error = match as_text {
                    true => Value::String(refusal.to_string()),
                    false => refusal.to_json(),
                };
                let _ = answer.send(Err(error));
            }
        }
    }

    /// After a turn: what waits for it, or for the workers, is answered.
    pub(super) fn settle_answers(&mut self) {
        let (published, reached) = self.engine.generation;
        self.answers.published(published);
        self.answers.reached(reached.max(self.publisher.seen_by_all()));
    }
}
