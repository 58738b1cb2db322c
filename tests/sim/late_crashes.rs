//! Versions that serve at first and end later.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::faults::{Fate, Fault, When};
use crate::gateway::Lie;
use crate::judge;
use crate::operator::Task;
use crate::process::Start;
use crate::schedule::{After, Schedule};
use crate::story::{NEVER_ENDS, Ran, run, scratch};

/// Runs a release of four nodes whose new version serves for this long on each; it breaks no rule.
#[track_caller]
fn serves_for(milliseconds: u64, change: impl FnOnce(&mut Schedule)) -> Ran {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.nodes = 4;
    schedule.bad = (0..4).map(|node| (node, Start::ServesThenCrashes(500, milliseconds))).collect();
    change(&mut schedule);
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    ran
}

/// The nodes whose service was stopped.
fn stopped(ran: &Ran) -> Vec<&str> {
    let stops = ran.events.lines().filter(|line| line.contains(r#""type":"step.started""#));
    let stops = stops.filter(|line| line.contains(r#""step":"stop""#));
    let mut names: Vec<_> =
        stops.filter_map(|line| line.split(r#""node":""#).nth(1)?.split('"').next()).collect();
    names.dedup();
    names
}

#[test]
fn version_that_dies_within_min_healthy_is_never_enabled() {
    for serves in [1_500, 5_000, 9_000] {
        let ran = serves_for(serves, |schedule| schedule.shape.min_healthy = 10_000);
        assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
        assert_eq!(stopped(&ran), ["node-1"]);
        assert_eq!(ran.lost_by_faults, 0, "no client ever reached it");
    }
}

/// Returns how long the first node serves until an event of a release in which no process ends.
fn serves_until(event: &str) -> u64 {
    let whole = serves_for(NEVER_ENDS, |_| {});
    whole.moment(event) - whole.moment("node-1: pid 1001 serves")
}

#[test]
fn version_that_dies_before_the_next_stop_costs_one_node() {
    let (done, stop) =
        (serves_until("node-1 : NodeDone"), serves_until("node-2 stop: StepStarted"));
    for tenths in [1, 5, 9] {
        let ran = serves_for(done + (stop - done) * tenths / 10, |_| {});
        assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
        assert_eq!(stopped(&ran), ["node-1"], "{tenths}");
        let told = "no longer healthy: connection refused, ";
        assert!(ran.events.contains(told), "{}", ran.events);
    }
}

#[test]
fn version_that_dies_later_stops_the_release_at_any_step() {
    for (event, expected) in [("node-2 start: StepStarted", 2), ("node-3 start: StepStarted", 3)] {
        let ran = serves_for(serves_until(event), |_| {});
        assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
        assert_eq!(stopped(&ran).len(), expected, "{:?}", stopped(&ran));
        // The node that was stopped when another process ended does not serve with the same version.
        let last = format!(r#""node":"node-{expected}""#);
        let up = |line: &&str| line.contains(&last) && line.contains(r#""down":false"#);
        assert_eq!(ran.events.lines().find(up), None);
        assert!(ran.events.contains("not marked up: node-1 failed with the same version"));
    }
}

#[test]
fn dead_node_rolls_back_when_configured() {
    let serves = serves_until("node-1 : NodeDone") + 1_000;
    let ran = serves_for(serves, |schedule| schedule.shape.on_failure = "rollback_node");
    assert!(matches!(ran.end, End::Finished(Outcome::RolledBack, 21)), "{:?}", ran.end);
    assert!(ran.events.contains(r#""type":"node.rolled_back""#), "{}", ran.events);
}

/// The last node ends when no step is left: the release is not done.
#[test]
fn death_of_the_last_node_is_noticed() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let done = When::Event(whole.events_until("EVENT node-3 : NodeDone"));
    schedule.faults = vec![(done, Fault::Crash(0))];
    // No process runs there after that; a resume starts that node again.
    schedule.after = Some(After::soon(Task::Resume, 0, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    assert!(matches!(ran.ends[1].1, End::Finished(Outcome::Done, 0)), "{:?}", ran.ends);
}

/// A signal comes before all nodes are verified: the release is not done either.
#[test]
fn release_stopped_before_final_verification_is_not_done() {
    for signal in [Fault::Signal, Fault::SignalSoon(200)] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        let whole = run(&schedule, scratch.path(), true);
        let done = When::Event(whole.events_until("EVENT node-3 : NodeDone"));
        schedule.faults = vec![(done, Fault::Crash(2)), (done, signal)];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(Outcome::Stopped, 10)), "{:?}", ran.end);
        assert!(ran.events.contains(r#""resume""#), "{}", ran.events);
    }
}

/// A node has no listener, and no gateway checks it: the serving node is updated after it.
#[test]
fn initially_dead_node_is_updated_first() {
    for killed in [When::At(0), When::Event(2)] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        (schedule.shape.nodes, schedule.shape.min_available) = (2, 1);
        schedule.faults = vec![(killed, Fault::Crash(1))];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{killed:?}: {:?}", ran.end);
        let taken = ran.events.lines().find(|line| line.contains(r#""type":"batch.started""#));
        assert!(taken.is_some_and(|line| line.contains(r#""nodes":["node-2"]"#)), "{taken:?}");
        let told = "node-2: connection refused before this release touched it; its update costs no capacity";
        assert_eq!(ran.events.matches(told).count(), 1, "{}", ran.events);
    }
}

/// A node that the operator left out has no listener: an unhealthy node is not reported as done.
#[test]
fn dead_skipped_node_prevents_done() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    (schedule.shape.min_available, schedule.shape.left_out) = (1, vec![2]);
    schedule.faults = vec![(When::At(0), Fault::Crash(2))];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    let told = "final verification failed: node-3: connection refused";
    assert!(ran.events.contains(told), "{}", ran.events);
}

/// The version ends when its node is done and before the next one is stopped. A supervisor restarts it at once, so that
/// hardly any check finds it dead.
#[test]
fn version_restarted_by_a_supervisor_costs_one_node() {
    let restarts_after = |milliseconds| {
        serves_for(0, |schedule| {
            let start = Start::ServesThenRestarts(100, milliseconds);
            schedule.shape.min_healthy = 10_000;
            schedule.bad = (0..4).map(|node| (node, start)).collect();
        })
    };
    let whole = restarts_after(NEVER_ENDS);
    let serves = whole.moment("node-1: pid 1001 serves");
    let (done, stop) =
        (whole.moment("node-1 : NodeDone"), whole.moment("node-2 stop: StepStarted"));
    let ran = restarts_after(u64::midpoint(done, stop) - serves);
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    assert_eq!(stopped(&ran), ["node-1"]);
    assert!(ran.events.contains("its process ended: pid "), "{}", ran.events);
}

/// A node that the release leaves out dies: of the two nodes of a batch, one waits for the other.
#[test]
fn nodes_of_a_batch_do_not_count_as_capacity_for_each_other() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let shape = &mut schedule.shape;
    (shape.nodes, shape.batches, shape.min_available) = (4, "2".into(), 2);
    shape.left_out = vec![3];
    schedule.faults = vec![(When::Event(1), Fault::Crash(3))];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    let taken = ran.moment("EVENT node-2 disable: RegistryWriting");
    assert!(taken > ran.moment("EVENT node-1 confirm_in: StepStarted"), "{}", ran.events);
}

/// A gateway lists no node for longer than a node may be missing: no node is removed from rotation because of that.
#[test]
fn gateway_with_an_empty_list_sends_no_node_back() {
    for (lasts, expected) in [(10_000, 0), (40_000, 20)] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        let shape = &mut schedule.shape;
        (shape.nodes, shape.min_available, shape.on_failure) = (4, 3, "rollback_node");
        let whole = run(&schedule, scratch.path(), true);
        let done = When::Event(whole.events_until("EVENT node-4 : NodeDone"));
        let lie = Fault::Lies { gateway: 0, lie: Lie::NothingListed, lasts };
        schedule.faults = vec![(done, lie)];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(!ran.events.contains("node.rolling_back"), "{}", ran.events);
        assert!(matches!(ran.end, End::Finished(_, code) if code == expected), "{:?}", ran.end);
    }
}

/// A gateway lists no node although all serve: what the removal of a node costs cannot be judged, so it stays.
#[test]
fn no_node_is_removed_while_a_gateway_lists_no_node() {
    for (lasts, expected) in [(10_000, 0), (70_000, 20)] {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        let whole = run(&schedule, scratch.path(), true);
        let (begins, writes) = ("node-2 disable: StepStarted", "node-2 disable: RegistryWriting");
        let begun = When::Event(whole.events_until(begins) - 1);
        let lie = Fault::Lies { gateway: 0, lie: Lie::NothingListed, lasts };
        schedule.faults = vec![(begun, lie)];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(_, code) if code == expected), "{:?}", ran.end);
        let is_written = ran.history.iter().any(|line| line.contains(writes));
        assert_eq!(is_written, expected == 0, "{}", ran.events);
        if is_written {
            assert!(ran.moment(writes) > ran.moment("FAULT Lies") + lasts, "{}", ran.events);
        }
    }
}

/// A machine reboots during its stop: whether the stop took effect is unknown until the node is rolled back and
/// healthy.
#[test]
fn node_rolled_back_after_an_unknown_stop_is_known_again() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    (schedule.shape.nodes, schedule.shape.on_failure) = (4, "rollback_node");
    let whole = run(&schedule, scratch.path(), true);
    let stop = When::Event(whole.events_until("node-2 stop: StepStarted"));
    let reboot = When::At(whole.moment("node-2 stop: StepStarted") + 5_000);
    schedule.faults = vec![
        (stop, Fault::NextCommand { node: 1, fate: Fate::AnswerSilent }),
        (reboot, Fault::Reboot { node: 1, lasts: 65_000 }),
    ];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(ran.events.contains("whether it took effect is unknown"), "{}", ran.events);
    assert!(ran.events.contains("node.rolled_back"), "{}", ran.events);
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
}

/// A node is marked up, but one worker never routes to it, so its confirmation fails; other workers send it requests.
/// Meanwhile another node dies. The rollback waits for enough other nodes like any removal from rotation.
#[test]
fn node_that_is_partly_in_rotation_is_not_rolled_back_while_too_few_serve() {
    let rolls_back = |change: &dyn Fn(&mut Schedule)| {
        let (mut schedule, scratch) = (Schedule::plain(), scratch());
        schedule.shape.gateways[0].checks = true;
        schedule.shape.on_failure = "rollback_node";
        let whole = run(&schedule, scratch.path(), true);
        let before = When::Event(whole.events_until("node-1 enable: RegistryWriting") - 1);
        let stuck = Fault::Stuck { gateway: 0, worker: 1, lasts: 66_000 };
        schedule.faults = vec![(before, stuck)];
        change(&mut schedule);
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(ran.events.contains("node.rolling_back"), "{}", ran.events);
        ran
    };
    let ran = rolls_back(&|_| {});
    assert!(matches!(ran.end, End::Finished(Outcome::RolledBack, 21)), "{:?}", ran.end);
    let ran = rolls_back(&|schedule| {
        let (before, _) = schedule.faults[0];
        schedule.faults.push((before, Fault::Crash(2)));
    });
    assert!(matches!(ran.end, End::Finished(Outcome::Degraded, 22)), "{:?}", ran.end);
    assert!(ran.events.contains("not removed from rotation: gw-1"), "{}", ran.events);
    assert_eq!(stopped(&ran).len(), 1, "{}", ran.events);
}

/// The process of a finished node ends, and begins again while the node's rollback reads the gateways. Another node is
/// out: the first one counts like any node that serves.
#[test]
fn node_that_serves_again_is_not_rolled_back_while_too_few_serve() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.on_failure = "rollback_node";
    // An old nginx: a look at its workers takes many reads.
    schedule.shape.gateways.truncate(1);
    let gateway = &mut schedule.shape.gateways[0];
    (gateway.server, gateway.counted, gateway.workers) = (Some("nginx/1.18.0"), false, 4);
    let whole = run(&schedule, scratch.path(), true);
    let starts = When::Event(whole.events_until("EVENT node-2 start: StepStarted"));
    schedule.faults = vec![(starts, Fault::Crash(0))];
    let dead = run(&schedule, scratch.path(), true);
    let falls = dead.moment("EVENT node-1 : NodeRollingBack");
    for later in (0..3_000).step_by(500) {
        let again = (When::At(falls + later), Fault::Reboot { node: 0, lasts: 1 });
        schedule.faults = vec![(starts, Fault::Crash(0)), again];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
    }
}
