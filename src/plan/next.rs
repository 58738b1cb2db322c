//! What an inspection says about the commands that are suggested next.

use std::collections::BTreeSet;

use super::Plan;
use super::rollback::shortage_once_out;
use crate::mark::Mark;
use crate::release::{PlannedAction, Release};
use crate::spec::{NodeSpec, Spec};
use crate::suggestions::Inspection;
use crate::survey::{Fleet, NodeFacts};

/// The last inspection of all systems.
pub struct LastLook<'a> {
    /// The playbook's spec.
    pub spec: &'a Spec,
    /// What was seen.
    pub fleet: &'a Fleet,
}

impl LastLook<'_> {
    fn facts(&self, node: &str) -> Option<&NodeFacts> {
        self.fleet.nodes.get(node)
    }
}

impl Inspection for LastLook<'_> {
    fn is_complete(&self) -> bool {
        let gateways = self.fleet.gateways.iter().all(|(_, seen)| seen.is_ok());
        gateways && self.fleet.registry_problem.is_none()
    }

    fn updatable<'a>(&self, mut nodes: Vec<&'a str>) -> Vec<&'a str> {
        let plan = |nodes: &[&str]| {
            Plan::of_nodes(self.spec, self.fleet, &nodes.iter().copied().collect())
        };
        let rows = plan(&nodes).rows;
        let blocked = rows.iter().filter(|row| row.planned.will == PlannedAction::Blocked);
        let blocked: BTreeSet<_> = blocked.map(|row| row.planned.node.as_str()).collect();
        nodes.retain(|node| !blocked.contains(node));
        if plan(&nodes).refusals.is_empty() { nodes } else { Vec::new() }
    }

    fn can_stay_out(&self, nodes: &[&str], returned: &[&str]) -> bool {
        let stops = |node: &NodeSpec| nodes.contains(&node.name.as_str());
        // A gateway that cannot be read now routes to all other nodes at best.
        let may_suffice = nodes.is_empty() || !self.spec.remaining(stops, |_| true).is_short();
        may_suffice && shortage_once_out(self.spec, self.fleet, nodes, returned, returned).is_none()
    }

    fn is_down(&self, node: &str) -> bool {
        let is_down = |facts: &NodeFacts| matches!(facts.mark, Mark::Down | Mark::Mixed);
        self.facts(node).is_some_and(|facts| is_down(facts) && facts.held.is_none())
    }

    fn is_healthy(&self, node: &str) -> bool {
        self.facts(node).is_some_and(|facts| facts.health.problem.is_none())
    }

    fn serves(&self, node: &str, version: &str) -> bool {
        let facts = self.facts(node).filter(|facts| facts.mark == Mark::Up);
        self.is_healthy(node) && facts.and_then(NodeFacts::version).as_deref() == Some(version)
    }

    fn can_resume(&self, release: &Release) -> bool {
        let unfinished = release.nodes.iter().filter(|(_, node)| node.is_unfinished());
        let unfinished: Vec<_> = unfinished.map(|(name, _)| name.as_str()).collect();
        let is_usable =
            |facts: &NodeFacts| facts.problem.is_none() && facts.registry_problem.is_none();
        let are_usable = unfinished.iter().all(|name| self.facts(name).is_none_or(is_usable));
        // One of them may be the last that gateways route to.
        self.is_complete() && are_usable && self.updatable(unfinished.clone()) == unfinished
    }
}
