//! Nodes whose update does not complete: which ones return to rotation, and how long that takes.

use rollgate::release::Outcome;

use crate::attempt::End;
use crate::faults::{Fate, Fault, When};
use crate::gateway::{Kind, Lie};
use crate::judge;
use crate::operator::Task;
use crate::process::StopWay;
use crate::scene::Scene;
use crate::schedule::{After, Kill, Schedule};
use crate::story::{NEVER_ENDS, Ran, SETTLES, run, scratch};

const PUT_BACK: &str = r#""type":"node.put_back""#;

/// Runs a plain release with these faults; it breaks no rule and ends because node-1 failed.
#[track_caller]
fn failed(faults: Vec<(When, Fault)>) -> Ran {
    let (schedule, scratch) = (Schedule { faults, ..Schedule::plain() }, scratch());
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 20)), "{:?}", ran.end);
    let told = ran.events.lines().filter(|line| !line.contains("step.progress"));
    Ran { events: told.collect::<Vec<_>>().join("\n"), ..ran }
}

/// When node-1 begins a step.
fn begins(step: &str) -> When {
    let whole = run(&Schedule::plain(), scratch().path(), true);
    let begins = format!("EVENT node-1 {step}: StepStarted");
    When::Event(whole.events_until(&begins))
}

#[test]
fn serving_node_unreachable_for_stop_returns_to_rotation() {
    let unreachable = Fault::Unreachable { node: 0, lasts: NEVER_ENDS };
    let ran = failed(vec![(begins("stop"), unreachable)]);
    assert!(ran.events.contains(PUT_BACK), "{}", ran.events);
    assert!(ran.events.contains(r#""not_begun":true,"put_back":true"#), "{}", ran.events);
    assert_eq!(ran.lost_by_faults, 0);
}

#[test]
fn dead_unreachable_node_stays_out() {
    let dead = Fault::Reboot { node: 0, lasts: NEVER_ENDS };
    let ran = failed(vec![(begins("stop"), dead)]);
    assert!(!ran.events.contains(PUT_BACK), "{}", ran.events);
    assert!(ran.events.contains("health check: connection refused"), "{}", ran.events);
}

#[test]
fn unreachable_node_whose_stop_may_have_begun_stays_out() {
    let lost = (begins("stop"), Fault::NextCommand { node: 0, fate: Fate::Vanishes });
    let (schedule, scratch) =
        (Schedule { faults: vec![lost.clone()], ..Schedule::plain() }, scratch());
    let once = run(&schedule, scratch.path(), true);
    let mut stops = once.history.iter().filter(|line| {
        line.contains("on node-1: User") && line.contains("svc stop") && line.contains("call ")
    });
    let second = stops.nth(1).expect("it is tried again");
    let number = second.split("call ").nth(1).and_then(|rest| rest.split(':').next());
    let second = When::Call(number.and_then(|number| number.parse().ok()).expect("a number"));
    let unreachable = Fault::Unreachable { node: 0, lasts: NEVER_ENDS };
    let ran = failed(vec![lost, (second, unreachable)]);
    assert!(!ran.events.contains(PUT_BACK), "{}", ran.events);
    assert!(ran.events.contains("cannot be reached"), "{}", ran.events);
}

#[test]
fn unreadable_gateway_is_not_waited_for_twice() {
    let dead = Fault::Lies { gateway: 0, lie: Lie::Refuses, lasts: NEVER_ENDS };
    let ran = failed(vec![(begins("confirm_out"), dead)]);
    assert!(ran.events.contains(PUT_BACK), "{}", ran.events);
    assert!(ran.events.contains(r#""problem":"not confirmed in rotation: gw-1"#), "{}", ran.events);
    assert!((60_000..80_000).contains(&(ran.took - SETTLES)), "{} ms", ran.took);
}

/// The gateway may be about to restart with an old list.
#[test]
fn nothing_is_stopped_while_a_gateway_cannot_be_read() {
    let dead = Fault::Lies { gateway: 0, lie: Lie::Refuses, lasts: NEVER_ENDS };
    let ran = failed(vec![(begins("drain"), dead)]);
    let stop = ran.events.lines().find(|line| {
        line.contains(r#""type":"step.started""#) && line.contains(r#""step":"stop""#)
    });
    assert_eq!(stop, None);
    assert!(ran.events.contains(PUT_BACK), "{}", ran.events);
    // A gateway that is back after a moment is read again, and the release continues.
    let away = Fault::Lies { gateway: 0, lie: Lie::Refuses, lasts: 3_000 };
    let (schedule, scratch) =
        (Schedule { faults: vec![(begins("drain"), away)], ..Schedule::plain() }, scratch());
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    let begun =
        ran.history.iter().filter(|line| line.contains("EVENT node-1 confirm_out: StepStarted"));
    assert_eq!(begun.count(), 2);
}

#[test]
fn lagging_gateway_is_waited_for() {
    let (schedule, scratch) = (Schedule::with_a_worker_that_stays_behind(1), scratch());
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(ran.events.contains(PUT_BACK));
    assert!(ran.took - SETTLES > 60_000, "{} ms", ran.took);
}

/// Consul accepts no write for eight seconds; meanwhile another node dies, and the check of a gateway removes it.
#[test]
fn node_is_not_marked_down_on_an_old_reading_of_the_gateways() {
    let whole = run(&Schedule::plain(), scratch().path(), true);
    let when = When::Event(whole.events_until("EVENT node-1 disable: RegistryWriting"));
    let mut schedule = Schedule::plain();
    schedule.shape.gateways[0].checks = true;
    schedule.faults = vec![(when, Fault::Election(8_000)), (when, Fault::Crash(2))];
    let scratch = scratch();
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 20)), "{:?}", ran.end);
    let down = |line: &&str| line.contains("registry.written") && line.contains(r#""down":true"#);
    assert_eq!(ran.events.lines().find(down), None);
    assert!(ran.events.contains("gw-1 would route to 1 node only, fewer than 2"), "{}", ran.events);
}

/// The journal's copy delays the write by more than a second: the gateways are read once more before it.
#[test]
fn node_is_not_marked_down_on_a_reading_from_before_a_delay() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let writing = "EVENT node-1 disable: RegistryWriting";
    let event = When::Event(whole.events_until(writing));
    schedule.faults = vec![(event, Fault::Election(1_400))];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    let delayed = ran.moment(writing) + 1_000;
    let read = ran.moment_after(delayed, "GET http://gw-1/");
    let written = ran.moment_after(delayed, r#""Verb":"cas","Key":"upstreams/app/10.0.1.1:9000""#);
    assert!(read < written, "read at {read}, written at {written}");
}

/// The write that marks a node down stays without an answer, the release is stopped, Consul loses its leader, and a
/// finished node dies. What is done about the one node and about the other does not add up.
#[test]
fn stop_ends_in_time_although_a_finished_node_dies_meanwhile() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let writing = "EVENT node-2 disable: RegistryWriting";
    let (event, begun) = (When::Event(whole.events_until(writing)), whole.moment(writing));
    for dies in [200, 400, 600] {
        schedule.faults = vec![
            (event, Fault::NextWrite(Fate::Plain)),
            (event, Fault::NextWrite(Fate::Vanishes)),
            (event, Fault::SignalSoon(10)),
            (When::At(begun + 500), Fault::Election(40_000)),
            (When::At(begun + dies), Fault::Crash(0)),
        ];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert!(ran.events.contains("node-2 could not be returned to rotation in time"));
        assert!(ran.events.contains("node-1 is unhealthy and stays in rotation"));
    }
}

/// The stop command reports success, but the old process stays and answers the health check. Nothing but its age
/// shows that it is not the new one.
#[test]
fn old_process_that_outlives_its_stop_is_not_enabled() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.identity = false;
    let whole = run(&schedule, scratch.path(), true);
    let stops = When::Event(whole.events_until("EVENT node-1 stop: StepStarted"));
    schedule.faults = vec![(stops, Fault::NextStop { node: 0, stop: StopWay::KeepsPort })];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 20)), "{:?}", ran.end);
    assert!(ran.events.contains("started before this release, still owns :9000"), "{}", ran.events);
}

/// The last query before the timeout gets no answer; a moment later the drain would be complete.
#[test]
fn drain_is_judged_by_the_count_at_its_timeout() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let shape = &mut schedule.shape;
    shape.gateways.remove(0);
    (shape.drain, shape.drain_timeout) = ("gateways", 10_000);
    let whole = run(&schedule, scratch.path(), true);
    let drain = When::Event(whole.events_until("EVENT node-1 drain: StepStarted"));
    let silent = Fault::Lies { gateway: 0, lie: Lie::Silent, lasts: 9_900 };
    schedule.faults = vec![(drain, silent)];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}\n{}", ran.end, ran.events);
}

/// Two of three must stay: the second node can leave only if the first, which was not marked down after all, counts
/// again.
#[test]
fn selected_node_that_cannot_be_marked_down_counts_as_serving() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.max_failures = 1;
    let whole = run(&schedule, scratch.path(), true);
    let allowed = When::Event(whole.events_until("EVENT node-1 disable: CapacitySeen"));
    schedule.faults = vec![(allowed, Fault::Garbled(0))];
    let ran = run(&schedule, scratch.path(), true);
    let done = |node: &str| {
        let node = format!(r#""node":"{node}""#);
        ran.events.lines().any(|line| line.contains("node.done") && line.contains(&node))
    };
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}\n{}", ran.end, ran.events);
    assert!(done("node-2") && done("node-3"), "{}", ran.events);
}

/// A plain release behind two gateways with an API each.
fn behind_two_apis() -> Schedule {
    let mut schedule = Schedule::plain();
    for gateway in &mut schedule.shape.gateways {
        (gateway.kind, gateway.checks) = (Kind::OwnApi, false);
    }
    schedule
}

/// The second gateway refuses a change after the first one has marked the node down.
#[test]
fn node_that_one_gateway_marks_down_and_another_refuses_returns_to_rotation() {
    let (mut schedule, scratch) = (behind_two_apis(), scratch());
    let refuses = Fault::Lies { gateway: 1, lie: Lie::RefusesChanges, lasts: NEVER_ENDS };
    schedule.faults = vec![(When::At(0), refuses)];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(Outcome::Failed, 20)), "{:?}", ran.end);
    assert!(!ran.events.contains("registry.refused"), "{}", ran.events);
    assert!(ran.events.contains(PUT_BACK), "{}", ran.events);
    assert!(ran.events.contains("gw-2: answered 403"), "{}", ran.events);
}

/// The release is killed between the two writes, and the second gateway refuses that of `resume`.
#[test]
fn resumed_node_that_only_one_gateway_marks_down_is_not_reported_as_unchanged() {
    let (mut schedule, scratch) = (behind_two_apis(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let between = whole.moment("http://gw-2/dynamic?upstream=app&server=10.0.1.1:9000&down=") - 1;
    let refuses = Fault::Lies { gateway: 1, lie: Lie::RefusesChanges, lasts: NEVER_ENDS };
    schedule.faults = vec![(When::At(between), refuses)];
    schedule.kill = Some(Kill::At(between));
    schedule.after = Some(After::soon(Task::Resume, 1, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    let resumed = ran.history.iter().skip_while(|line| !line.contains("ReleaseResumed"));
    let told: Vec<_> = resumed.filter(|line| line.contains("EVENT node-1 disable")).collect();
    let has = |kind: &str| told.iter().any(|line| line.contains(kind));
    assert!(has("NodeFailed") && !has("RegistryRefused"), "{told:#?}");
}

/// The second gateway first does not answer a change, which can still take effect, and then refuses it.
#[test]
fn write_that_one_gateway_took_is_not_recorded_as_refused_by_a_later_attempt() {
    let (mut schedule, scratch) = (behind_two_apis(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let writing = "EVENT node-1 disable: RegistryWriting";
    let lies = |lie| Fault::Lies { gateway: 1, lie, lasts: NEVER_ENDS };
    let later = whole.moment(writing) + 12_000;
    schedule.faults = vec![
        (When::Event(whole.events_until(writing)), lies(Lie::Silent)),
        (When::At(later), lies(Lie::RefusesChanges)),
    ];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(!ran.events.contains("registry.refused"), "{}", ran.events);
    assert!(ran.events.contains("gw-2: answered 403"), "{}", ran.events);
    assert!(matches!(ran.end, End::Finished(Outcome::Degraded, 22)), "{:?}", ran.end);
}

/// Consul does not answer while the node is out of rotation.
#[test]
fn node_that_waits_for_the_registry_is_reported_soon() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.faults = vec![(begins("enable"), Fault::Election(20_000))];
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}", ran.end);
    let begun = ran.moment("EVENT node-1 enable: StepStarted");
    let told = ran.moment_after(begun, "EVENT node-1 enable: Warning");
    assert!((2_000..5_000).contains(&(told - begun)), "{} ms", told - begun);
    let notice = ran.events.lines().filter(|line| line.contains(r#""type":"notice""#));
    let notice: Vec<_> = notice.filter(|line| line.contains("is complete again")).collect();
    assert_eq!(notice.len(), 1, "{}", ran.events);
}

/// node-1 is done and ends while node-2 is drained, and Consul has no leader when node-2 should return. Its first run rolls
/// node-1 back, and leaves node-2 marked down.
#[test]
fn resume_of_a_failed_release_leaves_no_unchanged_node_out() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.on_failure = "rollback_all";
    let whole = run(&schedule, scratch.path(), true);
    let event = |text: &str| When::Event(whole.events_until(text));
    schedule.faults = vec![
        (event("EVENT node-2 drain: StepStarted"), Fault::Crash(0)),
        (event("EVENT node-2 drain: StepFinished"), Fault::Election(4_000)),
    ];
    schedule.after = Some(After::soon(Task::Resume, 0, 0));
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    assert!(ran.events.contains("node-2 could not be returned to rotation in time"));
    assert!(matches!(ran.ends[1], (Task::Resume, End::Finished(_, 21))), "{:?}", ran.ends);
    let back =
        ran.history.iter().find(|line| line.contains("1: EVENT node-2 disable: NodePutBack"));
    assert!(back.is_some_and(|line| line.contains("proven: true")), "{back:?}");
    let text = Scene::new("failed", schedule).untyped().soon();
    let text = text.then(Task::Deploy).then(Task::Resume).end();
    for told in [
        "Resume release r1: node-2 returns to rotation unchanged? [y/N]",
        "back in rotation unchanged",
        "nothing, the release has failed",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
}
