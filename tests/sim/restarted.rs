//! A rolling restart: each node keeps its version, whatever interrupts it.

use crate::attempt::End;
use crate::operator::Task;
use crate::scene::Scene;
use crate::schedule::Schedule;
use crate::story::{run, scratch};
use crate::{judge, resumed_after_kills};

/// A restart of three nodes, of which the second runs another version.
fn mixed() -> Schedule {
    let mut schedule = Schedule::plain();
    (schedule.shape.restarts, schedule.shape.done) = (true, vec![1]);
    schedule
}

#[test]
fn restart_starts_a_new_process_of_the_same_version_everywhere() {
    let (schedule, scratch) = (mixed(), scratch());
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    let told = |text: &str| ran.history.iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("NodeDone"), 3);
    for left_out in [" stage:", " activate:", " prune:"] {
        assert_eq!(told(left_out), 0, "{left_out}");
    }
}

/// Events at regular distances, each with another way to continue; the distance is prime.
#[test]
fn killed_restart_is_resumed_with_the_same_versions() {
    resumed_after_kills(mixed(), (2..70).step_by(11));
}

/// Seeds with faults, in which operators restart.
#[test]
fn random_faults_change_no_version() {
    let scratch = scratch();
    let restarts = (0..).map(Schedule::new).filter(|schedule| schedule.shape.restarts);
    for schedule in restarts.take(6) {
        let ran = run(&schedule, scratch.path(), false);
        judge(&schedule, &ran, scratch.path());
    }
}

#[test]
fn restart_cannot_be_rolled_back_and_tells_what_can_be_done() {
    let mut failing = mixed();
    failing.shape.on_failure = "rollback_all";
    failing.faults.push((
        crate::faults::When::Event(40),
        crate::faults::Fault::NextStart { node: 1, start: crate::process::Start::Fails },
    ));
    let scene = Scene::new("restart", failing).then(Task::Deploy).then(Task::Status);
    let rollback = crate::attempt::Act {
        line: Some("rollgate rollback app.yaml r1"),
        ..crate::attempt::Act::new(Task::Rollback, 0)
    };
    let text = scene.act(rollback).then(Task::Resume).then(Task::Status).end();
    for told in [
        "deploy --restart app, versions 1, 2 kept, 3 nodes",
        "FAILED  release r1 at node-2",
        "after a fix, retry node-2 and continue",
        "release r1 is a restart: each node kept its version, so there is nothing to roll back",
        "version 1 on 2 nodes, version 2 on 1 node",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
    assert!(!text.contains("rolling back"), "{text}");
}
