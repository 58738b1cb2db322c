//! What would happen to each node, and why.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::gateway::Observation;
use crate::mark::Mark;
use crate::node::Survey;
use crate::playbook::Order;
use crate::release::{Planned, PlannedAction};
use crate::spec::{NodeSpec, Spec};
use crate::survey::{EntryLine, Fleet, NodeFacts};
use crate::text;

/// What happens to a first install that is rolled back with a playbook that cannot stop it.
const NOT_STOPPED: &str = "it stays out, and its service runs on: the playbook has no `stop`";

/// The longest reason, in characters. It can have a command with the value of a key.
const WHY: usize = 600;

/// One node of the plan.
#[derive(Debug, Clone)]
pub struct Row {
    /// The planned action.
    pub planned: Planned,
    /// Its address.
    pub address: String,
    /// How its registry entry is marked.
    pub mark: Mark,
    /// Its entry in each of several registries, as lines for programs have them.
    pub entries: Vec<EntryLine>,
    /// How many gateways route to it, if all could be read.
    pub routed: Option<usize>,
    /// The same for people, of the gateways that could be read.
    pub gateways: String,
    /// No connection reaches it, so it costs no capacity.
    pub is_unreachable: bool,
    /// It is left out because it is held.
    pub is_held: bool,
    /// Why the release may fail on it.
    pub warning: Option<String>,
}

/// The nodes in their order.
pub(super) fn rows(
    spec: &Spec,
    fleet: &Fleet,
    selected: &BTreeSet<&str>,
    include_held: bool,
) -> Vec<Row> {
    let rows = spec.nodes.iter().map(|node| row(spec, fleet, selected, include_held, node));
    let mut rows: Vec<_> = rows.collect();
    if spec.order == Order::OutFirst {
        rows.sort_by_key(|row| match (row.planned.will, row.routed) {
            (PlannedAction::Update, Some(0)) => 0,
            (PlannedAction::Update, _) if row.is_unreachable => 1,
            _ => 2,
        });
    }
    rows
}

fn row(
    spec: &Spec,
    fleet: &Fleet,
    selected: &BTreeSet<&str>,
    include_held: bool,
    node: &NodeSpec,
) -> Row {
    let nothing = NodeFacts::default();
    let facts = fleet.nodes.get(&node.name).unwrap_or(&nothing);
    let gateways: Vec<&Observation> =
        fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
    let routed = gateways.iter().filter(|seen| seen.routes_to(&node.address)).count();
    let routed = (gateways.len() == fleet.gateways.len()).then_some(routed);
    let all = Some(fleet.gateways.len());
    let was_out = facts.mark == Mark::Down;
    let is_selected = selected.contains(node.name.as_str());
    let held = facts.held();
    let is_held = is_selected && held.is_some() && !include_held;
    let (will, why) = if !is_selected {
        (PlannedAction::LeftOut, "not selected".to_owned())
    } else if let Some(held) = held.clone().filter(|_| is_held) {
        (PlannedAction::LeftOut, held)
    } else if let Some(problem) = facts.problem.clone().or(facts.registry_told()) {
        (PlannedAction::Blocked, problem)
    } else if let Some(problem) = contradiction(spec, fleet, node, facts) {
        (PlannedAction::Blocked, problem)
    } else if let Some(held) = held {
        // The hold ends once the node is confirmed in rotation.
        (PlannedAction::Update, format!("included: {held}"))
    } else if node.stays_out() && was_out && !(node.has_stop() && facts.listens()) {
        let what = if node.has_stop() { "stopped and out of rotation" } else { "out of rotation" };
        (PlannedAction::Skip, what.to_owned())
    } else if node.stays_out() {
        let what = if node.has_stop() { "it is stopped and stays out" } else { NOT_STOPPED };
        (PlannedAction::Update, format!("it was a first install: {what}"))
    } else if facts.never_installed(node) && !spec.is_restart {
        (PlannedAction::Update, "first install: nothing runs there".to_owned())
    } else if let Some(mixed) = facts.mixed() {
        (PlannedAction::Update, mixed)
    } else if is_on_target(spec, facts, node) && !was_out && routed == all {
        let version = spec.version.as_deref().unwrap_or("the target version");
        (PlannedAction::Skip, format!("on {version}, healthy, routed"))
    } else if routed == Some(0) {
        (
            PlannedAction::Update,
            "first: already out of rotation, and returned by the release".to_owned(),
        )
    } else if routed.is_some() && routed < all {
        let seen = fleet
            .gateways
            .iter()
            .find(|(_, seen)| seen.as_ref().is_ok_and(|seen| !seen.routes_to(&node.address)));
        let name = seen.map_or("", |(name, _)| name.as_str());
        (PlannedAction::Update, format!("held out by {name}"))
    } else if facts.is_unreachable() {
        (PlannedAction::Update, "first: nothing listens at its address".to_owned())
    } else {
        (PlannedAction::Update, String::new())
    };
    Row {
        planned: Planned {
            node: node.name.clone(),
            will,
            why: text::line(&why, WHY),
            runs: version_of(facts),
            was_out,
            first_install: will == PlannedAction::Update && facts.never_installed(node),
            taken_out: facts.taken_out.is_some(),
            strangers: facts.taken_out.clone().unwrap_or_default(),
            held: facts.held.as_ref().map(|held| held.hold.clone()),
        },
        address: node.address.clone(),
        mark: facts.mark,
        entries: facts.entries(spec.places(&node.address)),
        routed,
        gateways: fleet.told_routed(node),
        is_unreachable: facts.is_unreachable(),
        is_held,
        warning: facts.warning.clone().or_else(|| facts.doubt.clone()),
    }
}

/// Why a release can fail because of a node that it leaves out.
pub(super) fn warning_of_left_out(spec: &Spec, row: &Row, fleet: &Fleet) -> Option<String> {
    let name = &row.planned.node;
    if row.planned.will != PlannedAction::LeftOut || row.is_held {
        return None;
    }
    let facts = fleet.nodes.get(name)?;
    let contradicts = contradiction(spec, fleet, spec.node(name)?, facts);
    contradicts.map(|why| format!("{name}, which is left out: {why}")).or_else(|| {
        let problem = unwell(row, facts)?;
        Some(format!(
            "{name} is in rotation but fails its health check ({problem}), and this release does not update it: the \
             release cannot end as done"
        ))
    })
}

/// Why a node in rotation fails its health check. At its end, a release verifies every node in rotation, not only those
/// that it has updated.
fn unwell(row: &Row, facts: &NodeFacts) -> Option<String> {
    let health = &facts.health;
    let problem = health.problem.as_ref().filter(|_| !health.is_unasked)?;
    let is_in = row.mark == Mark::Up && row.routed != Some(0);
    is_in.then(|| text::line(problem, 160))
}

/// A gateway that does not follow the registry entry cannot be switched by it.
fn contradiction(spec: &Spec, fleet: &Fleet, node: &NodeSpec, facts: &NodeFacts) -> Option<String> {
    let unread = fleet.gateways.iter().find_map(|(name, seen)| {
        let why = seen.as_ref().ok()?.unread.get(&node.address)?;
        Some(format!("its entry at {name} cannot be read: {why}"))
    });
    if unread.is_some() {
        return unread;
    }
    fleet.gateways.iter().enumerate().find_map(|(gateway, (name, seen))| {
        let registry = spec.registry_at(gateway);
        let down = facts.mark_in(registry).is_down()?;
        let seen = seen.as_ref().ok()?;
        let parameters = facts.parameters_in(registry);
        if let Some((parameter, shown, own)) = seen.other_than(&node.address, parameters) {
            return Some(format!(
                "{name} shows {parameter}={shown} for it, but its key has {parameter} {own}: \
                                 does {name} follow this registry?"
            ));
        }
        if let Some(why) = seen.overridden.as_ref().filter(|_| down) {
            return Some(format!("{name} routes to it although it is marked down: {why}"));
        }
        if down && !seen.is_out(&node.address) {
            return Some(format!(
                "{name} still routes to it although it is marked down: \
                                 does {name} follow this registry?"
            ));
        }
        if let Some(why) = seen.withheld.get(&node.address).filter(|_| !down) {
            return Some(format!("{name} does not route to it although it is marked up: {why}"));
        }
        let is_listed = seen.lists(&node.address);
        if let Some(others) = seen.strangers().filter(|_| !down && !is_listed) {
            let address = &node.address;
            return Some(format!(
                "{name} lists {others}, but not {address}, which is marked up: does {name} follow this registry?"
            ));
        }
        if !down && seen.is_out(&node.address) {
            return Some(format!(
                "{name} does not route to it although it is marked up: \
                                 does {name} follow this registry?"
            ));
        }
        None
    })
}

/// Whether the node runs the version of the release; never, if the version is unknown.
fn is_on_target(spec: &Spec, facts: &NodeFacts, node: &NodeSpec) -> bool {
    let fixed = spec.is_restart || node.stays_out();
    let Some(survey) = facts.survey.as_ref().filter(|_| !fixed) else { return false };
    if node.layout.is_none() && !spec.has_identity {
        return false;
    }
    let activated = node.layout.as_ref().is_none_or(|layout| {
        survey.current.as_ref().is_some_and(|current| current.leads_to(&layout.folder()))
    });
    // Without an identity the process must at least be younger than the link through which it was started.
    let owners = &survey.listener.owners;
    let new_process = spec.has_identity || (!owners.is_empty() && !is_older_than_link(survey));
    activated && new_process && facts.health.problem.is_none() && reports_target(facts, node)
}

/// Whether the node reports the version of the release. Its check may have compared with another one.
fn reports_target(facts: &NodeFacts, node: &NodeSpec) -> bool {
    match (&node.health.identity, &facts.health.version) {
        (Some(identity), Some(version)) => version.is(&identity.equals),
        _ => facts.health.wrong_version.is_none(),
    }
}

/// Whether a process on the node's port began before the link was switched.
fn is_older_than_link(survey: &Survey) -> bool {
    let link = survey.current_age.map(|age| Duration::from_secs(age.saturating_add(1)));
    let mut owners = survey.listener.owners.iter();
    owners.any(|owner| Some(owner.age(survey.listener.mark)) > link)
}

/// Returns why a restart would start another release than the one that runs, on a node that reports no version.
#[must_use]
pub fn started_before_link(node: &NodeSpec, facts: &NodeFacts) -> Option<String> {
    let survey = facts.survey.as_ref().filter(|_| node.layout.is_some())?;
    let folder = survey.linked_release()?.ok()?;
    let is_older = facts.health.version.is_none() && is_older_than_link(survey);
    is_older.then(|| {
        format!(
            "its process began before its `current` link was switched to {folder}, which a restart would start: deploy \
             the version that you want"
        )
    })
}

/// The node's version: the reported one, or the target of its link.
pub(crate) fn version_of(facts: &NodeFacts) -> Option<String> {
    facts.version().map(|version| text::line(&version, 60))
}
