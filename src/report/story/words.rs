//! The words for a past release, the same as text and as a page.

use crate::release::{Activity, Hold, NodeState, Phase, Planned, RunState};
use crate::report::state_of;

/// The state of a node after the last event of a release.
pub(in crate::report) fn state_then(node: &NodeState, state: RunState) -> &'static str {
    match (node.phase, state) {
        (Phase::Taken, RunState::Running) => "in progress",
        (Phase::Waiting, RunState::Running) => "waiting",
        (Phase::Taken, RunState::Unknown) => "in progress or interrupted",
        // Later releases may have done what was required.
        _ => state_of(node).trim_end_matches(", action required"),
    }
}

/// Why a node was planned so.
pub(in crate::report) fn why_planned(planned: &Planned) -> String {
    match &planned.held {
        Some(hold) if planned.why.is_empty() => format!("held {}", told(hold)),
        _ => planned.why.clone(),
    }
}

/// What a node did, in one word; none between two steps.
pub(in crate::report) fn activity(activity: Activity) -> Option<String> {
    match activity {
        Activity::Step(step) => Some(step.to_string()),
        Activity::Return => Some("return".to_owned()),
        Activity::Withdraw => Some("leave".to_owned()),
        Activity::Between => None,
    }
}

/// Whose hold it is, and why.
pub(super) fn told(hold: &Hold) -> String {
    let reason = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
    format!("by {}{reason}", hold.by)
}
