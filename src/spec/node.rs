//! What a release does to one node.

use std::path::PathBuf;
use std::time::Duration;

use crate::address;
use crate::node::Layout;
use crate::playbook::OnTimeout;
use crate::release::{Digest, Step};
use crate::world::Host;

use super::health::{CountSpec, HealthSpec};
use super::shell::Shell;

/// One node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// What it is called.
    pub name: String,
    /// Where its commands run.
    pub host: Host,
    /// What gateways know it by.
    pub address: String,
    /// The Consul agent that owns its instance, where the playbook tells.
    pub agent: Option<String>,
    /// Whether that agent is asked from the node itself.
    pub agent_on_node: bool,
    /// Free labels.
    pub tags: Vec<String>,
    /// What is done to it, in order, `disable` included.
    pub steps: Vec<Action>,
    /// Where the artifact goes.
    pub layout: Option<Layout>,
    /// What proves its health.
    pub health: HealthSpec,
    /// How its requests in flight are counted.
    pub in_flight: CountSpec,
    /// What tells more about a failure.
    pub on_failure: Option<HookSpec>,
}

/// A step of a node, with its command where it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Which step.
    pub step: Step,
    /// Its command.
    pub command: Option<Shell>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// The command.
    pub command: Shell,
    /// Where it runs.
    pub host: Host,
}

/// The artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactSpec {
    /// The local file.
    pub file: PathBuf,
    /// The digest that the playbook demands.
    pub expected: Option<String>,
    /// The digest of the file, once it was read.
    pub digest: Option<Digest>,
    /// How many releases stay on a node.
    pub keep: u32,
}

/// How requests in flight are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSpec {
    /// How long the count stays at 0.
    pub settle: Duration,
    /// How long to wait.
    pub timeout: Duration,
    /// And then.
    pub on_timeout: OnTimeout,
}

impl NodeSpec {
    /// The longest time for which its service may be away on the way to its health.
    #[must_use]
    pub fn longest_absence(&self) -> Duration {
        let commands = self.steps.iter().filter(|action| action.step.touches_service());
        let commands = commands.filter_map(|action| action.command.as_ref());
        commands.map(|command| command.timeout).sum::<Duration>() + self.health.longest()
    }

    /// The port that gateways know.
    #[must_use]
    pub fn port(&self) -> u16 {
        address::port_of(&self.address).unwrap_or(0)
    }

    /// The version that it is brought to, as far as its identity or its release's folder tells.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let identity = self.health.identity.as_ref().map(|identity| identity.equals.clone());
        identity.or_else(|| self.layout.as_ref().map(|layout| layout.name.clone()))
    }

    /// The step's action.
    #[must_use]
    pub fn action(&self, step: Step) -> Option<&Action> {
        self.steps.iter().find(|action| action.step == step)
    }
}

/// The names of nodes.
pub(crate) fn names<'a>(nodes: &[&'a NodeSpec]) -> Vec<&'a str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}
