//! What `history` and `show` tell of past releases.

use std::time::Duration;

use crate::attempt::Act;
use crate::operator::Task;
use crate::scene::{Scene, typed};
use crate::schedule::Meanwhile;
use crate::story::{run, scratch};

use super::{bad, killed, plain};

pub(super) fn scenes() -> Vec<String> {
    let fails = || plain(|schedule| bad(schedule, &[1]));
    let whole = run(&plain(|_| {}), scratch().path(), true);
    let stops = whole.events_until("node-2 stop: StepStarted");
    let health = whole.moment("node-1 health: StepStarted") + 100;
    let rival =
        Meanwhile::Rival { at: health, waits: false, task: Task::Show, machine: 1, breaks: false };
    vec![
        Scene::new("No release was ever run.", plain(|_| {}))
            .then(Task::History)
            .then(Task::Show)
            .end(),
        Scene::new(
            "Past releases: node-2 failed its health check, a rollback, a node that was taken out by hand.",
            fails(),
        )
        .then(Task::Deploy)
        .then(Task::Rollback)
        .act(typed("rollgate node out app.yaml node-3 --reason 'disk is replaced'"))
        .then(Task::History)
        .act(typed("rollgate show app.yaml r1"))
        .then(Task::Show)
        .act(typed("rollgate show app.yaml r"))
        .act(typed("rollgate show app.yaml r9"))
        .end(),
        Scene::new("A release that was killed at node-2, and resumed on another machine.", plain(|_| {}))
            .act(killed(stops))
            .then(Task::Show)
            .act(Act { wait: Duration::from_secs(60), ..Act::new(Task::Resume, 1) })
            .act(Act::new(Task::History, 1))
            .act(Act::new(Task::Show, 0))
            .end(),
        Scene::new("Another operator looks at the journal of a release in progress.", plain(|_| {}))
            .act(Act { meanwhile: Some(rival), ..Act::new(Task::Deploy, 0) })
            .end(),
    ]
}
