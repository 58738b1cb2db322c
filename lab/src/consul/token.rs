//! Addresses, certificates and tokens for the protected access modes.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Consul;
use super::access::{Access, HTTPS_PORT, socket};
use crate::authority::Authority;
use crate::pool::PREFIX;

/// The token of a request without one.
const ANONYMOUS: &str = "00000000-0000-0000-0000-000000000002";

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

    /// Returns the authority that Consul trusts and that signed its certificate, for [`Access::Tls`].
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Makes a token with a policy of these rules, for [`Access::Acl`].
    ///
    /// # Errors
    ///
    /// When Consul does not accept the rules, or such a policy exists.
    pub fn token(&self, policy: &str, rules: &str) -> Result<String> {
        self.tell("v1/acl/policy", &json!({ "Name": policy, "Rules": rules }))?;
        let token = self.tell("v1/acl/token", &json!({ "Policies": [{ "Name": policy }] }))?;
        let secret = token["SecretID"].as_str();
        secret.map(ToOwned::to_owned).context("Consul made a token without a secret")
    }

    /// Permits gateways, which have no token, to read their prefix.
    pub(crate) fn let_gateways_read(&self) -> Result<()> {
        if self.access != Access::Acl {
            return Ok(());
        }
        let rules = format!("key_prefix \"{PREFIX}\" {{ policy = \"read\" }}");
        self.tell("v1/acl/policy", &json!({ "Name": "gateways", "Rules": rules }))?;
        let policies = json!({ "Policies": [{ "Name": "gateways" }] });
        self.tell(&format!("v1/acl/token/{ANONYMOUS}"), &policies).map(|_| ())
    }

    /// Sends a request that must be accepted, and returns the answer.
    fn tell(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = self.insist("PUT", path, &body.to_string())?;
        ensure!(reply.status == 200, "Consul: PUT {path}: {} {}", reply.status, reply.body);
        serde_json::from_str(&reply.body).with_context(|| format!("Consul's answer to {path}"))
    }
}
