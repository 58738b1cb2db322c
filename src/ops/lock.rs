//! `lock show` and `lock break`.

use super::caller::{Wait, confirm, unless_stopped};
use super::locking::{LOOK, described, freed, look};
use super::{Caller, Cause, Connections, Question, Refusal, Session};
use crate::consul;
use crate::lock::{self, LockStatus, Process};
use crate::world::World;

/// The name of the wait while the lock is broken: two requests, one after the other.
const BREAK: Wait<'_> =
    Wait { what: "taking the lock away", at_most: consul::PATIENCE.saturating_mul(2) };

/// The state of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No process has ever held it.
    Unused,
    /// It is free. The holder is the last process that held it.
    Free(String),
    /// It is held by this process.
    Held(String),
    /// This process of this machine held it and has ended. The next command on this machine takes it at once.
    Left(String),
}

/// The result of `lock break`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The lock was free.
    Free,
    /// The lock was taken from this process.
    From(String),
}

/// Reads which process holds the lock, since when, and its current step.
///
/// # Errors
///
/// If the lock cannot be read, or the caller asks to stop.
pub async fn show<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
) -> Result<Found, Refusal> {
    let seen = look(session, connections.shared());
    let seen = unless_stopped(caller, LOOK, seen).await?;
    let seen = seen.map_err(|problem| Refusal::new(Cause::Refused, problem))?;
    Ok(match seen {
        Some(seen) => {
            let who = who(&seen, connections);
            match (&seen.session, seen.process) {
                (Some(_), Process::Ended) => Found::Left(who),
                (Some(_), process) => {
                    let freed = freed(seen.holder.as_ref(), process, connections.world.now());
                    Found::Held(freed.map_or(who.clone(), |freed| format!("{who}; {freed}")))
                }
                (None, _) => Found::Free(who),
            }
        }
        None => Found::Unused,
    })
}

/// Takes the lock from its holder. Without `yes`, it asks for confirmation first.
///
/// # Errors
///
/// If the answer is no, the lock cannot be broken, or the caller asks to stop.
pub async fn break_lock<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    yes: bool,
) -> Result<Broken, Refusal> {
    let refused = |problem: String| Refusal::new(Cause::Refused, problem);
    let seen = unless_stopped(caller, LOOK, look(session, connections.shared())).await?;
    let seen = seen.map_err(refused)?;
    let Some(seen) = seen.filter(|seen| seen.session.is_some()) else { return Ok(Broken::Free) };
    let who = who(&seen, connections);
    let Some(consul) = connections.shared() else {
        return Err(refused(format!(
            "the lock is a file on this machine and cannot be broken: {who}"
        ))
        .hint("end the process that holds it"));
    };
    if !yes {
        let prompt = &format!("Held by {who}. Break the lock? Its release stops where it is.");
        confirm(caller, Question { prompt, plan: None }).await?;
    }
    let look_again = |refusal: Refusal| {
        let command = session.command("lock show");
        refusal.hint_at("shows whether the lock is held", command)
    };
    let breaking = unless_stopped(caller, BREAK, lock::break_lock(consul, session.service()));
    let broken = breaking.await.map_err(|stopped| {
        let reason = "stopped on request; whether the lock was broken is unknown";
        look_again(Refusal::new(stopped.cause, reason))
    })?;
    broken.map_err(|error| look_again(refused(error.to_string())))?;
    Ok(Broken::From(who))
}

fn who<W: World>(seen: &LockStatus, connections: &Connections<W>) -> String {
    described(seen.holder.as_ref(), seen.process, connections.world.now())
}
