//! What a release does next, decided from its state alone. Pure: no clock, no I/O.

use crate::playbook::OnFailure;
use crate::release::{Phase, Release};
use crate::spec::Spec;

/// What a release does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextAction {
    /// Takes a batch.
    Take {
        /// Counted from 1.
        number: usize,
        /// Its nodes.
        nodes: Vec<String>,
        /// They go back to what they ran before.
        back: bool,
    },
    /// Nothing is left to do, or may be begun.
    Nothing,
}

/// Decides what a release does next. `stops` tells that it was asked to stop, `is_dead` that a node serves nothing.
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
        // Skip nodes without a restore point.
        wanted && spec.back.contains_key(name)
    };
    let back = if stops { Vec::new() } else { release.next_back(size, turns) };
    let (nodes, back) = if back.is_empty() && !failed {
        (release.next_batch(size, is_dead), false)
    } else {
        (back, true)
    };
    if nodes.is_empty() {
        return NextAction::Nothing;
    }
    NextAction::Take { number: release.batch + 1, nodes, back }
}
