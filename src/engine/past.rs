//! Journals of releases, on this machine and in Consul: of a release that is in both, the one that is true counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::copy::{self, Kept};
use super::journal;
use super::release::{NodeState, Release, Standing};
use crate::consul::Client;
use crate::event::{Event, Fact, Outcome, Started};
use crate::world::World;

/// A release as its journal tells it.
#[derive(Debug)]
pub struct Past {
    /// Its id.
    pub id: String,
    /// The fold of its events.
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

/// Finds a release by its id or an unambiguous start of it; without one, the last one whose command is `wanted`.
///
/// # Errors
///
/// When there is none or there are several, or its journal cannot be read.
pub async fn find<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    id: Option<&str>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Past> {
    let mut places: Vec<_> = places(state, client, service).await?.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    let place = state.display();
    let Some(id) = id else {
        for (name, places) in &places {
            let past = read(client, service, name, places).await?;
            if past.release.started.as_ref().is_some_and(|started| wanted(&started.command)) {
                return Ok(past);
            }
        }
        bail!("no release of {service} is known in {place}{}", or_in_consul(client));
    };
    let named: Vec<_> = places.iter().filter(|(name, _)| name.starts_with(id)).collect();
    match named.as_slice() {
        [] => bail!("no release `{id}` of {service} is known in {place}{}", or_in_consul(client)),
        [(name, places)] => read(client, service, name, places).await,
        several => {
            let several: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            bail!("`{id}` may be {}", several.join(", "))
        }
    }
}

/// Returns the release that was begun last of those that were begun after `past`, whose command is `wanted`, and which did
/// something to a node; with the names of these nodes.
///
/// # Errors
///
/// When the journal of one that was begun later cannot be read.
pub async fn later<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    past: &Past,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<(Past, Vec<String>)>> {
    let places = places(state, client, service).await?;
    let begun = places.get(&past.id).map(|place| place.begun.clone()).unwrap_or_default();
    let mut later: Vec<_> = places.into_iter().filter(|(_, place)| place.begun > begun).collect();
    later.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    for (id, places) in later {
        let found = read(client, service, &id, &places).await?;
        let untouched =
            |node: &NodeState| node.standing() == Standing::Untouched && !node.is_stopped();
        let nodes = found.release.in_order().filter(|(_, node)| !untouched(node));
        let nodes: Vec<_> = nodes.map(|(name, _)| name.to_owned()).collect();
        let command = found.release.started.as_ref().map(|started| started.command.as_str());
        if command.is_some_and(&wanted) && !nodes.is_empty() {
            return Ok(Some((found, nodes)));
        }
    }
    Ok(None)
}

/// Reads the releases that were begun last, at most so many, the newest first, and what cannot be read; the trouble
/// with Consul's own list is told apart.
pub async fn recent<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    most: usize,
) -> (Vec<Release>, Vec<String>, Option<String>) {
    let mut problems = Vec::new();
    let (places, unlisted) = match places(state, client, service).await {
        Ok(places) => (places, None),
        Err(error) => (local(state), Some(format!("{error:#}"))),
    };
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    let mut found = Vec::new();
    for (name, places) in places.into_iter().take(most) {
        match read(client, service, &name, &places).await {
            Ok(past) => found.push(past.release),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    (found, problems, unlisted)
}

/// Reads how the last releases began, at most so many, the newest first; what cannot be read tells nothing.
pub async fn beginnings<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
    most: usize,
) -> Vec<Started> {
    let places = places(state, client, service).await.unwrap_or_else(|_| local(state));
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by(|one, other| other.1.begun.cmp(&one.1.begun));
    let mut found = Vec::new();
    for (_, place) in places.into_iter().take(most) {
        let first = match (&place.path, &place.kept) {
            (Some(path), _) => journal::first(path),
            (None, Some(kept)) => kept_bytes(client, service, kept).await.ok().and_then(|bytes| {
                let end = bytes.iter().position(|byte| *byte == b'\n')?;
                Event::from_line(std::str::from_utf8(&bytes[..end]).ok()?).ok()
            }),
            (None, None) => None,
        };
        if let Some(Event { fact: Fact::ReleaseStarted(started), .. }) = first {
            found.push(*started);
        }
    }
    found
}

fn local(state: &Path) -> BTreeMap<String, Places> {
    let found = journal::all(state).into_iter().map(|(begun, id, path)| {
        let begun = copy::begun(begun);
        (id, Places { begun, path: Some(path), kept: None })
    });
    found.collect()
}

fn or_in_consul<W>(client: Option<&Client<W>>) -> &'static str {
    if client.is_some() { " or in Consul" } else { "" }
}

async fn kept_bytes<W: World>(
    client: Option<&Client<W>>,
    service: &str,
    kept: &Kept,
) -> Result<Vec<u8>> {
    let client = client.context("the playbook names no Consul")?;
    copy::read(client, service, kept).await
}

async fn places<W: World>(
    state: &Path,
    client: Option<&Client<W>>,
    service: &str,
) -> Result<BTreeMap<String, Places>> {
    let mut places = local(state);
    let kept = match client {
        Some(client) => copy::list(client, service).await?,
        None => Vec::new(),
    };
    for kept in kept {
        let place = places.entry(kept.release.clone()).or_default();
        place.begun.clone_from(&kept.begun);
        place.kept = Some(kept);
    }
    Ok(places)
}

async fn read<W: World>(
    client: Option<&Client<W>>,
    service: &str,
    id: &str,
    places: &Places,
) -> Result<Past> {
    let here = places.path.as_ref().map(|path| {
        let bytes = fs::read(path)
            .with_context(|| format!("cannot read the journal {}", path.display()))?;
        let release = journal::fold(&bytes, &path.display().to_string())?;
        anyhow::Ok((bytes, release))
    });
    // The journal of a release that is done is whole; any other may have gone on elsewhere.
    let done = |release: &Release| {
        release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done)
    };
    let whole = matches!(&here, Some(Ok((_, release))) if done(release));
    let there = match &places.kept {
        Some(kept) if !whole => Some(
            async {
                let bytes = kept_bytes(client, service, kept).await?;
                let release = journal::fold(&bytes, &format!("Consul's journal of {id}"))?;
                anyhow::Ok((bytes, release))
            }
            .await,
        ),
        _ => None,
    };
    let (bytes, release) = match (here, there) {
        (Some(Ok(here)), Some(Ok(there))) => {
            if goes_on(&here.0, &there.0) {
                here
            } else {
                there
            }
        }
        (Some(Ok(one)), _) | (_, Some(Ok(one))) => one,
        (Some(Err(error)), _) | (None, Some(Err(error))) => return Err(error),
        (None, None) => bail!("release {id} has no journal"),
    };
    Ok(Past { id: id.to_owned(), release, bytes, path: places.path.clone() })
}

/// Returns whether the journal of this machine has all of Consul's, and perhaps more: the copy may be behind.
///
/// Otherwise somebody went on elsewhere, and Consul took only what the lock's holder wrote: whatever was written down
/// here since leads nowhere.
fn goes_on(here: &[u8], there: &[u8]) -> bool {
    let end = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    here.starts_with(&there[..end])
}

#[cfg(test)]
mod tests {
    use super::goes_on;

    #[test]
    fn the_copy_may_be_behind_but_what_goes_on_elsewhere_counts() {
        for (here, there, expected) in [
            ("1\n2\n", "1\n2\n", true),
            ("1\n2\n3\n", "1\n2\n", true),
            ("1\n2\n3\n", "1\n2\nto", true),
            ("1\n2\n", "1\n2\n3\n", false),
            ("1\n2\nto", "1\n2\n3\n", false),
            // Who has lost the lock wrote more than whoever took it has so far.
            ("1\n2\n3\n4\n5\n", "1\n2\nresumed\n", false),
        ] {
            assert_eq!(goes_on(here.as_bytes(), there.as_bytes()), expected, "{here:?}, {there:?}");
        }
    }
}
