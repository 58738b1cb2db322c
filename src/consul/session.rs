//! Consul's sessions, and the lock that a session can hold on a key.
//!
//! A session with a TTL ends by itself when nobody renews it: after its TTL at the earliest, twice that at the
//! latest, and anew after a change of leader (Consul's documentation, "Session TTL"). For the lock-delay after such
//! an end, nobody gets the lock; after a release, everybody may at once.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::answer::decode;
use super::client::Client;
use super::error::Error;
use super::kv;
use crate::url::segment;
use crate::world::{Method, World};

/// For one request: a lock that cannot be renewed in this time is better renewed elsewhere.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// For people who look at Consul's list.
    pub name: String,
    /// Ends when not renewed for so long; Consul takes 10 s to 24 h.
    pub ttl: Duration,
    /// How long a lock stays closed after the session's end.
    pub lock_delay: Duration,
}

impl<W: World> Client<W> {
    /// Makes a session that depends on nothing but its renewal.
    ///
    /// # Errors
    ///
    /// When Consul refuses, cannot be reached, or its answer was lost; such a session ends by itself.
    pub async fn session_create(&self, settings: &SessionSettings) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "ID")]
            id: String,
        }
        let path = "/v1/session/create";
        // Without health checks: with the usual one, the lock would go when one agent restarts.
        let body = json!({
            "Name": settings.name,
            "TTL": format!("{}s", settings.ttl.as_secs()),
            "LockDelay": format!("{}s", settings.lock_delay.as_secs()),
            "Behavior": "release",
            "Checks": [],
        });
        let body = Some(body.to_string().into_bytes());
        let reply = self.call(Method::Put, path, &[], body, TIMEOUT).await?;
        decode::<Created>(path, &reply).map(|created| created.id)
    }

    /// Renews a session. Returns whether it is still there.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn session_renew(&self, session: &str) -> Result<bool, Error> {
        let path = format!("/v1/session/renew/{}", segment(session)?);
        let reply = self.call(Method::Put, &path, &[], None, TIMEOUT).await?;
        Ok(reply.status == 200)
    }

    /// Ends a session. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn session_destroy(&self, session: &str) -> Result<(), Error> {
        let path = format!("/v1/session/destroy/{}", segment(session)?);
        self.call(Method::Put, &path, &[], None, TIMEOUT).await.map(|_| ())
    }

    /// Locks a key for a session and writes its value; a session that holds the lock may write it again. Returns
    /// whether the session holds it now.
    ///
    /// # Errors
    ///
    /// When Consul refuses, cannot be reached, or its answer was lost.
    pub async fn kv_acquire(&self, key: &str, session: &str, value: &[u8]) -> Result<bool, Error> {
        self.kv_lock(key, ("acquire", session), value).await
    }

    /// Gives a session's lock back at once, and writes its value. Returns whether the session held it.
    ///
    /// # Errors
    ///
    /// When Consul refuses, cannot be reached, or its answer was lost.
    pub async fn kv_release(&self, key: &str, session: &str, value: &[u8]) -> Result<bool, Error> {
        self.kv_lock(key, ("release", session), value).await
    }

    async fn kv_lock(
        &self,
        key: &str,
        (verb, session): (&'static str, &str),
        value: &[u8],
    ) -> Result<bool, Error> {
        let path = kv::path(key)?;
        let query = [(verb, session.to_owned())];
        let reply = self.call(Method::Put, &path, &query, Some(value.to_vec()), TIMEOUT).await?;
        decode(&path, &reply)
    }
}
