//! The journal's replica in Consul, from which another machine can continue.
//!
//! It has the same bytes as the local file, in pieces: `rollgate/<service>/journal/<time>-<release>/p000001`.
//! The pieces are small because the last one is rewritten with every event. After the end of the release they
//! are replaced by a few compressed ones (`z000001`). Every write checks that the lock is still held and that
//! no other write was done since the previous one: a write whose answer was lost may take effect late.

mod id;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use crate::consul::{Client, Entry, Error, KvWrite, Write, shared_prefix};
use crate::lock::Fence;
use crate::world::World;

pub use id::{ReplicaId, begins, list, read, stream};

/// The size of a growing piece.
const PIECE: usize = 8 * 1024;

/// The size of a compressed piece: encoded, it stays below the 512 KiB limit of a transaction.
const COMPRESSED_PIECE: usize = 256 * 1024;

/// How many pieces one transaction writes.
const PIECES_AT_ONCE: usize = 32;

/// Time limit of one write; the release then continues without the replica.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pause after another write came first: the new index must be read.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// Pause before the next try when the replica is behind.
const PAUSE: Duration = Duration::from_secs(5);

/// A replica that is being written.
#[derive(Debug)]
pub struct JournalReplica<W> {
    client: Client<W>,
    fence: Fence,
    service: String,
    folder: String,
    /// The bytes from the first changeable piece on.
    tail: Vec<u8>,
    /// The number of that piece.
    first: usize,
    /// Its index in Consul, 0 while it does not exist; `None` when the index must be read.
    index: Option<u64>,
    /// Since when Consul accepts no write.
    behind: Option<Instant>,
}

/// A time as text that sorts.
pub(super) fn begun(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn folder(service: &str) -> String {
    format!("{}journal/", shared_prefix(service))
}

impl<W: World> JournalReplica<W> {
    /// A replica that already contains `so_far`; it is written with the first append.
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
            client: client.with_patience(PATIENCE),
            fence: fence.clone(),
            service: service.to_owned(),
            folder: format!("{}{begun}-{release}/", folder(service)),
            tail: so_far,
            first: 1,
            index,
            behind: None,
        }
    }

    /// Appends lines and returns when Consul has them. A replica that is behind is retried only at intervals,
    /// so an unreachable Consul does not delay the release. After `hurry` the write is not awaited either. Returns
    /// whether a replica that was behind is complete again.
    ///
    /// # Errors
    ///
    /// Why Consul has not accepted the lines, reported once; the next append tries again.
    pub async fn append(
        &mut self,
        lines: &[u8],
        hurry: impl Future<Output = ()>,
    ) -> Result<bool, Error> {
        self.tail.extend_from_slice(lines);
        if self.behind.is_some_and(|behind| behind.elapsed() < PAUSE) {
            return Ok(false);
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
            Ok(Ok(is_complete)) => {
                self.behind = None;
                Ok(was_behind && is_complete)
            }
            Ok(Err(error)) => {
                self.behind = Some(Instant::now());
                if was_behind { Ok(false) } else { Err(error) }
            }
            Err(()) => {
                self.behind = Some(Instant::now());
                let problem = "no answer in time".to_owned();
                if was_behind { Ok(false) } else { Err(Error::Unreachable(problem)) }
            }
        }
    }

    /// Writes what is missing. Returns whether Consul has everything.
    async fn write(&mut self) -> Result<bool, Error> {
        loop {
            let pieces: Vec<_> = self
                .tail
                .chunks(PIECE)
                .take(PIECES_AT_ONCE)
                .enumerate()
                .map(|(index, piece)| (format!("{}p{:06}", self.folder, self.first + index), piece))
                .collect();
            let Some(((key, value), others)) = pieces.split_first() else { return Ok(true) };
            // The index is unknown until this write is answered.
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
                // The lock's own monitor stops the release, so no error is needed here.
                KvWrite::NotHeld => return Ok(false),
            };
            let all = pieces.len() * PIECE >= self.tail.len();
            let full = pieces.iter().filter(|(_, piece)| piece.len() == PIECE).count();
            let grows = full < pieces.len();
            self.first += full;
            self.tail.drain(..full * PIECE);
            self.index = Some(if grows { index } else { 0 });
            if all {
                return Ok(true);
            }
        }
    }

    /// Replaces the pieces of the finished journal by compressed ones, and deletes the oldest releases.
    ///
    /// # Errors
    ///
    /// When Consul is unreachable or refuses; the existing pieces stay readable.
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
        for old in kept.iter().rev().skip(super::KEPT) {
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

#[cfg(test)]
mod tests;
