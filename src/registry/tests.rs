//! Nodes with a key in Consul and a server in the list of a gateway.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::consul::{Settings, base64};
use crate::playbook::load_text;
use crate::release::{EventKind, Inputs};
use crate::world::{Command, Host, HttpError, Method, Output, Reply, Request, RunError};

const TEXT: &str = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways:
  - { name: own, type: dyups, upstream: app, url: 'http://gw:8081', registry: { type: gateway } }
  - { type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";

const STALE: &str = r#"{"Errors":[{"OpIndex":1,"What":"failed to set key, index is stale"}]}"#;

/// Consul with the first node's key, and a dyups.
struct Both {
    down_in_consul: Mutex<bool>,
    down_at_gateway: Mutex<bool>,
    /// Whether another client has changed the key since it was read.
    is_stale: bool,
    /// The status with which the gateway refuses a change.
    refuses: Option<u16>,
    /// The hosts that received a write, in order.
    written: Mutex<Vec<&'static str>>,
}

impl Both {
    fn write(&self, host: &'static str) {
        self.written.lock().expect("lock").push(host);
    }
}

impl World for Both {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let ok = |body: String| Ok(Reply { status: 200, body: body.into(), ..Reply::default() });
        let bit = |down: &Mutex<bool>| u8::from(*down.lock().expect("lock"));
        // A read that begins together with a write could be older than the write.
        tokio::time::sleep(Duration::from_millis(1)).await;
        match (request.method, request.url.contains("//gw")) {
            (Method::Post, true) => {
                self.write("gateway");
                if let Some(status) = self.refuses {
                    return Ok(Reply { status, body: "no".into(), ..Reply::default() });
                }
                let body = String::from_utf8_lossy(&request.body.unwrap_or_default()).into_owned();
                let own = body.split(';').find(|server| server.contains("10.0.1.1:80"));
                let is_down = own.is_some_and(|own| own.contains("down"));
                *self.down_at_gateway.lock().expect("lock") = is_down;
                ok("success".into())
            }
            (_, true) => {
                let down = bit(&self.down_at_gateway);
                ok(format!("app\nserver 10.0.1.1:80 down={down}\nserver 10.0.1.2:80 down=0\n\n"))
            }
            (Method::Get, false) => {
                let value =
                    base64(format!(r#"{{"down":{}}}"#, bit(&self.down_in_consul)).as_bytes());
                let key = "upstreams/app/10.0.1.1:80";
                ok(format!(r#"[{{"Key":"{key}","Value":"{value}","ModifyIndex":7}}]"#))
            }
            _ if self.is_stale => Ok(Reply { status: 409, body: STALE.into(), ..Reply::default() }),
            _ => {
                self.write("consul");
                let mut down = self.down_in_consul.lock().expect("lock");
                *down = !*down;
                ok(r#"{"Results":[{"KV":{"ModifyIndex":1}},{"KV":{"ModifyIndex":9}}]}"#.into())
            }
        }
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("nothing runs")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("nothing is asked over TCP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// Marks the first node; returns its mark before, the result, and who received a write.
async fn turn(world: Both, down: bool) -> (Switch, Result<Written, Error>, Vec<&'static str>) {
    let loaded = load_text("app.yaml", TEXT).unwrap_or_else(|invalid| panic!("{invalid}"));
    let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
    let world = Arc::new(world);
    let settings = Settings::from_environment(|_| None).expect("settings");
    let consul = Arc::new(Client::new(world.clone(), settings));
    let registry = Registry::new(&world, &consul, &spec);
    let node = spec.nodes.first().expect("a node");
    let switch = registry.read(node).await.expect("readable");
    let guard = SessionFence { key: "rollgate/app/lock".into(), session: "s".into() };
    let written = registry.write(&guard, node, &switch, down).await;
    let hosts = world.written.lock().expect("lock").clone();
    (switch, written, hosts)
}

fn both(down_in_consul: bool, down_at_gateway: bool) -> Both {
    Both {
        down_in_consul: Mutex::new(down_in_consul),
        down_at_gateway: Mutex::new(down_at_gateway),
        is_stale: false,
        refuses: None,
        written: Mutex::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn consul_is_written_first_and_only_what_differs_is_written() {
    let done = Ok(Written::Done(0));
    for (consul, gateway, mark, down, hosts) in [
        (false, false, Mark::Up, true, &["consul", "gateway"][..]),
        (true, true, Mark::Down, false, &["consul", "gateway"]),
        (true, false, Mark::Mixed, true, &["gateway"]),
        (true, false, Mark::Mixed, false, &["consul"]),
    ] {
        let (switch, written, seen) = turn(both(consul, gateway), down).await;
        assert_eq!((switch.mark, &written, seen.as_slice()), (mark, &done, hosts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_has_the_value_of_each_entry_in_the_journal() {
    let (switch, ..) = turn(both(false, false), true).await;
    let EventKind::RegistryWriting { key, entries, original, .. } = switch.writing(true) else {
        panic!("another event")
    };
    assert_eq!(key, "10.0.1.1:80 at own, upstreams/app/10.0.1.1:80");
    let entries = entries.iter().map(|entry| (entry.original.as_str(), entry.modify_index));
    let entries: Vec<_> = entries.collect();
    assert_eq!((entries, original.as_str()), (vec![("own up", 0), (r#"{"down":0}"#, 7)], ""));
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_written_after_a_lost_write_to_consul() {
    let (_, written, hosts) = turn(Both { is_stale: true, ..both(false, false) }, true).await;
    assert_eq!((written, hosts), (Ok(Written::Conflict), vec![]));
}

/// The journal must not say that nothing was changed, once anything was.
#[tokio::test(start_paused = true)]
async fn refusal_is_told_as_half_done_only_if_a_part_was_written_before() {
    let refuses = |consul| Both { refuses: Some(403), ..both(consul, false) };
    let (_, written, _) = turn(refuses(false), true).await;
    assert!(matches!(written, Err(Error::HalfDone(_))), "{written:?}");
    // The key was down before.
    let (_, written, _) = turn(refuses(true), true).await;
    assert!(matches!(written, Err(Error::Failed(_))), "{written:?}");
    let (_, written, _) = turn(Both { is_stale: true, ..both(false, true) }, true).await;
    assert_eq!(written, Ok(Written::Conflict));
}
