//! Watches the nodes that serve, and checks them at once when a decision depends on them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::Context;
use super::pool::{PERIOD, Part, Shown};
use crate::consul::Index;
use crate::gateway::Observation;
use crate::health::Gate;
use crate::spec::NodeSpec;
use crate::world::World;

/// Maximum number of checks in parallel.
const AT_ONCE: usize = 32;

/// How long a gateway may show a finished node as not routed, beyond twice its lag: it may be reloading.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum time to inspect a node's processes. A timed-out inspection proves nothing.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum age of a gateway read made for another purpose, while no decision depends on it.
const LATELY: Duration = Duration::from_millis(500);

/// Pause between two reads of a gateway that does not show the expected state.
const PAUSE: Duration = Duration::from_millis(250);

/// What is said about a gateway whose list has none of the nodes.
pub(super) fn no_node_listed(gateway: &str, seen: &Observation) -> String {
    let only = seen.strangers().map_or(String::new(), |others| format!(", only {others}"));
    format!("{gateway} lists no node of the playbook{only}")
}

impl<W: World> Context<W> {
    /// Watches the nodes that serve until the release ends.
    pub(super) async fn watch_pool(self: Arc<Self>) {
        let checks = async {
            loop {
                let (due, next) =
                    self.pool.due(|name| Some(self.nodes.get(name)?.node.health.interval));
                if due.is_empty() {
                    tokio::time::sleep_until(next).await;
                } else {
                    self.check(due, false).await;
                }
            }
        };
        let routes = async {
            loop {
                tokio::time::sleep(PERIOD).await;
                let _ = self.check_routes(false).await;
            }
        };
        tokio::join!(checks, routes);
    }

    /// Checks the nodes for which it is unknown whether they serve.
    pub(super) async fn find_unwell(self: &Arc<Self>) {
        self.check(self.pool.unsettled(&self.spec), true).await;
    }

    /// Checks the finished nodes, and their entries at the gateways, until it is known whether each is healthy. When
    /// this returns, an unhealthy node counts as failed.
    pub(super) async fn verify_done(self: &Arc<Self>) {
        let ((), _) =
            tokio::join!(self.check(self.pool.done_last(), true), self.check_routes(true));
    }

    /// Checks every node that serves in the same way, when no action is left.
    ///
    /// # Errors
    ///
    /// When a node could not be verified, or is unhealthy although the release did not change it.
    pub(super) async fn verify_all(self: &Arc<Self>) -> Result<(), String> {
        let checks = self.check(self.pool.names(), true);
        let ((), routes) = tokio::join!(checks, self.check_routes(true));
        routes.and_then(|()| self.pool.unverified().map_or(Ok(()), Err))
    }

    /// Checks these nodes: once, or until each is known to be healthy or unhealthy.
    async fn check(self: &Arc<Self>, names: Vec<String>, decide: bool) {
        let mut names = names.into_iter();
        let mut checks = JoinSet::new();
        loop {
            while checks.len() < AT_ONCE
                && let Some(name) = names.next()
            {
                checks.spawn(self.clone().check_node(name, decide));
            }
            if checks.join_next().await.is_none() {
                return;
            }
        }
    }

    async fn check_node(self: Arc<Self>, name: String, decide: bool) {
        loop {
            let Some(part) = self.pool.begin_check(&name) else { return };
            let Some(node) = self.member(&name, part) else { return };
            let gate = Gate {
                world: self.world.clone(),
                consul: self.consul.clone(),
                node: node.clone(),
                mark: None,
                sudo: self.spec.sudo,
                any_version: matches!(part, Part::Other | Part::Blocked),
                same_version: false,
            };
            let looks = part.counts() && (decide || !self.pool.knows_processes(&name));
            let processes = async {
                if !looks {
                    return None;
                }
                tokio::time::timeout(PROCESS_TIMEOUT, gate.owners()).await.ok().flatten()
            };
            let mut index = Index::default();
            let (found, processes) = tokio::join!(gate.look(&mut index), processes);
            match self.pool.note(node, part, found, processes) {
                Shown::Fallen(failure) => return self.pool.fell(name, part, failure),
                Shown::Doubt if decide => tokio::time::sleep(node.health.interval).await,
                Shown::Doubt | Shown::Enough => return,
            }
        }
    }

    /// Returns the specification that a node should match.
    fn member(&self, name: &str, part: Part) -> Option<&Arc<NodeSpec>> {
        let known = self.nodes.get(name)?;
        match part {
            Part::RolledBack => Some(known.back.as_ref().unwrap_or(&known.node)),
            Part::Done | Part::AsPlanned | Part::Other | Part::Blocked => Some(&known.node),
        }
    }

    /// Reads every gateway: once, or until each routes to all finished nodes or has failed to for too long.
    async fn check_routes(self: &Arc<Self>, decide: bool) -> Result<(), String> {
        if !self.pool.has_done() {
            return Ok(());
        }
        let looks = (0..self.gateways.len()).map(|place| self.clone().check_gateway(place, decide));
        let looks = looks.collect::<JoinSet<_>>().join_all().await;
        looks.into_iter().collect()
    }

    async fn check_gateway(self: Arc<Self>, place: usize, decide: bool) -> Result<(), String> {
        let Some(gateway) = self.gateways.get(place) else { return Ok(()) };
        let (begun, patience) = (Instant::now(), PATIENCE + 2 * gateway.lag());
        loop {
            let since = if decide { Instant::now() } else { Instant::now() - LATELY };
            let unread = match gateway.observe_since(since).await {
                // A list without the playbook's nodes is a fault of the gateway, not of a node: it must not remove a
                // node from rotation.
                Ok(seen) if seen.listed_nodes() == 0 => Some(no_node_listed(gateway.name(), &seen)),
                Ok(seen) => {
                    let noted = self.pool.note_routes(&self.spec, gateway.name(), &seen, patience);
                    for (name, part, failure) in noted.0 {
                        self.pool.fell(name, part, failure);
                    }
                    if !noted.1 {
                        return Ok(());
                    }
                    None
                }
                // A failed read proves nothing.
                Err(problem) => Some(format!("{} cannot be read: {problem}", gateway.name())),
            };
            if !decide || (unread.is_some() && begun.elapsed() >= patience) {
                return unread.map_or(Ok(()), Err);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
