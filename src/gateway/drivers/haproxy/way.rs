//! How rollgate reaches HAProxy.

use std::time::Duration;

use crate::gateway::query::{Query, READ_TIMEOUT};
use crate::node::NodeScript;
use crate::world::{Command, Host};

/// The time limit of one command on HAProxy's machine, including the connection.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How rollgate reaches HAProxy.
pub(super) enum Way {
    /// The runtime API.
    Runtime(Line),
    /// The stats page, with its URL.
    Page(String),
    /// None: the playbook's settings are invalid, and its check refuses them.
    Nowhere,
}

/// The connection for lines of the runtime API.
pub(super) enum Line {
    /// A Unix socket on a machine.
    Socket { host: Host, path: String, sudo: bool },
    /// `host:port`.
    Tcp(String),
}

impl Line {
    /// Sends a line.
    pub(super) fn says(&self, text: &str) -> Query {
        match self {
            Self::Socket { host, path, sudo } => {
                let script = NodeScript::UnixSocket { path: path.clone(), say: text.into() };
                Query::Run(host.clone(), Command::new(script, COMMAND_TIMEOUT, *sudo))
            }
            Self::Tcp(address) => {
                Query::Exchange(address.clone(), format!("{text}\n").into_bytes(), READ_TIMEOUT)
            }
        }
    }
}
