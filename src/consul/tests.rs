//! The client against a scripted world.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::client::{LEAST_PAUSE, PATIENCE};
use super::*;
use crate::node::NodeScript;
use crate::secret::Secret;
use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError, Stdin, World};

/// Answers requests from a list and records them.
struct Script {
    replies: Mutex<VecDeque<Result<Reply, HttpError>>>,
    requests: Mutex<Vec<Request>>,
    fetched: Mutex<Vec<String>>,
}

impl World for Script {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        self.requests.lock().expect("lock").push(request);
        let reply = self.replies.lock().expect("lock").pop_front();
        reply.unwrap_or_else(|| Err(HttpError::NotSent("connection refused".into())))
    }

    /// As `curl` on a host would.
    async fn run(&self, host: &Host, command: Command) -> Result<Output, RunError> {
        let (NodeScript::Fetch { method, url, .. }, Stdin::Text(settings)) =
            (&command.script, &command.stdin)
        else {
            unreachable!("the client runs nothing else");
        };
        let said = format!("{method} {url} from {host} with {}", settings.expose().trim());
        self.fetched.lock().expect("lock").push(said);
        let reply = self.replies.lock().expect("lock").pop_front();
        match reply {
            Some(Ok(reply)) => {
                let printed =
                    format!("HTTP/1.1 {} Word\r\nVary: x\r\n\r\n{}", reply.status, reply.text());
                Ok(Output { status: Some(0), stdout: printed.into(), ..Output::default() })
            }
            Some(Err(_)) => Err(RunError::Lost("ssh".into())),
            None => Ok(Output { status: Some(7), stderr: "refused".into(), ..Output::default() }),
        }
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("the client opens no connections of its own")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn client(replies: Vec<Result<Reply, HttpError>>) -> (Arc<Script>, Client<Script>) {
    let world = Arc::new(Script {
        replies: Mutex::new(replies.into()),
        requests: Mutex::default(),
        fetched: Mutex::default(),
    });
    let settings = Settings {
        addresses: vec!["http://a:1".into(), "unix:///run/consul.sock".into()],
        token: Some(Secret::new("token-1")),
        basic_auth: None,
        datacenter: Some("dc1".into()),
        namespace: None,
        partition: None,
        proves_agents: true,
    };
    (world.clone(), Client::new(world, settings))
}

#[expect(clippy::unnecessary_wraps, reason = "an element of a list of results")]
fn reply(status: u16, body: &str) -> Result<Reply, HttpError> {
    Ok(Reply { status, body: body.into(), ..Reply::default() })
}

fn urls(world: &Script) -> Vec<String> {
    world.requests.lock().expect("lock").iter().map(|request| request.url.clone()).collect()
}

fn entry() -> Entry {
    Entry {
        key: "k/1.2.3.4:80".into(),
        value: b"{}".to_vec(),
        flags: 7,
        modify_index: 5,
        session: None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_on_refusal_5xx_and_elections() {
    let value = r#"[{"Key":"k","Value":"e30=","Flags":0,"ModifyIndex":9}]"#;
    let (world, client) = client(vec![
        Err(HttpError::NotSent("connection refused".into())),
        reply(500, "No cluster leader"),
        reply(503, ""),
        reply(200, value),
        Ok(no_key()),
    ]);
    let entry = client.kv_get("up stream/k").await.expect("read").expect("found");
    assert_eq!((entry.value.as_slice(), entry.modify_index), (b"{}".as_slice(), 9));
    assert_eq!(client.kv_get("gone").await.expect("read"), None);
    assert_eq!(
        urls(&world),
        [
            "http://a:1/v1/kv/up%20stream/k?consistent&dc=dc1",
            "unix:///run/consul.sock:/v1/kv/up%20stream/k?consistent&dc=dc1",
            "http://a:1/v1/kv/up%20stream/k?consistent&dc=dc1",
            "unix:///run/consul.sock:/v1/kv/up%20stream/k?consistent&dc=dc1",
            // The address that answered last is asked first.
            "unix:///run/consul.sock:/v1/kv/gone?consistent&dc=dc1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn server_that_is_not_consul_is_not_a_consul_without_keys() {
    let (_, client) = client(vec![reply(404, "<html>404 Not Found</html>"), reply(404, "")]);
    let told = "http://a:1 is not Consul: it answers 404 to /v1/kv/k (check `consul.addresses` or CONSUL_HTTP_ADDR, \
                and a proxy in front of it)";
    assert_eq!(client.kv_get("k").await.expect_err("no answer of Consul").to_string(), told);
    let error = client.kv_keys("upstreams/").await.expect_err("no answer of Consul").to_string();
    assert!(error.contains("is not Consul: it answers 404 to /v1/kv/upstreams/"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn unreachable_consul_fails_in_bounded_time_and_names_every_address() {
    let (world, client) = client(Vec::new());
    let begun = Instant::now();
    let error = client.kv_get("k").await.expect_err("no server answers").to_string();
    assert!(begun.elapsed() <= PATIENCE, "{:?}", begun.elapsed());
    assert!(error.contains("http://a:1: connection refused; unix://"), "{error}");
    assert!(urls(&world).len() > 10, "it was tried again and again");
}

/// A server restarts within seconds. An election, and a silent server, may need longer.
#[tokio::test(start_paused = true)]
async fn refusing_servers_are_given_up_soon_only_before_a_change() {
    let waited = async |replies: Vec<_>, is_before: bool| {
        let (_, client) = client(replies);
        let client = if is_before { client.before_a_change() } else { client };
        let begun = Instant::now();
        assert!(client.kv_get("k").await.is_err(), "no server answers");
        begun.elapsed().as_millis().div_ceil(1000)
    };
    assert_eq!(waited(Vec::new(), false).await, 15);
    assert_eq!(waited(Vec::new(), true).await, 3);
    // Two addresses: one of them is not refused for longer than that.
    let mixed =
        || [Err(HttpError::NotSent("no route to host".into())), reply(500, "No cluster leader")];
    let long: Vec<_> = (0..40).flat_map(|_| mixed()).collect();
    assert_eq!(waited(long, true).await, 15);
    let half =
        || [Err(HttpError::NotSent("connection refused".into())), reply(500, "No cluster leader")];
    let half: Vec<_> = (0..40).flat_map(|_| half()).collect();
    assert_eq!(waited(half, true).await, 15, "one server has an election");
    let (_, client) = client(Vec::new());
    let begun = Instant::now();
    let hurried = client.before_a_change().with_patience(Duration::from_secs(1));
    assert!(hurried.kv_get("k").await.is_err());
    assert!(begun.elapsed() <= Duration::from_secs(1));
}

/// The write certainly had no effect, so it is repeated as well.
#[tokio::test(start_paused = true)]
async fn next_address_is_asked_after_a_rate_limit() {
    let done = r#"{"Results":[{"KV":{"Key":"k","Flags":0,"ModifyIndex":6}}]}"#;
    let (world, client) = client(vec![reply(429, "too many connections"), reply(200, done)]);
    let begun = Instant::now();
    let written = client.kv_compare_and_set(None, &entry(), b"{}").await.expect("written");
    assert_eq!((written, begun.elapsed()), (KvWrite::Done(6), Duration::ZERO));
    assert_eq!(urls(&world).len(), 2);
    // One agent, asked directly or from its node. Locks use the same rule.
    let (_, client) = self::client(vec![reply(429, ""), reply(200, "")]);
    let agent = client.at("http://a:1", Some(&Host::Local));
    agent.set_maintenance(Extent::Node, true, "r").await.expect("written");
    let (_, client) = self::client(vec![reply(429, ""), reply(429, ""), reply(200, "true")]);
    assert!(client.kv_acquire("k", "s", b"x").await.expect("an answer"));
    let (_, client) = self::client(vec![reply(429, ""), reply(200, "")]);
    assert!(client.session_renew("s").await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_the_patience() {
    let busy = |status, wait: &str| {
        let headers = [("retry-after".to_owned(), wait.to_owned())].into();
        Ok(Reply { status, headers, ..Reply::default() })
    };
    let took = |replies: Vec<_>| async {
        let (world, client) = client(replies);
        let agent = client.at("http://a:1", None);
        let begun = Instant::now();
        let answer = agent.set_maintenance(Extent::Node, true, "r").await;
        (answer.is_ok(), begun.elapsed().as_secs(), urls(&world).len())
    };
    assert_eq!(took(vec![busy(503, "3"), reply(200, "")]).await, (true, 3, 2));
    assert_eq!(took(vec![busy(429, "3"), busy(429, "4"), reply(200, "")]).await, (true, 7, 3));
    // Longer than the patience: one last attempt at its end.
    assert_eq!(took(vec![busy(503, "3600"), reply(200, "")]).await, (true, 15, 2));
    let far = "18446744073709551615";
    assert_eq!(took(vec![busy(503, far), busy(503, far)]).await, (false, 15, 2));
    // Another 503 can come after a write that took effect.
    assert_eq!(took(vec![reply(503, ""), reply(200, "")]).await, (false, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn certificate_error_is_not_retried_without_another_address() {
    let untrusted = || Err(HttpError::Untrusted("UnknownIssuer".into()));
    let (world, client) = client(vec![untrusted(), untrusted()]);
    let error = client.kv_get("k").await.expect_err("untrusted").to_string();
    assert!(error.contains("http://a:1: UnknownIssuer; unix:///run"), "{error}");
    assert!(error.contains("CONSUL_CACERT"), "{error}");
    assert_eq!(urls(&world).len(), 2);
    let (world, client) =
        self::client(vec![untrusted(), reply(500, ""), untrusted(), Ok(no_key())]);
    assert_eq!(client.kv_get("k").await.expect("read"), None);
    assert_eq!(urls(&world).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_is_unknown_and_never_repeated() {
    let (world, client) = client(vec![Err(HttpError::Broken("reset".into()))]);
    let error = client.kv_compare_and_set(None, &entry(), b"{}").await.expect_err("unknown");
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    assert_eq!(urls(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn write_lost_by_a_leader_is_unknown_and_write_without_leader_is_repeated() {
    let done = r#"{"Results":[{"KV":{"Key":"k","Flags":7,"ModifyIndex":6}}],"Errors":null}"#;
    let (world, client) = client(vec![
        reply(500, "No cluster leader"),
        reply(200, done),
        reply(500, "leadership lost while committing log"),
    ]);
    assert_eq!(
        client.kv_compare_and_set(None, &entry(), b"x").await.expect("done"),
        KvWrite::Done(6)
    );
    let error = client.kv_compare_and_set(None, &entry(), b"x").await.expect_err("unknown");
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    assert_eq!(urls(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_one_transaction_that_depends_on_the_index() {
    let done = r#"{"Results":[{"KV":{"Key":"k","Flags":7,"ModifyIndex":6}}],"Errors":null}"#;
    let conflict = r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"index is stale"}]}"#;
    let (world, client) = client(vec![reply(200, done), reply(409, conflict)]);
    assert_eq!(
        client.kv_compare_and_set(None, &entry(), b"x").await.expect("done"),
        KvWrite::Done(6)
    );
    let again = client.kv_compare_and_set(None, &entry(), b"x").await.expect("answered");
    assert_eq!(again, KvWrite::Conflict);
    let requests = world.requests.lock().expect("lock");
    let body: serde_json::Value =
        serde_json::from_slice(requests[0].body.as_deref().unwrap_or_default()).expect("json");
    assert_eq!(
        body[0]["KV"],
        serde_json::json!({ "Verb": "cas", "Key": "k/1.2.3.4:80", "Value": "eA==", "Flags": 7, "Index": 5 })
    );
    assert_eq!(requests[0].headers, [("X-Consul-Token".into(), Secret::new("token-1"))]);
    assert!(!requests[0].url.contains("token"));
}

#[tokio::test(start_paused = true)]
async fn write_without_permission_is_not_a_lost_race() {
    let denied = r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"Permission denied"}]}"#;
    let (_, client) = client(vec![reply(409, denied)]);
    let other = Entry { key: "k/1.2.3.5:80".into(), ..entry() };
    let error = client.kv_may_write(&[&entry(), &other]).await.expect_err("refused").to_string();
    assert!(error.contains("a write to k/1.2.3.5:80: 403 Permission denied"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn permissions_for_many_keys_are_checked_with_impossible_writes() {
    let stale = r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"index is stale"}]}"#;
    let (world, client) = client(vec![reply(409, stale), reply(409, stale)]);
    let entry = entry();
    client.kv_may_write(&[&entry; 65]).await.expect("allowed");
    let requests = world.requests.lock().expect("lock");
    let bodies = requests.iter().map(|request| request.body.as_deref().unwrap_or_default());
    let asked: Vec<Vec<serde_json::Value>> =
        bodies.map(|body| serde_json::from_slice(body).expect("json")).collect();
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [64, 1]);
    assert!(asked.concat().iter().all(|write| write["KV"]["Index"] == 4), "{asked:?}");
}

/// The writes cannot succeed, so that their effect is known without an answer.
#[tokio::test(start_paused = true)]
async fn unanswered_check_of_permissions_has_no_unknown_effect() {
    let broken = || Err(HttpError::Broken("reset".into()));
    let (_, client) = client(vec![broken(), broken(), broken()]);
    let error = client.kv_may_write(&[&entry()]).await.expect_err("no answer");
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn missing_permission_fails_at_once() {
    let denied = [reply(403, "Permission denied"), reply(403, "ACL not found")];
    let (world, client) = client(denied.into());
    let error = client.kv_get("k").await.expect_err("refused");
    assert!(error.lacks_permission());
    let error = error.to_string();
    assert!(
        error.contains("403 Permission denied") && error.contains("CONSUL_HTTP_TOKEN"),
        "{error}"
    );
    assert_eq!(urls(&world).len(), 1);
    let error = client.kv_get("k").await.expect_err("refused");
    assert!(!error.lacks_permission());
    assert!(error.to_string().contains("Consul does not know the token"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_blocking_query_follows_the_index_rules() {
    let answer = |index: &str, body: &str| {
        let mut reply = reply(200, body).expect("reply");
        reply.headers.insert("x-consul-index".into(), index.into());
        Ok(reply)
    };
    let there = r#"[{"Node":{"Address":"1.2.3.4"},"Service":{"Address":"","Port":80},
        "Checks":[{"CheckID":"serfHealth","Status":"passing"},{"CheckID":"_service_maintenance:a","Status":"critical"}]}]"#;
    let ill = r#"[{"Node":{"Address":"1.2.3.4"},"Service":{"Address":"","Port":80},
        "Checks":[{"CheckID":"serfHealth","Status":"passing"},{"CheckID":"service:a","Status":"warning"}]}]"#;
    let (world, client) =
        client(vec![answer("20", ill), answer("25", there), answer("3", there), answer("4", "[]")]);
    let mut index = Index::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let wait = Duration::from_millis(100);
        let passing = client.is_passing("app", "1.2.3.4:80", &mut index, wait).await;
        seen.push(passing.expect("answered"));
    }
    assert_eq!(seen, [false, true, true, false]);
    let url = |query: &str| format!("http://a:1/v1/health/service/app?{query}dc=dc1");
    // The index went backwards with the third answer: the fourth query begins again.
    assert_eq!(
        urls(&world),
        [url(""), url("index=20&wait=100ms&"), url("index=25&wait=100ms&"), url("")]
    );
    assert_eq!(Index::default().after(0), Index(1), "never 0 in a loop");
    // The server adds up to a sixteenth to the requested wait.
    let wait = Duration::from_secs(600);
    assert!(Index(1).query(wait).1 > wait + wait / 16);
}

/// An index that stands still is not queried without a pause, and neither is one that moves all the time.
#[tokio::test(start_paused = true)]
async fn queries_of_a_loop_have_a_pause_between_them() {
    let answer = |index: &str| {
        let headers = [("x-consul-index".to_owned(), index.to_owned())].into();
        Ok(Reply { status: 200, headers, body: b"[]".into(), ..Reply::default() })
    };
    for indexes in [["7"; 21], std::array::from_fn(|at| ["7", "9"][at % 2])] {
        let (_, client) = client(indexes.iter().map(|index| answer(index)).collect());
        let (mut index, begun) = (Index::default(), Instant::now());
        client.wait_for_checks("app", &mut index, Duration::from_secs(60)).await.expect("answered");
        assert_eq!(begun.elapsed(), Duration::ZERO, "the first one asks what there is");
        for _ in 0..20 {
            let changed = client.wait_for_checks("app", &mut index, Duration::from_secs(60)).await;
            changed.expect("answered");
        }
        assert!(begun.elapsed() >= LEAST_PAUSE * 10, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_asked_from_its_node_with_the_same_rights() {
    let lost = Err(HttpError::Broken(String::new()));
    let (world, client) = client(vec![reply(200, ""), lost]);
    let node = Host::Ssh("app-1".into());
    let agent = client.at("http://127.0.0.1:8500", Some(&node));
    let turn = |on| agent.set_maintenance(Extent::Instance("app-1"), on, "why");
    turn(true).await.expect("done");
    // It is unknown whether the write took effect before the connection broke.
    assert!(matches!(turn(false).await, Err(Error::Unknown(_))));
    let error = turn(true).await.expect_err("no server listens").to_string();
    assert!(error.contains("cannot be reached") && error.contains("refused"), "{error}");
    let fetched = world.fetched.lock().expect("lock");
    assert_eq!(
        fetched[0],
        "PUT http://127.0.0.1:8500/v1/agent/service/maintenance/app-1?enable=true&reason=why&dc=dc1 from app-1 with \
         header = \"X-Consul-Token: token-1\""
    );
    assert!(world.requests.lock().expect("lock").is_empty());
}

/// As Consul 1.8.7 answers: every agent except the owner says so, whatever the catalog knows.
#[tokio::test]
async fn maintenance_at_another_agent_is_refused() {
    let answer = r#"No service registered with ID "app-1""#;
    let (_, client) = client(vec![reply(404, answer), reply(200, "")]);
    let turn = || client.set_maintenance(Extent::Instance("app-1"), true, "why");
    let error = turn().await.expect_err("not its own").to_string();
    assert!(error.contains("404") && error.contains(answer), "{error}");
    turn().await.expect("the owner answers nothing");
}

#[tokio::test]
async fn a_name_that_leads_to_another_path_is_not_asked_for() {
    let (world, client) = client(vec![reply(200, "")]);
    for name in ["../../../kv/upstreams/other/10.0.0.1:80", "..", ".", "", "a//b"] {
        let error = client.set_maintenance(Extent::Instance(name), true, "why").await;
        let error = error.expect_err("refused").to_string();
        assert_eq!(error, format!("`{name}` cannot be a part of a URL"));
        assert!(matches!(client.instances(name).await, Err(Error::Unfit(_))));
        assert!(matches!(client.session_renew(name).await, Err(Error::Unfit(_))));
    }
    for key in ["a/../b", "../lock", "a//b", "/a"] {
        assert!(matches!(client.kv_get(key).await, Err(Error::Unfit(_))), "{key}");
        assert!(matches!(client.kv_acquire(key, "s", b"").await, Err(Error::Unfit(_))), "{key}");
    }
    assert!(world.requests.lock().expect("lock").is_empty(), "nothing was asked");
    client.set_maintenance(Extent::Instance("a/b"), true, "why").await.expect("asked");
    let asked = "http://a:1/v1/agent/service/maintenance/a%2Fb?enable=true&reason=why&dc=dc1";
    assert_eq!(urls(&world), [asked]);
}

/// An id is unique at its agent only. By default it is the name of the service.
#[tokio::test]
async fn agent_with_the_same_instance_id_is_not_the_owner() {
    let services = r#"{"app":{"ID":"app","Service":"app","Address":"","Port":9000}}"#;
    let checks = r#"{"service:app":{"Node":"agent-1","CheckID":"service:app","Notes":""}}"#;
    for (node, address, checks, owns) in [
        ("agent-1", "10.0.1.1:9000", checks, true),
        ("agent-2", "10.0.1.1:9000", checks, false),
        // Without a check, the answer does not say which agent it is from.
        ("agent-2", "10.0.1.1:9000", "{}", true),
        ("agent-2", "10.0.1.1:9001", "{}", false),
        ("agent-2", "10.0.1.2:9000", "{}", false),
    ] {
        let (_, client) = client(vec![reply(200, services), reply(200, checks)]);
        let instance = Instance {
            id: "app".into(),
            node: node.into(),
            node_address: "10.0.1.1".into(),
            address: address.into(),
        };
        let maintenance = client.maintenance(&instance).await.expect("an answer");
        assert_eq!(maintenance.is_some(), owns, "{instance:?}");
    }
}

/// As Consul 1.8.7 answers, shortened: a service and a check from its files. Registrations through its API are not
/// there.
const SELF: &str = r#"{"Config":{"NodeName":"vm"},"DebugConfig":{"CheckDeregisterIntervalMin":"1m0s",
    "Checks":[{"DeregisterCriticalServiceAfter":"48h0m0s","ID":"extra","Interval":"10s","Name":"extra","ServiceID":"app-x","Token":"hidden"}],
    "Services":[
    {"Check":{"CheckID":"","DeregisterCriticalServiceAfter":"0s"},"Checks":[
        {"CheckID":"","DeregisterCriticalServiceAfter":"5s","HTTP":"http://127.0.0.1:1/","Interval":"10s"},
        {"CheckID":"","DeregisterCriticalServiceAfter":"0s","TCP":"127.0.0.1:1","Interval":"10s"}],
     "ID":"","Name":"app","Port":19009,"Token":"hidden"},
    {"Check":{"CheckID":"","DeregisterCriticalServiceAfter":"0s"},"Checks":[
        {"CheckID":"","DeregisterCriticalServiceAfter":"1m30.5s","TCP":"127.0.0.1:1","Interval":"10s"}],
     "ID":"app-x","Name":"app","Port":19008,"Token":"hidden"}]}}"#;

/// Measured: with 5s an instance is gone after 74 s, with its maintenance.
#[tokio::test]
async fn removal_time_is_read_from_the_agents_own_files() {
    let none = SELF.replace("1m30.5s", "0s");
    for (answer, id, after) in [
        // The file says 5s, and one minute is the minimum.
        (SELF, "app", Some(60)),
        (SELF, "app-x", Some(90)),
        (&none, "app-x", Some(48 * 3600)),
        (SELF, "app-1", None),
        (SELF, "", None),
        ("{}", "app", None),
    ] {
        let (world, client) = client(vec![reply(200, answer)]);
        let removal = client.removal(id).await.expect("an answer");
        assert_eq!(removal, after.map(Duration::from_secs), "{id}");
        assert_eq!(urls(&world), ["http://a:1/v1/agent/self?dc=dc1"]);
    }
    let (_, client) = client(vec![reply(403, "Permission denied")]);
    assert_eq!(client.removal("app").await.expect("no right is no error"), None);
}
