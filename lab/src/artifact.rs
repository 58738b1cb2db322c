//! Releases of the demo service: their behaviour, and the archive that is sent to a node.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::tools;

/// How a release misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It does not misbehave.
    #[default]
    None,
    /// It runs, but `/ping` always answers 503.
    NeverReady,
    /// It prints a reason and exits at once.
    CrashOnStart,
    /// It is healthy for this long, then exits.
    ReadyThenCrash(Duration),
    /// It ignores SIGTERM and keeps serving.
    IgnoreTerm,
    /// It seems to stop, but a child process keeps the port and answers with its version.
    KeepsPort,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::NeverReady => "never-ready",
            Self::CrashOnStart => "crash-on-start",
            Self::ReadyThenCrash(_) => "ready-then-crash",
            Self::IgnoreTerm => "ignore-term",
            Self::KeepsPort => "keeps-port",
        })
    }
}

/// A version of the demo service and how it behaves.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version in its answers.
    pub version: String,
    /// How it misbehaves.
    pub fault: Fault,
    /// How long it takes until it listens.
    pub start_delay: Duration,
    /// How long it takes to exit after its last request.
    pub stop_delay: Duration,
}

impl Release {
    /// Returns a release that starts and stops at once and has no fault.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            fault: Fault::None,
            start_delay: Duration::ZERO,
            stop_delay: Duration::ZERO,
        }
    }

    /// Returns the same release with a fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Returns the script that starts this release on a node.
    fn script(&self) -> String {
        let crash_after = match self.fault {
            Fault::ReadyThenCrash(after) => format!(" --crash-after {}", after.as_millis()),
            _ => String::new(),
        };
        format!(
            "#!/bin/sh\n\
             exec /run/lab/lab service --version '{}' --listen \"$(cat /srv/app/address)\" \
             --audit /run/node/audit.jsonl --fault {}{crash_after} --start-delay {} --stop-delay {}\n",
            self.version,
            self.fault,
            self.start_delay.as_millis(),
            self.stop_delay.as_millis(),
        )
    }

    /// Writes the script into `directory`, as `run`, for its owner to read and write.
    pub(crate) fn write_script(&self, directory: &Path) -> Result<PathBuf> {
        fs::create_dir_all(directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        let run = directory.join("run");
        fs::write(&run, self.script())?;
        fs::set_permissions(&run, Permissions::from_mode(0o600))?;
        Ok(run)
    }

    /// Writes `app-<version>.tar.gz` into `directory`; the same release gives the same bytes.
    pub(crate) fn pack(&self, directory: &Path) -> Result<PathBuf> {
        let name = format!("app-{}", self.version);
        let content = directory.join(&name);
        let run = self.write_script(&content)?;
        fs::set_permissions(&run, Permissions::from_mode(0o755))?;
        let version = content.join("VERSION");
        fs::write(&version, format!("{}\n", self.version))?;
        fs::set_permissions(&version, Permissions::from_mode(0o644))?;
        let archive = directory.join(format!("{name}.tar.gz"));
        tools::run(
            Command::new("tar")
                .args(["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"])
                .args(["--use-compress-program=gzip -n", "--create", "--file"])
                .arg(&archive)
                .arg("--directory")
                .arg(&content)
                .args(["VERSION", "run"]),
        )?;
        fs::remove_dir_all(&content)?;
        Ok(archive)
    }
}

/// Returns the name of the release directory that an archive is extracted to.
pub(crate) fn directory_name(archive: &Path) -> Result<String> {
    let content =
        fs::read(archive).with_context(|| format!("could not open {}", archive.display()))?;
    let digest = Sha256::digest(content);
    let stem = archive
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(".tar.gz"))
        .with_context(|| format!("{} is not a .tar.gz", archive.display()))?;
    let prefix = digest.first_chunk().context("a digest is longer than four bytes")?;
    Ok(format!("{stem}-{:08x}", u32::from_be_bytes(*prefix)))
}
