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
    let links =
        ["BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "DRONE_BUILD_LINK", "TRAVIS_BUILD_WEB_URL"];
    if let Some(url) = links.into_iter().find_map(variable) {
        return format!("ci:{url}");
    }
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let user = user.unwrap_or_else(|| name_of(rustix::process::getuid().as_raw()));
    // `sudo` keeps the name of the person.
    let person = variable("SUDO_USER").filter(|person| *person != user);
    match person {
        Some(person) => format!("{person}@{} as {user}", hostname()),
        None => format!("{user}@{}", hostname()),
    }
}

/// The name of a user of this machine, or the number if it has none.
fn name_of(number: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number = number.to_string();
    let user = users.find(|fields| fields.get(2) == Some(&number.as_str()));
    user.map_or_else(|| format!("uid {number}"), |fields| fields[0].to_owned())
}
