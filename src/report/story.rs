//! A past release, told from its journal: what happened, when, and why.

mod text;
mod words;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::plain::wording;
use super::why::SameFailure;
use crate::release::{
    CommandKind, Event, EventKind, Failure, Outcome, PlannedAction, Release, Started, Step,
    Timeline,
};

pub use text::StoryText;
use words::told;
pub(super) use words::{activity, state_then, why_planned};

/// A past release.
#[derive(Debug, Default)]
pub struct Story {
    /// Its state after its last event.
    pub release: Release,
    /// What each node did when.
    pub timeline: Timeline,
    /// What happened besides steps, in order.
    pub notes: Vec<Note>,
    /// Every failure, in order: also those of runs before the last one.
    pub failures: Vec<Failed>,
    /// The users that resumed it, and when.
    pub resumed: Vec<(Timestamp, String)>,
}

/// Something that happened besides a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// The node, if it concerns one.
    pub node: Option<String>,
    /// What it is about, in one word: `WARNING`, `hold`.
    pub word: String,
    /// What happened.
    pub text: String,
}

/// A failure, and the nodes that have it. Equal failures of one run are one.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// When it was first.
    pub at: Timestamp,
    /// The nodes.
    pub nodes: Vec<String>,
    /// The run, counted from 1.
    pub run: usize,
    /// The step.
    pub step: Option<Step>,
    /// Why, and what was seen.
    pub failure: Failure,
}

impl Failed {
    /// The failure in the words of reports.
    pub(super) fn same(&self) -> SameFailure<'_> {
        let nodes = self.nodes.iter().map(String::as_str).collect();
        SameFailure { nodes, failure: &self.failure, step: self.step }
    }
}

impl Story {
    /// Takes in the next event of the release. An event that cannot follow is left out: readers of journals refuse it.
    pub fn take(&mut self, event: &Event) {
        if self.release.apply(&without_evidence(event)).is_err() {
            return;
        }
        self.timeline.take(event);
        self.note_changes(event);
        match &event.fact {
            EventKind::NodeFailed(failure) => self.fail(event, failure),
            EventKind::ReleaseResumed(resumed) => {
                self.resumed.push((event.at, resumed.actor.clone()));
            }
            // The timeline tells steps.
            EventKind::StepStarted {} | EventKind::StepFinished { .. } => return,
            _ => {}
        }
        if let Some((word, text, _)) = wording(event, &self.release, false) {
            self.notes.push(Note { at: event.at, node: event.node.clone(), word, text });
        }
    }

    fn fail(&mut self, event: &Event, failure: &Failure) {
        let (node, step, run) =
            (event.node.clone().unwrap_or_default(), event.step, self.resumed.len() + 1);
        let is_same = |other: &&mut Failed| {
            (other.run, other.step, &other.failure.reason) == (run, step, &failure.reason)
        };
        match self.failures.iter_mut().find(is_same) {
            Some(same) if same.nodes.contains(&node) => {}
            Some(same) => same.nodes.push(node),
            None => {
                let (at, nodes, failure) = (event.at, vec![node], failure.clone());
                self.failures.push(Failed { at, nodes, run, step, failure });
            }
        }
    }

    /// The story is at its end.
    #[must_use]
    pub fn finish(self) -> Self {
        Self { timeline: self.timeline.finish(), ..self }
    }

    /// The first record of the release.
    #[must_use]
    pub fn started(&self) -> Option<&Started> {
        self.release.started.as_ref()
    }

    /// The nodes that the release worked on, in the order in which it began with them.
    #[must_use]
    pub fn worked_on(&self) -> Vec<&str> {
        let planned = self.release.planned().iter();
        let known: BTreeSet<_> = planned.map(|planned| planned.node.as_str()).collect();
        self.timeline.nodes().into_iter().filter(|name| known.contains(name)).collect()
    }

    /// Notes changes of the lock and of holds.
    fn note_changes(&mut self, event: &Event) {
        let at = event.at;
        match &event.fact {
            EventKind::ReleaseStarted(started) => {
                self.note(at, None, "lock", format!("taken by {}", started.actor));
            }
            EventKind::ReleaseResumed(resumed) => {
                self.note(at, None, "lock", format!("taken by {}", resumed.actor));
                for held in &resumed.held {
                    let text = format!("left out: held {}", told(&held.hold));
                    self.note(at, Some(&held.node), "hold", text);
                }
            }
            EventKind::ReleaseFinished(finished) => {
                let lost = finished.result == Outcome::LockLost;
                let what = if lost { "lost" } else { "released" };
                self.note(at, None, "lock", what.to_owned());
            }
            EventKind::StepFinished { .. } => self.note_hold(event),
            _ => {}
        }
    }

    /// The hold of a node begins before it is marked down by hand, and ends after it is confirmed in rotation.
    fn note_hold(&mut self, event: &Event) {
        let Some(node) = &event.node else { return };
        let planned = self.release.plan_of(node);
        let planned = planned.filter(|planned| planned.will == PlannedAction::Update);
        let Some(hold) = planned.and_then(|planned| planned.held.as_ref()) else { return };
        let by_hand = self.started().is_some_and(|it| it.command == CommandKind::NodeOut);
        let text = match event.step {
            Some(Step::Disable) if by_hand => format!("begins: {}", told(hold)),
            Some(Step::ConfirmIn) if !by_hand => "ends".to_owned(),
            _ => return,
        };
        self.note(event.at, Some(node), "hold", text);
    }

    fn note(&mut self, at: Timestamp, node: Option<&String>, word: &str, text: String) {
        self.notes.push(Note { at, node: node.cloned(), word: word.to_owned(), text });
    }
}

/// The same event without what was seen of a failure, which may be most of a journal.
fn without_evidence(event: &Event) -> Cow<'_, Event> {
    let EventKind::NodeFailed(failure) = &event.fact else { return Cow::Borrowed(event) };
    let reason = failure.reason.clone();
    let Failure { unknown, not_begun, put_back, .. } = **failure;
    let brief = Failure { reason, unknown, not_begun, put_back, ..Failure::default() };
    let fact = EventKind::NodeFailed(Box::new(brief));
    let (release, node) = (event.release.clone(), event.node.clone());
    let Event { seq, at, step, .. } = *event;
    Cow::Owned(Event { seq, at, release, node, step, fact })
}
