//! A gateway routes to a node that is marked down, still or again: the node is not stopped.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::faults::{Fault, When};
use crate::judge;
use crate::process::Start;
use crate::schedule::Schedule;
use crate::story::{NEVER_ENDS, Ran, run, scratch};

/// One of four unnamed workers no longer follows the list, and another worker gets nearly every new connection: only
/// connections that are held open together reach the stale worker.
#[test]
fn stale_unnamed_worker_prevents_every_stop() {
    for seed in 1..=5 {
        let mut schedule = Schedule { seed, ..Schedule::plain() };
        let gateways = &mut schedule.shape.gateways;
        gateways.truncate(1);
        let gateway = &mut gateways[0];
        (gateway.workers, gateway.named, gateway.counted) = (4, false, true);
        gateway.server = Some("nginx/1.18.0");
        // Before the first node is marked down.
        let stuck = Fault::Stuck { gateway: 0, worker: 3, lasts: NEVER_ENDS };
        schedule.faults = vec![(When::Event(2), stuck)];
        let scratch = scratch();
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(_, 20)), "{seed}: {:?}", ran.end);
        assert!(!ran.events.contains(r#""step":"stop""#), "{seed}: {}", ran.events);
    }
}

/// A signal stops a named worker for nine seconds: it does not answer and does not update its list. Then it continues with
/// the old list.
#[test]
fn frozen_named_worker_is_waited_for() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let gateways = &mut schedule.shape.gateways;
    gateways.truncate(1);
    (gateways[0].workers, gateways[0].named, gateways[0].counted) = (4, true, true);
    let frozen = Fault::Frozen { gateway: 0, worker: 3, lasts: 9_000 };
    schedule.faults = vec![(When::Event(2), frozen)];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    assert!(ran.moment("node-1 stop: StepStarted") > 9_000, "{}", ran.events);
}

/// Runs a release whose gateway is reloaded with its old list while rollgate connects to the first node to stop it.
fn reloaded_while_connecting(change: impl FnOnce(&mut Schedule)) -> Ran {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.gateways[0].interval = 5_000;
    let whole = run(&schedule, scratch.path(), true);
    let when = When::Event(whole.events_until("EVENT node-1 stop: StepStarted"));
    schedule.faults = vec![
        (when, Fault::SlowConnection { node: 0, takes: 2_400 }),
        (when, Fault::Reload { gateway: 0, old_list: true }),
    ];
    change(&mut schedule);
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    ran
}

#[test]
fn node_routed_again_while_connecting_is_confirmed_out_again_before_stop() {
    let ran = reloaded_while_connecting(|_| {});
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    let again = ran.events.lines().filter(|line| {
        let of_the_stop = line.contains(r#""node":"node-1","step":"stop""#);
        of_the_stop && line.contains(r#""gateway.proven""#) && line.contains(r#""routed":false"#)
    });
    assert_eq!(again.count(), 2, "{}", ran.events);
}

/// Repeated confirmations have a time limit per direction: the rollback has a limit of its own.
#[test]
fn node_that_was_confirmed_out_again_can_still_roll_back() {
    let ran = reloaded_while_connecting(|schedule| {
        schedule.bad = vec![(0, Start::Never)];
        (schedule.shape.on_failure, schedule.shape.health_deadline) = ("rollback_node", 180_000);
    });
    assert!(matches!(ran.end, End::Finished(Outcome::RolledBack, 21)), "{:?}", ran.end);
}
