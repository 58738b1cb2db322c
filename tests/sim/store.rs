//! The keys and sessions of Consul, with its rules for indexes, locks, lock-delay and expiry.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use serde_json::{Value, json};

/// A key's value and its metadata.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pair {
    pub(crate) value: Arc<[u8]>,
    pub(crate) flags: u64,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) locks: u64,
    pub(crate) session: Option<String>,
}

impl Pair {
    /// The pair in Consul's JSON.
    pub(crate) fn shown(&self, key: &str, with_value: bool) -> Value {
        let value = with_value.then(|| BASE64_STANDARD.encode(&self.value));
        let mut shown = json!({
            "LockIndex": self.locks, "Key": key, "Flags": self.flags, "Value": value,
            "CreateIndex": self.created, "ModifyIndex": self.modified,
        });
        if let Some(session) = &self.session {
            shown["Session"] = session.as_str().into();
        }
        shown
    }
}

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) name: String,
    /// In milliseconds; a session without it lives until it is destroyed.
    pub(crate) ttl: Option<u64>,
    /// How long its keys cannot be locked after its end.
    pub(crate) delay: u64,
    /// Whether its keys are deleted with it.
    pub(crate) deletes: bool,
    pub(crate) expires: u64,
}

impl Session {
    pub(crate) fn shown(&self, id: &str) -> Value {
        json!({
            "ID": id, "Name": self.name, "Node": "consul-1",
            "LockDelay": self.delay * 1_000_000,
            "Behavior": if self.deletes { "delete" } else { "release" },
            "TTL": self.ttl.map(|ttl| format!("{}s", ttl / 1000)).unwrap_or_default(),
        })
    }
}

/// A changed key, for the watchers.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) before: Option<Arc<[u8]>>,
    pub(crate) after: Option<Arc<[u8]>>,
    /// Keys and sessions that the same transaction checked with `check-session`.
    pub(crate) checked: Vec<(String, String)>,
}

/// The keys and sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) index: u64,
    pub(crate) keys: BTreeMap<String, Pair>,
    graves: BTreeMap<String, u64>,
    pub(crate) sessions: BTreeMap<String, Session>,
    delays: BTreeMap<String, u64>,
    pub(crate) changes: Vec<Change>,
}

impl Store {
    /// A store with Consul's own first writes.
    pub(crate) fn begun() -> Self {
        Self { index: 20, ..Self::default() }
    }

    /// Returns the key, or every key below it.
    pub(crate) fn find(&self, key: &str, below: bool) -> impl Iterator<Item = (&str, &Pair)> {
        let start = key.to_owned();
        let range = self.keys.range(start.clone()..);
        range
            .take_while(
                move |(name, _)| if below { name.starts_with(&start) } else { **name == start },
            )
            .map(|(name, pair)| (name.as_str(), pair))
    }

    /// Returns the index of the last change to the key, or to any key below it.
    pub(crate) fn index_of(&self, key: &str, below: bool) -> u64 {
        let kept = self.find(key, below).map(|(_, pair)| pair.modified).max().unwrap_or(0);
        let graves = self.graves.iter();
        let graves =
            graves.filter(|(name, _)| if below { name.starts_with(key) } else { *name == key });
        let buried = graves.map(|(_, index)| *index).max().unwrap_or(0);
        match kept.max(buried) {
            0 => self.index.max(1),
            index => index,
        }
    }

    /// Within a transaction all changes share one index; otherwise each has its own.
    fn change(&mut self, key: &str, index: u64, edit: impl FnOnce(&mut Pair)) {
        let before = self.keys.get(key).map(|pair| pair.value.clone());
        let pair = self.keys.entry(key.to_owned()).or_default();
        edit(pair);
        pair.modified = index;
        if before.is_none() {
            pair.created = index;
        }
        let after = Some(pair.value.clone());
        self.changes.push(Change { key: key.to_owned(), before, after, checked: Vec::new() });
    }

    fn write(&mut self, key: &str, value: &[u8], flags: u64, index: u64) {
        self.change(key, index, |pair| {
            pair.value = value.into();
            pair.flags = flags;
        });
    }

    fn next(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    pub(crate) fn set(&mut self, key: &str, value: &[u8], flags: u64) {
        let index = self.next();
        self.write(key, value, flags, index);
    }

    fn unchanged(&self, key: &str, index: u64) -> bool {
        self.keys.get(key).map_or(0, |pair| pair.modified) == index
    }

    pub(crate) fn compare_and_set(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        index: u64,
    ) -> bool {
        let unchanged = self.unchanged(key, index);
        if unchanged {
            self.set(key, value, flags);
        }
        unchanged
    }

    pub(crate) fn delete(&mut self, key: &str, below: bool) {
        let index = self.next();
        self.bury(key, below, index);
    }

    fn bury(&mut self, key: &str, below: bool, index: u64) {
        let names: Vec<_> = self.find(key, below).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let before = self.keys.remove(&name).map(|pair| pair.value);
            self.graves.insert(name.clone(), index);
            self.changes.push(Change { key: name, before, after: None, checked: Vec::new() });
        }
    }

    pub(crate) fn delete_compared(&mut self, key: &str, index: u64) -> bool {
        let unchanged = self.unchanged(key, index);
        if unchanged {
            self.delete(key, false);
        }
        unchanged
    }

    /// Whether the lock-delay of a lost session still blocks the key.
    pub(crate) fn delayed(&self, clock: u64, key: &str) -> bool {
        self.delays.get(key).is_some_and(|until| clock < *until)
    }

    pub(crate) fn lock(&mut self, key: &str, value: &[u8], flags: u64, session: &str) -> bool {
        let index = self.index + 1;
        let locked = self.lock_at(key, value, flags, session, index);
        self.index += u64::from(locked);
        locked
    }

    fn lock_at(&mut self, key: &str, value: &[u8], flags: u64, session: &str, index: u64) -> bool {
        let holder = self.keys.get(key).and_then(|pair| pair.session.clone());
        if holder.as_deref().is_some_and(|holder| holder != session) {
            return false;
        }
        self.write(key, value, flags, index);
        let pair = self.keys.entry(key.to_owned()).or_default();
        pair.locks += u64::from(holder.is_none());
        pair.session = Some(session.to_owned());
        true
    }

    pub(crate) fn unlock(&mut self, key: &str, value: &[u8], flags: u64, session: &str) -> bool {
        let index = self.index + 1;
        let unlocked = self.unlock_at(key, value, flags, session, index);
        self.index += u64::from(unlocked);
        unlocked
    }

    fn unlock_at(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: &str,
        index: u64,
    ) -> bool {
        if self.keys.get(key).is_none_or(|pair| pair.session.as_deref() != Some(session)) {
            return false;
        }
        self.write(key, value, flags, index);
        if let Some(pair) = self.keys.get_mut(key) {
            pair.session = None;
        }
        true
    }

    /// Runs one operation of a transaction: returns its result, or why the transaction fails. The store has its index.
    pub(crate) fn operate(
        &mut self,
        clock: u64,
        kv: &Value,
        value: &[u8],
    ) -> Result<Vec<Value>, String> {
        let text = |name: &str| kv[name].as_str().unwrap_or("");
        let (key, session) = (text("Key"), text("Session"));
        let (flags, index) = (kv["Flags"].as_u64().unwrap_or(0), kv["Index"].as_u64().unwrap_or(0));
        let now = self.index;
        let ensure = |right: bool, problem: String| if right { Ok(()) } else { Err(problem) };
        match text("Verb") {
            "set" => self.write(key, value, flags, now),
            "cas" => {
                ensure(
                    self.unchanged(key, index),
                    format!("failed to set key \"{key}\", index is stale"),
                )?;
                self.write(key, value, flags, now);
            }
            "delete" => {
                self.bury(key, false, now);
                return Ok(Vec::new());
            }
            "delete-tree" => {
                self.bury(key, true, now);
                return Ok(Vec::new());
            }
            "delete-cas" => {
                let stale = format!("failed to delete key \"{key}\", index is stale");
                ensure(self.unchanged(key, index), stale)?;
                self.bury(key, false, now);
                return Ok(Vec::new());
            }
            "lock" => {
                let invalid = format!("invalid session \"{session}\"");
                ensure(self.sessions.contains_key(session), invalid)?;
                let delayed = format!("failed to lock key \"{key}\" due to lock delay");
                ensure(!self.delayed(clock, key), delayed)?;
                let held = format!("failed to lock key \"{key}\", lock is already held");
                ensure(self.lock_at(key, value, flags, session, now), held)?;
            }
            "unlock" => {
                let not_held = format!(
                    "failed to unlock key \"{key}\", lock isn't held, or is held by another session"
                );
                ensure(self.unlock_at(key, value, flags, session, now), not_held)?;
            }
            "get" => {
                let pair = self.keys.get(key).ok_or(format!("key \"{key}\" doesn't exist"))?;
                return Ok(vec![pair.shown(key, true)]);
            }
            "get-tree" => {
                return Ok(self
                    .find(key, true)
                    .map(|(name, pair)| pair.shown(name, true))
                    .collect());
            }
            "check-index" => {
                let missing = format!("failed to check index, key \"{key}\" doesn't exist");
                let current = self.keys.get(key).ok_or(missing)?.modified;
                let differs = format!(
                    "failed index check for key \"{key}\", current modify index {current} != {index}"
                );
                ensure(current == index, differs)?;
            }
            "check-session" => {
                let missing = format!("failed to check session, key \"{key}\" doesn't exist");
                let holder = self.keys.get(key).ok_or(missing)?.session.as_deref().unwrap_or("");
                let differs = format!(
                    "failed session check for key \"{key}\", current session \"{holder}\" != \"{session}\""
                );
                ensure(holder == session, differs)?;
            }
            "check-not-exists" => {
                ensure(!self.keys.contains_key(key), format!("key \"{key}\" exists"))?;
                return Ok(Vec::new());
            }
            verb => return Err(format!("unknown KV verb \"{verb}\"")),
        }
        Ok(self.keys.get(key).map(|pair| pair.shown(key, false)).into_iter().collect())
    }

    pub(crate) fn create(&mut self, clock: u64, rng: &mut Rng, session: Session) -> String {
        let id = format!("{:08x}-0000-4000-8000-{:012x}", rng.u32(..), rng.u64(..) >> 16);
        self.index += 1;
        self.sessions.insert(id.clone(), session);
        self.renew(clock, rng, &id);
        id
    }

    /// Consul lets a session live for at least its TTL, and at most twice as long.
    pub(crate) fn renew(&mut self, clock: u64, rng: &mut Rng, id: &str) -> Option<Value> {
        let session = self.sessions.get_mut(id)?;
        session.expires = session.ttl.map_or(u64::MAX, |ttl| clock + ttl + rng.u64(0..=ttl));
        Some(session.shown(id))
    }

    /// A new leader does not know the age of sessions: each gets its whole TTL again.
    pub(crate) fn new_leader(&mut self, clock: u64) {
        for session in self.sessions.values_mut() {
            session.expires = session.ttl.map_or(u64::MAX, |ttl| clock + ttl);
        }
    }

    /// Ends the sessions whose TTL is over.
    pub(crate) fn expire(&mut self, clock: u64) {
        let over = self.sessions.iter().filter(|(_, session)| session.expires <= clock);
        let over: Vec<_> = over.map(|(id, _)| id.clone()).collect();
        for id in over {
            self.invalidate(clock, &id);
        }
    }

    /// Ends a session: its keys are released or deleted, and cannot be locked for a while.
    pub(crate) fn invalidate(&mut self, clock: u64, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        let index = self.next();
        let held = self.keys.iter().filter(|(_, pair)| pair.session.as_deref() == Some(id));
        let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
        for key in held {
            if session.delay > 0 {
                self.delays.insert(key.clone(), clock + session.delay);
            }
            if session.deletes {
                self.bury(&key, false, index);
            } else {
                self.change(&key, index, |pair| pair.session = None);
            }
        }
    }
}
