//! A rolling restart: each node keeps its version, whatever interrupts it.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::faults::{Fault, When};
use crate::operator::Task;
use crate::process::Start;
use crate::scene::Scene;
use crate::schedule::{After, Kill, Schedule};
use crate::story::{run, scratch};
use crate::{judge, judged, resumed_after_kills};

/// A restart of three nodes, of which the second runs another version.
fn mixed() -> Schedule {
    let mut schedule = Schedule::plain();
    (schedule.shape.restarts, schedule.shape.done) = (true, vec![1]);
    schedule
}

#[test]
fn restart_starts_a_new_process_of_the_same_version_everywhere() {
    let ran = judged(&mixed());
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

/// The plan could not inspect two nodes, which run different versions; a resume that is killed can, and then another one.
#[test]
fn resume_restarts_nodes_that_the_plan_could_not_inspect() {
    let mut schedule = mixed();
    schedule.shape.max_failures = 2;
    for node in [1, 2] {
        schedule.faults.push((When::At(0), Fault::Unreachable { node, lasts: 20_000 }));
    }
    let first = judged(&schedule);
    assert!(matches!(first.end, End::Finished(Outcome::Failed, 20)), "{:?}", first.end);
    for kill in [None, Some(Kill::AfterEvent(3)), Some(Kill::AfterEvent(14))] {
        schedule.after = Some(After { delay: 60_000, kill, ..After::soon(Task::Resume, 1, 0) });
        let ran = judged(&schedule);
        let (_, last) = ran.ends.iter().rfind(|(_, end)| *end != End::Nothing).expect("it ends");
        assert!(matches!(last, End::Finished(Outcome::Done, 0)), "{:?}", ran.ends);
        for node in ["node-2", "node-3"] {
            let new = format!("{node}: pid 1001 serves");
            assert!(ran.history.iter().any(|line| line.contains(&new)), "{:?}", ran.ends);
        }
    }
}

/// Only its listener tells the old process of a restart from the new one.
#[test]
fn stopped_node_is_started_once_it_can_be_reached_again() {
    let mut schedule = mixed();
    let start = judged(&schedule).events_until("EVENT node-1 start: StepStarted");
    schedule.faults = vec![(When::Event(start), Fault::Unreachable { node: 0, lasts: 10_000 })];
    let ran = judged(&schedule);
    assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}", ran.end);
}

/// The host is rebooted before the start command, and the service starts with it.
#[test]
fn process_since_a_reboot_is_reported_as_such() {
    let mut schedule = mixed();
    let marked = judged(&schedule).events_until("EVENT node-1 start: NodeMarked");
    schedule.faults = vec![(When::Event(marked), Fault::Reboot { node: 0, lasts: 5_000 })];
    let ran = judged(&schedule);
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    assert!(ran.events.contains("after a reboot of its host"), "{}", ran.events);
    assert!(!ran.events.contains("before this release"), "{}", ran.events);
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
    failing.faults.push((When::Event(40), Fault::NextStart { node: 1, start: Start::Fails }));
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
        "2 versions serve: 1 on 2 nodes, 2 on 1 node",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
    assert!(!text.contains("rolling back"), "{text}");
}
