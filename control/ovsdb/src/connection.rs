//! One connection to one server: the stream, calls and answers, echo and the inactivity probe.
//!
//! The reader's side can be dropped at any await without losing a byte; writing happens in a task
//! of its own, so a server that does not read never keeps us from reading.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::remote::{Address, Remote};
use crate::tls::{self, TlsError, TlsFiles};
use crate::wire::{self, Framer, Kind, Message, WireError};

/// How long a connection may take to be made, with TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// Why a connection could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The certificates are not in order.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// The server does not answer.
    #[error("no answer within {0:?} while connecting")]
    ConnectTimeout(Duration),
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The server closed the stream.
    #[error("the server closed the connection")]
    Closed,
    /// The server is silent.
    #[error("no answer to an inactivity probe within {0:?}")]
    Silent(Duration),
    /// The server speaks something else.
    #[error(transparent)]
    Wire(#[from] WireError),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection over which messages are exchanged.
pub struct Connection {
    reader: tokio::io::ReadHalf<Box<dyn Stream>>,
    framer: Framer,
    writer: mpsc::UnboundedSender<Vec<u8>>,
    writing: JoinHandle<()>,
    probe: Option<Duration>,
    heard: Instant,
    probing: bool,
    next_id: u64,
    set_aside: VecDeque<Message>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

/// What a connection is made with.
#[derive(Clone, Debug)]
pub struct ConnectOptions<'a> {
    /// The certificates, for `ssl:`.
    pub tls: Option<&'a TlsFiles>,
    /// How long the server may be silent before it is asked for a sign of life; none for ever.
    pub probe: Option<Duration>,
    /// The longest message in bytes.
    pub limit: usize,
}

impl Connection {
    /// Connects to a server; `file:` is not one.
    pub async fn open(
        remote: &Remote,
        options: ConnectOptions<'_>,
    ) -> Result<Self, ConnectionError> {
        let stream = timeout(CONNECT_LIMIT, open_stream(remote, options.tls))
            .await
            .map_err(|_| ConnectionError::ConnectTimeout(CONNECT_LIMIT))??;
        let (reader, mut out) = tokio::io::split(stream);
        let (writer, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
        let writing = tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if out.write_all(&bytes).await.is_err() || out.flush().await.is_err() {
                    break;
                }
            }
            // The reader sees the end of the stream and tells why.
            let _ = out.shutdown().await;
        });
        Ok(Self {
            reader,
            framer: Framer::new(options.limit),
            writer,
            writing,
            probe: options.probe,
            heard: Instant::now(),
            probing: false,
            next_id: 1,
            set_aside: VecDeque::new(),
        })
    }

    /// Sends a request; returns the identifier that its reply will carry.
    pub fn send(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        // A writer that is gone means a broken stream, which the next read reports.
        let _ = self.writer.send(wire::request(method, params, id));
        id
    }

    /// Sends a request and waits for its reply; what else arrives meanwhile is kept for
    /// [`Connection::next`]. An error that the server answers is the inner one.
    pub async fn call(
        &mut self,
        method: &str,
        params: &Value,
    ) -> Result<Result<Message, Value>, ConnectionError> {
        let sent = self.send(method, params);
        loop {
            let message = self.receive().await?;
            match &message.kind {
                Kind::Reply { id, outcome } if id.as_u64() == Some(sent) => {
                    let error = outcome.as_ref().err().cloned();
                    return Ok(error.map_or(Ok(message), Err));
                }
                _ => self.set_aside.push_back(message),
            }
        }
    }

    /// The next notification or reply. Requests of the server and its echoes are dealt with here.
    pub async fn next(&mut self) -> Result<Message, ConnectionError> {
        match self.set_aside.pop_front() {
            Some(message) => Ok(message),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Result<Message, ConnectionError> {
        loop {
            while let Some(frame) = self.framer.next_frame()? {
                let message = Message::parse(frame)?;
                match &message.kind {
                    Kind::Request { method, params, id } => {
                        let answer = match method.as_str() {
                            "echo" => {
                                let result = serde_json::from_str(message.text(params));
                                wire::reply(&result.unwrap_or(Value::Null), id)
                            }
                            _ => wire::refusal(id),
                        };
                        let _ = self.writer.send(answer);
                    }
                    Kind::Reply { id, .. } if id == PROBE_ID => {}
                    _ => return Ok(message),
                }
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), ConnectionError> {
        loop {
            let buffer = self.framer.buffer();
            buffer.reserve(CHUNK);
            let read = match self.probe {
                None => self.reader.read_buf(buffer).await,
                Some(interval) => {
                    let rounds = if self.probing { 2 } else { 1 };
                    tokio::select! {
                        biased;
                        read = self.reader.read_buf(buffer) => read,
                        () = sleep_until(self.heard + interval * rounds) => {
                            if self.probing {
                                return Err(ConnectionError::Silent(interval));
                            }
                            self.probing = true;
                            let probe = serde_json::json!(
                                {"method": "echo", "params": [], "id": PROBE_ID}
                            );
                            let _ = self.writer.send(probe.to_string().into_bytes());
                            continue;
                        }
                    }
                }
            };
            return match read.map_err(ConnectionError::Broken)? {
                0 => Err(ConnectionError::Closed),
                _ => {
                    self.heard = Instant::now();
                    self.probing = false;
                    Ok(())
                }
            };
        }
    }
}

/// The identifier of our echo requests, apart from those of calls, which are numbers.
const PROBE_ID: &str = "echo";

async fn open_stream(
    remote: &Remote,
    tls: Option<&TlsFiles>,
) -> Result<Box<dyn Stream>, ConnectionError> {
    match remote {
        Remote::Unix(path) => {
            Ok(Box::new(UnixStream::connect(path).await.map_err(ConnectionError::Connect)?))
        }
        Remote::Tcp(address) => Ok(Box::new(open_tcp(address).await?)),
        Remote::Ssl(address) => {
            let config = tls::client_config(tls.ok_or(TlsError::NotConfigured)?)?;
            let host = address.host.split('%').next().unwrap_or_default().to_owned();
            let name = rustls::pki_types::ServerName::try_from(host).map_err(|error| {
                ConnectionError::Handshake(io::Error::new(io::ErrorKind::InvalidInput, error))
            })?;
            let stream = open_tcp(address).await?;
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream =
                connector.connect(name, stream).await.map_err(ConnectionError::Handshake)?;
            Ok(Box::new(stream))
        }
        Remote::File(path) => Err(ConnectionError::Connect(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is a file and no server", path.display()),
        ))),
    }
}

async fn open_tcp(address: &Address) -> Result<TcpStream, ConnectionError> {
    let connect = TcpStream::connect((address.host.as_str(), address.port));
    let stream = connect.await.map_err(ConnectionError::Connect)?;
    stream.set_nodelay(true).map_err(ConnectionError::Connect)?;
    Ok(stream)
}
