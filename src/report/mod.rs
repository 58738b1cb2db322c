//! Reporters: the output of a release for people and programs. They get events and the state, and nothing
//! else.

mod background;
pub mod ci;
mod end;
#[cfg(test)]
mod five;
#[cfg(test)]
mod hostile;
pub mod html;
mod json;
mod live;
pub mod markdown;
mod now;
mod past;
mod plain;
mod print;
mod screen;
mod sections;
mod story;
mod why;
mod wrap;

use crate::engine::Sink;
use crate::mark::Mark;
use crate::release::{
    Event, NodeState, Phase, Release, RestorePoint, Resumed, RotationState, Step,
};
use crate::text;

pub use background::Background;
pub(crate) use background::print_stderr_in_time;
pub use end::Report;
pub use html::StoryPage;
pub use json::Json;
pub use live::Live;
pub use now::{NodeView, serving};
pub use past::PastReleases;
pub use plain::Plain;
pub(crate) use print::{
    broken_question, for_stdout, log_page, print_excerpt, print_page, print_stderr, print_stdout,
    stdout_width,
};
pub use print::{log_line, log_to};
pub(crate) use screen::Screen;
pub use story::{Failed, Note, Story, StoryText};

/// A reporter: it hears events, and the clock between them.
pub trait Reporter: Sink {
    /// Hears what time it is, about every second, and the release as it is.
    fn tick(&mut self, _now: jiff::Timestamp, _release: &Release) {}
}

/// The state of a node in a few words, for the tables at the end.
#[must_use]
pub fn state_of(node: &NodeState) -> &'static str {
    match (node.phase, node.rotation_state()) {
        (_, RotationState::Unknown) => "UNKNOWN, action required",
        (Phase::Done, RotationState::Out) => "out, as requested",
        (Phase::Done, _) => "done",
        (Phase::RolledBack, RotationState::PutBack) => "rolled back",
        (Phase::RolledBack, RotationState::Out) if node.done.contains(&Step::Stop) => {
            "stopped and out, was a first install"
        }
        (Phase::RolledBack, RotationState::Out) => "out but not stopped, was a first install",
        (Phase::RolledBack, _) => "rolled back, not yet confirmed",
        (Phase::Skipped, _) => "was up to date",
        (Phase::LeftOut, _) if node.is_held() => "held, left out",
        (Phase::LeftOut, _) => "left out",
        (Phase::Blocked, _) => "not usable, action required",
        (Phase::Failed, RotationState::Untouched) => "failed, untouched",
        (Phase::Failed, RotationState::PutBack) => "failed, back in rotation unchanged",
        (Phase::Failed, RotationState::Updated | RotationState::Enabled) => {
            "failed, marked up, action required"
        }
        (
            Phase::Failed | Phase::Interrupted | Phase::Taken | Phase::Waiting,
            RotationState::Out,
        ) => "OUT OF ROTATION, action required",
        (Phase::Waiting | Phase::Interrupted, RotationState::PutBack) => {
            "back in rotation unchanged"
        }
        (Phase::Interrupted, RotationState::Updated | RotationState::Enabled) => {
            "marked up, not yet confirmed"
        }
        (Phase::Waiting | Phase::Interrupted, _) => "not updated",
        (Phase::Taken, _) => "in progress",
    }
}

/// The word for what is done to the node of an event: its step, or `return` while a node that is not updated is marked
/// up again.
fn doing(event: &Event, release: &Release) -> String {
    let Some(step) = event.step else { return String::new() };
    let state = event.node.as_ref().and_then(|node| release.nodes.get(node));
    let is_returning = state.is_some_and(|node| {
        let is_left = matches!(node.phase, Phase::Failed | Phase::Waiting);
        let ends = is_left || release.stopping.is_some();
        let is_up = node.writing.unwrap_or(node.marked) == Mark::Up;
        ends && is_up && !node.goes_back() && !node.done.contains(&Step::Enable)
    });
    if is_returning && step != Step::Enable { "return".to_owned() } else { step.to_string() }
}

/// What is waited for once a step has begun, until it says more.
fn begun(step: Step) -> &'static str {
    match step {
        Step::Stage => "bringing the artifact to it",
        Step::Disable => "marking it down",
        Step::ConfirmOut => "waiting until no gateway routes to it",
        Step::Drain => "waiting for its requests in flight",
        Step::Stop => "stopping the service",
        Step::Activate => "switching to the release",
        Step::Run(_) => "running a command of the playbook",
        Step::Start => "starting the service",
        Step::Restart => "restarting the service",
        Step::Health => "waiting until it is healthy",
        Step::Enable => "marking it up",
        Step::ConfirmIn => "waiting until every gateway routes to it",
        Step::Prune => "deleting old releases",
    }
}

/// What is known of a node that was marked up again.
fn put_back(proven: bool, problem: Option<&String>) -> String {
    match problem {
        _ if proven => "back in rotation unchanged".to_owned(),
        Some(problem) => format!("marked up, {problem}"),
        None => "marked up, not yet confirmed".to_owned(),
    }
}

/// What a resumed release continues with.
fn continues_with(resumed: &Resumed, release: &Release) -> String {
    let names: Vec<_> = resumed.nodes.iter().map(|found| found.node.as_str()).collect();
    let waits =
        |(name, node): &(&str, &NodeState)| node.phase == Phase::Waiting && !names.contains(name);
    let waiting = match release.in_order().filter(waits).count() {
        0 => None,
        waiting => Some(text::count(waiting, "waiting node")),
    };
    let begun = (!names.is_empty()).then(|| names.join(", "));
    let parts: Vec<_> = begun.into_iter().chain(waiting).collect();
    if parts.is_empty() { "final verification".to_owned() } else { parts.join(" and ") }
}

/// What a node returns to.
fn rolling_back(version: &str) -> String {
    if version == RestorePoint::NO_VERSION {
        return "leaving rotation: it was a first install, there is no version before".to_owned();
    }
    format!("rolling back to version {version}")
}

const OUT: &str = "OUT OF ROTATION";

const MARKED_DOWN: &str = "MARKED DOWN, not confirmed out of rotation";

/// The observed place of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Marked up, and every gateway routes to it.
    In,
    /// Marked down, and no gateway routes to it.
    Out,
    /// In rotation everywhere, but nothing listens there.
    Dead,
    /// Marked down, but a gateway routes to it or cannot be read.
    MarkedDown,
    /// Neither is confirmed.
    #[default]
    Unclear,
}

/// The state of a node that gateways route to although nothing listens there.
pub const DEAD: &str = "routed but does not serve, action required";

/// The state of a node: from the journal, unless it contradicts the observed place.
#[must_use]
pub fn state_now(node: &NodeState, place: Place) -> String {
    let told = state_of(node);
    match (node.rotation_state(), place) {
        (_, Place::Dead) => DEAD.to_owned(),
        (RotationState::Unknown, Place::In) => "was unknown, in rotation now".into(),
        (RotationState::Unknown, Place::Out) => {
            "was unknown, OUT OF ROTATION, action required".into()
        }
        (RotationState::Out | RotationState::Enabled, Place::In) => match node.phase {
            Phase::Failed => "failed, in rotation now".into(),
            _ => match (node.phase, node.step) {
                (Phase::Taken | Phase::Interrupted, Some(step)) => {
                    format!("interrupted at {step}, in rotation now")
                }
                _ => "was out, in rotation now".into(),
            },
        },
        (RotationState::Out, Place::MarkedDown)
            if matches!(
                node.phase,
                Phase::Failed | Phase::Interrupted | Phase::Taken | Phase::Waiting
            ) =>
        {
            format!("{MARKED_DOWN}, action required")
        }
        (RotationState::Unknown, Place::MarkedDown) => {
            format!("was unknown, {MARKED_DOWN}, action required")
        }
        (RotationState::Untouched, Place::Out) if node.phase == Phase::Failed => {
            format!("{OUT}, action required")
        }
        (RotationState::Out, Place::Out | Place::MarkedDown) | (_, Place::In | Place::Unclear) => {
            told.into()
        }
        (_, Place::MarkedDown) => format!("{told}, {MARKED_DOWN}"),
        (_, Place::Out) => format!("{told}, OUT OF ROTATION now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{ResumePoint, Stopped};

    #[test]
    fn resumed_release_says_everything_that_it_continues_with() {
        let planned = (1..=4).map(
            |number| serde_json::json!({ "node": format!("node-{number}"), "will": "update" }),
        );
        let started = serde_json::json!({
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": planned.collect::<Vec<_>>(),
            "inputs": { "release": "r", "folder": "", "variables": {}, "artifact": null },
        });
        let mut release = Release {
            started: Some(serde_json::from_value(started).expect("a start")),
            ..Release::default()
        };
        let phases = |phases: [Phase; 4]| {
            let node = |phase| NodeState { phase, ..NodeState::default() };
            let nodes = phases.into_iter().zip(1..);
            nodes.map(|(phase, number)| (format!("node-{number}"), node(phase))).collect()
        };
        let found = |names: &[&str]| {
            let found =
                |name: &&str| ResumePoint { node: (*name).into(), ..ResumePoint::default() };
            Resumed { nodes: names.iter().map(found).collect(), ..Resumed::default() }
        };
        let (waiting, done) = (Phase::Waiting, Phase::Done);
        release.nodes = phases([done, waiting, waiting, waiting]);
        assert_eq!(continues_with(&found(&["node-2"]), &release), "node-2 and 2 waiting nodes");
        assert_eq!(continues_with(&found(&[]), &release), "3 waiting nodes");
        release.nodes = phases([done, done, waiting, waiting]);
        let both = found(&["node-3", "node-4"]);
        assert_eq!(continues_with(&both, &release), "node-3, node-4");
        release.nodes = phases([done; 4]);
        assert_eq!(continues_with(&found(&[]), &release), "final verification");
    }

    #[test]
    fn what_is_seen_now_wins_over_what_the_journal_says() {
        let node = |phase, marked, writing| NodeState {
            phase,
            marked,
            writing,
            done: vec![Step::Enable, Step::ConfirmIn],
            ..NodeState::default()
        };
        let failed = node(Phase::Failed, Mark::Down, None);
        let states = |node: &NodeState| {
            [Place::In, Place::Out, Place::MarkedDown, Place::Unclear]
                .map(|place| state_now(node, place))
        };
        assert_eq!(
            states(&failed),
            [
                "failed, in rotation now",
                "OUT OF ROTATION, action required",
                "MARKED DOWN, not confirmed out of rotation, action required",
                "OUT OF ROTATION, action required"
            ]
        );
        assert_eq!(
            states(&node(Phase::Done, Mark::Up, None)),
            [
                "done",
                "done, OUT OF ROTATION now",
                "done, MARKED DOWN, not confirmed out of rotation",
                "done"
            ]
        );
        assert_eq!(
            states(&node(Phase::Interrupted, Mark::Down, Some(Mark::Up))),
            [
                "was unknown, in rotation now",
                "was unknown, OUT OF ROTATION, action required",
                "was unknown, MARKED DOWN, not confirmed out of rotation, action required",
                "UNKNOWN, action required"
            ]
        );
        assert_eq!(
            states(&NodeState {
                step: Some(Step::ConfirmIn),
                done: vec![Step::Enable],
                stopped: Stopped::Yes,
                ..node(Phase::Interrupted, Mark::Up, None)
            })[0],
            "interrupted at confirm_in, in rotation now"
        );
        // A `node in` whose health check failed.
        assert_eq!(
            states(&node(Phase::Failed, Mark::Unknown, None))[1],
            "OUT OF ROTATION, action required"
        );
        assert_eq!(
            states(&node(Phase::Done, Mark::Down, None)),
            [
                "was out, in rotation now",
                "out, as requested",
                "out, as requested",
                "out, as requested"
            ]
        );
    }
}
