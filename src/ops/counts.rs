//! The requests in flight at each node, counted once, as `status` shows them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::requests::Counter;
use crate::spec::{CountSpec, NodeSpec, Spec};
use crate::survey::Fleet;
use crate::text;
use crate::world::World;

/// How many nodes are asked at the same time.
const AT_ONCE: usize = 32;

/// How long a count may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number at each node that could be asked, or why it is unknown.
pub type Counts = BTreeMap<String, Result<u64, String>>;

/// Counts with the method of the playbook. Gateways are not read again for it.
pub(super) async fn counts<W: World>(world: &Arc<W>, spec: &Arc<Spec>, fleet: &Fleet) -> Counts {
    let is_read = fleet.gateways.iter().all(|(_, seen)| seen.is_ok());
    // A node that does not answer, and a gateway that cannot be read, is shown as such already.
    let can_be_asked = |node: &Arc<NodeSpec>| {
        let answers = fleet.nodes.get(&node.name).is_some_and(|facts| facts.survey.is_some());
        answers && (is_read || !matches!(node.in_flight, CountSpec::Gateways { .. }))
    };
    let seen = Arc::new(fleet.gateways.clone());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for node in spec.nodes.iter().filter(|node| can_be_asked(node)) {
        let (world, node, spec) = (world.clone(), node.clone(), spec.clone());
        let (seen, places) = (seen.clone(), places.clone());
        tasks.spawn(async move {
            let _place = places.acquire().await;
            let counter = Counter { world: &*world, node: &node, sudo: spec.sudo };
            let count = tokio::time::timeout(PATIENCE, counter.count_seen(&spec, &seen)).await;
            let late = |_| Err(format!("no answer within {}", text::duration(PATIENCE)));
            (node.name.clone(), count.unwrap_or_else(late))
        });
    }
    tasks.join_all().await.into_iter().collect()
}
