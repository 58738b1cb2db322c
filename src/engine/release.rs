//! The state of a release: the fold of its events.
//!
//! [`Release::apply`] is the only place where it changes, [`Release::next_batch`] says what may be taken
//! next. Both are pure: no clock, no I/O. An event that cannot follow what happened is an error and never
//! reaches the journal; so the rules that keep users safe are kept here once, whoever drives the engine:
//!
//! * nothing is stopped before it was proven out and drained;
//! * nothing is enabled before its new process was proven healthy;
//! * nothing is done that was not proven to be back in;
//! * nothing happens after the end.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use crate::event::{
    Drained, Event, Fact, Failure, Finished, Planned, Resumption, Started, Step, Will,
};
use crate::node::Mark;

/// A release, as far as it has come.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// What it started with.
    pub started: Option<Started>,
    /// Every node, by name.
    pub nodes: BTreeMap<String, NodeState>,
    /// The batch that was taken last, counted from 1.
    pub batch: usize,
    /// Why no more nodes are taken.
    pub stopping: Option<String>,
    /// How it ended.
    pub finished: Option<Finished>,
    /// The last event's number.
    pub seq: u64,
    /// When it was begun, for people and for names.
    pub begun: Option<jiff::Timestamp>,
}

/// A node within a release.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    /// How far it is.
    pub phase: Phase,
    /// The step that is being done.
    pub step: Option<Step>,
    /// The steps that were done, in order.
    pub done: Vec<Step>,
    /// The last thing written to the registry: down (`true`) or up; `None` when nothing was written.
    pub down: Option<bool>,
    /// A registry write was begun and its result is not known.
    pub writing: bool,
    /// The service was ended or changed, or may have been.
    pub stopped: bool,
    /// Processes of this release are younger than this.
    pub mark: Option<Mark>,
    /// Gateways proven since the last confirming step began.
    pub proven: usize,
    /// What the drain saw.
    pub drained: Option<Drained>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How long it took, once it is done.
    pub elapsed_ms: u64,
    /// Taken up again after it had been begun.
    pub resumed: bool,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// Its steps are being done.
    Taken,
    /// On the new version and back in.
    Done,
    /// As it should be from the start.
    Skipped,
    /// Left out by the operator.
    LeftOut,
    /// Could not be used from the start; counts as failed.
    Blocked,
    /// Failed.
    Failed,
    /// Stopped where it was, on request.
    Interrupted,
}

/// What an event changes.
#[derive(Debug)]
pub enum Change {
    /// It is only told.
    Nothing,
    /// The release begins.
    Started(Box<Started>),
    /// The release goes on.
    Resumed(Vec<Resumption>),
    /// A node's state.
    Node(String, Box<NodeState>),
    /// These nodes are taken.
    Batch(usize, Vec<String>),
    /// No more nodes are taken.
    Stopping(String),
    /// The end.
    Finished(Box<Finished>),
}

/// Where a node stands with its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As before the release.
    Untouched,
    /// In rotation again, or still, with what ran before.
    PutBack,
    /// In rotation with the new version.
    Updated,
    /// Marked up with the new version, not yet seen at every gateway.
    Enabled,
    /// Out of rotation.
    Out,
    /// A write was begun whose result is not known.
    Unknown,
}

impl Release {
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

    /// Takes in one event.
    ///
    /// # Errors
    ///
    /// When the event cannot follow what happened so far; the release is then as it was.
    pub fn apply(&mut self, event: &Event) -> Result<()> {
        let change = self.change(event)?;
        self.commit(event, change);
        Ok(())
    }

    /// Returns what an event changes, so that it can be written down before it counts.
    ///
    /// # Errors
    ///
    /// When the event cannot follow what happened so far.
    pub fn change(&self, event: &Event) -> Result<Change> {
        let goes_on = self.finished.is_none() || matches!(event.fact, Fact::ReleaseResumed(_));
        ensure!(goes_on, "event {} after the end of the release", event.seq);
        // Progress has numbers too but is not journalled, so a journal has gaps.
        ensure!(event.seq > self.seq, "event {} after event {}", event.seq, self.seq);
        let starts = matches!(event.fact, Fact::ReleaseStarted(_));
        ensure!(starts != self.started.is_some(), "event {}: a release starts once", event.seq);
        match &event.fact {
            Fact::ReleaseStarted(started) => Ok(Change::Started(started.clone())),
            Fact::ReleaseResumed(resumed) => {
                self.may_resume(&resumed.nodes)?;
                Ok(Change::Resumed(resumed.nodes.clone()))
            }
            Fact::StepProgress { .. } | Fact::Warning { .. } | Fact::CapacitySeen { .. } => {
                Ok(Change::Nothing)
            }
            Fact::BatchStarted { number, nodes } => {
                self.may_take(*number, nodes)?;
                Ok(Change::Batch(*number, nodes.clone()))
            }
            Fact::ReleaseStopping { reason } => Ok(Change::Stopping(reason.clone())),
            Fact::ReleaseFinished(finished) => {
                let busy = self.nodes.iter().find(|(_, node)| node.phase == Phase::Taken);
                ensure!(
                    busy.is_none(),
                    "the release ends while `{}` is under way",
                    busy.map_or("", |(name, _)| name)
                );
                Ok(Change::Finished(Box::new(finished.clone())))
            }
            Fact::StepStarted {}
            | Fact::RegistryWriting { .. }
            | Fact::RegistryWritten { .. }
            | Fact::RegistryRefused {}
            | Fact::NodeMarked { .. }
            | Fact::GatewayProven { .. }
            | Fact::StepFinished { .. }
            | Fact::NodeFailed(_)
            | Fact::NodePutBack { .. }
            | Fact::NodeInterrupted {}
            | Fact::NodeDone { .. } => {
                let Some(name) = &event.node else { bail!("event {} names no node", event.seq) };
                let Some(node) = self.nodes.get(name) else { bail!("there is no node `{name}`") };
                let mut after = node.clone();
                after.apply(event.step, &event.fact).map_err(|error| {
                    error.context(format!("node `{name}`, event {}", event.seq))
                })?;
                Ok(Change::Node(name.clone(), Box::new(after)))
            }
        }
    }

    /// Makes a change that [`change`](Self::change) has allowed; nothing may have happened in between.
    pub fn commit(&mut self, event: &Event, change: Change) {
        self.begun.get_or_insert(event.at);
        match change {
            Change::Nothing => {}
            Change::Started(started) => {
                self.nodes = started.nodes.iter().map(initial).collect();
                self.started = Some(*started);
            }
            Change::Resumed(nodes) => {
                self.finished = None;
                self.stopping = None;
                // What was being staged is staged anew.
                for node in self.nodes.values_mut().filter(|node| node.phase == Phase::Waiting) {
                    node.step = None;
                }
                for found in nodes {
                    self.nodes.entry(found.node.clone()).or_default().resume(found);
                }
            }
            Change::Node(name, node) => {
                self.nodes.insert(name, *node);
            }
            Change::Batch(number, nodes) => {
                for name in nodes {
                    self.nodes.entry(name).or_default().phase = Phase::Taken;
                }
                self.batch = number;
            }
            Change::Stopping(reason) => {
                self.stopping.get_or_insert(reason);
            }
            Change::Finished(finished) => self.finished = Some(*finished),
        }
        self.seq = event.seq;
    }

    fn may_take(&self, number: usize, nodes: &[String]) -> Result<()> {
        ensure!(self.stopping.is_none(), "no node is taken while the release stops");
        ensure!(number == self.batch + 1, "batch {number} after batch {}", self.batch);
        for name in nodes {
            let Some(node) = self.nodes.get(name) else { bail!("there is no node `{name}`") };
            ensure!(node.phase == Phase::Waiting, "node `{name}` is taken twice");
        }
        Ok(())
    }

    fn may_resume(&self, nodes: &[Resumption]) -> Result<()> {
        for found in nodes {
            let Some(node) = self.nodes.get(&found.node) else {
                bail!("there is no node `{}`", found.node)
            };
            ensure!(node.is_unfinished(), "node `{}` has nothing to be resumed", found.node);
            // What is not done again must have been done.
            let had = |step: &&Step| !node.done.contains(*step) && node.step != Some(**step);
            if let Some(step) = found.done.iter().find(had) {
                bail!("node `{}` never came to `{step}`", found.node);
            }
        }
        let listed = |name: &str| nodes.iter().any(|found| found.node == name);
        let left =
            self.nodes.iter().find(|(name, node)| node.phase == Phase::Taken && !listed(name));
        ensure!(left.is_none(), "node `{}` was under way", left.map_or("", |(name, _)| name));
        Ok(())
    }

    /// The nodes whose turn comes next, at most `size`; none when the release stops or nothing is left.
    #[must_use]
    pub fn next_batch(&self, size: usize) -> Vec<String> {
        if self.stopping.is_some() {
            return Vec::new();
        }
        let waiting = |resumed| {
            self.in_order()
                .filter(move |(_, node)| node.phase == Phase::Waiting && node.resumed == resumed)
        };
        // Nodes that were begun already are most likely out: they go first.
        waiting(true).chain(waiting(false)).take(size).map(|(name, _)| name.to_owned()).collect()
    }

    /// Every node in the release's order.
    pub fn in_order(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.planned().iter().filter_map(|planned| {
            self.nodes.get_key_value(&planned.node).map(|(name, node)| (name.as_str(), node))
        })
    }

    /// What was planned for each node, in order.
    #[must_use]
    pub fn planned(&self) -> &[Planned] {
        self.started.as_ref().map_or(&[], |started| &started.nodes)
    }

    /// How many nodes have failed, those that could not be used from the start included.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.count(|node| matches!(node.phase, Phase::Failed | Phase::Blocked))
    }

    /// How many nodes fulfil a condition.
    pub fn count(&self, condition: impl Fn(&NodeState) -> bool) -> usize {
        self.nodes.values().filter(|node| condition(node)).count()
    }

    /// The place of a node among those that are updated, from 1, and their number.
    #[must_use]
    pub fn turn(&self, name: &str) -> (usize, usize) {
        let updated = || self.planned().iter().filter(|planned| planned.will == Will::Update);
        let place = updated().position(|planned| planned.node == name).map_or(0, |at| at + 1);
        (place, updated().count())
    }
}

fn initial(planned: &Planned) -> (String, NodeState) {
    let phase = match planned.will {
        Will::Update => Phase::Waiting,
        Will::Skip => Phase::Skipped,
        Will::LeftOut => Phase::LeftOut,
        Will::Blocked => Phase::Blocked,
    };
    (planned.node.clone(), NodeState { phase, ..NodeState::default() })
}

impl NodeState {
    fn apply(&mut self, step: Option<Step>, fact: &Fact) -> Result<()> {
        match fact {
            Fact::StepStarted {} => {
                let Some(step) = step else { bail!("a step begins without a name") };
                self.begin(step)
            }
            Fact::StepFinished { drained, .. } => {
                ensure!(self.step.is_some() && self.step == step, "a step ends that was not begun");
                if let Some(step @ (Step::ConfirmOut | Step::ConfirmIn)) = step {
                    ensure!(self.proven > 0, "`{step}` ends without a proof");
                }
                if let Some(drained) = drained {
                    self.drained = Some(*drained);
                }
                self.done.extend(self.step.take());
                Ok(())
            }
            Fact::RegistryWriting { .. } => {
                self.writing = true;
                Ok(())
            }
            Fact::RegistryRefused {} => {
                self.writing = false;
                Ok(())
            }
            Fact::RegistryWritten { down, .. } => {
                self.writing = false;
                self.down = Some(*down);
                Ok(())
            }
            Fact::NodeMarked { listener } => {
                self.mark = Some(listener.mark);
                Ok(())
            }
            Fact::GatewayProven { .. } => {
                self.proven += 1;
                Ok(())
            }
            Fact::NodeFailed(failure) => {
                ensure!(
                    matches!(self.phase, Phase::Taken | Phase::Waiting),
                    "a node fails that is not under way"
                );
                self.failure = Some(failure.as_ref().clone());
                self.phase = Phase::Failed;
                Ok(())
            }
            Fact::NodePutBack { .. } => {
                ensure!(!self.stopped, "a node is put back whose service was stopped");
                ensure!(self.down == Some(false), "a node is put back that was not marked up");
                Ok(())
            }
            Fact::NodeInterrupted {} => {
                ensure!(
                    matches!(self.phase, Phase::Taken),
                    "a node is interrupted that is not under way"
                );
                self.phase = Phase::Interrupted;
                Ok(())
            }
            Fact::NodeDone { elapsed_ms } => {
                ensure!(self.phase == Phase::Taken, "a node is done that is not under way");
                self.phase = Phase::Done;
                self.elapsed_ms = *elapsed_ms;
                Ok(())
            }
            Fact::ReleaseStarted(_)
            | Fact::ReleaseResumed(_)
            | Fact::BatchStarted { .. }
            | Fact::StepProgress { .. }
            | Fact::Warning { .. }
            | Fact::CapacitySeen { .. }
            | Fact::ReleaseStopping { .. }
            | Fact::ReleaseFinished(_) => bail!("not an event of a node"),
        }
    }

    /// Returns whether it was begun, or could not be, and did not come to its end.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Taken | Phase::Interrupted | Phase::Failed | Phase::Blocked)
    }

    fn resume(&mut self, found: Resumption) {
        let written = self.writing || self.down.is_some();
        *self = Self {
            phase: Phase::Waiting,
            done: found.done,
            down: (written || found.down).then_some(found.down),
            stopped: self.stopped,
            mark: self.mark,
            drained: self.drained,
            resumed: true,
            ..Self::default()
        };
    }

    fn begin(&mut self, step: Step) -> Result<()> {
        let has = |wanted: Step| self.done.contains(&wanted);
        match step {
            Step::Stage => ensure!(self.phase == Phase::Waiting, "staged after it was taken"),
            Step::Prune => ensure!(self.phase == Phase::Done, "pruned before it is done"),
            Step::Stop | Step::Restart => {
                ensure!(has(Step::ConfirmOut), "stopped before it was proven out");
                ensure!(has(Step::Drain), "stopped before it was drained");
            }
            Step::Enable => ensure!(has(Step::Health), "enabled before it was proven healthy"),
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
            ensure!(self.phase == Phase::Taken, "`{step}` on a node that is not under way");
        }
        ensure!(self.step.is_none(), "`{step}` begins within another step");
        // Whatever was done to a node while it was out, only a proof of health brings it back.
        if step.touches_service() && (!matches!(step, Step::Run(_)) || self.down == Some(true)) {
            self.stopped = true;
        }
        self.step = Some(step);
        self.proven = 0;
        Ok(())
    }

    /// Where the node stands with its users.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.writing {
            return Standing::Unknown;
        }
        match self.down {
            None => Standing::Untouched,
            Some(true) => Standing::Out,
            Some(false)
                if !self.done.contains(&Step::Enable) && self.step != Some(Step::Enable) =>
            {
                Standing::PutBack
            }
            Some(false) if self.done.contains(&Step::ConfirmIn) => Standing::Updated,
            Some(false) => Standing::Enabled,
        }
    }
}

#[cfg(test)]
mod tests;
