//! The lock of one state folder: a locked file, which the system gives back when its process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::Holder;

/// The name of the file in the state folder.
const FILE: &str = "lock";

/// A state folder that is ours until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    identity: String,
}

impl FileLock {
    /// Locks a state folder, or says who has it.
    ///
    /// # Errors
    ///
    /// When the folder or its file cannot be made or locked.
    pub fn take(state: &Path) -> Result<Result<Self, Option<Holder>>> {
        fs::create_dir_all(state)
            .with_context(|| format!("cannot make the state folder {}", state.display()))?;
        let path = state.join(FILE);
        let trouble = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(trouble)?;
        match file.try_lock() {
            Ok(()) => {
                let status = file.metadata().with_context(trouble)?;
                let boot =
                    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
                let identity = format!("{}:{}:{}", boot.trim(), status.dev(), status.ino());
                Ok(Ok(Self { file, identity }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).with_context(trouble)?;
                Ok(Err(Holder::from_bytes(&bytes)))
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(trouble),
        }
    }

    /// Says who has a state folder, if anybody does.
    ///
    /// # Errors
    ///
    /// When its file cannot be read or locked.
    pub fn look(state: &Path) -> Result<Option<Option<Holder>>> {
        if !state.join(FILE).exists() {
            return Ok(None);
        }
        Ok(Self::take(state)?.err())
    }

    /// What tells this file from every other one, as long as the machine runs.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Writes down who has it, for others to read.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sign(&mut self, holder: &Holder) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&holder.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it_and_it_is_free_when_that_one_is_gone() {
        let state = tempfile::tempdir().expect("temp dir");
        let mut first = FileLock::take(state.path()).expect("lockable").expect("free");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let holder = Holder {
            release: "r".into(),
            command: "deploy".into(),
            by: "me".into(),
            host: "here".into(),
            pid: 1,
            since: now,
            seen: now,
            doing: String::new(),
            file: None,
            released: false,
        };
        first.sign(&holder).expect("written");
        let second = FileLock::take(state.path()).expect("lockable");
        assert_eq!(second.map(|_| ()).expect_err("held"), Some(holder));
        let identity = first.identity().to_owned();
        drop(first);
        let third = FileLock::take(state.path()).expect("lockable").expect("free again");
        assert_eq!(third.identity(), identity);
    }
}
