//! What is asked of a node: whether it is well, which version it runs, and how many requests it has in flight.

use std::time::Duration;

use super::shell::Shell;

/// What proves a node's health.
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
    /// How the version is told.
    pub identity: Option<IdentitySpec>,
    /// Between two tries.
    pub interval: Duration,
    /// For one try.
    pub timeout: Duration,
    /// Successes in a row.
    pub rise: u32,
    /// Failures in a row.
    pub fall: u32,
    /// How long to stay healthy, from the first success on.
    pub min_healthy_time: Duration,
    /// To become healthy.
    pub deadline: Duration,
}

impl HealthSpec {
    /// The longest time that the proof may take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.deadline + self.min_healthy_time
    }
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// What is asked.
    pub url: String,
    /// The right statuses; empty means 2xx.
    pub expect: Vec<u16>,
    /// Text that the body must contain.
    pub body: Option<String>,
}

/// How the version is told by the HTTP check's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySpec {
    /// Where it stands.
    pub place: IdentityPlace,
    /// What it must be.
    pub equals: String,
}

/// Where a reply tells the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityPlace {
    /// In a header.
    Header(String),
    /// In the JSON body, at this pointer.
    Pointer(String),
}

/// How requests in flight are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountSpec {
    /// The service tells.
    Metric {
        /// Where.
        url: String,
        /// How the number is found.
        number: NumberPlace,
    },
    /// The node's connections, idle after this long.
    Sockets(Duration),
    /// The gateways tell.
    Gateways {
        /// Where one of them turns out not to: the node's connections, idle after this long. Nothing where the playbook
        /// asks for the gateways' counts.
        or_sockets: Option<Duration>,
    },
}

/// Where a reply tells a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberPlace {
    /// At a JSON pointer.
    Pointer(String),
    /// In the first group of a regular expression.
    Pattern(String),
}
