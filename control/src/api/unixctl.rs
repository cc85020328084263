//! unixctl, the way OVS and OVN daemons are talked to: JSON-RPC without any framing but JSON's own.
//!
//! A request is `{"method": NAME, "params": [TEXT…], "id": ID}`, an answer `{"result": TEXT,
//! "error": null, "id": ID}` or, for an error, with `result` null and the text in `error`. Params
//! that are no texts are ours; so are answers that are followed by notifications, until the client
//! closes. `unixctl/conversation.rs` has the order in which requests are carried out.

use super::list::Pieces;
use ovn_xdp_local::document::{Document, Json};
use ovn_xdp_local::transaction::Operations;
use serde_json::Value;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{RwLock, mpsc, oneshot};

pub use client::{Client, call};

mod client;
mod conversation;

/// The longest request that is read, bytes.
pub const LONGEST: usize = 64 << 20;

/// One command, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// Its name.
    pub method: String,
    /// Its arguments.
    pub params: Params,
    /// Takes the answer: a result, or what is wrong, for people a text.
    pub answer: oneshot::Sender<Result<Answer, Value>>,
}

/// The arguments of a command, where the client's text has them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Params {
    document: Document,
    place: Option<usize>,
}

impl Params {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Json<'_>> {
        let list = self.place.and_then(|place| self.document.at(place).elements());
        list.into_iter().flatten()
    }

    /// Those behind the first few, as operations of a transaction.
    pub fn operations(self, but: usize) -> Operations {
        match self.place {
            Some(place) => Operations::of(self.document, place, but),
            None => Operations::default(),
        }
    }
}

impl From<&Value> for Params {
    /// Of an array.
    fn from(list: &Value) -> Self {
        Self { document: Document::from(list), place: Some(0) }
    }
}

/// What a command is answered with.
#[derive(Debug)]
pub enum Answer {
    /// The result.
    Result(Value),
    /// The result, as JSON.
    Written(String),
    /// The result: a text that is made a piece at a time, as the client takes them.
    Pieces(Pieces),
    /// The result, and then notifications until either side closes: pairs of method and params.
    Stream(Value, mpsc::Receiver<Value>),
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Result(text.into())
    }
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
    admission: Arc<Admission>,
    /// Read while a request is being answered.
    answering: Arc<RwLock<()>>,
}

/// Who may use the socket.
#[derive(Debug)]
struct Admission {
    /// Beside root: who runs the daemon.
    user: u32,
    group: Option<u32>,
}

impl Server {
    /// Listens at `path`, for root and for `group`. Nobody else can connect at any time: the socket
    /// is made in a directory of its own, and moved to its place when its mode is set.
    ///
    /// # Errors
    /// If the socket cannot be made, another daemon has it, or there is no such group.
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, ApiError> {
        let socket = |error| ApiError::Socket { path: path.to_owned(), error };
        if UnixStream::connect(path).await.is_ok() {
            return Err(ApiError::InUse { path: path.to_owned() });
        }
        let group = match group {
            Some(group) => {
                let id = group_id(group);
                Some(id.ok_or_else(|| ApiError::Group { group: group.to_owned() })?)
            }
            None => None,
        };
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).map_err(socket)?;
        let hidden = parent.join(format!(".{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&hidden);
        std::fs::create_dir(&hidden).map_err(socket)?;
        let listener = open(path, &hidden, group);
        let _ = std::fs::remove_dir_all(&hidden);
        let listener = listener.map_err(socket)?;
        let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).map_err(socket)?);
        let admission = Arc::new(Admission { user, group });
        Ok(Self { listener, path: path.to_owned(), admission, answering: Arc::default() })
    }

    /// Serves clients, each in a task of its own, until dropped.
    pub async fn serve(&self, requests: mpsc::Sender<Request>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if self.admission.admits(&stream) => {
                    let answering = Arc::clone(&self.answering);
                    tokio::spawn(conversation::converse(stream, requests.clone(), answering));
                }
                Ok(_) => tracing::warn!(
                    "a client of the API was turned away: it is not of those who may"
                ),
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

fn open(path: &Path, hidden: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    std::fs::set_permissions(hidden, std::fs::Permissions::from_mode(0o700))?;
    let made = hidden.join("s");
    let listener = UnixListener::bind(&made)?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode))?;
    if let Some(group) = group {
        chown(&made, None, Some(group))?;
    }
    // It replaces what a daemon that was killed left behind.
    std::fs::rename(&made, path)?;
    Ok(listener)
}

impl Admission {
    /// What the kernel says of who connected; the socket's mode has been in the way already.
    fn admits(&self, stream: &UnixStream) -> bool {
        let Ok(peer) = stream.peer_cred() else { return false };
        peer.uid() == 0
            || peer.uid() == self.user
            || self.group.is_some_and(|group| {
                peer.gid() == group || peer.pid().is_some_and(|pid| is_in_group(pid, group))
            })
    }
}

/// Whether a process has a group among its supplementary ones.
fn is_in_group(pid: i32, group: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().any(|found| found.parse() == Ok(group))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
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
    use super::super::command::TRANSACT;
    use super::client::next_value;
    use super::*;
    use ovn_xdp_ovsdb::wire::Framer;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A daemon that answers `echo` and refuses the rest.
    async fn daemon(path: &Path, group: Option<&str>) -> tokio::task::JoinHandle<()> {
        let server = Server::bind(path, group).await.unwrap();
        let (sender, mut requests) = mpsc::channel::<Request>(4);
        tokio::spawn(async move {
            let answers = async {
                while let Some(request) = requests.recv().await {
                    let outcome = match request.method.as_str() {
                        "echo" => {
                            let texts = request.params.iter().filter_map(Json::as_str);
                            Ok(texts.collect::<Vec<_>>().join(" ").into())
                        }
                        other => Err(format!("{other:?} is not a valid command").into()),
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
            request = requests.recv() => drop(request.unwrap().answer.send(Ok("bye".to_owned().into()))),
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
        let mut framer = Framer::new(LONGEST);
        for id in ["1", "2"] {
            let answer = next_value(&mut stream, &mut framer).await.unwrap().unwrap();
            assert_eq!(answer, json!({ "id": id, "result": id, "error": null }));
        }
        task.abort();
    }

    #[tokio::test]
    async fn transactions_are_under_way_together_and_answered_in_order_and_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let server = Server::bind(&path, None).await.unwrap();
        let (sender, mut requests) = mpsc::channel::<Request>(4);
        let serving = tokio::spawn(async move { server.serve(sender).await });
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let one = |method, id| json!({ "method": method, "params": [], "id": id }).to_string();
        let all = one(TRANSACT, 1) + &one(TRANSACT, 2) + &one("ports", 3) + &one(TRANSACT, 4);
        stream.write_all(all.as_bytes()).await.unwrap();
        // Who only asks sends no more.
        stream.shutdown().await.unwrap();
        let first = requests.recv().await.unwrap();
        let second = requests.recv().await.unwrap();
        assert!(requests.try_recv().is_err(), "what reads waits for what was changed before");
        second.answer.send(Ok("b".to_owned().into())).unwrap();
        first.answer.send(Ok("a".to_owned().into())).unwrap();
        let third = requests.recv().await.unwrap();
        assert_eq!(third.method, "ports");
        assert!(requests.try_recv().is_err());
        third.answer.send(Err("c".into())).unwrap();
        let fourth = requests.recv().await.unwrap();
        fourth.answer.send(Ok(Answer::Written("[7]".to_owned()))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let answers = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let answers: Vec<Value> = answers.map(Result::unwrap).collect();
        assert_eq!(
            answers,
            [
                json!({ "id": 1, "result": "a", "error": null }),
                json!({ "id": 2, "result": "b", "error": null }),
                json!({ "id": 3, "result": null, "error": "c\n" }),
                json!({ "id": 4, "result": [7], "error": null }),
            ]
        );
        serving.abort();
    }

    #[tokio::test]
    async fn nonsense_ends_the_conversation_and_not_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let task = daemon(&path, None).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest).await;
        assert!(rest.contains("expected a JSON object, found 'G'"), "{rest}");
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
