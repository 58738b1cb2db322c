//! Consul: its HTTP API over the [`Store`]: keys, transactions, sessions, blocking queries, elections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use percent_encoding::percent_decode_str;
use rollgate::world::{Method, Reply, Request};
use serde_json::{Value, json};

use crate::faults::Fate;
use crate::store::{Change, Session, Store};
use crate::world::Answer;

/// The most operations a transaction may have.
const MOST_OPERATIONS: usize = 64;

/// The longest value, and the longest body of a transaction.
const LONGEST: usize = 512 * 1024;

/// What Consul answers if the token lacks a right.
const DENIED: &str = "Permission denied";

/// How something reacts to a call.
#[derive(Debug)]
pub(crate) enum Reaction {
    /// The answer, after this many milliseconds.
    Answer(u64, Answer),
    /// Not answered before this time, unless something changes.
    Blocks(u64),
    /// Never answered, unless the caller gives up.
    Never,
}

/// How long after its election a leader may not know a session, in milliseconds. Consul 1.8.7 was seen to.
const NEW_LEADER: u64 = 300;

/// Consul's servers and what they keep.
pub(crate) struct Consul {
    pub(crate) store: Store,
    /// Until when each server is down.
    pub(crate) down_until: Vec<u64>,
    /// Until when there is no leader.
    pub(crate) election_until: u64,
    /// The fates of the next writes.
    pub(crate) writes: VecDeque<Fate>,
    /// The fates of the next reads.
    pub(crate) reads: VecDeque<Fate>,
    /// The keys that the token may not write, by their beginnings.
    pub(crate) read_only: Vec<String>,
    service_index: u64,
    service_seen: Vec<(String, bool)>,
}

/// A request's query.
struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), decoded(value))
        });
        Self(pairs.collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|number| number.parse().ok())
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reaction {
    let reply = Reply { status, body: body.into(), ..Reply::default() };
    Reaction::Answer(0, Answer::Http(Ok(reply)))
}

fn indexed(index: u64, status: u16, body: impl Into<Vec<u8>>) -> Reaction {
    let headers = [("x-consul-index".to_owned(), index.to_string())].into();
    Reaction::Answer(
        0,
        Answer::Http(Ok(Reply { status, headers, body: body.into(), ..Reply::default() })),
    )
}

/// `10s`, or a number of nanoseconds, as Consul takes durations in JSON.
fn milliseconds(value: &Value) -> Option<u64> {
    let duration = match value {
        Value::String(text) => humantime::parse_duration(text).ok()?,
        number => Duration::from_nanos(number.as_u64()?),
    };
    u64::try_from(duration.as_millis()).ok()
}

impl Consul {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            store: Store::begun(),
            down_until: vec![0; servers],
            election_until: 0,
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            read_only: Vec::new(),
            service_index: 10,
            service_seen: Vec::new(),
        }
    }

    /// Returns the changes since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.store.changes)
    }

    /// Whether the query of a gateway would be answered now.
    pub(crate) fn answers(&self, clock: u64) -> bool {
        clock >= self.election_until && self.down_until.iter().any(|until| clock >= *until)
    }

    /// Answers a request; `since` is the arrival of a blocking query.
    pub(crate) fn handle(
        &mut self,
        clock: u64,
        rng: &mut Rng,
        request: &Request,
        path: &str,
        since: Option<u64>,
        passing: &[(String, bool)],
    ) -> Reaction {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Query::parse(query);
        let body = request.body.as_deref().unwrap_or_default();
        self.store.expire(clock);
        let electing = clock < self.election_until;
        if path == "/v1/status/leader" {
            return reply(200, if electing { "\"\"" } else { "\"10.0.0.5:8300\"" });
        }
        if path == "/v1/agent/self" {
            let own = json!({ "Config": { "Datacenter": "dc1", "NodeName": "consul-1",
                "Version": "1.8.7", "Server": true }, "Member": { "Name": "consul-1" } });
            return reply(200, own.to_string());
        }
        if electing && !query.has("stale") {
            return reply(500, "No cluster leader");
        }
        if let Some(key) = path.strip_prefix("/v1/kv/") {
            if request.method != Method::Get && self.denies(&decoded(key)) {
                return reply(403, DENIED);
            }
            return match request.method {
                Method::Get | Method::Head | Method::Options => {
                    self.get(clock, &decoded(key), &query, since)
                }
                Method::Put | Method::Post | Method::Patch => {
                    self.put(clock, &decoded(key), &query, body)
                }
                Method::Delete => self.delete(&decoded(key), &query),
            };
        }
        if let Some(rest) = path.strip_prefix("/v1/session/") {
            return self.session(clock, rng, rest, body);
        }
        if path == "/v1/txn" {
            return self.transaction(clock, body);
        }
        match path.strip_prefix("/v1/health/service/") {
            Some(service) => self.health(clock, service, &query, since, passing),
            None => reply(404, ""),
        }
    }

    fn denies(&self, key: &str) -> bool {
        self.read_only.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Until when a blocking query has to wait: nothing is newer than its index, and its time is not over.
    fn blocks(
        &self,
        clock: u64,
        index: u64,
        query: &Query,
        since: Option<u64>,
    ) -> Option<Reaction> {
        let asked = query.number("index").filter(|asked| *asked > 0)?;
        let wait = query.get("wait").and_then(|wait| milliseconds(&wait.into()));
        let wait = wait.unwrap_or(300_000).min(600_000);
        // Consul adds up to a sixteenth.
        let end = since.unwrap_or(clock) + wait + wait / 32;
        let expires = self.store.sessions.values().map(|session| session.expires).min();
        let next = expires.map_or(end, |expires| expires.min(end));
        (index <= asked && clock < end).then_some(Reaction::Blocks(next))
    }

    fn get(&self, clock: u64, key: &str, query: &Query, since: Option<u64>) -> Reaction {
        let below = query.has("recurse") || query.has("keys");
        let index = self.store.index_of(key, below);
        if let Some(blocks) = self.blocks(clock, index, query, since) {
            return blocks;
        }
        let found: Vec<_> = self.store.find(key, below).collect();
        if found.is_empty() {
            return indexed(index, 404, "");
        }
        if query.has("keys") {
            let separator = query.get("separator").unwrap_or("");
            let mut names: Vec<&str> = Vec::new();
            for (name, _) in found {
                let end = name[key.len()..].find(separator).filter(|_| !separator.is_empty());
                let end = end.map_or(name.len(), |at| key.len() + at + separator.len());
                if names.last() != Some(&&name[..end]) {
                    names.push(&name[..end]);
                }
            }
            return indexed(index, 200, json!(names).to_string());
        }
        if query.has("raw") {
            return indexed(index, 200, found[0].1.value.to_vec());
        }
        let pairs: Vec<_> = found.iter().map(|(name, pair)| pair.shown(name, true)).collect();
        indexed(index, 200, Value::from(pairs).to_string())
    }

    fn put(&mut self, clock: u64, key: &str, query: &Query, body: &[u8]) -> Reaction {
        if body.len() > LONGEST {
            return reply(413, format!("Request body too large, max size: {LONGEST} bytes"));
        }
        let flags = query.number("flags").unwrap_or(0);
        let done = if let Some(session) = query.get("acquire") {
            if !self.store.sessions.contains_key(session) {
                return reply(500, format!("invalid session \"{session}\""));
            }
            !self.store.delayed(clock, key) && self.store.lock(key, body, flags, session)
        } else if let Some(session) = query.get("release") {
            self.store.unlock(key, body, flags, session)
        } else if let Some(index) = query.number("cas") {
            self.store.compare_and_set(key, body, flags, index)
        } else {
            self.store.set(key, body, flags);
            true
        };
        reply(200, done.to_string())
    }

    fn delete(&mut self, key: &str, query: &Query) -> Reaction {
        let done = if let Some(index) = query.number("cas") {
            self.store.delete_compared(key, index)
        } else {
            self.store.delete(key, query.has("recurse"));
            true
        };
        reply(200, done.to_string())
    }

    fn session(&mut self, clock: u64, rng: &mut Rng, rest: &str, body: &[u8]) -> Reaction {
        let (verb, id) = rest.split_once('/').unwrap_or((rest, ""));
        match verb {
            "create" => self.create(clock, rng, body),
            // A new leader answers before it has applied what was decided under the last one.
            "renew" if self.election_until > 0 && clock < self.election_until + NEW_LEADER => {
                reply(404, format!("Session id '{id}' not found"))
            }
            "renew" => match self.store.renew(clock, rng, id) {
                Some(shown) => reply(200, json!([shown]).to_string()),
                None => reply(404, format!("Session id '{id}' not found")),
            },
            "destroy" => {
                self.store.invalidate(clock, id);
                reply(200, "true")
            }
            "info" | "list" => {
                let sessions = self.store.sessions.iter();
                let sessions = sessions.filter(|(own, _)| id.is_empty() || own.as_str() == id);
                let sessions: Vec<_> = sessions.map(|(own, session)| session.shown(own)).collect();
                indexed(self.store.index, 200, Value::from(sessions).to_string())
            }
            _ => reply(404, ""),
        }
    }

    fn create(&mut self, clock: u64, rng: &mut Rng, body: &[u8]) -> Reaction {
        let wanted: Value = match body {
            [] => json!({}),
            body => match serde_json::from_slice(body) {
                Ok(wanted) => wanted,
                Err(error) => return reply(400, format!("Request decode failed: {error}")),
            },
        };
        let ttl = wanted.get("TTL").and_then(milliseconds).filter(|ttl| *ttl > 0);
        if ttl.is_some_and(|ttl| !(10_000..=86_400_000).contains(&ttl)) {
            let problem = "Invalid Session TTL, must be between [10s=24h0m0s]";
            return reply(500, problem);
        }
        let delay = wanted.get("LockDelay").and_then(milliseconds).unwrap_or(15_000).min(60_000);
        let session = Session {
            name: wanted["Name"].as_str().unwrap_or("").to_owned(),
            ttl,
            delay,
            deletes: wanted["Behavior"] == "delete",
            expires: 0,
        };
        let id = self.store.create(clock, rng, session);
        reply(200, json!({ "ID": id }).to_string())
    }

    fn transaction(&mut self, clock: u64, body: &[u8]) -> Reaction {
        let operations: Vec<Value> = match serde_json::from_slice(body) {
            Ok(operations) => operations,
            Err(error) => return reply(400, format!("Failed to parse body: {error}")),
        };
        if operations.len() > MOST_OPERATIONS {
            return reply(
                413,
                format!("Transaction contains too many operations ({})", operations.len()),
            );
        }
        if body.len() > LONGEST * 4 / 3 {
            return reply(413, format!("Request body too large, max size: {LONGEST} bytes"));
        }
        let before = self.store.clone();
        let (mut results, mut errors, mut checked) = (Vec::new(), Vec::new(), Vec::new());
        self.store.index += 1;
        for (at, operation) in operations.iter().enumerate() {
            let kv = &operation["KV"];
            let verb = kv["Verb"].as_str().unwrap_or("");
            let reads = verb.starts_with("get") || verb.starts_with("check-");
            if !reads && self.denies(kv["Key"].as_str().unwrap_or("")) {
                errors.push(json!({ "OpIndex": at, "What": DENIED }));
                continue;
            }
            let value = BASE64_STANDARD.decode(kv["Value"].as_str().unwrap_or(""));
            match self.store.operate(clock, kv, &value.unwrap_or_default()) {
                Ok(shown) => results.extend(shown.into_iter().map(|pair| json!({ "KV": pair }))),
                Err(what) => errors.push(json!({ "OpIndex": at, "What": what })),
            }
            if kv["Verb"] == "check-session" {
                let text = |name: &str| kv[name].as_str().unwrap_or("").to_owned();
                checked.push((text("Key"), text("Session")));
            }
        }
        if errors.is_empty() {
            for change in &mut self.store.changes {
                change.checked.clone_from(&checked);
            }
            return reply(200, json!({ "Results": results, "Errors": null }).to_string());
        }
        self.store = before;
        reply(409, json!({ "Results": null, "Errors": errors }).to_string())
    }

    fn health(
        &mut self,
        clock: u64,
        service: &str,
        query: &Query,
        since: Option<u64>,
        passing: &[(String, bool)],
    ) -> Reaction {
        if self.service_seen != passing {
            self.service_index += 1;
            self.service_seen = passing.to_vec();
        }
        if let Some(blocks) = self.blocks(clock, self.service_index, query, since) {
            return blocks;
        }
        let shown = passing.iter().filter(|(_, passes)| *passes || !query.has("passing"));
        let shown: Vec<_> = shown
            .map(|(address, passes)| {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
                let status = if *passes { "passing" } else { "critical" };
                json!({
                    "Node": { "Node": host, "Address": host },
                    "Service": { "ID": format!("{service}-{host}"), "Service": service,
                        "Address": host, "Port": port.parse::<u16>().unwrap_or(0) },
                    "Checks": [{ "CheckID": "ping", "Status": status }],
                })
            })
            .collect();
        indexed(self.service_index, 200, Value::from(shown).to_string())
    }
}
