//! How the real world is reached.

use std::path::PathBuf;
use std::time::Duration;

use super::tls::ConsulTls;

/// How the real world is reached.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// Read instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// The user where neither the destination nor the configuration names one.
    pub user: Option<String>,
    /// Jump hosts for every connection, as `ssh -J` takes them.
    pub jump: Option<String>,
    /// Accept and remember unknown host keys; changed ones are refused all the same.
    pub accept_new: bool,
    /// For an ssh connection to be up, authentication included.
    pub connect_timeout: Duration,
    /// For requests on [`Channel::Consul`](super::Channel::Consul).
    pub consul_tls: ConsulTls,
    /// How many ssh connections may be in the making at once.
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
