//! The playbook: the types are the reference, for serde, for the JSON Schema and for the reader.
//!
//! A file goes through [`load`]: text → tree with positions (`yaml`) → every structural problem at once
//! (`structure`, driven by the schema of these very types) → these types → every problem of meaning at
//! once (`rules`). What is left is a [`Playbook`] that makes sense as a file.

mod findings;
mod hidden;
mod invalid_paths;
mod load;
mod proof;
mod routing;
mod rules;
mod scalar;
mod schema;
mod step;
mod structure;
mod tree;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::diagnostic::{Invalid, Problem, Source};
pub use crate::gateway::Gateway;
pub use crate::period::DurationSetting;
pub use crate::template::{Names, Template, TemplateError};
pub use load::{Loaded, load, load_text, schema};
pub use proof::{ConsulCheck, Drain, Health, Identity, InFlight, Metric, OnTimeout, Sockets};
pub use routing::{Consul, Extent, Registry};
pub use rules::{Misplaced, misplaced};
pub use step::StepSpec;
pub use values::{Amount, Batches, CommandSpec, HttpCheckSpec, TcpCheckSpec};

/// How one service is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// The service's name: lower-case letters, digits, `-`, `_`, `.`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub service: String,
    /// Values that a release is started with, usable as `${{ name }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    /// Values that are never printed or journalled, usable as `${{ secrets.name }}` where a key says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Where Consul is; by default what the `CONSUL_*` environment variables say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<Consul>,
    /// Where a node's availability is written.
    pub registry: Registry,
    /// The proxies that route to the nodes.
    #[schemars(length(min = 1))]
    pub gateways: Vec<Gateway>,
    /// How the nodes are reached.
    #[serde(default)]
    pub ssh: Ssh,
    /// The instances of the service.
    #[schemars(length(min = 1))]
    pub nodes: Vec<Node>,
    /// What is put on the nodes; without it the playbook only restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// How many nodes at a time, in which order, and when to stop.
    #[serde(default)]
    pub strategy: Strategy,
    /// How requests in flight are awaited.
    #[serde(default)]
    pub drain: Drain,
    /// Ends the service on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<CommandSpec>,
    /// Starts the service on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CommandSpec>,
    /// Ends and starts the service in one command, in place of `stop` and `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<CommandSpec>,
    /// What is done to each node, in order; by default all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepSpec>>,
    /// What proves that a node's new process can serve.
    pub health: Health,
    /// Commands around the release.
    #[serde(default)]
    pub hooks: Hooks,
}

/// A value that a release is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Refuse to start without a value, or with an empty one that no `pattern` admits.
    #[serde(default)]
    pub required: bool,
    /// The value when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A regular expression that the value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// Where a secret comes from: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// An environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A file, without its last line break; relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// How the nodes are reached: on top of the user's own ssh configuration, which is always honoured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Another file than `~/.ssh/config`, as `ssh -F` takes it; relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// The user to log in as, where the destination and the configuration name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A host to jump through, as `ssh -J` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// What to do with a host whose key is not known.
    #[serde(default)]
    pub host_keys: HostKeys,
    /// For connecting and logging in.
    #[serde(default = "Ssh::default_connect_timeout")]
    pub connect_timeout: DurationSetting,
    /// Run commands as root through `sudo -n`.
    #[serde(default)]
    pub sudo: bool,
}

/// What to do with a host whose key is not known. A changed key is always refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    /// Refuse it.
    #[default]
    Strict,
    /// Accept and remember it.
    AcceptNew,
}

/// One instance of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What it is called in messages. Default: its ssh destination's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub name: Option<String>,
    /// Where its commands run: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: String,
    /// The `host:port` by which gateways know it.
    pub address: String,
    /// The HTTP address of the Consul agent that owns its instance, in place of `registry.agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Template>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Values of its own, usable as `${{ node.vars.name }}`; also the node's say in `${{ name }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
}

/// What is put on the nodes, before any of them leaves rotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// A `.tar.gz` or `.tgz` archive, or any other single file; relative to the playbook.
    pub source: Template,
    /// Its SHA-256, when it is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Template>,
    /// The folder on the node with one folder per release; an absolute path, not inside `current`.
    pub releases: Template,
    /// The symlink on the node to the running release; an absolute path, not inside `releases`.
    pub current: Template,
    /// How many releases to keep on the node.
    #[serde(default = "Artifact::default_keep")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
}

/// How many nodes at a time, in which order, and when to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Strategy {
    /// A count, a percentage of the nodes, or a list whose last entry repeats.
    pub batches: Batches,
    /// Which nodes go first.
    pub order: Order,
    /// How many nodes stay routed at every gateway, whatever happens; never less than 1.
    pub min_available: Amount,
    /// How many nodes may fail over the whole release, unreachable ones included, before it stops.
    pub max_failures: u32,
    /// What happens when more than that have failed.
    pub on_failure: OnFailure,
    /// How long the release may take between two steps that end before it stops.
    pub progress_deadline: DurationSetting,
}

/// Which nodes go first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nodes that are already out of rotation, then those at which nothing listens, for they cost no capacity; then as in the
    /// playbook.
    #[default]
    OutFirst,
    /// As in the playbook.
    Listed,
}

/// What happens when a node has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The failed node stays out, the others serve, a person decides.
    #[default]
    Stop,
    /// The failed node goes back to what it ran before; the release stops.
    RollbackNode,
    /// The failed node and every node that was updated go back to what they ran before.
    RollbackAll,
    /// The failed node stays out, and the release goes on as long as enough nodes stay routed.
    Continue,
}

/// Commands around the release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Its output goes into the failure report: the last log lines of the service, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Hook>,
}

/// A command around the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The command.
    pub run: Template,
    /// Where it runs.
    #[serde(default)]
    pub on: On,
    /// After this time it is ended.
    #[serde(default = "Hook::default_timeout")]
    pub timeout: DurationSetting,
}

/// Where something is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// On the node that it is about.
    #[default]
    Node,
    /// On this machine.
    Local,
}

impl On {
    fn local() -> Self {
        Self::Local
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

impl Playbook {
    /// The variable that the version comes from: the one that a node's identity must equal.
    #[must_use]
    pub fn version_variable(&self) -> Option<(&str, &Variable)> {
        let name = self.health.identity.as_ref()?.equals.only_name()?;
        self.variables.get_key_value(name).map(|(name, variable)| (name.as_str(), variable))
    }

    /// Returns whether it has to do with Consul. Then what operators share is there too: the lock, the journals.
    #[must_use]
    pub fn names_consul(&self) -> bool {
        self.consul.is_some()
            || !matches!(self.registry, Registry::Gateway {})
            || self.health.consul.is_some()
            || self.gateways.iter().any(|gateway| gateway.settings().facts().asks_consul)
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            batches: Batches::default(),
            order: Order::default(),
            min_available: Amount::Count(1),
            max_failures: 0,
            on_failure: OnFailure::Stop,
            progress_deadline: DurationSetting(Duration::from_secs(15 * 60)),
        }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            config: None,
            user: None,
            jump: None,
            host_keys: HostKeys::default(),
            connect_timeout: Self::default_connect_timeout(),
            sudo: false,
        }
    }
}

impl Ssh {
    fn default_connect_timeout() -> DurationSetting {
        DurationSetting::seconds(10)
    }
}

impl Artifact {
    fn default_keep() -> u32 {
        5
    }
}

impl Hook {
    fn default_timeout() -> DurationSetting {
        DurationSetting::seconds(30)
    }
}
