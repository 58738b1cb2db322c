//! Capacity, read from the gateways right before each removal from rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Operation;
use super::outcome::StepError;
use super::pool::Part;
use super::serving::no_node_listed;
use super::worker::{Bound, Looked, NodeWorker};
use crate::gateway::Observation;
use crate::mark::Mark;
use crate::release::{EventKind, Leaving, Step};
use crate::spec::{Spec, names};
use crate::text::because;
use crate::world::World;

/// Maximum wait while gateways temporarily keep other nodes out of rotation.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two reads of the gateways.
const PAUSE: Duration = Duration::from_millis(250);

/// Maximum age of a gateway read when the node is marked down. The journal entry in between may wait for Consul.
const FRESH: Duration = Duration::from_millis(500);

/// Number of consecutive reads that must show no problem after one read showed a problem. A read may miss a worker;
/// with a single read, repeated attempts would eventually pass because of such a miss.
const LOOKS_IN_DOUBT: u32 = 3;

/// The name of a gateway and its observation.
type Sight = (String, Arc<Observation>);

/// Whether removing the node at `address` costs capacity: a worker still routes to it, and it is not leaving already.
fn is_missed(seen: &Observation, leaving: &BTreeSet<String>, address: &str) -> bool {
    seen.routes_somewhere_to(address) && !leaving.contains(address)
}

/// Returns why the node at `address` must stay, judged by the observation of one gateway. Every remaining node must be
/// healthy, and every worker must route to it.
pub(super) fn objection(
    spec: &Spec,
    gateway: &str,
    seen: &Observation,
    leaving: &BTreeSet<String>,
    unwell: &BTreeSet<String>,
    address: &str,
) -> Option<String> {
    let serves =
        |other: &str| seen.routes_to(other) && !leaving.contains(other) && !unwell.contains(other);
    let remaining = spec.remaining(|node| node.address == address, |node| serves(&node.address));
    if !remaining.is_short() {
        return None;
    }
    let (unwell, gone): (Vec<_>, Vec<_>) =
        remaining.idle.iter().partition(|node| unwell.contains(&node.address));
    let because = because(&[(names(&gone), "not routed there"), (names(&unwell), "not healthy")]);
    Some(format!("{gateway} would route to {}{because}", remaining.shortage()))
}

impl<W: World> NodeWorker<W> {
    /// Verifies the finished nodes, waits until enough other nodes serve at every gateway, and reserves this node's
    /// removal.
    pub(super) async fn take(&mut self, step: Step) -> Result<(), StepError> {
        if !self.goes_back() {
            self.context.verify_done().await;
        }
        self.make_room(step).await
    }

    /// Waits until enough other nodes serve at every gateway. A node that serves stays in rotation once too many other
    /// nodes have failed.
    pub(super) async fn make_room(&mut self, step: Step) -> Result<(), StepError> {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 1;
        loop {
            if self.bound() == Bound::Forward && self.context.too_many_failed() {
                return Err(StepError::NotTaken);
            }
            let problem = match self.try_to_take(step, looks).await? {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            looks = LOOKS_IN_DOUBT;
            if Instant::now() + PAUSE >= deadline {
                return Err(StepError::from(format!("not removed from rotation: {problem}")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.tell(step, format!("too little capacity: {problem}"), None, left);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads every gateway `looks` times. Reserves the node's removal, or returns what prevents it.
    async fn try_to_take(
        &mut self,
        step: Step,
        looks: u32,
    ) -> Result<Result<(), String>, StepError> {
        // Read before taking the lock, so that nodes that wait for the lock read in parallel.
        let (mut seen, mut at) = (self.look_around(looks).await, Instant::now());
        let _turn = self.context.turn.clone().lock_owned().await;
        if at.elapsed() >= FRESH / 2 {
            (seen, at) = (self.look_around(looks).await, Instant::now());
        }
        let mut leaving = self.context.leaving();
        if self.state(|state| state.marked != Mark::Down) {
            // A node that is marked up receives requests, even if it is not confirmed yet, and so does a node whose
            // removal had no effect.
            leaving.remove(&self.node.address);
        }
        let dead = self.context.pool.dead(&self.node);
        let is_dead = self.is_still_dead(dead.is_some()).await;
        let room = seen.and_then(|seen| self.find_room(&seen, &leaving, is_dead));
        let routed = match room {
            Ok(routed) => routed,
            Err(problem) => return Ok(Err(problem)),
        };
        self.record(Some(step), EventKind::CapacitySeen { routed }).await?;
        self.looked = Some(Looked { at, is_dead });
        self.context.pool.leave(&self.node.name);
        if let Some(problem) = dead.filter(|_| is_dead) {
            self.tell_of_death(&problem).await?;
        }
        Ok(Ok(()))
    }

    /// Warns that the node has died by itself: otherwise the release seems to remove a node that serves.
    async fn tell_of_death(&self, problem: &str) -> Result<(), StepError> {
        let is_untouched = self.state(|state| !state.resumed && !state.is_changed());
        if !is_untouched
            || self.planned.first_install
            || self.context.operation != Operation::Deploy
        {
            return Ok(());
        }
        let name = &self.node.name;
        let message = format!(
            "{name}: {problem} before this release touched it; its update costs no capacity"
        );
        self.record(None, EventKind::Warning { message }).await
    }

    /// Reads the gateways again if the last read is too old, or if other nodes count on this node again because a write
    /// was not done. Returns whether the node may still leave. Otherwise it stays in rotation.
    pub(super) async fn may_still_leave(&mut self, step: Step) -> Result<bool, StepError> {
        let Some(looked) = self.looked else { return Ok(true) };
        let is_counted = self.state(|state| state.leaving == Leaving::No);
        if looked.at.elapsed() < FRESH && !is_counted {
            return Ok(true);
        }
        let _turn = self.context.turn.clone().lock_owned().await;
        let (seen, at) = (self.look_around(1).await, Instant::now());
        let mut leaving = self.context.leaving();
        leaving.remove(&self.node.address);
        let was_dead = looked.is_dead || self.context.pool.is_dead(&self.node);
        let is_dead = self.is_still_dead(was_dead).await;
        let found = seen.and_then(|seen| self.find_room(&seen, &leaving, is_dead));
        let leaves = found.is_ok();
        if let Ok(routed) = found
            && is_counted
        {
            self.record(Some(step), EventKind::CapacitySeen { routed }).await?;
        }
        if leaves {
            self.looked = Some(Looked { at, is_dead });
        } else if self.bound() != Bound::Out {
            self.context.pool.join(&self.node.name, Part::Other);
        }
        Ok(leaves)
    }

    /// Checks whether the node may serve a version that failed on another node after its health check passed. It may
    /// only if too few other nodes serve and it cannot roll back.
    pub(super) async fn may_enable(&self) -> Result<(), StepError> {
        if self.bound() != Bound::Forward || self.context.operation != Operation::Deploy {
            return Ok(());
        }
        self.context.verify_done().await;
        let Some(fallen) =
            self.context.pool.first_fallen().filter(|_| self.context.too_many_failed())
        else {
            return Ok(());
        };
        let name = &self.node.name;
        let Some(objection) = self.missed_by().await.filter(|_| self.way_back().is_none()) else {
            let reason = format!("not marked up: {fallen} failed with the same version");
            return Err(StepError::from(reason));
        };
        let message = format!(
            "{name} is marked up although {fallen} failed with the same version: without it, {objection}"
        );
        self.record(None, EventKind::Warning { message }).await
    }

    /// Returns why too few other nodes serve without this node, if that is the case.
    async fn missed_by(&self) -> Option<String> {
        let (spec, address) = (&self.context.spec, &self.node.address);
        let leaving = self.context.leaving();
        let unwell = self.context.pool.unwell(spec);
        for gateway in &self.context.gateways {
            let name = gateway.name();
            let problem = match gateway.observe_since(Instant::now()).await {
                Ok(seen) => objection(spec, name, &seen, &leaving, &unwell, address),
                Err(error) => Some(format!("{name} cannot be read: {error}")),
            };
            if problem.is_some() {
                return problem;
            }
        }
        None
    }

    /// Reads every gateway `looks` times. Every read begins after this call.
    async fn look_around(&self, looks: u32) -> Result<Vec<Sight>, String> {
        let mut seen = Vec::new();
        for gateway in (0..looks).flat_map(|_| &self.context.gateways) {
            let name = gateway.name();
            let sight = gateway.observe_since(Instant::now()).await;
            let sight = sight.map_err(|error| format!("{name} cannot be read: {error}"))?;
            seen.push((name.to_owned(), sight));
        }
        Ok(seen)
    }

    /// Whether still nothing listens at this node. A process may have begun since the last check.
    async fn is_still_dead(&self, was_dead: bool) -> bool {
        let (address, timeout) = (&self.node.address, self.node.health.timeout);
        was_dead && self.context.world.exchange(address, &[], timeout).await.is_err()
    }

    /// Returns how many nodes each gateway routes to, or what prevents the removal of this node.
    fn find_room(
        &self,
        seen: &[Sight],
        leaving: &BTreeSet<String>,
        is_dead: bool,
    ) -> Result<BTreeMap<String, usize>, String> {
        let (spec, address) = (&self.context.spec, &self.node.address);
        let unwell = self.context.pool.unwell(spec);
        let serves = self.context.pool.is_known_to_serve(&self.node);
        let mut routed = BTreeMap::new();
        for (name, seen) in seen {
            // The gateway has lost its list, or its answer is wrong. It does not show what the removal costs.
            if serves && seen.listed_nodes() == 0 {
                return Err(no_node_listed(name, seen));
            }
            // A failed node that leaves permanently must not be the last node that could serve, even if it does not
            // serve now.
            let is_missed = !is_dead && is_missed(seen, leaving, address);
            if self.bound() == Bound::Out || is_missed {
                let problem = objection(spec, name, seen, leaving, &unwell, address);
                problem.map_or(Ok(()), Err)?;
            }
            routed.insert(name.clone(), seen.serving());
        }
        Ok(routed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::release::Inputs;

    fn spec(min_available: u32) -> Spec {
        let text = format!(
            "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
nodes: [{{ ssh: a, address: '10.0.1.1:80' }}, {{ ssh: b, address: '10.0.1.2:80' }}, {{ ssh: c, address: '10.0.1.3:80' }}]
stop: stop-it
start: start-it
health: {{ tcp: '${{{{ node.address }}}}' }}
strategy: {{ min_available: {min_available} }}"
        );
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
    }

    #[test]
    fn a_node_may_leave_only_if_enough_others_stay() {
        let spec = spec(2);
        let mut seen = Observation::default();
        for node in &spec.nodes {
            seen.routed.insert(node.address.clone(), true);
            seen.routed_somewhere.insert(node.address.clone(), true);
        }
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let with_unwell = |seen: &Observation, leaving: &[&str], unwell: &[&str]| {
            let (leaving, address) = (set(leaving), "10.0.1.1:80");
            let objects = || objection(&spec, "gw", seen, &leaving, &set(unwell), address);
            is_missed(seen, &leaving, address).then(objects).flatten()
        };
        let objection = |seen: &Observation, leaving: &[&str]| with_unwell(seen, leaving, &[]);
        assert_eq!(objection(&seen, &[]), None);
        // An unhealthy node serves no requests: its removal costs no capacity.
        assert_eq!(with_unwell(&seen, &[], &["10.0.1.1:80"]), None);
        assert_eq!(
            with_unwell(&seen, &["10.0.1.2:80"], &["10.0.1.3:80"]).as_deref(),
            Some(
                "gw would route to 0 nodes only, fewer than 2 (b not routed there; c not healthy)"
            )
        );
        // `b` does not count as remaining although the gateway still routes to it.
        assert_eq!(
            objection(&seen, &["10.0.1.2:80"]).as_deref(),
            Some("gw would route to 1 node only, fewer than 2 (b not routed there)")
        );
        seen.routed.insert("10.0.1.3:80".into(), false);
        assert!(objection(&seen, &[]).is_some());
        seen.routed.insert("10.0.1.1:80".into(), false);
        assert!(objection(&seen, &[]).is_some(), "some worker still routes to it");
        seen.routed_somewhere.insert("10.0.1.1:80".into(), false);
        assert_eq!(objection(&seen, &[]), None, "a node that is out costs nothing");
    }
}
