//! Suggested commands after several commands. Each of them is typed, too.

use crate::faults::Fault;
use crate::operator::Task;
use crate::process::Start;
use crate::reports::plain;
use crate::scene::{Scene, printed, typed};
use crate::schedule::Schedule;

/// The third of three nodes fails.
fn third_is_bad() -> Schedule {
    plain(|schedule| schedule.bad = vec![(2, Start::Never)])
}

#[test]
fn status_suggests_no_rollback_of_nodes_that_were_rolled_back() {
    let scene = Scene::new("partly rolled back", third_is_bad()).then(Task::Deploy);
    let scene = scene.act(typed("rollgate rollback app.yaml r1 --only node-1,node-3"));
    let text = scene.then(Task::Status).end();
    let status = *printed(&text).last().expect("a command");
    let next: Vec<_> = status.lines().filter(|line| line.starts_with("Next")).collect();
    assert!(next[0].starts_with("Next  return node-2 to version 1: "), "{status}");
    assert!(!next.concat().contains("node-1"), "{status}");
}

#[test]
fn rollback_of_all_nodes_is_named_so_only_if_all_nodes_return() {
    let mut schedule = third_is_bad();
    schedule.shape.done = vec![0];
    let text = Scene::new("some had it before", schedule).then(Task::Deploy).end();
    assert!(text.contains("return node-2, node-3 to version 1 "), "{text}");
    assert!(!text.contains("all nodes"), "{text}");
}

/// A node that runs the new version already, and whose port is closed, fails and rolls back to that version.
#[test]
fn no_release_is_suggested_that_would_update_no_node() {
    let mut schedule = Schedule::plain();
    let shape = &mut schedule.shape;
    (shape.on_failure, shape.max_failures, shape.min_available) = ("rollback_node", 1, 1);
    let scene = Scene::new("again", schedule).untyped();
    let scene = scene.act(typed("rollgate deploy app.yaml --only node-2 --var version=2"));
    let scene = scene.change("node-2 ends, and does not start at once", |state| {
        state.strike(&Fault::Crash(1));
        state.strike(&Fault::NextStart { node: 1, start: Start::Fails });
    });
    let text = scene.then(Task::Deploy).then(Task::Status).end();
    assert!(text.contains("FAILED  release r2 at node-2"), "{text}");
    assert!(text.contains("version 2 on 3 nodes"), "{text}");
    assert!(!text.contains("release 2 again"), "{text}");
}
