//! The lock is lost while rollgate connects, or during the last step: no command starts, and no success is reported.

use crate::attempt::{End, PAUSED};
use crate::faults::{Fate, Fault, When};
use crate::operator::Task;
use crate::schedule::{Kill, Meanwhile, Schedule};
use crate::story::{Ran, run, scratch};
use crate::{judge, judged};
use rollgate::release::Outcome;

/// Another operator breaks the lock and releases while the first release connects to the node that it is about to stop.
#[test]
fn command_does_not_begin_after_the_lock_is_lost_while_connecting() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let stop = "EVENT node-1 stop: StepStarted";
    let (begins, at) = (whole.events_until(stop), whole.moment(stop) + 200);
    let (waits, task, machine) = (false, Task::Deploy, 1);
    schedule.meanwhile = Some(Meanwhile::Rival { at, waits, task, machine, breaks: true });
    // The renewal of the lock, which can also notice the loss, comes every five seconds.
    for takes in [800, 1_600, 2_400] {
        let slow = Fault::SlowConnection { node: 0, takes };
        schedule.faults = vec![(When::Event(begins), slow)];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert_nothing_ran_on_the_first_node(&ran);
    }
}

/// The first release lost its lock before any command of the service's began on node-1.
#[track_caller]
fn assert_nothing_ran_on_the_first_node(ran: &Ran) {
    let lost = (Task::Deploy, End::Finished(Outcome::LockLost, 4));
    assert!(ran.ends.contains(&lost), "{:?}", ran.ends);
    let commands = ran.history.iter().filter(|line| line.contains("on node-1: User"));
    let of_the_first =
        commands.filter(|line| line.contains(" 0: call ") && !line.contains("NotSent"));
    assert_eq!(of_the_first.count(), 0, "{}", ran.history.join("\n"));
}

/// The machine is suspended during the last step; meanwhile another machine resumes and finishes the release.
#[test]
fn release_that_lost_its_lock_on_the_last_step_is_not_done() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    // Its last command would check the lock.
    (schedule.shape.artifact, schedule.shape.identity) = (false, false);
    let whole = run(&schedule, scratch.path(), true);
    let at = whole.moment("EVENT node-3 confirm_in: StepStarted") + 10;
    schedule.meanwhile =
        Some(Meanwhile::Pause { at, suspends: true, machine: 1, breaks: false, kill: None });
    let ran = run(&schedule, scratch.path(), true);
    judge(&schedule, &ran, scratch.path());
    let expected = [
        (Task::Resume, End::Finished(Outcome::Done, 0)),
        (Task::Deploy, End::Finished(Outcome::LockLost, 4)),
    ];
    assert_eq!(ran.ends[..2], expected, "{}", ran.history.join("\n"));
}

/// The node is unreachable at first; the lock is lost before the connection succeeds.
#[test]
fn retried_command_checks_the_lock_again() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let stop = "EVENT node-1 stop: StepStarted";
    let begins = When::Event(whole.events_until(stop));
    let not_sent = Fault::NextCommand { node: 0, fate: Fate::NotSent("no route".into()) };
    schedule.faults = vec![(begins, not_sent)];
    let (waits, task, machine) = (false, Task::Deploy, 1);
    for later in [300, 600, 900] {
        let at = whole.moment(stop) + later;
        schedule.meanwhile = Some(Meanwhile::Rival { at, waits, task, machine, breaks: true });
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        assert_nothing_ran_on_the_first_node(&ran);
    }
}

/// While the first release is paused, another machine resumes and finishes it.
#[test]
fn release_that_loses_its_lock_during_stage_ends() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let (machine, breaks, kill) = (1, false, None);
    let whole = run(&schedule, scratch.path(), true);
    let at = whole.moment("node-1 stage: StepStarted") + 100;
    for suspends in [true, false] {
        schedule.meanwhile = Some(Meanwhile::Pause { at, suspends, machine, breaks, kill });
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
        let lost = (Task::Deploy, End::Finished(Outcome::LockLost, 4));
        assert!(ran.ends.contains(&lost), "{:?}", ran.ends);
    }
}

/// The machine is suspended right before a command, and after its wake-up no answer comes from Consul.
#[test]
fn suspended_time_counts_for_the_lock() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), true);
    let stop = whole.moment("EVENT node-1 stop: StepStarted");
    for later in [20, 50, 80] {
        let (at, kill) = (stop + later, Some(Kill::AfterEvent(20)));
        schedule.meanwhile =
            Some(Meanwhile::Pause { at, suspends: true, machine: 1, breaks: false, kill });
        schedule.faults = vec![(When::At(at + PAUSED - 100), Fault::Election(10_000))];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
    }
}

/// Consul's data is gone during the drain of node-2: no other process is blamed.
#[test]
fn release_whose_lock_is_gone_from_consul_says_so() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let drain = run(&schedule, scratch.path(), true).events_until("node-2 drain: StepStarted");
    schedule.faults = vec![(When::Event(drain), Fault::Wiped)];
    let ran = run(&schedule, scratch.path(), true);
    assert_eq!(ran.end, End::Finished(Outcome::LockLost, 4));
    assert!(ran.events.contains("Consul no longer has the lock"), "{}", ran.events);
    assert!(!ran.events.contains("another process"), "{}", ran.events);
}

/// The answer about the lock before a stop does not come. Meanwhile Consul loses the session: what was known of the session
/// before no longer counts, whether the renewal has noticed that or not.
#[test]
fn command_does_not_begin_while_the_lost_session_is_replaced() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.servers = 1;
    let whole = run(&schedule, scratch.path(), true);
    let stop = "EVENT node-2 stop: StepStarted";
    let asks =
        whole.moment_after(whole.moment(stop), "GET http://consul-1:8500/v1/kv/rollgate/app/lock");
    let silent = (When::At(asks - 1), Fault::NextRead(Fate::AnswerSilent));
    for later in (200..10_000).step_by(500) {
        schedule.faults = vec![silent.clone(), (When::At(asks + later), Fault::SessionsLost)];
        let ran = run(&schedule, scratch.path(), true);
        judge(&schedule, &ran, scratch.path());
    }
}

/// For a moment after its election, a leader does not know the session, although the key of the lock still has it.
#[test]
fn lock_is_kept_when_a_new_leader_does_not_know_the_session_at_once() {
    let schedule = |lasts| {
        let mut schedule = Schedule::plain();
        schedule.shape.servers = 1;
        schedule.faults = vec![(When::At(3_000), Fault::Election(lasts))];
        schedule
    };
    let mut unknown = 0;
    for lasts in (2_000..5_000).step_by(300).chain([20_000]) {
        let ran = judged(&schedule(lasts));
        assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}", ran.end);
        unknown += usize::from(ran.history.iter().any(|line| line.contains("Session id")));
    }
    assert!(unknown > 0, "a renewal comes right after an election");
}

/// Consul loses the session between a renewal and the write that follows it: the write is refused, but no other process
/// has the lock.
#[test]
fn session_that_is_lost_right_after_its_renewal_is_replaced() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.servers = 1;
    let whole = run(&schedule, scratch.path(), true);
    let renewal = whole.moment("PUT http://consul-1:8500/v1/session/renew/");
    let write = whole.moment_after(renewal, "PUT http://consul-1:8500/v1/txn");
    let mut refused = 0;
    for at in renewal - 5..write + 5 {
        schedule.faults = vec![(When::At(at), Fault::SessionsLost)];
        let ran = judged(&schedule);
        assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{at}: {:?}", ran.end);
        let lost = ran.moment("FAULT SessionsLost");
        let next = |call| ran.moment_after(lost, &format!("PUT http://consul-1:8500/v1/{call}"));
        refused += usize::from(next("txn") < next("session/"));
    }
    assert!(refused > 0, "a write comes right after the session is lost");
}

/// The answer to the acquisition with the new session is lost: the key shows who holds it.
#[test]
fn lock_whose_new_acquisition_got_no_answer_is_kept() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    schedule.shape.servers = 1;
    let lost = (When::At(3_000), Fault::SessionsLost);
    schedule.faults = vec![lost.clone()];
    let whole = run(&schedule, scratch.path(), true);
    // The lock-delay is over.
    let acquires = whole.moment_after(3_000 + 10_000, "/v1/kv/rollgate/app/lock?acquire=");
    schedule.faults = vec![lost, (When::At(acquires - 1), Fault::NextWrite(Fate::AnswerLost))];
    let ran = judged(&schedule);
    assert!(matches!(ran.end, End::Finished(Outcome::Done, 0)), "{:?}", ran.end);
    let lines = ran.history.iter();
    let unanswered =
        lines.filter(|line| line.contains("lock?acquire=") && line.contains("AnswerLost"));
    assert_eq!(unanswered.count(), 1);
}
