//! What a gateway shows, without waiting for a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::look::Look;
use super::view::{NAMED, Parameters};

/// The most workers that are distinguished.
const MOST_WORKERS: usize = 1024;

/// The most workers that are kept for each node.
const MOST_ROUTING: usize = 64;

/// What a gateway shows. Only the playbook's nodes of a list are kept, because a list can have thousands of other
/// entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// By address: whether every worker that answered routes there.
    pub routed: BTreeMap<String, bool>,
    /// By address: whether any worker that answered routes there.
    pub routed_somewhere: BTreeMap<String, bool>,
    /// By address: whether every worker's list has the node as out.
    pub out: BTreeMap<String, bool>,
    /// By address: the highest number of requests in flight that a worker reported. `None` if a worker reported
    /// none.
    pub in_flight: BTreeMap<String, Option<u64>>,
    /// By address: the parameters that every worker shows alike.
    pub parameters: BTreeMap<String, Parameters>,
    /// By address: why an entry cannot be read.
    pub unread: BTreeMap<String, String>,
    /// By address: why an entry gets no requests although it is not marked down.
    pub withheld: BTreeMap<String, String>,
    /// How many entries get requests and do not belong to a node of the playbook, at most.
    pub others: usize,
    /// The names of some of them.
    pub other_names: BTreeSet<String>,
    /// The most entries that a reply had.
    pub listed: usize,
    /// Why requests go to all nodes, whatever the list says about them.
    pub overridden: Option<String>,
    /// Why there can be requests in flight that it does not count.
    pub uncounted: Option<String>,
    /// The workers that were distinguished.
    pub workers: BTreeSet<String>,
    /// By address: the distinguished workers that route there, at most some of them.
    pub routing: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// How many replies were read.
    pub reads: u32,
}

impl Observation {
    /// Adds one look. `nodes` are the addresses of the playbook.
    pub(super) fn take(&mut self, look: &Look, nodes: &[String]) {
        let Look { worker, view, .. } = look;
        self.reads += 1;
        let first = self.reads == 1;
        let worker: Option<Arc<str>> =
            worker.as_ref().map(|name| crate::text::line(name, 60).into());
        for address in nodes {
            let Some(peer) = view.peers.get(address) else {
                // Not all workers route to a peer that only some of them list. The others report nothing about its
                // requests.
                self.routed.entry(address.clone()).and_modify(|routed| *routed = false);
                self.in_flight.entry(address.clone()).and_modify(|most| *most = None);
                continue;
            };
            let unread = view.unread.get(address);
            let routed = self.routed.entry(address.clone()).or_insert(first);
            *routed &= peer.routed();
            if let Some(worker) = worker.as_ref().filter(|_| peer.routed()) {
                let routing = self.routing.entry(address.clone()).or_default();
                if routing.len() < MOST_ROUTING {
                    routing.insert(worker.clone());
                }
            }
            let somewhere = self.routed_somewhere.entry(address.clone()).or_insert(false);
            *somewhere |= peer.routed() || unread.is_some() || view.overridden.is_some();
            let out = self.out.entry(address.clone()).or_insert(true);
            *out &= !peer.up && view.overridden.is_none();
            let most = self.in_flight.entry(address.clone()).or_insert(first.then_some(0));
            *most = most.zip(peer.in_flight).map(|(most, told)| most.max(told));
            if let Some(shown) = view.parameters.get(address) {
                let known = self.parameters.entry(address.clone()).or_insert_with(|| shown.clone());
                known.retain(|name, value| shown.get(name) == Some(value));
            }
            if let Some(why) = unread {
                self.unread.insert(address.clone(), why.clone());
            }
            if let Some(why) = view.withheld.get(address) {
                self.withheld.insert(address.clone(), why.clone());
            }
        }
        let own: BTreeSet<&String> = nodes.iter().collect();
        let is_other = |address: &String| !own.contains(address);
        let others = view.peers.iter().filter(|(address, peer)| peer.routed() && is_other(address));
        let mut number = view.others.routed;
        for (address, _) in others {
            number += 1;
            if self.other_names.len() < NAMED {
                self.other_names.insert(crate::text::line(address, 60));
            }
        }
        self.others = self.others.max(number);
        self.listed = self.listed.max(view.peers.len() + view.others.all);
        self.overridden = self.overridden.take().or_else(|| view.overridden.clone());
        self.uncounted = self.uncounted.take().or_else(|| view.uncounted.clone());
        if self.workers.len() < MOST_WORKERS {
            self.workers.extend(worker.map(|name| name.to_string()));
        }
    }

    /// Adds a look at a worker that showed the same before: it adds nothing else.
    pub(super) fn take_again(&mut self) {
        self.reads += 1;
    }

    /// Returns whether every worker routes to `address`.
    #[must_use]
    pub fn routes_to(&self, address: &str) -> bool {
        self.routed.get(address).copied().unwrap_or(false)
    }

    /// Returns the workers that route to `address` if others do not: those that were distinguished.
    #[must_use]
    pub fn routing_workers(&self, address: &str) -> Option<&BTreeSet<Arc<str>>> {
        let differ = self.routes_somewhere_to(address) && !self.routes_to(address);
        self.routing.get(address).filter(|routing| differ && !routing.is_empty())
    }

    /// Returns whether any worker lists `address`.
    #[must_use]
    pub fn lists(&self, address: &str) -> bool {
        self.routed.contains_key(address)
    }

    /// Returns the first parameter that it shows otherwise than the registry has it: its name, the shown value, and
    /// the registry's.
    #[must_use]
    pub fn other_than<'a>(
        &self,
        address: &str,
        registry: &'a Parameters,
    ) -> Option<(&'a str, u64, u64)> {
        let shown = self.parameters.get(address)?;
        registry.iter().find_map(|(name, own)| {
            let shown = shown.get(name).filter(|shown| *shown != own)?;
            Some((name.as_str(), *shown, *own))
        })
    }

    /// Returns how many nodes of the playbook it lists, routed or not.
    #[must_use]
    pub fn listed_nodes(&self) -> usize {
        self.routed.len()
    }

    /// Names the servers that it routes to and that are not nodes; `None` without any.
    #[must_use]
    pub fn strangers(&self) -> Option<String> {
        let names = self.other_names.iter().map(String::as_str);
        (self.others > 0).then(|| crate::text::first_of(names, self.others))
    }

    /// Returns how many nodes of the playbook every worker routes to.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.routed.values().filter(|routed| **routed).count()
    }

    /// Returns whether any worker routes to `address`, so that its users would notice if it stops.
    #[must_use]
    pub fn routes_somewhere_to(&self, address: &str) -> bool {
        self.routed_somewhere.get(address).copied().unwrap_or(false)
    }

    /// Returns whether every worker's list has `address` as out.
    #[must_use]
    pub fn is_out(&self, address: &str) -> bool {
        self.out.get(address).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::view::{Peer, View};

    #[test]
    fn look_that_shows_the_same_again_adds_nothing() {
        let nodes = ["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()];
        let mut looks: Vec<Look> = (0..3).map(|_| Look::default()).collect();
        for (number, look) in looks.iter_mut().enumerate() {
            look.worker = Some(number.to_string());
            let mut view = View::default();
            for node in &nodes[number % 2..] {
                let (up, in_flight) = (number == 0, Some(number as u64));
                view.add(node.clone(), Peer { up, failing_check: false, in_flight });
            }
            view.parameters = [(nodes[1].clone(), [("weight".to_owned(), 1)].into())].into();
            look.view = Arc::new(view);
        }
        let (mut taken, mut shortened) = (Observation::default(), Observation::default());
        for turn in [0, 0, 1, 0, 2, 1] {
            taken.take(&looks[turn], &nodes);
        }
        for (turn, is_new) in [(0, true), (0, false), (1, true), (0, false), (2, true), (1, false)]
        {
            if is_new {
                shortened.take(&looks[turn], &nodes);
            } else {
                shortened.take_again();
            }
        }
        assert_eq!(taken, shortened);
        assert_eq!((taken.reads, taken.workers.len()), (6, 3));
    }
}
