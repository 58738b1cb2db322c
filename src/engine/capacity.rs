//! Capacity, as the gateways see it, looked at right before each removal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::node::{NodeRun, Trouble};
use crate::event::{Fact, Step};
use crate::gateway::Observation;
use crate::spec::Spec;
use crate::text::count;
use crate::world::World;

/// How long to wait for nodes that a gateway holds out for the moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// How many looks in a row must find nothing once one of them did: a look may miss a worker, and trying again and
/// again finds a look that does.
const LOOKS_IN_DOUBT: u32 = 3;

/// Nodes that this release has taken and not yet seen back, although a gateway may still show them.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    leaving: BTreeSet<String>,
}

impl Capacity {
    /// The node at `address` is in rotation again.
    pub(super) fn is_back(&mut self, address: &str) {
        self.leaving.remove(address);
    }
}

/// Returns why the node at `address` may not be taken, judged by what one gateway shows.
pub(super) fn objection(
    spec: &Spec,
    gateway: &str,
    seen: &Observation,
    leaving: &BTreeSet<String>,
    address: &str,
) -> Option<String> {
    let routed = |other: &str| seen.routes_to(other) && !leaving.contains(other);
    // A node that any worker still routes to serves somebody; one that stays must be routed to by all.
    if leaving.contains(address) || !seen.routes_somewhere_to(address) {
        return None;
    }
    let others = spec.nodes.iter().filter(|node| node.address != address);
    let (stay, gone): (Vec<_>, Vec<_>) = others.partition(|node| routed(&node.address));
    let floor = spec.floor();
    if stay.len() >= floor {
        return None;
    }
    let gone: Vec<_> = gone.iter().map(|node| node.name.as_str()).collect();
    let because = match gone.as_slice() {
        [] => String::new(),
        names => format!(" ({} not routed there)", names.join(", ")),
    };
    Some(format!(
        "{gateway} would route to {} only, fewer than {floor}{because}",
        count(stay.len(), "node"),
    ))
}

impl<W: World> NodeRun<W> {
    /// Waits until the node may be taken without leaving too few at any gateway, and takes it.
    pub(super) async fn take(&self, step: Step) -> Result<(), Trouble> {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 1;
        loop {
            if self.shared.too_many_failed() && !self.goes_back() {
                return Err(Trouble::NotTaken);
            }
            let problem = match self.try_to_take(looks).await {
                Ok(routed) => return self.record(Some(step), Fact::CapacitySeen { routed }).await,
                Err(problem) => problem,
            };
            looks = LOOKS_IN_DOUBT;
            if Instant::now() + PAUSE >= deadline {
                return Err(Trouble::from(format!("not taken: {problem}")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.tell(step, format!("waits for capacity: {problem}"), None, left);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks at every gateway so many times and takes the node, or says what stands against it. One node at a time.
    async fn try_to_take(&self, looks: u32) -> Result<BTreeMap<String, usize>, String> {
        let (spec, address) = (&self.shared.spec, &self.node.address);
        let mut capacity = self.shared.capacity.lock().await;
        let mut routed = BTreeMap::new();
        for gateway in (0..looks).flat_map(|_| &self.shared.gateways) {
            let name = gateway.name();
            let seen = gateway.observe().await;
            let seen = seen.map_err(|error| format!("{name} cannot be read: {error}"))?;
            let problem = objection(spec, name, &seen, &capacity.leaving, address);
            problem.map_or(Ok(()), Err)?;
            routed.insert(name.to_owned(), seen.serving(spec));
        }
        capacity.leaving.insert(address.clone());
        Ok(routed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::spec::Inputs;

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
        let objection = |seen: &Observation, leaving: &[&str]| {
            let leaving = leaving.iter().map(ToString::to_string).collect();
            objection(&spec, "gw", seen, &leaving, "10.0.1.1:80")
        };
        assert_eq!(objection(&seen, &[]), None);
        // A gateway that has not noticed yet that `b` is leaving does not count it as staying.
        assert_eq!(
            objection(&seen, &["10.0.1.2:80"]).as_deref(),
            Some("gw would route to 1 node only, fewer than 2 (b not routed there)")
        );
        seen.routed.insert("10.0.1.3:80".into(), false);
        assert!(objection(&seen, &[]).is_some());
        seen.routed.insert("10.0.1.1:80".into(), false);
        assert!(objection(&seen, &[]).is_some(), "some worker still routes to it");
        seen.routed_somewhere.insert("10.0.1.1:80".into(), false);
        assert_eq!(objection(&seen, &[]), None, "who is out costs nothing");
    }
}
