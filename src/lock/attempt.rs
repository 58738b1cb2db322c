//! A lock that is being taken: what is left of it in Consul when the process stops waiting for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::holder::Holder;
use crate::consul::{Client, SessionFence};
use crate::world::World;

/// How long giving a lock back may take; its session ends by itself otherwise.
const TIME: Duration = Duration::from_secs(1);

/// The session with which a lock is being taken.
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

    /// Ends the session after the attempt was dropped, within a second. A request that was under way may have taken the
    /// lock, which would stay closed until the session's TTL is over.
    pub async fn abandon<W: World>(&self, client: &Client<W>) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((fence, holder)) = begun {
            give_back(client, &fence, holder).await;
        }
    }
}

/// Releases the key first: a session that ends with it keeps it closed for the lock delay.
pub(super) async fn give_back<W: World>(client: &Client<W>, fence: &SessionFence, holder: Holder) {
    let seen = client.now();
    let bytes = Holder { released: true, seen, doing: String::new(), ..holder }.to_bytes();
    let give_back = async {
        let _ = client.kv_release(&fence.key, &fence.session, &bytes).await;
        let _ = client.session_destroy(&fence.session).await;
    };
    let _ = tokio::time::timeout(TIME, give_back).await;
}
