//! Suggested commands after several commands. Each of them is typed, too.

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
