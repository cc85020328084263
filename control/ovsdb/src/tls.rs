//! TLS for `ssl:` remotes.
//!
//! OVSDB's certificates come from `ovs-pki`: no name in them means a host, so the chain up to the
//! CA file is what is checked, and no name. TLS 1.2 and up. The files are read again for every
//! connection, so that rotated certificates are taken up by the next one.
//!
//! `ovs-pki` of OVS 2.9 and earlier signs X.509 version 1 certificates, which the verifier of
//! rustls refuses to look at. For those, and only those, the one link from the server's certificate
//! to a CA of the file is checked here, with the same signature algorithms.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// Where our certificate, its key and the CA's certificate are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The private key, PEM.
    pub private_key: PathBuf,
    /// Our certificate and any intermediates, PEM; its CN is who we are to the server's RBAC.
    pub certificate: PathBuf,
    /// The certificates of the CAs that may have signed the server's, PEM.
    pub ca_cert: PathBuf,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// An `ssl:` remote, and no files given.
    #[error(
        "an ssl: remote needs a private key, a certificate and a CA certificate; none is configured"
    )]
    NotConfigured,
    /// A file cannot be read.
    #[error("{role} {path}: {error}")]
    File {
        /// What the file is for.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{role} {path}: expected {expected} in PEM, found {found}")]
    Content {
        /// What the file is for.
        role: &'static str,
        /// Its path.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is in it.
        found: String,
    },
}

/// Reads the files and makes a client's configuration of them.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = ChainVerifier::new(&files.ca_cert, &provider)?;
    let identity = identity(files, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Content {
            role: "private key",
            path: files.private_key.clone(),
            expected: "a key that TLS 1.2 or 1.3 can use",
            found: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(identity));
    Ok(Arc::new(config))
}

fn read(role: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { role, path: path.into(), error })
}

fn certificates(role: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const EXPECTED: &str = "a certificate";
    let wrong =
        |found: String| TlsError::Content { role, path: path.into(), expected: EXPECTED, found };
    let certificates = CertificateDer::pem_slice_iter(&read(role, path)?)
        .collect::<Result<Vec<_>, pem::Error>>()
        .map_err(|error| wrong(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(wrong("none".to_owned())),
        false => Ok(certificates),
    }
}

/// Our certificate, shown to every server that asks.
struct Identity(Arc<CertifiedKey>);

fn identity(files: &TlsFiles, provider: &CryptoProvider) -> Result<Identity, TlsError> {
    let chain = certificates("certificate", &files.certificate)?;
    let (role, path) = ("private key", &files.private_key);
    let wrong = |found: String| TlsError::Content {
        role,
        path: path.clone(),
        expected: "a private key",
        found,
    };
    let key = PrivateKeyDer::from_pem_slice(&read(role, path)?)
        .map_err(|error| wrong(error.to_string()))?;
    let key =
        provider.key_provider.load_private_key(key).map_err(|error| wrong(error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(_)) => {
            Err(wrong(format!("one that does not belong to {}", files.certificate.display())))
        }
        // A version 1 certificate cannot be compared; the server will tell.
        _ => Ok(Identity(Arc::new(certified))),
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Checks that a server's certificate leads to the CA file, whatever its name.
#[derive(Debug)]
struct ChainVerifier {
    path: PathBuf,
    roots: RootCertStore,
    authorities: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ChainVerifier {
    fn new(path: &Path, provider: &CryptoProvider) -> Result<Self, TlsError> {
        const ROLE: &str = "CA certificate";
        let authorities = certificates(ROLE, path)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|error| TlsError::Content {
                role: ROLE,
                path: path.into(),
                expected: "a certificate",
                found: error.to_string(),
            })?;
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { path: path.into(), roots, authorities, algorithms })
    }

    /// Checks the one link from a version 1 certificate to a CA of the file.
    fn verify_old(&self, certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
        within(certificate, now)?;
        for der in &self.authorities {
            let Ok((_, authority)) = X509Certificate::from_der(der) else { continue };
            if authority.subject().as_raw() != certificate.issuer().as_raw() {
                continue;
            }
            within(&authority, now)?;
            let (key, signature) = (authority.public_key(), &certificate.signature_value.data);
            let body = certificate.tbs_certificate.as_ref();
            let algorithm = &certificate.signature_algorithm;
            let signed_with = self.algorithms.all.iter().filter(|known| {
                holds(known.signature_alg_id().as_ref(), algorithm)
                    && holds(known.public_key_alg_id().as_ref(), &key.algorithm)
            });
            for known in signed_with {
                let key = &key.subject_public_key.data;
                if known.verify_signature(key, body, signature).is_ok() {
                    return Ok(());
                }
            }
            return Err(CertificateError::BadSignature.into());
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    /// Checks a handshake signature made with the key of a version 1 certificate.
    fn verify_old_handshake(
        &self,
        message: &[u8],
        certificate: &X509Certificate<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = certificate.public_key();
        let schemes = self.algorithms.mapping.iter().filter(|(known, _)| *known == signed.scheme);
        for known in schemes.flat_map(|(_, algorithms)| algorithms.iter()) {
            let key_fits = holds(known.public_key_alg_id().as_ref(), &key.algorithm);
            let key = &key.subject_public_key.data;
            if key_fits && known.verify_signature(key, message, signed.signature()).is_ok() {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    }
}

/// True if the algorithm identifier of a certificate is this DER, parameters included.
///
/// `known` is the inside of the SEQUENCE: the OID and the parameters, each with tag and length.
fn holds(known: &[u8], found: &x509_parser::x509::AlgorithmIdentifier<'_>) -> bool {
    let oid = found.algorithm.as_bytes();
    let Some(rest) = known
        .strip_prefix(&[0x06])
        .and_then(|known| known.split_first())
        .filter(|(length, _)| usize::from(**length) == oid.len())
        .and_then(|(_, known)| known.strip_prefix(oid))
    else {
        return false;
    };
    match &found.parameters {
        None => rest.is_empty() || rest == [0x05, 0x00],
        Some(parameters) => {
            let inside = rest.get(2..).unwrap_or_default();
            rest.first() == parameters.header.raw_tag().and_then(|tag| tag.first())
                && inside == parameters.data
        }
    }
}

fn within(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    match now <= validity.not_after.timestamp() {
        true => Ok(()),
        false => Err(CertificateError::Expired.into()),
    }
}

/// The certificate, if it is of version 1.
fn old<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    (rest.is_empty() && certificate.version() == X509Version::V1).then_some(certificate)
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match old(end_entity) {
            Some(certificate) => self.verify_old(&certificate, now),
            None => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            ),
        };
        verified.map(|()| ServerCertVerified::assertion()).map_err(|error| match error {
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Error::General(format!(
                "the server's certificate is not signed by a CA of {}",
                self.path.display()
            )),
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Error::General("the server's certificate or its CA's has expired".to_owned()),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match old(certificate) {
            Some(certificate) => self.verify_old_handshake(message, &certificate, signed),
            None => rustls::crypto::verify_tls12_signature(
                message,
                certificate,
                signed,
                &self.algorithms,
            ),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // RSASSA-PKCS1 is for certificates only in TLS 1.3 (RFC 8446, section 4.2.3).
        let scheme = signed.scheme;
        let too_old = matches!(
            scheme,
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
        );
        match old(certificate) {
            Some(_) if too_old => Err(CertificateError::BadSignature.into()),
            Some(certificate) => self.verify_old_handshake(message, &certificate, signed),
            None => rustls::crypto::verify_tls13_signature(
                message,
                certificate,
                signed,
                &self.algorithms,
            ),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
