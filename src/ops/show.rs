//! `show`: one past release, from its journal. It changes nothing.

use std::time::Duration;

use serde::Deserialize;

use super::caller::unless_stopped;
use super::history::JOURNAL;
use super::lock_state::LockState;
use super::{Caller, Cause, Connections, Refusal, Session, resume};
use crate::journal::history::{self as journals, JournaledRelease};
use crate::json::Written;
use crate::playbook::Playbook;
use crate::release::{CommandKind, Outcome, Release, Summary};
use crate::suggestions::{Repeated, Situation};
use crate::world::World;

/// What the command shows after a release that is not done.
const STATE_NOW: &str = "show every node, and what to do next";

/// A past release.
#[derive(Debug)]
pub struct Shown {
    /// The release without its playbook and the states of its nodes, and its journal.
    pub past: JournaledRelease,
    /// The release in one line.
    pub summary: Summary,
    /// How long a node had to stay healthy.
    pub stays_healthy: Duration,
    /// The next command and its purpose; none after a release that is done.
    pub next: Vec<(String, String)>,
    /// The commands that its report suggested at its end, made anew: a journal may come from another machine.
    pub suggested: Vec<(String, String)>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// Finds a release by its id or an unambiguous start of it, by default the last one, and reads its journal.
///
/// # Errors
///
/// If there is none or there are several, its journal cannot be read, or the caller asks to stop.
pub async fn show<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    id: Option<&str>,
) -> Result<Shown, Refusal> {
    let (past, mut problems) = find(session, connections, caller, id).await?;
    let lock = match past.release.finished {
        Some(_) => LockState::Free,
        None => LockState::read(session, connections, caller, problems.is_empty()).await?,
    };
    if let LockState::Unknown(problem) = &lock {
        problems.push(format!("the lock: {problem}"));
    }
    let Some(summary) = Summary::of(&past.release, lock.runs(&past.id)) else {
        let id = id.unwrap_or(&past.id);
        return Err(Refusal::new(Cause::Refused, format!("release {id} did not start")));
    };
    let is_done = matches!(summary.state.outcome(), Some(Outcome::Done | Outcome::Nothing));
    let repeated = Repeated { variables: Vec::new(), ..session.repeated(false) };
    let status = (STATE_NOW.to_owned(), repeated.command("status", []));
    Ok(Shown {
        stays_healthy: stays_healthy(&past.release),
        suggested: suggested(session, &past.release),
        next: (!is_done).then_some(status).into_iter().collect(),
        past: brief(past),
        summary,
        problems,
    })
}

/// Finds the release. If Consul cannot be read, the journals of this machine may have it.
async fn find<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    id: Option<&str>,
) -> Result<(JournaledRelease, Vec<String>), Refusal> {
    let any = |_: CommandKind| true;
    let refusal = match resume::find(session, connections, caller, id, any).await {
        Ok(past) => return Ok((past, Vec::new())),
        Err(refusal) if refusal.cause == Cause::Stopped => return Err(refusal),
        Err(refusal) => refusal,
    };
    let here = journals::find::<W>(&session.state, None, session.service(), id, any);
    match unless_stopped(caller, JOURNAL, Box::pin(here)).await? {
        Ok(past) if connections.shared().is_some() => {
            let problem = format!("{} (the journal of this machine is shown)", refusal.reason);
            Ok((past, vec![problem]))
        }
        _ => Err(refusal),
    }
}

/// The same without the states of nodes and the playbook, which may need much memory: they are in the journal.
fn brief(mut past: JournaledRelease) -> JournaledRelease {
    past.release.nodes.clear();
    if let Some(started) = &mut past.release.started {
        started.playbook = Written::default();
    }
    past
}

/// How long a node must stay healthy, as the playbook in the journal says.
fn stays_healthy(release: &Release) -> Duration {
    let recorded = release.started.as_ref().and_then(|started| started.playbook.value().ok());
    let playbook = recorded.and_then(|recorded| Playbook::deserialize(&recorded).ok());
    playbook.map_or(Duration::ZERO, |playbook| playbook.health.min_healthy_time.0)
}

/// The commands that the report of a release suggests.
fn suggested(session: &Session, release: &Release) -> Vec<(String, String)> {
    let Some(started) = &release.started else { return Vec::new() };
    let outcome = release.finished.as_ref().map_or(Outcome::Stopped, |finished| finished.result);
    let repeated = at_its_end(session.repeated_of(started), release);
    Situation::new(release, outcome, &repeated).commands()
}

/// The same arguments as at the end of a release. It began with the file as it was then, so that no suggestion chose the
/// changed file. A rollback, or a release that was resumed, may have followed a journal.
fn at_its_end(mut repeated: Repeated, release: &Release) -> Repeated {
    let is_deploy = release.started.as_ref().is_some_and(|started| {
        matches!(started.command, CommandKind::Deploy | CommandKind::Restart)
    });
    repeated.file_was_changed &= !is_deploy || release.resumed_by.is_some();
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_at_the_end_of_a_release_do_not_choose_a_file_that_was_changed_later() {
        let changed = |command: &str, resumed_by: Option<&str>| {
            let started = serde_json::json!({
                "service": "app", "command": command, "to": "2", "actor": "me", "file": "app.yaml",
                "playbook": null, "nodes": [],
                "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
            });
            let started = Some(serde_json::from_value(started).expect("a start"));
            let resumed_by = resumed_by.map(str::to_owned);
            let release = Release { started, resumed_by, ..Release::default() };
            let now = Repeated { file_was_changed: true, ..Repeated::default() };
            at_its_end(now, &release).file_was_changed
        };
        assert!(!changed("deploy", None));
        assert!(changed("deploy", Some("ana@laptop")) && changed("rollback", None));
    }
}
