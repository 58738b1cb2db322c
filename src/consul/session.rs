//! Consul's sessions, and the lock that a session can hold on a key.
//!
//! A session with a TTL ends by itself if it is not renewed: after its TTL at the earliest, after twice that at the
//! latest, and the time starts again after a change of leader (Consul's documentation, "Session TTL"). During the
//! lock-delay after such an end, no session gets the lock. After a release, every session can get it at once.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::answer::decode;
use super::client::Client;
use super::error::Error;
use super::kv;
use crate::url::segment;
use crate::world::{Method, World};

/// The time limit for one request. A lock that cannot be renewed in this time is better renewed at another server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of a new session.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// A name for people who read Consul's list.
    pub name: String,
    /// The session ends if it is not renewed for this time. Consul accepts 10 s to 24 h.
    pub ttl: Duration,
    /// How long a lock stays closed after the session's end.
    pub lock_delay: Duration,
}

impl<W: World> Client<W> {
    /// Creates a session that depends only on its renewal.
    ///
    /// # Errors
    ///
    /// If Consul refuses or cannot be reached, or its answer was lost. Such a session ends by itself.
    pub async fn session_create(&self, settings: &SessionSettings) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "ID")]
            id: String,
        }
        let path = "/v1/session/create";
        // Without health checks: with the default one, the lock would be lost when one agent restarts.
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

    /// Renews a session. Returns whether it still exists.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn session_renew(&self, session: &str) -> Result<bool, Error> {
        let path = format!("/v1/session/renew/{}", segment(session)?);
        let reply = self.call(Method::Put, &path, &[], None, TIMEOUT).await?;
        Ok(reply.status == 200)
    }

    /// Ends a session. A session that has already ended is not an error.
    ///
    /// # Errors
    ///
    /// If Consul cannot be asked.
    pub async fn session_destroy(&self, session: &str) -> Result<(), Error> {
        let path = format!("/v1/session/destroy/{}", segment(session)?);
        self.call(Method::Put, &path, &[], None, TIMEOUT).await.map(|_| ())
    }

    /// Locks a key for a session and writes its value. A session that holds the lock may write it again. Returns
    /// whether the session holds it now.
    ///
    /// # Errors
    ///
    /// If Consul refuses or cannot be reached, or its answer was lost.
    pub async fn kv_acquire(&self, key: &str, session: &str, value: &[u8]) -> Result<bool, Error> {
        self.kv_lock(key, ("acquire", session), value).await
    }

    /// Releases a session's lock at once, and writes its value. Returns whether the session held it.
    ///
    /// # Errors
    ///
    /// If Consul refuses or cannot be reached, or its answer was lost.
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
