//! Nodes that an operator holds out of rotation.

use rollgate::release::Hold;

use crate::attempt::Act;
use crate::faults::{Fault, When};
use crate::operator::Task;
use crate::process::Start;
use crate::reports::plain;
use crate::scene::{Scene, printed, typed};
use crate::schedule::{Kill, Schedule};
use crate::shape::Shape;
use crate::world::State;

/// Three nodes of which one must stay.
fn roomy(change: impl FnOnce(&mut Shape)) -> Schedule {
    plain(|schedule| {
        schedule.shape.min_available = 1;
        change(&mut schedule.shape);
    })
}

fn scene() -> Scene {
    Scene::new("held", roomy(|_| {})).untyped()
}

const OUT: &str = "rollgate node out app.yaml node-3 --reason 'disk is replaced'";

const INCLUDED: &str = "rollgate deploy app.yaml --var version=2 --include-held";

/// Asserts which nodes are held, which are in rotation, and which run the new version.
#[track_caller]
fn assert_nodes(state: &State, held: &[&str], up: [bool; 3], new: [bool; 3]) {
    assert_eq!(state.held().keys().map(String::as_str).collect::<Vec<_>>(), held);
    assert_eq!(state.registry(), up);
    let runs = |node: &crate::node::Node| {
        node.process.as_ref().is_some_and(|process| process.version == "2")
    };
    assert_eq!(state.nodes.iter().map(runs).collect::<Vec<_>>(), new);
}

const ONE_OUT: [bool; 3] = [true, true, false];

#[test]
fn release_leaves_a_held_node_out_and_is_done() {
    for machine in [0, 1] {
        let scene = scene().act(Act { machine, ..typed(OUT) }).then(Task::Plan);
        let scene = scene.then(Task::Status).then(Task::Doctor).then(Task::Deploy);
        let scene = scene.check(|state| assert_nodes(state, &["node-3"], ONE_OUT, ONE_OUT));
        let text = scene.then(Task::NodeIn(2)).then(Task::NodeIn(2)).then(Task::Deploy);
        let all = [true; 3];
        let text = text.check(|state| assert_nodes(state, &[], all, all)).end();
        let printed = printed(&text);
        let has = |command: usize, start: &str| {
            let mut lines = printed[command].lines();
            let line =
                lines.find(|line| line.contains(&format!("{start} by operator-0@here for ")));
            assert!(line.is_some_and(|line| line.contains("s: disk is replaced")), "{text}");
        };
        has(1, "left out  held");
        has(2, "Held  node-3");
        assert!(!printed[2].contains("Next"), "{}", printed[2]);
        has(3, "; releases leave it out: held");
        assert!(printed[3].contains("Ready to release"), "{}", printed[3]);
        has(4, "node-3 is held out of rotation");
        let (notice, asked) = (printed[4].find("is held out of"), printed[4].find("[y/N]"));
        assert!(notice < asked && printed[4].contains("DONE"), "{}", printed[4]);
        assert!(printed[6].contains("DONE"), "`node in` again: {}", printed[6]);
    }
}

/// Whatever a killed `node out` leaves: a node that is down is held, so no release returns it, and both commands repair
/// the rest.
#[test]
fn node_out_killed_at_any_event_never_leaves_a_node_out_without_its_hold() {
    let (mut held_up, mut held_down) = (0, 0);
    for event in 1..16 {
        for task in [Task::NodeOut(2), Task::NodeIn(2), Task::Deploy] {
            let kill = Some(Kill::AfterEvent(event));
            let mut before = (false, false);
            let killed = scene().act(Act { kill, ..Act::new(Task::NodeOut(2), 0) });
            let killed = killed.check(|state| {
                before = (state.held().contains_key("node-3"), state.registry()[2]);
            });
            let (is_held, is_up) = before;
            assert!(is_held || is_up, "{event}: out without a hold");
            held_up += usize::from(is_held && is_up);
            held_down += usize::from(is_held && !is_up);
            let scene = killed.then(Task::Status).act(Act::new(task, 1));
            let scene = scene.check(|state| match task {
                Task::NodeOut(_) => assert_nodes(state, &["node-3"], ONE_OUT, [false; 3]),
                Task::NodeIn(_) => assert_nodes(state, &[], [true; 3], [false; 3]),
                _ if is_held => {
                    assert_nodes(state, &["node-3"], [true, true, is_up], ONE_OUT);
                }
                _ => assert_nodes(state, &[], [true; 3], [true; 3]),
            });
            let text = scene.end();
            let but = "(but it is marked up: `node out` takes it out, `node in` ends the hold)";
            assert_eq!(printed(&text)[1].contains(but), is_held && is_up, "{event}: {text}");
        }
    }
    assert!(held_up > 0 && held_down > 0, "{held_up} {held_down}");
}

#[test]
fn included_node_is_updated_and_its_hold_ends_after_a_kill_at_any_event() {
    let included = || scene().then(Task::NodeOut(2));
    let all = [true; 3];
    let text = included().act(typed(INCLUDED)).check(|state| assert_nodes(state, &[], all, all));
    assert!(text.end().contains("DONE"));
    for event in (1..40).step_by(2) {
        let kill = Some(Kill::AfterEvent(event));
        let scene = included().act(Act { kill, ..typed(INCLUDED) });
        let scene = scene.check(|state| {
            assert_eq!(
                state.held().contains_key("node-3"),
                !state.registry()[2] || !state.held().is_empty()
            );
        });
        let scene = scene.then(Task::Resume);
        scene.check(|state| assert_nodes(state, &[], all, all)).end();
    }
}

#[test]
fn resume_leaves_out_a_node_that_is_held_meanwhile() {
    // The release failed at node-2, which is out; the disk of the machine is replaced.
    let failed = || {
        let mut schedule = roomy(|_| {});
        schedule.bad = vec![(1, Start::Never)];
        Scene::new("held", schedule).untyped().then(Task::Deploy)
    };
    let scene = failed().then(Task::NodeOut(1)).then(Task::Resume);
    let scene = scene.check(|state| {
        let process = state.nodes[1].process.as_ref().map(|process| process.version.clone());
        assert_eq!(state.registry(), [true, false, true], "{process:?}");
        assert_eq!(state.held().len(), 1);
    });
    let text = scene.then(Task::Status).end();
    let printed = printed(&text);
    assert!(printed[2].contains("node-2 is held out of rotation by "), "{}", printed[2]);
    assert!(printed[2].contains("DONE"), "{}", printed[2]);
    assert!(!printed[3].contains("node in"), "{}", printed[3]);
    // Neither does it watch a node that was done, nor begin one that waits.
    for node in [0, 2] {
        let scene = failed().change("node-2 is well again", |state| {
            state.nodes[1].bad_version = None;
        });
        let ends: fn(&mut State) = match node {
            0 => |state| state.strike(&Fault::Crash(0)),
            _ => |state| state.strike(&Fault::Crash(2)),
        };
        let scene = scene.then(Task::NodeOut(node)).change("its service ends", ends);
        let text = scene.then(Task::Resume);
        let text = text.check(|state| {
            assert!(!state.registry()[node], "it stays out");
            assert!(state.registry()[1], "it is updated");
        });
        let text = text.end();
        assert!(text.contains("DONE"), "{text}");
    }
}

#[test]
fn rollback_leaves_a_held_node_out() {
    let scene = scene().then(Task::Deploy).then(Task::NodeOut(2)).then(Task::Rollback);
    let scene = scene.check(|state| {
        assert_nodes(state, &["node-3"], ONE_OUT, [false, false, true]);
    });
    let text = scene.end();
    assert!(text.contains("node-3 is held out of rotation by ") && text.contains("DONE"), "{text}");
}

/// The node returns to rotation, so nothing holds it.
#[test]
fn node_out_that_does_not_succeed_leaves_no_hold() {
    let slow = roomy(|shape| {
        (shape.slow_of, shape.slowest, shape.drain_timeout) = (1, 60_000, 2_000);
    });
    let scene = Scene::new("slow", slow.clone()).untyped().then(Task::NodeOut(0));
    let text = scene.check(|state| assert_nodes(state, &[], [true; 3], [false; 3])).end();
    assert!(text.contains("failed, back in rotation unchanged"), "{text}");
    for event in [4, 6, 8, 9] {
        let mut schedule = slow.clone();
        schedule.faults = vec![(When::Event(event), Fault::Signal)];
        let scene = Scene::new("signal", schedule).untyped().then(Task::NodeOut(0));
        scene.check(|state| assert_nodes(state, &[], [true; 3], [false; 3])).end();
    }
}

/// Another program's node: out without a hold, as before there were holds.
#[test]
fn node_that_is_out_without_a_hold_is_updated_first() {
    let scene = Scene::new("out", roomy(|shape| shape.out = vec![2])).untyped().then(Task::Plan);
    let all = [true; 3];
    let scene = scene.then(Task::Deploy).check(|state| assert_nodes(state, &[], all, all));
    let text = scene.end();
    assert!(printed(&text)[0].contains("first: already out of rotation"), "{text}");
}

#[test]
fn holds_that_cannot_be_read_refuse_a_release() {
    let scene = scene().change("the key is damaged", |state| {
        state.consul.store.set(KEY, b"[]", 0);
        state.consul.store.changes.clear();
    });
    let text = scene.then(Task::Deploy).then(Task::Status).end();
    let why = "the holds in rollgate/app/holds cannot be read (";
    assert!(printed(&text).iter().all(|printed| printed.contains(why)), "{text}");
}

/// The key of the holds.
pub(crate) const KEY: &str = "rollgate/app/holds";

impl State {
    /// The held nodes.
    pub(crate) fn held(&self) -> std::collections::BTreeMap<String, Hold> {
        let held = self.consul.store.find(KEY, false).next();
        held.map_or_else(Default::default, |(_, pair)| {
            serde_json::from_slice(&pair.value).unwrap_or_default()
        })
    }
}
