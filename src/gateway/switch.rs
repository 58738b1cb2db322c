//! How a gateway's own API marks a node down and up.

use super::Query;
use crate::consul::Entry;
use crate::text;
use crate::world::Reply;

/// What a gateway was told of a node last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Its list has the node, and requests may go there.
    Up,
    /// Its list has the node as out.
    Down,
    /// Its list does not have the node. It is out, unless the list has it under another name.
    Absent,
}

/// Why a change was not done, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The gateway refuses it, and would refuse it again.
    #[error("{0}")]
    Refused(String),
    /// What it was made on top of has changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// The gateway turned it away for the moment; nothing was done.
    #[error("{0}")]
    Later(String),
    /// The answer does not tell.
    #[error("{0}")]
    Unknown(String),
}

/// How a gateway's own API marks a node down and up.
pub trait Switch: Send + Sync {
    /// What to ask to learn what the gateway was told last.
    fn asks(&self) -> Vec<Query>;

    /// Reads from the replies to [`Switch::asks`] how the node at `address` is marked.
    ///
    /// # Errors
    ///
    /// When the replies cannot be understood, the gateway must have the node and does not, or the node must not be
    /// marked.
    fn mark(&self, replies: &[Reply], address: &str) -> Result<Mark, String>;

    /// Returns whether the node is out, as far as that is told by its own address.
    ///
    /// # Errors
    ///
    /// As [`Switch::mark`].
    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String> {
        Ok(self.mark(replies, address)? != Mark::Up)
    }

    /// The entries of its list that are no node of the playbook, as they are written there: one of them may be a node
    /// that is not listed under its own address.
    fn strangers(&self, replies: &[Reply]) -> Vec<String> {
        let _ = replies;
        Vec::new()
    }

    /// Returns whether the places that the node is marked in contradict each other: a write was interrupted, or
    /// somebody else changed one of them.
    fn is_inconsistent(&self, replies: &[Reply], address: &str) -> bool {
        let _ = (replies, address);
        false
    }

    /// Returns whether the gateway has lost its whole list, by a restart say. What [`Switch::turn`] then builds on are
    /// the replies from before, where there were any.
    fn is_lost(&self, replies: &[Reply]) -> bool {
        let _ = replies;
        false
    }

    /// The keys in Consul that it writes, as the replies show them.
    fn keys(&self, replies: &[Reply]) -> Vec<Entry> {
        let _ = replies;
        Vec::new()
    }

    /// What marks the node at `address`, on top of what the replies to [`Switch::asks`] say.
    ///
    /// # Errors
    ///
    /// Why that must not be written.
    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String>;

    /// Reads the replies to [`Switch::turn`].
    ///
    /// # Errors
    ///
    /// What the gateway says against it.
    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone>;
}

/// Returns whether a status says that the gateway, or a proxy in front of it, cannot answer at the moment.
pub(crate) fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

/// Why a reply to a change, which is not the one for a change that was done, does not say so.
pub(super) fn not_done(reply: &Reply) -> NotDone {
    let said = text::line(&reply.text(), 80);
    let said = format!("it answered {} {said}", reply.status);
    match reply.status {
        429 => NotDone::Later(said),
        503 if reply.header("retry-after").is_some() => NotDone::Later(said),
        400..=499 => NotDone::Refused(said),
        _ => NotDone::Unknown(said),
    }
}
