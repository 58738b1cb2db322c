//! ## consul-passing
//!
//! | gateway | `registry` | a playbook |
//! |---|---|---|
//! | any gateway that follows health and does not show its list | `consul-service` | [consul-service](../playbooks/consul-service.yaml) |
//!
//! A gateway that follows Consul's list of passing instances, and does not show its own list.
//!
//! ```yaml
//! gateways:
//!   - { type: consul-passing, service: app, sync_interval: 5s }
//! ```
//!
//! A node is confirmed out after Consul's list of passing instances has not had it for `sync_interval`. It is confirmed
//! in after the list has had it for that time.

#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::consul::{Instance, passing};
use crate::gateway::driver::{Driver, Facts, Purpose, unseen};
use crate::gateway::query::{Query, first, ok};
use crate::gateway::settings::{RegistryKind, Settings, SettingsFacts, follows_only, templates};
use crate::gateway::view::{Nodes, Peer, View};
use crate::period::DurationSetting;
use crate::template::Template;
use crate::world::Reply;

/// Consul's list of passing instances, for gateways that follow it and do not show their own list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulPassing {
    /// Its name in messages. Default: the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The service's name in Consul.
    pub service: Template,
    /// How long the gateway may take to follow the list: its polling interval. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<DurationSetting>,
}

impl Settings for ConsulPassing {
    templates!(service);

    fn facts(&self) -> SettingsFacts<'_> {
        SettingsFacts {
            name: self.name.as_deref(),
            place: ("service", self.service.as_str()),
            asks_consul: true,
            incompatible_with: follows_only(
                RegistryKind::ConsulService,
                "it follows the health of a service in Consul",
            ),
            ..SettingsFacts::default()
        }
    }
}

/// Consul's own list of passing instances, for a gateway that follows it and does not show its own list. It also
/// confirms maintenance mode itself.
///
/// An instance in maintenance has one more critical check and leaves the list at once (measured on 1.8.7: 1 ms
/// after the answer to the `PUT`). When maintenance ends, it returns only if its own checks pass. The list confirms
/// that, the answer to the `PUT` does not.
pub(super) struct ConsulPassingDriver {
    facts: Facts,
    service: String,
    nodes: Nodes,
}

impl ConsulPassingDriver {
    pub(super) fn new(settings: &ConsulPassing, nodes: Nodes) -> Self {
        let interval = settings.sync_interval.map_or(Duration::ZERO, |period| period.0);
        let list = "Consul's list of passing instances";
        let facts = Facts::following(list, interval);
        let confirmed_when = unseen(list, interval);
        Self {
            // Consul handles no requests for nodes.
            facts: Facts { has_requests: false, confirmed_when, ..facts },
            service: settings.service.as_str().to_owned(),
            nodes,
        }
    }
}

impl Driver for ConsulPassingDriver {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn queries(&self, purpose: Purpose<'_>) -> Vec<Query> {
        match purpose {
            Purpose::Look | Purpose::Probe => {
                let (path, query) = passing(&self.service);
                vec![Query::Consul(path, query)]
            }
            Purpose::Rotation | Purpose::Count(_) => Vec::new(),
        }
    }

    fn read(&self, replies: &[Reply]) -> Result<View, String> {
        let reply = first(replies)?;
        let instances = Instance::of_health(&ok(reply)?.body)?;
        let peer = Peer { up: true, failing_check: false, in_flight: None };
        let named = |instance: Instance| (self.nodes.name(&instance.address), peer);
        let peers = instances.into_iter().map(named).collect();
        Ok(View { peers, ..View::default() })
    }
}
