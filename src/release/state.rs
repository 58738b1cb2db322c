//! The state of a release: the fold of its events.
//!
//! [`Release::apply`] is the only place where it changes, [`Release::next_batch`] says what may be taken
//! next. Both are pure: no clock, no I/O. An event that cannot follow what happened is an error and never
//! reaches the journal; so the rules that keep users safe are kept here once, whoever drives the engine:
//!
//! * nothing is stopped before it was proven out and drained;
//! * nothing is put back whose service was ended, or may have been;
//! * nothing is enabled before its new process was proven healthy;
//! * nothing is done that was not proven to be back in;
//! * nothing happens after the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

use super::event::{Event, Fact, Finished, Planned, Resumption, Started, Will};
use super::node::{NodeState, Phase};
use super::step::Step;
use crate::mark::Mark;

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
    /// These nodes are taken, to be updated or to go back.
    Batch(usize, Vec<String>, bool),
    /// No more nodes are taken.
    Stopping(String),
    /// The end.
    Finished(Box<Finished>),
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
            Fact::StepProgress { .. } | Fact::Warning { .. } => Ok(Change::Nothing),
            Fact::BatchStarted { number, nodes, back } => {
                self.may_take(*number, nodes, *back)?;
                Ok(Change::Batch(*number, nodes.clone(), *back))
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
            | Fact::CapacitySeen { .. }
            | Fact::RegistryWriting { .. }
            | Fact::RegistryWritten { .. }
            | Fact::RegistryRefused {}
            | Fact::NodeMarked { .. }
            | Fact::GatewayProven { .. }
            | Fact::StepFinished { .. }
            | Fact::NodeFailed(_)
            | Fact::NodePutBack { .. }
            | Fact::NodeInterrupted {}
            | Fact::NodeRollingBack { .. }
            | Fact::NodeRolledBack { .. }
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
            Change::Batch(number, nodes, back) => {
                for name in nodes {
                    let node = self.nodes.entry(name).or_default();
                    // One that is taken up again on its way back keeps what was done.
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
        self.seq = event.seq;
    }

    fn may_take(&self, number: usize, nodes: &[String], back: bool) -> Result<()> {
        ensure!(back || self.stopping.is_none(), "no node is taken while the release stops");
        ensure!(number == self.batch + 1, "batch {number} after batch {}", self.batch);
        for name in nodes {
            let Some(node) = self.nodes.get(name) else { bail!("there is no node `{name}`") };
            let waits = node.phase == Phase::Waiting || (back && node.phase == Phase::Done);
            ensure!(waits, "node `{name}` is taken twice");
            ensure!(back || !node.goes_back(), "node `{name}` goes back, not forward");
        }
        Ok(())
    }

    fn may_resume(&self, nodes: &[Resumption]) -> Result<()> {
        for found in nodes {
            let Some(node) = self.nodes.get(&found.node) else {
                bail!("there is no node `{}`", found.node)
            };
            let again = node.phase == Phase::Done && found.done.is_empty();
            ensure!(
                again || node.is_unfinished(),
                "node `{}` has nothing to be resumed",
                found.node
            );
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
    pub fn next_batch(&self, size: usize, is_dead: impl Fn(&str) -> bool) -> Vec<String> {
        if self.stopping.is_some() {
            return Vec::new();
        }
        let rank = |name: &str, node: &NodeState| {
            (node.marked != Mark::Down && !is_dead(name), !node.resumed)
        };
        let waiting =
            |(_, node): &(&str, &NodeState)| node.phase == Phase::Waiting && !node.goes_back();
        let mut waiting: Vec<_> = self.in_order().filter(waiting).collect();
        // Nothing new is begun before those that were begun are done. Others may wait for those that are out.
        if waiting.iter().any(|(_, node)| node.resumed) {
            let planned = self.planned().iter().filter(|planned| planned.was_out);
            let out: BTreeSet<_> = planned.map(|planned| planned.node.as_str()).collect();
            waiting.retain(|(name, node)| node.resumed || out.contains(name));
        }
        // What is out or dead costs no capacity; then those that were begun already.
        waiting.sort_by_key(|(name, node)| rank(name, node));
        waiting.into_iter().take(size).map(|(name, _)| name.to_owned()).collect()
    }

    /// The nodes that go back next, at most `size`: those on their way first, then those that run what the release brings
    /// but are not done, and of those that are done the last ones. `turns` says which of these go back, too.
    #[must_use]
    pub fn next_back(&self, size: usize, turns: impl Fn(&str, Phase) -> bool) -> Vec<String> {
        let waiting = || self.in_order().filter(|(_, node)| node.phase == Phase::Waiting);
        let on_their_way = waiting().filter(|(_, node)| node.goes_back());
        // When a release is taken up again, what failed before stops it, and these are out. Where the old process may still
        // run, the version that it tells would prove nothing.
        let runs_new = |node: &NodeState| node.done.iter().any(|step| step.starts_service());
        let begun = waiting().filter(|(name, node)| {
            node.resumed && runs_new(node) && !node.goes_back() && turns(name, node.phase)
        });
        let done = self
            .in_order()
            .filter(|(name, node)| node.phase == Phase::Done && turns(name, node.phase));
        let done: Vec<_> = done.collect();
        on_their_way
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

    /// What was planned for each node, in order.
    #[must_use]
    pub fn planned(&self) -> &[Planned] {
        self.started.as_ref().map_or(&[], |started| &started.nodes)
    }

    /// The folder of the release that a node ran before, where that is known.
    #[must_use]
    pub fn ran_before(&self, name: &str) -> Option<String> {
        self.started.as_ref()?.before.folder_of(name)
    }

    /// How many nodes have failed, those that could not be used from the start included.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.count(NodeState::has_failed)
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

#[cfg(test)]
mod tests;
