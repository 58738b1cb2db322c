//! The lock of the service, as commands see it that take no lock.

use std::time::Duration;

use super::caller::{Wait, unless_stopped};
use super::{Caller, Connections, Refusal, Session, locking};
use crate::lock::{Holder, LockStatus, Process};
use crate::world::World;

/// How long Consul may take to read the lock.
const PATIENCE: Duration = Duration::from_secs(2);

/// The lock of the service.
#[derive(Debug, Clone)]
pub enum LockState {
    /// It is free.
    Free,
    /// A process holds it. The holder may be unknown.
    Held(Option<Holder>, Process),
    /// A process of this machine held it and has ended. The next command on this machine takes it at once.
    Left(Holder),
    /// It cannot be read. The text is the reason.
    Unknown(String),
}

impl LockState {
    /// Reads the lock. If Consul is known to be unreachable, it is asked only once: that took long enough.
    ///
    /// # Errors
    ///
    /// If the caller asks to stop.
    pub(super) async fn read<W: World, C: Caller>(
        session: &Session,
        connections: &Connections<W>,
        caller: &C,
        reachable: bool,
    ) -> Result<Self, Refusal> {
        let patience = if reachable { PATIENCE } else { Duration::ZERO };
        let client = connections.shared_in_passing(patience);
        let lock = locking::look(session, client.as_ref());
        let wait = Wait { at_most: PATIENCE, ..locking::LOOK };
        Ok(match unless_stopped(caller, wait, lock).await? {
            Ok(Some(LockStatus { session: Some(_), holder, process })) => match (holder, process) {
                (Some(holder), Process::Ended) => Self::Left(holder),
                (holder, process) => Self::Held(holder, process),
            },
            Ok(_) => Self::Free,
            Err(problem) => Self::Unknown(problem),
        })
    }

    /// Returns whether a process runs this release, if that is known. A holder whose release is unknown may run it.
    #[must_use]
    pub fn runs(&self, release: &str) -> Option<bool> {
        match self {
            Self::Free | Self::Left(_) => Some(false),
            Self::Unknown(_) => None,
            Self::Held(None, _) => Some(true),
            Self::Held(Some(holder), _) => Some(holder.release == release),
        }
    }
}
