//! A node within a release: the fold of its events, and the safety rules for it.

mod fold;

use std::collections::BTreeSet;

use crate::json::Written;
use crate::mark::Mark;
use crate::node::Ticks;

use super::event::{Drained, EntryBefore, Failure};
use super::hold::Hold;
use super::step::Step;

/// A node within a release.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    /// Its phase.
    pub phase: Phase,
    /// The current step.
    pub step: Option<Step>,
    /// When its last step began, for people.
    pub since: Option<jiff::Timestamp>,
    /// The finished steps, in order.
    pub done: Vec<Step>,
    /// The last mark written to the registry.
    pub marked: Mark,
    /// The mark of a registry write that began and whose result is unknown.
    pub writing: Option<Mark>,
    /// Its entries in the registries before it was marked down, as far as they are short.
    pub entries: Vec<EntryBefore>,
    /// Whether the release still counts it as serving.
    pub leaving: Leaving,
    /// Entries of gateways that were not nodes of the playbook when it was marked down, as a list in JSON.
    pub strangers: Written,
    /// Whether the service was stopped or changed.
    pub stopped: Stopped,
    /// Processes of this release are younger than this.
    pub mark: Option<Ticks>,
    /// How many gateways have confirmed since the last confirming step began.
    pub proven: usize,
    /// The result of the drain.
    pub drained: Option<Drained>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The step of the failure.
    pub failed_at: Option<Step>,
    /// It failed after it was done, while it served.
    pub fell: bool,
    /// The duration, once it is done.
    pub elapsed_ms: u64,
    /// Resumed after it had begun.
    pub resumed: bool,
    /// Its direction.
    pub way: Direction,
    /// The hold for which it is left out.
    pub held: Option<Hold>,
}

/// Whether a node's service was stopped or changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stopped {
    /// It is in its state from before the release.
    #[default]
    No,
    /// By the current step, or by the step of the failure, unless that did not begin.
    Perhaps,
    /// It was, or may have been.
    Yes,
}

/// Whether a node leaves rotation, or has left it and is not confirmed back. Such a node does not count as
/// staying, although a gateway may still show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// It may leave: enough others stay.
    Allowed,
    /// It was marked down.
    Marked,
}

/// The direction of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// To the new version.
    #[default]
    Forward,
    /// To the version before.
    Back,
}

/// The phase of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It is not selected yet.
    #[default]
    Waiting,
    /// Its steps are running.
    Taken,
    /// It runs the new version and is back in rotation.
    Done,
    /// It was up to date from the start.
    Skipped,
    /// Left out by the operator, or held.
    LeftOut,
    /// It could not be used from the start; it counts as failed.
    Blocked,
    /// Failed.
    Failed,
    /// Stopped in its state, on request.
    Interrupted,
    /// It runs the version before again and is back in rotation.
    RolledBack,
}

/// The state of a node in rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationState {
    /// As before the release.
    Untouched,
    /// In rotation, again or still, with the version before.
    PutBack,
    /// In rotation with the new version.
    Updated,
    /// Marked up with the new version, not yet confirmed at every gateway.
    Enabled,
    /// Out of rotation.
    Out,
    /// A write was begun and its result is unknown.
    Unknown,
}

impl NodeState {
    /// The value of a key of it before it was marked down, if that is known.
    #[must_use]
    pub fn original_of(&self, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.original.as_str())
    }

    /// Returns whether it is, or was, rolling back to the version before.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        self.way == Direction::Back
    }

    /// Returns whether the result of a registry write or of a step on the node is unknown. A node that was rolled
    /// back has passed its health check since.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let failure = self.failure.as_ref().filter(|_| self.phase != Phase::RolledBack);
        self.rotation_state() == RotationState::Unknown
            || failure.is_some_and(|failure| failure.unknown)
    }

    /// Returns whether the node's rollback failed.
    #[must_use]
    pub fn is_rollback_failed(&self) -> bool {
        self.goes_back() && self.phase == Phase::Failed
    }

    /// Returns whether the service was stopped or changed, or may have been.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped != Stopped::No
    }

    /// Returns whether the release has changed the node, or may have.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_stopped() || self.rotation_state() != RotationState::Untouched
    }

    /// Returns whether it is left out because it is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Returns whether it is marked down, or may be.
    #[must_use]
    pub fn may_be_down(&self) -> bool {
        self.marked == Mark::Down || self.writing == Some(Mark::Down)
    }

    /// Returns whether it has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Blocked) || self.failure.is_some()
    }

    /// Returns whether its state may be half done: an earlier run of the release, or its update, did not
    /// finish.
    #[must_use]
    pub fn may_be_half_done(&self) -> bool {
        self.resumed || (self.goes_back() && self.failure.is_some())
    }

    /// Returns whether it began, or could not begin, and did not finish.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Taken | Phase::Interrupted | Phase::Failed | Phase::Blocked)
    }

    /// If rollgate took it out of rotation, or may have, and did not return it, this returns the gateway
    /// entries at that time that were not nodes of the playbook.
    #[must_use]
    pub fn taken_out(&self) -> Option<BTreeSet<String>> {
        matches!(self.rotation_state(), RotationState::Out | RotationState::Unknown)
            .then(|| self.strangers_when_marked().unwrap_or_default())
    }

    /// Gateway entries that were not nodes of the playbook when it was marked down, or was about to be;
    /// `None` before that.
    #[must_use]
    pub fn strangers_when_marked(&self) -> Option<BTreeSet<String>> {
        self.strangers.typed().ok()
    }

    /// The rotation state of the node.
    #[must_use]
    pub fn rotation_state(&self) -> RotationState {
        if self.writing.is_some() {
            return RotationState::Unknown;
        }
        match self.marked {
            // A write marks it in all of its registries.
            Mark::Unknown | Mark::Mixed => RotationState::Untouched,
            Mark::Down => RotationState::Out,
            Mark::Up
                if !self.is_stopped()
                    && !self.done.contains(&Step::Enable)
                    && self.step != Some(Step::Enable) =>
            {
                RotationState::PutBack
            }
            Mark::Up if self.done.contains(&Step::ConfirmIn) && self.goes_back() => {
                RotationState::PutBack
            }
            Mark::Up if self.done.contains(&Step::ConfirmIn) => RotationState::Updated,
            Mark::Up => RotationState::Enabled,
        }
    }
}
