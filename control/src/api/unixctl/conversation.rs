//! What a client and the daemon say to each other on one connection.
//!
//! Requests of a client are carried out in order. Transactions that it sends without waiting are on
//! their way together, and published together; any other request waits until those before it are
//! answered, and those after it until it is.

use super::super::command::TRANSACT;
use super::super::list::Pieces;
use super::{Answer, LONGEST, Params, Request};
use ovn_xdp_local::document::Document;
use ovn_xdp_ovsdb::wire::{Frame, Framer};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{RwLock, mpsc, oneshot};

/// Transactions of a client that are on their way at most.
const AHEAD: usize = 1024;

/// A request that was taken, and is not answered yet.
struct Taken {
    id: Value,
    answer: oneshot::Receiver<Result<Answer, Value>>,
}

/// What of an answer is yet to be made.
enum More {
    Pieces(Pieces),
    Events(mpsc::Receiver<Value>),
}

/// What is behind the requests that a client sent so far.
enum Next {
    /// More may come.
    Open,
    /// A request that waits for those before it to be answered.
    Held(Document),
    /// One that those after it wait for.
    Alone,
    /// Nothing.
    End,
    /// Nothing that could be read.
    Nonsense(String),
}

pub(super) async fn converse(
    mut stream: UnixStream,
    requests: mpsc::Sender<Request>,
    answering: Arc<RwLock<()>>,
) {
    let (mut from, mut to) = stream.split();
    let mut framer = Framer::new(LONGEST);
    let mut taken = VecDeque::<Taken>::new();
    let mut next = Next::Open;
    let mut guard = None;
    let events = loop {
        if taken.is_empty() {
            guard = None;
            match std::mem::replace(&mut next, Next::Open) {
                Next::Open | Next::Alone => {}
                Next::Held(request) => {
                    guard = Some(answering.read().await);
                    taken.push_back(take(request, &requests).await);
                    next = Next::Alone;
                }
                Next::End => return,
                Next::Nonsense(wrong) => {
                    let text = refused(&Value::Null, &wrong.into());
                    let _ = to.write_all(text.as_bytes()).await;
                    return;
                }
            }
        }
        let listens = matches!(next, Next::Open) && taken.len() < AHEAD;
        tokio::select! {
            request = next_document(&mut from, &mut framer), if listens => match request {
                Ok(Some(request)) => {
                    let pipelined = request.root().member("method").as_str() == Some(TRANSACT);
                    if !pipelined {
                        next = Next::Held(request);
                        continue;
                    }
                    if guard.is_none() {
                        guard = Some(answering.read().await);
                    }
                    taken.push_back(take(request, &requests).await);
                }
                Ok(None) => next = Next::End,
                Err(wrong) => next = Next::Nonsense(wrong),
            },
            answers = first_answers(&mut taken), if !taken.is_empty() => {
                let (text, more) = answers;
                if to.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                let written = match more {
                    None => Ok(()),
                    Some(More::Pieces(pieces)) => write_pieces(&mut to, pieces).await,
                    Some(More::Events(events)) => break events,
                };
                if written.is_err() {
                    return;
                }
            }
        }
    };
    drop(guard);
    notify(stream, events).await;
}

/// Waits for the answer to the first request, and takes those that are there already behind it.
async fn first_answers(taken: &mut VecDeque<Taken>) -> (String, Option<More>) {
    let mut text = String::new();
    let Some(first) = taken.front_mut() else { return (text, None) };
    let mut outcome = (&mut first.answer).await.unwrap_or_else(|_| Err(stopping()));
    while let Some(Taken { id, .. }) = taken.pop_front() {
        let mut more = None;
        text += &match outcome {
            Ok(Answer::Result(result)) => answered(&id, &result.to_string()),
            Ok(Answer::Written(result)) => answered(&id, &result),
            Ok(Answer::Stream(result, stream)) => {
                more = Some(More::Events(stream));
                answered(&id, &result.to_string())
            }
            Ok(Answer::Pieces(pieces)) => {
                more = Some(More::Pieces(pieces));
                // The text, and what closes the object, come behind.
                format!("{{\"error\":null,\"id\":{id},\"result\":\"")
            }
            Err(error) => refused(&id, &error),
        };
        if more.is_some() {
            return (text, more);
        }
        outcome = match taken.front_mut().map(|next| next.answer.try_recv()) {
            Some(Ok(outcome)) => outcome,
            Some(Err(oneshot::error::TryRecvError::Closed)) => Err(stopping()),
            Some(Err(oneshot::error::TryRecvError::Empty)) | None => break,
        };
    }
    (text, None)
}

/// The inside of a JSON string in pieces, and the end of the answer. No piece is made before the client
/// has room for it, and each is made by a thread of its own: the first may take seconds.
async fn write_pieces(to: &mut (impl AsyncWriteExt + Unpin), mut pieces: Pieces) -> io::Result<()> {
    loop {
        let made = tokio::task::spawn_blocking(move || {
            let text = Value::String(pieces.next()?).to_string();
            Some((text, pieces))
        });
        let Some((text, rest)) = made.await? else { break };
        pieces = rest;
        to.write_all(&text.as_bytes()[1..text.len() - 1]).await?;
    }
    to.write_all(b"\"}").await
}

/// Notifications until the client closes.
async fn notify(mut stream: UnixStream, mut events: mpsc::Receiver<Value>) {
    let (mut from, mut to) = stream.split();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                let text = json!({ "method": "event", "params": [event], "id": null }).to_string();
                if to.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            read = from.read(&mut ignored) => {
                if read.is_err() || read.is_ok_and(|count| count == 0) {
                    return;
                }
            }
        }
    }
}

fn answered(id: &Value, result: &str) -> String {
    format!("{{\"error\":null,\"id\":{id},\"result\":{result}}}")
}

/// A text ends its line, as with the daemons of OVS: `ovs-appctl` goes on behind it.
fn refused(id: &Value, error: &Value) -> String {
    let error = match error.as_str() {
        Some(text) if !text.ends_with('\n') => format!("{text}\n").into(),
        _ => error.clone(),
    };
    json!({ "id": id, "result": null, "error": error }).to_string()
}

fn stopping() -> Value {
    "the daemon is stopping".into()
}

/// Hands a request on; what is wrong with it is its answer.
async fn take(request: Document, requests: &mpsc::Sender<Request>) -> Taken {
    let (sender, receiver) = oneshot::channel();
    let id = request.root().member("id").to_value();
    let params = request.root().member("params");
    let list = params.elements().is_some();
    let wrong = match request.root().member("method").as_str() {
        None => "expected a JSON-RPC request with a method".to_owned(),
        Some(method) if !list && !params.is_null() => {
            format!("command {method:?}: expected a list as params")
        }
        Some(method) => {
            let (method, place) = (method.to_owned(), list.then(|| params.place()));
            let params = Params { document: request, place };
            // If nobody takes it, nobody answers: the daemon is stopping.
            let _ = requests.send(Request { method, params, answer: sender }).await;
            return Taken { id, answer: receiver };
        }
    };
    let _ = sender.send(Err(wrong.into()));
    Taken { id, answer: receiver }
}

/// The next object of a stream; none when it ends.
pub(super) async fn next_frame(
    stream: &mut (impl AsyncReadExt + Unpin),
    framer: &mut Framer,
) -> Result<Option<Vec<u8>>, String> {
    loop {
        if let Some(Frame { bytes, .. }) = framer.next_frame().map_err(|error| error.to_string())? {
            return Ok(Some(bytes));
        }
        let buffer = framer.buffer();
        buffer.reserve(64 * 1024);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

async fn next_document(
    stream: &mut (impl AsyncReadExt + Unpin),
    framer: &mut Framer,
) -> Result<Option<Document>, String> {
    let Some(bytes) = next_frame(stream, framer).await? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Document::read(text).map(Some).map_err(|error| error.to_string())
}
