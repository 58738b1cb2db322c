//! Where nodes are marked, and who follows.

use crate::gateway::drivers::consul_passing::ConsulPassing;
use crate::gateway::{Gateway, GatewaySpec};
use crate::playbook::Extent;
use crate::template::Template;

/// Where nodes are marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrySpec {
    /// In Consul KV, below a prefix.
    ConsulKv {
        /// The folder of the keys.
        prefix: String,
    },
    /// By the maintenance mode of their instances in Consul.
    ConsulService {
        /// The service's name.
        service: String,
        /// What is put into maintenance.
        extent: Extent,
    },
    /// At each gateway.
    Gateway,
}

impl RegistrySpec {
    /// What is written for the node at `address`, for people.
    #[must_use]
    pub fn place(&self, address: &str) -> String {
        match self {
            Self::ConsulKv { prefix } => format!("{prefix}{address}"),
            Self::ConsulService { service, .. } => format!("{service} at {address}"),
            Self::Gateway => format!("{address} at every gateway"),
        }
    }

    /// What shows that a switch was turned, where no gateway of the playbook shows just that: Consul's list of passing
    /// instances. Maintenance that ends is not yet an instance that passes.
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
            nodes,
        })
    }
}
