//! Past releases, one after the other.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Keep, TIME, late, newest, read};
use crate::consul::Client;
use crate::journal::unreadable::unreadable;
use crate::release::{CommandKind, Release, Started};
use crate::world::World;

/// What could not be read.
#[derive(Debug, Default)]
pub struct Unread {
    /// Problems with unreadable journals.
    pub problems: Vec<String>,
    /// Why Consul could not list some or all releases.
    pub unlisted: Option<String>,
}

/// Reads the last `most` releases, the newest first, within one time limit for all of them, until `take` needs no
/// further one.
pub async fn each<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    (most, time): (usize, Duration),
    mut take: impl FnMut(Release) -> bool,
) -> Unread {
    let mut unread = Unread { problems: unreadable(state), unlisted: None };
    let deadline = Instant::now() + time;
    let places = newest(state, client, service, (deadline, time), &mut unread.unlisted).await;
    for (name, places) in places.into_iter().take(most) {
        let read = timeout_at(deadline, read(client, service, &name, &places, Keep::Release));
        match read.await {
            Ok(Ok(past)) => {
                if !take(past.release) {
                    break;
                }
            }
            Ok(Err(error)) => unread.problems.push(format!("{error:#}")),
            Err(_) => {
                unread.problems.push(format!("{name} and older releases: {}", late(time)));
                break;
            }
        }
    }
    unread
}

/// The last releases whose journals could be read.
#[derive(Debug, Default)]
pub struct Recent {
    /// The newest first. Only those that are kept whole have their playbooks.
    pub releases: Vec<Release>,
    /// What could not be read.
    pub unread: Unread,
}

/// Reads the last `most` releases, one after the other, within one time limit for all of them. Only the states of
/// these `nodes` are kept, except for the newest release, the newest `deploy` or `rollback`, and the newest `deploy`.
pub async fn recent<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    most: usize,
    nodes: &BTreeSet<&str>,
) -> Recent {
    let mut releases: Vec<Release> = Vec::new();
    let keep = |release: Release| {
        let command = release.started.as_ref().map(|started| started.command);
        let is_new = |is: &dyn Fn(CommandKind) -> bool| {
            let before = releases.iter().filter_map(|old| old.started.as_ref());
            command.is_some_and(is) && !before.map(|old| old.command).any(is)
        };
        let whole = releases.is_empty()
            || is_new(&CommandKind::is_release)
            || is_new(&|command| command == CommandKind::Deploy);
        releases.push(if whole { release } else { outline(release, nodes) });
        true
    };
    let unread = each(state, client, service, (most, TIME), keep).await;
    Recent { releases, unread }
}

/// The outline of an older release: its id, its command, and the states of nodes.
fn outline(mut release: Release, nodes: &BTreeSet<&str>) -> Release {
    release.nodes.retain(|name, _| nodes.contains(name.as_str()));
    let started = release.started.map(|started| {
        let inputs = started.inputs.outline();
        Started { inputs, from: None, to: None, ..started.outline() }
    });
    Release { started, finished: None, stopping: None, ..release }
}
