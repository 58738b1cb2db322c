//! How the last releases began.

use std::path::Path;

use tokio::time::{Instant, timeout_at};

use super::{TIME, late, newest};
use crate::consul::Client;
use crate::journal::{disk, replica};
use crate::release::{Event, EventKind, Started};
use crate::text;
use crate::world::World;

/// The limit of the variables of a later release that is compared, in bytes.
const LARGEST_INPUTS: usize = 256 * 1024;

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
    let places = newest(state, client, service, (deadline, TIME), &mut found.missing).await;
    for (name, place) in places.into_iter().take(most) {
        let first = match (&place.path, &place.kept, client) {
            (Some(path), _, _) => disk::first(path),
            (None, Some(kept), Some(client)) => {
                let beginning = timeout_at(deadline, replica::begins(client, service, kept));
                let Ok(first) = beginning.await else {
                    found.missing = Some(format!("journals in Consul: {}", late(TIME)));
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
