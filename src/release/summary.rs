//! A release in one line: who ran it, when, what it did, and how it ended.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::command::CommandKind;
use super::event::Started;
use super::node::{NodeState, Phase, RotationState};
use super::outcome::Outcome;
use super::state::Release;
use crate::text;

/// The largest number of nodes whose steps are named.
const NAMED: usize = 3;

/// A release in one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its command.
    pub command: CommandKind,
    /// What it changes, as text after the command: ` 1 -> 2`, or the nodes of a change by hand.
    pub what: String,
    /// The version before, if all nodes had the same.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
    /// The user that started it.
    pub actor: String,
    /// The user that resumed it last.
    pub resumed_by: Option<String>,
    /// When it began.
    pub begun: Timestamp,
    /// Its last event.
    pub latest: Timestamp,
    /// How long its runs took together.
    pub took: Duration,
    /// How many runs it had.
    pub runs: usize,
    /// How many nodes were to be changed, and what became of them.
    pub nodes: NodeCounts,
    /// Whether it has ended.
    pub state: RunState,
    /// Why it is not done, in one line. Without an end, the steps at which nodes are.
    pub reason: Option<String>,
}

/// How many nodes a release has in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodeCounts {
    /// To be changed.
    pub planned: usize,
    /// Done.
    pub done: usize,
    /// Failed, those that could not be used from the start included.
    pub failed: usize,
    /// Left out of rotation by it.
    pub out: usize,
    /// Rolled back.
    pub rolled_back: usize,
}

/// Whether a release has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It has ended.
    Ended(Outcome, u8),
    /// A process runs it.
    Running,
    /// Its process ended in the middle.
    Interrupted,
    /// It has no end, and whether a process runs it is unknown.
    Unknown,
}

impl RunState {
    /// The state of a release. `runs`: whether a process runs it, if that is known.
    #[must_use]
    pub fn of(release: &Release, runs: Option<bool>) -> Self {
        match (&release.finished, runs) {
            (Some(finished), _) => Self::Ended(finished.result, finished.exit_code),
            (None, Some(true)) => Self::Running,
            (None, Some(false)) => Self::Interrupted,
            (None, None) => Self::Unknown,
        }
    }

    /// The state in words, for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Ended(outcome, _) => outcome.in_words(),
            Self::Running => "in progress",
            Self::Interrupted => "interrupted",
            Self::Unknown => "in progress or interrupted",
        }
    }

    /// The state as one word, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ended(..) => "ended",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }

    /// The exit code, if it has ended.
    #[must_use]
    pub fn exit_code(self) -> Option<u8> {
        match self {
            Self::Ended(_, code) => Some(code),
            Self::Running | Self::Interrupted | Self::Unknown => None,
        }
    }

    /// The result, if it has ended.
    #[must_use]
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Ended(outcome, _) => Some(outcome),
            Self::Running | Self::Interrupted | Self::Unknown => None,
        }
    }
}

impl NodeCounts {
    /// Counts the nodes of a release.
    #[must_use]
    pub fn of(release: &Release) -> Self {
        let is_out = |node: &NodeState| node.rotation_state() == RotationState::Out;
        Self {
            planned: release.started.as_ref().map_or(0, |started| started.nodes.updates()),
            done: release.count(|node| node.phase == Phase::Done),
            failed: release.failures(),
            out: release.count(is_out),
            rolled_back: release.count(|node| node.phase == Phase::RolledBack),
        }
    }
}

impl Summary {
    /// The summary of a release that has started. `runs`: whether a process runs it, if that is known.
    #[must_use]
    pub fn of(release: &Release, runs: Option<bool>) -> Option<Self> {
        let started = release.started.as_ref()?;
        let state = RunState::of(release, runs);
        let finished = release.finished.as_ref();
        Some(Self {
            id: started.inputs.release().to_owned(),
            command: started.command,
            what: if started.command.is_by_hand() {
                format!(" {}", named(started))
            } else {
                started.versions()
            },
            from: started.from.clone(),
            to: started.to.clone(),
            actor: started.actor.clone(),
            resumed_by: release.resumed_by.clone(),
            begun: release.begun?,
            latest: release.latest?,
            took: release.runs.took(),
            runs: release.runs.number,
            nodes: NodeCounts::of(release),
            state,
            reason: match finished {
                Some(finished) => finished.reason.clone(),
                None => Some(at_work(release, None)).filter(|at| !at.is_empty()),
            },
        })
    }

    /// Whether it changed a node, or was to change it.
    #[must_use]
    pub fn concerns(release: &Release, node: &str) -> bool {
        let is_planned = release.started.as_ref().is_some_and(|it| it.nodes.turn(node).0 > 0);
        is_planned || release.nodes.get(node).is_some_and(NodeState::is_changed)
    }
}

/// The nodes of a change by hand.
fn named(started: &Started) -> String {
    let names = started.nodes.iter().map(|planned| planned.node.clone());
    text::few(names, NAMED).join(", ")
}

/// The steps of the nodes in progress, and since when, if it is still in progress `now`.
#[must_use]
pub fn at_work(release: &Release, now: Option<Timestamp>) -> String {
    let taken = release.in_order().filter(|(_, node)| node.phase == Phase::Taken);
    let at = taken.map(|(name, node)| match (node.step, now) {
        (Some(step), Some(now)) => {
            format!("{name} at {step} for {}", text::elapsed(node.since.unwrap_or(now), now))
        }
        (Some(step), None) => format!("{name} at {step}"),
        (None, _) => format!("{name} between two steps"),
    });
    text::few(at, NAMED).join(", ")
}
