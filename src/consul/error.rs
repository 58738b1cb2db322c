//! Why Consul did not do what it was asked.

use crate::url;

/// Why Consul did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No server answered in time; nothing was done.
    #[error("Consul cannot be reached: {0}")]
    Unreachable(String),
    /// Servers answered that they cannot do it now; nothing was done.
    #[error("Consul cannot serve the request: {0}")]
    Unserved(String),
    /// One side does not accept the other's certificate; nothing was done.
    #[error(
        "TLS with Consul failed: {0} (CONSUL_CACERT names the authority, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY the client certificate)"
    )]
    Untrusted(String),
    /// The effect of a write is unknown.
    #[error("Consul did not answer a write; its effect is unknown: {0}")]
    Unknown(String),
    /// Consul refused.
    #[error("Consul refuses {what}: {status} {message}{}", hint(*.status, message))]
    Refused {
        /// The request.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// Another server listens at the address; nothing was done.
    #[error(
        "{address} is not Consul: it answers 404 to {what} (check `consul.addresses` or CONSUL_HTTP_ADDR, and a proxy in front of it)"
    )]
    Foreign {
        /// The address that was asked.
        address: String,
        /// The request.
        what: String,
    },
    /// The name cannot be part of a URL; nothing was asked.
    #[error(transparent)]
    Unfit(#[from] url::Unfit),
    /// Consul's answer cannot be understood.
    #[error("Consul's answer to {what} cannot be read: {message}")]
    Unreadable {
        /// The request.
        what: String,
        /// Why.
        message: String,
    },
}

/// What Consul says about a token that it does not know.
const UNKNOWN_TOKEN: &str = "ACL not found";

impl Error {
    /// Returns whether Consul knows the token, but the token lacks permission.
    #[must_use]
    pub fn lacks_permission(&self) -> bool {
        matches!(self, Self::Refused { status: 403, message, .. } if !message.contains(UNKNOWN_TOKEN))
    }
}

fn hint(status: u16, message: &str) -> &'static str {
    match status {
        403 if message.contains(UNKNOWN_TOKEN) => {
            " (Consul does not know the token of `consul.token` or CONSUL_HTTP_TOKEN: it is wrong, expired or deleted)"
        }
        401 | 403 => " (the token of `consul.token` or CONSUL_HTTP_TOKEN lacks permission)",
        _ => "",
    }
}
