//! The gate over a scripted world, on a paused clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::gate::Gate;
use super::*;
use crate::consul::{Client, Settings};
use crate::node::Ticks;
use crate::playbook::load_text;
use crate::release::{Failure, Inputs};
use crate::spec::{NodeSpec, Spec};
use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError, World};

/// Answers health checks and inspections of the listener from lists. The last entry repeats.
struct Script {
    replies: Mutex<VecDeque<Result<u16, HttpError>>>,
    listeners: Mutex<VecDeque<String>>,
    /// Running requests, and the highest number so far.
    busy: Mutex<(u32, u32)>,
    ready: Instant,
}

/// A status that means an answer that never comes.
const HANGS: u16 = 0;

/// A status that means a 200 after one second.
const HELD: u16 = 1;

/// A status that means refused connections for one second, then a 200.
const STARTS: u16 = 2;

/// The time limit of a request that hangs, with the playbook's default.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running request, until it is dropped.
struct Busy<'a>(&'a Mutex<(u32, u32)>);

impl<'a> Busy<'a> {
    fn new(busy: &'a Mutex<(u32, u32)>) -> Self {
        let mut count = busy.lock().expect("lock");
        count.0 += 1;
        count.1 = count.1.max(count.0);
        Self(busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().expect("lock").0 -= 1;
    }
}

fn next<T: Clone>(list: &Mutex<VecDeque<T>>) -> T {
    let mut list = list.lock().expect("lock");
    let entry = list.front().expect("an entry").clone();
    if list.len() > 1 {
        list.pop_front();
    }
    entry
}

impl World for Script {
    async fn http(&self, _: Request) -> Result<Reply, HttpError> {
        let mut status = next(&self.replies)?;
        if status == HELD {
            tokio::time::sleep_until(self.ready).await;
            status = 200;
        }
        if status == STARTS {
            if Instant::now() < self.ready {
                return refused().map(|_| Reply::default());
            }
            status = 200;
        }
        if status == HANGS {
            let _busy = Busy::new(&self.busy);
            tokio::time::sleep(PATIENCE).await;
            return Err(HttpError::NotSent("no answer".into()));
        }
        let headers = [("x-version".to_owned(), "2".to_owned())].into();
        Ok(Reply {
            status,
            headers,
            body: format!("body of {status}").into_bytes(),
            ..Reply::default()
        })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        let stdout = next(&self.listeners).into_bytes();
        Ok(Output { status: Some(0), stdout, ..Output::default() })
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        Ok(Vec::new())
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

const MARK: Ticks = Ticks(1000);

/// The node's answer when process 7, started at `started`, listens.
fn listener(started: u64) -> String {
    format!(
        "mark=2000\nlisten=LISTEN 0 1 10.0.1.1:80 *:* users:((\"x\",pid=7))\nprocess=7 {started} x\n"
    )
}

fn gate(health: &str, replies: &[Result<u16, HttpError>], listeners: &[String]) -> Gate<Script> {
    let text = format!(
        "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
nodes: [{{ ssh: a, address: '10.0.1.1:80' }}, {{ ssh: b, address: '10.0.1.2:80' }}]
stop: stop-it
start: start-it
health: {{ http: 'http://${{{{ node.address }}}}/ping', interval: 100ms, {health} }}"
    );
    let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
    let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
    let mut node = NodeSpec::clone(&spec.nodes[0]);
    if !health.contains("min_healthy_time") {
        node.health.min_healthy_time = Duration::ZERO;
    }
    let world = Arc::new(Script {
        replies: Mutex::new(replies.iter().cloned().collect()),
        listeners: Mutex::new(listeners.iter().cloned().collect()),
        busy: Mutex::new((0, 0)),
        ready: Instant::now() + Duration::from_secs(1),
    });
    let settings = Settings::from_environment(|_| None).expect("settings");
    Gate {
        consul: Arc::new(Client::new(world.clone(), settings)),
        world,
        node: node.into(),
        mark: Some(MARK),
        sudo: false,
        any_version: false,
        same_version: false,
    }
}

fn refused() -> Result<u16, HttpError> {
    Err(HttpError::NotSent("connection refused".into()))
}

/// How long the gate took, or how it failed.
async fn outcome(gate: Gate<Script>) -> Result<u128, Failure> {
    let begun = Instant::now();
    Arc::new(gate).wait(|_| {}).await.map(|_| begun.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn node_is_healthy_at_the_attempt_that_completes_the_row() {
    let replies = [refused(), Ok(503), Ok(200), Ok(503), Ok(200), Ok(200)];
    let took = outcome(gate("rise: 2", &replies, &[listener(1001)])).await.expect("healthy");
    assert_eq!(
        took, 410,
        "six tries, the first at once, and the second soon after the refused connection"
    );
}

#[tokio::test(start_paused = true)]
async fn listener_is_noticed_soon_after_it_begins() {
    let mut slow = gate("rise: 1", &[Ok(STARTS)], &[listener(1001)]);
    Arc::make_mut(&mut slow.node).health.interval = Duration::from_secs(20);
    let took = outcome(slow).await.expect("healthy");
    assert!((1000..1040).contains(&took), "{took}");
    // A command of the user runs at the user's interval only.
    let mut gate = gate("rise: 1", &[Ok(STARTS)], &[listener(1001)]);
    let run = crate::spec::Shell { run: "true".into(), timeout: PATIENCE, sudo: false };
    Arc::make_mut(&mut gate.node).health.run = Some(run);
    Arc::make_mut(&mut gate.node).health.interval = Duration::from_secs(3);
    assert_eq!(outcome(gate).await.expect("healthy"), 3000);
}

#[tokio::test(start_paused = true)]
async fn success_by_the_old_process_does_not_count() {
    // The process gets older with each inspection, and this still counts as one cause.
    let older: Vec<_> = (2000..4000)
        .step_by(100)
        .map(|now| listener(900).replace("mark=2000", &format!("mark={now}")))
        .collect();
    let failure =
        outcome(gate("rise: 1, deadline: 2s", &[Ok(200)], &older)).await.expect_err("old");
    assert_eq!(
        failure.seen[0].1,
        "GET http://10.0.1.1:80/ping: pid 7, started before this release, still owns :80 in 20 of 20 tries; \
         needed 1 in a row, best 0"
    );
    let process = &failure.seen.last().expect("the process").1;
    assert_eq!(process, "pid 7, started 30s ago, before this release, still owns :80");
    let taken_over = [listener(900), listener(900), listener(1001)];
    let took =
        outcome(gate("rise: 1", &[Ok(200)], &taken_over)).await.expect("the new one took over");
    assert_eq!(took, 200);
}

/// The node's clock begins again, so the process has fewer ticks than the mark.
#[tokio::test(start_paused = true)]
async fn process_since_a_reboot_is_not_reported_as_older_than_the_release() {
    let rebooted = listener(400).replace("mark=2000", "mark=900");
    let failure = outcome(gate("rise: 1, deadline: 2s", &[Ok(200)], &[rebooted])).await;
    let seen = failure.expect_err("it is not confirmed").seen;
    let told = "pid 7, started 5s ago, after a reboot of its host and perhaps not by this release, owns :80";
    assert_eq!(seen.last().expect("the process").1, told);
    assert!(!seen[0].1.contains("before this release"), "{}", seen[0].1);
}

#[tokio::test(start_paused = true)]
async fn node_must_stay_healthy_for_min_healthy_time() {
    let flapping = [Ok(200), Ok(200), Ok(503), Ok(503), Ok(200)];
    let settings = "rise: 1, fall: 2, min_healthy_time: 300ms";
    let took = outcome(gate(settings, &flapping, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 700, "healthy again at 400 ms, and then for 300");
    let one_slip = [Ok(200), Ok(503), Ok(200)];
    let took = outcome(gate(settings, &one_slip, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 300, "one failure is not a fall");
    let settings = "rise: 3, fall: 1, min_healthy_time: 1s";
    let took = outcome(gate(settings, &[Ok(200)], &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 1000, "from the first success on, not from the third");
}

#[tokio::test(start_paused = true)]
async fn deadline_limits_the_time_to_become_healthy() {
    let settings = "rise: 2, deadline: 1s, min_healthy_time: 5s";
    let late: Vec<_> = (0..20).map(|turn| Ok(if turn < 8 { 503 } else { 200 })).collect();
    let took = outcome(gate(settings, &late, &[listener(1001)])).await.expect("healthy in time");
    assert_eq!(took, 5800, "its first success came at 800 ms");
    let ends = [Ok(200), Ok(200), Ok(200), refused()];
    let failure = outcome(gate(settings, &ends, &[listener(1001)])).await.expect_err("it ended");
    assert_eq!(failure.reason, "not healthy within 1s");
    // It was healthy in time, and then no longer: the wait was longer than the deadline.
    let once = |turn| Ok(if (8..20).contains(&turn) { 200 } else { 503 });
    let once: Vec<_> = (0..60).map(once).collect();
    let failure = outcome(gate(settings, &once, &[listener(1001)])).await.expect_err("it ended");
    assert_eq!(failure.reason, "not healthy within 1s");
}

/// A service that ends and is started again by its supervisor answers most of the time.
#[tokio::test(start_paused = true)]
async fn restarted_process_starts_the_healthy_time_again() {
    // At the second inspection, and at every later one, the process is one second old.
    let young = [listener(1001), listener(1900)];
    // A version that is in the reply is inspected only after it has stayed healthy long enough.
    let identity = ", identity: { header: x-version, equals: '2' }";
    for (identity, listeners) in [("", &young[..]), (identity, &young[1..])] {
        let settings = format!("rise: 1, deadline: 4s, min_healthy_time: 2s{identity}");
        let failure = outcome(gate(&settings, &[Ok(200)], listeners)).await;
        let seen = format!("{:?}", failure.expect_err("never long enough").seen);
        assert!(seen.contains("pid 7, started after the first success in"), "{seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn failure_at_the_deadline_reports_the_observations() {
    let failure = outcome(gate("rise: 2, deadline: 1s", &[refused(), Ok(503)], &[listener(1001)]))
        .await
        .expect_err("never healthy");
    assert_eq!(failure.reason, "not healthy within 1s");
    assert_eq!(
        failure.seen[0].1,
        "GET http://10.0.1.1:80/ping: 503 in 10 of 11 tries; connection refused in 1 of 11 tries; \
         needed 2 in a row, best 0"
    );
    assert_eq!(failure.seen[1], ("last body".into(), "body of 503".into()));
    assert!(failure.seen[2].1.starts_with("pid 7, started 10s ago by this release"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn hanging_attempt_does_not_delay_others() {
    let replies = [Ok(HANGS), Ok(HANGS), Ok(200)];
    let took = outcome(gate("rise: 2", &replies, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 300, "the third try and the fourth");
}

#[tokio::test(start_paused = true)]
async fn later_answer_ends_hanging_attempts() {
    let settings = "rise: 1, fall: 1, min_healthy_time: 5s";
    let gate = gate(settings, &[Ok(HANGS), Ok(200)], &[listener(1001)]);
    assert_eq!(
        outcome(gate).await.expect("healthy"),
        5100,
        "not given up at 3 s, which would be a fall"
    );
}

#[tokio::test(start_paused = true)]
async fn service_that_sometimes_hangs_is_not_healthy() {
    let replies: Vec<_> = (0..40).map(|turn| Ok([200, HANGS][turn % 2])).collect();
    let failure = outcome(gate("rise: 2, deadline: 20s", &replies, &[listener(1001)])).await;
    let seen = failure.expect_err("never twice in a row").seen;
    assert!(seen[0].1.ends_with("needed 2 in a row, best 1"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_all_come_at_the_same_moment_count_once() {
    let took = outcome(gate("rise: 5", &[Ok(HELD)], &[listener(1001)])).await.expect("healthy");
    // The ten checks at 1 s count as one. Then one follows in each interval; an attempt may begin at that moment.
    assert!((1300..=1400).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn number_of_hanging_attempts_is_limited() {
    let mut gate = gate("deadline: 10s", &[Ok(HANGS)], &[listener(1001)]);
    Arc::make_mut(&mut gate.node).health.interval = Duration::from_millis(10);
    let world = gate.world.clone();
    let failure = outcome(gate).await.expect_err("no answer");
    assert!(failure.seen[0].1.contains("no answer in "), "{failure:?}");
    assert_eq!(world.busy.lock().expect("lock").1, tries::AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_command_never_runs_twice_at_the_same_time() {
    let mut gate = gate("deadline: 4s", &[Ok(HANGS)], &[listener(1001)]);
    let run = crate::spec::Shell { run: "true".into(), timeout: PATIENCE, sudo: false };
    Arc::make_mut(&mut gate.node).health.run = Some(run);
    let world = gate.world.clone();
    outcome(gate).await.expect_err("no answer");
    assert_eq!(world.busy.lock().expect("lock").1, 1);
}

#[tokio::test(start_paused = true)]
async fn service_serves_while_no_check_fails_with_any_process() {
    let begun = Instant::now();
    assert_eq!(gate("rise: 3", &[Ok(200)], &[listener(900)]).serves().await, Ok(()));
    assert_eq!(begun.elapsed().as_millis(), 200, "three tries, the first at once");
    let dies = [Ok(200), refused(), Ok(200)];
    let seen = gate("rise: 3", &dies, &[listener(900)]).serves().await;
    assert_eq!(seen, Err("connection refused".into()));
}
