//! The plan: what would happen to each node, and why; or why nothing may happen. Pure.

mod file;
mod lines;
mod next;
mod render;
mod resume_points;
mod rollback;
mod rows;
mod seen;
mod stale;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::{Observation, keys};
use crate::release::{PlannedAction, PlannedNodes};
use crate::spec::{NodeSpec, Spec, names};
use crate::survey::{Fleet, failed_check, told_alike, unhealthy_everywhere};
use crate::text::{because, count};

#[cfg(test)]
pub(crate) use file::example;
pub use file::{ArtifactSeen, PlanFile, PlaybookSeen, VERSION, schema};
pub use lines::describe;
pub use next::LastLook;
pub use render::resume_plan;
pub use resume_points::{begin_again, held_nodes, objections, resume_points, returned};
pub use rollback::{
    NotUndone, RollbackPlan, missing_releases, restore_points, runs, shortage_without,
    stops_too_many,
};
pub(crate) use rows::version_of;
pub use rows::{Row, started_before_link};
use rows::{rows, warning_of_left_out};
pub use seen::{EntrySeen, GatewaySeen, NodeSeen, ProcessSeen, Seen, ServerSeen, ServerState};
pub use stale::{Changes, changes, playbook_changes};

/// The nodes that the operator selects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Only these, by name or tag; all when empty.
    pub only: Vec<String>,
    /// Without these, by name or tag.
    pub skip: Vec<String>,
    /// The limit of updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Held nodes too.
    pub include_held: bool,
    /// A release is wanted even if no node passes the health check now.
    pub allow_unhealthy: bool,
    /// Nodes restart with the version that they run.
    pub restart: bool,
}

/// The planned actions.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The nodes in their order.
    pub rows: Vec<Row>,
    /// Why nothing may happen; empty when it may.
    pub refusals: Vec<String>,
    /// The refusals because too few nodes would stay routed.
    pub shortages: Vec<String>,
    /// What may make the release fail.
    pub warnings: Vec<String>,
    /// The version before: one, or several.
    pub from: Option<String>,
    /// The lowest number of routed nodes during the release.
    pub lowest: usize,
    /// How many nodes are routed now, at the gateway with the fewest.
    pub routed_now: usize,
    /// What a rollback would restore, and what it could not.
    pub way_back: Vec<String>,
    /// Why each gateway could not be read, in the playbook's order; `None` for those that could.
    pub gateways: Vec<Option<String>>,
}

impl Selection {
    /// Returns the names that are neither a node nor a tag.
    #[must_use]
    pub fn unknown(&self, spec: &Spec) -> Vec<String> {
        let words = spec.nodes.iter().flat_map(|node| node.tags.iter().chain([&node.name]));
        let known: BTreeSet<_> = words.collect();
        self.only.iter().chain(&self.skip).filter(|name| !known.contains(name)).cloned().collect()
    }

    /// Returns whether the selection leaves no node.
    #[must_use]
    pub fn is_empty(&self, spec: &Spec) -> bool {
        self.nodes(spec).is_empty()
    }

    /// The same as arguments, in the given form.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let lists = [("--only", &self.only), ("--skip", &self.skip)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        let mut arguments: Vec<_> =
            lists.flat_map(|(option, names)| [option.to_owned(), names.join(",")]).collect();
        if let Some(limit) = self.limit {
            arguments.extend(["--limit".to_owned(), limit.to_string()]);
        }
        arguments.extend(self.restart.then(|| "--restart".to_owned()));
        arguments.extend(self.include_held.then(|| "--include-held".to_owned()));
        arguments.extend(self.allow_unhealthy.then(|| "--allow-unhealthy".to_owned()));
        arguments
    }

    /// The names of the selected nodes.
    fn nodes<'a>(&self, spec: &'a Spec) -> BTreeSet<&'a str> {
        let (only, skip): (BTreeSet<_>, BTreeSet<_>) =
            (self.only.iter().collect(), self.skip.iter().collect());
        let named = |words: &BTreeSet<&String>, node: &NodeSpec| {
            words.contains(&node.name) || node.tags.iter().any(|tag| words.contains(tag))
        };
        let selected =
            |node: &NodeSpec| (only.is_empty() || named(&only, node)) && !named(&skip, node);
        let nodes = spec.nodes.iter().filter(|node| selected(node));
        nodes.map(|node| node.name.as_str()).collect()
    }
}

impl Plan {
    /// Makes the plan.
    #[must_use]
    pub fn new(spec: &Spec, fleet: &Fleet, selection: &Selection) -> Self {
        let mut rows = rows(spec, fleet, &selection.nodes(spec), selection.include_held);
        if let Some(limit) = selection.limit {
            let updates = rows.iter_mut().filter(|row| row.planned.will == PlannedAction::Update);
            for row in updates.skip(limit) {
                row.planned.will = PlannedAction::LeftOut;
                row.planned.why = "beyond --limit".into();
            }
        }
        let mut plan = Self::of_rows(spec, fleet, rows);
        plan.check_health(spec, fleet, selection);
        plan
    }

    /// Makes the plan that updates these nodes, whatever they run.
    #[must_use]
    pub fn of_nodes(spec: &Spec, fleet: &Fleet, nodes: &BTreeSet<&str>) -> Self {
        let mut rows = rows(spec, fleet, nodes, false);
        for row in rows.iter_mut().filter(|row| row.planned.will == PlannedAction::Skip) {
            row.planned.will = PlannedAction::Update;
        }
        Self::of_rows(spec, fleet, rows)
    }

    fn of_rows(spec: &Spec, fleet: &Fleet, rows: Vec<Row>) -> Self {
        let mut plan = Self {
            from: version_before(&rows),
            rows,
            refusals: Vec::new(),
            shortages: Vec::new(),
            warnings: Vec::new(),
            way_back: Vec::new(),
            lowest: 0,
            routed_now: 0,
            gateways: fleet.gateways.iter().map(|(_, seen)| seen.clone().err()).collect(),
        };
        plan.refuse(spec, fleet);
        plan.check_capacity(spec, fleet);
        plan.refusals.extend(plan.shortages.iter().cloned());
        plan
    }

    /// The nodes that are left out because they are held.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        let held = self.rows.iter().filter(|row| row.is_held);
        held.map(|row| row.planned.node.as_str())
    }

    /// Returns whether there is an update and no known refusal.
    #[must_use]
    pub fn would_release(&self) -> bool {
        self.refusals.is_empty() && self.count(PlannedAction::Update) > 0
    }

    /// How many nodes have this planned action.
    #[must_use]
    pub fn count(&self, will: PlannedAction) -> usize {
        self.rows.iter().filter(|row| row.planned.will == will).count()
    }

    /// Describes a plan without updates.
    #[must_use]
    pub fn idle(&self) -> String {
        let parts = [
            (self.count(PlannedAction::Skip), "up to date"),
            (self.count(PlannedAction::LeftOut), "left out"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{} {what}", count(*number, "node")))
            .collect();
        parts.join(", ")
    }

    /// The numbers of the batches in which the updated nodes are, in their order, counted from 1. Each node is
    /// selected once.
    fn batch_numbers(&self, spec: &Spec) -> impl Iterator<Item = usize> {
        let batch = |batch| {
            let size = spec.batches.size(batch, spec.nodes.len());
            std::iter::repeat_n(batch + 1, size)
        };
        (0..).flat_map(batch).take(self.count(PlannedAction::Update))
    }

    /// How many batches there are if each node is selected once.
    #[must_use]
    pub fn batches(&self, spec: &Spec) -> usize {
        self.batch_numbers(spec).last().unwrap_or(0)
    }

    /// The nodes in the order of the release.
    #[must_use]
    pub fn planned(&self) -> PlannedNodes {
        self.rows.iter().map(|row| row.planned.clone()).collect::<Vec<_>>().into()
    }

    /// Finds the reasons to refuse any change.
    fn refuse(&mut self, spec: &Spec, fleet: &Fleet) {
        self.refusals.extend(fleet.registry_told(spec));
        for (name, seen) in &fleet.gateways {
            if let Err(problem) = seen {
                self.refusals.push(format!("gateway {name} cannot be read: {problem}"));
            }
        }
        if fleet.registry_problem.is_some() {
            return;
        }
        let blocked: Vec<_> =
            self.rows.iter().filter(|row| row.planned.will == PlannedAction::Blocked).collect();
        if blocked.len() > spec.max_failures as usize {
            let problems =
                blocked.iter().map(|row| (row.planned.node.clone(), row.planned.why.clone()));
            self.refusals.extend(told_alike(spec, problems));
        }
    }

    /// Refuses a health check that passes on no node, and collects the warnings of the updated nodes.
    fn check_health(&mut self, spec: &Spec, fleet: &Fleet, selection: &Selection) {
        let everywhere = unhealthy_everywhere(spec, fleet);
        if everywhere.is_none() {
            for row in &mut self.rows {
                let node = spec.node(&row.planned.node);
                let unhealthy = node.and_then(|node| failed_check(fleet, node));
                row.warning = unhealthy.or(row.warning.take());
            }
        }
        let updates = self.rows.iter().filter(|row| row.planned.will == PlannedAction::Update);
        let mut updates = updates.peekable();
        if updates.peek().is_none() {
            return;
        }
        match everywhere {
            Some(why) if selection.allow_unhealthy => self.warnings.push(why),
            Some(why) => self.refusals.push(why),
            None => {}
        }
        let told = updates.filter_map(|row| Some((row.planned.node.clone(), row.warning.clone()?)));
        self.warnings.extend(told_alike(spec, told.collect::<Vec<_>>()));
        let left = self.rows.iter().filter_map(|row| warning_of_left_out(spec, row, fleet));
        self.warnings.extend(left);
    }

    /// Finds the lowest number of routed nodes during the release, and whether it is too low.
    fn check_capacity(&mut self, spec: &Spec, fleet: &Fleet) {
        let mut lowest = usize::MAX;
        let mut now = usize::MAX;
        let updates: Vec<_> = self
            .rows
            .iter()
            .filter(|row| row.planned.will == PlannedAction::Update)
            .cloned()
            .collect();
        let dead: BTreeSet<_> = self
            .rows
            .iter()
            .filter(|row| row.is_unreachable)
            .map(|row| row.address.clone())
            .collect();
        let stays_out =
            |row: &&Row| row.planned.held.is_some() && row.planned.will != PlannedAction::Update;
        let held = self.rows.iter().filter(stays_out).map(|row| row.address.clone());
        let held: BTreeSet<_> = held.collect();
        for (name, seen) in &fleet.gateways {
            let Ok(seen) = seen else { continue };
            let serves = |address: &String| {
                seen.routes_to(address) && !dead.contains(address) && !held.contains(address)
            };
            let mut routed: BTreeSet<_> = spec
                .nodes
                .iter()
                .filter(|node| serves(&node.address))
                .map(|node| node.address.as_str())
                .collect();
            now = now.min(routed.len());
            lowest = lowest.min(routed.len());
            let (mut rest, mut batch, mut refused) = (updates.as_slice(), 0, false);
            while !rest.is_empty() {
                let size = spec.batches.size(batch, spec.nodes.len()).min(rest.len());
                let (taken, later) = rest.split_at(size);
                let costs = taken.iter().any(|row| {
                    let is_missed = seen.routes_somewhere_to(&row.address) && !row.is_unreachable;
                    routed.contains(row.address.as_str()) || is_missed
                });
                let leaving: BTreeSet<_> = taken.iter().map(|row| row.address.as_str()).collect();
                let remaining = spec.remaining(
                    |node| leaving.contains(node.address.as_str()),
                    |node| routed.contains(node.address.as_str()),
                );
                let left = remaining.stay.len();
                lowest = lowest.min(left);
                if costs && remaining.is_short() && !refused {
                    refused = true;
                    let out = (&dead, &held);
                    self.shortages.push(too_few(spec, name, seen, out, taken, left));
                }
                // A first install that is rolled back does not return.
                let returns =
                    |row: &&Row| spec.node(&row.planned.node).is_none_or(|node| !node.stays_out());
                routed.extend(taken.iter().filter(returns).map(|row| row.address.as_str()));
                for row in taken.iter().filter(|row| !returns(row)) {
                    routed.remove(row.address.as_str());
                }
                (rest, batch) = (later, batch + 1);
            }
        }
        if now != usize::MAX {
            (self.lowest, self.routed_now) = (lowest, now);
        }
    }
}

/// The keys in Consul that changes of the gateways' own lists write.
fn gateway_keys(spec: &Spec) -> BTreeSet<String> {
    spec.gateways.iter().flat_map(keys).collect()
}

fn version_before(rows: &[Row]) -> Option<String> {
    let versions: BTreeSet<_> = rows
        .iter()
        .filter(|row| row.planned.will == PlannedAction::Update)
        .filter_map(|row| row.planned.runs.clone())
        .collect();
    let all = if versions.is_empty() {
        rows.iter().filter_map(|row| row.planned.runs.clone()).collect()
    } else {
        versions
    };
    let joined = all.into_iter().collect::<Vec<_>>().join(", ");
    (!joined.is_empty()).then_some(joined)
}

fn too_few(
    spec: &Spec,
    gateway: &str,
    seen: &Observation,
    (dead, held): (&BTreeSet<String>, &BTreeSet<String>),
    taken: &[Row],
    left: usize,
) -> String {
    let taken: Vec<_> = taken.iter().map(|row| row.planned.node.as_str()).collect();
    let leaving: BTreeSet<_> = taken.iter().copied().collect();
    let others = spec.nodes.iter().map(AsRef::as_ref);
    let others = others.filter(|node: &&NodeSpec| !leaving.contains(node.name.as_str()));
    let (held, others): (Vec<_>, Vec<_>) = others.partition(|node| held.contains(&node.address));
    let (routed, unrouted): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|node| seen.routes_to(&node.address));
    let dead: Vec<_> = routed.into_iter().filter(|node| dead.contains(&node.address)).collect();
    let because = because(&[
        (names(&held), "held"),
        (names(&unrouted), "not routed there"),
        (names(&dead), "not listening"),
    ]);
    format!(
        "without {}, gateway {gateway} would route to {} of {} only, fewer than {}{because}",
        taken.join(", "),
        left,
        count(spec.nodes.len(), "node"),
        spec.floor(),
    )
}

#[cfg(test)]
mod tests;
