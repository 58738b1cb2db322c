//! Taking the lock before anything is looked at, and giving it back.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::Exit;
use super::open::{Opened, Reach};
use super::output::Refusal;
use super::signals::Signals;
use crate::consul::{self, Client};
use crate::lock::{self, Attempt, FileLock, Holder, Lock, LockError, LockStatus};
use crate::release::CommandKind;
use crate::report::say;
use crate::world::{Live, World};
use crate::{secret, text};

/// Between two lines about a lock that is waited for.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a lock file is tried for at least.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Between two attempts to lock it.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time for which the lock may be waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a look at the lock is called while it is waited for.
pub(super) const LOOK: &str = "reading the lock";

/// How the lock is waited for.
#[derive(Debug, Clone, Args)]
pub(super) struct LockArguments {
    /// How long to wait while another release holds the lock, like 10m [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = lock_wait)]
    lock_wait: Option<Duration>,
}

fn lock_wait(text: &str) -> Result<Duration, String> {
    let wait = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if wait > LONGEST_WAIT {
        return Err("longer than 30 days".to_owned());
    }
    Ok(wait)
}

/// Takes the lock of the playbook's service.
pub(super) async fn take(
    arguments: &LockArguments,
    opened: &Opened,
    reach: &Reach,
    command: CommandKind,
    signals: &mut Signals,
) -> Result<Arc<Lock<Live>>, Refusal> {
    let deadline = Instant::now() + arguments.lock_wait.unwrap_or_default();
    let pending = Attempt::default();
    let work = async {
        let file = take_file(opened, reach, deadline).await?;
        let now = reach.world.now();
        let holder = Holder {
            release: opened.inputs.release.clone(),
            command: command.to_string(),
            by: actor(),
            host: hostname(),
            pid: std::process::id(),
            since: now,
            seen: now,
            doing: String::new(),
            file: None,
            released: false,
        };
        let mut told: Option<Instant> = None;
        let waiting = |error: &LockError| {
            if told.is_none_or(|told| told.elapsed() >= HEARTBEAT) {
                told = Some(Instant::now());
                let who = text::harmless(&who(error, reach));
                say(&format!("waiting: {who}\n"));
            }
        };
        let service = &opened.loaded.playbook.service;
        let Some(consul) = reach.shared() else {
            return Ok(Lock::local(service, holder, file));
        };
        Lock::acquire(consul, service, holder, Some(file), deadline, &pending, waiting)
            .await
            .map_err(|error| refusal(&error, opened, reach))
    };
    let taken = signals.unless_stopped("taking the lock", work).await;
    if let (Err(_), Some(consul)) = (&taken, reach.shared()) {
        pending.abandon(consul).await;
    }
    taken?
}

/// Locks the state folder on this machine, and the playbook where that is the only lock.
async fn take_file(opened: &Opened, reach: &Reach, deadline: Instant) -> Result<FileLock, Refusal> {
    // A command that looks at the lock has it for a moment.
    let deadline = deadline.max(Instant::now() + LOOKED_AT);
    loop {
        let holder = match take_once(opened, reach) {
            Ok(Ok(file)) => return Ok(file),
            Ok(Err(holder)) => holder,
            Err(error) => {
                return Err(
                    Refusal::new(Exit::REFUSED, format!("{error:#}")).hint("nothing was changed")
                );
            }
        };
        if Instant::now() >= deadline {
            return Err(refusal(&LockError::Held(holder.map(Box::new)), opened, reach));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn take_once(opened: &Opened, reach: &Reach) -> anyhow::Result<Result<FileLock, Option<Holder>>> {
    let mut file = match FileLock::take(&opened.state)? {
        Ok(file) => file,
        Err(holder) => return Ok(Err(holder)),
    };
    if reach.shared().is_some() || file.guard_playbook(&opened.file)? {
        return Ok(Ok(file));
    }
    // The state folder is another one than that of the release which has the playbook.
    Ok(Err(None))
}

/// Looks at the lock of the playbook's service; nothing when it is free and no release ever had it.
pub(super) async fn look(
    opened: &Opened,
    consul: Option<&Client<Live>>,
) -> Result<Option<LockStatus>, String> {
    match consul {
        Some(consul) => lock::look(consul, &opened.loaded.playbook.service)
            .await
            .map_err(|error| error.to_string()),
        // A file that was left behind is no lock.
        None => FileLock::look(&opened.state, &opened.file)
            .map(|held| held.map(|holder| LockStatus { session: Some(String::new()), holder }))
            .map_err(|error| format!("{error:#}")),
    }
}

/// Describes the holder of a lock.
pub(super) fn described(holder: Option<&Holder>, now: jiff::Timestamp) -> String {
    holder.map_or_else(|| "an unknown process".to_owned(), |holder| holder.describe(now))
}

fn who(error: &LockError, reach: &Reach) -> String {
    let described = |holder: &Option<Box<Holder>>| described(holder.as_deref(), reach.world.now());
    match error {
        LockError::Held(holder) => format!("the lock is held by {}", described(holder)),
        LockError::Closed(None) => error.to_string(),
        LockError::Closed(holder) => format!("{error} (holder: {})", described(holder)),
        LockError::Consul(error) => format!("the lock cannot be taken: {error}"),
    }
}

fn refusal(error: &LockError, opened: &Opened, reach: &Reach) -> Refusal {
    let message = who(error, reach);
    match error {
        LockError::Held(_) | LockError::Closed(_) => {
            let other = if reach.shared().is_some() {
                format!("if you know that it is gone: `{}`", opened.command("lock break"))
            } else {
                "end its process".to_owned()
            };
            let hint = format!("nothing was changed; wait with --lock-wait 10m, or {other}");
            Refusal::new(Exit::LOCKED, message).hint(hint)
        }
        LockError::Consul(consul::Error::Refused { status: 403, .. }) => {
            let prefix = consul::shared_prefix(&opened.loaded.playbook.service);
            let hint = format!(
                "nothing was changed; the token needs `key_prefix \"{prefix}\"` and `session_prefix \"\"` with \
                 policy write"
            );
            Refusal::new(Exit::REFUSED, message).hint(hint)
        }
        LockError::Consul(_) => Refusal::new(Exit::REFUSED, message).hint("nothing was changed"),
    }
}

/// The name of this machine.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Who releases: the CI job, or the user on this machine. Others read it in the lock.
pub(super) fn actor() -> String {
    secret::hide(&told_actor())
}

fn told_actor() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("CI_JOB_URL").or_else(|| variable("BUILD_URL")) {
        return format!("ci:{url}");
    }
    if let (Some(server), Some(repository), Some(run)) =
        (variable("GITHUB_SERVER_URL"), variable("GITHUB_REPOSITORY"), variable("GITHUB_RUN_ID"))
    {
        return format!("ci:{server}/{repository}/actions/runs/{run}");
    }
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into());
    format!("{user}@{}", hostname())
}
