//! The playbook with every name filled in: what one release does, node by node.
//!
//! Pure and repeatable: the journal keeps the playbook and the variables, and this is made anew from them.

mod fill;
mod gateway;
mod health;
mod recorded;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address;
use crate::file;
use crate::node::Layout;
use crate::playbook::{
    Amount, Batches, Names, OnFailure, OnTimeout, Order, Playbook, Registry, Template,
    TemplateError,
};
use crate::release::{Digest, Inputs, Step};
use crate::secret::Secret;
use crate::world::Host;

use fill::Filler;
pub use gateway::{GatewaySpec, RegistrySpec};
pub use health::{CountSpec, HealthSpec, HttpCheck, IdentityPlace, IdentitySpec, NumberPlace};
pub use recorded::fillable;
pub use restore::{restored_nodes, spec_of_release};

/// The largest file of a secret.
const LARGEST_SECRET: u64 = 64 * 1024;

/// One release, node by node.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The service.
    pub service: String,
    /// The version that the release brings, as far as the playbook tells one.
    pub version: Option<String>,
    /// The release's id.
    pub release: String,
    /// Where nodes are marked.
    pub registry: RegistrySpec,
    /// The gateways.
    pub gateways: Vec<GatewaySpec>,
    /// The nodes, as in the playbook.
    pub nodes: Vec<NodeSpec>,
    /// The artifact.
    pub artifact: Option<ArtifactSpec>,
    /// Batch sizes.
    pub batches: Batches,
    /// Who goes first.
    pub order: Order,
    /// The least number of routed nodes.
    pub min_available: Amount,
    /// Failures that do not stop the release.
    pub max_failures: u32,
    /// How requests in flight are awaited.
    pub drain: DrainSpec,
    /// Whether health is told by an identity rather than by the listening process.
    pub has_identity: bool,
    /// Whether commands run through `sudo -n`.
    pub sudo: bool,
    /// The variables that were given.
    pub variables: BTreeMap<String, String>,
    /// What happens when too many nodes have failed.
    pub on_failure: OnFailure,
    /// How long a release may take between two steps that end.
    pub progress_deadline: Duration,
    /// What brings a node back to what it ran, where that is known.
    pub back: BTreeMap<String, NodeSpec>,
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

/// A command with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// What `sh` runs.
    pub run: String,
    /// For all of it.
    pub timeout: Duration,
    /// Through `sudo -n`.
    pub sudo: bool,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// The command.
    pub command: Shell,
    /// Where it runs.
    pub host: Host,
}

/// A template that cannot be filled in, with its place in the playbook.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {error}")]
pub struct SpecError {
    /// Key path in the playbook.
    pub path: String,
    /// What is wrong.
    pub error: TemplateError,
}

/// The names of nodes.
pub(crate) fn names<'a>(nodes: &[&'a NodeSpec]) -> Vec<&'a str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

impl Spec {
    /// Fills in every name.
    ///
    /// # Errors
    ///
    /// The first name that stands for nothing; [`crate::playbook::load`] has refused those that can be
    /// known without variables.
    pub fn new(playbook: &Playbook, inputs: &Inputs) -> Result<Self, SpecError> {
        let names = release_names(playbook, inputs);
        let filler = Filler { names: &names };
        let artifact = playbook.artifact.as_ref();
        let artifact = artifact.map(|settings| filler.artifact(settings, inputs)).transpose()?;
        let registry = match &playbook.registry {
            Registry::ConsulKv { prefix } => {
                RegistrySpec::ConsulKv { prefix: filler.fill("registry.prefix", prefix)? }
            }
            Registry::ConsulService { service, maintenance, .. } => RegistrySpec::ConsulService {
                service: filler.fill("registry.service", service)?,
                extent: *maintenance,
            },
            Registry::Gateway {} => RegistrySpec::Gateway,
        };
        let mut gateways = filler.gateways(playbook)?;
        let addresses = playbook.nodes.iter().map(|node| node.address.clone()).collect();
        gateways.extend(registry.witness(&gateways, addresses));
        let mut spec = Self {
            service: playbook.service.clone(),
            version: None,
            release: inputs.release.clone(),
            registry,
            gateways,
            nodes: Vec::new(),
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
        for node in &playbook.nodes {
            let mut names = names.clone();
            let (host, port) = address::split(&node.address).unwrap_or((&node.address, ""));
            for (key, value) in &node.vars {
                names.entry(key.clone()).or_insert_with(|| value.clone());
                // A node's own value goes before a default, but not before what was given for this run.
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
            let filler = Filler { names: &names };
            spec.nodes.push(filler.node(playbook, node, &steps, spec.artifact.as_ref())?);
        }
        spec.version = spec
            .nodes
            .first()
            .and_then(|node| node.health.identity.as_ref())
            .map(|identity| identity.equals.clone())
            .or_else(|| names.get("version").cloned())
            .or_else(|| spec.nodes.first()?.layout.as_ref().map(|layout| layout.name.clone()));
        Ok(spec)
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The least number of nodes that must stay routed; at least 1.
    #[must_use]
    pub fn floor(&self) -> usize {
        self.min_available.of(self.nodes.len()).max(1)
    }

    /// Returns whether so many failures stop the release.
    #[must_use]
    pub fn stops_after(&self, failures: usize) -> bool {
        self.on_failure != OnFailure::Continue && failures > self.max_failures as usize
    }
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

/// The names that stand for something in the whole release: defaults, given variables, `release.*`.
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
    // A default may use other variables; one round is enough for the depth people write.
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

/// Returns what a secret of the playbook is, as far as it can be read.
///
/// # Errors
///
/// Says which secret cannot be read and why.
pub fn read_secrets(
    playbook: &Playbook,
    folder: &Path,
    environment: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<BTreeMap<String, Secret>, String> {
    let mut secrets = BTreeMap::new();
    for (name, source) in &playbook.secrets {
        let value = match (&source.env, &source.file) {
            (Some(variable), _) => environment(variable)
                .map_err(|problem| format!("secret `{name}`: {problem}"))?
                .ok_or(format!("secret `{name}`: the environment has no variable `{variable}`"))?,
            (None, Some(file)) => {
                file::read_text(&folder.join(file), LARGEST_SECRET).map_err(|problem| {
                    format!("secret `{name}`: cannot read {}: {problem}", file.display())
                })?
            }
            (None, None) => return Err(format!("secret `{name}` has no source")),
        };
        // Whether it comes from a file or was pasted into a variable, its last line break is none of it.
        secrets.insert(name.clone(), Secret::new(value.trim_end_matches(['\r', '\n'])));
    }
    Ok(secrets)
}
