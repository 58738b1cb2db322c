//! Reads and writes journals in a simulated Consul, among keys of others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::consul::{SessionFence, Settings, base64, no_key};
use crate::world::{BODY_LIMIT, Command, Host, HttpError, Output, Reply, Request, RunError};

/// The largest number of small pieces in one reply.
const AT_ONCE: usize = 1000;

fn entry(key: &str, value: &[u8]) -> Entry {
    Entry { key: key.into(), value: value.into(), flags: 0, modify_index: 1, session: None }
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A Consul with some keys.
struct Keys(Vec<Entry>);

impl World for Keys {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let path = request.url.strip_prefix("http://a/v1/kv/").expect("a key");
        let (prefix, query) = path.split_once('?').expect("a query");
        let found: Vec<_> = self.0.iter().filter(|entry| entry.key.starts_with(prefix)).collect();
        if found.is_empty() {
            return Ok(no_key());
        }
        let names = query.contains("keys");
        assert!(names || found.len() <= AT_ONCE, "{} pieces in a reply", found.len());
        let name = |entry: &&Entry| serde_json::json!(entry.key);
        let pair = |entry: &&Entry| {
            let value = base64(&entry.value);
            serde_json::json!({ "Key": entry.key, "Value": value, "ModifyIndex": 1 })
        };
        let told: Vec<_> =
            if names { found.iter().map(name).collect() } else { found.iter().map(pair).collect() };
        let body = serde_json::Value::from(told).to_string().into_bytes();
        Ok(Reply { status: 200, body, ..Reply::default() })
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

fn client(keys: Vec<Entry>) -> Client<Keys> {
    let mut settings = Settings::from_environment(|_| None).expect("settings");
    settings.addresses = vec!["http://a".into()];
    Client::new(Arc::new(Keys(keys)), settings)
}

#[tokio::test]
async fn journal_longer_than_one_reply_is_read_in_order() {
    const { assert!(AT_ONCE * (PIECE * 4 / 3 + 400) < BODY_LIMIT) };
    let kept = ReplicaId { begun: "1".into(), release: "r".into() };
    let text: Vec<u8> = (0..2500_u32).flat_map(u32::to_be_bytes).collect();
    for (letter, bytes) in [('p', text.clone()), ('z', gzipped(&text))] {
        let piece = |(index, piece): (usize, &[u8])| {
            entry(&format!("rollgate/app/journal/1-r/{letter}{:06}", index + 1), piece)
        };
        let client = client(bytes.chunks(4).enumerate().map(piece).collect());
        assert!(read(&client, "app", &kept).await.expect("readable") == text, "{letter}");
    }
}

#[tokio::test]
async fn key_with_an_invalid_release_name_is_ignored() {
    let names = ["1-..", "1-a.b", "1-", "-a", "1-a b", "1-\u{1b}[2J", "x", "2-ok"];
    let keys = names.map(|name| entry(&format!("rollgate/app/journal/{name}/p000001"), b""));
    let ok = ReplicaId { begun: "2".into(), release: "ok".into() };
    assert_eq!(list(&client(keys.into()), "app").await.expect("readable"), [ok]);
}

#[tokio::test]
async fn pieces_are_put_together_in_their_order_and_growing_ones_go_first() {
    let kept = ReplicaId { begun: "1".into(), release: "r".into() };
    let read = async |pieces: &[(&str, &[u8])]| {
        let key = |name: &str| format!("rollgate/app/journal/1-r/{name}");
        let entries = pieces.iter().map(|(name, value)| entry(&key(name), value)).collect();
        read(&client(entries), "app", &kept).await
    };
    let compressed = gzipped(b"compressed");
    let (start, end) = compressed.split_at(7);
    let packed = [("z000002", end), ("z000001", start)];
    assert_eq!(read(&packed).await.expect("readable"), b"compressed");
    let growing: [(&str, &[u8]); 2] = [("p000002", b"ne\n"), ("p000001", b"li")];
    let all = [&packed[..], &growing[..]].concat();
    assert_eq!(read(&all).await.expect("readable"), b"line\n");
    assert!(read(&[("z000001", b"garbage")]).await.is_err());
    assert!(read(&[("z000001", end)]).await.is_err());
}

/// A Consul that accepts transactions, and loses one for a while when a test says so.
#[derive(Default)]
struct Store(Mutex<Kv>);

#[derive(Default)]
struct Kv {
    pairs: BTreeMap<String, (Vec<u8>, u64)>,
    index: u64,
    loses: bool,
    lost: Option<Vec<Value>>,
}

impl Kv {
    fn answer(&mut self, request: &Request) -> Option<Reply> {
        if request.url.ends_with("/v1/txn") {
            let body = request.body.as_deref().unwrap_or_default();
            let operations: Vec<Value> = serde_json::from_slice(body).expect("operations");
            if !std::mem::take(&mut self.loses) {
                return Some(self.apply(&operations));
            }
            self.lost = Some(operations);
            return None;
        }
        let (_, key) = request.url.split_once("/v1/kv/").expect("a key");
        let Some((value, index)) = self.pairs.get(key.split('?').next().unwrap_or_default()) else {
            return Some(no_key());
        };
        let pair = json!([{ "Key": "", "Value": base64(value), "ModifyIndex": index }]);
        let body = pair.to_string().into_bytes();
        Some(Reply { status: 200, body, ..Reply::default() })
    }

    fn apply(&mut self, operations: &[Value]) -> Reply {
        let operations: Vec<_> = operations.iter().map(|one| &one["KV"]).skip(1).collect();
        let key = |one: &Value| one["Key"].as_str().unwrap_or_default().to_owned();
        let stale = |one: &&Value| {
            let index = self.pairs.get(&key(one)).map_or(0, |(_, index)| *index);
            one["Verb"] == "cas" && one["Index"] != index
        };
        if operations.iter().any(stale) {
            let body = json!({ "Errors": [{ "OpIndex": 1, "What": "index is stale" }] });
            return Reply { status: 409, body: body.to_string().into_bytes(), ..Reply::default() };
        }
        self.index += 1;
        let mut results = Vec::new();
        for one in operations {
            let value = BASE64_STANDARD.decode(one["Value"].as_str().expect("a value"));
            self.pairs.insert(key(one), (value.expect("base64"), self.index));
            results.push(json!({ "KV": { "Key": key(one), "ModifyIndex": self.index } }));
        }
        let body = json!({ "Results": results }).to_string().into_bytes();
        Reply { status: 200, body, ..Reply::default() }
    }
}

impl World for Store {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let answer = self.0.lock().expect("whole").answer(&request);
        match answer {
            Some(reply) => Ok(reply),
            None => std::future::pending().await,
        }
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

#[tokio::test(start_paused = true)]
async fn late_write_does_not_overwrite_newer_lines() {
    let store = Arc::new(Store::default());
    let mut settings = Settings::from_environment(|_| None).expect("settings");
    settings.addresses = vec!["http://a".into()];
    let client = Client::new(store.clone(), settings);
    let fence = Fence::new(SessionFence { key: "lock".into(), session: "ours".into() });
    let begun = jiff::Timestamp::UNIX_EPOCH;
    for (so_far, more) in [(0, 100), (0, PIECE), (PIECE - 50, PIECE * 3), (PIECE * 40, 7)] {
        let so_far = vec![b'a'; so_far];
        let mut copy = JournalReplica::new(&client, &fence, "app", "r", begun, so_far.clone());
        let mut whole = so_far;
        for (number, loses) in [false, true, false].into_iter().enumerate() {
            let lines = vec![b'b' + u8::try_from(number).expect("few"); more];
            whole.extend_from_slice(&lines);
            store.0.lock().expect("whole").loses = loses;
            let appended = copy.append(&lines, std::future::pending()).await.map_err(|_| ());
            // The write after the lost one makes it complete again.
            let expected = if loses { Err(()) } else { Ok(number == 2) };
            assert_eq!(appended, expected);
            tokio::time::sleep(PAUSE).await;
        }
        let mut kv = store.0.lock().expect("whole");
        let late = kv.lost.take().expect("a write that was lost");
        assert_eq!(kv.apply(&late).status, 409);
        let there: Vec<_> = kv.pairs.values().flat_map(|(value, _)| value.clone()).collect();
        assert!(there == whole, "{} bytes, not {}", there.len(), whole.len());
        kv.pairs.clear();
    }
}
