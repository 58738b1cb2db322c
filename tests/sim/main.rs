//! The simulator: the whole engine over a simulated world, on a virtual clock, from seeds.
//!
//! The Consul client, the gateway drivers, the watchers, the drain, the health gate and the engine are rollgate's own;
//! only the world below its port is simulated. The same seed gives the same events, byte for byte.
//!
//! * `ROLLGATE_SIM_SECONDS`: how long random schedules run (15 by default);
//! * `ROLLGATE_SIM_THREADS`: how many of them run at a time (as many as there are cores by default);
//! * `ROLLGATE_SIM_ALL`: after each event of a plain release, runs every way to continue and not just one;
//! * `ROLLGATE_SIM_FIRST`: the first seed, for the same schedules again;
//! * `ROLLGATE_SIM_SEED`: runs this seed only, and prints its history.

mod attempt;
mod broken;
mod by_plan;
mod clients;
mod consul;
mod current;
mod ear;
mod ends;
mod faults;
mod fence;
mod first_install;
mod follow;
mod gateway;
mod held;
mod history_text;
mod invariants;
mod label;
mod late_crashes;
#[path = "../cli/line_schema.rs"]
#[expect(dead_code, reason = "other test crates use the rest")]
mod line_schema;
mod lock_lost;
mod lost_keys;
mod lost_nodes;
mod node;
mod operator;
mod process;
mod put_back;
mod reads;
mod reports;
mod restarted;
mod resume_keeps;
mod scene;
mod schedule;
mod screen;
mod shape;
mod shapes;
mod sim;
mod simulated_parts;
mod site;
mod stale;
mod store;
mod story;
#[expect(dead_code, reason = "other test crates use the rest")]
mod suggested;
mod suggestions;
mod told;
mod two_registries;
mod typed;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use attempt::End;
use faults::{Fate, Fault, When};
use operator::Task;
use rollgate::release::Outcome;
use schedule::{After, Kill, Meanwhile, Schedule};
use story::{Ran, run, scratch};

/// How long random schedules run by default.
const SECONDS: u64 = 15;

/// How many lines of history a failure shows.
const HISTORY: usize = 150;

/// Prints to the terminal.
#[expect(clippy::print_stdout, reason = "figures, and what helps to understand a failure")]
fn show(text: &str) {
    println!("{text}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// Kills a release after each of these events and resumes it, on the same machine and on another one in turn.
#[track_caller]
fn resumed_after_kills(mut schedule: Schedule, events: impl Iterator<Item = u64>) {
    let scratch = scratch();
    for (turn, event) in events.enumerate() {
        schedule.kill = Some(Kill::AfterEvent(event));
        let machine = turn % 2;
        schedule.after = Some(After::soon(Task::Resume, machine, 1 - machine));
        let ran = run(&schedule, scratch.path(), false);
        judge(&schedule, &ran, scratch.path());
    }
}

/// Runs a schedule that must break no rule.
#[track_caller]
fn judged(schedule: &Schedule) -> Ran {
    let scratch = scratch();
    let ran = run(schedule, scratch.path(), true);
    judge(schedule, &ran, scratch.path());
    ran
}

/// Fails with everything that helps to find the cause.
#[track_caller]
fn judge(schedule: &Schedule, ran: &Ran, scratch: &Path) {
    if ran.violations.is_empty() {
        return;
    }
    let again = run(schedule, scratch, true);
    let looks = |line: &&String| line.contains("GET http://gw-") || line.contains("given up");
    let lines: Vec<_> =
        again.history.iter().filter(|line| !looks(line)).map(String::as_str).collect();
    let from = lines.len().saturating_sub(HISTORY);
    show(&format!("… {}\n", lines[from..].join("\n")));
    show(&format!("{schedule:?}\n-> {:?}", ran.ends));
    // The first ones say why, the others are its consequences.
    for violation in ran.violations.iter().take(8) {
        show(&violation.to_string());
    }
    panic!("a rule was broken; see it again:\n  {}", schedule.replay());
}

#[test]
fn a_plain_release_of_three_nodes_is_done() {
    let (schedule, scratch) = (Schedule::plain(), scratch());
    let ran = run(&schedule, scratch.path(), false);
    judge(&schedule, &ran, scratch.path());
    assert!(matches!(ran.end, End::Finished(_, 0)), "{:?}", ran.end);
    assert!(ran.requests > 1_000, "{} requests", ran.requests);
    assert_eq!(ran.lost_by_faults, 0);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let scratch = scratch();
    for seed in 0..2 {
        let schedule = Schedule::new(seed);
        let [first, second] = [(); 2].map(|()| run(&schedule, scratch.path(), true));
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.history, second.history, "seed {seed}");
        assert!(!first.history.is_empty());
    }
}

/// Three nodes of a batch wait for the same looks at the gateways.
#[test]
fn the_same_seed_gives_the_same_events_of_a_batch() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    (schedule.shape.nodes, schedule.shape.batches) = (6, "3".into());
    let history = || {
        let history = run(&schedule, scratch.path(), true).history;
        history.into_iter().filter(|line| line.contains("EVENT ")).collect::<Vec<_>>()
    };
    let first = history();
    for _ in 0..4 {
        assert_eq!(history(), first);
    }
}

/// The journal and its replica report the true state at that moment, and each way from there completes: on the same
/// machine, and on another one that has only what Consul keeps.
#[test]
fn release_killed_after_any_event_resumes_or_rolls_back() {
    let ways = [(Task::Resume, 0), (Task::Resume, 1), (Task::Rollback, 0), (Task::Rollback, 1)];
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    let whole = run(&schedule, scratch.path(), false);
    assert!(whole.durable > 60, "{} events", whole.durable);
    // All of them take a minute without optimisation; then the event after an event covers the other way.
    let at_once = if number("ROLLGATE_SIM_ALL").is_some() { ways.len() } else { 1 };
    let others = fastrand::usize(..ways.len());
    let mut tried = 0;
    for (event, first) in (1..whole.durable).zip(others..) {
        schedule.kill = Some(Kill::AfterEvent(event));
        for way in first..first + at_once {
            let (task, machine) = ways[way % ways.len()];
            schedule.after = Some(After::soon(task, machine, 1 - machine));
            let ran = run(&schedule, scratch.path(), false);
            judge(&schedule, &ran, scratch.path());
            assert_eq!((ran.end, ran.durable), (End::Killed, event));
            assert!(ran.ends.len() >= 3, "{event}: {:?}", ran.ends);
            // Killed before Consul had the journal: the other machine finds no release, and no node was changed.
            let unknown = event == 1 && machine == 1;
            assert!(
                unknown || matches!(ran.ends[1].1, End::Finished(_, 0) | End::Nothing),
                "killed after {event}: {:?}",
                ran.ends
            );
            tried += 1;
        }
    }
    show(&format!("killed after each of {} events, {tried} times in all", whole.durable - 1));
}

/// Consul does not answer then, and a signal asks the release to stop.
#[test]
fn signal_without_a_consul_leader_stops_the_release_safely_in_time() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    for event in 1..35 {
        let when = When::Event(event);
        schedule.faults =
            vec![(when, Fault::Election(40_000)), (when, Fault::SignalSoon(event * 37 % 4_000))];
        let ran = run(&schedule, scratch.path(), false);
        judge(&schedule, &ran, scratch.path());
    }
}

/// The second write after an event is the node's key, where the event announces it: node-1 is marked down and up.
#[test]
fn registry_write_with_an_unknown_result_is_read_back() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    for fate in [Fate::CommittedThen500(40_000), Fate::Vanishes, Fate::Late(12_000)] {
        for event in [10, 11, 12, 29, 30, 31] {
            let writes = [Fate::Plain, fate.clone()];
            let fault = |fate| (When::Event(event), Fault::NextWrite(fate));
            schedule.faults = writes.map(fault).into();
            let ran = run(&schedule, scratch.path(), false);
            judge(&schedule, &ran, scratch.path());
        }
    }
}

/// One read can miss a worker by chance; many reads must not find one that misses it.
#[test]
fn stale_worker_counts_at_every_removal() {
    let scratch = scratch();
    for seed in 0..3 {
        let schedule = Schedule::with_a_worker_that_stays_behind(seed);
        let ran = run(&schedule, scratch.path(), false);
        judge(&schedule, &ran, scratch.path());
        assert!(matches!(ran.end, End::Finished(_, 20)), "{:?}", ran.end);
    }
}

/// A suspended process does not notice the interval that passed: it must not take the lock again.
#[test]
fn paused_release_does_nothing_after_its_successor_was_killed() {
    let (mut schedule, scratch) = (Schedule::plain(), scratch());
    for suspends in [true, false] {
        let kill = Some(Kill::AfterEvent(20));
        let pause = Meanwhile::Pause { at: 3_000, suspends, machine: 1, breaks: false, kill };
        schedule.meanwhile = Some(pause);
        let ran = run(&schedule, scratch.path(), false);
        judge(&schedule, &ran, scratch.path());
        assert_eq!(ran.ends[0], (Task::Resume, End::Killed));
        assert_eq!(ran.ends[1], (Task::Deploy, End::Finished(Outcome::LockLost, 4)));
    }
}

#[test]
fn random_schedules_break_no_rule() {
    let scratch = scratch();
    if let Some(seed) = number("ROLLGATE_SIM_SEED") {
        let schedule = Schedule::new(seed);
        let ran = run(&schedule, scratch.path(), true);
        show(&format!("{}\n{}", ran.history.join("\n"), schedule.shape.playbook()));
        show(&format!("{schedule:#?}\n{:?} after {} ms", ran.ends, ran.took));
        return judge(&schedule, &ran, scratch.path());
    }
    let time = Duration::from_secs(number("ROLLGATE_SIM_SECONDS").unwrap_or(SECONDS));
    let first = number("ROLLGATE_SIM_FIRST").unwrap_or_else(|| fastrand::u64(..) >> 24);
    show(&format!("from seed {first}"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("ROLLGATE_SIM_THREADS").map_or(threads as u64, |threads| threads.max(1));
    let (begun, next, is_over) = (Instant::now(), AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        let _others = StopsOthers(&is_over);
        let mut all = Totals::default();
        while begun.elapsed() < time && !is_over.load(Ordering::Relaxed) {
            let schedule = Schedule::new(next.fetch_add(1, Ordering::Relaxed));
            let ran = run(&schedule, scratch.path(), false);
            judge(&schedule, &ran, scratch.path());
            all.add(&ran);
        }
        all
    };
    let mut all = Totals::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            all.join(thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)));
        }
    });
    let Totals { runs, requests, lost, calls, virtually, ends } = all;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = runs as f64 / begun.elapsed().as_secs_f64();
    show(&format!("{runs} schedules, seeds {first} to {}, {rate:.1} releases/s", first + runs - 1));
    show(&format!("{} min of virtual time, {calls} calls", virtually / 60_000));
    show(&format!("{requests} requests of clients, {lost} of them lost by faults"));
    show(&format!("{ends:#?}"));
}

/// What the schedules of a thread amount to.
#[derive(Default)]
struct Totals {
    runs: u64,
    requests: u64,
    lost: u64,
    calls: u64,
    virtually: u64,
    ends: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, ran: &Ran) {
        self.runs += 1;
        (self.requests, self.lost) = (self.requests + ran.requests, self.lost + ran.lost_by_faults);
        (self.calls, self.virtually) = (self.calls + ran.calls, self.virtually + ran.took);
        for (task, end) in &ran.ends {
            *self.ends.entry(format!("{task:?}: {end}")).or_default() += 1;
        }
    }

    fn join(&mut self, other: Self) {
        self.runs += other.runs;
        (self.requests, self.lost) = (self.requests + other.requests, self.lost + other.lost);
        (self.calls, self.virtually) = (self.calls + other.calls, self.virtually + other.virtually);
        for (end, times) in other.ends {
            *self.ends.entry(end).or_default() += times;
        }
    }
}

/// A thread that fails lets the others end.
struct StopsOthers<'a>(&'a AtomicBool);

impl Drop for StopsOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
