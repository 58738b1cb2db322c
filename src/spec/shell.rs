//! A command of the playbook.

use std::time::Duration;

/// A command with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell {
    /// What `sh` runs.
    pub run: String,
    /// Time limit of the whole command.
    pub timeout: Duration,
    /// Whether it runs through `sudo -n`.
    pub sudo: bool,
}
