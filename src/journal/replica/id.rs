//! Lists journals in Consul and reads them piece by piece.

use std::collections::BTreeSet;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use tokio::task::yield_now;

use super::folder;
use crate::consul::Client;
use crate::journal::disk::{LONGEST_LINE, first_of};
use crate::release::Event;
use crate::world::World;

/// Growing pieces are requested by the thousand, which fits into one reply: the request leaves out this many
/// digits of their number.
const DIGITS_AT_ONCE: usize = 3;

/// The limit of a journal: ten thousand nodes need all of it.
const LARGEST: usize = 64 * 1024 * 1024;

/// The limit of its compressed form.
const LARGEST_PACKED: usize = 16 * 1024 * 1024;

/// How many bytes are unpacked at once.
const BUFFER: usize = 64 * 1024;

/// A release that has a replica in Consul.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaId {
    /// When it began, as text that sorts.
    pub begun: String,
    /// Its id.
    pub release: String,
}

impl ReplicaId {
    fn folder(&self, service: &str) -> String {
        format!("{}{}-{}/", folder(service), self.begun, self.release)
    }
}

/// Lists the releases of a service that have a replica in Consul, the oldest first.
///
/// # Errors
///
/// When Consul cannot be queried.
pub async fn list<W: World>(
    client: &Client<W>,
    service: &str,
) -> Result<Vec<ReplicaId>, crate::consul::Error> {
    let folder = folder(service);
    let keys = client.kv_keys(&folder).await?;
    let names = keys.iter().filter_map(|key| key.strip_prefix(&folder)?.split('/').next());
    let mut kept: Vec<_> = names
        .filter_map(|name| {
            let (begun, release) = name.split_once('-')?;
            // The text becomes the name of a local folder too.
            let plain = |text: &str| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            (plain(begun) && plain(release))
                .then(|| ReplicaId { begun: begun.to_owned(), release: release.to_owned() })
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
/// As [`stream`].
pub async fn read<W: World>(
    client: &Client<W>,
    service: &str,
    kept: &ReplicaId,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream(client, service, kept, |piece| {
        bytes.reserve_exact(piece.len());
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    Ok(bytes)
}

/// Passes on a release's journal piece by piece, in order.
///
/// # Errors
///
/// When Consul cannot be queried, the content is not a journal, or `take` stops.
pub async fn stream<W: World>(
    client: &Client<W>,
    service: &str,
    kept: &ReplicaId,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let folder = kept.folder(service);
    let place = || format!("the journal {folder} in Consul");
    let keys = client.kv_keys(&folder).await?;
    let parts: BTreeSet<_> = keys.iter().filter_map(|key| part(&folder, key)).collect();
    let growing = format!("{folder}p");
    let (plain, packed): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| part.starts_with(&growing));
    let mut size = 0;
    for part in plain {
        let mut pieces = client.kv_list(part).await?;
        pieces.sort_by(|one, other| one.key.cmp(&other.key));
        for piece in pieces {
            size += piece.value.len();
            ensure!(size <= LARGEST, "{} is too large for a journal", place());
            take(&piece.value)?;
            // Lets signals and time limits act in between.
            yield_now().await;
        }
    }
    // Growing pieces stay until all compressed ones are written, and count as long as there are any.
    if size > 0 {
        return Ok(());
    }
    let mut compressed = Vec::new();
    for part in packed {
        for piece in client.kv_list(part).await? {
            compressed.extend_from_slice(&piece.value);
            ensure!(compressed.len() <= LARGEST_PACKED, "{} is too large for a journal", place());
        }
    }
    unpack(&compressed, LARGEST, take).await.with_context(place)
}

/// Passes on the unpacked content up to the limit of a journal.
async fn unpack(
    compressed: &[u8],
    largest: usize,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut decoder = GzDecoder::new(compressed);
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let count = decoder.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        size += count;
        ensure!(size <= largest, "too large for a journal");
        take(&buffer[..count])?;
        yield_now().await;
    }
}

/// Reads the start event, and no more of the journal than needed.
///
/// # Errors
///
/// When Consul cannot be queried, or the content is not a journal.
pub async fn begins<W: World>(
    client: &Client<W>,
    service: &str,
    kept: &ReplicaId,
) -> Result<Option<Event>> {
    let folder = kept.folder(service);
    let mut start = Vec::new();
    // The first nine pieces are enough except for large playbooks.
    for growing in [format!("{folder}p00000"), format!("{folder}p000")] {
        let mut pieces = client.kv_list(&growing).await?;
        pieces.sort_by(|one, other| one.key.cmp(&other.key));
        start = pieces.into_iter().flat_map(|piece| piece.value).collect();
        if start.contains(&b'\n') || start.is_empty() {
            break;
        }
    }
    if !start.is_empty() {
        return Ok(first_of(&start));
    }
    let Some(packed) = client.kv_get(&format!("{folder}z000001")).await? else { return Ok(None) };
    let longest = usize::try_from(LONGEST_LINE).unwrap_or(usize::MAX);
    let unpacking = unpack(&packed.value, longest, |piece| {
        start.extend_from_slice(piece);
        ensure!(!piece.contains(&b'\n'), "that is all that is needed");
        Ok(())
    });
    // The rest may be in the next piece, or is not needed.
    let _ = unpacking.await;
    Ok(first_of(&start))
}

/// The request that returns a piece, shared by several small pieces. Other keys are ignored.
fn part<'a>(folder: &str, key: &'a str) -> Option<&'a str> {
    let name = key.strip_prefix(folder)?;
    let digits = name.strip_prefix(['p', 'z']).filter(|digits| digits.len() > DIGITS_AT_ONCE)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    let together = if name.starts_with('p') { DIGITS_AT_ONCE } else { 0 };
    Some(&key[..key.len() - together])
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }

    #[tokio::test]
    async fn compressed_journal_over_the_limit_is_an_error() {
        let bomb = gzipped(&vec![0; 1 << 20]);
        assert!(bomb.len() < 1 << 14);
        let unpacked = async |largest| {
            let mut most = 0;
            let unpacking = unpack(&bomb, largest, |piece| {
                most = most.max(piece.len());
                Ok(())
            });
            let unpacked = unpacking.await;
            assert!(most <= BUFFER, "{most}");
            unpacked
        };
        unpacked(1 << 20).await.expect("fits");
        let error = unpacked((1 << 20) - 1).await.expect_err("too large");
        assert!(error.to_string().contains("too large for a journal"), "{error}");
        assert!(unpack(b"garbage", LARGEST, |_| Ok(())).await.is_err());
        assert!(unpack(&gzipped(b"text")[..12], LARGEST, |_| Ok(())).await.is_err(), "torn");
    }
}
