//! The ways to Consul. Gateways always take plain HTTP without a token, as nginx-upsync does.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Consul;
use crate::authority::Authority;
use crate::gateway::PREFIX;

/// Where https:// is served.
const HTTPS_PORT: u16 = 8501;

/// The token that may do everything.
const MANAGEMENT: &str = "6f3c1d52-3c0e-4d0b-9a53-0c5d2a7f4e91";

/// The token of whoever brings none.
const ANONYMOUS: &str = "00000000-0000-0000-0000-000000000002";

/// How Consul is guarded, and by which ways it is reached besides plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// Also by https://, for those who show a certificate of the lab's authority.
    Tls,
    /// Also by a unix socket.
    Socket,
    /// Everything needs a token but reading the gateways' prefix.
    Acl,
}

impl Access {
    /// Returns what a server's configuration needs for it.
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

    /// Returns the token with which the lab itself asks.
    pub(super) fn token(self) -> Option<&'static str> {
        (self == Self::Acl).then_some(MANAGEMENT)
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("http.sock")
}

impl Consul {
    /// Returns every server's `https://ip:port`, for [`Access::Tls`].
    #[must_use]
    pub fn https_addresses(&self) -> Vec<String> {
        let url = |address: &Ipv4Addr| format!("https://{address}:{HTTPS_PORT}");
        self.servers.iter().map(|server| url(&server.address)).collect()
    }

    /// Returns every server's `unix:///path`, for [`Access::Socket`].
    #[must_use]
    pub fn socket_addresses(&self) -> Vec<String> {
        let url = |directory: &Path| format!("unix://{}", socket(directory).display());
        self.servers.iter().map(|server| url(&server.directory)).collect()
    }

    /// Returns whose certificates Consul trusts and has, for [`Access::Tls`].
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Makes a token with a policy of these rules, for [`Access::Acl`].
    ///
    /// # Errors
    ///
    /// When Consul does not take the rules, or there is such a policy.
    pub fn token(&self, policy: &str, rules: &str) -> Result<String> {
        self.tell("v1/acl/policy", &json!({ "Name": policy, "Rules": rules }))?;
        let token = self.tell("v1/acl/token", &json!({ "Policies": [{ "Name": policy }] }))?;
        let secret = token["SecretID"].as_str();
        secret.map(ToOwned::to_owned).context("Consul made a token without a secret")
    }

    /// Lets gateways, which have no token, read what they follow.
    pub(crate) fn let_gateways_read(&self) -> Result<()> {
        if self.access != Access::Acl {
            return Ok(());
        }
        let rules = format!("key_prefix \"{PREFIX}\" {{ policy = \"read\" }}");
        self.tell("v1/acl/policy", &json!({ "Name": "gateways", "Rules": rules }))?;
        let policies = json!({ "Policies": [{ "Name": "gateways" }] });
        self.tell(&format!("v1/acl/token/{ANONYMOUS}"), &policies).map(|_| ())
    }

    /// Sends something that must be accepted, and returns the answer.
    fn tell(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = self.insist("PUT", path, &body.to_string())?;
        ensure!(reply.status == 200, "Consul: PUT {path}: {} {}", reply.status, reply.body);
        serde_json::from_str(&reply.body).with_context(|| format!("Consul's answer to {path}"))
    }
}
