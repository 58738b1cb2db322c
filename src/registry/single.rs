//! One registry: Consul KV, Consul's maintenance mode, or the APIs of gateways.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::gateways::Gateways;
use super::kv::Kv;
use super::service::Service;
use super::switch::{Error, Rights, States, Switch, WriteToken, Written};
use crate::consul::{self, Client, SessionFence};
use crate::gateway::QueryClient;
use crate::spec::{NodeSpec, RegistrySpec, Spec};
use crate::world::{Permit, World};

/// One place where nodes are marked.
#[derive(Debug)]
pub(super) enum Single<W> {
    Kv(Kv<W>),
    Service(Service<W>),
    Gateways(Gateways<W>),
}

impl<W: World> Single<W> {
    /// The registry with this place among those of a release.
    pub(super) fn new(
        world: &Arc<W>,
        consul: &Arc<Client<W>>,
        spec: &Spec,
        (place, registry): (usize, &RegistrySpec),
    ) -> Self {
        match registry {
            RegistrySpec::ConsulKv { prefix } => Self::Kv(Kv::new(consul.clone(), prefix)),
            RegistrySpec::ConsulService { service, extent } => {
                Self::Service(Service::new(consul.clone(), service, *extent, spec))
            }
            RegistrySpec::Gateway => {
                let query_client = QueryClient::new(world.clone(), Some(consul));
                Self::Gateways(Gateways::new(query_client, &spec.gateways, place))
            }
        }
    }

    /// The same registry; its changes on a machine, or at a gateway, need this permit.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        match self {
            // Consul itself refuses writes that are not permitted.
            Self::Kv(kv) => Self::Kv(kv),
            Self::Service(service) => Self::Service(service.permitted(permit)),
            Self::Gateways(gateways) => Self::Gateways(gateways.permitted(permit)),
        }
    }

    /// Reads every node's switch.
    pub(super) async fn look(&self, spec: &Spec) -> Result<States, String> {
        match self {
            Self::Kv(kv) => kv.look(spec).await,
            Self::Service(service) => service.look(spec).await,
            Self::Gateways(gateways) => Ok(gateways.look(spec).await),
        }
    }

    /// Reads a node's switch.
    pub(super) async fn read(&self, node: &NodeSpec) -> Result<Switch, Error> {
        match self {
            Self::Kv(kv) => kv.read(&node.address).await,
            Self::Service(service) => service.read(node).await,
            Self::Gateways(gateways) => gateways.read(&node.address).await,
        }
    }

    /// Reads one part of a node's switch: its mark at a gateway, by the gateway's place in the playbook, if each
    /// gateway has its own mark. Otherwise the whole switch, which belongs to no gateway. Accepts a read of the
    /// gateway for another node, if it began at `since` or later.
    pub(super) async fn read_part(
        &self,
        node: &NodeSpec,
        gateway: Option<usize>,
        since: Instant,
    ) -> Option<Result<Switch, Error>> {
        match (self, gateway) {
            (Self::Gateways(gateways), Some(at)) => {
                gateways.read_at(at, &node.address, since).await
            }
            (Self::Gateways(_), None) | (_, Some(_)) => None,
            (_, None) => Some(self.read(node).await),
        }
    }

    /// Sets a switch that was [read](Self::read).
    pub(super) async fn write(
        &self,
        guard: &SessionFence,
        node: &NodeSpec,
        switch: &Switch,
        down: bool,
    ) -> Result<Written, Error> {
        match (self, &switch.token) {
            (Self::Kv(kv), WriteToken::Key(entry)) => kv.write(guard, entry, down).await,
            (Self::Service(service), WriteToken::Instance(owned)) => {
                service.write(owned, down).await
            }
            (Self::Gateways(gateways), WriteToken::Gateways(at)) => {
                let may_lack = switch.absent.is_some();
                gateways.write(guard, at, &node.address, down, may_lack).await
            }
            _ => Err(switch.of_another()),
        }
    }

    /// The instances, if Consul reports their changes.
    pub(super) fn reports_changes(&self) -> Option<&Service<W>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Kv(_) | Self::Gateways(_) => None,
        }
    }

    /// Checks whether the switches of the nodes at `addresses` may be set, as far as this can be checked without
    /// setting them.
    pub(super) async fn may_write(
        &self,
        addresses: &BTreeSet<&str>,
    ) -> Result<Rights, consul::Error> {
        match self {
            Self::Kv(kv) => kv.may_write(addresses).await,
            Self::Service(service) => service.may_write().await,
            Self::Gateways(gateways) => gateways.may_write().await,
        }
    }
}
