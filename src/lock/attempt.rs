//! A lock that is being taken: what is left of it in Consul when the process stops waiting for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Holder;
use crate::consul::{Client, Guard};
use crate::world::World;

/// How long giving a lock back may take; its session ends by itself otherwise.
const TIME: Duration = Duration::from_secs(1);

/// The session with which a lock is being taken.
#[derive(Debug, Default)]
pub struct Attempt(Mutex<Option<(Guard, Holder)>>);

impl Attempt {
    pub(super) fn begin(&self, guard: &Guard, holder: &Holder) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((guard.clone(), holder.clone()));
    }

    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the session after the attempt was dropped, within a second. A request that was under way may have taken the
    /// lock, which would stay closed until the session's TTL is over.
    pub async fn abandon<W: World>(&self, client: &Client<W>) {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((guard, holder)) = begun {
            give_back(client, &guard, holder).await;
        }
    }
}

/// Releases the key first: a session that ends with it keeps it closed for the lock delay.
pub(super) async fn give_back<W: World>(client: &Client<W>, guard: &Guard, holder: Holder) {
    let seen = client.now();
    let bytes = Holder { released: true, seen, doing: String::new(), ..holder }.to_bytes();
    let give_back = async {
        let _ = client.kv_release(&guard.key, &guard.session, &bytes).await;
        let _ = client.session_destroy(&guard.session).await;
    };
    let _ = tokio::time::timeout(TIME, give_back).await;
}
