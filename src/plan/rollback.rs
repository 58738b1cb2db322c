//! What nodes ran before a release, and how it is restored. Pure.

use std::collections::BTreeSet;

use crate::mark::Mark;
use crate::node::Survey;
use crate::playbook::{OnFailure, Playbook};
use crate::release::{NodeState, PlannedAction, Release, RestorePoint, Started};
use crate::spec::{NodeSpec, Spec};
use crate::survey::{Fleet, NodeFacts};
use crate::text::{self, count, few};

use super::Plan;

/// What a rollback can restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RollbackPlan {
    /// What nodes run, if it can be restored.
    pub targets: Vec<RestorePoint>,
    /// Why the version that a node runs cannot be restored.
    pub unknown: Vec<(String, String)>,
}

impl RollbackPlan {
    /// Finds what each node runs: from the release that its link points at and the journals of `past`
    /// releases, the newest first, or else from its reported version.
    ///
    /// A node that is out of rotation returns to the version of the others, which is the serving one. No node returns
    /// to a release that it does not have: a rollback stages nothing.
    #[must_use]
    pub fn find(spec: &Spec, playbook: &Playbook, fleet: &Fleet, past: &[&Started]) -> Self {
        let mut way = Self::default();
        let mut waiting = Vec::new();
        for node in &spec.nodes {
            let Some(facts) = fleet.nodes.get(&node.name) else { continue };
            if facts.never_installed(node) {
                RestorePoint::gather(&mut way.targets, &node.name, nothing(spec));
                continue;
            }
            let own = runs(spec, playbook, node, facts, past);
            if facts.mark == Mark::Down {
                waiting.push((node, facts, own));
            } else {
                way.add(node, facts, own);
            }
        }
        let installed = way.targets.iter().filter(|target| !target.nothing);
        let most = installed.max_by_key(|target| target.nodes.len()).cloned();
        for (node, facts, own) in waiting {
            let others = most.clone().map(|target| RestorePoint { nodes: Vec::new(), ..target });
            way.add(node, facts, others.map_or(own, Ok));
        }
        way
    }

    /// Adds the restore point of a node, if it has that release.
    fn add(&mut self, node: &NodeSpec, facts: &NodeFacts, found: Result<RestorePoint, String>) {
        match found.and_then(|point| has_release(node, facts, &point).map(|()| point)) {
            Ok(point) => RestorePoint::gather(&mut self.targets, &node.name, point),
            Err(why) => self.unknown.push((node.name.clone(), why)),
        }
    }
}

/// Whether the folder of a restore point is on a node. Of an artifact that a journal knows, it must be complete.
fn has_release(node: &NodeSpec, facts: &NodeFacts, point: &RestorePoint) -> Result<(), String> {
    let Some(folder) = &point.folder else { return Ok(()) };
    // The release itself brings it.
    if node.layout.as_ref().is_some_and(|layout| layout.name == *folder) {
        return Ok(());
    }
    let on_node = facts.survey.as_ref().and_then(|survey| survey.releases.get(folder));
    match on_node {
        Some(is_complete) if *is_complete || point.artifact.is_none() => Ok(()),
        Some(_) => Err(format!("its folder {folder} is not complete")),
        None => Err(format!("it does not have {folder}, which it would return to")),
    }
}

impl Plan {
    /// The names of the nodes that are updated.
    #[must_use]
    pub fn updated(&self) -> BTreeSet<&str> {
        let updates = self.rows.iter().filter(|row| row.planned.will == PlannedAction::Update);
        updates.map(|row| row.planned.node.as_str()).collect()
    }

    /// Adds what a rollback can restore.
    pub fn tell_way_back(&mut self, spec: &Spec, way: &RollbackPlan) {
        let updates = self.updated();
        let has_stop = spec.nodes.iter().all(|node| node.has_stop());
        let undone = if has_stop {
            "stops the service and leaves it out"
        } else {
            "cannot stop the service"
        };
        // See `Spec::rolls_back`.
        let stays = |target: &RestorePoint| match spec.on_failure {
            OnFailure::RollbackNode | OnFailure::RollbackAll
                if target.nodes.len() == spec.nodes.len() =>
            {
                "after a failure, nothing is rolled back; "
            }
            _ => "",
        };
        let mut told: Vec<_> = way
            .targets
            .iter()
            .filter_map(|target| {
                let nodes =
                    target.nodes.iter().filter(|name| updates.contains(name.as_str())).count();
                if target.nothing {
                    return (nodes > 0).then(|| {
                        let whose = count(nodes, "first install");
                        let after = stays(target);
                        format!("{whose} without a version before: {after}a rollback {undone}")
                    });
                }
                (nodes > 0).then(|| {
                    format!("{} can return to version {}", count(nodes, "node"), target.version)
                })
            })
            .collect();
        let unknown = way.unknown.iter().filter(|(name, _)| updates.contains(name.as_str()));
        told.extend(unknown.map(|(name, why)| format!("{name} cannot return: {why}")));
        self.way_back = told;
    }
}

/// The restore point of nodes on which nothing is installed. The variables are needed to stop the service.
fn nothing(spec: &Spec) -> RestorePoint {
    RestorePoint {
        version: RestorePoint::NO_VERSION.to_owned(),
        variables: spec.variables.clone(),
        nothing: true,
        ..RestorePoint::default()
    }
}

/// What one node runs, and how that is started again.
///
/// # Errors
///
/// When it is not known.
pub fn runs(
    spec: &Spec,
    playbook: &Playbook,
    node: &NodeSpec,
    facts: &NodeFacts,
    past: &[&Started],
) -> Result<RestorePoint, String> {
    let survey = facts.survey.as_ref().filter(|_| node.layout.is_some());
    if let (Some(folder), Some(layout)) =
        (survey.and_then(|own| own.elsewhere.as_ref()), &node.layout)
    {
        let (link, releases) = (&layout.current, &layout.releases);
        return Err(format!(
            "{link} points at {folder}, which is not in {releases}: move the folder there and correct the link, if a \
             rollback must be possible"
        ));
    }
    let folder = survey.and_then(Survey::linked_release);
    let folder = folder.transpose().map_err(|unfit| format!("its `current` link: {unfit}"))?;
    if node.layout.is_some() && folder.is_none() {
        return Err("it has no release yet".to_owned());
    }
    let told = facts.health.version.as_ref();
    let brought = |started: &&&Started| match (&folder, started.inputs.digest()) {
        (Some(folder), Some(digest)) => {
            digest.sha256.get(..8).is_some_and(|start| folder.ends_with(&format!("-{start}")))
        }
        (None, _) => told.zip(started.to.as_ref()).is_some_and(|(told, to)| told.is(to)),
        (Some(_), None) => false,
    };
    let released = |started: &&&Started| started.command.is_release();
    let mut unfit = None;
    for started in past.iter().filter(released).filter(brought) {
        match started.inputs.restored(playbook, &spec.variables) {
            Ok(variables) => {
                let to = started.to.as_deref().map(|to| text::line(to, 60));
                return Ok(RestorePoint {
                    nodes: Vec::new(),
                    version: to.or_else(|| folder.clone()).unwrap_or_default(),
                    folder,
                    variables,
                    artifact: started.inputs.digest().cloned(),
                    nothing: false,
                });
            }
            Err(why) => {
                let release = text::line(started.inputs.release(), 40);
                unfit.get_or_insert(format!("the journal of {release}: {why}"));
            }
        }
    }
    if let Some(why) = unfit {
        return Err(why);
    }
    let Some(old) = told else {
        return Err(
            "no journal records the release that it runs, and it reports no version".to_owned()
        );
    };
    let Some((name, variable)) = playbook.version_variable() else {
        return Err(format!(
            "no journal records version {}, and no variable of the playbook holds the version",
            old.shown()
        ));
    };
    let old = old
        .checked(variable.pattern.as_deref())
        .map_err(|unfit| format!("its reported version: {unfit}"))?;
    let mut variables = spec.variables.clone();
    variables.insert(name.to_owned(), old.clone());
    Ok(RestorePoint {
        nodes: Vec::new(),
        version: old,
        folder,
        variables,
        artifact: None,
        nothing: false,
    })
}

/// Why a release cannot be rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUndone {
    /// It is unknown what these nodes ran before.
    Unknown(Vec<String>),
    /// The recorded values must not be filled in.
    Unfit(String),
}

/// What restores the nodes that a release has changed, or the named ones of them; `playbook` is the
/// release's.
///
/// # Errors
///
/// When it is unknown what they ran before, or it must not be used.
pub fn restore_points(
    release: &Release,
    playbook: &Playbook,
    only: &[String],
) -> Result<Vec<RestorePoint>, NotUndone> {
    let only: BTreeSet<_> = only.iter().map(String::as_str).collect();
    let touched = |name: &&str| {
        let node = release.nodes.get(*name);
        node.is_some_and(NodeState::is_changed) && (only.is_empty() || only.contains(name))
    };
    let wanted: Vec<_> = release.in_order().map(|(name, _)| name).filter(touched).collect();
    let before = release.started.as_ref().map(|started| &started.before);
    let known = before.map(|before| before.versions()).unwrap_or_default();
    let unknown = wanted.iter().filter(|name| !known.contains_key(**name));
    let unknown: Vec<_> = unknown.map(|name| (*name).to_owned()).collect();
    if !unknown.is_empty() {
        return Err(NotUndone::Unknown(unknown));
    }
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    let before = before.map_or(Ok(Vec::new()), |before| before.followed(playbook));
    let toward = before.map_err(NotUndone::Unfit)?.into_iter().map(|target| RestorePoint {
        nodes: target.nodes.iter().filter(|name| wanted.contains(name.as_str())).cloned().collect(),
        ..target
    });
    Ok(toward.filter(|target| !target.nodes.is_empty()).collect())
}

/// Returns the problem of a gateway that would route to too few nodes without these, after `returned` nodes are back.
#[must_use]
pub fn shortage_without(
    spec: &Spec,
    fleet: &Fleet,
    nodes: &[&str],
    returned: &[&str],
) -> Option<String> {
    let is_in = |names: &[&str], node: &NodeSpec| names.contains(&node.name.as_str());
    fleet.gateways.iter().find_map(|(name, seen)| {
        let seen = seen.as_ref().ok()?;
        let serves = |node: &NodeSpec| seen.routes_to(&node.address) || is_in(returned, node);
        let remaining = spec.remaining(|node| is_in(nodes, node), serves);
        let mut leave = spec.nodes.iter().filter(|node| is_in(nodes, node));
        let costs = leave.any(|node| seen.routes_somewhere_to(&node.address));
        (costs && remaining.is_short())
            .then(|| format!("gateway {name} would route to {}", remaining.shortage()))
    })
}

/// Returns the problem of a gateway that would route to too few nodes once these are out for good, also while one of
/// the `later` nodes is away. The `returned` nodes are back by then.
pub(super) fn shortage_once_out(
    spec: &Spec,
    fleet: &Fleet,
    nodes: &[&str],
    later: &[&str],
    returned: &[&str],
) -> Option<String> {
    if nodes.is_empty() {
        return None;
    }
    let without = |away: Option<&str>| {
        let nodes: Vec<_> = nodes.iter().copied().chain(away).collect();
        shortage_without(spec, fleet, &nodes, returned)
    };
    without(None).or_else(|| later.iter().find_map(|away| without(Some(away))))
}

/// Returns why a rollback of first installs, which only stops them, would leave too few nodes.
#[must_use]
pub fn stops_too_many(spec: &Spec, fleet: &Fleet, plan: &Plan) -> Option<String> {
    let stays_out = |name: &&str| spec.node(name).is_some_and(NodeSpec::stays_out);
    let (stopped, returned): (Vec<_>, Vec<_>) = plan.updated().into_iter().partition(stays_out);
    // A node that cannot be returned now must be able to leave later.
    let blocked = plan.rows.iter().filter(|row| row.planned.will == PlannedAction::Blocked);
    let blocked = blocked.map(|row| row.planned.node.as_str()).filter(|name| !stays_out(name));
    let blocked: Vec<_> = blocked.collect();
    let problem = shortage_once_out(spec, fleet, &stopped, &blocked, &returned)?;
    let names = few(stopped.into_iter().map(str::to_owned), 3).join(", ");
    Some(format!(
        "{problem}: {names} had no version before the release, so the rollback stops the service there; name fewer \
         nodes with --only"
    ))
}

/// Lists the nodes whose previous release was deleted in the meantime, so that it cannot be restored.
#[must_use]
pub fn missing_releases(spec: &Spec, fleet: &Fleet, plan: &Plan) -> Vec<String> {
    let updated = plan.rows.iter().filter(|row| row.planned.will == PlannedAction::Update);
    updated
        .filter_map(|row| {
            let layout = spec.node(&row.planned.node)?.layout.as_ref()?;
            let survey = fleet.nodes.get(&row.planned.node)?.survey.as_ref()?;
            let folder = layout.folder();
            (!survey.staged).then(|| {
                format!(
                    "{}: {folder} was deleted in the meantime; `deploy` that version",
                    row.planned.node
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
