//! What an inspection says about the commands that are suggested next.

use std::collections::BTreeSet;

use super::Plan;
use super::rollback::shortage_once_out;
use super::rows::rows;
use crate::mark::Mark;
use crate::release::{PlannedAction, Release, Started};
use crate::spec::{NodeSpec, Spec};
use crate::suggestions::Inspection;
use crate::survey::{Fleet, NodeFacts};

/// The last inspection of all systems.
#[derive(Clone, Copy)]
pub struct LastLook<'a> {
    /// The playbook's spec.
    pub spec: &'a Spec,
    /// What was seen.
    pub fleet: &'a Fleet,
    /// The spec of the release that commands are suggested for, if it can be filled in.
    pub released: Option<&'a Spec>,
}

impl LastLook<'_> {
    fn facts(&self, node: &str) -> Option<&NodeFacts> {
        self.fleet.nodes.get(node)
    }

    /// Whether gateways route to a node at which nothing listens.
    fn is_dead(&self, node: &NodeSpec) -> bool {
        let Some(facts) = self.facts(&node.name) else { return false };
        let is_dead = facts.is_unreachable() && !facts.never_installed(node);
        is_dead && facts.held.is_none() && self.fleet.is_routed(&node.address)
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

    fn is_undone(&self, node: &str) -> bool {
        let has_stop = self.spec.node(node).is_some_and(NodeSpec::has_stop);
        let is_undone = |facts: &NodeFacts| {
            facts.mark == Mark::Down && facts.problem.is_none() && !(has_stop && facts.listens())
        };
        self.facts(node).is_some_and(is_undone)
    }

    fn is_healthy(&self, node: &str) -> bool {
        self.facts(node).is_some_and(|facts| facts.health.problem.is_none())
    }

    fn serves(&self, node: &str, version: &str) -> bool {
        let facts = self.facts(node).filter(|facts| facts.mark == Mark::Up);
        self.is_healthy(node) && facts.and_then(NodeFacts::version).as_deref() == Some(version)
    }

    fn dead(&self) -> Vec<&str> {
        let dead = self.spec.nodes.iter().filter(|node| self.is_dead(node));
        dead.map(|node| node.name.as_str()).collect()
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

    fn has_updates(&self, release: &Release, started: &Started) -> bool {
        let Some(spec) = self.released else { return true };
        let has = |option: &str| started.selection.iter().any(|word| word == option);
        // A node that was held, or beyond the limit, may be updated the next time.
        let is_selected = |node: &&str| {
            let planned = release.plan_of(node).filter(|it| it.will == PlannedAction::LeftOut);
            planned.is_none_or(|planned| planned.held.is_some() || has("--limit"))
        };
        let nodes = spec.nodes.iter().map(|node| node.name.as_str()).filter(is_selected);
        let rows = rows(spec, self.fleet, &nodes.collect(), has("--include-held"));
        let is_left = |will| matches!(will, PlannedAction::Update | PlannedAction::Blocked);
        !self.is_complete() || rows.iter().any(|row| is_left(row.planned.will))
    }
}
