//! Caddy, whose list omits a node that is out: what is absent from it, and what its answers to a change mean.

use std::collections::VecDeque;

use serde_json::json;

use super::*;
use crate::world::{Command, Host, HttpError, Output, Request, RunError, Trust};

const NODES: [&str; 2] = ["10.0.0.1:80", "10.0.0.2:80"];

/// Answers from a list.
struct Script(Mutex<VecDeque<Result<Reply, HttpError>>>);

impl World for Script {
    async fn http(&self, _: Request) -> Result<Reply, HttpError> {
        self.0.lock().expect("lock").pop_front().expect("an answer")
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("it is asked by HTTP")
    }

    async fn exchange(
        &self,
        _: &str,
        _: &[u8],
        _: std::time::Duration,
    ) -> Result<Vec<u8>, HttpError> {
        unreachable!("it is asked by HTTP")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn gateways(replies: Vec<Result<Reply, HttpError>>) -> Gateways<Script> {
    let settings = json!({ "type": "caddy", "admin_url": "http://gw:2019", "handler": "app" });
    let gateway = GatewaySpec {
        name: "edge".into(),
        trust: Trust::default(),
        settings: serde_json::from_value(settings).expect("settings"),
        nodes: NODES.map(String::from).to_vec(),
        registry: 0,
    };
    let world = Arc::new(Script(Mutex::new(replies.into())));
    Gateways::new(QueryClient::new(world, None), &[gateway], 0)
}

#[expect(clippy::unnecessary_wraps, reason = "an element of a list of results")]
fn answers(status: u16, body: &str) -> Result<Reply, HttpError> {
    Ok(Reply { status, body: body.into(), ..Reply::default() })
}

/// A list, with the `Etag` on which a change depends.
#[expect(clippy::unnecessary_wraps, reason = "an element of a list of results")]
fn lists(dials: &[&str]) -> Result<Reply, HttpError> {
    let upstreams: Vec<_> = dials.iter().map(|dial| json!({ "dial": dial })).collect();
    let body = json!({ "handler": "reverse_proxy", "upstreams": upstreams }).to_string();
    let headers = [("etag".to_owned(), "\"1\"".to_owned())].into();
    Ok(Reply { status: 200, headers, body: body.into(), ..Reply::default() })
}

fn refused() -> Result<Reply, HttpError> {
    Err(HttpError::NotSent("connection refused".into()))
}

fn guard() -> SessionFence {
    SessionFence { key: "rollgate/app/lock".into(), session: "s".into() }
}

#[tokio::test(start_paused = true)]
async fn unlisted_node_is_certainly_out_only_if_all_entries_are_nodes() {
    let read =
        async |dials: &[&str]| gateways(vec![lists(dials)]).read(NODES[0]).await.expect("readable");
    let listed = read(&NODES).await;
    assert_eq!((listed.mark, listed.absent), (Mark::Up, None));
    let alone = read(&NODES[1..]).await;
    assert_eq!((alone.mark, alone.absent), (Mark::Down, None));
    let hidden = read(&["app.local:80", "{env.B}", "x:1", "y:1", "10.0.0.2:80"]).await;
    assert_eq!(hidden.mark, Mark::Down);
    let absent = hidden.absent.expect("it may be one of them");
    assert!(
        absent.starts_with(
            "edge does not list 10.0.0.1:80 but lists app.local:80, {env.B}, x:1 and 1 more, which are not nodes"
        ),
        "{absent}"
    );
}

#[tokio::test(start_paused = true)]
async fn node_that_changed_its_spelling_does_not_count_as_out() {
    let respelled = || lists(&["app.local:80", NODES[1]]);
    let written = gateways(vec![respelled()]).write(&guard(), &[0], NODES[0], true, false).await;
    assert_eq!(written, Ok(Written::Conflict));
    // It was so when it was read, and the node is known to be out.
    let written = gateways(vec![respelled()]).write(&guard(), &[0], NODES[0], true, true).await;
    assert_eq!(written, Ok(Written::Done(0)));
}

#[tokio::test(start_paused = true)]
async fn failed_read_is_retried_and_a_refusal_is_not() {
    let lost = || Err(HttpError::Broken("connection reset".into()));
    for away in [refused(), lost(), answers(503, ""), answers(429, ""), answers(502, "")] {
        let error = gateways(vec![away]).read(NODES[0]).await.expect_err("no list");
        assert!(matches!(error, Error::Away(_)), "{error:?}");
    }
    let untrusted = Err(HttpError::Untrusted("UnknownIssuer".into()));
    for last in [answers(404, "{}"), answers(403, ""), answers(200, "<html>"), untrusted] {
        let error = gateways(vec![last]).read(NODES[0]).await.expect_err("no list");
        assert!(matches!(error, Error::Failed(_)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_change_differs_from_change_of_unknown_effect() {
    let write = async |answer| {
        let gateways = gateways(vec![lists(&NODES), answer, lists(&NODES)]);
        gateways.write(&guard(), &[0], NODES[0], true, false).await
    };
    assert!(matches!(write(refused()).await, Err(Error::Away(_))));
    let reset = Err(HttpError::Broken("connection reset".into()));
    assert!(matches!(write(reset).await, Err(Error::Unknown(_))));
    assert!(matches!(write(answers(429, "")).await, Err(Error::Away(_))));
    let headers = [("retry-after".to_owned(), "1".to_owned())].into();
    let busy = Ok(Reply { status: 503, headers, ..Reply::default() });
    assert!(matches!(write(busy).await, Err(Error::Away(_))));
    assert!(matches!(write(answers(503, "")).await, Err(Error::Unknown(_))));
    assert!(matches!(write(answers(400, "bad")).await, Err(Error::Failed(_))));
    assert_eq!(write(answers(412, "stale")).await, Ok(Written::Conflict));
    // It confirms the change, and shows another state.
    assert!(matches!(write(answers(200, "")).await, Err(Error::NotShown(_))));
}
