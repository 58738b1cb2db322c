//! Tests with a gateway. All its workers show the same state.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::consul::{Client, Settings};
use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError, Trust};

const POOL: [&str; 2] = ["10.0.0.1:80", "10.0.0.2:80"];

/// Its answer, from this many named workers in turn; or from a program that names itself and closes the connection.
struct Shows {
    body: String,
    workers: u32,
    program: Option<&'static str>,
    asked: AtomicU32,
}

impl World for Shows {
    async fn http(&self, _: Request) -> Result<Reply, HttpError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let worker = self.asked.fetch_add(1, Ordering::Relaxed) % self.workers;
        let header = match self.program {
            None => ("x-worker".to_owned(), worker.to_string()),
            Some(program) => ("server".to_owned(), program.to_owned()),
        };
        let headers = BTreeMap::from([header]);
        Ok(Reply { status: 200, headers, body: self.body.clone().into(), ..Reply::default() })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("it is asked by HTTP")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("it is asked by HTTP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn watcher(settings: Value, workers: u32, body: &str) -> GatewayMonitor<Shows> {
    let world = Shows { body: body.into(), workers, program: None, asked: AtomicU32::new(0) };
    watcher_in(world, settings)
}

fn watcher_in(world: Shows, settings: Value) -> GatewayMonitor<Shows> {
    let settings = serde_json::from_value(settings).expect("settings");
    let gateway = GatewaySpec {
        name: "gw".into(),
        settings,
        trust: Trust::default(),
        nodes: POOL.map(String::from).into(),
        registry: 0,
    };
    GatewayMonitor::new(QueryClient::new(Arc::new(world), None), &gateway)
}

fn table(more: &Value, workers: u32, body: &str) -> GatewayMonitor<Shows> {
    let mut settings =
        json!({ "type": "http-table", "url": "http://gw/peers", "sync_interval": "0s" });
    for (key, value) in more.as_object().expect("keys") {
        settings[key] = value.clone();
    }
    watcher(settings, workers, body)
}

async fn confirm(watcher: &GatewayMonitor<Shows>, routed: bool) -> Result<Confirmation, Unproven> {
    let now = Instant::now();
    watcher.confirm(POOL[0], routed, now, now + Duration::from_secs(30), |_| {}).await
}

/// The other node has died. Returning this one must not fail with "it is not in".
#[tokio::test(start_paused = true)]
async fn only_remaining_node_is_confirmed_in() {
    let alone = table(&json!({ "workers": 2 }), 2, r#"["10.0.0.1:80"]"#);
    let proof = confirm(&alone, true).await.expect("it is in");
    assert_eq!((proof.method, proof.workers, proof.pool), (Method::Workers, 2, 1));
    let others = r#"["10.9.9.6:80","10.9.9.7:80","10.9.9.8:80","10.9.9.9:80"]"#;
    for (unrouted, named) in
        [("[]", ""), (others, ", only 10.9.9.6:80, 10.9.9.7:80, 10.9.9.8:80 and 1 more")]
    {
        let unrouted = table(&json!({ "workers": 2 }), 2, unrouted);
        for routed in [true, false] {
            let unproven = confirm(&unrouted, routed).await.expect_err("nothing is shown");
            let told = format!("none of the playbook's other nodes{named}");
            assert!(unproven.seen.ends_with(&told), "{unproven:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn gateway_without_any_change_is_doubted_after_its_lag() {
    let both = r#"["10.0.0.1:80","10.0.0.2:80"]"#;
    let more = json!({ "workers": 2, "sync_interval": "3s" });
    let deaf = || table(&more, 2, both).following("upstreams/app/");
    let doubt = "; gw has not changed in any way since the write: does it follow upstreams/app/?";
    let (now, told) = (Instant::now(), Mutex::new(Vec::new()));
    let tell = |news: String| told.lock().expect("lock").push((now.elapsed(), news));
    let deadline = now + Duration::from_secs(30);
    let unproven = deaf().confirm(POOL[0], false, now, deadline, tell).await.expect_err("deaf");
    assert!(unproven.seen.ends_with(doubt), "{unproven:?}");
    let told = told.into_inner().expect("lock");
    let (first, _) = told.iter().find(|(_, news)| news.ends_with(doubt)).expect("told");
    assert!((3..6).contains(&first.as_secs()), "{first:?}");
    // A change of the gateway's own list is not read from a registry.
    let unproven = confirm(&table(&more, 2, both), false).await.expect_err("deaf");
    assert!(!unproven.seen.contains("in any way"), "{unproven:?}");
}

#[tokio::test(start_paused = true)]
async fn one_row_searches_for_a_second_worker() {
    for (there, rows) in [(1, 1), (2, 1 + ROWS_WITHOUT_NEW)] {
        let begun = Instant::now();
        let one = table(&json!({ "workers": 1 }), there, r#"["10.0.0.2:80"]"#);
        one.probe().await.expect("it answers");
        let questions = begun.elapsed().as_millis() as usize;
        let row = ACQUAINTANCE * rows as usize;
        assert!((row..row + 10).contains(&questions), "{there}: {questions}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_workers_than_in_the_playbook_are_noticed() {
    let meet = |more: Value, workers| async move {
        table(&more, workers, r#"["10.0.0.2:80"]"#).probe().await.expect("it answers")
    };
    let blockers =
        |more: Value, workers| async move { meet(more, workers).await.blockers.join("; ") };
    for (workers, there) in [(1, 4), (2, 4)] {
        let why = blockers(json!({ "workers": workers }), there).await;
        let told = format!("4 workers seen, but the playbook says `workers: {workers}`");
        assert!(why.starts_with(&told), "{why}");
    }
    let why = blockers(json!({}), 24).await;
    assert!(why.starts_with("24 workers seen"), "{why}");
    for (more, there) in
        [(json!({ "workers": 1 }), 1), (json!({ "workers": 4 }), 4), (json!({}), 16)]
    {
        assert_eq!(blockers(more, there).await, "");
    }
    // One list for all workers.
    let shared = json!({ "type": "ngx-dynamic-upstream", "upstream": "app", "url": "http://gw/d" });
    let list = "server 10.0.0.2:80 addr=10.0.0.2:80 weight=1 conns=0;\n";
    let info = watcher(shared, 4, list).probe().await.expect("it answers");
    assert_eq!(info.blockers, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_whose_workers_cannot_all_be_reached_is_refused() {
    for (program, workers, refused) in [
        ("nginx/1.18.0", json!(4), true),
        ("nginx", json!(null), true),
        ("nginx/1.18.0", json!(1), false),
        ("nginx/1.22.1", json!(4), false),
        ("SimpleHTTP/0.6", json!(null), false),
    ] {
        let world = Shows {
            body: r#"["10.0.0.2:80"]"#.into(),
            workers: 4,
            program: Some(program),
            asked: AtomicU32::new(0),
        };
        let settings = json!({
            "type": "http-table", "url": "http://gw/peers", "sync_interval": "0s", "workers": workers
        });
        let gateway = watcher_in(world, settings);
        let info = gateway.probe().await.expect("it answers");
        let told = info.blockers.join("; ");
        assert_eq!(told.starts_with("its connections do not stay open"), refused, "{told}");
        let proof = confirm(&gateway, false).await;
        assert_eq!(proof.is_err(), refused, "{program}");
        if let Err(unproven) = proof {
            assert!(unproven.seen.contains("do not stay open together"), "{unproven:?}");
        }
    }
}

/// As Envoy 1.40 shows it, except for the host that is healthy and in.
#[tokio::test(start_paused = true)]
async fn no_node_is_out_at_a_gateway_that_sends_requests_to_all() {
    let host = |number: u8, status: &str| {
        json!({
            "address": { "socket_address": { "address": format!("10.0.0.{number}"), "port_value": 80 } },
            "health_status": { "eds_health_status": status },
        })
    };
    let envoy = |other: &str| {
        let hosts = [host(1, "DRAINING"), host(2, other)];
        let clusters = json!({ "cluster_statuses": [{ "name": "app", "host_statuses": hosts }] });
        let settings = json!({
            "type": "envoy", "admin_url": "http://gw", "cluster": "app", "ssh": "gw", "file": "/f",
        });
        watcher(settings, 1, &clusters.to_string())
    };
    let calm = envoy("HEALTHY").observe().await.expect("it answers");
    assert!(calm.is_out(POOL[0]) && !calm.routes_somewhere_to(POOL[0]));
    let panics = envoy("UNHEALTHY").observe().await.expect("it answers");
    assert!(!panics.is_out(POOL[0]) && panics.routes_somewhere_to(POOL[0]), "{panics:?}");
    assert!(panics.overridden.is_some_and(|why| why.contains("sends requests to all hosts")));
    assert!(!panics.routed[POOL[1]], "it counts as unrouted");
}

/// Shows the first node for ten seconds, however it is asked.
struct ShowsLate {
    since: Instant,
    before: &'static str,
    after: &'static str,
}

impl ShowsLate {
    async fn show(&self) -> Vec<u8> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let is_late = self.since.elapsed() >= Duration::from_secs(10);
        if is_late { self.after } else { self.before }.into()
    }
}

impl World for ShowsLate {
    async fn http(&self, _: Request) -> Result<Reply, HttpError> {
        Ok(Reply { status: 200, body: self.show().await, ..Reply::default() })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        Ok(Output { status: Some(0), stdout: self.show().await, ..Output::default() })
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("it is asked by HTTP or by a command")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// A list can be late: an agent could not reach Consul, or consul-template waited. The gateway's own delay begins
/// then.
#[tokio::test(start_paused = true)]
async fn gateways_own_delay_starts_when_its_list_changes() {
    const PASSING: [&str; 2] = [
        r#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"Address":"","Port":80}},
            {"Node":{"Node":"m","Address":"10.0.0.2"},"Service":{"Address":"","Port":80}}]"#,
        r#"[{"Node":{"Node":"m","Address":"10.0.0.2"},"Service":{"Address":"","Port":80}}]"#,
    ];
    const RENDERED: [&str; 2] = [
        "server 10.0.0.1:80;\nserver 10.0.0.2:80;\n\nleaving=0 older=0\n",
        "server 10.0.0.2:80;\n\nleaving=0 older=0\n",
    ];
    const LISTED: [&str; 2] = [r#"["10.0.0.1:80","10.0.0.2:80"]"#, r#"["10.0.0.2:80"]"#];
    for (settings, [before, after]) in [
        (json!({ "type": "consul-passing", "service": "app" }), PASSING),
        (
            json!({ "type": "consul-template", "ssh": "gw", "file": "/f", "pid_file": "/p" }),
            RENDERED,
        ),
        (json!({ "type": "command", "name": "lb", "list": "list" }), LISTED),
    ] {
        let mut settings = settings;
        settings["sync_interval"] = "5s".into();
        let kind = settings["type"].to_string();
        let world = Arc::new(ShowsLate { since: Instant::now(), before, after });
        let consul =
            Client::new(world.clone(), Settings::from_environment(|_| None).expect("settings"));
        let settings = serde_json::from_value(settings).expect("settings");
        let gateway = GatewaySpec {
            name: "gw".into(),
            settings,
            trust: Trust::default(),
            nodes: POOL.map(String::from).into(),
            registry: 0,
        };
        let watcher = GatewayMonitor::new(QueryClient::new(world, Some(&consul)), &gateway);
        let now = Instant::now();
        let deadline = now + Duration::from_secs(30);
        watcher.confirm(POOL[0], false, now, deadline, |_| {}).await.expect("out");
        let proven = now.elapsed();
        assert!((15..16).contains(&proven.as_secs()), "{kind}: after {proven:?}");
    }
}

/// A gateway with two named workers. Both route to all nodes.
fn two_workers() -> (Arc<Shows>, GatewayMonitor<Shows>) {
    let body = r#"["10.0.0.1:80","10.0.0.2:80"]"#.into();
    let world = Arc::new(Shows { body, workers: 2, program: None, asked: AtomicU32::new(0) });
    let settings = json!({
        "type": "http-table", "url": "http://gw/peers", "sync_interval": "0s", "workers": 2
    });
    let settings = serde_json::from_value(settings).expect("settings");
    let gateway = GatewaySpec {
        name: "gw".into(),
        settings,
        trust: Trust::default(),
        nodes: POOL.map(String::from).into(),
        registry: 0,
    };
    (world.clone(), GatewayMonitor::new(QueryClient::new(world, None), &gateway))
}

#[tokio::test(start_paused = true)]
async fn proofs_and_observations_at_the_same_time_share_their_looks() {
    let (world, monitor) = two_workers();
    confirm(&monitor, true).await.expect("it is in");
    let alone = world.asked.swap(0, Ordering::Relaxed);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (proves, observes) = (monitor.clone(), monitor.clone());
        waiting.spawn(async move { confirm(&proves, true).await.map(|_| ()).expect("it is in") });
        waiting.spawn(async move { observes.observe().await.map(|_| ()).expect("it answers") });
    }
    waiting.join_all().await;
    let together = world.asked.load(Ordering::Relaxed);
    assert!(together <= 4 * alone, "{together} looks for 40 proofs, {alone} for one");
}

#[tokio::test(start_paused = true)]
async fn dropped_proof_does_not_end_others() {
    let (_, monitor) = two_workers();
    let given_up = monitor.clone();
    let first = tokio::spawn(async move { confirm(&given_up, true).await });
    let other = monitor.clone();
    let second = tokio::spawn(async move { confirm(&other, true).await });
    tokio::task::yield_now().await;
    first.abort();
    second.await.expect("the task ends").expect("confirmed");
}

#[tokio::test(start_paused = true)]
async fn earlier_looks_do_not_count_for_a_new_caller() {
    let (world, monitor) = two_workers();
    let begun = Instant::now();
    monitor.observe_since(begun).await.expect("it answers");
    let looks = world.asked.load(Ordering::Relaxed);
    monitor.observe_since(begun).await.expect("it answers");
    assert_eq!(world.asked.load(Ordering::Relaxed), looks, "the same looks will do");
    monitor.observe().await.expect("it answers");
    assert!(world.asked.load(Ordering::Relaxed) > looks);
}
