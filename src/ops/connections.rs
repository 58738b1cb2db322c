//! The world of a playbook, and the Consul that operators share.

use std::sync::Arc;
use std::time::Duration;

use crate::consul::Client;
use crate::playbook::Playbook;
use crate::world::World;

/// The connections of a use case.
pub struct Connections<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul.
    pub consul: Arc<Client<W>>,
    is_shared: bool,
}

impl<W: World> Connections<W> {
    /// Makes the connections of a playbook.
    #[must_use]
    pub fn new(world: Arc<W>, consul: Arc<Client<W>>, playbook: &Playbook) -> Self {
        Self { world, consul, is_shared: playbook.names_consul() }
    }

    /// Returns Consul if the playbook uses it. The data that operators share is there.
    #[must_use]
    pub fn shared(&self) -> Option<&Client<W>> {
        self.is_shared.then_some(self.consul.as_ref())
    }

    /// Returns the same client with a time limit, for queries that are not essential.
    #[must_use]
    pub fn shared_in_passing(&self, patience: Duration) -> Option<Client<W>> {
        self.shared().map(|consul| consul.with_patience(patience))
    }
}
