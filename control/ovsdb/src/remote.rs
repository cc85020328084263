//! Where a database is: the connection methods of ovsdb(7) that a client can use, and `file:`.
//!
//! A remote is written `unix:PATH`, `tcp:HOST:PORT`, `ssl:HOST:PORT` or `file:PATH`, with an IPv6
//! address in square brackets; a comma separates the members of a cluster. A file stands alone.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// One place where a database can be reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Remote {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// TCP in the clear.
    Tcp(Address),
    /// TCP with TLS, which OVSDB calls ssl.
    Ssl(Address),
    /// A standalone database file, read only.
    File(PathBuf),
}

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// An IPv4 address, an IPv6 address without brackets, or a name.
    pub host: String,
    /// The port; not 0.
    pub port: u16,
}

/// What is wrong with a remote.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemoteError {
    /// No remote at all.
    #[error("no remote given: expected {ALLOWED}, or several with commas between them")]
    Empty,
    /// The method is not one for clients.
    #[error("remote {found:?}: expected {ALLOWED}")]
    Method {
        /// The text that was given.
        found: String,
    },
    /// The remote is for a server that listens.
    #[error(
        "remote {found:?}: a method for servers that listen; a client uses {active}: expected \
         {ALLOWED}"
    )]
    Passive {
        /// The text that was given.
        found: String,
        /// The client's form of the method.
        active: &'static str,
    },
    /// Nothing after `unix:` or `file:`.
    #[error("remote {found:?}: expected a path after the colon")]
    Path {
        /// The text that was given.
        found: String,
    },
    /// No host, or one that cannot be read.
    #[error(
        "remote {found:?}: expected HOST:PORT after the method, where HOST is a name, an IPv4 \
         address or an IPv6 address in square brackets"
    )]
    Host {
        /// The text that was given.
        found: String,
    },
    /// No port, or none that is a number.
    #[error("remote {found:?}: expected a port from 1 to 65535, found {port:?}")]
    Port {
        /// The text that was given.
        found: String,
        /// What is in the place of the port.
        port: String,
    },
    /// A file among other remotes.
    #[error("remote {found:?}: a file is the only remote or none; remove it or the others")]
    FileAmongOthers {
        /// The file's text.
        found: String,
    },
}

const ALLOWED: &str = "unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH";

impl Remote {
    /// Reads a comma list of remotes; there is at least one in the result.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, RemoteError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let remotes = parts.map(Self::from_str).collect::<Result<Vec<_>, _>>()?;
        if remotes.is_empty() {
            return Err(RemoteError::Empty);
        }
        match remotes.iter().find(|remote| matches!(remote, Self::File(_))) {
            Some(file) if remotes.len() > 1 => {
                Err(RemoteError::FileAmongOthers { found: file.to_string() })
            }
            _ => Ok(remotes),
        }
    }
}

impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let found = || text.to_owned();
        let (method, rest) =
            text.split_once(':').ok_or_else(|| RemoteError::Method { found: found() })?;
        match method {
            "unix" | "file" if rest.is_empty() => Err(RemoteError::Path { found: found() }),
            "unix" => Ok(Self::Unix(rest.into())),
            "file" => Ok(Self::File(rest.into())),
            "tcp" => Ok(Self::Tcp(address(text, rest)?)),
            "ssl" => Ok(Self::Ssl(address(text, rest)?)),
            "punix" => Err(RemoteError::Passive { found: found(), active: "unix" }),
            "ptcp" => Err(RemoteError::Passive { found: found(), active: "tcp" }),
            "pssl" => Err(RemoteError::Passive { found: found(), active: "ssl" }),
            _ => Err(RemoteError::Method { found: found() }),
        }
    }
}

fn address(text: &str, rest: &str) -> Result<Address, RemoteError> {
    let wrong_host = || RemoteError::Host { found: text.to_owned() };
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or_else(wrong_host)?;
            // A zone, as in fe80::1%eth0, is for the resolver.
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong_host())?;
            (
                host,
                if port.is_empty() { "" } else { port.strip_prefix(':').ok_or_else(wrong_host)? },
            )
        }
        None => rest.split_once(':').unwrap_or((rest, "")),
    };
    if host.is_empty() || port.contains(':') || host.contains(char::is_whitespace) {
        return Err(wrong_host());
    }
    match port.parse::<u16>() {
        Ok(number @ 1..) => Ok(Address { host: host.to_owned(), port: number }),
        _ => Err(RemoteError::Port { found: text.to_owned(), port: port.to_owned() }),
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Ssl(address) => write!(f, "ssl:{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_form_is_read_and_written_back_the_same() {
        for text in [
            "unix:/run/ovn/ovnsb_db.sock",
            "tcp:192.0.2.1:6642",
            "tcp:[2001:db8::1]:6642",
            "ssl:[fe80::1%eth0]:6642",
            "ssl:sb.example.net:6642",
            "file:/var/lib/ovn/ovnsb.db",
        ] {
            assert_eq!(text.parse::<Remote>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_comma_list_is_the_members_of_a_cluster() {
        let remotes = Remote::parse_list("tcp:a:1, tcp:b:2,ssl:[::1]:3").expect("three remotes");
        assert_eq!(remotes.len(), 3);
    }

    #[test]
    fn every_wrong_form_is_told_what_was_found_and_what_is_allowed() {
        for (text, told) in [
            ("", "no remote given"),
            ("192.0.2.1", "expected unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT or file:PATH"),
            ("udp:192.0.2.1:6642", "expected unix:PATH"),
            ("ptcp:6642", "a client uses tcp"),
            ("unix:", "expected a path"),
            ("tcp:192.0.2.1", "found \"\""),
            ("tcp:192.0.2.1:0", "found \"0\""),
            ("tcp:192.0.2.1:65536", "found \"65536\""),
            ("tcp::6642", "expected HOST:PORT"),
            ("tcp:2001:db8::1:6642", "in square brackets"),
            ("tcp:[2001:db8::g]:6642", "in square brackets"),
            ("tcp:[2001:db8::1]", "found \"\""),
            ("unix:/a,file:/b", "the only remote"),
        ] {
            let error = Remote::parse_list(text).expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
            assert!(error.contains(text.split(',').next_back().unwrap_or_default()), "{error}");
        }
    }
}
