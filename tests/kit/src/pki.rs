//! Certificates as `ovs-pki` makes them: an authority, and a key and certificate for each name.
//!
//! They carry no alternative name, as in every deployment that was set up with `ovs-pki`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// A certificate authority in a directory.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
}

/// The three files that an end of a TLS connection is configured with, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The private key.
    pub private_key: PathBuf,
    /// The certificate, whose common name starts with the name asked for.
    pub certificate: PathBuf,
    /// The certificate of the authority.
    pub ca_cert: PathBuf,
}

impl Pki {
    /// Makes an authority under `parent`.
    pub fn new(parent: &Path) -> Result<Self> {
        let directory = parent.join("pki");
        let mut command = Command::new("ovs-pki");
        command.arg(format!("--dir={}", directory.display()));
        command.arg(format!("--log={}", parent.join("pki.log").display()));
        process::run(command.arg("init")).context("is openvswitch-common installed?")?;
        Ok(Self { directory })
    }

    /// The identity of a name; made at the first call for it.
    pub fn identity(&self, name: &str) -> Result<Identity> {
        let identity = Identity {
            private_key: self.directory.join(format!("{name}-privkey.pem")),
            certificate: self.directory.join(format!("{name}-cert.pem")),
            ca_cert: self.directory.join("switchca/cacert.pem"),
        };
        if !identity.certificate.exists() {
            let mut command = Command::new("ovs-pki");
            command.current_dir(&self.directory);
            command.arg(format!("--dir={}", self.directory.display()));
            command.arg(format!("--log={}", self.directory.join("log").display()));
            process::run(command.args(["-u", "req+sign", name, "switch"]))?;
        }
        Ok(identity)
    }

    /// The identity as options of OVS's and OVN's programs.
    pub fn options(&self, name: &str) -> Result<[String; 3]> {
        let Identity { private_key, certificate, ca_cert } = self.identity(name)?;
        Ok([
            format!("--private-key={}", private_key.display()),
            format!("--certificate={}", certificate.display()),
            format!("--ca-cert={}", ca_cert.display()),
        ])
    }
}
