//! What is asked of a node before it counts as healthy.

use std::sync::Arc;

use crate::consul::Client;
use crate::node::Mark;
use crate::spec::NodeSpec;

/// A node being watched until it is healthy.
pub struct Gate<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul, for the check of that kind.
    pub consul: Arc<Client<W>>,
    /// The node.
    pub node: Arc<NodeSpec>,
    /// The process must be younger than this; `None` when nothing was started by us (`node in`).
    pub mark: Option<Mark>,
    /// Commands run through `sudo -n`.
    pub sudo: bool,
    /// Any version will do (`node in`).
    pub any_version: bool,
    /// The version cannot tell the new process from the old one: the same was running before.
    pub same_version: bool,
}
