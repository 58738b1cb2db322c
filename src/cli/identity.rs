//! The identity of the caller: the CI job, or the user on this machine. Other processes read it in the lock.

use std::env;
use std::fs;
use std::process;

use crate::ops::Identity;
use crate::secret;

/// Returns the identity of this process.
pub(super) fn own() -> Identity {
    Identity { actor: secret::hide(&actor()), host: hostname(), pid: process::id() }
}

/// Returns the name of this machine.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn actor() -> String {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("CI_JOB_URL").or_else(|| variable("BUILD_URL")) {
        return format!("ci:{url}");
    }
    if let (Some(server), Some(repository), Some(run)) =
        (variable("GITHUB_SERVER_URL"), variable("GITHUB_REPOSITORY"), variable("GITHUB_RUN_ID"))
    {
        return format!("ci:{server}/{repository}/actions/runs/{run}");
    }
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into());
    format!("{user}@{}", hostname())
}
