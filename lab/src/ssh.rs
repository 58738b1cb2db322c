//! The client's side of SSH: a key, a configuration file, and the known host keys.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::node::{Node, SSH_PORT};
use crate::ssh_key;
use crate::wire::entrance;

/// The files that `ssh -F` needs to reach the nodes.
#[derive(Debug)]
pub(crate) struct Client {
    directory: PathBuf,
    wired: bool,
}

impl Client {
    /// Makes the client's key in the lab's directory. With wires, nodes are reached over theirs.
    pub(crate) fn create(directory: &Path, wired: bool) -> Result<Self> {
        ssh_key::generate(&directory.join("id"), "lab")?;
        Ok(Self { directory: directory.to_owned(), wired })
    }

    /// Returns the path of the configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("ssh_config")
    }

    /// Writes the configuration for these nodes, each also as `jumped-<name>` through the first.
    pub(crate) fn write_config(&self, nodes: &[Node]) -> Result<()> {
        let mut text = String::new();
        for node in nodes {
            let host = if self.wired { entrance(node.ip()) } else { node.ip() };
            writeln!(text, "Host {0} jumped-{0}\n  HostName {host}", node.name())?;
        }
        if let Some(first) = nodes.first() {
            writeln!(text, "Host jumped-*\n  ProxyJump {}", first.name())?;
        }
        let directory = self.directory.display();
        write!(
            text,
            "Host *\n  Port {SSH_PORT}\n  User root\n  IdentityFile {directory}/id\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {directory}/known_hosts\n  \
             GlobalKnownHostsFile none\n"
        )?;
        fs::write(self.config(), text).context("could not write ssh_config")
    }

    /// Writes the true host keys of these nodes.
    pub(crate) fn write_known_hosts(&self, nodes: &[Node]) -> Result<()> {
        let mut text = String::new();
        for node in nodes {
            writeln!(text, "{} {}", host_pattern(node), node.host_key()?.trim())?;
        }
        fs::write(self.known_hosts(), text).context("could not write known_hosts")
    }

    /// Makes the client's file have no key for `node`.
    pub(crate) fn forget(&self, node: &Node) -> Result<()> {
        self.replace(node, None)
    }

    /// Makes the client's file have another key than that of `node`.
    pub(crate) fn spoil(&self, node: &Node) -> Result<()> {
        let key = fs::read_to_string(self.directory.join("id.pub"))?;
        self.replace(node, Some(&key))
    }

    fn replace(&self, node: &Node, key: Option<&str>) -> Result<()> {
        let text = fs::read_to_string(self.known_hosts()).context("could not read known_hosts")?;
        let pattern = host_pattern(node);
        let mut changed = String::new();
        for line in text.lines().filter(|line| !line.starts_with(&pattern)) {
            writeln!(changed, "{line}")?;
        }
        if let Some(key) = key {
            writeln!(changed, "{pattern} {}", key.trim())?;
        }
        fs::write(self.known_hosts(), changed).context("could not write known_hosts")
    }

    fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }
}

fn host_pattern(node: &Node) -> String {
    format!("[{}]:{SSH_PORT},[{}]:{SSH_PORT}", node.ip(), entrance(node.ip()))
}
