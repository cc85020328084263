//! The end of whoever asks a daemon.

use super::ApiError;
use super::conversation::next_frame;
use ovn_xdp_ovsdb::wire::Framer;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// A conversation with a daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon at `path`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn connect(path: &Path) -> Result<Self, ApiError> {
        let unreachable = |error| ApiError::Unreachable { path: path.to_owned(), error };
        let stream = UnixStream::connect(path).await.map_err(unreachable)?;
        Ok(Self { stream, framer: Framer::new(usize::MAX), path: path.to_owned() })
    }

    /// Sends a command, and waits for its result.
    ///
    /// # Errors
    /// If the daemon refuses the command, or is gone.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, ApiError> {
        let request = json!({ "method": method, "params": params, "id": 0 });
        let sent = self.stream.write_all(request.to_string().as_bytes()).await;
        sent.map_err(|error| self.unreachable(error))?;
        let answer = self.next().await?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            Value::String(text) => Err(ApiError::Refused(text.trim_end().to_owned())),
            other => Err(ApiError::Refused(other.to_string())),
        }
    }

    /// The next notification.
    ///
    /// # Errors
    /// If the daemon is gone.
    pub async fn event(&mut self) -> Result<Value, ApiError> {
        let message = self.next().await?;
        Ok(message["params"][0].clone())
    }

    async fn next(&mut self) -> Result<Value, ApiError> {
        match next_value(&mut self.stream, &mut self.framer).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.unreachable(io::ErrorKind::UnexpectedEof.into())),
            Err(wrong) => Err(ApiError::Refused(wrong)),
        }
    }

    fn unreachable(&self, error: io::Error) -> ApiError {
        ApiError::Unreachable { path: self.path.clone(), error }
    }
}

/// Sends one command to a daemon, and takes the text that it answers.
///
/// # Errors
/// If nobody answers at `path`, or the daemon refuses the command.
pub async fn call(path: &Path, method: &str, params: &[&str]) -> Result<String, ApiError> {
    let result = Client::connect(path).await?.call(method, json!(params)).await?;
    Ok(match result {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// The next JSON value of a stream; none when it ends.
pub(super) async fn next_value(
    stream: &mut UnixStream,
    framer: &mut Framer,
) -> Result<Option<Value>, String> {
    let Some(bytes) = next_frame(stream, framer).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
}
