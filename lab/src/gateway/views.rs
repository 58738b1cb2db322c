//! The records of routes that each worker of a gateway writes to `views.log`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;

use crate::json_lines;

/// One line of a gateway's `views.log`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct View {
    pub(crate) t: u64,
    pub(crate) worker: Option<u64>,
    pub(crate) address: Option<String>,
    pub(crate) routed: Option<bool>,
    pub(crate) event: Option<String>,
}

/// Returns the view file of a gateway that keeps its files in `directory`.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("views.log")
}

/// Returns how many workers of a gateway route to `address` now, by their own records.
pub(super) fn routing(views: &Path, address: &str) -> Result<usize> {
    let mut workers: BTreeMap<u64, bool> = BTreeMap::new();
    for view in json_lines::read::<View>(views)? {
        match (view.event.as_deref(), view.worker) {
            (Some("exit"), Some(worker)) => drop(workers.remove(&worker)),
            (Some("start" | "stop"), _) => workers.clear(),
            (None, Some(worker)) if view.address.as_deref() == Some(address) => {
                workers.insert(worker, view.routed == Some(true));
            }
            _ => {}
        }
    }
    Ok(workers.values().filter(|routed| **routed).count())
}
