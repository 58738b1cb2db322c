//! The rollgate binary under test.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the named binary, or the one beside this program.
pub(crate) fn rollgate(named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(path) => {
            path.canonicalize().with_context(|| format!("no rollgate at {}", path.display()))
        }
        None => beside(),
    }
}

/// Returns the rollgate binary that was built together with this program.
fn beside() -> Result<PathBuf> {
    let own = env::current_exe().context("could not read the running program's path")?;
    let rollgate = own.with_file_name("rollgate");
    rollgate.is_file().then_some(rollgate).with_context(|| {
        format!("no rollgate beside {}; build the workspace, or pass --rollgate", own.display())
    })
}
