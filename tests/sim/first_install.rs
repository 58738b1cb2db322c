//! Nodes on which nothing was ever installed.

use crate::attempt::{Act, End};
use crate::faults::Fault;
use crate::operator::Task;
use crate::process::Start;
use crate::scene::{Scene, printed};
use crate::schedule::{After, Kill, Schedule};
use crate::world::State;
use crate::{judged, resumed_after_kills};

/// The third of three nodes is empty, and marked down.
fn with_a_new_node() -> Schedule {
    let mut schedule = Schedule::plain();
    (schedule.shape.empty, schedule.shape.out) = (vec![2], vec![2]);
    schedule.shape.min_available = 1;
    schedule
}

fn is_up(state: &State, at: usize) -> bool {
    state.registry()[at]
}

#[test]
fn empty_node_gets_its_first_release() {
    let ran = judged(&with_a_new_node());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    assert!(ran.history.iter().any(|line| line.contains("nothing was running (exit 5")));
}

#[test]
fn killed_first_install_is_resumed() {
    resumed_after_kills(with_a_new_node(), (3..45).step_by(7));
}

/// Nothing listens there although gateways route to them, and no node serves.
#[test]
fn service_that_was_never_installed_is_released_to_all_nodes() {
    let mut schedule = Schedule::plain();
    schedule.shape.empty = vec![0, 1, 2];
    let scene = Scene::new("new", schedule).then(Task::Plan).then(Task::Doctor).then(Task::Deploy);
    let text = scene
        .check(|state| {
            assert!((0..3).all(|at| is_up(state, at) && state.nodes[at].serves()));
        })
        .end();
    for told in [
        "first install on node-1, node-2, node-3: nothing runs there",
        "runs nothing yet (first install), marked up",
        "nothing was running (exit 5: Failed to stop app.service: Unit app.service not loaded.)",
        "DONE  release r",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
}

#[test]
fn rollback_of_a_first_install_leaves_it_stopped_and_out() {
    let rollback = Act { line: Some("rollgate rollback app.yaml"), ..Act::new(Task::Rollback, 0) };
    let scene = Scene::new("undone", with_a_new_node()).then(Task::Deploy).act(rollback);
    let text = scene
        .check(|state| {
            assert!(!is_up(state, 2) && state.nodes[2].process.is_none(), "stopped and out");
            assert!((0..2).all(|at| is_up(state, at) && state.nodes[at].serves()));
        })
        .act(rollback)
        .then(Task::Status)
        .end();
    for told in ["it was a first install: it is stopped and stays out", "DONE  release r"] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
}

/// The service did not start, and the node is out: nothing is left that a rollback could undo.
#[test]
fn first_install_that_did_not_start_suggests_no_rollback() {
    let mut schedule = with_a_new_node();
    schedule.bad = vec![(2, Start::Fails)];
    let rollback = Act { line: Some("rollgate rollback app.yaml"), ..Act::new(Task::Rollback, 0) };
    let scene = Scene::new("failed", schedule).then(Task::Deploy).then(Task::Status);
    let text = scene.act(rollback).end();
    let printed = printed(&text);
    assert!(printed[0].contains("FAILED"), "{text}");
    assert!(!text.contains("undo the first install"), "{text}");
    assert!(printed[1].contains("after a fix, retry node-3 and continue"), "{text}");
    let told =
        "Nothing to do: node-3 is out of rotation, as before its first install by release r1.";
    assert!(printed[2].contains(told), "{text}");
}

#[test]
fn failed_first_install_is_stopped_and_stays_out() {
    let mut schedule = with_a_new_node();
    schedule.shape.on_failure = "rollback_all";
    schedule.bad = vec![(2, Start::Never)];
    let text = Scene::new("failed", schedule)
        .then(Task::Deploy)
        .check(|state| {
            assert!(!is_up(state, 2) && state.nodes[2].process.is_none(), "stopped and out");
            assert!((0..2).all(|at| is_up(state, at) && state.nodes[at].serves()));
        })
        .end();
    for told in [
        "leaving rotation: it was a first install, there is no version before",
        "stopped and out, was a first install",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
}

/// The playbook has a `restart` and no `stop`.
#[test]
fn first_install_that_cannot_be_stopped_is_taken_out_and_says_so() {
    let mut schedule = with_a_new_node();
    schedule.shape.only_restarts();
    let rollback = Act { line: Some("rollgate rollback app.yaml"), ..Act::new(Task::Rollback, 0) };
    let scene = Scene::new("undone", schedule).then(Task::Plan).then(Task::Deploy).act(rollback);
    let text = scene
        .check(|state| {
            assert!(!is_up(state, 2) && state.nodes[2].process.is_some(), "out, and it runs");
        })
        .act(rollback)
        .then(Task::Status)
        .end();
    for told in [
        "1 first install without a version before: a rollback cannot stop the service",
        "it was a first install: it stays out, and its service runs on: the playbook has no `stop`",
        "out, as requested",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
    assert!(!text.contains("stopped and out"), "{text}");
    let mut fails = with_a_new_node();
    fails.shape.only_restarts();
    (fails.shape.on_failure, fails.bad) = ("rollback_all", vec![(2, Start::Never)]);
    let text = Scene::new("failed", fails).then(Task::Deploy).end();
    assert!(text.contains("out but not stopped, was a first install"), "{text}");
}

/// Nothing is installed on a node that goes back to nothing, and the file of the old version may be gone.
#[test]
fn killed_rollback_of_a_first_install_needs_no_artifact() {
    for event in [1, 5, 15] {
        let kill = Some(Kill::AfterEvent(event));
        let after = After { kill, ..After::soon(Task::Rollback, 0, 0) };
        let ran = judged(&Schedule { after: Some(after), ..with_a_new_node() });
        let (task, end) = ran.ends.last().expect("an end");
        let is_refused = matches!(end, End::Refused(_));
        assert!(*task != Task::Deploy && !is_refused, "{event}: {:?}", ran.ends);
    }
}

/// No node had a version before.
#[test]
fn rollback_that_would_stop_every_node_is_refused() {
    let mut schedule = Schedule::plain();
    schedule.shape.empty = vec![0, 1, 2];
    let scene = Scene::new("all", schedule).then(Task::Deploy).then(Task::Rollback);
    let text = scene
        .check(|state| {
            assert!((0..3).all(|at| is_up(state, at) && state.nodes[at].serves()));
        })
        .end();
    let told = "error: gateway gw-1 would route to 0 nodes only, fewer than 2: ";
    assert!(text.contains(told), "{text}");
    let why = "node-1, node-2, node-3 had no version before the release, so the rollback stops the service there";
    assert!(text.contains(why), "{text}");
}

/// A rollback would stop the nodes that serve, and return none to a version.
#[test]
fn failure_rolls_nothing_back_where_no_node_had_a_version() {
    for on_failure in ["rollback_all", "rollback_node"] {
        let mut schedule = Schedule::plain();
        (schedule.shape.empty, schedule.shape.on_failure) = (vec![0, 1, 2], on_failure);
        schedule.bad = vec![(2, Start::Never)];
        let plan = Scene::new("plan", schedule.clone()).untyped().then(Task::Plan).end();
        let told =
            "3 first installs without a version before: after a failure, nothing is rolled back;";
        assert!(plan.contains(told), "{plan}");
        let text = Scene::new("all", schedule)
            .then(Task::Deploy)
            .check(|state| {
                assert!((0..2).all(|at| is_up(state, at) && state.nodes[at].serves()));
            })
            .then(Task::Status)
            .end();
        assert!(text.contains("after a fix, retry node-3 and continue"), "{text}");
        assert!(
            !text.contains("leaving rotation") && !text.contains("finish the rollback"),
            "{text}"
        );
    }
}

/// Two of three nodes must stay.
#[test]
fn rollback_of_first_installs_is_suggested_only_if_enough_nodes_stay() {
    let mut schedule = Schedule::plain();
    (schedule.shape.empty, schedule.bad) = (vec![0, 1, 2], vec![(2, Start::Never)]);
    let text = Scene::new("some", schedule).then(Task::Deploy).then(Task::Status).end();
    assert!(text.contains("undo the first install of node-3: out of rotation"), "{text}");
    assert!(!text.contains("--only node-1"), "{text}");
}

/// Its first install failed: its link points at that version, and it never had the version of the others.
#[test]
fn no_rollback_is_suggested_to_a_version_that_the_node_never_had() {
    let mut schedule = with_a_new_node();
    (schedule.shape.on_failure, schedule.bad) = ("rollback_all", vec![(2, Start::Never)]);
    schedule.shape.only_restarts();
    let scene = Scene::new("failed twice", schedule).then(Task::Deploy);
    let text = scene.then(Task::Plan).then(Task::Deploy).then(Task::Status).end();
    let told = "node-3 cannot return: it does not have app-1-00000001, which it would return to";
    assert!(text.contains(told), "{text}");
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains("version 1 on 2 nodes"), "{text}");
    assert!(!last.contains("return node-3 to"), "{text}");
}

#[test]
fn resume_does_not_watch_a_first_install_that_was_rolled_back() {
    let mut schedule = with_a_new_node();
    (schedule.shape.on_failure, schedule.bad) = ("rollback_all", vec![(2, Start::Never)]);
    let text = Scene::new("failed", schedule).then(Task::Deploy).then(Task::Resume).end();
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains("stopped and out, was a first install"), "{text}");
    assert!(!last.contains("no longer healthy"), "{text}");
}

/// The second node is out and empty when the first one is rolled back.
#[test]
fn rollback_does_not_watch_a_node_that_is_still_empty() {
    let mut schedule = Schedule::plain();
    (schedule.shape.empty, schedule.shape.min_available) = (vec![0, 1], 1);
    for event in (20..50).step_by(3) {
        let deploy = Act { kill: Some(Kill::AfterEvent(event)), ..Act::new(Task::Deploy, 0) };
        let scene = Scene::new("killed", schedule.clone()).untyped();
        let text = scene.act(deploy).then(Task::Rollback).end();
        let last = *printed(&text).last().expect("a command");
        assert!(!last.contains("no longer"), "{event}: {text}");
    }
}

/// Once the first install has ended, the other node is the last one.
#[test]
fn rollback_is_refused_if_a_first_install_does_not_return_in_time() {
    let mut schedule = with_a_new_node();
    (schedule.shape.nodes, schedule.shape.empty, schedule.shape.out) = (2, vec![1], vec![1]);
    let scene = Scene::new("two nodes", schedule).untyped().then(Task::Deploy);
    let scene = scene.change("the service of node-2 ends", |state| state.strike(&Fault::Crash(1)));
    let text = scene.then(Task::Rollback).end();
    let told = "without node-1, gateway gw-1 would route to 0 of 2 nodes only, fewer than 1";
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains(told) && !last.contains("release r2"), "{text}");
}

/// It would have to leave later, when the first install is out.
#[test]
fn rollback_is_refused_if_a_node_that_cannot_be_inspected_would_be_the_last_one() {
    let mut schedule = with_a_new_node();
    (schedule.shape.nodes, schedule.shape.empty, schedule.shape.out) = (2, vec![1], vec![1]);
    schedule.shape.max_failures = 1;
    let scene = Scene::new("two nodes", schedule).untyped().then(Task::Deploy);
    let scene = scene.change("node-1 cannot be reached by ssh", |state| {
        state.strike(&Fault::Unreachable { node: 0, lasts: 600_000 });
    });
    let text = scene.then(Task::Rollback).end();
    let last = *printed(&text).last().expect("a command");
    let told = "node-2 had no version before the release, so the rollback stops the service there";
    assert!(last.contains(told) && !last.contains("release r2"), "{text}");
}
