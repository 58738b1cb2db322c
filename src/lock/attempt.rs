//! A lock that is being acquired, and how it is removed from Consul if the process stops waiting for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::holder::Holder;
use crate::consul::{Client, SessionFence};
use crate::world::World;

/// The time limit for releasing a lock. If it is not met, the session ends by itself.
const TIME: Duration = Duration::from_secs(1);

/// The session with which a lock is being acquired.
#[derive(Debug, Default)]
pub struct Attempt(Mutex<Option<(SessionFence, Holder)>>);

impl Attempt {
    pub(super) fn begin(&self, fence: &SessionFence, holder: &Holder) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((fence.clone(), holder.clone()));
    }

    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the session after the attempt was dropped, within one second. A request in flight may have acquired the
    /// lock, which would stay closed until the session's TTL is over.
    pub async fn abandon<W: World>(&self, client: &Client<W>) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((fence, holder)) = begun {
            give_back(client, &fence, holder).await;
        }
    }
}

/// Releases the key first: if the session ends while it holds the key, the key stays closed for the lock delay.
pub(super) async fn give_back<W: World>(client: &Client<W>, fence: &SessionFence, holder: Holder) {
    let seen = client.now();
    let bytes = Holder { released: true, seen, doing: String::new(), ..holder }.to_bytes();
    let give_back = async {
        let _ = client.kv_release(&fence.key, &fence.session, &bytes).await;
        let _ = client.session_destroy(&fence.session).await;
    };
    let _ = tokio::time::timeout(TIME, give_back).await;
}
