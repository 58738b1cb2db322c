//! Reporters: the output of a release for people and programs. They get events and the state, and nothing
//! else.

mod background;
mod end;
#[cfg(test)]
mod hostile;
mod json;
mod live;
mod plain;
mod wrap;

use std::io::Write;

use crate::engine::Sink;
use crate::release::{NodeState, Phase, Release, RestorePoint, RotationState, Step};
use crate::secret;

pub use background::Background;
pub(crate) use background::print_stderr_in_time;
pub use end::{NodeView, Report, serving};
pub use json::Json;
pub use live::Live;
pub use plain::Plain;
use wrap::{question, width_of, wrapped};

/// A reporter: it hears events, and the clock between them.
pub trait Reporter: Sink {
    /// Hears what time it is, about every second, and the release as it is.
    fn tick(&mut self, _now: jiff::Timestamp, _release: &Release) {}
}

/// Prints text for people, without any secret. A closed pipe or a full disk is not a reason to stop a
/// release.
pub(crate) fn print_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(secret::hide(text).as_bytes());
}

/// The same for a page: on a terminal, long lines are broken between words.
pub(crate) fn print_page(text: &str) {
    print_stderr(&broken(text, width_of(std::io::stderr())));
}

/// Breaks a question that is longer than a line of the terminal. Returns the lines before its last one, and the last
/// one.
pub(crate) fn broken_question(prompt: &str) -> (String, String) {
    question(&secret::hide(prompt), width_of(std::io::stderr()))
}

/// The form of a page for stdout, without secrets: on a terminal, long lines are broken between words.
pub(crate) fn for_stdout(page: &str) -> String {
    broken(page, width_of(std::io::stdout()))
}

/// Breaks the lines of a page. Secrets are hidden first: a broken one would no longer be found.
fn broken(page: &str, width: Option<usize>) -> String {
    wrapped(&secret::hide(page), width)
}

/// Writes data. A reader that closes early is not an error.
///
/// # Errors
///
/// When another write error, such as a full disk.
pub(crate) fn print_stdout(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
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
        (Phase::Interrupted, RotationState::PutBack) => "back in rotation unchanged",
        (Phase::Interrupted, RotationState::Updated | RotationState::Enabled) => {
            "marked up, not yet confirmed"
        }
        (Phase::Waiting | Phase::Interrupted, _) => "not reached",
        (Phase::Taken, _) => "in progress",
    }
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
    /// Marked down, but a gateway routes to it or cannot be read.
    MarkedDown,
    /// Neither is confirmed.
    #[default]
    Unclear,
}

/// The state of a node: from the journal, unless it contradicts the observed place.
#[must_use]
pub fn state_now(node: &NodeState, place: Place) -> String {
    let told = state_of(node);
    match (node.rotation_state(), place) {
        (RotationState::Unknown, Place::In) => "was unknown, in rotation now".into(),
        (RotationState::Unknown, Place::Out) => {
            "was unknown, OUT OF ROTATION, action required".into()
        }
        (RotationState::Out | RotationState::Enabled, Place::In) => match node.phase {
            Phase::Failed => "failed, in rotation now".into(),
            Phase::Done => "was out, in rotation now".into(),
            _ => "was stopped, in rotation now".into(),
        },
        (RotationState::Out, Place::MarkedDown) if told.starts_with(OUT) => {
            format!("{MARKED_DOWN}, action required")
        }
        (RotationState::Unknown, Place::MarkedDown) => {
            format!("was unknown, {MARKED_DOWN}, action required")
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
    use crate::mark::Mark;
    use crate::secret::{Secret, remember};

    #[test]
    fn secret_with_a_blank_is_hidden_before_lines_are_broken() {
        remember([Secret::new("open sesame of this test".to_owned())], []);
        let told =
            broken("error: the password was not accepted: open sesame of this test", Some(50));
        assert!(!told.contains("sesame"), "{told}");
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
