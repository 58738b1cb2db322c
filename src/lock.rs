//! One release at a time: a Consul session holds a key, and every registry write is fenced with that session.
//!
//! The session is renewed while the release runs. It can be lost: this process slept too long, Consul was
//! unreachable for longer than a session lives, or an operator broke the lock. Then nothing more is written. The
//! registry refuses, because each write is a transaction that checks the session. Everything outside Consul is done
//! only after [`Lock::verify`], and a command on a machine only with [`Lock::permit`].

mod attempt;
mod dual_instant;
mod error;
mod fence;
mod file;
mod holder;
mod permit;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::consul::{Client, Error, KvWrite, SessionFence, SessionSettings, Write};
use crate::world::World;

pub use attempt::Attempt;
use attempt::give_back;
use dual_instant::DualInstant;
use error::reason_of_loss;
pub use error::{LockError, NotHeld};
pub use fence::Fence;
use fence::key;
pub use file::FileLock;
use holder::RENEWAL;
pub use holder::{Holder, Process};
pub use status::{LockStatus, break_lock, look, may_share};

/// The session ends if it is not renewed for this time, or for up to twice as long.
pub const TTL: Duration = Duration::from_secs(15);

/// How long Consul keeps the lock closed after its holder died. The holder's running work ends in this time.
pub const LOCK_DELAY: Duration = Duration::from_secs(10);

/// The longest time after which Consul frees the lock of a dead holder. It ends a session after up to twice its TTL.
pub const FREED_WITHIN: Duration = Duration::from_secs(2 * TTL.as_secs() + LOCK_DELAY.as_secs());

/// The time between two attempts to get a lock that is held.
const PAUSE: Duration = Duration::from_secs(1);

/// How long Consul may take to confirm the lock immediately before a step, after the time in which it cannot have
/// ended.
const VERIFY_PATIENCE: Duration = Duration::from_secs(15);

/// The time between two checks of a lock whose state is unknown.
const QUESTION_PAUSE: Duration = Duration::from_millis(200);

/// The time limit of one query about a held lock: the next one follows soon.
const QUESTION_PATIENCE: Duration = Duration::from_secs(2);

/// The lock, while it is held.
#[derive(Debug)]
pub struct Lock<W> {
    /// `None` if operators do not share a Consul: then only the file counts.
    client: Option<Client<W>>,
    service: String,
    fence: Fence,
    state: Mutex<State>,
    lost: watch::Sender<Option<String>>,
    /// Wakes the renewal before its time.
    hurry: Notify,
    /// Held as long as this exists.
    file: Mutex<Option<FileLock>>,
}

#[derive(Debug)]
struct State {
    holder: Holder,
    /// The session lives at least for its TTL from this instant.
    renewed: DualInstant,
    renewal: Option<JoinHandle<()>>,
    is_released: bool,
    /// Consul has said that the session no longer exists, and there is no other one yet.
    is_without_session: bool,
}

impl State {
    /// Returns whether Consul cannot have ended the session.
    fn is_certain(&self, now: DualInstant) -> bool {
        !self.is_without_session && self.renewed.until(now) < TTL
    }
}

impl<W: World> Lock<W> {
    /// Acquires the lock of a service, waiting for it until `deadline`. `waiting` receives the reason from time to
    /// time.
    ///
    /// With a lock file, a holder that locked the same file and has ended is not waited for. A caller that drops
    /// this future must [abandon](Attempt::abandon) `pending`.
    ///
    /// # Errors
    ///
    /// If another process holds it, or Consul cannot be reached.
    pub async fn acquire(
        client: &Client<W>,
        service: &str,
        mut holder: Holder,
        file: Option<FileLock>,
        deadline: Instant,
        pending: &Attempt,
        mut waiting: impl FnMut(&LockError),
    ) -> Result<Arc<Self>, LockError> {
        let client = client.with_patience(QUESTION_PATIENCE.max(PAUSE));
        holder.file = file.as_ref().and_then(|file| file.identity().map(str::to_owned));
        let settings = settings(service, &holder);
        let mut renewed = DualInstant::now(client.now());
        let session = client.session_create(&settings).await?;
        let fence = SessionFence { key: key(service), session };
        pending.begin(&fence, &holder);
        loop {
            let refused = match attempt(&client, &fence, &holder).await {
                Ok(()) => break,
                Err(LockError::Consul(error)) => {
                    let _ = client.session_destroy(&fence.session).await;
                    return Err(error.into());
                }
                Err(refused) => refused,
            };
            if Instant::now() + PAUSE >= deadline {
                let _ = client.session_destroy(&fence.session).await;
                return Err(refused);
            }
            waiting(&refused);
            tokio::time::sleep(PAUSE).await;
            let now = DualInstant::now(client.now());
            if renewed.until(now) >= RENEWAL {
                renewed = now;
                client.session_renew(&fence.session).await?;
            }
        }
        pending.end();
        let lock = Self::held(Some(client), service, (fence, holder, renewed), file);
        let renewal = tokio::spawn(lock.clone().keep());
        lock.state().renewal = Some(renewal);
        Ok(lock)
    }

    /// The lock of a service whose operators do not share a Consul: the file in this machine's state folder.
    #[must_use]
    pub fn local(service: &str, holder: Holder, file: FileLock) -> Arc<Self> {
        let fence = SessionFence { key: String::new(), session: String::new() };
        let renewed = DualInstant::now(holder.seen);
        Self::held(None, service, (fence, holder, renewed), Some(file))
    }

    fn held(
        client: Option<Client<W>>,
        service: &str,
        (fence, holder, renewed): (SessionFence, Holder, DualInstant),
        mut file: Option<FileLock>,
    ) -> Arc<Self> {
        if let Some(file) = &mut file {
            // Other processes read the holder there. If this fails, they read it in Consul.
            let _ = file.sign(&holder);
        }
        Arc::new(Self {
            client,
            service: service.to_owned(),
            fence: Fence::new(fence),
            state: Mutex::new(State {
                holder,
                renewed,
                renewal: None,
                is_released: false,
                is_without_session: false,
            }),
            lost: watch::Sender::new(None),
            hurry: Notify::new(),
            file: Mutex::new(file),
        })
    }

    /// The fence of every registry write.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Receives the reason when the lock is lost.
    #[must_use]
    pub fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.subscribe()
    }

    /// Notes the current work, for a process that waits. It is written with the next renewal.
    pub fn doing(&self, what: String) {
        self.state().holder.doing = what;
    }

    /// Waits for the state of the lock after Consul has refused a write with this fence.
    ///
    /// # Errors
    ///
    /// If the lock is lost. Otherwise there is another fence, and the write may be repeated.
    pub async fn refused(&self, fence: &SessionFence) -> Result<(), NotHeld> {
        let deadline = Instant::now() + LOCK_DELAY + VERIFY_PATIENCE;
        loop {
            if let Some(reason) = self.lost.borrow().clone() {
                return Err(NotHeld::Lost(reason));
            }
            if self.fence.now() != *fence {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.lose("Consul refused a write: another process holds the lock");
            }
            self.hurry.notify_one();
            tokio::time::sleep(QUESTION_PAUSE).await;
        }
    }

    /// Notes that this process no longer holds the lock.
    pub fn lose(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(reason);
            first
        });
    }

    /// Verifies that the lock is held, immediately before an action that Consul cannot refuse.
    ///
    /// # Errors
    ///
    /// If it is lost, or can no longer be verified.
    pub async fn verify(&self) -> Result<(), NotHeld> {
        let deadline = Instant::now() + LOCK_DELAY + VERIFY_PATIENCE;
        loop {
            if let Some(reason) = self.lost.borrow().clone() {
                return Err(NotHeld::Lost(reason));
            }
            let Some(client) = &self.client else { return self.verify_file() };
            let fence = self.fence.now();
            // An answer that comes late says nothing about the lock now.
            match client.kv_get_within(&fence.key, QUESTION_PATIENCE).await {
                Ok(Some(entry)) if entry.session.as_deref() == Some(fence.session.as_str()) => {
                    return Ok(());
                }
                Ok(_) => self.refused(&fence).await?,
                // Consul does not end a session before its TTL is over.
                Err(_) if self.state().is_certain(DualInstant::now(client.now())) => {
                    return Ok(());
                }
                Err(error) if Instant::now() >= deadline => {
                    return Err(NotHeld::Unsure(error.to_string()));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Without Consul, other processes use only the file. A file that was removed or replaced does not stop them.
    fn verify_file(&self) -> Result<(), NotHeld> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_ref().is_some_and(FileLock::is_in_place) {
            return Ok(());
        }
        let reason = "the lock file was removed or replaced";
        self.lose(reason);
        Err(NotHeld::Lost(reason.to_owned()))
    }

    /// Releases the lock, once, so that the next process need not wait.
    pub async fn release(&self) {
        if std::mem::replace(&mut self.state().is_released, true) {
            return;
        }
        if let Some(renewal) = self.state().renewal.take() {
            renewal.abort();
        }
        // Another process of this machine may have it when nothing is written any more.
        let _given_back = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(client) = self.client.as_ref().filter(|_| self.lost.borrow().is_none()) else {
            return;
        };
        let holder = self.state().holder.clone();
        give_back(client, &self.fence.now(), holder).await;
    }

    /// Renews the session and writes the current work, until the lock is lost or released.
    async fn keep(self: Arc<Self>) {
        let Some(client) = &self.client else { return };
        let mut pause = RENEWAL;
        loop {
            let _ = tokio::time::timeout(pause, self.hurry.notified()).await;
            let asked = DualInstant::now(client.now());
            let fence = self.fence.now();
            match client.session_renew(&fence.session).await {
                Ok(true) => self.state().renewed = asked,
                Ok(false) => match self.regain(client, asked).await {
                    Ok(()) => continue,
                    Err(reason) => return self.lose(reason),
                },
                // Asked again soon: the session does not wait.
                Err(_) => {
                    pause = PAUSE;
                    continue;
                }
            }
            pause = RENEWAL;
            let bytes = {
                let mut state = self.state();
                state.holder.seen = client.now();
                state.holder.to_bytes()
            };
            let told = [Write::Set { key: &fence.key, value: &bytes }];
            if let Ok(KvWrite::NotHeld) = client.transact(Some(&fence), &told).await
                && let Err(reason) = self.regain(client, asked).await
            {
                return self.lose(reason);
            }
        }
    }

    /// Acquires the lock again after Consul has ended the session early: the server or agent at which it was
    /// created is gone. A process that was late, or that lost the lock to another process, does not get it back.
    async fn regain(&self, client: &Client<W>, asked: DualInstant) -> Result<(), String> {
        let old = self.fence.now();
        let (holder, renewed) = {
            let mut state = self.state();
            state.is_without_session = true;
            (state.holder.clone(), state.renewed)
        };
        let bytes = holder.to_bytes();
        let is_late = renewed.until(asked) >= TTL;
        let deadline = Instant::now() + LOCK_DELAY + VERIFY_PATIENCE;
        let mut session: Option<(String, DualInstant)> = None;
        while Instant::now() < deadline {
            if let Ok(entry) = client.kv_get(&old.key).await {
                let reason = reason_of_loss(entry.as_ref(), &holder);
                let last = entry.as_ref().and_then(|entry| Holder::from_bytes(&entry.value));
                let ours = last.is_some_and(|last| last.is(&holder) && !last.released);
                let held_by = entry.and_then(|entry| entry.session);
                if ours && held_by.as_ref() == Some(&old.session) {
                    // A leader that was just elected may not know the session for a moment.
                    tokio::time::sleep(PAUSE).await;
                    self.state().is_without_session = false;
                    self.hurry.notify_one();
                    return Ok(());
                }
                // The answer to an acquisition can be lost.
                let is_held =
                    session.as_ref().is_some_and(|(new, _)| held_by.as_ref() == Some(new));
                if !ours || (held_by.is_some() && !is_held) {
                    return Err(reason.to_owned());
                }
                if is_late {
                    return Err("the lock's session expired".to_owned());
                }
                if session.is_none() {
                    let since = DualInstant::now(client.now());
                    let made = client.session_create(&settings(&self.service, &holder)).await;
                    session = made.ok().map(|new| (new, since));
                }
                if let Some((new, since)) = &session
                    && (is_held || client.kv_acquire(&old.key, new, &bytes).await.unwrap_or(false))
                {
                    let mut state = self.state();
                    (state.renewed, state.is_without_session) = (*since, false);
                    drop(state);
                    self.fence.replace(SessionFence { key: old.key, session: new.clone() });
                    return Ok(());
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err("the lock's session expired and the lock could not be acquired again".to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(service: &str, holder: &Holder) -> SessionSettings {
    SessionSettings {
        name: format!("rollgate {service} {}", holder.release),
        ttl: TTL,
        lock_delay: LOCK_DELAY,
    }
}

/// One attempt.
async fn attempt<W: World>(
    client: &Client<W>,
    fence: &SessionFence,
    holder: &Holder,
) -> Result<(), LockError> {
    match client.kv_acquire(&fence.key, &fence.session, &holder.to_bytes()).await {
        Ok(true) => return Ok(()),
        // The key shows whether it was done.
        Ok(false) | Err(Error::Unknown(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(entry) = client.kv_get(&fence.key).await? else {
        return Err(LockError::Closed(None));
    };
    let other = Holder::from_bytes(&entry.value);
    match &entry.session {
        Some(session) if *session == fence.session => Ok(()),
        Some(session) => {
            let gone = other
                .as_ref()
                .is_some_and(|other| other.file.is_some() && other.file == holder.file);
            if gone {
                // It had the lock file that this process has now, so its process has ended.
                client.kv_release(&fence.key, session, &entry.value).await?;
                client.session_destroy(session).await?;
                if client.kv_acquire(&fence.key, &fence.session, &holder.to_bytes()).await? {
                    return Ok(());
                }
            }
            Err(LockError::Held(other.map(Box::new)))
        }
        None => Err(LockError::Closed(other.filter(|other| !other.released).map(Box::new))),
    }
}
