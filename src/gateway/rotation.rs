//! How a gateway's own API takes nodes out of rotation and back.

use super::query::Query;
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

/// What a gateway was told last: of one node, and of its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How the node is marked.
    pub mark: Mark,
    /// The places that the node is marked in contradict each other: a write was interrupted, or something else changed
    /// one of them.
    pub is_inconsistent: bool,
    /// The entries of the list that are no node of the playbook, as they are written there: one of them may be a node
    /// that is not listed under its own address.
    pub strangers: Vec<String>,
    /// The gateway has lost its whole list, by a restart say. What [`RotationControl::set`] then builds on are the
    /// replies from before, where there were any.
    pub is_lost: bool,
    /// The keys in Consul that a change writes.
    pub keys: Vec<Entry>,
}

impl From<Mark> for Told {
    fn from(mark: Mark) -> Self {
        Self {
            mark,
            is_inconsistent: false,
            strangers: Vec::new(),
            is_lost: false,
            keys: Vec::new(),
        }
    }
}

impl Told {
    /// Returns whether the node is out, as far as that is told by its own address.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.mark != Mark::Up
    }
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

/// How a gateway's own API takes nodes out of rotation and back. What it reads are the replies to the queries of
/// [`Purpose::Rotation`](super::Purpose::Rotation).
pub trait RotationControl: Send + Sync {
    /// Reads what the gateway was told last of the node at `address`.
    ///
    /// # Errors
    ///
    /// When the replies cannot be understood, the gateway must have the node and does not, or the node must not be
    /// marked.
    fn told(&self, replies: &[Reply], address: &str) -> Result<Told, String>;

    /// What takes the node at `address` out or back, on top of what the replies say.
    ///
    /// # Errors
    ///
    /// Why that must not be written.
    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String>;

    /// Reads the replies to [`RotationControl::set`].
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
