//! A lab's place: a subnet that no other lab uses, and a directory for all its files.
//!
//! A place is claimed with a file lock, so that it is free again when its lab ends in any way.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, process, thread};

use anyhow::{Context, Result, bail};

/// Below the system's directory for temporary files; short, for the sake of Unix sockets.
const DIRECTORY: &str = "rollgate-lab";

/// Marks a directory that is kept for a person.
const KEPT: &str = ".keep";

/// A claimed subnet and directory.
#[derive(Debug)]
pub(crate) struct Home {
    slot: u8,
    directory: PathBuf,
    kept: bool,
    _lock: File,
}

impl Home {
    /// Claims the first free place, and removes the files of a killed lab there.
    pub(crate) fn claim() -> Result<Self> {
        let root = env::temp_dir().join(DIRECTORY);
        fs::create_dir_all(&root)
            .with_context(|| format!("could not create {}", root.display()))?;
        for slot in 1..=u8::MAX {
            let path = root.join(format!("{slot}.lock"));
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("could not open {}", path.display()))?;
            if lock.try_lock().is_err() {
                continue;
            }
            remove_leftovers(&root, slot)?;
            let directory = root.join(format!("{slot}-{}", process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => {}
                // An earlier lab of this process that was kept.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    let problem = format!("could not create {}", directory.display());
                    return Err(error).context(problem);
                }
            }
            fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
            return Ok(Self { slot, directory, kept: false, _lock: lock });
        }
        bail!("every place below {} is taken by a running lab", root.display());
    }

    /// Returns the address with this last number in the lab's subnet.
    pub(crate) fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.slot, host)
    }

    /// Keeps the directory for a person to read.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Returns the directory for all files of the lab.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Home {
    #[expect(clippy::print_stderr, reason = "a person looking for logs has to learn the place")]
    fn drop(&mut self) {
        let asked = self.kept || env::var_os("LAB_KEEP").is_some_and(|value| value == "1");
        if asked || thread::panicking() {
            let _ = File::create(self.directory.join(KEPT));
            eprintln!("lab: kept {}", self.directory.display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Removes the directories of labs that had this slot and could not clean up themselves.
fn remove_leftovers(root: &Path, slot: u8) -> Result<()> {
    let prefix = format!("{slot}-");
    for entry in fs::read_dir(root).with_context(|| format!("could not read {}", root.display()))? {
        let path = entry?.path();
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(&prefix));
        if ours && !path.join(KEPT).exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("could not remove {}", path.display()))?;
        }
    }
    Ok(())
}
