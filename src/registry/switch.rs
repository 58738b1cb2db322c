//! A node's switch as it was read, and the result of a write to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consul::{self, Entry};
use crate::gateway::Parameters;
use crate::mark::Mark;

use super::owned::OwnedInstance;

/// How long Consul may take for a write before the state on which the write is based is read again.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// By node: how it is marked, or why it cannot be marked.
pub type States = BTreeMap<String, Result<Look, String>>;

/// How a node is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its mark, unknown if gateways differ.
    pub mark: Mark,
    /// Why it counts as down only if rollgate took it out: a gateway does not list it, but lists entries that are
    /// not nodes of the playbook.
    pub absent: Option<String>,
    /// Entries of gateways that are not nodes of the playbook.
    pub strangers: BTreeSet<String>,
    /// The parameters in its key that gateways may show.
    pub parameters: Parameters,
}

impl From<Mark> for Look {
    fn from(mark: Mark) -> Self {
        Self { mark, ..Self::default() }
    }
}

/// How many entries that are not nodes of the playbook are recorded.
const STRANGERS_KEPT: usize = 1000;

/// A node's switch as it was read, and the state on which a change is based.
#[derive(Debug, Clone)]
pub struct Switch {
    /// Its kind: a key, an instance, gateways.
    pub name: String,
    /// Its mark, unknown if its parts differ.
    pub mark: Mark,
    /// Why it counts as down only if rollgate took the node out, as in [`Look::absent`].
    pub absent: Option<String>,
    /// Entries of gateways that are not nodes of the playbook.
    pub strangers: BTreeSet<String>,
    /// The original value, for the journal.
    pub original: String,
    /// The index on which the write depends, if there is one.
    pub modify_index: u64,
    pub(super) token: WriteToken,
}

#[derive(Debug, Clone)]
pub(super) enum WriteToken {
    Key(Entry),
    Instance(OwnedInstance),
    /// The gateways that were read. Each is read again when it is changed.
    Gateways(Vec<usize>),
}

/// Whether switches may be set, as far as it is known without setting them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// These keys in Consul may be written. Other changes are not checked.
    Keys(Vec<String>),
    /// It is unknown for keys that must be written: they cannot be read.
    Unread(String),
    /// Only a change shows it.
    Untested(String),
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Done, with Consul's index of the change, if there is one.
    Done(u64),
    /// Another writer was faster; nothing was changed.
    Conflict,
    /// The lock is not held; nothing was changed.
    NotHeld,
}

/// Why a switch could not be read or set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The effect of a write is unknown.
    #[error("{0}")]
    Unknown(String),
    /// It was answered, but the change is not visible.
    #[error("{0}")]
    NotShown(String),
    /// One place refused it after another place was changed.
    #[error("{0}")]
    HalfDone(String),
    /// Nothing was done: the other side cannot be reached, or is busy, at the moment.
    #[error("{0}")]
    Away(String),
    /// The switch does not exist at the moment.
    #[error("{0}")]
    Gone(String),
    /// Nothing was done.
    #[error("{0}")]
    Failed(String),
}

impl Switch {
    /// The entries that gateways list besides the playbook's nodes, to be recorded before a node is marked `down`.
    /// If there are too many, none are recorded: an entry that is listed later then counts as one that can be this
    /// node.
    pub(crate) fn strangers_kept(&self, down: bool) -> BTreeSet<String> {
        let is_kept = down && self.strangers.len() <= STRANGERS_KEPT;
        if is_kept { self.strangers.clone() } else { BTreeSet::new() }
    }
}

impl Error {
    /// The error of a switch, from an answer of Consul, or of one agent at a place.
    pub(super) fn of(error: &consul::Error, agent: Option<&str>) -> Self {
        let told = match agent {
            Some(place) => format!("agent {place}: {error}"),
            None => error.to_string(),
        };
        match error {
            consul::Error::Unknown(_) => Self::Unknown(told),
            consul::Error::Unreachable(_) | consul::Error::Unserved(_) => Self::Away(told),
            _ => Self::Failed(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consul_that_cannot_serve_now_is_waited_for() {
        let problem = || "500 No cluster leader".to_owned();
        for error in [consul::Error::Unreachable(problem()), consul::Error::Unserved(problem())] {
            assert!(matches!(Error::of(&error, None), Error::Away(_)), "{error}");
        }
    }
}
