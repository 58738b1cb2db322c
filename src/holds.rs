//! The holds of a service's nodes: one key in Consul beside the lock, or a file in the state folder.
//!
//! Every change needs the lock. In Consul it is a compare-and-set under the session of the lock, as every other
//! write. Without Consul the holds are those of this machine.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::consul::{Client, Entry, Error, KvWrite, Write, shared_prefix};
use crate::lock::{Lock, NotHeld};
use crate::release::Hold;
use crate::world::World;
use crate::{file, json};

/// The name of the key in Consul, and of the file.
const NAME: &str = "holds";

/// The largest file, as Consul's limit for a value.
const LARGEST: u64 = 512 * 1024;

/// The pause before the next attempt after another writer was faster, or Consul did not do it.
const PAUSE: Duration = Duration::from_millis(200);

/// Which nodes are held, by name.
pub type Held = BTreeMap<String, Hold>;

/// Where the holds of a service are.
#[derive(Debug)]
pub struct Holds<W>(Place<W>);

#[derive(Debug)]
enum Place<W> {
    Consul { client: Box<Client<W>>, key: String },
    File(PathBuf),
}

/// Why a hold was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged {
    /// The lock is lost.
    #[error("lock lost")]
    LockLost,
    /// The holds cannot be read or written.
    #[error("{0}")]
    Failed(String),
}

impl<W: World> Holds<W> {
    /// The holds in Consul, if operators share one, or else in the state folder of the service. Consul may take
    /// `patience` for each request.
    #[must_use]
    pub fn new(
        consul: Option<&Client<W>>,
        service: &str,
        state: &Path,
        patience: Duration,
    ) -> Self {
        Self(match consul {
            Some(consul) => Place::Consul {
                client: Box::new(consul.with_patience(patience)),
                key: format!("{}{NAME}", shared_prefix(service)),
            },
            None => Place::File(state.join(format!("{NAME}.json"))),
        })
    }

    /// Reads every hold.
    ///
    /// # Errors
    ///
    /// If they cannot be read: then it is unknown which nodes are held.
    pub async fn read(&self) -> Result<Held, String> {
        match &self.0 {
            Place::Consul { client, key } => {
                let entry = client.kv_get(key).await.map_err(|error| unread(key, &error))?;
                entry.map_or(Ok(Held::new()), |entry| parsed(key, &entry.value))
            }
            Place::File(path) => of_file(path),
        }
    }

    /// Records the hold of a node, or ends it, with retries until a deadline.
    ///
    /// It always writes: a write that Consul has not answered yet cannot take effect after this one.
    ///
    /// # Errors
    ///
    /// If the lock is lost, or the holds cannot be read or written until then.
    pub async fn set(
        &self,
        lock: &Lock<W>,
        node: &str,
        hold: Option<&Hold>,
        until: Instant,
    ) -> Result<(), NotChanged> {
        loop {
            let problem = match self.try_to_set(lock, node, hold).await {
                Ok(true) => return Ok(()),
                Ok(false) => "another program changes the holds at the same time".to_owned(),
                Err(NotChanged::LockLost) => return Err(NotChanged::LockLost),
                Err(NotChanged::Failed(problem)) => problem,
            };
            if Instant::now() + PAUSE >= until {
                return Err(NotChanged::Failed(problem));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes one attempt. Returns whether it was done.
    async fn try_to_set(
        &self,
        lock: &Lock<W>,
        node: &str,
        hold: Option<&Hold>,
    ) -> Result<bool, NotChanged> {
        let change = |mut all: Held| {
            match hold {
                Some(hold) => all.insert(node.to_owned(), hold.clone()),
                None => all.remove(node),
            };
            serde_json::to_vec(&all).map_err(|error| NotChanged::Failed(error.to_string()))
        };
        let (client, key) = match &self.0 {
            Place::Consul { client, key } => (client, key),
            Place::File(path) => {
                lock.verify().await.map_err(|error| not_held(&error))?;
                let all = of_file(path).map_err(NotChanged::Failed)?;
                write(path, &change(all)?).map_err(|error| {
                    NotChanged::Failed(format!("cannot write {}: {error}", path.display()))
                })?;
                return Ok(true);
            }
        };
        let failed = |error: Error| NotChanged::Failed(unread(key, &error));
        let entry = client.kv_get(key).await.map_err(failed)?;
        let entry = entry.unwrap_or_else(|| Entry {
            key: key.clone(),
            value: b"{}".to_vec(),
            flags: 0,
            modify_index: 0,
            session: None,
        });
        let value = change(parsed(key, &entry.value).map_err(NotChanged::Failed)?)?;
        let fence = lock.fence().now();
        let write = [Write::CompareAndSet { entry: &entry, value: &value }];
        match client.transact(Some(&fence), &write).await {
            Ok(KvWrite::Done(_)) => Ok(true),
            Ok(KvWrite::Conflict) => Ok(false),
            Ok(KvWrite::NotHeld) => {
                lock.refused(&fence).await.map_err(|error| not_held(&error))?;
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn not_held(error: &NotHeld) -> NotChanged {
    match error {
        NotHeld::Lost(_) => NotChanged::LockLost,
        NotHeld::Unsure(_) => NotChanged::Failed(error.to_string()),
    }
}

fn unread(place: &str, error: &dyn std::fmt::Display) -> String {
    format!("the holds in {place}: {error}")
}

/// Reads holds that another program may have written.
fn parsed(place: &str, bytes: &[u8]) -> Result<Held, String> {
    let all = json::document(bytes).and_then(json::typed);
    all.map_err(|why| {
        format!("the holds in {place} cannot be read ({why}); to end all holds, delete them there")
    })
}

fn of_file(path: &Path) -> Result<Held, String> {
    let place = path.display().to_string();
    let mut bytes = Vec::new();
    let read = match file::open_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Held::new()),
        opened => opened.and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)),
    };
    read.map_err(|error| unread(&place, &error))?;
    parsed(&place, &bytes)
}

/// Replaces the file: a reader finds the old or the new holds.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_that_cannot_be_read_are_not_taken_for_none() {
        let state = tempfile::tempdir().expect("temp dir");
        let path = state.path().join("holds.json");
        assert_eq!(of_file(&path), Ok(Held::new()), "no node was ever held");
        let hold =
            Hold { by: "me".into(), since: jiff::Timestamp::UNIX_EPOCH, reason: String::new() };
        let all = Held::from([("a".to_owned(), hold)]);
        write(&path, &serde_json::to_vec(&all).expect("text")).expect("written");
        assert_eq!(of_file(&path), Ok(all));
        for foreign in ["", "[]", "{\"a\":1}", "{\"a\":{\"by\":\"me\"}}"] {
            write(&path, foreign.as_bytes()).expect("written");
            let told = of_file(&path).expect_err(foreign);
            assert!(told.contains("to end all holds, delete them there"), "{told}");
        }
    }
}
