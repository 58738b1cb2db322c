//! What past releases say about a node, in a few words.

use crate::ops::status::Status;
use crate::release::{NodeState, Phase, RotationState};
use crate::report::{Place, state_now, state_of};
use crate::spec::Spec;
use crate::survey::NodeFacts;

/// Describes the result of a node. It names the release if that is not the last one.
pub(super) fn state(status: &Status, node: &str, place: Place) -> Option<String> {
    let (release, state) = status.history.of(node)?;
    let started = release.started.as_ref()?;
    let id = started.inputs.release();
    let last = status.last().is_some_and(|(_, last)| last.inputs.release() == id);
    // The journal is newer than the inspection.
    let told = match (last && status.running().is_some(), state.phase) {
        (true, Phase::Taken) => "in progress".to_owned(),
        (false, Phase::Taken) => {
            let interrupted = NodeState { phase: Phase::Interrupted, ..state.clone() };
            state_now(&interrupted, place)
        }
        (true, _) if is_outdated(status, node, place) => {
            format!("{} (inspected before that)", state_of(state))
        }
        (true, _) => state_of(state).to_owned(),
        (false, _) => state_now(state, place),
    };
    Some(if last { told } else { format!("{told} ({} {id})", started.command) })
}

/// Whether a running release has begun its step of a node after the inspection.
pub(super) fn is_past(status: &Status, spec: &Spec, node: &str) -> bool {
    let since = status.under_way(spec, node).and_then(|under_way| under_way.since);
    since.is_some_and(|since| since > status.begun)
}

/// Whether a running release has finished a node after its inspection.
pub(super) fn is_outdated(status: &Status, node: &str, place: Place) -> bool {
    let Some((release, state)) = status.history.of(node) else { return false };
    let Some((_, started)) =
        status.running().filter(|(running, _)| std::ptr::eq(*running, release))
    else {
        return false;
    };
    let runs = status.fleet.nodes.get(node).and_then(NodeFacts::version);
    match (state.phase, state.rotation_state()) {
        (Phase::Done, RotationState::Updated) => {
            let other = started.to.is_some() && runs.is_some() && runs != started.to;
            !matches!(place, Place::In | Place::Dead) || other
        }
        (Phase::RolledBack, RotationState::PutBack) => !matches!(place, Place::In | Place::Dead),
        _ => false,
    }
}
