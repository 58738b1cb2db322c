//! Finds and reads journals of releases on this machine and in Consul. For a release with both, it selects
//! the valid one.

mod comparison;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, timeout, timeout_at};

use comparison::Comparison;

use super::disk::{self, Folding};
use super::pieces;
use super::replica::{self, ReplicaId};
use crate::consul::Client;
use crate::release::{
    CommandKind, Event, EventKind, NodeState, Outcome, Release, RotationState, Started,
};
use crate::text;
use crate::world::World;

/// Time limit to read several journals together.
pub const TIME: Duration = Duration::from_secs(5);

/// Time limit to read the one journal that a command continues.
pub const TIME_FOR_ONE: Duration = Duration::from_secs(60);

/// The limit of the variables of a later release that is compared, in bytes.
const LARGEST_INPUTS: usize = 256 * 1024;

/// A release from its journal.
#[derive(Debug)]
pub struct JournaledRelease {
    /// Its id.
    pub id: String,
    /// The fold of its events.
    pub release: Release,
    /// The journal's bytes.
    pub bytes: Vec<u8>,
    /// The local file, if there is one.
    pub path: Option<PathBuf>,
}

/// The places of a release's journal.
#[derive(Debug, Clone, Default)]
struct Places {
    begun: String,
    path: Option<PathBuf>,
    kept: Option<ReplicaId>,
}

/// Finds a release by its id or an unambiguous start of it; without one, the last release whose command is
/// `wanted`.
///
/// # Errors
///
/// When there is none or there are several, or its journal cannot be read.
pub async fn find<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    id: Option<&str>,
    wanted: impl Fn(CommandKind) -> bool,
) -> Result<JournaledRelease> {
    let found = timeout(TIME_FOR_ONE, find_one(state, client, service, id, wanted)).await;
    found.unwrap_or_else(|_| {
        bail!("the journal could not be read within {}", text::duration(TIME_FOR_ONE))
    })
}

async fn find_one<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    id: Option<&str>,
    wanted: impl Fn(CommandKind) -> bool,
) -> Result<JournaledRelease> {
    let mut places: Vec<_> = places(state, client, service).await?.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    let place = state.display();
    let Some(id) = id else {
        for (name, places) in &places {
            let past = read(client, service, name, places, Keep::Bytes).await?;
            if past.release.started.as_ref().is_some_and(|started| wanted(started.command)) {
                return Ok(past);
            }
        }
        bail!("no release of {service} is known in {place}{}", or_in_consul(client));
    };
    let named: Vec<_> = places.iter().filter(|(name, _)| name.starts_with(id)).collect();
    match named.as_slice() {
        [] => bail!("no release `{id}` of {service} is known in {place}{}", or_in_consul(client)),
        [(name, places)] => read(client, service, name, places, Keep::Bytes).await,
        several => {
            let several: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            bail!("`{id}` is ambiguous: {}", several.join(", "))
        }
    }
}

/// Returns the last release after `past` whose command is `wanted` and that changed a node, with the names of
/// these nodes.
///
/// # Errors
///
/// When the journal of a later release cannot be read.
pub async fn later<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    past: &JournaledRelease,
    wanted: impl Fn(CommandKind) -> bool,
) -> Result<Option<(JournaledRelease, Vec<String>)>> {
    let places = places(state, client, service).await?;
    let begun = places.get(&past.id).map(|place| place.begun.clone()).unwrap_or_default();
    let mut later: Vec<_> = places.into_iter().filter(|(_, place)| place.begun > begun).collect();
    later.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    for (id, places) in later {
        let found = read(client, service, &id, &places, Keep::Release).await?;
        let untouched = |node: &NodeState| {
            node.rotation_state() == RotationState::Untouched && !node.is_stopped()
        };
        let nodes = found.release.in_order().filter(|(_, node)| !untouched(node));
        let nodes: Vec<_> = nodes.map(|(name, _)| name.to_owned()).collect();
        let command = found.release.started.as_ref().map(|started| started.command);
        if command.is_some_and(&wanted) && !nodes.is_empty() {
            return Ok(Some((found, nodes)));
        }
    }
    Ok(None)
}

/// The last releases whose journals could be read.
#[derive(Debug, Default)]
pub struct Recent {
    /// The newest first. Only those that are kept whole have their playbooks.
    pub releases: Vec<Release>,
    /// Problems with unreadable journals.
    pub problems: Vec<String>,
    /// Why Consul could not list some or all releases.
    pub unlisted: Option<String>,
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
    let mut recent = Recent::default();
    let deadline = Instant::now() + TIME;
    let places = newest(state, client, service, deadline, &mut recent.unlisted).await;
    for (name, places) in places.into_iter().take(most) {
        let read = timeout_at(deadline, read(client, service, &name, &places, Keep::Release));
        match read.await {
            Ok(Ok(past)) => {
                let command = past.release.started.as_ref().map(|started| started.command);
                let is_new = |is: &dyn Fn(CommandKind) -> bool| {
                    let before = recent.releases.iter().filter_map(|old| old.started.as_ref());
                    command.is_some_and(is) && !before.map(|old| old.command).any(is)
                };
                let whole = recent.releases.is_empty()
                    || is_new(&CommandKind::is_release)
                    || is_new(&|command| command == CommandKind::Deploy);
                recent.releases.push(if whole {
                    past.release
                } else {
                    outline(past.release, nodes)
                });
            }
            Ok(Err(error)) => recent.problems.push(format!("{error:#}")),
            Err(_) => {
                recent.problems.push(format!("{name} and older releases: {}", late()));
                break;
            }
        }
    }
    recent
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

/// The start events of the last releases that could be read.
#[derive(Debug, Default)]
pub struct Beginnings {
    /// The newest first, without their playbooks.
    pub started: Vec<Started>,
    /// Why there may be more.
    pub missing: Option<String>,
}

/// Reads the start events of the last `most` releases, one after the other, within one time limit for all of
/// them.
pub async fn beginnings<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    most: usize,
) -> Beginnings {
    let mut found = Beginnings::default();
    let deadline = Instant::now() + TIME;
    let places = newest(state, client, service, deadline, &mut found.missing).await;
    for (name, place) in places.into_iter().take(most) {
        let first = match (&place.path, &place.kept, client) {
            (Some(path), _, _) => disk::first(path),
            (None, Some(kept), Some(client)) => {
                let beginning = timeout_at(deadline, replica::begins(client, service, kept));
                let Ok(first) = beginning.await else {
                    found.missing = Some(format!("journals in Consul: {}", late()));
                    break;
                };
                first.ok().flatten()
            }
            (None, Some(_), None) | (None, None, _) => None,
        };
        if let Some(Event { fact: EventKind::ReleaseStarted(started), .. }) = first {
            let started = started.outline();
            if size(&started) > LARGEST_INPUTS {
                found.missing = Some(format!(
                    "the journal of {name} has more than {} of variables",
                    text::size(LARGEST_INPUTS as u64)
                ));
                continue;
            }
            found.started.push(started);
        }
    }
    found
}

/// How much of a start event is kept, in bytes.
fn size(started: &Started) -> usize {
    let texts = [Some(&started.service), started.from.as_ref(), started.to.as_ref()];
    texts.into_iter().flatten().map(String::len).sum::<usize>() + started.inputs.size()
}

/// Every known release, the newest first.
async fn newest<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    deadline: Instant,
    unlisted: &mut Option<String>,
) -> Vec<(String, Places)> {
    let places = match timeout_at(deadline, places(state, client, service)).await {
        Ok(Ok(places)) => places,
        Ok(Err(error)) => {
            *unlisted = Some(format!("{error:#}"));
            local(state)
        }
        Err(_) => {
            *unlisted = Some(format!("journals in Consul: {}", late()));
            local(state)
        }
    };
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    places
}

fn late() -> String {
    format!("not read within {}", text::duration(TIME))
}

fn local(state: &Path) -> BTreeMap<String, Places> {
    let found = disk::all(state).into_iter().map(|(begun, id, path)| {
        let begun = replica::begun(begun);
        (id, Places { begun, path: Some(path), kept: None })
    });
    found.collect()
}

fn or_in_consul<W>(client: Option<&Client<W>>) -> &'static str {
    if client.is_some() { " or in Consul" } else { "" }
}

async fn places<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
) -> Result<BTreeMap<String, Places>> {
    let mut places = local(state);
    let kept = match client {
        Some(client) => replica::list(client, service).await?,
        None => Vec::new(),
    };
    for kept in kept {
        let place = places.entry(kept.release.clone()).or_default();
        place.begun.clone_from(&kept.begun);
        place.kept = Some(kept);
    }
    Ok(places)
}

/// Which parts of a journal to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// The release alone, which needs little memory for a journal of any length.
    Release,
    /// The bytes too, to continue the journal.
    Bytes,
}

async fn read<W: World>(
    client: Option<&Client<W>>,
    service: &str,
    id: &str,
    places: &Places,
    keep: Keep,
) -> Result<JournaledRelease> {
    let here = places.path.as_ref().map(|path| of(id, here(path, keep)?));
    // The journal of a finished release is complete; another machine may have continued any other.
    let done = |release: &Release| {
        release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done)
    };
    let whole = matches!(&here, Some(Ok(release)) if done(release));
    let there =
        match &places.kept {
            Some(kept) if !whole => {
                let client = client.context("the playbook does not use Consul")?;
                let path = places.path.as_deref().filter(|_| matches!(here, Some(Ok(_))));
                let there = there(client, service, kept, path, keep).await;
                Some(there.and_then(|there| {
                    Ok(ConsulJournal { release: of(id, there.release)?, ..there })
                }))
            }
            _ => None,
        };
    let path = places.path.clone();
    let past =
        |release, bytes| JournaledRelease { id: id.to_owned(), release, bytes, path: path.clone() };
    match (here, there) {
        // Otherwise another machine has continued the release. Consul accepted only writes of the lock's
        // holder, so the lines written on this machine since then are invalid.
        (_, Some(Ok(there))) if !there.is_behind => Ok(past(there.release, there.bytes)),
        (Some(Ok(release)), _) => {
            let bytes = match (keep, &path) {
                (Keep::Bytes, Some(path)) => disk::bytes_of(path)?,
                (Keep::Bytes | Keep::Release, _) => Vec::new(),
            };
            Ok(past(release, bytes))
        }
        (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error),
        (None, Some(Ok(there))) => Ok(past(there.release, there.bytes)),
        (None, None) => bail!("release {id} has no journal"),
    }
}

fn folding(name: &str, keep: Keep) -> Folding {
    let folding = Folding::new(name);
    if keep == Keep::Release { folding.without_details() } else { folding }
}

/// Folds a journal of this machine.
fn here(path: &Path, keep: Keep) -> Result<Release> {
    pieces::fold(path, folding(&path.display().to_string(), keep))
}

/// A journal in Consul.
struct ConsulJournal {
    release: Release,
    bytes: Vec<u8>,
    /// The local journal has all of Consul's lines and perhaps more: the replica may be behind.
    is_behind: bool,
}

/// Folds a journal in Consul and compares it with the local one.
async fn there<W: World>(
    client: &Client<W>,
    service: &str,
    kept: &ReplicaId,
    path: Option<&Path>,
    keep: Keep,
) -> Result<ConsulJournal> {
    let mut folding = folding(&format!("Consul's journal of {}", kept.release), keep);
    let mut comparison = path.map(Comparison::open).transpose()?;
    let mut bytes = Vec::new();
    replica::stream(client, service, kept, |piece| {
        if let Some(comparison) = &mut comparison {
            comparison.feed(piece)?;
        }
        if keep == Keep::Bytes {
            bytes.reserve_exact(piece.len());
            bytes.extend_from_slice(piece);
        }
        folding.feed(piece, drop)
    })
    .await?;
    let is_behind = comparison.is_some_and(|comparison| comparison.is_behind());
    Ok(ConsulJournal { release: folding.finish(), bytes, is_behind })
}

/// Refuses a journal of another release than its path says: the id becomes a part of paths and commands.
fn of(id: &str, release: Release) -> Result<Release> {
    let told = release.started.as_ref().map_or(id, |started| started.inputs.release());
    ensure!(told == id, "the journal of {id} belongs to another release, {}", text::line(told, 40));
    Ok(release)
}

#[cfg(test)]
mod tests;
