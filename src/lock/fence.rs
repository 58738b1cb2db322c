//! The session that writes are fenced with, which a new one replaces when the lock is taken again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::consul::{SessionFence, shared_prefix};

/// Returns the key of the lock of a service.
pub(super) fn key(service: &str) -> String {
    format!("{}lock", shared_prefix(service))
}

/// What writes are fenced with: the session that holds the lock now.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<SessionFence>>);

impl Fence {
    /// The fence for a write right now.
    #[must_use]
    pub fn now(&self) -> SessionFence {
        self.lock().clone()
    }

    pub(crate) fn new(fence: SessionFence) -> Self {
        Self(Arc::new(Mutex::new(fence)))
    }

    /// Fences with another session from now on.
    pub(super) fn replace(&self, fence: SessionFence) {
        *self.lock() = fence;
    }

    fn lock(&self) -> MutexGuard<'_, SessionFence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
