//! `status`: each node as it is now, the last release, the lock, and what to type next. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::caller::unless_stopped;
use super::history::History;
use super::look::look;
use super::{Caller, Connections, Refusal, Session, history, locking};
use crate::lock::{Holder, LockStatus};
use crate::next;
use crate::release::Release;
use crate::release::Started;
use crate::shell::quote;
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::world::World;

/// How long Consul may take to tell of the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What there is to tell.
#[derive(Debug)]
pub struct Status {
    /// What was seen of everything.
    pub fleet: Fleet,
    /// Past releases.
    pub history: History,
    /// The lock.
    pub lock: LockState,
}

/// The lock of the service.
#[derive(Debug, Clone)]
pub enum LockState {
    /// No process holds it.
    Free,
    /// Held, by a process that may have left no word of itself.
    Held(Option<Holder>),
    /// It cannot be looked at, and why.
    Unknown(String),
}

/// Looks at everything there is to tell.
///
/// # Errors
///
/// When the caller asks to stop.
pub async fn status<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    spec: &Arc<Spec>,
) -> Result<Status, Refusal> {
    let fleet = look(session, connections, caller, spec).await?;
    let reachable = fleet.registry_problem.is_none();
    let history = History::read(session, connections, reachable);
    let history = unless_stopped(caller, history::JOURNALS, history).await?;
    let client = connections.shared_in_passing(LOCK_PATIENCE);
    let lock = locking::look(session, client.as_ref());
    let lock = match unless_stopped(caller, locking::LOOK, lock).await? {
        Ok(Some(LockStatus { session: Some(_), holder })) => LockState::Held(holder),
        Ok(_) => LockState::Free,
        Err(problem) => LockState::Unknown(problem),
    };
    Ok(Status { fleet, history, lock })
}

impl Status {
    /// The last release, and what it started with.
    #[must_use]
    pub fn last(&self) -> Option<(&Release, &Started)> {
        let release = self.history.releases.first()?;
        Some((release, release.started.as_ref()?))
    }

    /// Whether a process works on this very release, or may do so.
    #[must_use]
    pub fn runs(&self, started: &Started) -> bool {
        match &self.lock {
            LockState::Free | LockState::Unknown(_) => false,
            LockState::Held(None) => true,
            LockState::Held(Some(holder)) => holder.release == started.inputs.release(),
        }
    }

    /// What to type next, and what for. Made anew: a journal may be from elsewhere, and what stands here is typed.
    #[must_use]
    pub fn next(&self, session: &Session, spec: &Spec) -> Vec<(String, String)> {
        let last = self.last();
        let finished = last.and_then(|(release, _)| Some((release, release.finished.as_ref()?)));
        let mut next = finished.map_or_else(Vec::new, |(release, finished)| {
            next::commands(release, finished.result, &session.repeated())
        });
        for node in &spec.nodes {
            if self.fleet.nodes.get(&node.name).is_some_and(|facts| facts.down == Some(true)) {
                let command = format!("{} {}", session.command("node in"), quote(&node.name));
                next.push((format!("bring {} back as it is", node.name), command));
            }
        }
        if let Some((_, started)) = last.filter(|_| finished.is_none())
            && !self.runs(started)
        {
            next.push(("go on with it".into(), session.command("resume")));
        }
        next
    }
}
