//! Finds and reads journals of releases on this machine and in Consul. For a release with both, it selects
//! the valid one.

mod beginnings;
mod comparison;
mod recent;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, timeout, timeout_at};

pub use beginnings::{Beginnings, beginnings};
use comparison::Comparison;
pub use recent::{Recent, Unread, each, recent};

use super::disk::{self, Folding};
use super::pieces;
use super::replica::{self, ReplicaId};
use crate::consul::Client;
use crate::release::{CommandKind, NodeState, Outcome, Release, RotationState};
use crate::text;
use crate::world::World;

/// Time limit to read several journals together.
pub const TIME: Duration = Duration::from_secs(5);

/// Time limit to read the one journal that a command continues.
pub const TIME_FOR_ONE: Duration = Duration::from_secs(60);

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

/// Every known release, the newest first.
async fn newest<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    (deadline, time): (Instant, Duration),
    unlisted: &mut Option<String>,
) -> Vec<(String, Places)> {
    let places = match timeout_at(deadline, places(state, client, service)).await {
        Ok(Ok(places)) => places,
        Ok(Err(error)) => {
            *unlisted = Some(format!("{error:#}"));
            local(state)
        }
        Err(_) => {
            *unlisted = Some(format!("journals in Consul: {}", late(time)));
            local(state)
        }
    };
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    places
}

fn late(time: Duration) -> String {
    format!("not read within {}", text::duration(time))
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
