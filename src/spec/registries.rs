//! The registries of a release: which gateway follows which, and where a node is marked.

use crate::gateway::GatewaySpec;

use super::gateway::RegistrySpec;
use super::resolved::Spec;

impl Spec {
    /// The registry that a gateway follows.
    #[must_use]
    pub fn registry_of(&self, gateway: &GatewaySpec) -> Option<&RegistrySpec> {
        self.registries.get(gateway.registry)
    }

    /// The place of the registry that a gateway follows, by the gateway's place.
    #[must_use]
    pub fn registry_at(&self, gateway: usize) -> usize {
        self.gateways.get(gateway).map_or(0, |gateway| gateway.registry)
    }

    /// The written entries of the node at `address`, for messages: one for each registry.
    #[must_use]
    pub fn places(&self, address: &str) -> Vec<String> {
        let places = self.registries.iter().enumerate();
        places.map(|(at, registry)| registry.place(address, &self.marked_at(at))).collect()
    }

    /// The written entries of the node at `address` in one line.
    #[must_use]
    pub fn place(&self, address: &str) -> String {
        self.places(address).join(", ")
    }

    /// Describes the gateways that mark nodes for a registry.
    fn marked_at(&self, registry: usize) -> String {
        if self.registries.len() == 1 {
            return "every gateway".to_owned();
        }
        self.followers(registry).join(", ")
    }

    /// The names of the gateways that follow a registry.
    #[must_use]
    pub fn followers(&self, registry: usize) -> Vec<&str> {
        let own = self.gateways.iter().filter(|gateway| gateway.registry == registry);
        own.map(|gateway| gateway.name.as_str()).collect()
    }
}
