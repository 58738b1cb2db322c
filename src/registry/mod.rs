//! The registry: where a node's availability is written, and read back.
//!
//! Each node has a switch: a key in Consul KV, the maintenance mode of its instance in Consul, or its mark at every
//! gateway. A switch is always read before it is set, and it is set based on that state.
//!
//! Gateways of one playbook can follow different registries. A node's switch then has one part in each of them. It is
//! read as a whole, it is down or up only if all parts are, and a write sets the parts that differ, one after the other.

mod agents;
mod changes;
mod gateways;
mod kv;
mod owned;
mod service;
mod single;
mod switch;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::consul::{self, Client, SessionFence};
use crate::mark::Mark;
use crate::spec::{NodeSpec, Spec};
use crate::world::{Permit, World};

use single::Single;
use switch::WriteToken;

pub use changes::Changes;
pub use kv::{no_key, no_key_below};
pub use switch::{Error, Look, PartLook, Rights, States, StoredKey, Switch, Written};
pub use value::{SIZE_LIMIT, ValueError, is_down, with_down};

/// Where the nodes of one service are marked: every registry of the playbook, in the order of the spec.
#[derive(Debug)]
pub struct Registry<W>(Vec<Single<W>>);

impl<W: World> Registry<W> {
    /// The registries of a release.
    #[must_use]
    pub fn new(world: &Arc<W>, consul: &Arc<Client<W>>, spec: &Spec) -> Self {
        let registries = spec.registries.iter().enumerate();
        Self(registries.map(|registry| Single::new(world, consul, spec, registry)).collect())
    }

    /// The same registries; their changes on a machine, or at a gateway, need this permit.
    #[must_use]
    pub fn permitted(self, permit: &Permit) -> Self {
        Self(self.0.into_iter().map(|single| single.permitted(permit.clone())).collect())
    }

    /// Reads every node's switch.
    ///
    /// # Errors
    ///
    /// If a registry cannot be read at all.
    pub async fn look(&self, spec: &Spec) -> Result<States, String> {
        if let [only] = self.0.as_slice() {
            return only.look(spec).await;
        }
        let mut all = Vec::new();
        for single in &self.0 {
            all.push(single.look(spec).await?);
        }
        let mut of_node = |name: &str| {
            let looks = all.iter_mut().filter_map(|states| states.remove(name));
            looks.collect::<Result<_, _>>().map(Look::of_all)
        };
        let names = spec.nodes.iter().map(|node| node.name.clone());
        Ok(names.map(|name| (name.clone(), of_node(&name))).collect())
    }

    /// Reads a node's switch.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or must not be set.
    pub async fn read(&self, node: &NodeSpec) -> Result<Switch, Error> {
        if let [only] = self.0.as_slice() {
            return only.read(node).await;
        }
        let mut parts = Vec::new();
        for (place, single) in self.0.iter().enumerate() {
            parts.push((place, single.read(node).await?));
        }
        Ok(Switch::of_parts(parts))
    }

    /// Reads one part of a node's switch: its mark at a gateway, by the gateway's place in the playbook, if that
    /// gateway has its own mark. Otherwise everything that belongs to no gateway. Accepts a read of the gateway for
    /// another node, if it began at `since` or later.
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
        if let [only] = self.0.as_slice() {
            return only.read_part(node, gateway, since).await;
        }
        let (mut parts, mut unread) = (Vec::new(), None);
        for (place, single) in self.0.iter().enumerate() {
            match single.read_part(node, gateway, since).await {
                Some(Ok(switch)) => parts.push((place, switch)),
                Some(Err(error)) => unread = unread.or(Some(error)),
                None => {}
            }
        }
        match unread {
            // What can be read is still watched.
            _ if !parts.is_empty() => Some(Ok(Switch::of_parts(parts))),
            unread => unread.map(Err),
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
        match (self.0.as_slice(), &switch.token) {
            ([only], _) => only.write(guard, node, switch, down).await,
            (_, WriteToken::Parts(parts)) => self.write_parts(guard, node, parts, down).await,
            _ => Err(switch.of_another()),
        }
    }

    /// Sets the parts that differ. Consul KV comes first: it refuses a write without the lock, and then the rest is
    /// left alone.
    async fn write_parts(
        &self,
        guard: &SessionFence,
        node: &NodeSpec,
        parts: &[(usize, Switch)],
        down: bool,
    ) -> Result<Written, Error> {
        let mut begun = false;
        let differ = parts.iter().filter(|(_, switch)| switch.mark != Mark::of(down));
        let mut differ: Vec<_> = differ.collect();
        differ.sort_by_key(|(_, switch)| !switch.is_fenced());
        for (place, switch) in differ {
            let single = self.0.get(*place).ok_or_else(|| switch.of_another())?;
            let written = single.write(guard, node, switch, down).await;
            match written {
                Ok(Written::Done(_)) => begun = true,
                other if begun => return Err(Error::of_the_rest(other)),
                other => return other,
            }
        }
        Ok(Written::Done(0))
    }

    /// Waits for changes to switches, if Consul reports them.
    #[must_use]
    pub fn changes(&self) -> Changes<W> {
        Changes::new(self.0.iter().filter_map(Single::reports_changes).cloned())
    }

    /// Checks, for each registry, whether the switches of the nodes at `addresses` may be set, as far as this can be
    /// checked without setting them. An error says that the token lacks permission, or that Consul cannot be asked.
    pub async fn may_write(
        &self,
        addresses: &BTreeSet<&str>,
    ) -> Vec<Result<Rights, consul::Error>> {
        let mut all = Vec::new();
        for single in &self.0 {
            all.push(single.may_write(addresses).await);
        }
        all
    }
}

#[cfg(test)]
mod tests;
