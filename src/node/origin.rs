//! Whether the processes that listen run from the folders of releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Listener;

/// Where the processes that listen on a port run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// It cannot be seen.
    #[default]
    Unknown,
    /// One of them has to do with the releases or with the `current` link.
    Releases,
    /// None of them has. The working directory of one.
    Elsewhere(String),
}

impl Origin {
    /// Reads the answer of [`SCRIPT`] for these listeners.
    pub(super) fn parse(text: &str, listener: &Listener) -> Self {
        let owners = &listener.owners;
        if pids(text, "within=").any(|(pid, _)| owners.iter().any(|owner| owner.pid == pid)) {
            return Self::Releases;
        }
        let outside: BTreeMap<_, _> = pids(text, "outside=").collect();
        let folders = owners.iter().map(|owner| outside.get(&owner.pid));
        match folders.collect::<Option<Vec<_>>>().as_deref() {
            Some([first, ..]) => Self::Elsewhere(crate::text::line(first, 200)),
            Some([]) | None => Self::Unknown,
        }
    }
}

fn pids<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = (u32, &'a str)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(what)?;
        let (pid, folder) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((pid.parse().ok()?, folder))
    })
}

/// Continues the script that finds the listeners. `releases` and `current` are set.
pub(super) const SCRIPT: &str = include_str!("scripts/origin.sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Process, Ticks};

    #[test]
    fn every_listener_must_be_seen_elsewhere() {
        let owner = |pid| Process { pid, started: Ticks(1), command: "app".into() };
        let origin = |text: &str| {
            let owners = [owner(7), owner(8)].into();
            Origin::parse(text, &Listener { bound: true, owners, ..Listener::default() })
        };
        let elsewhere = Origin::Elsewhere("/opt/x".into());
        assert_eq!(origin("outside=7 /opt/x\noutside=8 /opt/x\n"), elsewhere);
        assert_eq!(origin("outside=7 /opt/x\nwithin=8\n"), Origin::Releases);
        assert_eq!(origin("outside=7 /opt/x\n"), Origin::Unknown);
        assert_eq!(origin("within=9\n"), Origin::Unknown);
        assert_eq!(Origin::parse("", &Listener::default()), Origin::Unknown);
    }
}
