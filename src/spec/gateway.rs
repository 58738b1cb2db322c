//! The registries in which nodes are marked, and how gateways follow them.

use crate::gateway::drivers::consul_passing::ConsulPassing;
use crate::gateway::{Gateway, GatewaySpec};
use crate::playbook::Extent;
use crate::template::Template;
use crate::world::Trust;

/// The name of Consul's own list among the gateways.
const WITNESS: &str = "consul";

/// A registry in which nodes are marked.
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
    /// The written entry of the node at `address`, for messages; `gateways` says where gateways mark nodes.
    pub(super) fn place(&self, address: &str, gateways: &str) -> String {
        match self {
            Self::ConsulKv { prefix } => format!("{prefix}{address}"),
            Self::ConsulService { service, .. } => format!("{service} at {address}"),
            Self::Gateway => format!("{address} at {gateways}"),
        }
    }

    /// Consul's list of passing instances, which confirms a registry write where no gateway of the playbook
    /// shows exactly that list. An instance whose maintenance ends does not pass immediately.
    fn witness(&self, registry: usize, gateways: &[GatewaySpec]) -> Option<GatewaySpec> {
        let Self::ConsulService { service, .. } = self else { return None };
        let shows = |gateway: &GatewaySpec| match &gateway.settings {
            Gateway::ConsulPassing(own) => own.service.as_str() == service,
            _ => false,
        };
        let is_there = gateways.iter().any(shows);
        let is_taken = registry > 0 && gateways.iter().any(|gateway| gateway.name == WITNESS);
        let name = if is_taken { format!("{WITNESS} ({service})") } else { WITNESS.to_owned() };
        (!is_there).then(|| GatewaySpec {
            name,
            settings: Gateway::ConsulPassing(ConsulPassing {
                name: None,
                service: Template::new(service.clone()),
                sync_interval: None,
            }),
            trust: Trust::default(),
            nodes: gateways.first().map(|gateway| gateway.nodes.clone()).unwrap_or_default(),
            registry,
        })
    }
}

/// Adds Consul's list for each registry that needs it.
pub(super) fn add_witnesses(registries: &[RegistrySpec], gateways: &mut Vec<GatewaySpec>) {
    for (at, registry) in registries.iter().enumerate() {
        let witness = registry.witness(at, gateways);
        gateways.extend(witness);
    }
}
