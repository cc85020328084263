//! Traces through the generation that the workers run, answered after the turn in which they came:
//! then it is the one of the rows that are known.

use super::Daemon;
use crate::api::unixctl::Answer;
use crate::trace::{Chassis, Question, TraceError, on_chassis};
use ovn_xdp_ovsdb::replica::Replica;
use serde_json::Value;
use tokio::sync::oneshot;

/// A question, and who asked.
pub type Asked = (Question, oneshot::Sender<Result<Answer, Value>>);

impl Daemon {
    /// After a turn.
    pub(super) fn settle_traces(&mut self) {
        for (question, answer) in std::mem::take(&mut self.traces) {
            let told = self.trace(&question).map_err(|error| error.to_string().into());
            let _ = answer.send(told.map(Answer::from));
        }
    }

    fn trace(&self, question: &Question) -> Result<String, TraceError> {
        let generation = self.publisher.current();
        let ports = &self.engine.ports;
        let none = Replica::default();
        let nics = self.engine.nics().filter_map(|nic| Some((nic, ports.nic(nic)?)));
        let nics: Vec<(u16, &str)> = nics.collect();
        let chassis = Chassis {
            name: &self.engine.config.system_id,
            generation: &generation,
            network: self.engine.compiler.compiler.network(),
            rows: self.central.replica().unwrap_or(&none),
            seed: ports.seed,
            nics: &nics,
        };
        let outcome = on_chassis(&chassis, question)?;
        Ok(super::read::told(question.json, &outcome, Clone::clone))
    }
}
