//! Consul's key-value store: reads, lists, and writes by transaction.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::{decode, each};
use super::client::Client;
use super::error::Error;
use crate::world::{Method, World};
use crate::{json, text, url};

/// The time limit for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Consul's limit for the operations in one transaction.
const TRANSACTION_LIMIT: usize = 64;

/// How often a harmless request is repeated if its answer was lost.
const ATTEMPTS: u32 = 3;

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value's bytes.
    pub value: Vec<u8>,
    /// The number that clients can keep with a key.
    pub flags: u64,
    /// Changes with every write.
    pub modify_index: u64,
    /// The session that holds it as a lock.
    pub session: Option<String>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// A key's new value, if it has not changed since it was read.
    CompareAndSet {
        /// The key as it was read.
        entry: &'a Entry,
        /// Its new value.
        value: &'a [u8],
    },
    /// A key's new value, whatever the old one was.
    Set {
        /// The key.
        key: &'a str,
        /// Its value.
        value: &'a [u8],
    },
    /// Deletes a key and all keys below it.
    DeleteTree {
        /// The prefix.
        prefix: &'a str,
    },
}

/// A lock that must be held for a transaction to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFence {
    /// The lock's key.
    pub key: String,
    /// The session that must hold it.
    pub session: String,
}

/// The result of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvWrite {
    /// Done, with the index of the last key that was written.
    Done(u64),
    /// Another writer was faster; nothing was changed.
    Conflict,
    /// The fence's session does not hold the lock; nothing was changed.
    NotHeld,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    flags: u64,
    modify_index: u64,
    #[serde(default)]
    session: Option<String>,
}

impl Write<'_> {
    fn key(&self) -> &str {
        match self {
            Self::CompareAndSet { entry, .. } => &entry.key,
            Self::Set { key, .. } => key,
            Self::DeleteTree { prefix } => prefix,
        }
    }

    fn to_json(self) -> Value {
        json!({ "KV": match self {
            Self::CompareAndSet { entry, value } => json!({
                "Verb": "cas",
                "Key": entry.key,
                "Value": base64(value),
                "Flags": entry.flags,
                "Index": entry.modify_index,
            }),
            Self::Set { key, value } => json!({ "Verb": "set", "Key": key, "Value": base64(value) }),
            Self::DeleteTree { prefix } => json!({ "Verb": "delete-tree", "Key": prefix }),
        }})
    }
}

/// The answer to a transaction.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    results: Option<Vec<Applied>>,
    errors: Option<Vec<Problem>>,
}

#[derive(Deserialize)]
struct Applied {
    #[serde(rename = "KV")]
    kv: Written,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    modify_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Problem {
    #[serde(default)]
    op_index: usize,
    what: String,
}

/// The path of a key, or of all keys below a prefix.
pub(super) fn path(key: &str) -> Result<String, Error> {
    Ok(format!("/v1/kv/{}", url::key(key)?))
}

/// The query for one key, with the leader's current value. A key that cannot be part of a URL is asked for as a key
/// that does not exist.
#[must_use]
pub fn key(key: &str) -> (String, Vec<(&'static str, String)>) {
    (
        format!("/v1/kv/{}", url::key(key).unwrap_or_else(|_| url::nowhere(key))),
        vec![("consistent", String::new())],
    )
}

/// Reads Consul's answer to such a query.
///
/// # Errors
///
/// Why it cannot be read.
pub fn entries(body: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let listed = json::document(body)?;
    json::each(listed, |name, pair| {
        if name.is_some() {
            return Err("it is not a list of keys".to_owned());
        }
        let Pair { key, value, flags, modify_index, session } = json::typed(pair)?;
        let unreadable = |why: String| format!("value of {}: {why}", text::line(&key, 120));
        let value = match value {
            Some(value) => json::typed_text(value).map_err(unreadable)?,
            None => Cow::default(),
        };
        let value = BASE64_STANDARD.decode(value.as_bytes());
        let value = value.map_err(|error| unreadable(error.to_string()))?;
        entries.push(Entry { key, value, flags, modify_index, session });
        Ok(())
    })?;
    Ok(entries)
}

impl<W: World> Client<W> {
    /// Reads one key, with the leader's current value.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn kv_get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.kv_get_within(key, TIMEOUT).await
    }

    /// The same. Each server has this long to answer.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn kv_get_within(
        &self,
        key: &str,
        timeout: Duration,
    ) -> Result<Option<Entry>, Error> {
        Ok(self.kv_read(key, "consistent", timeout).await?.into_iter().next())
    }

    /// Reads all keys below a prefix, with the leader's current values.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn kv_list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.kv_read(prefix, "recurse", TIMEOUT).await
    }

    async fn kv_read(
        &self,
        name: &str,
        how: &'static str,
        timeout: Duration,
    ) -> Result<Vec<Entry>, Error> {
        let path = path(name)?;
        let mut query = vec![("consistent", String::new())];
        if how == "recurse" {
            query.push(("recurse", String::new()));
        }
        let reply = self.call(Method::Get, &path, &query, None, timeout).await?;
        if reply.status == 404 {
            return Ok(Vec::new());
        }
        entries(&reply.body).map_err(|message| Error::Unreadable { what: path, message })
    }

    /// Lists the names of all keys below a prefix.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn kv_keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.names(prefix, &[]).await
    }

    /// Lists the keys and folders directly in a folder. A folder ends with `/`.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn kv_in_folder(&self, folder: &str) -> Result<Vec<String>, Error> {
        self.names(folder, &[("separator", "/".to_owned())]).await
    }

    async fn names(
        &self,
        prefix: &str,
        more: &[(&'static str, String)],
    ) -> Result<Vec<String>, Error> {
        let path = path(prefix)?;
        let mut query = vec![("consistent", String::new()), ("keys", String::new())];
        query.extend_from_slice(more);
        let reply = self.call(Method::Get, &path, &query, None, TIMEOUT).await?;
        let mut keys = Vec::new();
        if reply.status != 404 {
            each(&path, &reply, |_, key| {
                keys.push(json::typed_text(key)?.into_owned());
                Ok(())
            })?;
        }
        Ok(keys)
    }

    /// Makes all writes or none; with a fence, only while its session holds its lock.
    ///
    /// # Errors
    ///
    /// If Consul refuses or cannot be reached, or its answer was lost ([`Error::Unknown`]).
    pub async fn transact(
        &self,
        fence: Option<&SessionFence>,
        writes: &[Write<'_>],
    ) -> Result<KvWrite, Error> {
        let held = fence.map(|fence| {
            json!({ "KV": { "Verb": "check-session", "Key": fence.key, "Session": fence.session } })
        });
        let fences = usize::from(held.is_some());
        let operations: Vec<Value> =
            held.into_iter().chain(writes.iter().map(|write| write.to_json())).collect();
        let body = Some(Value::from(operations).to_string().into_bytes());
        let reply = self.call(Method::Put, "/v1/txn", &[], body, TIMEOUT).await?;
        let answer: Answer = decode("/v1/txn", &reply)?;
        // A missing permission has the same status as a lost race.
        let problems = answer.errors.unwrap_or_default();
        if let Some(denied) =
            problems.iter().find(|problem| problem.what.contains("ermission denied"))
        {
            let key = match denied.op_index.checked_sub(fences) {
                Some(index) => writes.get(index).map_or("", Write::key),
                None => fence.map_or("", |fence| &fence.key),
            };
            return Err(Error::Refused {
                what: format!("a write to {key}"),
                status: 403,
                message: text::line(&denied.what, 200),
            });
        }
        if reply.status == 409 {
            let not_held = problems.iter().any(|problem| problem.op_index < fences);
            return Ok(if not_held { KvWrite::NotHeld } else { KvWrite::Conflict });
        }
        // A deletion has no result.
        let last = answer.results.unwrap_or_default().pop();
        let deletes = writes.iter().all(|write| matches!(write, Write::DeleteTree { .. }));
        match last {
            Some(Applied { kv }) => Ok(KvWrite::Done(kv.modify_index)),
            None if deletes => Ok(KvWrite::Done(0)),
            None => Err(Error::Unreadable { what: "/v1/txn".into(), message: "no result".into() }),
        }
    }

    /// Writes `value` if the key has not changed since `entry` was read.
    ///
    /// # Errors
    ///
    /// As [`transact`](Self::transact).
    pub async fn kv_compare_and_set(
        &self,
        fence: Option<&SessionFence>,
        entry: &Entry,
        value: &[u8],
    ) -> Result<KvWrite, Error> {
        self.transact(fence, &[Write::CompareAndSet { entry, value }]).await
    }

    /// Checks whether the keys may be written, with writes that cannot succeed: their indexes are in the past.
    ///
    /// # Errors
    ///
    /// If the token lacks permission for one of them, or Consul cannot be asked.
    pub async fn kv_may_write(&self, entries: &[&Entry]) -> Result<(), Error> {
        for entries in entries.chunks(TRANSACTION_LIMIT) {
            let past = |entry: &&Entry| Entry {
                modify_index: entry.modify_index.saturating_sub(1).max(1),
                ..(*entry).clone()
            };
            let entries: Vec<_> = entries.iter().map(past).collect();
            let write = |entry| Write::CompareAndSet { entry, value: &entry.value };
            let writes: Vec<_> = entries.iter().map(write).collect();
            // A write that cannot succeed may be repeated if its answer was lost.
            for attempt in 1.. {
                match self.transact(None, &writes).await {
                    Err(Error::Unknown(_)) if attempt < ATTEMPTS => {}
                    Err(Error::Unknown(why)) => return Err(Error::Unreachable(why)),
                    result => {
                        result?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
