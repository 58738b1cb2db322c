//! How events and resumes change the state of a node, and which events cannot follow.

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::{Direction, Leaving, NodeState, Phase, Stopped};
use crate::mark::Mark;
use crate::release::event::{EntryBefore, EventKind, Failure, ResumePoint};
use crate::release::hold::HeldNode;
use crate::release::step::Step;

/// The longest value of a key that is kept, in bytes.
const LONGEST_ORIGINAL: usize = 200;

impl NodeState {
    pub(in crate::release) fn apply(&mut self, step: Option<Step>, fact: &EventKind) -> Result<()> {
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
            | EventKind::Notice { .. }
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
            EventKind::RegistryWriting {
                key,
                down,
                strangers,
                original,
                modify_index,
                entries,
            } => {
                self.writing = Some(Mark::of(*down));
                if *down {
                    let only = || EntryBefore {
                        key: key.clone(),
                        original: original.clone(),
                        modify_index: *modify_index,
                    };
                    self.keep(if entries.is_empty() { vec![only()] } else { entries.clone() });
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
    fn keep(&mut self, mut entries: Vec<EntryBefore>) {
        entries.retain(|entry| entry.original.len() <= LONGEST_ORIGINAL);
        if self.entries.is_empty() {
            self.entries = entries;
        }
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
    pub(in crate::release) fn turn_back(&mut self) {
        self.phase = Phase::Taken;
        self.way = Direction::Back;
        self.stopped = Stopped::Yes;
        self.step = None;
        self.fell = false;
        self.done.clear();
    }

    pub(in crate::release) fn resume(&mut self, found: ResumePoint) {
        let written = self.writing.is_some() || self.marked != Mark::Unknown;
        *self = Self {
            phase: Phase::Waiting,
            done: found.done,
            marked: if written || found.down { Mark::of(found.down) } else { Mark::Unknown },
            writing: Some(Mark::Down).filter(|_| written && found.partly),
            stopped: if self.is_stopped() || found.gone { Stopped::Yes } else { Stopped::No },
            mark: self.mark,
            drained: self.drained,
            entries: std::mem::take(&mut self.entries),
            resumed: true,
            way: self.way,
            failure: self.failure.take().filter(|_| self.goes_back()),
            failed_at: self.failed_at.filter(|_| self.goes_back()),
            ..Self::default()
        };
    }

    /// Leaves it out from now on, as it is found.
    pub(in crate::release) fn leave_out(&mut self, found: HeldNode) {
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
}
