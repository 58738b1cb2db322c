//! The registry in which nodes are marked, and how gateways follow it.

use crate::gateway::drivers::consul_passing::ConsulPassing;
use crate::gateway::{Gateway, GatewaySpec};
use crate::playbook::Extent;
use crate::template::Template;
use crate::world::Trust;

/// The registry in which nodes are marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrySpec {
    /// In Consul KV, below a prefix.
    ConsulKv {
        /// The folder of the keys.
        prefix: String,
    },
    /// The maintenance mode of the nodes' instances in Consul.
    ConsulService {
        /// The service's name.
        service: String,
        /// What is put into maintenance.
        extent: Extent,
    },
    /// Each gateway itself.
    Gateway,
}

impl RegistrySpec {
    /// The written entry of the node at `address`, for messages.
    #[must_use]
    pub fn place(&self, address: &str) -> String {
        match self {
            Self::ConsulKv { prefix } => format!("{prefix}{address}"),
            Self::ConsulService { service, .. } => format!("{service} at {address}"),
            Self::Gateway => format!("{address} at every gateway"),
        }
    }

    /// Consul's list of passing instances, which confirms a registry write where no gateway of the playbook
    /// shows exactly that list. An instance whose maintenance ends does not pass immediately.
    pub(super) fn witness(
        &self,
        gateways: &[GatewaySpec],
        nodes: Vec<String>,
    ) -> Option<GatewaySpec> {
        let Self::ConsulService { service, .. } = self else { return None };
        let is_there = gateways.iter().any(|gateway| match &gateway.settings {
            Gateway::ConsulPassing(own) => own.service.as_str() == service,
            _ => false,
        });
        (!is_there).then(|| GatewaySpec {
            name: "consul".to_owned(),
            settings: Gateway::ConsulPassing(ConsulPassing {
                name: None,
                service: Template::new(service.clone()),
                sync_interval: None,
            }),
            trust: Trust::default(),
            nodes,
        })
    }
}
