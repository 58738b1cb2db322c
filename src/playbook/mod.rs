//! The playbook. Its types are the reference, for serde, for the JSON Schema and for the reader.
//!
//! [`load`] reads a file in these steps: text → tree with positions (`yaml`) → all structural problems
//! (`structure`, with the schema of these types) → these types → all problems of meaning (`rules`). The result is a
//! [`Playbook`] that is valid as a file.

mod difference;
mod drain;
mod files;
mod findings;
mod health;
mod hidden;
mod http_check;
mod invalid_paths;
mod load;
mod restart;
mod routing;
mod rules;
mod scalar;
mod schema;
mod setup;
mod step;
mod structure;
mod tree;
mod values;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::diagnostic::{Invalid, Problem, Source};
pub use crate::gateway::Gateway;
pub use crate::period::DurationSetting;
pub use crate::template::{Names, Template, TemplateError};
pub use difference::{Difference, all_differences, differences};
pub use drain::{Drain, InFlight, Metric, OnTimeout, Sockets};
pub use health::{ConsulCheck, Health, Identity};
pub use http_check::{BasicAuth, HttpCheckSettings, HttpCheckSpec, HttpMethod, Statuses};
pub use load::{Loaded, glance, load, load_text, schema};
pub use routing::{Consul, Extent, Registry};
pub use rules::{Misplaced, misplaced};
pub use setup::GatewaySetup;
pub use step::StepSpec;
pub use values::{Amount, Batches, CommandSpec, TcpCheckSpec};

/// How one service is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// The service's name: lower-case letters, digits, `-`, `_`, `.`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub service: String,
    /// Values for a release, usable as `${{ name }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    /// Values that are never printed and never in a journal, usable as `${{ secrets.name }}` where a key allows it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Where Consul is. Default: the `CONSUL_*` environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<Consul>,
    /// Where a node's availability is written. Not needed if every gateway has its own `registry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// The proxies that route to the nodes.
    #[schemars(length(min = 1))]
    pub gateways: Vec<GatewaySetup>,
    /// How the nodes are reached.
    #[serde(default)]
    pub ssh: Ssh,
    /// The instances of the service.
    #[schemars(length(min = 1))]
    pub nodes: Vec<Node>,
    /// The files that are put on the nodes. Without it the playbook only restarts the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// How many nodes at a time, in which order, and when to stop.
    #[serde(default)]
    pub strategy: Strategy,
    /// How the release waits for requests in flight.
    #[serde(default)]
    pub drain: Drain,
    /// Stops the service on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<CommandSpec>,
    /// Starts the service on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CommandSpec>,
    /// Stops and starts the service in one command, instead of `stop` and `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<CommandSpec>,
    /// The steps for each node, in order. Default: all steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepSpec>>,
    /// The checks that show that a node's new process can serve.
    pub health: Health,
    /// Commands around the release.
    #[serde(default)]
    pub hooks: Hooks,
}

/// A value for a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Refuse to start without a value, or with an empty value that no `pattern` accepts.
    #[serde(default)]
    pub required: bool,
    /// The value if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A regular expression that the value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
}

/// The source of a secret: one of the two.
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

/// How the nodes are reached, in addition to the user's own ssh configuration, which is always used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// A file that replaces `~/.ssh/config`, as for `ssh -F`; relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// The user for the login, if the destination and the configuration name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A host to jump through, as for `ssh -J`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// What to do with a host whose key is unknown.
    #[serde(default)]
    pub host_keys: HostKeys,
    /// The time limit for connecting and logging in.
    #[serde(default = "Ssh::default_connect_timeout")]
    pub connect_timeout: DurationSetting,
    /// Run commands as root through `sudo -n`.
    #[serde(default)]
    pub sudo: bool,
}

/// What to do with a host whose key is unknown. A changed key is always refused.
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
    /// Its name in messages. Default: its ssh destination's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
    pub name: Option<String>,
    /// Where its commands run: `[user@]host[:port]`, an alias of the user's ssh configuration, or `local`.
    pub ssh: String,
    /// The `host:port` at which gateways know it.
    pub address: String,
    /// The HTTP address of the Consul agent that owns its instance. Replaces `registry.agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Template>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its own values, usable as `${{ node.vars.name }}`; they also replace variables in `${{ name }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
}

/// The files that are put on the nodes, before any node leaves rotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// An archive (`.tar.gz`, `.tar.xz`, `.tar.bz2`, `.tar.zst`, `.tar`, `.zip`), or any other single file; relative to
    /// the playbook.
    pub source: Template,
    /// Whether an archive is unpacked on the node. Otherwise it is put into the release's folder as a single file.
    #[serde(default = "Artifact::default_unpack", skip_serializing_if = "Clone::clone")]
    pub unpack: bool,
    /// Its SHA-256, if it is known in advance.
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
    /// How many nodes stay routed at every gateway, in any case. Never less than 1.
    pub min_available: Amount,
    /// How many nodes may fail in the whole release before it stops. Unreachable nodes count.
    pub max_failures: u32,
    /// What happens when more nodes have failed.
    pub on_failure: OnFailure,
    /// The release stops if no step ends for this time.
    pub progress_deadline: DurationSetting,
}

/// Which nodes go first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nodes that are already out of rotation, then nodes on which nothing listens, because they cost no capacity;
    /// then the order of the playbook.
    #[default]
    OutFirst,
    /// The order of the playbook.
    Listed,
}

/// What happens when a node has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The failed node stays out, the others serve, and a person decides.
    #[default]
    Stop,
    /// The failed node returns to what it ran before, and the release stops.
    RollbackNode,
    /// The failed node and every updated node return to what they ran before.
    RollbackAll,
    /// The failed node stays out, and the release continues while enough nodes stay routed.
    Continue,
}

/// Commands around the release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// The failure report shows its output: for example the last log lines of the service.
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
    /// The command is ended after this time.
    #[serde(default = "Hook::default_timeout")]
    pub timeout: DurationSetting,
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// On the node.
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
    /// The variable with the version: the value that a node's identity must equal.
    #[must_use]
    pub fn version_variable(&self) -> Option<(&str, &Variable)> {
        let name = self.health.identity.as_ref()?.equals.only_name()?;
        self.variables.get_key_value(name).map(|(name, variable)| (name.as_str(), variable))
    }

    /// The files with authorities for certificates, each with its key.
    pub fn authorities(&self) -> impl Iterator<Item = (String, &Path)> {
        let consul = self.consul.iter().filter_map(|consul| consul.ca.as_deref());
        let health = self.health.http.iter().filter_map(|http| http.0.ca.as_deref());
        let drain = match &self.drain.in_flight {
            Some(InFlight::Http(metric)) => metric.ca.as_deref(),
            Some(InFlight::Sockets(_) | InFlight::Gateways) | None => None,
        };
        let gateways = self.gateways.iter().enumerate().filter_map(|(index, gateway)| {
            let ca = gateway.gateway.settings().facts().ca?;
            Some((format!("gateways[{index}].ca"), ca))
        });
        consul
            .map(|ca| ("consul.ca".to_owned(), ca))
            .chain(health.map(|ca| ("health.http.ca".to_owned(), ca)))
            .chain(drain.map(|ca| ("drain.in_flight.http.ca".to_owned(), ca)))
            .chain(gateways)
    }

    /// Returns what an operator must know about the playbook, at each command.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let is_insecure = self.health.http.as_ref().is_some_and(|http| http.0.insecure);
        let warning = "`health.http.insecure` is set: the certificate of the service is not checked, so any server \
                       can answer its health check";
        is_insecure.then(|| warning.to_owned()).into_iter().collect()
    }

    /// Returns whether it uses Consul. Then the shared data is in Consul, too: the lock and the journals.
    #[must_use]
    pub fn names_consul(&self) -> bool {
        self.consul.is_some()
            || self.registries().any(|(_, registry)| !matches!(registry, Registry::Gateway {}))
            || self.health.consul.is_some()
            || self.gateways.iter().any(|setup| setup.gateway.settings().facts().asks_consul)
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
    fn default_unpack() -> bool {
        true
    }

    fn default_keep() -> u32 {
        5
    }
}

impl Hook {
    fn default_timeout() -> DurationSetting {
        DurationSetting::seconds(30)
    }
}
