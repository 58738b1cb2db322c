//! A node's switch as it was found, and how a write to it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consul::{self, Entry};

use super::owned::OwnedInstance;

/// How long Consul is asked to take a write before what the write rests on is looked at again.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// By node: how it is marked, or why it cannot be marked.
pub type States = BTreeMap<String, Result<Look, String>>;

/// How a node was found to be marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether it is marked down; `None` where gateways differ.
    pub down: Option<bool>,
    /// Why it counts as down only if rollgate took it out: a gateway does not list it, and lists entries that are no node
    /// of the playbook.
    pub absent: Option<String>,
    /// What gateways list that is no node of the playbook.
    pub strangers: BTreeSet<String>,
}

impl From<Option<bool>> for Look {
    fn from(down: Option<bool>) -> Self {
        Self { down, ..Self::default() }
    }
}

/// How many entries of gateways that are no node of the playbook are written down.
const STRANGERS_KEPT: usize = 1000;

/// A node's switch as it was found, and what turning it rests on.
#[derive(Debug, Clone)]
pub struct Switch {
    /// What it is: a key, an instance, gateways.
    pub name: String,
    /// Down or up; `None` when its parts differ.
    pub down: Option<bool>,
    /// Why it counts as down only if rollgate took the node out, as [`Look::absent`].
    pub absent: Option<String>,
    /// What gateways list that is no node of the playbook.
    pub strangers: BTreeSet<String>,
    /// What was there, for the journal.
    pub original: String,
    /// The number that the write depends on, where there is one.
    pub modify_index: u64,
    pub(super) token: WriteToken,
}

#[derive(Debug, Clone)]
pub(super) enum WriteToken {
    Key(Entry),
    Instance(OwnedInstance),
    /// The gateways that were read; each is read anew when it is turned.
    Gateways(Vec<usize>),
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Done; Consul's number of the change, where there is one.
    Done(u64),
    /// Somebody else wrote in between; nothing was changed.
    Conflict,
    /// The lock is not held; nothing was changed.
    NotHeld,
}

/// Why a switch could not be read or turned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A write may or may not have been done.
    #[error("{0}")]
    Unknown(String),
    /// It was answered, and is not seen to be done.
    #[error("{0}")]
    NotShown(String),
    /// Nothing was done: the other side cannot be reached, or has no time, at the moment.
    #[error("{0}")]
    Away(String),
    /// There is no such switch at the moment.
    #[error("{0}")]
    Gone(String),
    /// Nothing was done.
    #[error("{0}")]
    Failed(String),
}

impl Switch {
    /// What is written down of what gateways list besides the playbook's nodes, before a node is marked `down`. Nothing is,
    /// if there are too many: an entry that is listed later counts then as one that may be this node.
    pub(crate) fn strangers_kept(&self, down: bool) -> BTreeSet<String> {
        let is_kept = down && self.strangers.len() <= STRANGERS_KEPT;
        if is_kept { self.strangers.clone() } else { BTreeSet::new() }
    }
}

impl Error {
    /// What Consul, or one agent at a place, said of a switch.
    pub(super) fn of(error: &consul::Error, agent: Option<&str>) -> Self {
        let told = match agent {
            Some(place) => format!("agent {place}: {error}"),
            None => error.to_string(),
        };
        match error {
            consul::Error::Unknown(_) => Self::Unknown(told),
            consul::Error::Unreachable(_) => Self::Away(told),
            _ => Self::Failed(told),
        }
    }
}
