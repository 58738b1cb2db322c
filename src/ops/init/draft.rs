//! A playbook that is not yet text.

use super::gateways::FoundGateway;
use super::health::FoundHealth;
use super::machines::Unit;
use super::nodes::DraftNode;
use super::registries::FoundRegistry;

/// A playbook that is not yet text.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The service.
    pub service: String,
    /// Consul's addresses, if they are not the default.
    pub consul: Vec<String>,
    /// The registry.
    pub registry: FoundRegistry,
    /// The gateways.
    pub gateways: Vec<FoundGateway>,
    /// The nodes.
    pub nodes: Vec<DraftNode>,
    /// The user for ssh.
    pub ssh_user: Option<String>,
    /// A configuration of ssh.
    pub ssh_config: Option<String>,
    /// Commands need `sudo`.
    pub sudo: bool,
    /// The artifact, with `${{ version }}` in it.
    pub artifact: Option<String>,
    /// The unit that listens on the nodes' ports.
    pub unit: Option<Unit>,
    /// The command that stops the service.
    pub stop: String,
    /// The command that starts the service.
    pub start: String,
    /// The health check.
    pub health: FoundHealth,
}
