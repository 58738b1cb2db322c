//! A command of the playbook.

use std::time::Duration;

/// A command with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// What `sh` runs.
    pub run: String,
    /// For all of it.
    pub timeout: Duration,
    /// Through `sudo -n`.
    pub sudo: bool,
}
