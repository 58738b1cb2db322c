//! The conditions for a node to count as healthy.

use std::sync::Arc;

use crate::consul::Client;
use crate::node::Ticks;
use crate::spec::NodeSpec;

/// Watches a node until it is healthy.
pub struct Gate<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul, for the check `health.consul`.
    pub consul: Arc<Client<W>>,
    /// The node.
    pub node: Arc<NodeSpec>,
    /// The process must be younger than this. `None` if rollgate started nothing (`node in`).
    pub mark: Option<Ticks>,
    /// Commands run through `sudo -n`.
    pub sudo: bool,
    /// Any version is accepted (`node in`).
    pub any_version: bool,
    /// The version does not distinguish the new process from the old one: the same version ran before.
    pub same_version: bool,
}
