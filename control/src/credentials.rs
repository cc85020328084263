//! The options by which a command that reads a database proves who it is.

use clap::Args;
use ovn_xdp_control::config::TlsFiles;
use std::path::PathBuf;

/// Options of `ssl:`; all three or none.
#[derive(Args)]
pub(crate) struct Credentials {
    /// Client key for ssl:, PEM.
    #[arg(long, short = 'p', requires_all = ["certificate", "ca_cert"])]
    private_key: Option<PathBuf>,
    /// Client certificate for ssl:, PEM.
    #[arg(long, short = 'c', requires = "private_key")]
    certificate: Option<PathBuf>,
    /// Certificate of the CA that signed the server's, PEM.
    #[arg(long, short = 'C', requires = "private_key")]
    ca_cert: Option<PathBuf>,
}

impl Credentials {
    /// As a connection wants them.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            private_key: self.private_key.clone()?,
            certificate: self.certificate.clone()?,
            ca_cert: self.ca_cert.clone()?,
        })
    }
}
