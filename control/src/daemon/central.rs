//! The connection to the Southbound DB, where there is one.

use ovn_xdp_ovsdb::client::{Client, Config, Event, Handle, State, Status};
use ovn_xdp_ovsdb::replica::Replica;

/// A connection, or none for a chassis that is alone.
pub struct Central(Option<Client>);

impl Central {
    /// Starts to connect.
    pub fn connect(config: Config) -> Self {
        Self(Some(Client::spawn(config)))
    }

    /// There is no Southbound DB.
    pub fn none() -> Self {
        Self(None)
    }

    /// What happens next; nothing ever does without a database.
    pub async fn next_event(&mut self) -> Event {
        match &mut self.0 {
            Some(client) => client.next_event().await,
            None => std::future::pending().await,
        }
    }

    /// The end that writes.
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Client::handle)
    }

    /// The rows.
    pub fn replica(&self) -> Option<&Replica> {
        self.0.as_ref().map(Client::replica)
    }

    /// Where the connection stands.
    pub fn status(&self) -> Option<Status> {
        self.0.as_ref().map(Client::status)
    }

    /// Whether the content is there.
    pub fn is_connected(&self) -> bool {
        self.status().is_some_and(|status| matches!(status.state, State::Connected | State::File))
    }

    /// Whether the database is a file.
    pub fn is_file(&self) -> bool {
        self.status().is_some_and(|status| status.state == State::File)
    }
}
