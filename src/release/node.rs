//! A node within a release: the fold of its events, and the safety rules for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::json::Written;
use crate::mark::Mark;
use crate::node::Ticks;

use super::event::{Drained, EntryBefore, EventKind, Failure, ResumePoint};
use super::hold::{HeldNode, Hold};
use super::step::Step;

/// The longest value of a key that is kept, in bytes.
const LONGEST_ORIGINAL: usize = 200;

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
    /// The value of its key before it was marked down, if that is short.
    pub original: Option<Arc<str>>,
    /// The same for its entries in several registries.
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
    pub(super) fn apply(&mut self, step: Option<Step>, fact: &EventKind) -> Result<()> {
        match fact {
            EventKind::StepStarted {} => {
                let Some(step) = step else { bail!("a step begins without a name") };
                self.begin(step)
            }
            EventKind::StepFinished { drained, .. } => {
                ensure!(self.step.is_some() && self.step == step, "a step ends that did not begin");
                if let Some(step @ (Step::ConfirmOut | Step::ConfirmIn)) = step {
                    ensure!(self.proven > 0, "`{step}` ends without a confirmation");
                }
                if let Some(drained) = drained {
                    self.drained = Some(*drained);
                }
                if step == Some(Step::ConfirmIn) {
                    self.leaving = Leaving::No;
                }
                self.done.extend(self.step.take());
                if self.stopped == Stopped::Perhaps {
                    self.stopped = Stopped::Yes;
                }
                Ok(())
            }
            EventKind::RegistryWriting { .. }
            | EventKind::RegistryRefused {}
            | EventKind::RegistryWritten { .. }
            | EventKind::CapacitySeen { .. } => {
                self.leave(fact);
                Ok(())
            }
            EventKind::NodeMarked { listener } => {
                self.mark = Some(listener.mark);
                Ok(())
            }
            EventKind::GatewayProven { .. } => {
                self.proven += 1;
                Ok(())
            }
            EventKind::NodeFailed(failure) => self.fail(step, failure),
            EventKind::NodePutBack { .. } => {
                ensure!(
                    self.stopped == Stopped::No,
                    "a node whose service was stopped cannot be put back"
                );
                ensure!(
                    self.marked == Mark::Up,
                    "a node that was not marked up cannot be put back"
                );
                Ok(())
            }
            EventKind::NodeInterrupted {} => {
                ensure!(
                    matches!(self.phase, Phase::Taken),
                    "a node that is not in progress cannot be interrupted"
                );
                self.phase = Phase::Interrupted;
                self.stays_if_unmarked();
                Ok(())
            }
            EventKind::NodeRollingBack { .. } => {
                ensure!(
                    self.phase == Phase::Failed,
                    "a node that has not failed cannot be rolled back"
                );
                self.turn_back();
                Ok(())
            }
            EventKind::NodeRolledBack { elapsed_ms } => {
                ensure!(self.phase == Phase::Taken, "only a node in progress can roll back");
                ensure!(
                    self.goes_back(),
                    "a node that is not rolling back cannot finish a rollback"
                );
                self.phase = Phase::RolledBack;
                self.elapsed_ms = *elapsed_ms;
                Ok(())
            }
            EventKind::NodeDone { elapsed_ms } => {
                ensure!(
                    self.phase == Phase::Taken,
                    "a node that is not in progress cannot be done"
                );
                ensure!(!self.goes_back(), "a node that is rolling back cannot be done");
                self.phase = Phase::Done;
                self.elapsed_ms = *elapsed_ms;
                Ok(())
            }
            EventKind::ReleaseStarted(_)
            | EventKind::ReleaseResumed(_)
            | EventKind::BatchStarted { .. }
            | EventKind::StepProgress { .. }
            | EventKind::Warning { .. }
            | EventKind::ReleaseStopping { .. }
            | EventKind::ReleaseFinished(_) => bail!("not an event of a node"),
        }
    }

    /// Applies the effect of an event on its place in rotation.
    fn leave(&mut self, fact: &EventKind) {
        match fact {
            EventKind::CapacitySeen { .. } if self.leaving == Leaving::No => {
                self.leaving = Leaving::Allowed;
            }
            EventKind::RegistryWriting { down, strangers, original, entries, .. } => {
                self.writing = Some(Mark::of(*down));
                if *down {
                    self.keep(original, entries);
                    self.strangers = json!(strangers).into();
                }
            }
            EventKind::RegistryRefused {} => {
                self.writing = None;
                if !self.may_be_down() {
                    self.leaving = Leaving::No;
                }
            }
            EventKind::RegistryWritten { down, .. } => {
                (self.writing, self.marked) = (None, Mark::of(*down));
                // An enabled node is back once it is confirmed.
                let enables = self.step == Some(Step::Enable) || self.done.contains(&Step::Enable);
                self.leaving = match self.leaving {
                    Leaving::Allowed if *down => Leaving::Marked,
                    leaving if *down || enables => leaving,
                    _ => Leaving::No,
                };
            }
            _ => {}
        }
    }

    /// Keeps the values before its first write.
    fn keep(&mut self, original: &str, entries: &[EntryBefore]) {
        let is_short = |original: &str| original.len() <= LONGEST_ORIGINAL;
        if entries.is_empty() {
            if self.original.is_none() && is_short(original) {
                self.original = Some(original.into());
            }
        } else if self.entries.is_empty() {
            let short = entries.iter().filter(|entry| is_short(&entry.original));
            self.entries = short.cloned().collect();
        }
    }

    /// The value of a key of it before it was marked down, if that is known.
    #[must_use]
    pub fn original_of(&self, key: &str) -> Option<&str> {
        if self.entries.is_empty() {
            return self.original.as_deref();
        }
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

    fn fail(&mut self, step: Option<Step>, failure: &Failure) -> Result<()> {
        // A node that serves may fail as well.
        self.fell = matches!(self.phase, Phase::Done | Phase::Skipped | Phase::RolledBack);
        ensure!(
            self.fell || matches!(self.phase, Phase::Taken | Phase::Waiting),
            "a node that is neither in progress nor done cannot fail"
        );
        if failure.not_begun {
            ensure!(
                self.step.is_some() && self.step == step,
                "a step that is not running cannot be reported as not begun"
            );
            // A node that stays out returns only after a passed health check, whatever happened to it.
            if failure.put_back && self.stopped == Stopped::Perhaps {
                self.stopped = Stopped::No;
            }
        }
        self.failure = Some(failure.clone());
        self.failed_at = step;
        self.phase = Phase::Failed;
        self.stays_if_unmarked();
        Ok(())
    }

    /// A node that was allowed to leave but was not marked down counts as staying again.
    fn stays_if_unmarked(&mut self) {
        if self.leaving == Leaving::Allowed && !self.may_be_down() {
            self.leaving = Leaving::No;
        }
    }

    /// Begins the rollback to the version before, with the first step.
    pub(super) fn turn_back(&mut self) {
        self.phase = Phase::Taken;
        self.way = Direction::Back;
        self.stopped = Stopped::Yes;
        self.step = None;
        self.fell = false;
        self.done.clear();
    }

    pub(super) fn resume(&mut self, found: ResumePoint) {
        let written = self.writing.is_some() || self.marked != Mark::Unknown;
        *self = Self {
            phase: Phase::Waiting,
            done: found.done,
            marked: if written || found.down { Mark::of(found.down) } else { Mark::Unknown },
            writing: Some(Mark::Down).filter(|_| written && found.partly),
            stopped: if self.is_stopped() || found.gone { Stopped::Yes } else { Stopped::No },
            mark: self.mark,
            drained: self.drained,
            original: self.original.take(),
            entries: std::mem::take(&mut self.entries),
            resumed: true,
            way: self.way,
            failure: self.failure.take().filter(|_| self.goes_back()),
            failed_at: self.failed_at.filter(|_| self.goes_back()),
            ..Self::default()
        };
    }

    /// Leaves it out from now on, as it is found.
    pub(super) fn leave_out(&mut self, found: HeldNode) {
        let written = self.writing.is_some() || self.marked != Mark::Unknown;
        (self.phase, self.held) = (Phase::LeftOut, Some(found.hold));
        (self.step, self.writing, self.leaving) = (None, None, Leaving::No);
        (self.failure, self.failed_at, self.fell) = (None, None, false);
        if written {
            self.marked = Mark::of(found.down);
        }
    }

    fn begin(&mut self, step: Step) -> Result<()> {
        let has = |wanted: Step| self.done.contains(&wanted);
        match step {
            Step::Stage => ensure!(self.phase == Phase::Waiting, "staged after its update began"),
            Step::Prune => ensure!(self.phase == Phase::Done, "pruned before it is done"),
            Step::Stop | Step::Restart => {
                ensure!(has(Step::ConfirmOut), "stopped before it was confirmed out");
                ensure!(has(Step::Drain), "stopped before it was drained");
            }
            Step::Enable => ensure!(has(Step::Health), "enabled before its health check passed"),
            Step::ConfirmIn => ensure!(has(Step::Enable), "confirmed before it was enabled"),
            Step::Disable
            | Step::ConfirmOut
            | Step::Drain
            | Step::Activate
            | Step::Run(_)
            | Step::Start
            | Step::Health => {}
        }
        if !matches!(step, Step::Stage | Step::Prune) {
            ensure!(self.phase == Phase::Taken, "`{step}` on a node that is not in progress");
        }
        ensure!(self.step.is_none(), "`{step}` begins within another step");
        // Whatever was done to a node while it was out, only a passed health check returns it to rotation.
        let touches =
            step.touches_service() && (!matches!(step, Step::Run(_)) || self.marked == Mark::Down);
        if touches && self.stopped == Stopped::No {
            self.stopped = Stopped::Perhaps;
        }
        // Until a new mark is set, the process of this start cannot be distinguished from that of an earlier
        // one.
        if step.starts_service() {
            self.mark = None;
        }
        self.step = Some(step);
        self.proven = 0;
        Ok(())
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
