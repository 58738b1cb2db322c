//! The world of a playbook, and the Consul that operators share.

use std::sync::Arc;
use std::time::Duration;

use crate::consul::Client;
use crate::playbook::Playbook;
use crate::world::World;

/// How long Consul may take for one answer that is not essential.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The connections of a use case.
pub struct Connections<W> {
    /// The world.
    pub world: Arc<W>,
    /// Consul, for what is read before anything is changed.
    pub consul: Arc<Client<W>>,
    /// Consul, for a release. It has more patience with servers that refuse connections.
    pub consul_of_release: Arc<Client<W>>,
    is_shared: bool,
}

impl<W: World> Connections<W> {
    /// Makes the connections of a playbook.
    #[must_use]
    pub fn new(world: Arc<W>, consul: Arc<Client<W>>, playbook: &Playbook) -> Self {
        let before = Arc::new(consul.before_a_change());
        let is_shared = playbook.names_consul();
        Self { world, consul: before, consul_of_release: consul, is_shared }
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
