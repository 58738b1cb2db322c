//! Acquires the lock before anything is inspected, and releases it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::{Wait, unless_stopped};
use super::{Caller, Cause, Connections, Refusal, Session};
use crate::consul::{self, Client};
use crate::lock::{self, Attempt, FileLock, Holder, Lock, LockError, LockStatus};
use crate::release::CommandKind;
use crate::text;
use crate::world::World;

/// The interval between two lines about a wait for the lock.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The minimum time for attempts to lock a file.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// A wait for a locked file that lasts longer is reported, with the holder.
const TOLD_AFTER: Duration = Duration::from_millis(500);

/// The pause between two attempts to lock it.
const PAUSE: Duration = Duration::from_millis(100);

/// The name of the wait while the lock is read.
pub(super) const LOOK: Wait<'_> = Wait { what: "reading the lock", at_most: consul::PATIENCE };

/// Acquires the lock of the playbook's service, runs the work, and releases the lock.
///
/// # Errors
///
/// If the lock cannot be acquired within `wait`, or the work fails.
pub(super) async fn locked<W, C, T>(
    session: &Session,
    connections: &Connections<W>,
    caller: &mut C,
    (command, wait): (CommandKind, Duration),
    work: impl AsyncFnOnce(&Arc<Lock<W>>, &mut C) -> Result<T, Refusal>,
) -> Result<T, Refusal>
where
    W: World,
    C: Caller,
{
    let lock = take(session, connections, caller, command, wait).await?;
    // The future is large. Without the box, it becomes part of every calling future.
    let result = Box::pin(work(&lock, caller)).await;
    lock.release().await;
    result
}

async fn take<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    command: CommandKind,
    wait: Duration,
) -> Result<Arc<Lock<W>>, Refusal> {
    let deadline = Instant::now() + wait;
    let pending = Attempt::default();
    let work = async {
        let mut told: Option<Instant> = None;
        let mut waiting = |error: &LockError| {
            if told.is_none_or(|told| told.elapsed() >= HEARTBEAT) {
                told = Some(Instant::now());
                caller.waiting_for_lock(&text::harmless(&who(error, connections)));
            }
        };
        let file = take_file(session, connections, deadline, &mut waiting).await?;
        let now = connections.world.now();
        let identity = caller.identity();
        let holder = Holder {
            release: session.inputs.release.clone(),
            command: command.to_string(),
            by: identity.actor.clone(),
            host: identity.host.clone(),
            pid: identity.pid,
            since: now,
            seen: now,
            doing: String::new(),
            file: None,
            released: false,
        };
        let service = session.service();
        let Some(consul) = connections.shared() else {
            return Ok(Lock::local(service, holder, file));
        };
        Lock::acquire(consul, service, holder, Some(file), deadline, &pending, waiting)
            .await
            .map_err(|error| refusal(&error, session, connections))
    };
    let wait = Wait { what: "taking the lock", at_most: wait + consul::PATIENCE };
    let taken = unless_stopped(caller, wait, work).await;
    if let (Err(_), Some(consul)) = (&taken, connections.shared()) {
        pending.abandon(consul).await;
    }
    taken?
}

/// Locks the state folder on this machine. Also locks the playbook if there is no lock in Consul.
async fn take_file<W: World>(
    session: &Session,
    connections: &Connections<W>,
    deadline: Instant,
    waiting: &mut impl FnMut(&LockError),
) -> Result<FileLock, Refusal> {
    let begun = Instant::now();
    // A command that only reads the lock holds the file for a moment.
    let deadline = deadline.max(begun + LOOKED_AT);
    loop {
        let taken =
            take_once(session, connections).map_err(|error| super::refusal::of_error(&error));
        let holder = match taken? {
            Ok(file) => return Ok(file),
            Err(holder) => holder,
        };
        let held = LockError::Held(holder.map(Box::new));
        if Instant::now() >= deadline {
            return Err(refusal(&held, session, connections));
        }
        if begun.elapsed() >= TOLD_AFTER {
            waiting(&held);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn take_once<W: World>(
    session: &Session,
    connections: &Connections<W>,
) -> anyhow::Result<Result<FileLock, Option<Holder>>> {
    let mut file = match FileLock::take(&session.state)? {
        Ok(file) => file,
        Err(holder) => return Ok(Err(holder)),
    };
    if connections.shared().is_some() || file.guard_playbook(&session.file)? {
        return Ok(Ok(file));
    }
    // Another release holds the playbook with a different state folder.
    Ok(Err(None))
}

/// Reads the lock of the playbook's service. Returns `None` if it is free and no release has ever held it.
pub(super) async fn look<W: World>(
    session: &Session,
    consul: Option<&Client<W>>,
) -> Result<Option<LockStatus>, String> {
    match consul {
        Some(consul) => {
            lock::look(consul, session.service()).await.map_err(|error| error.to_string())
        }
        // A leftover file is not a lock.
        None => FileLock::look(&session.state, &session.file)
            .map(|held| held.map(|holder| LockStatus { session: Some(String::new()), holder }))
            .map_err(|error| format!("{error:#}")),
    }
}

/// Describes the holder of a lock.
#[must_use]
pub fn described(holder: Option<&Holder>, now: jiff::Timestamp) -> String {
    holder.map_or_else(|| "an unknown process".to_owned(), |holder| holder.describe(now))
}

fn who<W: World>(error: &LockError, connections: &Connections<W>) -> String {
    let now = connections.world.now();
    let described = |holder: &Option<Box<Holder>>| described(holder.as_deref(), now);
    match error {
        LockError::Held(holder) => format!("{error} by {}", described(holder)),
        LockError::Closed(None) => error.to_string(),
        LockError::Closed(holder) => format!("{error} (holder: {})", described(holder)),
        LockError::Consul(error) => format!("the lock cannot be taken: {error}"),
    }
}

fn refusal<W: World>(
    error: &LockError,
    session: &Session,
    connections: &Connections<W>,
) -> Refusal {
    let message = who(error, connections);
    match error {
        LockError::Closed(_) => Refusal::new(Cause::Locked, message)
            .hint("nothing was changed; run it again in 10 s, or with --lock-wait 1m"),
        LockError::Held(_) => {
            let other = if connections.shared().is_some() {
                format!("if that process is gone: `{}`", session.command("lock break"))
            } else {
                "end the process that holds it".to_owned()
            };
            let hint = format!("nothing was changed; wait with --lock-wait 10m, or {other}");
            Refusal::new(Cause::Locked, message).hint(hint)
        }
        LockError::Consul(error) if error.lacks_permission() => {
            let prefix = consul::shared_prefix(session.service());
            let hint = format!(
                "nothing was changed; the token needs `key_prefix \"{prefix}\"` and `session_prefix \"\"` with \
                 policy write"
            );
            Refusal::new(Cause::Refused, message).hint(hint)
        }
        LockError::Consul(consul::Error::Unknown(_)) => {
            let ends = text::duration(lock::TTL + lock::LOCK_DELAY);
            let hint = format!(
                "no node was touched; if the lock was taken, Consul frees it within {ends}"
            );
            Refusal::new(Cause::Refused, message).hint(hint)
        }
        LockError::Consul(_) => Refusal::refused(message),
    }
}
