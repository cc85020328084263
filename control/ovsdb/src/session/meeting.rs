//! How a connection begins: whether the server will do, its schema, and the first content.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{End, Following, MONITOR_ID, Session, result};
use crate::client::{Content, Report, State};
use crate::connection::Connection;
use crate::monitor::{self, Method, Notation, Shapes};
use crate::remote::Remote;
use crate::schema::Schema;
use crate::server::{self, Server};
use crate::wire::{Kind, Message};

/// How long a server that has just started may take to say what it serves.
const START_LIMIT: Duration = Duration::from_secs(5);

impl Session {
    /// Reads what the server says of itself; one before OVS 2.9 says nothing.
    pub(super) async fn meet(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Server>, End> {
        let mut server = Server::default();
        let reply = match connection.call("monitor_cond", &Server::request()).await? {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, "the server has no _Server database");
                return Ok(None);
            }
        };
        // Without this, the server would close the connection instead of telling what changes.
        let aware = connection.call("set_db_change_aware", &json!([true])).await?;
        if let Err(error) = aware {
            tracing::debug!(%error, "the server does not tell of changes of databases");
        }
        let part = result(&reply);
        let updates = self.updates(&reply, &part, &server.shapes, Notation::Difference)?;
        server.replica.apply(updates);
        // A server that has just started listens before it has written down what it serves.
        let written = async {
            while server.replica.is_empty() {
                let message = connection.next().await?;
                self.hear_of_server(&mut server, &message)?;
            }
            Ok::<(), End>(())
        };
        if let Ok(written) = timeout(START_LIMIT, written).await {
            written?;
        }
        self.judge(&server)?;
        Ok(Some(server))
    }

    /// Takes in a notification if it is about the `_Server` database, and says whether it was.
    pub(super) fn hear_of_server(
        &mut self,
        server: &mut Server,
        message: &Message,
    ) -> Result<bool, End> {
        let Kind::Notification { method, params } = &message.kind else { return Ok(false) };
        if method != "update2" {
            return Ok(false);
        }
        let elements = message.elements(params)?;
        let [id, updates] = &elements[..] else {
            return Err(message.unexpected(params, "an update's parameters").into());
        };
        if message.read::<Value>(id)?.as_str() != Some(server::MONITOR_ID) {
            return Ok(false);
        }
        let updates = self.updates(message, updates, &server.shapes, Notation::Difference)?;
        server.replica.apply(updates);
        Ok(true)
    }

    pub(super) fn judge(&mut self, server: &Server) -> Result<(), End> {
        let member =
            server.judge(&self.config.database, self.config.leader_only, &mut self.seen)?;
        self.status.send_if_modified(|status| {
            let changed = (status.leader, status.cluster) != (member.leader, member.cluster);
            (status.leader, status.cluster) = (member.leader, member.cluster);
            changed
        });
        Ok(())
    }

    pub(super) async fn schema(&mut self, connection: &mut Connection) -> Result<Arc<Schema>, End> {
        const METHOD: &str = "get_schema";
        let reply = connection
            .call(METHOD, &json!([self.config.database]))
            .await?
            .map_err(|error| End::Refused { method: METHOD, error })?;
        let schema = Schema::from_json(&reply.read(&result(&reply))?)?;
        Ok(match &self.known {
            Some((known, _)) if **known == schema => known.clone(),
            _ => Arc::new(schema),
        })
    }

    /// Asks for the content, in the best dialect that the server knows, and reports it.
    pub(super) async fn monitor(
        &mut self,
        mut connection: Connection,
        server: Option<Server>,
        schema: Arc<Schema>,
        remote: &Remote,
    ) -> Result<Following, End> {
        let shapes = match &self.known {
            Some((known, shapes)) if Arc::ptr_eq(known, &schema) => shapes.clone(),
            _ => {
                // Rows of another schema cannot be built upon.
                self.last_txn = Uuid::nil();
                Arc::new(Shapes::of(&schema, &self.config.tables))
            }
        };
        let mut method = self.config.method;
        let (reply, resumable) = loop {
            let can_resume = method == Method::MonitorCondSince && !self.last_txn.is_nil();
            let (conditions, resume) = self.conditions.reconnect(can_resume);
            let last_txn = if resume { self.last_txn } else { Uuid::nil() };
            let names = (&*self.config.database, MONITOR_ID);
            let params = monitor::request(method, names, &shapes, conditions, &schema, last_txn);
            match connection.call(method.name(), &params).await? {
                Ok(reply) => break (reply, resume),
                Err(error) => match method.fallback() {
                    Some(fallback) if error.to_string().contains("unknown method") => {
                        method = fallback;
                    }
                    _ => return Err(End::Refused { method: method.name(), error }),
                },
            }
        };
        let part = result(&reply);
        let (found, part) = match method {
            Method::MonitorCondSince => {
                let elements = reply.elements(&part)?;
                let [found, txn, updates] = &elements[..] else {
                    return Err(reply.unexpected(&part, "[found, last-txn-id, updates]").into());
                };
                self.last_txn = reply.read(txn)?;
                (reply.read::<bool>(found)? && resumable, updates.clone())
            }
            _ => {
                self.last_txn = Uuid::nil();
                (false, part)
            }
        };
        // Whatever fails from here on, the content was not taken over.
        let last_txn = std::mem::take(&mut self.last_txn);
        let updates = self.updates(&reply, &part, &shapes, notation(method))?;
        self.last_txn = last_txn;
        self.known = Some((schema.clone(), shapes.clone()));
        let content = match found {
            true => Content::Missed,
            false => Content::Everything(shapes.clone()),
        };
        self.enter(State::Connected, remote);
        self.status.send_modify(|status| {
            status.method = Some(method);
            status.last_txn = Some(last_txn).filter(|txn| !txn.is_nil());
            *(if found { &mut status.resumptions } else { &mut status.downloads }) += 1;
        });
        let (database, rows) = (&self.config.database, updates.len());
        let method_name = method.name();
        tracing::info!(%database, %remote, method_name, found, rows, "database connected");
        self.report(Report::Connected { remote: remote.clone(), schema: schema.clone() })?;
        self.report(Report::Content { content, updates })?;
        Ok(Following { connection, server, schema, shapes, method, change: None })
    }
}

fn notation(method: Method) -> Notation {
    match method {
        Method::Monitor => Notation::OldAndNew,
        Method::MonitorCond | Method::MonitorCondSince => Notation::Difference,
    }
}
