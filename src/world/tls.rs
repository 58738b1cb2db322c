//! Consul's TLS settings, read from their files for the HTTP client.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::{AlertDescription, CertificateError};

use super::{Channel, Trust};

/// How Consul's certificate is checked, and the client certificate for Consul.
#[derive(Debug, Clone)]
pub struct ConsulTls {
    /// `CONSUL_CACERT`: a file with the only trusted certificates.
    pub ca: Option<PathBuf>,
    /// `CONSUL_CAPATH`: a folder of such files.
    pub ca_dir: Option<PathBuf>,
    /// `CONSUL_CLIENT_CERT`.
    pub client_cert: Option<PathBuf>,
    /// `CONSUL_CLIENT_KEY`.
    pub client_key: Option<PathBuf>,
    /// `CONSUL_TLS_SERVER_NAME`: the expected name in the certificate, if it differs from the address.
    pub server_name: Option<String>,
    /// `CONSUL_HTTP_SSL_VERIFY`: `false` accepts any certificate.
    pub verify: bool,
}

impl Default for ConsulTls {
    fn default() -> Self {
        Self {
            ca: None,
            ca_dir: None,
            client_cert: None,
            client_key: None,
            server_name: None,
            verify: true,
        }
    }
}

impl ConsulTls {
    /// The same settings with these authorities in place of all others.
    #[must_use]
    pub fn trusting_only(self, ca: PathBuf) -> Self {
        Self { ca: Some(ca), ca_dir: None, ..self }
    }
}

/// The contents of the files.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    trusted: Option<Vec<Certificate>>,
    identity: Option<Identity>,
    verify: bool,
}

impl Tls {
    /// Reads the files, so that an unusable file is an error at the start and not at the first request.
    pub(super) fn read(settings: &ConsulTls) -> anyhow::Result<Self> {
        let mut trusted = None;
        let ca = settings.ca.iter().cloned();
        let folder = settings.ca_dir.as_deref().map(files).transpose()?.unwrap_or_default();
        for path in ca.chain(folder) {
            trusted.get_or_insert_with(Vec::new).extend(certificates(&path)?);
        }
        let identity = match (&settings.client_cert, &settings.client_key) {
            (Some(certificate), Some(key)) => {
                let mut pem = read(certificate)?;
                pem.push(b'\n');
                pem.extend(read(key)?);
                Some(Identity::from_pem(&pem).with_context(|| {
                    format!(
                        "`{}` and `{}` are not a PEM certificate and key",
                        certificate.display(),
                        key.display()
                    )
                })?)
            }
            (None, None) => None,
            _ => anyhow::bail!("a Consul client certificate and its key must be given together"),
        };
        Ok(Self { trusted, identity, verify: settings.verify })
    }

    /// The settings of one URL.
    pub(super) fn trusting(trust: &Trust) -> anyhow::Result<Self> {
        let trusted = trust.ca.as_deref().map(certificates).transpose()?;
        Ok(Self { trusted, identity: None, verify: !trust.insecure })
    }

    /// Returns whether no setting was given.
    pub(super) fn is_default(&self) -> bool {
        self.trusted.is_none() && self.identity.is_none()
    }

    /// Applies the settings to a client.
    pub(super) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(trusted) = &self.trusted {
            builder = builder.tls_certs_only(trusted.iter().cloned());
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder.tls_danger_accept_invalid_certs(!self.verify)
    }
}

/// Checks that a file has certificates.
///
/// # Errors
///
/// If it cannot be read, or has none.
pub fn check_authorities(file: &Path) -> anyhow::Result<()> {
    certificates(file).map(drop)
}

/// Reads the certificates in a PEM file.
pub(super) fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&read(path)?)
        .with_context(|| format!("`{}` is not a PEM certificate file", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "`{}` holds no certificate", path.display());
    Ok(found)
}

/// Returns which side rejects the other's certificate, if that is why there is no reply.
///
/// With TLS 1.3 a server refuses a client certificate only after the handshake, but before it reads the
/// request.
pub(super) fn distrust(error: &reqwest::Error, channel: Channel) -> Option<String> {
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(why) => Some(untrusted(why, channel)),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired),
        ) => Some(format!("it rejects the client certificate, or requires one: {alert:?}")),
        _ => None,
    }
}

/// Why a certificate is not trusted, and which setting helps.
fn untrusted(why: &CertificateError, channel: Channel) -> String {
    let setting = match channel {
        Channel::Consul => "`consul.ca` or CONSUL_CACERT",
        Channel::Direct | Channel::Fresh => "`ca` or SSL_CERT_FILE",
    };
    match why {
        CertificateError::UnknownIssuer => {
            format!("its certificate is signed by an unknown authority (set {setting})")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority, not of a server (make one with `basicConstraints=CA:FALSE`)"
                .to_owned()
        }
        other => format!("its certificate is not trusted: {other}"),
    }
}

/// TLS's own error. An I/O error contains it without naming it as its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => held,
        None => error.source()?,
    };
    inner.downcast_ref().or_else(|| tls_error(inner))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot read `{}`", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "`{}` holds no certificate file", folder.display());
    Ok(files)
}
