//! The change by one event.

use crate::release::event::{Resumed, Started};
use crate::release::node::NodeState;
use crate::release::outcome::Finished;

/// The change by an event.
#[derive(Debug)]
pub enum Change {
    /// None: the event only informs.
    Nothing,
    /// The release begins.
    Started(Box<Started>),
    /// The release is resumed.
    Resumed(Box<Resumed>),
    /// A node's state.
    Node(String, Box<NodeState>),
    /// These nodes begin, either their update or their rollback.
    Batch(usize, Vec<String>, bool),
    /// No further node is selected.
    Stopping(String),
    /// The end.
    Finished(Box<Finished>),
}
