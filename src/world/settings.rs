//! Settings of the live world.

use std::path::PathBuf;
use std::time::Duration;

use super::tls::ConsulTls;

/// Settings of the live world.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// Read instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// The user when neither the destination nor the configuration names one.
    pub user: Option<String>,
    /// Jump hosts for every connection, in the form of `ssh -J`.
    pub jump: Option<String>,
    /// Accept and remember unknown host keys; changed ones are still refused.
    pub accept_new: bool,
    /// Time limit for an ssh connection, authentication included.
    pub connect_timeout: Duration,
    /// For requests on [`Channel::Consul`](super::Channel::Consul).
    pub consul_tls: ConsulTls,
    /// How many ssh connections may be opened at the same time.
    pub max_connections: usize,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            ssh_config: None,
            user: None,
            jump: None,
            accept_new: false,
            connect_timeout: Duration::from_secs(10),
            consul_tls: ConsulTls::default(),
            max_connections: 32,
        }
    }
}
