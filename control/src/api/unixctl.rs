//! unixctl, the way OVS and OVN daemons are talked to: JSON-RPC without any framing but JSON's own.
//!
//! A request is `{"method": NAME, "params": [TEXT…], "id": ID}`, an answer `{"result": TEXT,
//! "error": null, "id": ID}` or, for an error, with `result` null and the text in `error`.

use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{RwLock, mpsc, oneshot};

/// The longest request that is read, bytes.
const LONGEST: usize = 64 * 1024;

/// One command, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// Its name.
    pub method: String,
    /// Its arguments.
    pub params: Vec<String>,
    /// Takes the answer: text, or text that says what is wrong.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// The socket cannot be made, or nobody answers on it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// In the way of the socket.
    #[error("control.socket {path}: {error}")]
    Socket {
        /// Path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody answers there.
    #[error(
        "control.socket {path}: another daemon listens there; is system-id unique on this host?"
    )]
    InUse {
        /// Path.
        path: PathBuf,
    },
    /// No such group.
    #[error("control.group: found {group:?}; allowed: a group of this host")]
    Group {
        /// Its name.
        group: String,
    },
    /// The daemon is not there.
    #[error("{path}: {error}; is `ovn-xdp run` running? (--socket names another)")]
    Unreachable {
        /// Path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// A listening socket, which goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Read while a request is being answered.
    answering: Arc<RwLock<()>>,
}

impl Server {
    /// Listens at `path`, for root and for `group`.
    ///
    /// # Errors
    /// If the socket cannot be made, another daemon has it, or there is no such group.
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, ApiError> {
        let socket = |error| ApiError::Socket { path: path.to_owned(), error };
        if UnixStream::connect(path).await.is_ok() {
            return Err(ApiError::InUse { path: path.to_owned() });
        }
        // What a daemon that was killed left behind.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(socket(error)),
            _ => {}
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(socket)?;
        }
        let listener = UnixListener::bind(path).map_err(socket)?;
        let mode = if let Some(group) = group {
            let id = group_id(group).ok_or_else(|| ApiError::Group { group: group.to_owned() })?;
            chown(path, None, Some(id)).map_err(socket)?;
            0o660
        } else {
            0o600
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(socket)?;
        Ok(Self { listener, path: path.to_owned(), answering: Arc::default() })
    }

    /// Serves clients, each in a task of its own, until dropped.
    pub async fn serve(&self, requests: mpsc::Sender<Request>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answering = Arc::clone(&self.answering);
                    tokio::spawn(converse(stream, requests.clone(), answering));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client of the API");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until each request that was taken has its answer, also the one that ended the daemon.
    pub async fn drain(&self) {
        drop(self.answering.write().await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(
    mut stream: UnixStream,
    requests: mpsc::Sender<Request>,
    answering: Arc<RwLock<()>>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = next_value(&mut stream, &mut buffer).await {
        let _answering = answering.read().await;
        let answer = answer(&request, &requests).await;
        if stream.write_all(answer.to_string().as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(request: &Value, requests: &mpsc::Sender<Request>) -> Value {
    let id = &request["id"];
    let refuse = |text: String| json!({ "id": id, "result": null, "error": text });
    let Some(method) = request["method"].as_str() else {
        return refuse("expected a JSON-RPC request with a method".to_owned());
    };
    let params: Option<Vec<String>> = match &request["params"] {
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    let Some(params) = params else {
        return refuse(format!("command {method:?}: expected a list of texts as params"));
    };
    let (sender, receiver) = oneshot::channel();
    let request = Request { method: method.to_owned(), params, answer: sender };
    let stopped = || Err("the daemon is stopping".to_owned());
    let outcome = match requests.send(request).await {
        Ok(()) => receiver.await.unwrap_or_else(|_| stopped()),
        Err(_) => stopped(),
    };
    match outcome {
        Ok(text) => json!({ "id": id, "result": text, "error": null }),
        Err(text) => refuse(text),
    }
}

/// The next JSON value of a stream; none when it ends, or holds something else.
async fn next_value(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Value> {
    loop {
        let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let used = values.byte_offset();
                buffer.drain(..used);
                return Some(value);
            }
            Some(Err(error)) if !error.is_eof() => return None,
            _ => {}
        }
        if buffer.len() > LONGEST || stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends one command to a daemon.
///
/// # Errors
/// If nobody answers at `path`, or the daemon refuses the command.
pub async fn call(path: &Path, method: &str, params: &[&str]) -> Result<String, ApiError> {
    let unreachable = |error| ApiError::Unreachable { path: path.to_owned(), error };
    let mut stream = UnixStream::connect(path).await.map_err(unreachable)?;
    let request = json!({ "method": method, "params": params, "id": 0 });
    stream.write_all(request.to_string().as_bytes()).await.map_err(unreachable)?;
    let mut text = Vec::new();
    let mut chunk = Vec::with_capacity(4096);
    // Answers may be long; only the daemon's end is bounded.
    let answer: Value = loop {
        if let Ok(answer) = serde_json::from_slice(&text) {
            break answer;
        }
        chunk.clear();
        if stream.read_buf(&mut chunk).await.map_err(unreachable)? == 0 {
            return Err(unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
        text.extend_from_slice(&chunk);
    };
    match (answer["result"].as_str(), answer["error"].as_str()) {
        (Some(result), _) => Ok(result.to_owned()),
        (None, error) => Err(ApiError::Refused(error.unwrap_or("no answer").to_owned())),
    }
}

fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon that answers `echo` and refuses the rest.
    async fn daemon(path: &Path, group: Option<&str>) -> tokio::task::JoinHandle<()> {
        let server = Server::bind(path, group).await.unwrap();
        let (sender, mut requests) = mpsc::channel::<Request>(4);
        tokio::spawn(async move {
            let answers = async {
                while let Some(request) = requests.recv().await {
                    let outcome = match request.method.as_str() {
                        "echo" => Ok(request.params.join(" ")),
                        other => Err(format!("{other:?} is not a valid command")),
                    };
                    let _ = request.answer.send(outcome);
                }
            };
            tokio::join!(server.serve(sender), answers);
        })
    }

    #[tokio::test]
    async fn a_command_is_answered_and_an_unknown_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/a.sock");
        let task = daemon(&path, None).await;
        let long = "x".repeat(20_000);
        assert_eq!(call(&path, "echo", &["a", &long]).await.unwrap(), format!("a {long}"));
        let error = call(&path, "nonsense", &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "\"nonsense\" is not a valid command");
        task.abort();
    }

    #[tokio::test]
    async fn the_command_that_ends_the_daemon_is_answered_before_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let server = Server::bind(&path, None).await.unwrap();
        let (sender, mut requests) = mpsc::channel::<Request>(4);
        let client = tokio::spawn({
            let path = path.clone();
            async move { call(&path, "exit", &[]).await }
        });
        tokio::select! {
            () = server.serve(sender) => {}
            request = requests.recv() => drop(request.unwrap().answer.send(Ok("bye".to_owned()))),
        }
        drop(requests);
        server.drain().await;
        drop(server);
        assert_eq!(client.await.unwrap().unwrap(), "bye");
    }

    #[tokio::test]
    async fn requests_are_told_apart_without_any_separator() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let task = daemon(&path, None).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let one = |id| json!({ "method": "echo", "params": [id], "id": id }).to_string();
        let both = one("1") + &one("2");
        let (first, rest) = both.split_at(30);
        stream.write_all(first.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut buffer = Vec::new();
        for id in ["1", "2"] {
            let answer = next_value(&mut stream, &mut buffer).await.unwrap();
            assert_eq!(answer, json!({ "id": id, "result": id, "error": null }));
        }
        task.abort();
    }

    #[tokio::test]
    async fn nonsense_ends_the_conversation_and_not_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let task = daemon(&path, None).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
        assert_eq!(call(&path, "echo", &["still here"]).await.unwrap(), "still here");
        task.abort();
    }

    #[tokio::test]
    async fn the_socket_is_for_root_and_for_the_group_that_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let server = Server::bind(&path, None).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        let error = Server::bind(&path, None).await.unwrap_err();
        assert!(matches!(error, ApiError::InUse { .. }), "{error}");
        drop(server);
        assert!(!path.exists(), "a daemon that ends takes its socket along");
        let server = Server::bind(&path, Some("root")).await.unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(server);
        let error = Server::bind(&path, Some("no such group")).await.unwrap_err();
        assert!(matches!(error, ApiError::Group { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_behind_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Server::bind(&path, None).await.is_ok());
    }
}
