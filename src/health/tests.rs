//! The gate over a scripted world, on a paused clock.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::consul::Settings;
use crate::playbook::load_text;
use crate::spec::{Inputs, Spec};
use crate::world::{Host, HttpError, Output, Reply, Request, RunError};

/// Answers health checks and looks at the listener from lists; the last entry repeats.
struct Script {
    replies: Mutex<VecDeque<Result<u16, HttpError>>>,
    listeners: Mutex<VecDeque<String>>,
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
        let status = next(&self.replies)?;
        Ok(Reply { status, body: format!("body of {status}").into_bytes(), ..Reply::default() })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        let stdout = next(&self.listeners).into_bytes();
        Ok(Output { status: Some(0), stdout, stderr: Vec::new() })
    }

    async fn connect(&self, _: &str, _: Duration) -> Result<(), HttpError> {
        Ok(())
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

const MARK: Mark = Mark(1000);

/// What the node says when process 7, started at `started`, listens.
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
    let world = Arc::new(Script {
        replies: Mutex::new(replies.iter().cloned().collect()),
        listeners: Mutex::new(listeners.iter().cloned().collect()),
    });
    let settings = Settings::from_environment(|_| None).expect("settings");
    Gate {
        consul: Arc::new(Client::new(world.clone(), settings)),
        world,
        node: spec.nodes[0].clone(),
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
    gate.wait(|_| {}).await.map(|_| begun.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_the_very_try_that_completes_the_row() {
    let replies = [refused(), Ok(503), Ok(200), Ok(503), Ok(200), Ok(200)];
    let took = outcome(gate("rise: 2", &replies, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 500, "six tries, the first at once");
}

#[tokio::test(start_paused = true)]
async fn a_success_by_the_old_process_is_none() {
    // It gets older from look to look, and is still one cause.
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

#[tokio::test(start_paused = true)]
async fn it_must_stay_healthy_for_its_time() {
    let flapping = [Ok(200), Ok(200), Ok(503), Ok(503), Ok(200)];
    let settings = "rise: 1, fall: 2, min_healthy_time: 300ms";
    let took = outcome(gate(settings, &flapping, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 700, "healthy again at 400 ms, and then for 300");
    let one_slip = [Ok(200), Ok(503), Ok(200)];
    let took = outcome(gate(settings, &one_slip, &[listener(1001)])).await.expect("healthy");
    assert_eq!(took, 300, "one failure is not a fall");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_it_says_what_it_saw() {
    let failure = outcome(gate("rise: 2, deadline: 1s", &[refused(), Ok(503)], &[listener(1001)]))
        .await
        .expect_err("never healthy");
    assert_eq!(failure.reason, "not healthy within 1s");
    assert_eq!(
        failure.seen[0].1,
        "GET http://10.0.1.1:80/ping: 503 in 9 of 10 tries; connection refused in 1 of 10 tries; \
         needed 2 in a row, best 0"
    );
    assert_eq!(failure.seen[1], ("last body".into(), "body of 503".into()));
    assert!(failure.seen[2].1.starts_with("pid 7, started 10s ago by this release"), "{failure:?}");
}
