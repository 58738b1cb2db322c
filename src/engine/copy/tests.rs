//! What a Consul has of journals, ours and others.

use std::sync::Arc;

use super::*;
use crate::consul::{Settings, base64};
use crate::world::{BODY_LIMIT, Command, Host, HttpError, Output, Reply, Request, RunError};

/// As many small pieces as are ever in one reply.
const AT_ONCE: usize = 1000;

fn entry(key: &str, value: &[u8]) -> Entry {
    Entry { key: key.into(), value: value.into(), flags: 0, modify_index: 1, session: None }
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A Consul that has some keys.
struct Keys(Vec<Entry>);

impl World for Keys {
    async fn http(&self, request: Request) -> Result<Reply, HttpError> {
        let path = request.url.strip_prefix("http://a/v1/kv/").expect("a key");
        let (prefix, query) = path.split_once('?').expect("a query");
        let found: Vec<_> = self.0.iter().filter(|entry| entry.key.starts_with(prefix)).collect();
        if found.is_empty() {
            return Ok(Reply { status: 404, ..Reply::default() });
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
async fn a_journal_longer_than_any_reply_is_read_in_its_order() {
    const { assert!(AT_ONCE * (PIECE * 4 / 3 + 400) < BODY_LIMIT) };
    let kept = Kept { begun: "1".into(), release: "r".into() };
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
async fn a_release_whose_name_is_no_name_of_ours_is_not_known() {
    let names = ["1-..", "1-a.b", "1-", "-a", "1-a b", "1-\u{1b}[2J", "x", "2-ok"];
    let keys = names.map(|name| entry(&format!("rollgate/app/journal/{name}/p000001"), b""));
    let ok = Kept { begun: "2".into(), release: "ok".into() };
    assert_eq!(list(&client(keys.into()), "app").await.expect("readable"), [ok]);
}

#[test]
fn a_compressed_journal_that_would_become_too_large_is_an_error() {
    let bomb = gzipped(&vec![0; 1 << 20]);
    assert!(bomb.len() < 1 << 14);
    let joined = |largest| joined("f/", vec![entry("f/z000001", &bomb)], largest);
    assert_eq!(joined(1 << 20).expect("fits").len(), 1 << 20);
    let error = joined((1 << 20) - 1).expect_err("too large");
    assert!(error.to_string().contains("larger than any journal"), "{error}");
}

#[test]
fn pieces_are_put_together_in_their_order_and_growing_ones_go_first() {
    let joined = |entries| joined("f/", entries, LARGEST);
    let compressed = gzipped(b"compressed");
    let (start, end) = compressed.split_at(7);
    let compressed = [entry("f/z000002", end), entry("f/z000001", start)];
    assert_eq!(joined(compressed.to_vec()).expect("readable"), b"compressed");
    let growing = [entry("f/p000002", b"ne\n"), entry("f/p000001", b"li")];
    let all = [&compressed[..], &growing[..]].concat();
    assert_eq!(joined(all).expect("readable"), b"line\n");
    assert!(joined(vec![entry("f/z000001", b"garbage")]).is_err());
    assert!(joined(vec![entry("f/z000001", end)]).is_err());
}
