//! The database as another client sees it: plain JSON over a blocking socket, sharing no code with
//! the library.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ovn_xdp_ovsdb::client::Client;
use serde_json::{Value, json};

use crate::server::DATABASE;

/// Tables, rows by UUID, columns by name; sets and maps in one notation and order.
pub type Content = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// A connection to a server.
pub struct Peer {
    stream: UnixStream,
    buffer: Vec<u8>,
    schema: Value,
}

impl Peer {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("a server that runs");
        let mut peer = Self { stream, buffer: Vec::new(), schema: Value::Null };
        peer.schema = peer.call("get_schema", json!([DATABASE]));
        peer
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"method": method, "params": params, "id": 1});
        self.stream.write_all(request.to_string().as_bytes()).expect("a server that reads");
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter();
            if let Some(Ok(reply)) = values.next() {
                let reply: Value = reply;
                let read = values.byte_offset();
                self.buffer.drain(..read);
                match reply["method"].as_str() {
                    Some("echo") => {
                        let answer = json!({"result": [], "error": null, "id": reply["id"]});
                        let _ = self.stream.write_all(answer.to_string().as_bytes());
                        continue;
                    }
                    _ => return reply["result"].clone(),
                }
            }
            let mut chunk = [0; 65536];
            let count = self.stream.read(&mut chunk).expect("a server that answers");
            assert!(count > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Carries out operations; the result may hold errors.
    pub fn transact(&mut self, operations: &[Value]) -> Value {
        let mut params = vec![json!(DATABASE)];
        params.extend_from_slice(operations);
        self.call("transact", Value::Array(params))
    }

    /// Carries out operations that must succeed.
    pub fn must(&mut self, operations: &[Value]) -> Value {
        let results = self.transact(operations);
        let failed = results.as_array().is_none_or(|r| r.iter().any(|r| r.get("error").is_some()));
        assert!(!failed, "{operations:?}: {results}");
        results
    }

    /// Everything in these tables, or in all of them; without `_version`.
    pub fn content(&mut self, tables: Option<&[&str]>) -> Content {
        let all = self.schema["tables"].as_object().expect("tables").keys().cloned();
        let names: Vec<String> = all.filter(|n| tables.is_none_or(|t| t.contains(&&**n))).collect();
        let operations: Vec<Value> = names
            .iter()
            .map(|table| json!({"op": "select", "table": table, "where": []}))
            .collect();
        let results = self.must(&operations);
        let mut content = Content::new();
        for (name, result) in names.into_iter().zip(results.as_array().expect("results")) {
            let table = content.entry(name).or_default();
            for row in result["rows"].as_array().expect("rows") {
                let mut columns = BTreeMap::new();
                for (column, value) in row.as_object().expect("a row") {
                    if !column.starts_with('_') {
                        columns.insert(column.clone(), normal(value));
                    }
                }
                table.insert(row["_uuid"][1].as_str().expect("a UUID").to_owned(), columns);
            }
        }
        content
    }
}

/// What a client's replica holds, in the same form.
pub fn replicated(client: &Client) -> Content {
    let mut content = Content::new();
    for table in client.replica().tables() {
        let rows = content.entry(table.to_string()).or_default();
        for (uuid, row) in client.replica().rows(table) {
            let columns = row
                .columns()
                .map(|(name, datum)| (name.to_string(), normal(&datum.to_json())))
                .collect();
            rows.insert(uuid.to_string(), columns);
        }
    }
    content
}

/// A value in one notation: sets of one are bare atoms, elements are in order of their text.
fn normal(value: &Value) -> String {
    let Some([tag, elements]) = value.as_array().map(Vec::as_slice) else {
        return value.to_string();
    };
    let (Some(tag @ ("set" | "map")), Some(elements)) = (tag.as_str(), elements.as_array()) else {
        return value.to_string();
    };
    let mut elements: Vec<String> = elements.iter().map(Value::to_string).collect();
    elements.sort();
    match (tag, elements.len()) {
        ("set", 1) => elements.remove(0),
        _ => format!("{tag} {}", elements.join(" ")),
    }
}
