//! The session that fences writes. A new session replaces it when the lock is acquired again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::consul::{SessionFence, shared_prefix};

/// Returns the key of the lock of a service.
pub(super) fn key(service: &str) -> String {
    format!("{}lock", shared_prefix(service))
}

/// The fence of writes: the session that holds the lock now.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<SessionFence>>);

impl Fence {
    /// The fence for a write at this moment.
    #[must_use]
    pub fn now(&self) -> SessionFence {
        self.lock().clone()
    }

    pub(crate) fn new(fence: SessionFence) -> Self {
        Self(Arc::new(Mutex::new(fence)))
    }

    /// Replaces the session.
    pub(super) fn replace(&self, fence: SessionFence) {
        *self.lock() = fence;
    }

    fn lock(&self) -> MutexGuard<'_, SessionFence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
