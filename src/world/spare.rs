//! Channels that are opened ahead: a command that finds one does not wait for its host to start a shell.
//!
//! Nothing is sent over a channel before a command takes it, so a channel that is never used changes nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::control::Master;
use super::remote_shell::{self, RemoteShell};

/// An unused channel is closed after this time.
const IDLE: Duration = Duration::from_secs(60);

/// The most unused channels of all hosts: each takes file descriptors.
const MOST: usize = 64;

/// How many there are.
static UNUSED: AtomicUsize = AtomicUsize::new(0);

/// The channels of one host that no command uses yet: at most one for each user that runs commands.
#[derive(Debug, Default)]
pub(super) struct Spares {
    plain: Mutex<Option<Spare>>,
    with_sudo: Mutex<Option<Spare>>,
    /// The host allows too few channels.
    is_refused: AtomicBool,
    opened: AtomicU64,
}

#[derive(Debug)]
struct Spare {
    number: u64,
    master: Arc<Master>,
    opening: JoinHandle<Option<RemoteShell>>,
}

impl Drop for Spare {
    fn drop(&mut self) {
        UNUSED.fetch_sub(1, Ordering::Relaxed);
        self.opening.abort();
    }
}

impl Spares {
    fn of(&self, sudo: bool) -> MutexGuard<'_, Option<Spare>> {
        let spare = if sudo { &self.with_sudo } else { &self.plain };
        spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a channel over this connection, unless there is one.
    pub(super) fn open(self: &Arc<Self>, master: &Arc<Master>, sudo: bool) {
        let mut spare = self.of(sudo);
        let is_there = spare.as_ref().is_some_and(|spare| Arc::ptr_eq(&spare.master, master));
        if is_there || self.is_refused.load(Ordering::Relaxed) {
            return;
        }
        if UNUSED.fetch_add(1, Ordering::Relaxed) >= MOST {
            UNUSED.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let opening = {
            let (spares, master) = (Arc::clone(self), Arc::clone(master));
            tokio::spawn(async move {
                let channel = remote_shell::open(&master, sudo).await.ok();
                if channel.is_none() {
                    spares.refuse();
                }
                channel
            })
        };
        *spare = Some(Spare { number, master: Arc::clone(master), opening });
        drop(spare);
        let spares = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(spares) = spares.upgrade() {
                spares.of(sudo).take_if(|spare| spare.number == number);
            }
        });
    }

    /// Takes the channel that was opened over this connection.
    pub(super) async fn take(&self, master: &Arc<Master>, sudo: bool) -> Option<RemoteShell> {
        let spare = self.of(sudo).take_if(|spare| Arc::ptr_eq(&spare.master, master));
        let mut spare = spare?;
        (&mut spare.opening).await.ok().flatten()
    }

    /// The host has no free channel: closes the unused ones, and opens no more ahead.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
        for sudo in [false, true] {
            drop(self.of(sudo).take());
        }
    }
}
