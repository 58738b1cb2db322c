//! SSH key pairs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tools;

/// Makes a key pair without a passphrase at `path` and `path.pub`.
pub(crate) fn generate(path: &Path, comment: &str) -> Result<()> {
    tools::run(
        Command::new(tools::find("ssh-keygen")?)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(path),
    )
    .map(|_| ())
}
