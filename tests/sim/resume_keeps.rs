//! What a resume leaves unchanged.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::faults::{Fate, Fault, When};
use crate::judge;
use crate::operator::Task;
use crate::process::Start;
use crate::scene::{Scene, printed};
use crate::schedule::{After, Kill, Schedule};
use crate::story::{run, scratch};

/// A node that was killed right after `enable` is in rotation: only the remaining steps run, and it is not marked down.
#[test]
fn resume_keeps_enabled_node_in_rotation() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    // Long enough for the watchdog of nodes that are out to read this one.
    schedule.shape.min_healthy = 3_000;
    let whole = run(&schedule, scratch.path(), true);
    let enabled = whole.events_until("EVENT node-1 enable: StepFinished");
    schedule.kill = Some(Kill::AfterEvent(enabled));
    schedule.after = Some(After::soon(Task::Resume, 0, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    let of_the_resume = || ran.history.iter().filter(|line| line.contains("1: EVENT node-1"));
    assert!(of_the_resume().count() > 0, "it is taken up");
    let marked = of_the_resume()
        .find(|line| line.contains("RegistryWriting") && line.contains("down: true"));
    assert_eq!(marked, None);
}

/// The playbook lies elsewhere on the machine where the release began.
#[test]
fn resume_suggests_commands_of_its_own_machine() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.bad = vec![(0, Start::Never)];
    schedule.after = Some(After::soon(Task::Resume, 1, 1));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    for (operator, machine) in [("0: ", "machine-0/app.yaml"), ("1: ", "machine-1/app.yaml")] {
        let own = |line: &&String| line.contains(&format!(" {operator}EVENT  : ReleaseFinished"));
        let end = ran.history.iter().find(own).expect("it ends");
        assert_eq!(end.matches("app.yaml").count(), end.matches(machine).count(), "{end}");
        assert!(end.contains(machine), "{end}");
    }
}

/// A late write of the journal's replica arrives after a later one: another machine still reads the true state.
#[test]
fn late_write_does_not_set_back_the_journal_replica() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    (schedule.shape.slow_of, schedule.shape.slowest) = (1, 2_000);
    let drain = "EVENT node-1 drain: StepStarted";
    let whole = run(&schedule, scratch.path(), true);
    let (event, begins) = (When::Event(whole.events_until(drain)), whole.moment(drain));
    // A copy that is behind is caught up with an event, after a while.
    schedule.faults = vec![(event, Fault::NextWrite(Fate::Late(60_000)))];
    let behind = run(&schedule, scratch.path(), true);
    let caught_up = behind.moment_after(begins + 7_000, "EVENT") - begins;
    schedule.after = Some(After::soon(Task::Resume, 1, 1));
    for late in [50, 250, 750, 1_750].map(|later| caught_up + later) {
        schedule.faults = vec![(event, Fault::NextWrite(Fate::Late(late)))];
        schedule.kill = Some(Kill::At(begins + late + 10));
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert_eq!(ran.ends[0], (Task::Deploy, End::Killed));
    }
}

/// One node of a batch fails and a signal asks the release to stop before the other node has finished.
#[test]
fn started_node_rolls_back_too_after_its_release_failed() {
    for on_failure in ["rollback_all", "rollback_node"] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        let shape = &mut schedule.shape;
        (shape.batches, shape.min_available) = ("2".into(), 1);
        shape.on_failure = on_failure;
        schedule.bad = vec![(0, Start::Never), (1, Start::Never)];
        let before = run(&schedule, scratch.path(), true);
        let stop = When::Event(before.events_until("EVENT node-2 stop: StepStarted"));
        let later = (stop, Fault::SlowConnection { node: 1, takes: 3_000 });
        schedule.faults = vec![later.clone()];
        let whole = run(&schedule, scratch.path(), true);
        let failed = When::Event(whole.events_until("EVENT node-1 : NodeRollingBack"));
        schedule.faults = vec![later, (failed, Fault::Signal)];
        schedule.after = Some(After::soon(Task::Resume, 0, 0));
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        let resumed = &ran.ends[1].1;
        assert!(matches!(resumed, End::Finished(Outcome::RolledBack, 21)), "{:?}", ran.ends);
    }
}

/// A node could not be inspected when a rollback began and reports only its version, which is not a folder's name.
#[test]
fn restore_point_is_kept_when_only_the_version_is_known() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    schedule.faults = vec![(
        When::At(whole.moment("--- the Deploy has ended") + 1_000),
        Fault::NextCommand { node: 1, fate: Fate::Vanishes },
    )];
    (schedule.shape.min_available, schedule.shape.max_failures) = (1, 1);
    schedule.after = Some(After::soon(Task::Rollback, 0, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.ends[1], (Task::Rollback, End::Finished(_, 20))), "{:?}", ran.ends);
    assert!(matches!(ran.ends[2], (Task::Resume, End::Finished(_, 0))), "{:?}", ran.ends);
}

/// A release is killed before it has staged any node, and one node was not usable from the start: the resume stages every
/// node before it takes the first one.
#[test]
fn resume_stages_every_node_that_waits() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.max_failures = 1;
    schedule.faults = vec![(When::At(0), Fault::Unreachable { node: 0, lasts: 20_000 })];
    schedule.kill = Some(Kill::AfterEvent(1));
    schedule.after = Some(After { delay: 30_000, ..After::soon(Task::Resume, 0, 0) });
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert_eq!(ran.ends[1], (Task::Resume, End::Finished(Outcome::Done, 0)));
}

/// A node that serves fails at `stage`, because its disk is full. While another node is out, it may not leave: the resume
/// first updates the node that is out.
#[test]
fn resume_updates_nodes_that_were_out_before_it_retries_a_serving_node() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.out = vec![2];
    schedule.faults = vec![(When::At(0), Fault::DiskFull(0))];
    schedule.after = Some(After::soon(Task::Resume, 0, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert_eq!(ran.ends[1], (Task::Resume, End::Finished(Outcome::Refused, 3)));
    // The disk has room again.
    assert_eq!(ran.ends[2], (Task::Resume, End::Finished(Outcome::Done, 0)));
}

/// The same while the other node serves no requests.
#[test]
fn resume_updates_dead_nodes_before_it_retries_a_serving_node() {
    let mut schedule = Schedule::plain();
    (schedule.shape.nodes, schedule.shape.min_available) = (2, 1);
    schedule.faults = vec![(When::At(0), Fault::Crash(1)), (When::At(0), Fault::DiskFull(0))];
    let text = Scene::new("a dead node", schedule)
        .untyped()
        .then(Task::Deploy)
        .change("the disk of node-1 has room", |state| state.nodes[0].disk_full = false)
        .then(Task::Resume)
        .end();
    let last = *printed(&text).last().expect("a command");
    assert!(last.contains("DONE"), "{text}");
}

/// A release is killed while node-2 is out and node-1, which was done and fell, is about to roll back. If node-1 serves
/// again, it can leave only after node-2 is in rotation; if it does not, it rolls back first.
#[test]
fn resume_updates_the_node_that_is_out_before_a_serving_node_rolls_back() {
    for (serves_again, first) in [(false, "node-1"), (true, "node-2")] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        (schedule.shape.on_failure, schedule.shape.max_failures) = ("rollback_node", 1);
        let whole = run(&schedule, scratch.path(), true);
        let drains = When::Event(whole.events_until("EVENT node-2 drain: StepStarted"));
        schedule.faults = vec![(drains, Fault::Crash(0))];
        let before = run(&schedule, scratch.path(), true);
        let rolls_back = "EVENT node-1 : NodeRollingBack";
        schedule.kill = Some(Kill::AfterEvent(before.events_until(rolls_back)));
        if serves_again {
            let after = When::At(before.moment(rolls_back) + 1_000);
            schedule.faults.push((after, Fault::Reboot { node: 0, lasts: 5_000 }));
        }
        schedule.after = Some(After { delay: 30_000, ..After::soon(Task::Resume, 0, 0) });
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert_eq!(ran.ends[1].1, End::Finished(Outcome::Failed, 20), "{:?}", ran.ends);
        let taken = ran.history.iter().find(|line| line.contains("1: EVENT  : BatchStarted"));
        assert!(taken.is_some_and(|line| line.contains(first)), "{first}: {taken:?}");
    }
}
