//! Why a lock is not held.

use super::holder::{Holder, Process};
use crate::consul::{Entry, Error};

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("the lock is held")]
    Held(Option<Box<Holder>>),
    /// A process that runs holds it: it has locked the file of the same state folder.
    #[error("the lock is held")]
    Running(Option<Box<Holder>>, Process),
    /// Its holder died; Consul keeps it closed for the lock-delay.
    #[error("lock holder died; Consul frees the lock in at most 10 s")]
    Closed(Option<Box<Holder>>),
    /// Consul cannot be asked, or refuses.
    #[error(transparent)]
    Consul(#[from] Error),
}

impl LockError {
    /// The process that holds it, or held it last, as far as it is known.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Held(holder) | Self::Running(holder, _) | Self::Closed(holder) => {
                holder.as_deref()
            }
            Self::Consul(_) => None,
        }
    }
}

/// This process no longer holds the lock, or cannot verify it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// It is lost.
    #[error("lock lost: {0}")]
    Lost(String),
    /// Consul could not be asked for so long that the session may have ended.
    #[error("cannot verify the lock: {0}")]
    Unsure(String),
}

/// Why a lock is lost if Consul does not show more.
pub(super) const TAKEN: &str = "another process took the lock";

/// Why a lock that its process did not release is lost, from its key in Consul.
pub(super) fn reason_of_loss(entry: Option<&Entry>, own: &Holder) -> &'static str {
    let Some(entry) = entry else {
        return "Consul no longer has the lock: its data was deleted or restored from a backup";
    };
    match Holder::from_bytes(&entry.value) {
        Some(last) if last.is(own) && last.released => "the lock was broken",
        _ => TAKEN,
    }
}
