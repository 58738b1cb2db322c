//! Journals of a slow Consul, on a paused clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::consul::{Settings, base64};
use crate::world::{Command, Host, HttpError, Output, Reply, Request, RunError};

/// A Consul that lists six journals immediately and is this slow for each of them.
struct Slow(Duration);

impl World for Slow {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let folder = "rollgate/app/journal/";
        let names =
            (1..=6).map(|number| format!("{folder}2099123{number}T000000Z-a{number}/p000001"));
        if request.url.contains(&format!("{folder}?")) {
            let body = serde_json::json!(names.collect::<Vec<_>>()).to_string().into_bytes();
            return Ok(Reply { status: 200, body, ..Reply::default() });
        }
        tokio::time::sleep(self.0).await;
        let id =
            request.url.split("Z-").nth(1).and_then(|rest| rest.split('/').next()).expect("an id");
        let line = format!("{}\n", started(id));
        let body = if request.url.contains("keys") {
            serde_json::json!([names.into_iter().find(|name| name.contains(id))])
        } else {
            serde_json::json!([{ "Key": "k", "Value": base64(line.as_bytes()), "ModifyIndex": 1 }])
        };
        Ok(Reply { status: 200, body: body.to_string().into_bytes(), ..Reply::default() })
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("no commands")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("no connections")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

fn started(id: &str) -> serde_json::Value {
    serde_json::json!({
        "v": 1, "seq": 1, "ts": "2026-06-12T14:03:02Z", "type": "release.started", "release": id,
        "data": {
            "service": "app", "command": "deploy", "actor": "me", "file": "app.yaml",
            "playbook": { "service": "app" }, "nodes": [],
            "inputs": { "release": id, "folder": "", "variables": {}, "artifact": null },
        },
    })
}

fn client(takes: Duration) -> Client<Slow> {
    let mut settings = Settings::from_environment(|_| None).expect("settings");
    settings.addresses = vec!["http://a".into()];
    Client::new(Arc::new(Slow(takes)), settings)
}

#[tokio::test(start_paused = true)]
async fn all_journals_together_take_no_more_than_their_time() {
    let nowhere = Path::new("/nonexistent");
    let client = client(Duration::from_secs(2));
    let begun = Instant::now();
    let recent = recent(nowhere, Some(&client), "app", 20, &BTreeSet::new()).await;
    assert!(begun.elapsed() <= TIME, "{:?}", begun.elapsed());
    assert_eq!(recent.releases.len(), 1, "of each, its keys are asked for and its pieces");
    assert_eq!(recent.unread.problems, ["a5 and older releases: not read within 5s"]);
    let begun = Instant::now();
    let found = beginnings(nowhere, Some(&client), "app", 20).await;
    assert!(begun.elapsed() <= TIME, "{:?}", begun.elapsed());
    let ids: Vec<_> = found.started.iter().map(|started| started.inputs.release()).collect();
    assert_eq!(ids, ["a6", "a5"], "the newest first");
    assert_eq!(found.missing.as_deref(), Some("journals in Consul: not read within 5s"));
}

#[tokio::test(start_paused = true)]
async fn journal_of_another_release_is_refused() {
    let client = client(Duration::ZERO);
    let kept = ReplicaId { begun: "20991232T000000Z".into(), release: "a2".into() };
    let places = Places { begun: kept.begun.clone(), path: None, kept: Some(kept) };
    let past = read(Some(&client), "app", "a1", &places, Keep::Bytes).await;
    let error = past.map(|_| ()).expect_err("it is the journal of a2").to_string();
    assert_eq!(error, "the journal of a1 belongs to another release, a2");
}
