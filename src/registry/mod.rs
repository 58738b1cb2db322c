//! The registry: where a node's availability is written, and read back.
//!
//! Each node has a switch: a key in Consul KV, the maintenance mode of its instance in Consul, or its mark at every
//! gateway. A switch is always read before it is set, and it is set based on that state.

mod agents;
mod changes;
mod gateways;
mod kv;
mod owned;
mod service;
mod switch;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::consul::{self, Client, SessionFence};
use crate::gateway::QueryClient;
use crate::spec::{NodeSpec, RegistrySpec, Spec};
use crate::world::{Permit, World};

use gateways::Gateways;
use kv::Kv;
use service::Service;
use switch::WriteToken;

pub use changes::Changes;
pub use kv::no_key;
pub use switch::{Error, Look, Rights, States, Switch, Written};
pub use value::{SIZE_LIMIT, ValueError, is_down, with_down};

/// Where the nodes of one service are marked.
#[derive(Debug)]
pub struct Registry<W>(Kind<W>);

#[derive(Debug)]
enum Kind<W> {
    Kv(Kv<W>),
    Service(Service<W>),
    Gateways(Gateways<W>),
}

impl<W: World> Registry<W> {
    /// The registry of a release.
    #[must_use]
    pub fn new(world: &Arc<W>, consul: &Arc<Client<W>>, spec: &Spec) -> Self {
        Self(match &spec.registry {
            RegistrySpec::ConsulKv { prefix } => Kind::Kv(Kv::new(consul.clone(), prefix)),
            RegistrySpec::ConsulService { service, extent } => {
                Kind::Service(Service::new(consul.clone(), service, *extent, spec))
            }
            RegistrySpec::Gateway => {
                let query_client = QueryClient::new(world.clone(), Some(consul));
                Kind::Gateways(Gateways::new(query_client, &spec.gateways))
            }
        })
    }

    /// The same registry; its changes on a machine, or at a gateway, need this permit.
    #[must_use]
    pub fn permitted(self, permit: Permit) -> Self {
        Self(match self.0 {
            // Consul itself refuses writes that are not permitted.
            Kind::Kv(kv) => Kind::Kv(kv),
            Kind::Service(service) => Kind::Service(service.permitted(permit)),
            Kind::Gateways(gateways) => Kind::Gateways(gateways.permitted(permit)),
        })
    }

    /// Returns whether Consul itself refuses a write without the lock. Otherwise the lock must be verified
    /// immediately before the write.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self.0, Kind::Kv(_))
    }

    /// Reads every node's switch.
    ///
    /// # Errors
    ///
    /// If none can be read.
    pub async fn look(&self, spec: &Spec) -> Result<States, String> {
        match &self.0 {
            Kind::Kv(kv) => kv.look(spec).await,
            Kind::Service(service) => service.look(spec).await,
            Kind::Gateways(gateways) => Ok(gateways.look(spec).await),
        }
    }

    /// Reads a node's switch.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or must not be set.
    pub async fn read(&self, node: &NodeSpec) -> Result<Switch, Error> {
        match &self.0 {
            Kind::Kv(kv) => kv.read(&node.address).await,
            Kind::Service(service) => service.read(node).await,
            Kind::Gateways(gateways) => gateways.read(&node.address).await,
        }
    }

    /// Reads one part of a node's switch: its mark at a gateway, by the gateway's place in the playbook, if each
    /// gateway has its own mark. Otherwise the whole switch, which belongs to no gateway. Accepts a read of the
    /// gateway for another node, if it began at `since` or later.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or must not be set.
    pub async fn read_part(
        &self,
        node: &NodeSpec,
        gateway: Option<usize>,
        since: Instant,
    ) -> Option<Result<Switch, Error>> {
        match (&self.0, gateway) {
            (Kind::Gateways(gateways), Some(at)) => {
                gateways.read_at(at, &node.address, since).await
            }
            (Kind::Gateways(_), None) | (_, Some(_)) => None,
            (_, None) => Some(self.read(node).await),
        }
    }

    /// Sets a switch that was [read](Self::read).
    ///
    /// # Errors
    ///
    /// If that was not done, or the result is unknown.
    pub async fn write(
        &self,
        guard: &SessionFence,
        node: &NodeSpec,
        switch: &Switch,
        down: bool,
    ) -> Result<Written, Error> {
        match (&self.0, &switch.token) {
            (Kind::Kv(kv), WriteToken::Key(entry)) => kv.write(guard, entry, down).await,
            (Kind::Service(service), WriteToken::Instance(owned)) => {
                service.write(owned, down).await
            }
            (Kind::Gateways(gateways), WriteToken::Gateways(at)) => {
                let may_lack = switch.absent.is_some();
                gateways.write(guard, at, &node.address, down, may_lack).await
            }
            _ => Err(Error::Failed(format!("{} belongs to another registry", switch.name))),
        }
    }

    /// Waits for changes to switches, if Consul reports them.
    #[must_use]
    pub fn changes(&self) -> Changes<W> {
        Changes::new(match &self.0 {
            Kind::Service(service) => Some(service.clone()),
            Kind::Kv(_) | Kind::Gateways(_) => None,
        })
    }

    /// Checks whether the switches of the nodes at `addresses` may be set, as far as this can be checked without
    /// setting them.
    ///
    /// # Errors
    ///
    /// If the token lacks permission, or Consul cannot be asked.
    pub async fn may_write(&self, addresses: &BTreeSet<&str>) -> Result<Rights, consul::Error> {
        match &self.0 {
            Kind::Kv(kv) => kv.may_write(addresses).await,
            Kind::Service(service) => service.may_write().await,
            Kind::Gateways(gateways) => gateways.may_write().await,
        }
    }
}
