//! Decides where each unfinished node resumes, from the state in which it is found now. Changes nothing.

use std::collections::BTreeSet;

use crate::mark::Mark;
use crate::node::Survey;
use crate::release::{HeldNode, NodeState, Phase, PlannedAction, Release, ResumePoint, Step};
use crate::spec::{NodeSpec, Spec};
use crate::survey::{Fleet, NodeFacts};

use super::version_of;

/// Returns the nodes that are held now, and that the release does not include with their hold.
#[must_use]
pub fn held_nodes(release: &Release, fleet: &Fleet) -> Vec<HeldNode> {
    let held = release.in_order().filter_map(|(name, _)| {
        let facts = fleet.nodes.get(name).filter(|facts| stays_out(release, name, facts))?;
        let (node, down) = (name.to_owned(), facts.mark == Mark::Down);
        Some(HeldNode { node, down, hold: facts.held.as_ref()?.hold.clone() })
    });
    held.collect()
}

/// Whether a node is held, unless the release began with this hold and ends it itself.
pub(super) fn stays_out(release: &Release, name: &str, facts: &NodeFacts) -> bool {
    let Some(held) = &facts.held else { return false };
    let planned = release.plan_of(name).filter(|plan| plan.will == PlannedAction::Update);
    let included = planned.and_then(|plan| plan.held.as_ref());
    included.is_none_or(|included| included.since != held.hold.since)
}

/// Returns the resume point of each unfinished node.
#[must_use]
pub fn resume_points(release: &Release, spec: &Spec, fleet: &Fleet) -> Vec<ResumePoint> {
    let unfinished = |(name, state): &(&str, &NodeState)| {
        let facts = fleet.nodes.get(*name);
        let is_held = facts.is_some_and(|facts| stays_out(release, name, facts));
        let is_open = state.is_unfinished() || facts.is_some_and(|facts| is_undone(state, facts));
        is_open && !is_held
    };
    release
        .in_order()
        .filter(unfinished)
        .filter_map(|(name, state)| {
            let node = if state.goes_back() { spec.back.get(name) } else { spec.nodes.named(name) };
            let (node, facts) = (node?, fleet.nodes.get(name)?);
            let ran = release.plan_of(name).and_then(|planned| planned.runs.as_deref());
            Some(resumption(state, node, facts, ran))
        })
        .collect()
}

/// Returns the nodes that a resume of a failed release only returns to rotation; `None` if it has not failed, so that
/// it updates nodes.
#[must_use]
pub fn returned<'a>(
    release: &Release,
    spec: &Spec,
    nodes: &'a [ResumePoint],
) -> Option<BTreeSet<&'a str>> {
    let goes_back = |name: &str| release.nodes.get(name).is_some_and(NodeState::goes_back);
    // A node that is updated again counts as failed no longer.
    let begins = |name: &str| nodes.iter().any(|found| found.node == name) && !goes_back(name);
    let failed = release.in_order().filter(|(name, node)| node.has_failed() && !begins(name));
    let was_out = |name: &str| release.plan_of(name).is_some_and(|planned| planned.was_out);
    let is_unchanged = |found: &&ResumePoint| {
        let stopped = release.nodes.get(&found.node).is_none_or(NodeState::is_stopped);
        let is_down = found.down || found.partly;
        is_down && !found.gone && !stopped && !goes_back(&found.node) && !was_out(&found.node)
    };
    let names = || nodes.iter().filter(is_unchanged).map(|found| found.node.as_str()).collect();
    spec.stops_after(failed.count()).then(names)
}

/// Lets each node begin again at its first step if its steps have changed: the new process was started by the
/// old ones.
pub fn begin_again(nodes: &mut [ResumePoint], release: &Release, before: &Spec, spec: &Spec) {
    let steps = |spec: &Spec, name: &str| {
        let goes_back = release.nodes.get(name).is_some_and(NodeState::goes_back);
        let node = if goes_back { spec.back.get(name) } else { spec.nodes.named(name) };
        node.map(|node| node.steps.clone())
    };
    for found in nodes {
        if steps(before, &found.node) != steps(spec, &found.node) {
            found.done.clear();
        }
    }
}

/// Returns the reasons against a resume: everything that is unknown about the nodes that began, the registry
/// and the gateways.
#[must_use]
pub fn objections(
    release: &Release,
    spec: &Spec,
    fleet: &Fleet,
    nodes: &[ResumePoint],
) -> Vec<String> {
    let mut problems: Vec<_> = fleet.registry_told(spec).into_iter().collect();
    for (name, seen) in &fleet.gateways {
        if let Err(problem) = seen {
            problems.push(format!("gateway {name} cannot be read: {problem}"));
        }
    }
    let unstaged = |name: &str| {
        let survey = fleet.nodes.get(name).and_then(|facts| facts.survey.as_ref());
        // Nothing is installed on a node that goes back to nothing.
        let gets_it = spec.node(name).is_some_and(|node| !node.stays_out());
        gets_it && survey.is_some_and(|survey| !survey.staged)
    };
    let absent = spec.artifact.as_ref().filter(|artifact| !artifact.file.exists());
    let begun: BTreeSet<_> = nodes.iter().map(|found| found.node.as_str()).collect();
    for (name, state) in release.in_order() {
        let begun = begun.contains(name);
        let facts = fleet.nodes.get(name);
        if facts.is_some_and(|facts| stays_out(release, name, facts)) {
            continue;
        }
        if let Some(runs) =
            facts.zip(spec.node(name)).and_then(|(facts, node)| changed_version(state, node, facts))
        {
            problems.push(format!(
                "{name} was done and runs version {runs} now: another program changed it; deploy again"
            ));
        }
        let problem = facts.and_then(|facts| facts.problem.clone().or(facts.registry_told()));
        if let Some(problem) = problem.filter(|_| begun) {
            problems.push(format!("{name}: {problem}"));
        } else if let Some(artifact) = absent
            && (begun || state.phase == Phase::Waiting)
            && unstaged(name)
        {
            let file = artifact.file.display();
            problems.push(format!(
                "{name} does not have the artifact yet, and there is no {file}: restore the file, or deploy \
                 again"
            ));
        }
    }
    problems
}

/// Whether a node that was done is no longer done: it is unhealthy or not in rotation.
fn is_undone(state: &NodeState, facts: &NodeFacts) -> bool {
    let unwell = facts.health.problem.is_some() && !facts.health.is_unasked;
    state.phase == Phase::Done && (unwell || matches!(facts.mark, Mark::Down | Mark::Mixed))
}

/// The version that a done node runs now, if it is not the version of the release.
fn changed_version(state: &NodeState, node: &NodeSpec, facts: &NodeFacts) -> Option<String> {
    let brought = node.health.identity.as_ref().map(|identity| identity.equals.as_str());
    // Only a running process has a version; a dead one proves nothing.
    let runs = facts.health.version.clone().filter(|_| state.phase == Phase::Done)?;
    brought.is_some_and(|brought| !runs.is(brought)).then(|| runs.shown())
}

/// A node resumes at its health check if the new process runs, and otherwise at its first step: a step does
/// not count as done only because it was done once.
fn resumption(
    state: &NodeState,
    node: &NodeSpec,
    facts: &NodeFacts,
    ran: Option<&str>,
) -> ResumePoint {
    let runs = facts.survey.as_ref().is_some_and(|survey| runs_new(state, node, survey));
    let done = if runs { up_to_start(state, node) } else { Vec::new() };
    // An incomplete journal, or a replica that is behind, may not contain that the service was stopped.
    let serves = facts.health.problem.is_none() && version_of(facts).as_deref() == ran;
    ResumePoint {
        node: node.name.clone(),
        down: facts.mark == Mark::Down,
        partly: facts.mark.is_down().is_none(),
        done,
        gone: !serves,
    }
}

/// Whether the listening process was started by this release, from the release's own folder.
fn runs_new(state: &NodeState, node: &NodeSpec, survey: &Survey) -> bool {
    let Some(mark) = state.mark else { return false };
    let listener = &survey.listener;
    let young =
        listener.bound && !listener.owners.is_empty() && listener.older_than(mark).next().is_none();
    let linked = node.layout.as_ref().is_none_or(|layout| {
        survey.linked_release().is_some_and(|name| name.as_ref() == Ok(&layout.name))
    });
    // A failed node begins again, whatever runs on it.
    state.phase != Phase::Failed && young && linked
}

/// The node's steps up to its start, if all of them were done, or began and are found done.
fn up_to_start(state: &NodeState, node: &NodeSpec) -> Vec<Step> {
    let Some(last) = node.steps.iter().position(|action| action.step.starts_service()) else {
        return Vec::new();
    };
    let steps: Vec<_> = node.steps[..=last].iter().map(|action| action.step).collect();
    let had = |step: &Step| {
        state.done.contains(step) || (step.starts_service() && state.step == Some(*step))
    };
    if steps.iter().all(had) { steps } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::CheckResult;
    use crate::node::{Listener, Process, Ticks};
    use crate::playbook::load_text;
    use crate::release::Failure;
    use crate::release::Inputs;

    fn node() -> NodeSpec {
        let text = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
stop: stop-it
start: start-it
health: { tcp: '${{ node.address }}' }";
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        NodeSpec::clone(&spec.nodes[0])
    }

    fn facts(started: Option<u64>) -> NodeFacts {
        let owners: Vec<_> = started
            .map(|ticks| Process { pid: 7, started: Ticks(ticks), command: "app".into() })
            .into_iter()
            .collect();
        let listener = Listener { mark: Ticks(500), bound: !owners.is_empty(), owners };
        let survey = Some(Survey { listener, ..Survey::default() });
        NodeFacts { survey, mark: Mark::Down, ..NodeFacts::default() }
    }

    fn broken_off_in(step: Step) -> NodeState {
        let order = [Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop, Step::Start];
        let done = order.into_iter().take_while(|done| *done != step).collect();
        let mark = (step == Step::Start || step == Step::Health).then_some(Ticks(100));
        NodeState { phase: Phase::Taken, step: Some(step), done, mark, ..NodeState::default() }
    }

    #[test]
    fn new_process_is_not_started_again_and_other_nodes_begin_again() {
        let done =
            |state: &NodeState, started| resumption(state, &node(), &facts(started), None).done;
        let all = [Step::Disable, Step::ConfirmOut, Step::Drain, Step::Stop, Step::Start];
        for (step, started, expected) in [
            (Step::Health, Some(200), &all[..]),
            (Step::Start, Some(200), &all[..]),
            (Step::Start, Some(50), &[]),
            (Step::Start, None, &[]),
            (Step::Health, None, &[]),
            (Step::Stop, Some(50), &[]),
            (Step::ConfirmOut, Some(50), &[]),
        ] {
            assert_eq!(done(&broken_off_in(step), started), expected, "{step}, {started:?}");
        }
        let failure = Some(Failure::default());
        let failed = NodeState { phase: Phase::Failed, failure, ..broken_off_in(Step::Health) };
        assert_eq!(done(&failed, Some(200)), [], "a version that failed is started again");
    }

    #[test]
    fn node_that_no_longer_serves_as_before_is_gone_whatever_the_journal_says() {
        let gone = |version: &str, problem: Option<&str>| {
            let health = CheckResult {
                version: Some(version.into()),
                problem: problem.map(str::to_owned),
                ..CheckResult::default()
            };
            let facts = NodeFacts { health, ..facts(Some(50)) };
            resumption(&broken_off_in(Step::ConfirmOut), &node(), &facts, Some("1")).gone
        };
        assert!(!gone("1", None));
        assert!(gone("2", None), "another version was started");
        assert!(gone("1", Some("connection refused")));
    }
}
