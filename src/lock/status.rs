//! The lock as a process sees it that does not hold it.

use super::fence::key;
use super::holder::{Holder, Process};
use crate::consul::{Client, Error, SessionFence, Write};
use crate::world::World;

/// A session that never exists.
const NO_SESSION: &str = "00000000-0000-0000-0000-000000000000";

/// The state of a service's lock in Consul.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockStatus {
    /// The session that holds it.
    pub session: Option<String>,
    /// The holder, or the last one.
    pub holder: Option<Holder>,
    /// What this machine knows of its process.
    pub process: Process,
}

/// Reads the lock of a service. `None` if it was never acquired.
///
/// # Errors
///
/// If Consul cannot be asked.
pub async fn look<W: World>(
    client: &Client<W>,
    service: &str,
) -> Result<Option<LockStatus>, Error> {
    let entry = client.kv_get(&key(service)).await?;
    Ok(entry.map(|entry| LockStatus {
        holder: Holder::from_bytes(&entry.value),
        session: entry.session,
        process: Process::Unknown,
    }))
}

/// Checks whether the lock and the journals of a service may be written, with a write that cannot succeed: it needs
/// a session that does not exist.
///
/// # Errors
///
/// If the token lacks permission, or Consul cannot be asked.
pub async fn may_share<W: World>(client: &Client<W>, service: &str) -> Result<(), Error> {
    let fence = SessionFence { key: key(service), session: NO_SESSION.to_owned() };
    let write = Write::Set { key: &fence.key, value: b"" };
    client.transact(Some(&fence), &[write]).await.map(|_| ())
}

/// Takes the lock from its holder, which then stops writing. Returns whether there was a holder.
///
/// # Errors
///
/// If Consul cannot be asked, or refuses.
pub async fn break_lock<W: World>(client: &Client<W>, service: &str) -> Result<bool, Error> {
    let key = key(service);
    let Some(entry) = client.kv_get(&key).await? else { return Ok(false) };
    let Some(session) = entry.session else { return Ok(false) };
    // The key is released first, so that the lock-delay of the ended session does not close it for the next
    // process. It is marked as released by its holder, so that the holder does not acquire it again as a lock that
    // was lost by accident.
    let holder = Holder::from_bytes(&entry.value);
    let value =
        holder.map_or_else(Vec::new, |holder| Holder { released: true, ..holder }.to_bytes());
    client.kv_release(&key, &session, &value).await?;
    client.session_destroy(&session).await?;
    Ok(true)
}
