//! A whole Southbound DB, read once: what commands that do not follow it start from.

use ovn_xdp_compile::southbound::monitored;
use ovn_xdp_ovsdb::client::{Client, Config, Event};
use ovn_xdp_ovsdb::monitor::Wanted;
use ovn_xdp_ovsdb::remote::{Remote, RemoteError};
use ovn_xdp_ovsdb::tls::TlsFiles;
use std::time::Duration;

/// How long a server may take to send everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a database was not read.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The remote.
    #[error("--db")]
    Remote(#[from] RemoteError),
    /// No answer.
    #[error("--db {db}: {reason}")]
    Unreachable {
        /// What was asked for.
        db: String,
        /// Why it was not read.
        reason: String,
    },
}

/// Reads all that a chassis or a trace looks at; the replica is the client's.
///
/// # Errors
/// If the database cannot be read.
pub async fn read(db: &str, tls: Option<TlsFiles>, leader: bool) -> Result<Client, ContentsError> {
    let mut config = Config::new(Remote::parse_list(db)?, "OVN_Southbound");
    config.tables =
        monitored().into_iter().map(|(table, columns)| Wanted::columns(table, columns)).collect();
    config.leader_only = leader;
    config.tls = tls;
    let mut client = Client::spawn(config);
    let status = client.handle().watch_status();
    let initial = async { while !matches!(client.next_event().await, Event::Initial(_)) {} };
    // A person waits: the first failure is an answer.
    let failure = async {
        let mut status = status;
        loop {
            if let Some(error) = status.borrow_and_update().last_error.clone() {
                return error;
            }
            if status.changed().await.is_err() {
                return "the connection ended".to_owned();
            }
        }
    };
    let unreachable = |reason| ContentsError::Unreachable { db: db.to_owned(), reason };
    tokio::select! {
        () = initial => {}
        reason = failure => return Err(unreachable(reason)),
        () = tokio::time::sleep(PATIENCE) => {
            return Err(unreachable(format!("no content in {} s", PATIENCE.as_secs())));
        }
    }
    Ok(client)
}
