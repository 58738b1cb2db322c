//! Consul's key-value store: read, list, and write by transaction.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Client, Error, decode};
use crate::text;
use crate::world::{Method, World};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What stays as it is in a URL's path; the slash separates a key's parts.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// Encodes a key for a URL.
pub(super) fn encode(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value's bytes.
    pub value: Vec<u8>,
    /// The number that clients may keep with a key.
    pub flags: u64,
    /// Changes with every write.
    pub modify_index: u64,
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvWrite {
    /// Written; the key's index now.
    Done(u64),
    /// Somebody else wrote in between; nothing was changed.
    Conflict,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    flags: u64,
    modify_index: u64,
}

impl<W: World> Client<W> {
    /// Reads one key, as the leader knows it now.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn kv_get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.kv_read(key, "consistent").await?.into_iter().next())
    }

    /// Reads all keys below a prefix, as the leader knows them now.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn kv_list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.kv_read(prefix, "recurse").await
    }

    async fn kv_read(&self, key: &str, how: &'static str) -> Result<Vec<Entry>, Error> {
        let path = format!("/v1/kv/{}", encode(key));
        let mut query = vec![("consistent", String::new())];
        if how == "recurse" {
            query.push(("recurse", String::new()));
        }
        let reply = self.call(Method::Get, &path, &query, None, TIMEOUT).await?;
        if reply.status == 404 {
            return Ok(Vec::new());
        }
        let pairs: Vec<Pair> = decode(&path, &reply)?;
        pairs
            .into_iter()
            .map(|pair| {
                let value = BASE64_STANDARD.decode(pair.value.unwrap_or_default());
                let value = value.map_err(|error| Error::Unreadable {
                    what: path.clone(),
                    message: format!("value of {}: {error}", pair.key),
                })?;
                Ok(Entry {
                    key: pair.key,
                    value,
                    flags: pair.flags,
                    modify_index: pair.modify_index,
                })
            })
            .collect()
    }

    /// Writes `value` if the key has not changed since `entry` was read.
    ///
    /// # Errors
    ///
    /// When Consul refuses, cannot be reached, or its answer was lost ([`Error::Unknown`]).
    pub async fn kv_compare_and_set(&self, entry: &Entry, value: &[u8]) -> Result<KvWrite, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            results: Option<Vec<Applied>>,
            errors: Option<Vec<Problem>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Problem {
            what: String,
        }
        #[derive(Deserialize)]
        struct Applied {
            #[serde(rename = "KV")]
            kv: Pair,
        }
        let body = serde_json::json!([{ "KV": {
            "Verb": "cas",
            "Key": entry.key,
            "Value": base64(value),
            "Flags": entry.flags,
            "Index": entry.modify_index,
        }}]);
        let body = Some(body.to_string().into_bytes());
        let reply = self.call(Method::Put, "/v1/txn", &[], body, TIMEOUT).await?;
        let answer: Answer = decode("/v1/txn", &reply)?;
        // A missing right comes with the same status as a lost race.
        let problems = answer.errors.unwrap_or_default();
        if let Some(denied) =
            problems.iter().find(|problem| problem.what.contains("ermission denied"))
        {
            let what = format!("a write to {}", entry.key);
            return Err(Error::Refused {
                what,
                status: 403,
                message: text::line(&denied.what, 200),
            });
        }
        if reply.status == 409 {
            return Ok(KvWrite::Conflict);
        }
        match answer.results.as_deref() {
            Some([Applied { kv }, ..]) => Ok(KvWrite::Done(kv.modify_index)),
            _ => Err(Error::Unreadable { what: "/v1/txn".into(), message: "no result".into() }),
        }
    }

    /// Asks whether the key may be written, by a write that cannot succeed: its index lies in the past.
    ///
    /// # Errors
    ///
    /// When the token lacks the right, or Consul cannot be asked.
    pub async fn kv_may_write(&self, entry: &Entry) -> Result<(), Error> {
        let past =
            Entry { modify_index: entry.modify_index.saturating_sub(1).max(1), ..entry.clone() };
        self.kv_compare_and_set(&past, &entry.value).await.map(|_| ())
    }
}
