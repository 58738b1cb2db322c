//! What keeps writes to those of the lock's holder.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::consul::Guard;

/// What writes are fenced with: the session that holds the lock now.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<Guard>>);

impl Fence {
    /// The guard for a write right now.
    #[must_use]
    pub fn now(&self) -> Guard {
        self.guard().clone()
    }

    pub(crate) fn new(guard: Guard) -> Self {
        Self(Arc::new(Mutex::new(guard)))
    }

    /// Fences with another session from now on.
    pub(super) fn replace(&self, guard: Guard) {
        *self.guard() = guard;
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
