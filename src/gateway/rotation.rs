//! How a gateway's own API takes nodes out of rotation and returns them.

use super::query::Query;
use crate::consul::Entry;
use crate::text;
use crate::world::Reply;

/// How a gateway lists a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Its list has the node, and requests may go there.
    Up,
    /// Its list has the node as out.
    Down,
    /// Its list does not have the node. The node is out, unless it is listed under another name.
    Absent,
}

/// What a gateway's list says of one node, and of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// How the node is listed.
    pub node: Listed,
    /// The places that mark the node contradict each other: a write was interrupted, or another writer changed one
    /// of them.
    pub is_inconsistent: bool,
    /// The entries of the list that are not a node of the playbook, in the gateway's spelling. One of them can be a
    /// node that is not listed under its own address.
    pub strangers: Vec<String>,
    /// The gateway has lost its whole list, for example by a restart. [`RotationControl::set`] then uses earlier
    /// replies, if there are any.
    pub is_lost: bool,
    /// The keys in Consul that a change writes.
    pub keys: Vec<Entry>,
}

impl From<Listed> for Listing {
    fn from(node: Listed) -> Self {
        Self {
            node,
            is_inconsistent: false,
            strangers: Vec::new(),
            is_lost: false,
            keys: Vec::new(),
        }
    }
}

impl Listing {
    /// Returns whether the node is out, as far as its own address shows.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.node != Listed::Up
    }
}

/// Why a change was not made, or may not have been made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The gateway refuses it, and would refuse it again.
    #[error("{0}")]
    Refused(String),
    /// The state on which the change is based has changed in the meantime.
    #[error("{0}")]
    Conflict(String),
    /// The gateway rejected it for now; nothing was changed.
    #[error("{0}")]
    Later(String),
    /// The answer does not show it.
    #[error("{0}")]
    Unknown(String),
}

/// How a gateway's own API takes nodes out of rotation and returns them. It reads the replies to the queries of
/// [`Purpose::Rotation`](super::Purpose::Rotation).
pub trait RotationControl: Send + Sync {
    /// Reads how the gateway lists the node at `address`.
    ///
    /// # Errors
    ///
    /// If the replies cannot be understood, the gateway lacks a node that it must have, or the node must not be
    /// marked.
    fn listing(&self, replies: &[Reply], address: &str) -> Result<Listing, String>;

    /// The queries that take the node at `address` out or return it, based on the replies.
    ///
    /// # Errors
    ///
    /// Why that must not be written.
    fn set(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Query>, String>;

    /// Reads the replies to [`RotationControl::set`].
    ///
    /// # Errors
    ///
    /// The gateway's reason.
    fn is_done(&self, replies: &[Reply]) -> Result<(), NotDone>;

    /// The names of the keys in Consul that a change writes, besides the gateway itself.
    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Returns whether a status says that the gateway, or a proxy in front of it, cannot answer at the moment.
pub(crate) fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

/// Why a reply to a change does not confirm that the change was made.
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
