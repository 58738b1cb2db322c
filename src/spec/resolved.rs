//! The playbook with every name filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::address;
use crate::gateway::GatewaySpec;
use crate::playbook::{Amount, Batches, Names, OnFailure, Order, Playbook, Template};
use crate::release::Inputs;

use super::fill::{Filler, SpecError};
use super::gateway::{RegistrySpec, add_witnesses};
use super::node::{ArtifactSpec, DrainSpec, NodeSpec};
use super::nodes::Nodes;

/// One release, node by node.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The service.
    pub service: String,
    /// The version that the release deploys, if the playbook names one.
    pub version: Option<String>,
    /// The release's id.
    pub release: String,
    /// The registries in which nodes are marked, each once. A node is marked in all of them.
    pub registries: Vec<RegistrySpec>,
    /// The gateways.
    pub gateways: Vec<GatewaySpec>,
    /// The nodes, as in the playbook.
    pub nodes: Nodes,
    /// Whether it restarts what each node runs, and deploys nothing.
    pub is_restart: bool,
    /// The artifact.
    pub artifact: Option<ArtifactSpec>,
    /// Batch sizes.
    pub batches: Batches,
    /// The order of the nodes.
    pub order: Order,
    /// The smallest allowed number of routed nodes.
    pub min_available: Amount,
    /// How many failures do not stop the release.
    pub max_failures: u32,
    /// How to wait for requests in flight.
    pub drain: DrainSpec,
    /// Whether an identity confirms the new process, and not the listener.
    pub has_identity: bool,
    /// Whether commands run through `sudo -n`.
    pub sudo: bool,
    /// The given variables.
    pub variables: BTreeMap<String, String>,
    /// What to do when too many nodes have failed.
    pub on_failure: OnFailure,
    /// The longest time without a finished step.
    pub progress_deadline: Duration,
    /// How to restore what a node ran before, if known.
    pub back: BTreeMap<String, Arc<NodeSpec>>,
}

impl Spec {
    /// Fills in every name.
    ///
    /// # Errors
    ///
    /// The first name that has no value; [`crate::playbook::load`] has refused those that can be detected
    /// without variables.
    pub fn new(playbook: &Playbook, inputs: &Inputs) -> Result<Self, SpecError> {
        let names = release_names(playbook, inputs);
        let filler = Filler { names: &names, folder: &inputs.folder };
        let artifact = playbook.artifact.as_ref();
        let artifact = artifact.map(|settings| filler.artifact(settings, inputs)).transpose()?;
        let (registries, mut gateways) = filler.gateways(playbook)?;
        add_witnesses(&registries, &mut gateways);
        let mut spec = Self {
            service: playbook.service.clone(),
            version: None,
            release: inputs.release.clone(),
            registries,
            gateways,
            nodes: Nodes::default(),
            is_restart: false,
            artifact,
            batches: playbook.strategy.batches.clone(),
            order: playbook.strategy.order,
            min_available: playbook.strategy.min_available,
            max_failures: playbook.strategy.max_failures,
            drain: DrainSpec {
                settle: playbook.drain.settle.0,
                timeout: playbook.drain.timeout.0,
                on_timeout: playbook.drain.on_timeout,
            },
            has_identity: playbook.health.identity.is_some(),
            sudo: playbook.ssh.sudo,
            variables: inputs.variables.clone(),
            on_failure: playbook.strategy.on_failure,
            progress_deadline: playbook.strategy.progress_deadline.0,
            back: BTreeMap::new(),
        };
        let steps = playbook.effective_steps();
        let mut nodes = Vec::new();
        for node in &playbook.nodes {
            let mut names = names.clone();
            let (host, port) = address::split(&node.address).unwrap_or((&node.address, ""));
            for (key, value) in &node.vars {
                names.entry(key.clone()).or_insert_with(|| value.clone());
                // A node's own value overrides a default, but not a value given for this run.
                if playbook.variables.contains_key(key) && !inputs.variables.contains_key(key) {
                    names.insert(key.clone(), value.clone());
                }
                names.insert(format!("node.vars.{key}"), value.clone());
            }
            for (key, value) in [
                ("name", node.display_name()),
                ("address", &node.address),
                ("host", host),
                ("port", port),
                ("ssh", &node.ssh),
            ] {
                names.insert(format!("node.{key}"), value.to_owned());
            }
            let filler = Filler { names: &names, folder: &inputs.folder };
            let node = filler.node(playbook, node, &steps, spec.artifact.as_ref())?;
            nodes.push(Arc::new(node));
        }
        spec.nodes = nodes.into_iter().collect();
        spec.version = spec
            .nodes
            .first()
            .and_then(|node| node.health.identity.as_ref())
            .map(|identity| identity.equals.clone())
            .or_else(|| names.get("version").cloned())
            .or_else(|| spec.nodes.first()?.layout.as_ref().map(|layout| layout.name.clone()));
        Ok(spec)
    }

    /// The node with this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.named(name).map(AsRef::as_ref)
    }

    /// Says that a version is the target of a link, if no health check reads which version answers. `what` shows it.
    #[must_use]
    pub fn told_unproved(&self, what: &str) -> Option<String> {
        let is_linked = !self.is_restart && self.nodes.iter().any(|node| node.layout.is_some());
        (is_linked && !self.has_identity).then(|| {
            format!("{what} is what `current` points at: the playbook has no health.identity")
        })
    }

    /// The smallest number of nodes that must stay routed; at least 1.
    #[must_use]
    pub fn floor(&self) -> usize {
        self.min_available.of(self.nodes.len()).max(1)
    }

    /// Returns whether this many failures stop the release.
    #[must_use]
    pub fn stops_after(&self, failures: usize) -> bool {
        self.on_failure != OnFailure::Continue && failures > self.max_failures as usize
    }

    /// Returns whether a failure rolls nodes back. It does not if nothing was installed on any node: that would stop the
    /// only nodes that can serve.
    #[must_use]
    pub fn rolls_back(&self) -> bool {
        let is_first =
            |node: &Arc<NodeSpec>| self.back.get(&node.name).is_some_and(|back| back.stays_out());
        matches!(self.on_failure, OnFailure::RollbackNode | OnFailure::RollbackAll)
            && !self.nodes.iter().all(is_first)
    }
}

/// The names with a value in the whole release: defaults, given variables, `release.*`.
#[must_use]
pub fn release_names(playbook: &Playbook, inputs: &Inputs) -> Names {
    let mut names = Names::new();
    for (name, variable) in &playbook.variables {
        if let Some(default) = &variable.default {
            names.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in &inputs.variables {
        names.insert(name.clone(), value.clone());
    }
    // A default may use other variables; one round is enough for the nesting that people write.
    let given: BTreeSet<_> = inputs.variables.keys().cloned().collect();
    let plain = names.clone();
    for (name, value) in &mut names {
        if !given.contains(name)
            && let Ok(filled) = Template::new(value.clone()).fill(&plain)
        {
            *value = filled;
        }
    }
    names.insert("release.id".into(), inputs.release.clone());
    names.insert("release.service".into(), playbook.service.clone());
    names
}
