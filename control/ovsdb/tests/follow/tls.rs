//! TLS with certificates as `ovs-pki` makes them, new and old.

use std::path::{Path, PathBuf};
use std::process::Command;

use ovn_xdp_ovsdb::client::{Client, Config};
use ovn_xdp_ovsdb::remote::Remote;
use ovn_xdp_ovsdb::tls::TlsFiles;
use tempfile::TempDir;

use crate::database::{Peer, replicated};
use crate::follower::{Follower, config, failure, within_a_minute};
use crate::server::{SCHEMA, Server, run, run_in, text};

/// A certificate authority of its own, with certificates for a server and a chassis. To be made before
/// the clock of a test runs: its keys take seconds, and on a busy machine half a minute.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        let pki = Self(TempDir::with_prefix("ovx-pki-").expect("a temporary directory"));
        pki.tool(&["init"]);
        for name in ["server", "chassis"] {
            pki.tool(&["req+sign", name, "switch"]);
        }
        pki
    }

    fn tool(&self, arguments: &[&str]) {
        let output = Command::new("ovs-pki")
            .args(["-d", text(&self.path("pki")), "-l", text(&self.path("log"))])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("ovs-pki; openvswitch-pki installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn authority(&self) -> PathBuf {
        self.path("pki/switchca/cacert.pem")
    }

    fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            private_key: self.path(&format!("{name}-privkey.pem")),
            certificate: self.path(&format!("{name}-cert.pem")),
            ca_cert: self.authority(),
        }
    }

    /// Signs a certificate of version 1, as `ovs-pki` of OVS 2.9 and earlier did.
    fn sign_version_1(&self, name: &str) {
        let at = |name: String| text(&self.path(&name)).to_owned();
        run(
            "openssl",
            &[
                "x509",
                "-req",
                "-sha512",
                "-days",
                "3650",
                "-in",
                &at(format!("{name}-req.pem")),
                "-CA",
                text(&self.authority()),
                "-CAkey",
                &at("pki/switchca/private/cakey.pem".to_owned()),
                "-CAcreateserial",
                "-out",
                &at(format!("{name}-cert.pem")),
            ],
        );
        let shown = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in", &at(format!("{name}-cert.pem"))])
            .output()
            .expect("openssl");
        assert!(String::from_utf8_lossy(&shown.stdout).contains("Version: 1 "));
    }

    /// Signs a certificate that was valid in the year 2020.
    fn sign_expired(&self, name: &str) {
        let at = |name: &str| text(&self.path(name)).to_owned();
        let (request, certificate) = (format!("{name}-req.pem"), format!("{name}-cert.pem"));
        run_in(
            &self.path("pki/switchca"),
            "openssl",
            &[
                "ca",
                "-batch",
                "-config",
                "ca.cnf",
                "-startdate",
                "20200101000000Z",
                "-enddate",
                "20201231000000Z",
                "-in",
                &at(&request),
                "-out",
                &at(&certificate),
            ],
        );
    }
}

fn serve(files: &TlsFiles, more: &[&str]) -> (Server, Remote) {
    let mut options = vec![
        "--remote=pssl:0:127.0.0.1".to_owned(),
        format!("--private-key={}", text(&files.private_key)),
        format!("--certificate={}", text(&files.certificate)),
        format!("--ca-cert={}", text(&files.ca_cert)),
    ];
    options.extend(more.iter().map(|option| (*option).to_owned()));
    let mut server = Server::stopped(&options);
    run("ovsdb-tool", &["create", text(&server.file()), SCHEMA]);
    let port = server.start().expect("a port in the server's log");
    let remote = format!("ssl:127.0.0.1:{port}").parse().expect("a remote");
    (server, remote)
}

fn with(remote: &Remote, tls: TlsFiles) -> Config {
    Config { tls: Some(tls), ..config(vec![remote.clone()]) }
}

async fn follows(server: &Server, remote: &Remote, tls: TlsFiles) {
    let mut follower = Follower::spawn(with(remote, tls));
    follower.initial().await;
    let mut peer = Peer::connect(&server.socket());
    follower.catch_up(&mut peer).await;
    assert_eq!(replicated(&follower.client), peer.content(None));
}

async fn refused(remote: &Remote, tls: TlsFiles) -> String {
    failure(&Client::spawn(with(remote, tls))).await
}

#[test]
fn a_database_is_followed_over_tls_1_3_and_1_2() {
    let pki = Pki::new();
    within_a_minute(async {
        for more in [&[][..], &["--ssl-protocols=TLSv1.2"]] {
            let (server, remote) = serve(&pki.files("server"), more);
            follows(&server, &remote, pki.files("chassis")).await;
        }
    });
}

#[test]
fn version_1_certificates_of_old_ovs_pki_are_good_on_both_sides() {
    let pki = Pki::new();
    let stranger = Pki::new();
    within_a_minute(async {
        pki.sign_version_1("server");
        pki.sign_version_1("chassis");
        for more in [&[][..], &["--ssl-protocols=TLSv1.2"]] {
            let (server, remote) = serve(&pki.files("server"), more);
            follows(&server, &remote, pki.files("chassis")).await;
        }
        let tls = TlsFiles { ca_cert: stranger.authority(), ..pki.files("chassis") };
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let reason = refused(&remote, tls).await;
        assert!(reason.contains("not signed by a CA of"), "{reason}");
    });
}

#[test]
fn a_version_1_certificate_whose_signature_is_not_the_authoritys_is_refused() {
    let pki = Pki::new();
    within_a_minute(async {
        pki.sign_version_1("server");
        let (pem, der) = (pki.path("server-cert.pem"), pki.path("server-cert.der"));
        let convert = |from: &[&str], to: &[&str]| run("openssl", &[&["x509"], from, to].concat());
        convert(&["-in", text(&pem)], &["-outform", "der", "-out", text(&der)]);
        let mut bytes = std::fs::read(&der).expect("a certificate");
        *bytes.last_mut().expect("a signature") ^= 1;
        std::fs::write(&der, bytes).expect("a certificate");
        convert(&["-inform", "der", "-in", text(&der)], &["-out", text(&pem)]);
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let reason = refused(&remote, pki.files("chassis")).await;
        assert!(reason.contains("not signed by a CA of"), "{reason}");
    });
}

#[test]
fn a_server_of_another_authority_is_refused_and_the_ca_file_is_named() {
    let (ours, stranger) = (Pki::new(), Pki::new());
    within_a_minute(async {
        let (_server, remote) = serve(&stranger.files("server"), &[]);
        let reason = refused(&remote, ours.files("chassis")).await;
        let authority = ours.authority();
        assert_eq!(
            reason,
            format!(
                "TLS handshake failed: unexpected error: the server's certificate is not signed \
                 by a CA of {}",
                text(&authority)
            )
        );
    });
}

#[test]
fn an_expired_server_is_refused() {
    let pki = Pki::new();
    within_a_minute(async {
        pki.sign_expired("server");
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let reason = refused(&remote, pki.files("chassis")).await;
        assert!(reason.contains("the server's certificate or its CA's has expired"), "{reason}");
    });
}

#[test]
fn a_server_that_does_not_know_us_is_told_apart() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    within_a_minute(async {
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let tls = TlsFiles { ca_cert: pki.authority(), ..stranger.files("chassis") };
        let reason = refused(&remote, tls).await;
        assert!(reason.contains("alert"), "{reason}");
    });
}

#[test]
fn each_file_that_is_missing_or_wrong_is_named() {
    let pki = Pki::new();
    within_a_minute(async {
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let good = pki.files("chassis");
        let none = pki.path("none.pem");
        let told = |path: &Path, what: &str| format!("{what} {}", text(path));
        for (tls, what) in [
            (TlsFiles { private_key: none.clone(), ..good.clone() }, "private key"),
            (TlsFiles { certificate: none.clone(), ..good.clone() }, "certificate"),
            (TlsFiles { ca_cert: none.clone(), ..good.clone() }, "CA certificate"),
        ] {
            let reason = refused(&remote, tls).await;
            assert_eq!(reason, told(&none, what) + ": No such file or directory (os error 2)");
        }
        let key = good.private_key.clone();
        let swapped = TlsFiles { certificate: key.clone(), ..good.clone() };
        let reason = refused(&remote, swapped).await;
        assert!(reason.starts_with(&told(&key, "certificate")), "{reason}");
        assert!(reason.ends_with("expected a certificate in PEM, found none"), "{reason}");
        let other_key = pki.files("server").private_key;
        let reason =
            refused(&remote, TlsFiles { private_key: other_key.clone(), ..good.clone() }).await;
        assert!(reason.starts_with(&told(&other_key, "private key")), "{reason}");
        assert!(reason.contains("one that does not belong to"), "{reason}");
        let reason = failure(&Client::spawn(config(vec![remote]))).await;
        assert!(reason.starts_with("an ssl: remote needs a private key"), "{reason}");
    });
}

#[test]
fn certificates_that_are_replaced_are_taken_up_by_the_next_attempt() {
    let pki = Pki::new();
    within_a_minute(async {
        let (_server, remote) = serve(&pki.files("server"), &[]);
        let mut tls = pki.files("chassis");
        tls.ca_cert = pki.path("ca.pem");
        let mut follower = Follower::spawn(with(&remote, tls.clone()));
        failure(&follower.client).await;
        std::fs::copy(pki.authority(), &tls.ca_cert).expect("a copy");
        follower.initial().await;
    });
}
