//! What happens while a server is followed: its notifications and answers, and our wishes.

use serde_json::Value;
use uuid::Uuid;

use super::{End, Following, MONITOR_ID, Session};
use crate::client::{Command, Content, Report};
use crate::monitor::{self, Method, Notation};
use crate::transact::{OperationError, TransactError};
use crate::wire::{Kind, Message};

impl Session {
    /// Asks for the next change of conditions, or tells that there is none any more.
    pub(super) fn settle(&mut self, following: &mut Following) {
        while let Some(changes) = self.conditions.next_change() {
            let request = match following.method {
                Method::Monitor => None,
                _ => monitor::change_request(
                    MONITOR_ID,
                    &following.shapes,
                    &changes,
                    &following.schema,
                ),
            };
            match request {
                Some(params) => {
                    following.change =
                        Some(following.connection.send("monitor_cond_change", &params));
                }
                None => self.conditions.answered(),
            }
        }
        if let Some(generation) = self.conditions.news() {
            let _ = self.reports.send(Report::Settled { generation });
        }
    }

    pub(super) fn obey(&mut self, following: &mut Following, command: Command) -> Result<(), End> {
        match command {
            Command::Conditions(changes, generation) => self.conditions.want(changes, generation),
            Command::Transact(transaction, answer) => {
                let params = transaction.request(&self.config.database);
                let id = following.connection.send("transact", &params);
                self.waiting.insert(id, (transaction, answer));
            }
            Command::ForgetClusters => self.seen.clear(),
            Command::Resync(reason) => return Err(End::Resync(reason)),
            Command::Reconnect => return Err(End::Reconnect),
        }
        Ok(())
    }

    /// Deals with what the server says.
    pub(super) fn hear(&mut self, following: &mut Following, message: Message) -> Result<(), End> {
        match &message.kind {
            Kind::Notification { method, params } => {
                let notation = match method.as_str() {
                    "update" => Notation::OldAndNew,
                    "update2" | "update3" => Notation::Difference,
                    "monitor_canceled" => return Err(End::Canceled),
                    _ => return Ok(()),
                };
                if let (Some(server), "update2") = (&mut following.server, method.as_str())
                    && self.hear_of_server(server, &message)?
                {
                    return self.judge(server);
                }
                let elements = message.elements(params)?;
                let (id, txn, updates) = match (&elements[..], method.as_str()) {
                    ([id, txn, updates], "update3") => (id, Some(txn), updates),
                    ([id, updates], "update" | "update2") => (id, None, updates),
                    _ => return Err(message.unexpected(params, "an update's parameters").into()),
                };
                if message.read::<Value>(id)?.as_str() == Some(MONITOR_ID) {
                    let updates = self.updates(&message, updates, &following.shapes, notation)?;
                    if let Some(txn) = txn {
                        self.received(message.read(txn)?);
                    }
                    self.report(Report::Content { content: Content::Changes, updates })?;
                }
            }
            Kind::Reply { id, outcome } => {
                let Some(id) = id.as_u64() else { return Ok(()) };
                if following.change == Some(id) {
                    following.change = None;
                    if let Err(error) = outcome {
                        let method = "monitor_cond_change";
                        return Err(End::Refused { method, error: error.clone() });
                    }
                    self.conditions.answered();
                } else if let Some((transaction, answer)) = self.waiting.remove(&id) {
                    let result = match outcome {
                        Ok(part) => message
                            .read::<Value>(part)
                            .map_err(|error| TransactError::Unreadable {
                                expected: "the results of a transaction",
                                found: error.to_string(),
                            })
                            .and_then(|json| transaction.results(&following.schema, &json)),
                        Err(error) => Err(TransactError::Refused {
                            error: OperationError::from_json(error).unwrap_or_else(|| {
                                OperationError::Other {
                                    error: "an error of no known form".to_owned(),
                                    details: error.to_string(),
                                }
                            }),
                        }),
                    };
                    let _ = answer.send(result);
                }
            }
            Kind::Request { .. } => {}
        }
        Ok(())
    }

    pub(super) fn received(&mut self, txn: Uuid) {
        self.last_txn = txn;
        let txn = Some(txn).filter(|txn| !txn.is_nil());
        // Nobody is woken for each transaction; who looks sees it.
        self.status.send_if_modified(|status| {
            status.last_txn = txn;
            false
        });
    }
}
