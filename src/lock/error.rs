//! Why there is no lock, or none any more.

use super::holder::Holder;
use crate::consul::Error;

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("the lock is held by {}", .0.as_ref().map_or("an unknown process", |_| "another release"))]
    Held(Option<Box<Holder>>),
    /// Its holder vanished a moment ago; it stays closed for the lock-delay.
    #[error("the lock is closed for a moment: its holder vanished")]
    Closed(Option<Box<Holder>>),
    /// Consul cannot be asked, or says no.
    #[error(transparent)]
    Consul(#[from] Error),
}

/// The lock is not ours any more, or that cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// It is lost.
    #[error("the lock is lost: {0}")]
    Lost(String),
    /// Consul cannot be asked, and for so long that the session may have ended.
    #[error("whether the lock is still held cannot be told: {0}")]
    Unsure(String),
}
