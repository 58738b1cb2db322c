//! Decides the next action of a release from its state alone. Pure: no clock, no I/O.

use std::sync::Arc;

use crate::playbook::OnFailure;
use crate::release::{Phase, Release};
use crate::spec::{NodeSpec, Spec};

/// The next action of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextAction {
    /// Start a batch.
    Take {
        /// Counted from 1.
        number: usize,
        /// Its nodes.
        nodes: Vec<String>,
        /// The nodes roll back to their previous version.
        back: bool,
    },
    /// No action is left, or none may begin.
    Nothing,
}

/// Decides the next action of a release. `stops` reports that a stop was requested, `is_dead` that a node serves no
/// requests.
pub(super) fn next_action(
    spec: &Spec,
    release: &Release,
    stops: bool,
    is_dead: impl Fn(&str) -> bool,
) -> NextAction {
    let size = spec.batches.size(release.batch, spec.nodes.len());
    // Rollbacks run before new updates; once the release has failed, there are no others.
    let failed = spec.stops_after(release.failures());
    let turns = |name: &str, phase: Phase| {
        let wanted = match spec.on_failure {
            OnFailure::RollbackAll => failed,
            OnFailure::RollbackNode => failed && phase != Phase::Done,
            OnFailure::Stop | OnFailure::Continue => false,
        };
        // A finished first install stops only where other nodes return to their version.
        let returns = || spec.back.values().any(|back| !back.stays_out());
        let can = |back: &Arc<NodeSpec>| phase != Phase::Done || !back.stays_out() || returns();
        // Skip nodes without a restore point.
        wanted && spec.rolls_back() && spec.back.get(name).is_some_and(can)
    };
    let back = if stops { Vec::new() } else { release.next_back(size, turns) };
    let mut update = if failed { Vec::new() } else { release.next_batch(size, &is_dead) };
    let is_out = |name: &String| release.may_be_out(name);
    let serves = |name: &String| !is_out(name) && !is_dead(name);
    // A node that serves may have to wait for the capacity of the nodes that are out.
    let out_first = back.iter().all(serves) && update.iter().any(is_out);
    if out_first && !back.is_empty() {
        update.retain(is_out);
    }
    let (nodes, back) = if back.is_empty() || out_first { (update, false) } else { (back, true) };
    if nodes.is_empty() {
        return NextAction::Nothing;
    }
    NextAction::Take { number: release.batch + 1, nodes, back }
}
