//! The keys of a gateway that follows Consul's list of passing instances and shows nothing of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, follows_health, templates};
use crate::playbook::{Period, Registry, Template};

/// Consul's list of passing instances, for gateways that follow it and show nothing of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulPassing {
    /// What it is called in messages. Default: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The service's name in Consul.
    pub service: Template,
    /// How long the gateway may take to follow the list: its polling interval. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

impl Settings for ConsulPassing {
    templates!(service);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("service", self.service.as_str())
    }

    fn asks_consul(&self) -> bool {
        true
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        follows_health(registry)
    }
}
