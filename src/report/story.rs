//! A past release, told from its journal: what happened, when, and why.

mod text;

use jiff::Timestamp;

use super::plain::wording;
use crate::release::{
    CommandKind, Event, EventKind, Failure, Hold, Outcome, PlannedAction, Release, Started, Step,
    Timeline,
};

pub use text::StoryText;

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

/// A failure of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// The node.
    pub node: String,
    /// The step.
    pub step: Option<Step>,
    /// Why, and what was seen.
    pub failure: Failure,
}

impl Story {
    /// Takes in the next event of the release. An event that cannot follow is left out: readers of journals refuse it.
    pub fn take(&mut self, event: &Event) {
        if self.release.apply(event).is_err() {
            return;
        }
        self.timeline.take(event);
        self.note_changes(event);
        if let EventKind::NodeFailed(failure) = &event.fact {
            let node = event.node.clone().unwrap_or_default();
            let failure = (**failure).clone();
            self.failures.push(Failed { at: event.at, node, step: event.step, failure });
        }
        if let EventKind::ReleaseResumed(resumed) = &event.fact {
            self.resumed.push((event.at, resumed.actor.clone()));
        }
        // Steps are told by the timeline.
        if matches!(event.fact, EventKind::StepStarted {} | EventKind::StepFinished { .. }) {
            return;
        }
        if let Some((word, text, _)) = wording(event, &self.release, false) {
            self.notes.push(Note { at: event.at, node: event.node.clone(), word, text });
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

/// Whose hold it is, and why.
fn told(hold: &Hold) -> String {
    let reason = if hold.reason.is_empty() { String::new() } else { format!(": {}", hold.reason) };
    format!("by {}{reason}", hold.by)
}
