//! Gateways that accept only whole lists, in a world that is one.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::consul::{Client, Settings, base64, no_key};
use crate::world::{Command, Host, HttpError, Method, Output, Request, RunError, Trust};

const NODES: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

/// A dyups with one upstream, `app`. Every answer takes a moment.
#[derive(Default)]
struct Dyups {
    posted: Mutex<Option<String>>,
    /// How much later than usual the next read is answered, after its list was built.
    late: Mutex<Duration>,
    /// How long the next write takes to arrive.
    slow: Mutex<Duration>,
    /// Whether the answer to the next write is lost.
    loses_answer: Mutex<bool>,
    /// How many writes it received.
    writes: Mutex<u32>,
    /// How many reads it received.
    looks: Mutex<u32>,
}

impl Dyups {
    fn set(&self, posted: Option<&str>) {
        *self.posted.lock().expect("lock") = posted.map(ToOwned::to_owned);
    }

    fn posted(&self) -> String {
        self.posted.lock().expect("lock").clone().unwrap_or_default()
    }
}

impl World for Dyups {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if request.method == Method::Post {
            let slow = std::mem::take(&mut *self.slow.lock().expect("lock"));
            tokio::time::sleep(slow).await;
        }
        let reply = match (request.method, self.posted.lock().expect("lock").as_mut()) {
            (Method::Post, _) => None,
            (_, None) => Some(Reply { status: 204, ..Reply::default() }),
            (_, Some(posted)) => {
                let text = posted.replace("server ", "\nserver ").replace(" down;", " down=1");
                let text = text.replace(';', " down=0");
                let lines = text.lines().filter(|line| !line.is_empty());
                let body = format!("app\n{}\n\n", lines.collect::<Vec<_>>().join("\n"));
                Some(Reply { status: 200, body: body.into(), ..Reply::default() })
            }
        };
        if let Some(reply) = reply {
            *self.looks.lock().expect("lock") += 1;
            let late = std::mem::take(&mut *self.late.lock().expect("lock"));
            tokio::time::sleep(late + Duration::from_millis(10)).await;
            return Ok(reply);
        }
        *self.writes.lock().expect("lock") += 1;
        self.set(Some(&String::from_utf8_lossy(&request.body.unwrap_or_default())));
        if std::mem::take(&mut *self.loses_answer.lock().expect("lock")) {
            return Err(HttpError::Broken("reset".into()));
        }
        Ok(Reply { status: 200, body: "success".into(), ..Reply::default() })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("no gateway of these is asked by a command")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("no gateway of these is asked over TCP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn gateways() -> (Arc<Dyups>, Gateways<Dyups>) {
    let world = Arc::new(Dyups::default());
    world.set(Some("server 10.0.0.1:80;server 10.0.0.2:80;server 10.0.0.3:80;"));
    let settings = json!({ "type": "dyups", "upstream": "app", "url": "http://gw:8081" });
    let gateway = GatewaySpec {
        name: "gw".into(),
        trust: Trust::default(),
        settings: serde_json::from_value(settings).expect("settings"),
        nodes: NODES.map(String::from).to_vec(),
        registry: 0,
    };
    (world.clone(), Gateways::new(QueryClient::new(world, None), &[gateway], 0))
}

fn guard() -> SessionFence {
    SessionFence { key: "rollgate/app/lock".into(), session: "s".into() }
}

async fn marks(gateways: &Gateways<Dyups>) -> Vec<Mark> {
    let mut all = Vec::new();
    for address in NODES {
        all.push(gateways.read(address).await.expect("readable").mark);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn parallel_changes_of_two_nodes_both_take_effect() {
    let (_, gateways) = gateways();
    let guard = guard();
    let turned = tokio::join!(
        gateways.write(&guard, &[0], NODES[0], true, false),
        gateways.write(&guard, &[0], NODES[1], true, false),
    );
    assert_eq!(turned, (Ok(Written::Done(0)), Ok(Written::Done(0))));
    assert_eq!(marks(&gateways).await, [Mark::Down, Mark::Down, Mark::Up]);
    let turned = tokio::join!(
        gateways.write(&guard, &[0], NODES[0], false, false),
        gateways.write(&guard, &[0], NODES[2], true, false),
    );
    assert_eq!(turned, (Ok(Written::Done(0)), Ok(Written::Done(0))));
    assert_eq!(marks(&gateways).await, [Mark::Up, Mark::Down, Mark::Down]);
}

/// Two nodes are out when it restarts: the first task that notices it must not let requests to the other node.
#[tokio::test(start_paused = true)]
async fn lost_list_is_restored_as_it_was_shown_last() {
    let (world, gateways) = gateways();
    let guard = guard();
    for address in &NODES[..2] {
        gateways.write(&guard, &[0], address, true, false).await.expect("written");
    }
    world.set(None);
    assert_eq!(marks(&gateways).await, [Mark::Up; 3], "nothing else would write it back");
    gateways.write(&guard, &[0], NODES[0], true, false).await.expect("written");
    assert_eq!(marks(&gateways).await, [Mark::Down, Mark::Down, Mark::Up]);
    assert!(world.posted().contains("10.0.0.2:80 down"), "{}", world.posted());
}

/// A reply to a query from before a write, which arrives after the write, is not the gateway's last state.
#[tokio::test(start_paused = true)]
async fn late_reply_does_not_restore_the_list_before_a_write() {
    let (world, gateways) = gateways();
    let guard = guard();
    gateways.write(&guard, &[0], NODES[0], true, false).await.expect("written");
    // The write is sent after its own read, and arrives after the late one.
    *world.slow.lock().expect("lock") = Duration::from_millis(50);
    let late = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        *world.late.lock().expect("lock") = Duration::from_millis(100);
        gateways.read(NODES[1]).await.expect("readable")
    };
    let (late, written) = tokio::join!(late, gateways.write(&guard, &[0], NODES[1], true, false));
    written.expect("written");
    assert_eq!(late.mark, Mark::Up, "it shows what was before");
    world.set(None);
    gateways.write(&guard, &[0], NODES[2], true, false).await.expect("written");
    assert_eq!(marks(&gateways).await, [Mark::Down; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_read_from_before_an_unanswered_write_is_not_used_after_it() {
    let (world, gateways) = gateways();
    let begun = Instant::now();
    *world.loses_answer.lock().expect("lock") = true;
    let written = gateways.write(&guard(), &[0], NODES[0], true, false).await;
    assert!(matches!(written, Err(Error::Unknown(_))), "{written:?}");
    let switch = gateways.read_at(0, NODES[0], begun).await.expect("it is there");
    assert_eq!(switch.expect("readable").mark, Mark::Down);
}

#[tokio::test(start_paused = true)]
async fn correct_state_is_not_written_again() {
    let (world, gateways) = gateways();
    for _ in 0..2 {
        gateways.write(&guard(), &[0], NODES[0], true, false).await.expect("written");
    }
    assert_eq!(*world.writes.lock().expect("lock"), 1);
}

/// A release has thousands of nodes, and one minute for this.
#[tokio::test(start_paused = true)]
async fn a_gateway_is_asked_once_for_the_marks_of_all_nodes() {
    let (world, gateways) = gateways();
    gateways.write(&guard(), &[0], NODES[1], true, false).await.expect("written");
    *world.looks.lock().expect("lock") = 0;
    let name = |address: &str| address.replace(['.', ':'], "-");
    let playbook = json!({
        "service": "app",
        "registry": { "type": "gateway" },
        "gateways": [{ "type": "dyups", "upstream": "app", "url": "http://gw:8081" }],
        "nodes": NODES.map(|address| json!({ "name": name(address), "ssh": "local", "address": address })),
        "restart": "true",
        "health": { "tcp": "${{ node.address }}" },
    });
    let loaded = crate::playbook::load_text("app.yaml", format!("{playbook:#}"));
    let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
    let spec = Spec::new(&loaded.playbook, &crate::release::Inputs::default()).expect("complete");
    let looks = gateways.look(&spec).await;
    let found = NODES.map(|address| looks[&name(address)].clone().map(|look| look.mark));
    assert_eq!(found, [Ok(Mark::Up), Ok(Mark::Down), Ok(Mark::Up)]);
    assert_eq!(*world.looks.lock().expect("lock"), 1);
    world.set(Some("server 10.0.0.1:80;server 10.9.9.9:80;"));
    let looks = gateways.look(&spec).await;
    assert!(looks.values().all(Result::is_err), "{looks:?}");
}

/// A Slardar with two nodes, and the Consul with its list.
struct Slardar {
    /// Consul's answer to a transaction.
    transaction: Reply,
    /// The writes, in order.
    written: Mutex<Vec<String>>,
    /// Consul shows no key.
    hides_key: bool,
}

impl World for Slardar {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let ok = |body: String| Ok(Reply { status: 200, body: body.into(), ..Reply::default() });
        let servers = r#"[{"host":"10.0.0.1","port":80},{"host":"10.0.0.2","port":80}]"#;
        match (request.method, request.url.rsplit('/').next().unwrap_or_default()) {
            (Method::Get, "upstreams") => {
                ok(format!(r#"{{"app":{{"cluster":[{{"servers":{servers}}}]}}}}"#))
            }
            (Method::Get, _) if self.hides_key => Ok(no_key()),
            (Method::Get, _) => {
                let value = base64(format!(r#"{{"servers":{servers}}}"#).as_bytes());
                ok(format!(r#"[{{"Key":"k","Value":"{value}","ModifyIndex":7}}]"#))
            }
            (_, path) => {
                let body = String::from_utf8_lossy(&request.body.unwrap_or_default()).into_owned();
                self.written.lock().expect("lock").push(format!("{path} {body}"));
                if path == "txn" {
                    Ok(self.transaction.clone())
                } else {
                    ok("{\"status\":200}".into())
                }
            }
        }
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("no gateway of these is asked by a command")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("no gateway of these is asked over TCP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn slardar(status: u16, answer: &str) -> (Arc<Slardar>, Gateways<Slardar>) {
    slardar_with(status, answer, false)
}

fn slardar_with(status: u16, answer: &str, hides_key: bool) -> (Arc<Slardar>, Gateways<Slardar>) {
    let transaction = Reply { status, body: answer.into(), ..Reply::default() };
    let world = Arc::new(Slardar { transaction, written: Mutex::default(), hides_key });
    let settings = json!({ "type": "slardar", "upstream": "app", "url": "http://gw:1995" });
    let gateway = GatewaySpec {
        name: "gw".into(),
        trust: Trust::default(),
        settings: serde_json::from_value(settings).expect("settings"),
        nodes: NODES.map(String::from).to_vec(),
        registry: 0,
    };
    let consul =
        Client::new(world.clone(), Settings::from_environment(|_| None).expect("settings"));
    (world.clone(), Gateways::new(QueryClient::new(world, Some(&consul)), &[gateway], 0))
}

#[tokio::test(start_paused = true)]
async fn permission_for_a_gateways_keys_is_checked_first() {
    let denied = r#"{"Errors":[{"OpIndex":0,"What":"Permission denied"}]}"#;
    let (world, gateways) = slardar(409, denied);
    let error = gateways.may_write().await.expect_err("denied").to_string();
    assert!(error.contains("a write to k: 403"), "{error}");
    let asked = world.written.lock().expect("lock").concat();
    // A write with an index in the past has no effect.
    assert!(asked.starts_with("txn ") && asked.contains(r#""Index":6"#), "{asked}");
    let (_, gateways) = slardar(409, r#"{"Errors":[{"OpIndex":0,"What":"index is stale"}]}"#);
    assert_eq!(gateways.may_write().await.expect("allowed"), Rights::Keys(vec!["k".into()]));
    let (world, gateways) = slardar_with(200, "", true);
    let Ok(Rights::Unread(why)) = gateways.may_write().await else { panic!("not read") };
    assert!(
        why.contains("config/slardar/upstreams/app is unknown: gw: Consul has no key"),
        "{why}"
    );
    assert!(world.written.lock().expect("lock").is_empty());
}

async fn write_to_slardar(status: u16, answer: &str) -> (Result<Written, Error>, Vec<String>) {
    let (world, gateways) = slardar(status, answer);
    let written = gateways.write(&guard(), &[0], NODES[0], true, false).await;
    (written, world.written.lock().expect("lock").clone())
}

#[tokio::test(start_paused = true)]
async fn keys_in_consul_are_written_first_and_only_with_the_lock() {
    let (written, asked) =
        write_to_slardar(200, r#"{"Results":[{"KV":{"Key":"k","ModifyIndex":8}}]}"#).await;
    // This gateway shows the same after every change.
    let told = "gw: it confirmed the change but still shows 10.0.0.1:80 up";
    assert_eq!(written, Err(Error::NotShown(told.into())));
    let [transaction, post] = asked.as_slice() else { panic!("{asked:?}") };
    let held = r#""Verb":"check-session","Key":"rollgate/app/lock","Session":"s""#;
    assert!(transaction.contains(held) && transaction.contains(r#""Index":7"#), "{transaction}");
    assert_eq!(post, r#"app {"servers":[{"host":"10.0.0.2","port":80}]}"#);

    for (status, answer, expected) in [
        (409, r#"{"Errors":[{"OpIndex":0,"What":"session"}]}"#, Ok(Written::NotHeld)),
        (409, r#"{"Errors":[{"OpIndex":1,"What":"index is stale"}]}"#, Ok(Written::Conflict)),
    ] {
        let (written, asked) = write_to_slardar(status, answer).await;
        assert_eq!((written, asked.len()), (expected, 1), "the gateway is left alone: {asked:?}");
    }
    // A leader that lost its place while it committed.
    let (written, asked) = write_to_slardar(500, "rpc error").await;
    assert!(matches!(written, Err(Error::Unknown(_))), "{written:?}");
    assert_eq!(asked.len(), 1, "{asked:?}");
}

/// Two dyups, `one` and `two`, of which the first can be away, and a Slardar.
struct Several {
    one: Option<Dyups>,
    two: Dyups,
    slardar: Slardar,
}

impl World for Several {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        if request.url.starts_with("http://two") {
            return self.two.http(request).await;
        }
        match &self.one {
            Some(one) if request.url.starts_with("http://one") => one.http(request).await,
            None if request.url.starts_with("http://one") => {
                tokio::time::sleep(request.timeout).await;
                Err(HttpError::TimedOut(request.timeout))
            }
            _ => self.slardar.http(request).await,
        }
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("no gateway of these is asked by a command")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("no gateway of these is asked over TCP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn several(is_there: bool, gateways: &[Value]) -> (Arc<Several>, Gateways<Several>) {
    let full = || {
        let dyups = Dyups::default();
        dyups.set(Some("server 10.0.0.1:80;server 10.0.0.2:80;server 10.0.0.3:80;"));
        dyups
    };
    let not_held = br#"{"Errors":[{"OpIndex":0,"What":"session"}]}"#.to_vec();
    let transaction = Reply { status: 409, body: not_held, ..Reply::default() };
    let slardar = Slardar { transaction, written: Mutex::default(), hides_key: false };
    let world = Arc::new(Several { one: is_there.then(full), two: full(), slardar });
    let specs: Vec<_> = gateways
        .iter()
        .map(|settings| GatewaySpec {
            name: settings["name"].as_str().expect("a name").into(),
            trust: Trust::default(),
            settings: serde_json::from_value(settings.clone()).expect("settings"),
            nodes: NODES.map(String::from).to_vec(),
            registry: 0,
        })
        .collect();
    let consul =
        Client::new(world.clone(), Settings::from_environment(|_| None).expect("settings"));
    (world.clone(), Gateways::new(QueryClient::new(world, Some(&consul)), &specs, 0))
}

fn dyups(name: &str) -> Value {
    json!({ "type": "dyups", "name": name, "upstream": "app", "url": format!("http://{name}:8081") })
}

/// A mark that one gateway has forgotten is written again, whatever happened to the other gateway.
#[tokio::test(start_paused = true)]
async fn node_stays_out_at_every_gateway_that_answers() {
    let (world, gateways) = several(false, &[dyups("one"), dyups("two")]);
    gateways.read(NODES[0]).await.expect_err("one does not answer, and nothing is begun");
    let read =
        async |at| gateways.read_at(at, NODES[0], Instant::now()).await.expect("it is there");
    read(0).await.expect_err("one does not answer");
    let begun = tokio::time::Instant::now();
    let switch = read(1).await.expect("two answers");
    assert!(begun.elapsed() < Duration::from_secs(1), "it waited {:?}", begun.elapsed());
    assert_eq!((switch.mark, switch.original.as_str()), (Mark::Up, "two up"));
    let WriteToken::Gateways(at) = &switch.token else { panic!("{switch:?}") };
    let written = gateways.write(&guard(), at, NODES[0], true, false).await;
    assert_eq!(written, Ok(Written::Done(0)));
    assert!(world.two.posted().contains("10.0.0.1:80 down"), "{}", world.two.posted());
    assert_eq!(read(1).await.expect("two answers").mark, Mark::Down);
}

/// The journal would say that the node is unchanged.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_at_the_second_gateway_leaves_the_write_unknown() {
    let slardar =
        json!({ "type": "slardar", "name": "gw", "upstream": "app", "url": "http://gw:1995" });
    let (world, gateways) = several(true, &[dyups("one"), slardar]);
    let written = gateways.write(&guard(), &[0, 1], NODES[0], true, false).await;
    let one = world.one.as_ref().expect("it is there").posted();
    assert!(one.contains("10.0.0.1:80 down"), "{one}");
    assert_eq!(written, Err(Error::NotShown("the lock is not held".into())));
}
