//! The state of a release: the fold of its events.
//!
//! [`Release::apply`] is the only place where it changes; [`Release::next_batch`] returns the nodes that may
//! be selected next. Both are pure: no clock, no I/O. An event that cannot follow the earlier ones is an
//! error and never reaches the journal. So the safety rules are enforced here once, for every caller:
//!
//! * a service is stopped only after its node was confirmed out and drained;
//! * a node is put back only if its service was certainly not stopped;
//! * a node is enabled only after its new process passed the health check;
//! * a node is done only after it was confirmed in;
//! * nothing happens after the end.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::json::Written;

use super::event::{Event, EventKind, Resumed, Started};
use super::node::{NodeState, Phase};
use super::outcome::Finished;
use super::pace::Pace;
use super::planned::{Planned, PlannedAction};
use super::runs::Runs;
use super::step::Step;

pub use change::Change;

/// A release in its current state.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// The start event.
    pub started: Option<Started>,
    /// Every node, by name.
    pub nodes: BTreeMap<String, NodeState>,
    /// The number of the last batch, counted from 1.
    pub batch: usize,
    /// How many nodes were done when it was last resumed.
    pub done_before: usize,
    /// Why no further node is selected.
    pub stopping: Option<String>,
    /// The end.
    pub finished: Option<Finished>,
    /// How many warnings there were.
    pub warnings: usize,
    /// The last event's number.
    pub seq: u64,
    /// The start time, for people and for names.
    pub begun: Option<jiff::Timestamp>,
    /// The time of the last event, for people.
    pub latest: Option<jiff::Timestamp>,
    /// How long its runs took.
    pub runs: Runs,
    /// The user that resumed it last.
    pub resumed_by: Option<String>,
    /// How fast it proceeds.
    pub pace: Pace,
}

impl Release {
    /// The same for a reporter: without the playbook, and without what was seen when nodes failed.
    #[must_use]
    pub fn outline(&self) -> Self {
        let started = self
            .started
            .as_ref()
            .map(|started| Started { playbook: Written::default(), ..started.clone() });
        let nodes = self.nodes.iter().map(|(name, node)| {
            let mut node = node.clone();
            if let Some(failure) = &mut node.failure {
                (failure.seen, failure.log) = Default::default();
            }
            (name.clone(), node)
        });
        let (stopping, finished) = (self.stopping.clone(), self.finished.clone());
        let resumed_by = self.resumed_by.clone();
        Self { started, nodes: nodes.collect(), stopping, finished, resumed_by, ..*self }
    }

    /// Folds a list of events.
    ///
    /// # Errors
    ///
    /// When an event cannot follow the ones before it.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self> {
        let mut release = Self::default();
        for event in events {
            release.apply(event)?;
        }
        Ok(release)
    }

    /// Applies one event.
    ///
    /// # Errors
    ///
    /// When the event cannot follow the earlier ones; the release is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<()> {
        let change = self.change(event)?;
        self.commit(event, change);
        Ok(())
    }

    /// Returns the change by an event, so that it can be journaled before it counts.
    ///
    /// # Errors
    ///
    /// When the event cannot follow the earlier ones.
    pub fn change(&self, event: &Event) -> Result<Change> {
        self.change_after(event, None)
    }

    /// The same for an event that follows others which do not count yet: they leave its node in the state `pending`.
    ///
    /// # Errors
    ///
    /// When the event cannot follow the earlier ones.
    pub fn change_after(&self, event: &Event, pending: Option<&NodeState>) -> Result<Change> {
        let goes_on = self.finished.is_none() || matches!(event.fact, EventKind::ReleaseResumed(_));
        ensure!(goes_on, "event {} after the end of the release", event.seq);
        // Progress events have numbers too but are not journaled, so a journal has gaps.
        ensure!(event.seq > self.seq, "event {} after event {}", event.seq, self.seq);
        let starts = matches!(event.fact, EventKind::ReleaseStarted(_));
        ensure!(starts != self.started.is_some(), "event {}: a release starts once", event.seq);
        match &event.fact {
            EventKind::ReleaseStarted(started) => Ok(Change::Started(started.clone())),
            EventKind::ReleaseResumed(resumed) => {
                self.may_resume(resumed)?;
                Ok(Change::Resumed(Box::new(resumed.clone())))
            }
            EventKind::StepProgress { .. }
            | EventKind::Notice { .. }
            | EventKind::Warning { .. } => Ok(Change::Nothing),
            EventKind::BatchStarted { number, nodes, back } => {
                self.may_take(*number, nodes, *back)?;
                Ok(Change::Batch(*number, nodes.clone(), *back))
            }
            EventKind::ReleaseStopping { reason } => Ok(Change::Stopping(reason.clone())),
            EventKind::ReleaseFinished(finished) => {
                let busy = self.nodes.iter().find(|(_, node)| node.phase == Phase::Taken);
                ensure!(
                    busy.is_none(),
                    "the release ends while `{}` is running",
                    busy.map_or("", |(name, _)| name)
                );
                Ok(Change::Finished(Box::new(finished.clone())))
            }
            EventKind::StepStarted {}
            | EventKind::CapacitySeen { .. }
            | EventKind::RegistryWriting { .. }
            | EventKind::RegistryWritten { .. }
            | EventKind::RegistryRefused {}
            | EventKind::NodeMarked { .. }
            | EventKind::GatewayProven { .. }
            | EventKind::StepFinished { .. }
            | EventKind::NodeFailed(_)
            | EventKind::NodePutBack { .. }
            | EventKind::NodeInterrupted {}
            | EventKind::NodeRollingBack { .. }
            | EventKind::NodeRolledBack { .. }
            | EventKind::NodeDone { .. } => {
                let Some(name) = &event.node else { bail!("event {} names no node", event.seq) };
                let Some(node) = pending.or(self.nodes.get(name)) else {
                    bail!("there is no node `{name}`")
                };
                let mut after = node.clone();
                after.apply(event.step, &event.fact).map_err(|error| {
                    error.context(format!("node `{name}`, event {}", event.seq))
                })?;
                if matches!(event.fact, EventKind::StepStarted {}) {
                    after.since = Some(event.at);
                }
                Ok(Change::Node(name.clone(), Box::new(after)))
            }
        }
    }

    /// Makes a change that [`change`](Self::change) has allowed; no other change may have happened in
    /// between.
    pub fn commit(&mut self, event: &Event, change: Change) {
        self.begun.get_or_insert(event.at);
        self.latest = Some(event.at);
        self.runs.take(event);
        if let EventKind::Warning { .. } = event.fact {
            self.warnings += 1;
        }
        match change {
            Change::Nothing => {}
            Change::Started(started) => {
                self.nodes = started.nodes.iter().map(initial).collect();
                self.started = Some(*started);
            }
            Change::Resumed(resumed) => {
                (self.finished, self.stopping) = (None, None);
                self.resumed_by = Some(resumed.actor);
                if let Some(started) = &mut self.started {
                    if let Some(playbook) = resumed.playbook {
                        started.playbook = playbook;
                    }
                    if let Some(toward) = resumed.toward {
                        started.toward = toward;
                    }
                }
                // Interrupted staging starts again.
                for node in self.nodes.values_mut().filter(|node| node.phase == Phase::Waiting) {
                    node.step = None;
                }
                for found in resumed.nodes {
                    self.nodes.entry(found.node.clone()).or_default().resume(found);
                }
                for found in resumed.held {
                    self.nodes.entry(found.node.clone()).or_default().leave_out(found);
                }
                self.done_before = self.count(|node| node.phase == Phase::Done);
            }
            Change::Node(name, node) => {
                self.nodes.insert(name, *node);
            }
            Change::Batch(number, nodes, back) => {
                for name in nodes {
                    let node = self.nodes.entry(name).or_default();
                    // A node that is resumed during its rollback keeps its finished steps.
                    if back && !node.goes_back() {
                        node.turn_back();
                    }
                    node.phase = Phase::Taken;
                }
                self.batch = number;
            }
            Change::Stopping(reason) => {
                self.stopping.get_or_insert(reason);
            }
            Change::Finished(finished) => self.finished = Some(*finished),
        }
        let mut pace = self.pace;
        pace.update(&event.fact, event.at, || self.count(|node| node.phase == Phase::Waiting));
        self.pace = pace;
        self.seq = event.seq;
    }

    /// How many nodes are done, and how many are to be updated.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let all = self.started.as_ref().map_or(0, |started| started.nodes.updates());
        (self.count(|node| node.phase == Phase::Done), all)
    }

    /// An estimate of the time that it still takes. A release that stops updates no further node.
    #[must_use]
    pub fn time_left(&self, now: jiff::Timestamp) -> Option<Duration> {
        let (done, all) = self.progress();
        let goes_on = self.stopping.is_none() && self.finished.is_none() && done < all;
        self.pace.left(now).filter(|_| goes_on)
    }

    fn may_take(&self, number: usize, nodes: &[String], back: bool) -> Result<()> {
        ensure!(back || self.stopping.is_none(), "no node may be selected while the release stops");
        ensure!(number == self.batch + 1, "batch {number} after batch {}", self.batch);
        for name in nodes {
            let Some(node) = self.nodes.get(name) else { bail!("there is no node `{name}`") };
            let waits = node.phase == Phase::Waiting || (back && node.phase == Phase::Done);
            ensure!(waits, "node `{name}` is selected twice");
            ensure!(
                back || !node.goes_back(),
                "node `{name}` is rolling back and cannot be updated"
            );
        }
        Ok(())
    }

    fn may_resume(&self, resumed: &Resumed) -> Result<()> {
        for found in &resumed.nodes {
            let Some(node) = self.nodes.get(&found.node) else {
                bail!("there is no node `{}`", found.node)
            };
            let again = node.phase == Phase::Done && found.done.is_empty();
            ensure!(again || node.is_unfinished(), "node `{}` has nothing to resume", found.node);
            // A step that is not repeated must have been done.
            let had = |step: &&Step| !node.done.contains(*step) && node.step != Some(**step);
            if let Some(step) = found.done.iter().find(had) {
                bail!("node `{}` did not reach `{step}`", found.node);
            }
        }
        let held = resumed.held.iter().map(|found| found.node.as_str());
        if let Some(unknown) = held.clone().find(|name| !self.nodes.contains_key(*name)) {
            bail!("there is no node `{unknown}`");
        }
        let listed = resumed.nodes.iter().map(|found| found.node.as_str());
        let listed: BTreeSet<_> = listed.chain(held).collect();
        let mut taken = self.nodes.iter().filter(|(_, node)| node.phase == Phase::Taken);
        let left = taken.find(|(name, _)| !listed.contains(name.as_str()));
        ensure!(left.is_none(), "node `{}` was in progress", left.map_or("", |(name, _)| name));
        Ok(())
    }

    /// The nodes that are still to be updated, in order; none when the release stops.
    #[must_use]
    pub fn to_update(&self) -> Vec<String> {
        let waits = |(_, node): &(&str, &NodeState)| self.stopping.is_none() && waits(node);
        self.in_order().filter(waits).map(|(name, _)| name.to_owned()).collect()
    }

    /// The resumed nodes that were only marked down. Once a release has failed, they return to rotation as they are.
    #[must_use]
    pub fn to_return(&self) -> Vec<String> {
        let is_unchanged = |node: &NodeState| {
            waits(node) && node.resumed && node.may_be_down() && !node.is_stopped()
        };
        let left = self.in_order().filter(|(name, node)| is_unchanged(node) && !self.was_out(name));
        left.map(|(name, _)| name.to_owned()).collect()
    }

    /// The next nodes to select, at most `size`; none when the release stops or no node is left.
    #[must_use]
    pub fn next_batch(&self, size: usize, is_dead: impl Fn(&str) -> bool) -> Vec<String> {
        if self.stopping.is_some() {
            return Vec::new();
        }
        let rank = |name: &str, node: &NodeState| {
            (!self.may_be_out(name) && !is_dead(name), !node.resumed)
        };
        let mut waiting: Vec<_> = self.in_order().filter(|(_, node)| waits(node)).collect();
        // Resumed nodes finish before new ones begin. Both may depend on nodes that are out or dead.
        if waiting.iter().any(|(_, node)| node.resumed) {
            waiting.retain(|(name, node)| node.resumed || self.was_out(name) || is_dead(name));
        }
        // Nodes that are out or dead cost no capacity, so they are first; then resumed ones.
        waiting.sort_by_key(|(name, node)| rank(name, node));
        waiting.into_iter().take(size).map(|(name, _)| name.to_owned()).collect()
    }

    /// Whether a node was out of rotation before the release.
    fn was_out(&self, name: &str) -> bool {
        self.plan_of(name).is_some_and(|plan| plan.was_out)
    }

    /// Returns whether a node is out of rotation, or may be, as far as the release knows.
    #[must_use]
    pub fn may_be_out(&self, name: &str) -> bool {
        let state = self.nodes.get(name);
        let is_out = state.and_then(|node| node.marked.is_down());
        state.is_some_and(NodeState::may_be_down) || is_out.unwrap_or_else(|| self.was_out(name))
    }

    /// The next nodes to roll back, at most `size`: first those that are rolling back, the ones that are out before
    /// the others because they cost no capacity; then those that were stopped but are not done, then the last ones that
    /// are done. `turns` selects which of the done ones roll back too.
    #[must_use]
    pub fn next_back(&self, size: usize, turns: impl Fn(&str, Phase) -> bool) -> Vec<String> {
        let waiting = || self.in_order().filter(|(_, node)| node.phase == Phase::Waiting);
        let mut on_their_way: Vec<_> = waiting().filter(|(_, node)| node.goes_back()).collect();
        on_their_way.sort_by_key(|(_, node)| !node.may_be_down());
        // When a release is resumed, an earlier failure stops it, and these nodes are out and do not serve the old
        // version.
        let begun = waiting().filter(|(name, node)| {
            node.resumed && node.is_stopped() && !node.goes_back() && turns(name, node.phase)
        });
        let done = self
            .in_order()
            .filter(|(name, node)| node.phase == Phase::Done && turns(name, node.phase));
        let done: Vec<_> = done.collect();
        on_their_way
            .into_iter()
            .chain(begun)
            .chain(done.into_iter().rev())
            .take(size)
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Every node in the release's order.
    pub fn in_order(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.planned().iter().filter_map(|planned| {
            self.nodes.get_key_value(&planned.node).map(|(name, node)| (name.as_str(), node))
        })
    }

    /// The plan for each node, in order.
    #[must_use]
    pub fn planned(&self) -> &[Planned] {
        self.started.as_ref().map_or(&[], |started| &started.nodes)
    }

    /// The plan for a node.
    #[must_use]
    pub fn plan_of(&self, name: &str) -> Option<&Planned> {
        self.started.as_ref()?.nodes.named(name)
    }

    /// The position of a node in the release's order, from 0.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.started.as_ref()?.nodes.place(name)
    }

    /// How many nodes have failed, including those that could not be used from the start.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.count(NodeState::has_failed)
    }

    /// How many nodes fulfil a condition.
    pub fn count(&self, condition: impl Fn(&NodeState) -> bool) -> usize {
        self.nodes.values().filter(|node| condition(node)).count()
    }

    /// The position of a node among the updated ones, from 1, and their number.
    #[must_use]
    pub fn turn(&self, name: &str) -> (usize, usize) {
        self.started.as_ref().map_or((0, 0), |started| started.nodes.turn(name))
    }
}

/// Returns whether a node waits for its update.
fn waits(node: &NodeState) -> bool {
    node.phase == Phase::Waiting && !node.goes_back()
}

fn initial(planned: &Planned) -> (String, NodeState) {
    let phase = match planned.will {
        PlannedAction::Update => Phase::Waiting,
        PlannedAction::Skip => Phase::Skipped,
        PlannedAction::LeftOut => Phase::LeftOut,
        PlannedAction::Blocked => Phase::Blocked,
    };
    let held = planned.held.clone().filter(|_| planned.will != PlannedAction::Update);
    (planned.node.clone(), NodeState { phase, held, ..NodeState::default() })
}

#[cfg(test)]
mod tests;
