//! The access modes of Consul. Gateways always use plain HTTP without a token, as nginx-upsync does.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::authority::Authority;

/// The port of https://.
pub(super) const HTTPS_PORT: u16 = 8501;

/// The token with all rights.
const MANAGEMENT: &str = "6f3c1d52-3c0e-4d0b-9a53-0c5d2a7f4e91";

/// How Consul is protected, and how it is reached besides plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// All requests are permitted.
    #[default]
    Open,
    /// Also over https://, for clients with a certificate of the lab's authority.
    Tls,
    /// Also over a unix socket.
    Socket,
    /// Everything but reading the gateways' prefix requires a token.
    Acl,
}

impl Access {
    /// Returns the settings that it adds to a server's configuration.
    pub(super) fn settings(
        self,
        address: Ipv4Addr,
        directory: &Path,
        authority: Option<&Authority>,
    ) -> Result<String> {
        Ok(match self {
            Self::Open => String::new(),
            Self::Tls => {
                let authority = authority.context("TLS needs an authority")?;
                let names = format!("IP:{address},DNS:localhost,DNS:server.dc1.consul");
                let server = authority.issue(&format!("server-{address}"), &names)?;
                format!(
                    "ports {{ https = {HTTPS_PORT} }} ca_file = \"{ca}\" cert_file = \"{cert}\" \
                     key_file = \"{key}\" verify_incoming = true verify_outgoing = true",
                    ca = authority.certificate().display(),
                    cert = server.certificate.display(),
                    key = server.key.display(),
                )
            }
            Self::Socket => {
                let socket = socket(directory);
                format!("addresses {{ http = \"{address} unix://{}\" }}", socket.display())
            }
            Self::Acl => format!(
                "acl {{ enabled = true default_policy = \"deny\" \
                 tokens {{ master = \"{MANAGEMENT}\" agent = \"{MANAGEMENT}\" }} }}"
            ),
        })
    }

    /// Returns the token of the lab's own requests.
    pub(super) fn token(self) -> Option<&'static str> {
        (self == Self::Acl).then_some(MANAGEMENT)
    }
}

/// Returns the unix socket of the server in a directory, for [`Access::Socket`].
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("http.sock")
}
