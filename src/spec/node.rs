//! The actions of a release on one node.

use std::path::PathBuf;
use std::time::Duration;

use crate::address;
use crate::node::{Layout, Packing};
use crate::playbook::OnTimeout;
use crate::release::{Digest, Step};
use crate::world::Host;

use super::health::{CountSpec, HealthSpec};
use super::shell::Shell;

/// One node.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// The host of its commands.
    pub host: Host,
    /// The address that gateways know.
    pub address: String,
    /// The Consul agent that owns its instance, if the playbook names one.
    pub agent: Option<String>,
    /// Whether that agent is queried from the node itself.
    pub agent_on_node: bool,
    /// Free labels.
    pub tags: Vec<String>,
    /// Its steps in order, `disable` included.
    pub steps: Vec<Action>,
    /// The folders of the artifact.
    pub layout: Option<Layout>,
    /// Its health check.
    pub health: HealthSpec,
    /// How its requests in flight are counted.
    pub in_flight: CountSpec,
    /// The hook that collects more information about a failure.
    pub on_failure: Option<HookSpec>,
}

/// A step of a node, with its command if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The step.
    pub step: Step,
    /// Its command.
    pub command: Option<Shell>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// The command.
    pub command: Shell,
    /// Where the command runs.
    pub host: Host,
}

/// The artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactSpec {
    /// The local file.
    pub file: PathBuf,
    /// The digest that the playbook requires.
    pub expected: Option<String>,
    /// The digest of the file, after it was read.
    pub digest: Option<Digest>,
    /// How it is unpacked.
    pub packing: Packing,
    /// How many releases stay on a node.
    pub keep: u32,
}

/// How to wait for requests in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSpec {
    /// How long the count stays at 0.
    pub settle: Duration,
    /// The time limit.
    pub timeout: Duration,
    /// What to do at the time limit.
    pub on_timeout: OnTimeout,
}

impl NodeSpec {
    /// The longest time for which its service may be unavailable before it is healthy.
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

    /// Its target version, if its identity or its release's folder contains one.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let identity = self.health.identity.as_ref().map(|identity| identity.equals.clone());
        identity.or_else(|| self.layout.as_ref().map(|layout| layout.name.clone()))
    }

    /// Ends the steps with the stop of the service: nothing was installed before.
    pub(super) fn only_stop(&mut self) {
        let leaves =
            |step| matches!(step, Step::Disable | Step::ConfirmOut | Step::Drain | Step::Stop);
        self.steps.retain(|action| leaves(action.step));
        self.layout = None;
    }

    /// Whether its steps leave it out of rotation.
    #[must_use]
    pub fn stays_out(&self) -> bool {
        self.action(Step::Enable).is_none()
    }

    /// Whether its steps stop the service. A playbook can have only a `restart`.
    #[must_use]
    pub fn has_stop(&self) -> bool {
        self.action(Step::Stop).is_some()
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
