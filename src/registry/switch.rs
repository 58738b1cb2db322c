//! A node's switch as it was read, and the result of a write to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consul::{self, Entry};
use crate::gateway::{Parameters, QueryError};
use crate::mark::Mark;
use crate::release::{EntryBefore, EventKind};

use super::owned::OwnedInstance;

/// How long Consul may take for a write before the state on which the write is based is read again.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// By node: how it is marked, or why it cannot be marked.
pub type States = BTreeMap<String, Result<Look, String>>;

/// How a node is marked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its mark, unknown if gateways differ, mixed if registries differ.
    pub mark: Mark,
    /// Why it counts as down only if rollgate took it out: a gateway does not list it, but lists entries that are
    /// not nodes of the playbook.
    pub absent: Option<String>,
    /// Entries of gateways that are not nodes of the playbook.
    pub strangers: BTreeSet<String>,
    /// The parameters in its key that gateways may show.
    pub parameters: Parameters,
    /// Its key as it was read, if it has one.
    pub stored: Option<StoredKey>,
    /// Each registry's own view, in the order of the spec, if there are several.
    pub parts: Vec<PartLook>,
}

/// How a node is marked in one of several registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartLook {
    /// Its mark there.
    pub mark: Mark,
    /// The parameters in its key there that gateways may show.
    pub parameters: Parameters,
    /// Its key there as it was read, if it has one.
    pub stored: Option<StoredKey>,
}

/// The content of a key in Consul.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The value.
    pub value: String,
    /// Consul's index of its last change.
    pub modify_index: u64,
}

impl Look {
    /// Combines what several registries say about a node.
    pub(super) fn of_all(looks: Vec<Self>) -> Self {
        let marks: Vec<_> = looks.iter().map(|look| look.mark).collect();
        let mut all = Self::from(Mark::of_all(&marks));
        for Look { mark, absent, strangers, parameters, stored, .. } in looks {
            all.absent = all.absent.or(absent);
            all.strangers.extend(strangers);
            all.parts.push(PartLook { mark, parameters, stored });
        }
        all
    }
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
    /// Its mark, unknown if gateways differ, mixed if registries differ.
    pub mark: Mark,
    /// Why it counts as down only if rollgate took the node out, as in [`Look::absent`].
    pub absent: Option<String>,
    /// Entries of gateways that are not nodes of the playbook.
    pub strangers: BTreeSet<String>,
    /// The original value, for the journal; empty if each part has its own.
    pub(super) original: String,
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
    /// The switch in each of several registries, by the place of the registry.
    Parts(Vec<(usize, Switch)>),
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
    /// Combines the switches of a node in several registries, each with the place of its registry.
    pub(super) fn of_parts(parts: Vec<(usize, Self)>) -> Self {
        let each = || parts.iter().map(|(_, switch)| switch);
        let (original, modify_index) = match parts.as_slice() {
            [(_, only)] => (only.original.clone(), only.modify_index),
            _ => (String::new(), 0),
        };
        Self {
            name: each().map(|switch| switch.name.as_str()).collect::<Vec<_>>().join(", "),
            mark: Mark::of_all(&each().map(|switch| switch.mark).collect::<Vec<_>>()),
            absent: each().find_map(|switch| switch.absent.clone()),
            strangers: each().flat_map(|switch| switch.strangers.iter().cloned()).collect(),
            original,
            modify_index,
            token: WriteToken::Parts(parts),
        }
    }

    /// Returns whether Consul itself refuses a write without the lock. Otherwise the lock must be verified
    /// immediately before the write.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        match &self.token {
            WriteToken::Key(_) => true,
            WriteToken::Instance(_) | WriteToken::Gateways(_) => false,
            WriteToken::Parts(parts) => parts.iter().all(|(_, switch)| switch.is_fenced()),
        }
    }

    /// Returns whether it is one entry in Consul.
    #[must_use]
    pub fn is_in_consul(&self) -> bool {
        matches!(self.token, WriteToken::Key(_) | WriteToken::Instance(_))
    }

    /// The event before a write.
    #[must_use]
    pub fn writing(&self, down: bool) -> EventKind {
        let entries = match &self.token {
            WriteToken::Parts(parts) if parts.len() > 1 => {
                parts.iter().map(|(_, switch)| switch.entry()).collect()
            }
            _ => Vec::new(),
        };
        EventKind::RegistryWriting {
            key: self.name.clone(),
            down,
            original: self.original.clone(),
            modify_index: self.modify_index,
            entries,
            strangers: self.strangers_kept(down),
        }
    }

    fn entry(&self) -> EntryBefore {
        let (key, original) = (self.name.clone(), self.original.clone());
        EntryBefore { key, original, modify_index: self.modify_index }
    }

    /// The error of a switch that these registries did not read.
    pub(super) fn of_another(&self) -> Error {
        Error::Failed(format!("{} belongs to another registry", self.name))
    }

    /// The entries that gateways list besides the playbook's nodes, to be recorded before a node is marked `down`.
    /// If there are too many, none are recorded: an entry that is listed later then counts as one that can be this
    /// node.
    fn strangers_kept(&self, down: bool) -> BTreeSet<String> {
        let is_kept = down && self.strangers.len() <= STRANGERS_KEPT;
        if is_kept { self.strangers.clone() } else { BTreeSet::new() }
    }
}

impl Error {
    /// The error of a write that was not done after another part of the switch was changed. The journal must not say
    /// that nothing was changed.
    pub(super) fn of_the_rest(result: Result<Written, Self>) -> Self {
        match result {
            Ok(Written::Done(_)) => Self::Unknown("it was written".to_owned()),
            Ok(Written::Conflict) => Self::NotShown(QueryError::Conflict.to_string()),
            Ok(Written::NotHeld) => Self::NotShown(QueryError::NotHeld.to_string()),
            Err(Self::Away(problem)) => Self::Unknown(problem),
            Err(Self::Gone(problem) | Self::Failed(problem)) => Self::HalfDone(problem),
            Err(other @ (Self::Unknown(_) | Self::NotShown(_) | Self::HalfDone(_))) => other,
        }
    }

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

    #[test]
    fn no_result_after_another_part_was_changed_says_that_nothing_was_done() {
        let problem = || "no".to_owned();
        for result in [
            Ok(Written::Conflict),
            Ok(Written::NotHeld),
            Err(Error::Away(problem())),
            Err(Error::Gone(problem())),
            Err(Error::Failed(problem())),
        ] {
            let told = Error::of_the_rest(result.clone());
            let is_open =
                matches!(told, Error::Unknown(_) | Error::NotShown(_) | Error::HalfDone(_));
            assert!(is_open, "{result:?}: {told:?}");
        }
    }
}
