//! `history`: past releases, from this machine and from Consul. It changes nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::caller::unless_stopped;
use super::connections::PATIENCE;
use super::history::PAST;
use super::lock_state::LockState;
use super::{Caller, Connections, Refusal, Session};
use crate::journal::history as journals;
use crate::release::{CommandKind, Outcome, Release, RunState, Summary};
use crate::world::World;

/// How a release ended, or has not ended, as an operator selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this result.
    As(Outcome),
    /// It is in progress.
    Running,
    /// Its process ended in the middle.
    Interrupted,
}

/// Which releases are shown.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At most this many, the newest ones.
    pub limit: usize,
    /// Those that changed this node, or were to change it.
    pub node: Option<String>,
    /// Those that ended in one of these ways; all, if there is none.
    pub ended: Vec<Ended>,
    /// Those whose user has this text in its name.
    pub by: Option<String>,
    /// Those that did something since then.
    pub since: Option<Timestamp>,
    /// Those of these commands; all, if there is none.
    pub commands: Vec<CommandKind>,
}

/// The releases that were found.
#[derive(Debug)]
pub struct Past {
    /// The newest first.
    pub releases: Vec<Summary>,
    /// There are more that match.
    pub has_more: bool,
    /// How many releases were read.
    pub known: usize,
    /// The nodes of the playbook and of the releases that were read.
    pub nodes: BTreeSet<String>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// Reads past releases.
///
/// # Errors
///
/// If the caller asks to stop.
pub async fn past<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    filter: &Filter,
) -> Result<Past, Refusal> {
    let lock = LockState::read(session, connections, caller, true).await?;
    let nodes = session.loaded.playbook.nodes.iter();
    let nodes = nodes.map(|node| node.display_name().to_owned()).collect();
    let mut past =
        Past { releases: Vec::new(), has_more: false, known: 0, nodes, problems: Vec::new() };
    let client = connections.shared_in_passing(PATIENCE);
    let take = |release: Release| past.take(&release, filter, &lock);
    let (all, service) = ((usize::MAX, PAST.at_most), session.service());
    let unread = journals::each(&session.state, client.as_ref(), service, all, take);
    let unread = unless_stopped(caller, PAST, unread).await?;
    past.problems = unread.problems;
    past.problems.extend(unread.unlisted);
    if let LockState::Unknown(problem) = lock
        && past.releases.iter().any(|release| release.state == RunState::Unknown)
    {
        past.problems.push(format!("the lock: {problem}"));
    }
    Ok(past)
}

impl Past {
    /// Takes in a release. Returns whether a further one is needed.
    fn take(&mut self, release: &Release, filter: &Filter, lock: &LockState) -> bool {
        let runs = release.started.as_ref().and_then(|it| lock.runs(it.inputs.release()));
        let Some(summary) = Summary::of(release, runs) else { return true };
        self.known += 1;
        if filter.node.is_some() {
            self.nodes.extend(release.nodes.keys().cloned());
        }
        if !filter.matches(release, &summary) {
            return true;
        }
        if self.releases.len() == filter.limit {
            self.has_more = true;
            return false;
        }
        self.releases.push(summary);
        true
    }
}

impl Filter {
    fn matches(&self, release: &Release, summary: &Summary) -> bool {
        let is_by = |by: &String| {
            let users = [Some(&summary.actor), summary.resumed_by.as_ref()];
            let by = by.to_lowercase();
            users.into_iter().flatten().any(|user| user.to_lowercase().contains(&by))
        };
        let has_ended = |ended: &Ended| match (ended, summary.state) {
            (Ended::As(outcome), state) => state.outcome() == Some(*outcome),
            // Without the lock, it may be either.
            (Ended::Running, state) => matches!(state, RunState::Running | RunState::Unknown),
            (Ended::Interrupted, state) => {
                matches!(state, RunState::Interrupted | RunState::Unknown)
            }
        };
        self.node.as_ref().is_none_or(|node| Summary::concerns(release, node))
            && (self.ended.is_empty() || self.ended.iter().any(has_ended))
            && self.by.as_ref().is_none_or(is_by)
            && self.since.is_none_or(|since| summary.latest >= since)
            && (self.commands.is_empty() || self.commands.contains(&summary.command))
    }
}
