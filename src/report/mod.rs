//! Reporters: what people and programs see of a release. They hear events and see the state; nothing else.

mod background;
mod end;
mod json;
mod live;
mod plain;

use std::io::Write;

use crate::engine::release::{NodeState, Phase, Release, Standing};

pub use background::Background;
pub(crate) use background::say_in_time;
pub use end::{NodeView, Report};
pub use json::Json;
pub use live::Live;
pub use plain::Plain;

/// Writes to people. A closed pipe or a full disk there is no reason to stop a release.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes data. A reader that has seen enough is no error.
///
/// # Errors
///
/// When it cannot be written for another reason, such as a full disk.
pub(crate) fn put(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// In which state a node is, in a word or two, for the tables at the end.
#[must_use]
pub fn state_of(node: &NodeState) -> &'static str {
    match (node.phase, node.standing()) {
        (_, Standing::Unknown) => "UNKNOWN, needs you",
        (Phase::Done, Standing::Out) => "out, as asked",
        (Phase::Done, _) => "done",
        (Phase::Skipped, _) => "skipped",
        (Phase::LeftOut, _) => "left out",
        (Phase::Blocked, _) => "not usable, needs you",
        (Phase::Failed, Standing::Untouched) => "failed, untouched",
        (Phase::Failed, Standing::PutBack) => "failed, put back",
        (Phase::Failed, Standing::Updated | Standing::Enabled) => "failed, marked up, needs you",
        (Phase::Failed | Phase::Interrupted | Phase::Taken, Standing::Out) => {
            "OUT OF ROTATION, needs you"
        }
        (Phase::Interrupted, Standing::PutBack) => "put back",
        (Phase::Interrupted, Standing::Updated | Standing::Enabled) => "marked up, not yet proven",
        (Phase::Waiting | Phase::Interrupted, _) => "not started",
        (Phase::Taken, _) => "under way",
    }
}

/// How many nodes are settled, and how many there are to settle.
#[must_use]
pub fn progress(release: &Release) -> (usize, usize) {
    let done = release.count(|node| node.phase == Phase::Done);
    let (_, all) = release.turn("");
    (done, all)
}
