//! Checks that the simulated Consul and gateways follow the rules of the real ones.

use rollgate::world::Method::{Delete, Get, Put};
use rollgate::world::{Request, World};

use crate::broken::{consul, drive};
use crate::faults::{Fate, Fault};
use crate::schedule::PREFIX;
use crate::sim::Sim;

use std::time::Duration;

async fn session(sim: &Sim, settings: &str) -> String {
    let created = consul(sim, Put, "/v1/session/create", settings).await.text().into_owned();
    created.split('"').nth(3).expect("an id").to_owned()
}

async fn put(sim: &Sim, path: &str) -> String {
    consul(sim, Put, path, "x").await.text().into_owned()
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[test]
fn lock_has_one_session_and_a_delay_after_its_loss() {
    drive(async |sim| {
        let first = session(&sim, r#"{"TTL":"10s","LockDelay":"5s"}"#).await;
        let second = session(&sim, r#"{"Behavior":"delete"}"#).await;
        assert_eq!(put(&sim, &format!("/v1/kv/lock?acquire={first}")).await, "true");
        assert_eq!(put(&sim, &format!("/v1/kv/lock?acquire={second}")).await, "false");
        // It lives for its TTL from each renewal, and at most twice as long.
        for _ in 0..5 {
            pass(9_000).await;
            let renewed = consul(&sim, Put, &format!("/v1/session/renew/{first}"), "").await;
            assert_eq!(renewed.status, 200);
        }
        pass(9_900).await;
        assert_eq!(put(&sim, &format!("/v1/kv/lock?acquire={second}")).await, "false");
        pass(10_200).await;
        let renewed = consul(&sim, Put, &format!("/v1/session/renew/{first}"), "").await;
        assert_eq!(renewed.status, 404);
        let held = consul(&sim, Get, "/v1/kv/lock", "").await.text().into_owned();
        assert!(!held.contains("Session"), "{held}");
        // The delay began when the loss was noticed: at the renewal at the latest.
        assert_eq!(put(&sim, &format!("/v1/kv/lock?acquire={second}")).await, "false");
        pass(5_000).await;
        assert_eq!(put(&sim, &format!("/v1/kv/lock?acquire={second}")).await, "true");
        consul(&sim, Put, &format!("/v1/session/destroy/{second}"), "").await;
        assert_eq!(consul(&sim, Get, "/v1/kv/lock", "").await.status, 404);
        let gone = put(&sim, &format!("/v1/kv/lock?acquire={second}")).await;
        assert!(gone.starts_with("invalid session"), "{gone}");
    });
}

#[test]
fn transaction_is_atomic() {
    drive(async |sim| {
        let own = session(&sim, "{}").await;
        let operation = |verb: &str, key: &str, more: &str| {
            format!(r#"{{"KV":{{"Verb":"{verb}","Key":"{key}","Value":"eA=="{more}}}}}"#)
        };
        let txn = async |operations: &[String]| {
            consul(&sim, Put, "/v1/txn", &format!("[{}]", operations.join(","))).await
        };
        let held = format!(r#","Session":"{own}""#);
        let done = txn(&[
            operation("check-not-exists", "a", ""),
            operation("set", "a", ""),
            operation("cas", "b", r#","Index":0"#),
            operation("lock", "c", &held),
            operation("check-session", "c", &held),
            operation("get", "a", ""),
        ])
        .await;
        assert_eq!(done.status, 200, "{}", done.text());
        let results = serde_json::from_str::<serde_json::Value>(&done.text()).expect("JSON");
        let index = results["Results"][0]["KV"]["ModifyIndex"].as_u64().expect("an index");
        assert_eq!(results["Results"][4]["KV"]["Value"], "eA==");
        for wrong in [
            operation("check-not-exists", "a", ""),
            operation("cas", "a", &format!(r#","Index":{}"#, index - 1)),
            operation("check-index", "a", r#","Index":1"#),
            operation("check-session", "a", &held),
            operation("unlock", "a", &held),
            operation("delete-cas", "a", r#","Index":1"#),
            operation("get", "none", ""),
        ] {
            let refused = txn(&[operation("set", "new", ""), wrong.clone()]).await;
            assert_eq!(refused.status, 409, "{wrong}");
            assert!(refused.text().contains(r#""OpIndex":1"#), "{}", refused.text());
            assert_eq!(consul(&sim, Get, "/v1/kv/new", "").await.status, 404, "{wrong}");
        }
        let right = format!(r#","Index":{index}"#);
        let done = txn(&[
            operation("check-index", "a", &right),
            operation("unlock", "c", &held),
            operation("delete-cas", "a", &right),
            operation("delete", "b", ""),
        ])
        .await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(consul(&sim, Get, "/v1/kv/?keys", "").await.text().matches('"').count(), 10);
        let many: Vec<_> = (0..65).map(|_| operation("set", "a", "")).collect();
        assert_eq!(txn(&many).await.status, 413);
    });
}

#[test]
fn blocking_query_waits_for_a_change_or_its_timeout() {
    drive(async |sim| {
        let first = consul(&sim, Get, "/v1/kv/a?recurse", "").await;
        let index = first.header("x-consul-index").expect("an index").to_owned();
        let path = format!("/v1/kv/a?recurse&index={index}&wait=10s");
        let begun = sim.clock();
        assert_eq!(consul(&sim, Get, &path, "").await.status, 404);
        assert!((10_000..11_000).contains(&(sim.clock() - begun)));
        let begun = sim.clock();
        let (changed, ()) = tokio::join!(consul(&sim, Get, &path, ""), async {
            pass(3_000).await;
            put(&sim, "/v1/kv/a/b").await;
        });
        assert_eq!(changed.status, 200);
        assert!((3_000..3_100).contains(&(sim.clock() - begun)));
        consul(&sim, Delete, "/v1/kv/a?recurse", "").await;
        assert_eq!(consul(&sim, Get, "/v1/kv/a/b", "").await.status, 404);
    });
}

#[test]
fn write_with_a_lost_answer_can_take_effect() {
    drive(async |sim| {
        for (fate, key) in [(Fate::AnswerLost, "a"), (Fate::CommittedThen500(0), "b")] {
            sim.look(|state| state.strike(&Fault::NextWrite(fate)));
            let url = format!("http://consul-2:8500/v1/kv/{key}");
            let request = Request { method: Put, ..Request::get(url, Duration::from_secs(5)) };
            let answer = sim.http(request).await;
            assert!(answer.is_err() || answer.is_ok_and(|reply| reply.status == 500));
            assert_eq!(consul(&sim, Get, &format!("/v1/kv/{key}"), "").await.status, 200);
        }
        sim.look(|state| state.strike(&Fault::Election(2_000)));
        assert_eq!(consul(&sim, Get, "/v1/kv/a", "").await.text(), "No cluster leader");
        assert_eq!(consul(&sim, Get, "/v1/status/leader", "").await.text(), "\"\"");
        pass(2_000).await;
        assert_eq!(consul(&sim, Get, "/v1/kv/a", "").await.status, 200);
    });
}

/// As `GATEWAYS.md` describes: at once after a quiet time, late right after another write.
#[test]
fn workers_follow_on_their_own() {
    let behind = |sim: &Sim, node: usize| {
        sim.look(|state| {
            let up: Vec<_> = state.gateways[0].workers.iter().map(|own| own.up[node]).collect();
            up.iter().filter(|up| **up).count()
        })
    };
    drive(async |sim| {
        pass(5_000).await;
        let down = |node: usize| format!("/v1/kv/{PREFIX}10.0.1.{node}:9000");
        consul(&sim, Put, &down(1), r#"{"down":1}"#).await;
        pass(15).await;
        assert_eq!(behind(&sim, 0), 0);
        consul(&sim, Put, &down(2), r#"{"down":"1"}"#).await;
        pass(400).await;
        assert_eq!(behind(&sim, 1), 2);
        pass(1_200).await;
        assert_eq!(behind(&sim, 1), 0);
    });
}
