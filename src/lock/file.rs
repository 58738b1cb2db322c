//! The lock of one state folder: a locked file. The system releases it when its process ends, however it ends.
//!
//! Without Consul it is the only lock of a service. Then the playbook itself is locked as well: if a state folder
//! is removed or replaced while a release runs, a second release must not begin.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::holder::{Holder, Process};
use crate::file;

/// The name of the file in the state folder.
const FILE: &str = "lock";

/// A holder's description is shorter than this.
const LARGEST: u64 = 64 * 1024;

/// A state folder that this process holds until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    identity: Option<String>,
    /// The locked playbook, if this file is the only lock.
    playbook: Option<File>,
}

impl FileLock {
    /// Locks a state folder, or returns its holder. A command that reads the lock holds it for a moment, so another
    /// attempt is worthwhile.
    ///
    /// # Errors
    ///
    /// If the folder or its file cannot be created or locked.
    pub fn take(state: &Path) -> Result<Result<Self, Option<Holder>>> {
        file::private_folder(state)
            .with_context(|| format!("cannot create the state folder {}", state.display()))?;
        let path = state.join(FILE);
        let trouble = || format!("cannot lock {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = file::open_private(&path, &mut options).with_context(trouble)?;
        match file.try_lock() {
            Ok(()) => {
                let identity = identity(&file).with_context(trouble)?;
                Ok(Ok(Self { file, path, identity, playbook: None }))
            }
            Err(TryLockError::WouldBlock) => Ok(Err(holder(&file).with_context(trouble)?)),
            Err(TryLockError::Error(error)) => Err(error).with_context(trouble),
        }
    }

    /// Locks the playbook as well. Returns whether that was possible: some files cannot be locked at all.
    ///
    /// # Errors
    ///
    /// If the playbook cannot be opened.
    pub fn guard_playbook(&mut self, playbook: &Path) -> Result<bool> {
        let trouble = || format!("cannot open {}", playbook.display());
        let file = File::open(playbook).with_context(trouble)?;
        match file.try_lock() {
            Ok(()) => self.playbook = Some(file),
            Err(TryLockError::WouldBlock) => return Ok(false),
            // Some file systems do not lock files that are opened only for reading.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(true)
    }

    /// Returns the holder of a state folder, or of the playbook, if there is one. It does not disturb a process
    /// that acquires the lock.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or locked.
    pub fn look(state: &Path, playbook: &Path) -> Result<Option<Option<Holder>>> {
        let path = state.join(FILE);
        let trouble = || format!("cannot inspect {}", path.display());
        match file::open_regular(&path) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Ok(Some(holder(&file).with_context(trouble)?));
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(trouble),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(trouble),
        }
        let playbook = File::open(playbook);
        let is_held = playbook
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        Ok(is_held.then_some(None))
    }

    /// Returns what the file of this state folder tells about the process of a holder that has locked it.
    #[must_use]
    pub fn process(state: &Path, other: &Holder) -> Process {
        let Ok(file) = file::open_regular(&state.join(FILE)) else { return Process::Unknown };
        if !matches!(identity(&file), Ok(Some(same)) if Some(&same) == other.file.as_ref()) {
            return Process::Unknown;
        }
        match file.try_lock_shared() {
            Ok(()) => Process::Ended,
            // Another process may have locked it since.
            Err(TryLockError::WouldBlock) => match holder(&file) {
                Ok(Some(now)) if now.is(other) => Process::Runs,
                _ => Process::Unknown,
            },
            Err(TryLockError::Error(_)) => Process::Unknown,
        }
    }

    /// Returns whether the locked file is still the one in the state folder. A process that finds another file
    /// there, or none, does not see this lock.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let place = |status: &fs::Metadata| (status.dev(), status.ino());
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(found), Ok(own)) => place(&found) == place(&own),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// Identifies this file among all files while the machine runs. `None` if that is unknown.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Writes the holder into the file, for other processes.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn sign(&mut self, holder: &Holder) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&holder.to_bytes())
    }
}

/// Reads the holder of a lock file.
fn holder(file: &File) -> std::io::Result<Option<Holder>> {
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Holder::from_bytes(&bytes))
}

/// A device and an inode number can repeat after a reboot, and on other machines.
fn identity(file: &File) -> std::io::Result<Option<String>> {
    let status = file.metadata()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Ok(identity_of(boot.trim(), status.dev(), status.ino()))
}

fn identity_of(boot: &str, device: u64, number: u64) -> Option<String> {
    (!boot.is_empty()).then(|| format!("{boot}:{device}:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_holds_the_lock_until_it_ends() {
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
        let process = |holder: &Holder| FileLock::process(state.path(), holder);
        let second = FileLock::take(state.path()).expect("lockable");
        assert_eq!(second.map(|_| ()).expect_err("held"), Some(holder.clone()));
        let identity = first.identity().map(str::to_owned);
        assert!(identity.is_some());
        assert_eq!(process(&holder), Process::Unknown, "it has not said which file it locked");
        let holder = Holder { file: identity.clone(), ..holder };
        assert_eq!(process(&holder), Process::Runs);
        drop(first);
        assert_eq!(process(&holder), Process::Ended);
        let other = Holder { file: Some("another file".into()), ..holder.clone() };
        assert_eq!(process(&other), Process::Unknown);
        let mut third = FileLock::take(state.path()).expect("lockable").expect("free again");
        third.sign(&Holder { pid: 2, ..holder.clone() }).expect("written");
        assert_eq!(process(&holder), Process::Unknown, "another process runs");
        assert_eq!(third.identity(), identity.as_deref());
    }

    #[test]
    fn reading_the_holder_blocks_no_reader_and_no_later_lock() {
        let state = tempfile::tempdir().expect("temp dir");
        let playbook = state.path().join("app.yaml");
        fs::write(&playbook, "").expect("write");
        let look = || FileLock::look(state.path(), &playbook).expect("readable");
        assert_eq!(look(), None, "no release ever ran");
        drop(FileLock::take(state.path()).expect("lockable").expect("free"));
        let open = file::open_regular(&state.path().join(FILE)).expect("it is there");
        open.try_lock_shared().expect("another look");
        assert_eq!(look(), None);
        drop(open);
        let held = FileLock::take(state.path()).expect("lockable").expect("free");
        fs::write(state.path().join(FILE), "no holder").expect("write");
        assert_eq!(look(), Some(None), "held by an unknown process, not free");
        drop(held);
        assert_eq!(look(), None);
    }

    #[test]
    fn removed_state_folder_does_not_allow_a_second_release() {
        let root = tempfile::tempdir().expect("temp dir");
        let (state, playbook) = (root.path().join("state"), root.path().join("app.yaml"));
        fs::write(&playbook, "").expect("write");
        let mut first = FileLock::take(&state).expect("lockable").expect("free");
        assert!(first.guard_playbook(&playbook).expect("readable"));
        assert!(first.is_in_place());
        fs::remove_dir_all(&state).expect("remove");
        assert!(!first.is_in_place());
        assert_eq!(FileLock::look(&state, &playbook).expect("readable"), Some(None));
        let mut second = FileLock::take(&state).expect("lockable").expect("another file");
        assert!(!first.is_in_place(), "another file is not ours");
        assert!(!second.guard_playbook(&playbook).expect("readable"));
        drop(first);
        assert!(second.guard_playbook(&playbook).expect("readable"));
    }

    #[test]
    fn lock_file_is_private_and_not_a_symlink() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let root = tempfile::tempdir().expect("temp dir");
        let (state, victim) = (root.path().join("state"), root.path().join("victim"));
        fs::create_dir(&state).expect("mkdir");
        fs::write(&victim, "precious").expect("write");
        symlink(&victim, state.join(FILE)).expect("symlink");
        assert!(FileLock::take(&state).is_err());
        assert!(FileLock::look(&state, &victim).is_err());
        fs::remove_file(state.join(FILE)).expect("remove");
        drop(FileLock::take(&state).expect("lockable").expect("free"));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_to_string(&victim).expect("read"), "precious");
    }

    #[test]
    fn lock_has_no_identity_without_a_boot_id() {
        assert_eq!(identity_of("", 1, 2), None);
        assert_eq!(identity_of("b", 1, 2).as_deref(), Some("b:1:2"));
    }
}
