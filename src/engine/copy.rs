//! The journal's copy in Consul, from which another machine can go on.
//!
//! The same bytes as the local file, in pieces: `rollgate/<service>/journal/<time>-<release>/p000001`. Small ones,
//! because the last piece is written anew with every event. When the release has ended they become few compressed
//! ones (`z000001`). Every write checks that the lock is still held, and that no other was done since the one before: one
//! whose answer was lost may be done late.

use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use crate::consul::{Client, Entry, Error, KvWrite, Write};
use crate::lock::{Fence, shared_prefix};
use crate::world::World;

/// The size of a piece that still grows.
const PIECE: usize = 8 * 1024;

/// The size of a compressed piece: with its encoding it stays below the 512 KiB that a transaction may have.
const COMPRESSED_PIECE: usize = 256 * 1024;

/// How many pieces are written in one transaction.
const PIECES_AT_ONCE: usize = 32;

/// Pieces that grow are asked for by the thousand, which is what fits into one reply: by their numbers without so many
/// digits.
const DIGITS_AT_ONCE: usize = 3;

/// A journal that is larger is not one of ours: ten thousand nodes need half of it.
const LARGEST: u64 = 128 * 1024 * 1024;

/// How long one write may take; the release goes on without the copy then.
const PATIENCE: Duration = Duration::from_secs(2);

/// After another write came first: its index has to be asked for.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// Before a copy that is behind is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// How many releases of a service are kept.
const RELEASES: usize = 20;

/// A copy that is being written.
#[derive(Debug)]
pub struct Copy<W> {
    client: Client<W>,
    fence: Fence,
    service: String,
    folder: String,
    /// The bytes from the first piece on that may still change.
    tail: Vec<u8>,
    /// The number of that piece.
    first: usize,
    /// Its index in Consul, 0 while it is not there; nothing when that has to be asked.
    index: Option<u64>,
    /// Since when Consul has not taken a write.
    behind: Option<Instant>,
}

/// A release of which Consul has a copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// When it was begun, as text that sorts.
    pub begun: String,
    /// Its id.
    pub release: String,
}

/// A time as text that sorts.
pub(super) fn begun(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn folder(service: &str) -> String {
    format!("{}journal/", shared_prefix(service))
}

impl<W: World> Copy<W> {
    /// A copy of a release's journal that has `so_far` in it already; written with the first append.
    #[must_use]
    pub fn new(
        client: &Client<W>,
        fence: &Fence,
        service: &str,
        release: &str,
        begun: jiff::Timestamp,
        so_far: Vec<u8>,
    ) -> Self {
        let begun = self::begun(begun);
        let index = so_far.is_empty().then_some(0);
        Self {
            client: client.hurried(PATIENCE),
            fence: fence.clone(),
            service: service.to_owned(),
            folder: format!("{}{begun}-{release}/", folder(service)),
            tail: so_far,
            first: 1,
            index,
            behind: None,
        }
    }

    /// Appends lines and returns when Consul has them. A copy that is behind is caught up now and then only, so that a
    /// Consul that cannot be reached holds nobody up; nor is it waited for once `hurry` is over.
    ///
    /// # Errors
    ///
    /// Why Consul has not taken them; the next append tries again. Told once.
    pub async fn append(
        &mut self,
        lines: &[u8],
        hurry: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        self.tail.extend_from_slice(lines);
        if self.behind.is_some_and(|behind| behind.elapsed() < PAUSE) {
            return Ok(());
        }
        let was_behind = self.behind.is_some();
        let written = async {
            tokio::select! {
                biased;
                written = self.write() => Ok(written),
                () = hurry => Err(()),
                () = tokio::time::sleep(PATIENCE) => Err(()),
            }
        };
        match written.await {
            Ok(Ok(())) => {
                self.behind = None;
                Ok(())
            }
            Ok(Err(error)) => {
                self.behind = Some(Instant::now());
                if was_behind { Ok(()) } else { Err(error) }
            }
            Err(()) => {
                self.behind = Some(Instant::now());
                let problem = "no answer in time".to_owned();
                if was_behind { Ok(()) } else { Err(Error::Unreachable(problem)) }
            }
        }
    }

    async fn write(&mut self) -> Result<(), Error> {
        loop {
            let pieces: Vec<_> = self
                .tail
                .chunks(PIECE)
                .take(PIECES_AT_ONCE)
                .enumerate()
                .map(|(index, piece)| (format!("{}p{:06}", self.folder, self.first + index), piece))
                .collect();
            let Some(((key, value), others)) = pieces.split_first() else { return Ok(()) };
            // Nobody knows it again before this write is answered.
            let modify_index = match self.index.take() {
                Some(index) => index,
                None => self.client.kv_get(key).await?.map_or(0, |entry| entry.modify_index),
            };
            let key = key.clone();
            let entry = Entry { key, value: Vec::new(), flags: 0, modify_index, session: None };
            let mut writes = vec![Write::CompareAndSet { entry: &entry, value }];
            writes.extend(others.iter().map(|(key, value)| Write::Set { key, value }));
            let index = match self.client.transact(Some(&self.fence.now()), &writes).await? {
                KvWrite::Done(index) => index,
                KvWrite::Conflict => {
                    tokio::time::sleep(CONFLICT_PAUSE).await;
                    continue;
                }
                // The lock's own watch stops the release; nothing is to be added here.
                KvWrite::NotHeld => return Ok(()),
            };
            let all = pieces.len() * PIECE >= self.tail.len();
            let full = pieces.iter().filter(|(_, piece)| piece.len() == PIECE).count();
            let grows = full < pieces.len();
            self.first += full;
            self.tail.drain(..full * PIECE);
            self.index = Some(if grows { index } else { 0 });
            if all {
                return Ok(());
            }
        }
    }

    /// Puts the finished journal in the place of its pieces, compressed, and deletes the oldest releases.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked, or refuses; what is there stays readable.
    pub async fn close(&mut self, whole: &[u8]) -> Result<()> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(whole)?;
        let compressed = encoder.finish()?;
        for (index, value) in compressed.chunks(COMPRESSED_PIECE).enumerate() {
            let key = format!("{}z{:06}", self.folder, index + 1);
            self.client
                .transact(Some(&self.fence.now()), &[Write::Set { key: &key, value }])
                .await?;
        }
        let pieces = format!("{}p", self.folder);
        let mut gone = vec![pieces];
        let kept = list(&self.client, &self.service).await?;
        for old in kept.iter().rev().skip(RELEASES) {
            gone.push(format!("{}{}-{}/", folder(&self.service), old.begun, old.release));
        }
        for prefixes in gone.chunks(PIECES_AT_ONCE) {
            let writes: Vec<_> =
                prefixes.iter().map(|prefix| Write::DeleteTree { prefix }).collect();
            self.client.transact(Some(&self.fence.now()), &writes).await?;
        }
        Ok(())
    }
}

/// Lists the releases of a service of which Consul has a copy, the oldest first.
///
/// # Errors
///
/// When Consul cannot be asked.
pub async fn list<W: World>(client: &Client<W>, service: &str) -> Result<Vec<Kept>, Error> {
    let folder = folder(service);
    let keys = client.kv_keys(&folder).await?;
    let names = keys.iter().filter_map(|key| key.strip_prefix(&folder)?.split('/').next());
    let mut kept: Vec<_> = names
        .filter_map(|name| {
            let (begun, release) = name.split_once('-')?;
            // It names a folder on this machine, too.
            let plain = |text: &str| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            (plain(begun) && plain(release))
                .then(|| Kept { begun: begun.to_owned(), release: release.to_owned() })
        })
        .collect();
    kept.sort();
    kept.dedup();
    Ok(kept)
}

/// Reads the bytes of a release's journal.
///
/// # Errors
///
/// When Consul cannot be asked, or what it has is no journal.
pub async fn read<W: World>(client: &Client<W>, service: &str, kept: &Kept) -> Result<Vec<u8>> {
    let folder = format!("{}{}-{}/", folder(service), kept.begun, kept.release);
    let keys = client.kv_keys(&folder).await?;
    let parts: BTreeSet<_> = keys.iter().filter_map(|key| part(&folder, key)).collect();
    let (mut entries, mut size) = (Vec::new(), 0);
    for part in parts {
        let more = client.kv_list(part).await?;
        size += more.iter().map(|entry| entry.value.len() as u64).sum::<u64>();
        ensure!(size <= LARGEST, "the journal {folder} in Consul is larger than any journal");
        entries.extend(more);
    }
    joined(&folder, entries, LARGEST).with_context(|| format!("the journal {folder} in Consul"))
}

/// What a piece is asked for by, together with others where they are small. Other keys are none of ours.
fn part<'a>(folder: &str, key: &'a str) -> Option<&'a str> {
    let name = key.strip_prefix(folder)?;
    let digits = name.strip_prefix(['p', 'z']).filter(|digits| digits.len() > DIGITS_AT_ONCE)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    let together = if name.starts_with('p') { DIGITS_AT_ONCE } else { 0 };
    Some(&key[..key.len() - together])
}

/// Puts pieces together: those that grow, as long as there are any, or else the compressed ones.
fn joined(folder: &str, mut entries: Vec<Entry>, largest: u64) -> Result<Vec<u8>> {
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    let part = |letter: char| {
        let names = entries.iter().filter(move |entry| {
            entry.key.strip_prefix(folder).is_some_and(|name| name.starts_with(letter))
        });
        names.map(|entry| entry.value.as_slice()).collect::<Vec<_>>().concat()
    };
    let plain = part('p');
    if !plain.is_empty() {
        return Ok(plain);
    }
    let mut bytes = Vec::new();
    GzDecoder::new(part('z').as_slice()).take(largest + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= largest, "larger than any journal");
    Ok(bytes)
}

#[cfg(test)]
mod tests;
