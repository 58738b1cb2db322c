//! `lock show` and `lock break`.

use super::caller::{confirm, unless_stopped};
use super::locking::{LOOK, described, look};
use super::{Caller, Cause, Connections, Question, Refusal, Session};
use crate::lock::{self, Holder, LockStatus};
use crate::world::World;

/// The lock as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No process ever had it.
    Unused,
    /// It is free, and which process had it last.
    Free(String),
    /// It is held, and by which process.
    Held(String),
}

/// What became of a lock that was to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// It was free.
    Free,
    /// It was taken from this process.
    From(String),
}

/// Finds out which process holds the lock, since when, and what it does.
///
/// # Errors
///
/// When the lock cannot be read, or the caller asks to stop.
pub async fn show<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
) -> Result<Found, Refusal> {
    let seen = look(session, connections.shared());
    let seen = unless_stopped(caller, LOOK, seen).await?;
    let seen = seen.map_err(|problem| Refusal::new(Cause::Refused, problem))?;
    Ok(match seen {
        Some(LockStatus { session: Some(_), holder }) => {
            Found::Held(who(holder.as_ref(), connections))
        }
        Some(LockStatus { session: None, holder }) => {
            Found::Free(who(holder.as_ref(), connections))
        }
        None => Found::Unused,
    })
}

/// Takes the lock away from its holder; without `yes`, once that is confirmed.
///
/// # Errors
///
/// When it is not confirmed, cannot be done, or the caller asks to stop.
pub async fn break_lock<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    yes: bool,
) -> Result<Broken, Refusal> {
    let service = session.service();
    let refused = |problem: String| Refusal::new(Cause::Refused, problem);
    let Some(consul) = connections.shared() else {
        let seen = look(session, connections.shared()).await.map_err(refused)?;
        let Some(seen) = seen else { return Ok(Broken::Free) };
        let who = who(seen.holder.as_ref(), connections);
        return Err(refused(format!("the lock is a file of this machine: {who}"))
            .hint("it ends with the process that holds it"));
    };
    let seen = unless_stopped(caller, LOOK, lock::look(consul, service)).await?;
    let seen = seen.map_err(|error| refused(error.to_string()))?;
    let Some(seen) = seen.filter(|seen| seen.session.is_some()) else { return Ok(Broken::Free) };
    let who = who(seen.holder.as_ref(), connections);
    if !yes {
        let prompt = &format!("Held by {who}. Break the lock?");
        confirm(caller, Question { prompt, plan: None }).await?;
    }
    let breaking =
        unless_stopped(caller, "taking the lock away", lock::break_lock(consul, service));
    breaking.await?.map_err(|error| refused(error.to_string()))?;
    Ok(Broken::From(who))
}

fn who<W: World>(holder: Option<&Holder>, connections: &Connections<W>) -> String {
    described(holder, connections.world.now())
}
