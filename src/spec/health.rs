//! Settings of a node's health check, of its version check, and of its count of requests in flight.

use std::fmt;
use std::time::Duration;

use super::shell::Shell;
use crate::playbook::Statuses;
use crate::template::Sealed;
use crate::world::{Method, Trust};

/// The health check of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSpec {
    /// The HTTP check.
    pub http: Option<HttpCheck>,
    /// The TCP check's address.
    pub tcp: Option<String>,
    /// The command check.
    pub run: Option<Shell>,
    /// The service's name in Consul.
    pub consul: Option<String>,
    /// How the reply identifies the version.
    pub identity: Option<IdentitySpec>,
    /// Time between two tries.
    pub interval: Duration,
    /// Time limit of one try.
    pub timeout: Duration,
    /// Required successes in a row.
    pub rise: u32,
    /// Required failures in a row.
    pub fall: u32,
    /// How long it must stay healthy, from the first success on.
    pub min_healthy_time: Duration,
    /// Time limit to become healthy.
    pub deadline: Duration,
}

impl HealthSpec {
    /// The longest duration of the health check.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.deadline + self.min_healthy_time
    }
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// The method of the request.
    pub method: Method,
    /// The URL.
    pub url: String,
    /// Headers of the request.
    pub headers: Vec<(String, Sealed)>,
    /// The `Host` header, if it differs from the URL's host.
    pub host: Option<String>,
    /// The user and the password of basic authentication.
    pub login: Option<(String, Sealed)>,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// The expected statuses.
    pub expect: Statuses,
    /// Text that the body must contain.
    pub body: Option<String>,
}

/// How the reply of the HTTP check identifies the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySpec {
    /// The place of the version in the reply.
    pub place: IdentityPlace,
    /// The expected value.
    pub equals: String,
}

/// Where a reply has the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityPlace {
    /// In a header.
    Header(String),
    /// In the JSON body, at this pointer.
    Pointer(String),
}

impl fmt::Display for IdentityPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header `{name}`"),
            Self::Pointer(pointer) => write!(formatter, "`{pointer}` of its JSON body"),
        }
    }
}

/// How requests in flight are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountSpec {
    /// A number of the service itself.
    Metric {
        /// The URL of the number.
        url: String,
        /// Which certificates are accepted.
        trust: Trust,
        /// The place of the number in the reply.
        number: NumberPlace,
    },
    /// The node's connections; a connection is idle after this time.
    Sockets(Duration),
    /// The gateways' counts.
    Gateways {
        /// The fallback where a gateway has no count: the node's connections, idle after this time. `None`
        /// where the playbook requires the gateways' counts.
        or_sockets: Option<Duration>,
    },
}

/// Where a reply has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberPlace {
    /// At a JSON pointer.
    Pointer(String),
    /// In the first group of a regular expression.
    Pattern(String),
}
