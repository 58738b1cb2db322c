//! How a release ended: its result and its exit code. Both are derived from the recorded events.

use std::collections::BTreeMap;

use super::recorder::Recorder;
use super::stop::{Stop, StopReason};
use crate::release::{Finished, NodeState, Outcome, Phase, Release, RotationState};
use crate::spec::Spec;
use crate::suggestions;
use crate::world::World;

/// Determines how the release ended.
pub(super) fn conclude<W: World>(
    recorder: &Recorder<'_, W>,
    spec: &Spec,
    staged: bool,
    verified: bool,
    stop: &Stop,
    elapsed_ms: u64,
) -> Finished {
    let release = &*recorder.release.read();
    let remaining = spec.remaining(|_| false, |node| serves(release, &node.name));
    let stopped = matches!(stop.reason(), StopReason::Requested(_));
    let untouched =
        release.nodes.values().all(|node| node.rotation_state() == RotationState::Untouched);
    let left = release.count(|node| matches!(node.phase, Phase::Waiting | Phase::Interrupted));
    let complete = release.failures() == 0 && left == 0 && recorder.unwritten.is_none() && verified;
    let unknown = release.count(NodeState::is_unknown);
    let stalled = matches!(stop.reason(), StopReason::Stalled(_));
    let stuck = release.count(NodeState::is_rollback_failed);
    let turned = release.nodes.values().any(NodeState::goes_back);
    let old = |standing| matches!(standing, RotationState::Untouched | RotationState::PutBack);
    let old_everywhere = turned
        && release
            .nodes
            .values()
            .filter(|node| !node.is_held())
            .all(|node| old(node.rotation_state()) && node.phase != Phase::Skipped);
    let result = if let StopReason::LockLost(_) = stop.reason() {
        Outcome::LockLost
    } else if recorder.failed.is_some() || unknown > 0 {
        Outcome::Degraded
    } else if complete {
        Outcome::Done
    } else if !staged && untouched && !stopped {
        Outcome::Refused
    } else if remaining.is_short() && !untouched {
        Outcome::Degraded
    } else if stuck > 0 {
        // A rollback failed: the version that the node serves is unknown.
        Outcome::Degraded
    } else if release.failures() > 0 && old_everywhere {
        Outcome::RolledBack
    } else if release.failures() > 0
        || recorder.unwritten.is_some()
        || stalled
        || (!verified && !stopped)
    {
        Outcome::Failed
    } else {
        Outcome::Stopped
    };
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, node) in release.in_order() {
        let word = match node.phase {
            Phase::Waiting | Phase::Taken => "not_started",
            Phase::Done => "done",
            Phase::Skipped => "skipped",
            Phase::LeftOut => "left_out",
            Phase::Blocked => "blocked",
            Phase::Failed => "failed",
            Phase::Interrupted => "interrupted",
            Phase::RolledBack => "rolled_back",
        };
        nodes.entry(word.into()).or_default().push(name.to_owned());
    }
    let reason = suggestions::reason(release, result);
    Finished { reason, nodes, elapsed_ms, ..Finished::unstarted(result, result.exit_code(), None) }
}

/// Returns whether a node serves, judged by the recorded events. A node outside the release serves as before.
fn serves(release: &Release, name: &str) -> bool {
    let Some(node) = release.nodes.get(name) else { return true };
    !node.fell
        && !node.is_held()
        && match node.rotation_state() {
            RotationState::Untouched => !release.plan_of(name).is_some_and(|plan| plan.was_out),
            RotationState::PutBack | RotationState::Updated | RotationState::Enabled => true,
            RotationState::Out | RotationState::Unknown => false,
        }
}
