//! Journals of releases, on this machine and in Consul: the fuller one of a release counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::copy::{self, Kept};
use super::journal;
use super::release::Release;
use crate::consul::Client;
use crate::event::Event;
use crate::world::World;

/// A release as its journal tells it.
#[derive(Debug)]
pub struct Past {
    /// Its id.
    pub id: String,
    /// Its events.
    pub events: Vec<Event>,
    /// Their fold.
    pub release: Release,
    /// The journal's bytes.
    pub bytes: Vec<u8>,
    /// Where it is on this machine, if it is.
    pub path: Option<PathBuf>,
}

/// Where a release's journal is.
#[derive(Debug, Clone, Default)]
struct Places {
    begun: String,
    path: Option<PathBuf>,
    kept: Option<Kept>,
}

/// Finds a release by its id or an unambiguous start of it; without one, the release that was begun last.
///
/// # Errors
///
/// When there is none or there are several, or its journal cannot be read.
pub async fn find<W: World>(
    state: &Path,
    client: &Client<W>,
    service: &str,
    id: Option<&str>,
) -> Result<Past> {
    let places = places(state, client, service).await?;
    let wanted: Vec<_> =
        places.iter().filter(|(name, _)| id.is_none_or(|id| name.starts_with(id))).collect();
    let newest = wanted.iter().max_by(|one, other| one.1.begun.cmp(&other.1.begun));
    match (id, wanted.as_slice(), newest) {
        (_, [], _) | (_, _, None) => {
            let place = state.display();
            match id {
                Some(id) => {
                    bail!("no release `{id}` of {service} is known in {place} or in Consul")
                }
                None => bail!("no release of {service} is known in {place} or in Consul"),
            }
        }
        (Some(id), [_, _, ..], _) => {
            let names: Vec<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
            bail!("`{id}` may be {}", names.join(", "))
        }
        (_, _, Some((name, places))) => read(client, service, name, places).await,
    }
}

/// Reads the releases that were begun last, at most so many, the newest first, and what cannot be read.
pub async fn recent<W: World>(
    state: &Path,
    client: &Client<W>,
    service: &str,
    most: usize,
) -> (Vec<Past>, Vec<String>) {
    let mut problems = Vec::new();
    let places = match places(state, client, service).await {
        Ok(places) => places,
        Err(error) => {
            problems.push(format!("{error:#}"));
            local(state)
        }
    };
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    let mut found = Vec::new();
    for (name, places) in places.into_iter().take(most) {
        match read(client, service, &name, &places).await {
            Ok(past) => found.push(past),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    (found, problems)
}

fn local(state: &Path) -> BTreeMap<String, Places> {
    let found = journal::all(state).into_iter().map(|(begun, id, path)| {
        let begun = copy::begun(begun);
        (id, Places { begun, path: Some(path), kept: None })
    });
    found.collect()
}

async fn places<W: World>(
    state: &Path,
    client: &Client<W>,
    service: &str,
) -> Result<BTreeMap<String, Places>> {
    let mut places = local(state);
    for kept in copy::list(client, service).await? {
        let place = places.entry(kept.release.clone()).or_default();
        place.begun.clone_from(&kept.begun);
        place.kept = Some(kept);
    }
    Ok(places)
}

async fn read<W: World>(
    client: &Client<W>,
    service: &str,
    id: &str,
    places: &Places,
) -> Result<Past> {
    let here = places.path.as_ref().map(|path| {
        let bytes = fs::read(path)
            .with_context(|| format!("cannot read the journal {}", path.display()))?;
        let (events, release) = journal::parse(&bytes, &path.display().to_string())?;
        anyhow::Ok((bytes, events, release))
    });
    // A finished journal is whole; only one that broke off may go on elsewhere.
    let whole = matches!(&here, Some(Ok((_, _, release))) if release.finished.is_some());
    let there = match &places.kept {
        Some(kept) if !whole => Some(
            async {
                let bytes = copy::read(client, service, kept).await?;
                let (events, release) =
                    journal::parse(&bytes, &format!("Consul's journal of {id}"))?;
                anyhow::Ok((bytes, events, release))
            }
            .await,
        ),
        _ => None,
    };
    let (bytes, events, release) = match (here, there) {
        (Some(Ok(here)), Some(Ok(there))) => {
            if there.2.seq > here.2.seq {
                there
            } else {
                here
            }
        }
        (Some(Ok(one)), _) | (_, Some(Ok(one))) => one,
        (Some(Err(error)), _) | (None, Some(Err(error))) => return Err(error),
        (None, None) => bail!("release {id} has no journal"),
    };
    Ok(Past { id: id.to_owned(), events, release, bytes, path: places.path.clone() })
}
