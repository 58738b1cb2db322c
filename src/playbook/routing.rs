//! Where a node's availability is written: Consul and the registry.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::On;
use crate::gateway::RegistryKind;
use crate::template::Template;

/// Where Consul is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consul {
    /// `http://`, `https://` or `unix://`; tried in turn. Default: `CONSUL_HTTP_ADDR`, or this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Template>,
    /// A PEM file with the only authorities that may have signed Consul's certificate; relative to the
    /// playbook. Default: `CONSUL_CACERT`, `CONSUL_CAPATH`, or those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The ACL token; may name a secret. Default: `CONSUL_HTTP_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Template>,
    /// The datacenter. Default: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<Template>,
}

/// Where a node's availability is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Registry {
    /// One key per node in Consul's KV store, `<prefix><address>`, with a JSON value that has `down`.
    ConsulKv {
        /// The folder of the keys, ending in `/`.
        prefix: Template,
    },
    /// Maintenance mode of the node's instance of a service, at the Consul agent that owns it.
    ConsulService {
        /// The service's name in Consul.
        service: Template,
        /// The HTTP address of the agent that owns a node's instance. It can differ between nodes. Default: the
        /// address of the agent in Consul's catalog, with the scheme and port of `consul.addresses`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Template>,
        /// From where the agent is asked: `node` for an agent that listens only on its own machine, which is
        /// Consul's default. Then the default of `agent` is `http://127.0.0.1:8500`, and the node needs `curl`.
        #[serde(default = "On::local", skip_serializing_if = "On::is_local")]
        agent_on: On,
        /// What is put into maintenance.
        #[serde(default)]
        maintenance: Extent,
    },
    /// The gateways' own APIs: a node is marked at each of them.
    Gateway {},
}

/// What is put into maintenance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// The node's instance of the service. A service that deregisters itself, or registers itself with
    /// `replace-existing-checks`, ends it. It is put back at once, but gateways may have noticed.
    #[default]
    Instance,
    /// Everything that the agent owns, which must be only this instance. No registration ends it.
    Node,
}

impl Registry {
    /// Its `type`.
    #[must_use]
    pub fn kind(&self) -> RegistryKind {
        match self {
            Self::ConsulKv { .. } => RegistryKind::ConsulKv,
            Self::ConsulService { .. } => RegistryKind::ConsulService,
            Self::Gateway {} => RegistryKind::Gateway,
        }
    }
}
