//! Acquires the lock before anything is inspected, and releases it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::{Wait, limit, unless_stopped_or_told};
use super::{Caller, Cause, Connections, Refusal, Session};
use crate::consul::{self, Client};
use crate::lock::{self, Attempt, FileLock, Holder, Lock, LockError, LockStatus, Process};
use crate::release::CommandKind;
use crate::text;
use crate::world::World;

/// The interval between two lines about a wait for the lock.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The minimum time for attempts to lock a file.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// A wait for a locked file that lasts longer is reported, with the holder.
const TOLD_AFTER: Duration = Duration::from_millis(500);

/// How long Consul may take to tell the latest state of a holder that runs.
const LATEST: Duration = Duration::from_secs(1);

/// The pause between two attempts to lock it.
const PAUSE: Duration = Duration::from_millis(100);

/// The name of the wait while the lock is read.
pub(super) const LOOK: Wait<'_> = Wait { what: "reading the lock", at_most: consul::LONGEST };

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
    let mut waiting = Waiting::new(caller, connections, wait);
    let is_held = waiting.is_held.clone();
    let work = async {
        let mut file = take_file(session, connections, deadline, &mut waiting).await?;
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
            file: file.identity().map(str::to_owned),
            released: false,
        };
        // Until the lock in Consul is acquired as well, the file would name the process before this one.
        let _ = file.sign(&holder);
        let service = session.service();
        let Some(consul) = connections.shared() else {
            return Ok(Lock::local(service, holder, file));
        };
        let tell = |error: &LockError| waiting.tell(error);
        Lock::acquire(consul, service, holder, Some(file), deadline, &pending, tell)
            .await
            .map_err(|error| waiting.refusal(&error, session))
    };
    let (what, at_most) = match connections.shared() {
        Some(_) => ("taking the lock in Consul", consul::PATIENCE),
        None => ("taking the lock", wait.max(LOOKED_AT)),
    };
    let wait = Wait { what, at_most };
    let taken = unless_stopped_or_told(caller, wait, move || is_held.get(), work).await;
    if let (Err(_), Some(consul)) = (&taken, connections.shared()) {
        pending.abandon(consul).await;
    }
    taken?
}

/// The reports about a wait for a held lock.
struct Waiting<'a, W, C> {
    caller: &'a C,
    connections: &'a Connections<W>,
    begun: Instant,
    at_most: Duration,
    /// When a holder was reported last, and which one.
    told: Option<(Instant, Option<Holder>)>,
    /// The wait is for another process.
    is_held: Rc<Cell<bool>>,
}

impl<'a, W: World, C: Caller> Waiting<'a, W, C> {
    fn new(caller: &'a C, connections: &'a Connections<W>, at_most: Duration) -> Self {
        let (begun, is_held) = (Instant::now(), Rc::default());
        Self { caller, connections, begun, at_most, told: None, is_held }
    }

    fn is_due(&self) -> bool {
        self.told.as_ref().is_none_or(|(told, _)| told.elapsed() >= HEARTBEAT)
    }

    fn tell(&mut self, error: &LockError) {
        self.is_held.set(true);
        if !self.is_due() {
            return;
        }
        let waited = self.told.as_ref().map(|_| self.begun.elapsed());
        let why = format!("{} ({})", who(error, self.connections), limit(waited, self.at_most));
        self.caller.waiting_for_lock(&text::harmless(&why));
        self.told = Some((Instant::now(), error.holder().cloned()));
    }

    /// The refusal after the wait. It does not describe a holder again that was reported.
    fn refusal(&self, error: &LockError, session: &Session) -> Refusal {
        let refusal = refusal(error, session, self.connections);
        let is_told = match (&self.told, error.holder()) {
            (Some((_, Some(told))), Some(holder)) => told.is(holder),
            (told, holder) => told.is_some() && holder.is_none(),
        };
        if !is_told || matches!(error, LockError::Consul(_)) {
            return refusal;
        }
        let waited = text::duration(self.at_most);
        let by = error.holder().map_or(String::new(), |by| format!(" by release {}", by.release));
        let text = match error {
            LockError::Closed(_) => format!("error: {error}\n"),
            _ => format!("error: the lock is still held after {waited}{by}\n"),
        };
        Refusal { text: Some(text::harmless(&text)), ..refusal }
    }
}

/// Locks the state folder on this machine. Also locks the playbook if there is no lock in Consul.
async fn take_file<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    deadline: Instant,
    waiting: &mut Waiting<'_, W, C>,
) -> Result<FileLock, Refusal> {
    let begun = Instant::now();
    // A command that only reads the lock holds the file for a moment.
    let last = deadline.max(begun + LOOKED_AT);
    loop {
        let taken =
            take_once(session, connections).map_err(|error| super::refusal::of_error(&error));
        let holder = match taken? {
            Ok(file) => return Ok(file),
            Err(holder) => holder,
        };
        waiting.is_held.set(true);
        if Instant::now() >= last {
            let held = latest(session, connections, holder).await;
            return Err(waiting.refusal(&held, session));
        }
        if begun.elapsed() >= TOLD_AFTER && deadline > begun + LOOKED_AT && waiting.is_due() {
            let held = latest(session, connections, holder).await;
            waiting.tell(&held);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Describes the process that has locked the state folder. Its last sign of life is in Consul.
async fn latest<W: World>(
    session: &Session,
    connections: &Connections<W>,
    signed: Option<Holder>,
) -> LockError {
    let process =
        signed.as_ref().map_or(Process::Unknown, |it| FileLock::process(&session.state, it));
    let running = |holder: Option<Holder>| LockError::Running(holder.map(Box::new), process);
    let Some(consul) = connections.shared_in_passing(LATEST) else { return running(signed) };
    let look = tokio::time::timeout(LATEST, lock::look(&consul, session.service()));
    match (look.await, &signed) {
        (Ok(Ok(Some(LockStatus { session: Some(_), holder: Some(holder), .. }))), Some(it))
            if holder.is(it) =>
        {
            running(Some(holder))
        }
        // The process in this folder also waits for it.
        (Ok(Ok(Some(LockStatus { session: Some(_), holder, .. }))), Some(_)) => {
            LockError::Held(holder.map(Box::new))
        }
        _ => running(signed),
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
    let seen = match consul {
        Some(consul) => {
            lock::look(consul, session.service()).await.map_err(|error| error.to_string())
        }
        // A leftover file is not a lock.
        None => FileLock::look(&session.state, &session.file)
            .map(|held| {
                let (session, process) = (Some(String::new()), Process::Unknown);
                held.map(|holder| LockStatus { session, holder, process })
            })
            .map_err(|error| format!("{error:#}")),
    };
    Ok(seen?.map(|seen| match &seen.holder {
        Some(holder) => LockStatus { process: FileLock::process(&session.state, holder), ..seen },
        None => seen,
    }))
}

/// Describes the holder of a lock.
#[must_use]
pub fn described(holder: Option<&Holder>, process: Process, now: jiff::Timestamp) -> String {
    holder.map_or_else(|| "an unknown process".to_owned(), |holder| holder.describe(process, now))
}

/// Tells when Consul frees the lock of a holder that may be dead.
#[must_use]
pub fn freed(holder: Option<&Holder>, process: Process, now: jiff::Timestamp) -> Option<String> {
    let may_be_dead = process == Process::Unknown && holder.is_some_and(|it| it.is_silent(now));
    may_be_dead.then(frees)
}

fn frees() -> String {
    let within = text::duration(lock::FREED_WITHIN);
    format!("if its process or its machine is dead, Consul frees the lock in at most {within}")
}

fn who<W: World>(error: &LockError, connections: &Connections<W>) -> String {
    let now = connections.world.now();
    let described =
        |holder: &Option<Box<Holder>>, process| described(holder.as_deref(), process, now);
    match error {
        LockError::Held(holder) => format!("{error} by {}", described(holder, Process::Unknown)),
        LockError::Running(holder, process) => {
            format!("{error} by {}", described(holder, *process))
        }
        LockError::Closed(None) => error.to_string(),
        LockError::Closed(holder) => {
            format!("{error} (holder: {})", described(holder, Process::Unknown))
        }
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
        LockError::Held(_) => Refusal::new(Cause::Locked, message)
            .hint("nothing was changed; wait with --lock-wait 10m")
            .hint(format!("{}: --lock-wait 1m", frees()))
            .hint(format!("only if that process is gone: `{}`", session.command("lock break"))),
        LockError::Running(holder, process) => {
            let pid = holder.as_ref().filter(|_| *process == Process::Runs).map(|it| it.pid);
            let how = pid.map_or(String::new(), |pid| format!(": `kill {pid}` stops it safely"));
            Refusal::new(Cause::Locked, message).hint(format!(
                "nothing was changed; wait with --lock-wait 10m, or end the process that holds it{how}"
            ))
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
            let ends = text::duration(lock::FREED_WITHIN);
            let hint = format!(
                "no node was touched; if the lock was taken, Consul frees it within {ends}"
            );
            Refusal::new(Cause::Refused, message).hint(hint)
        }
        LockError::Consul(_) => Refusal::refused(message),
    }
}
