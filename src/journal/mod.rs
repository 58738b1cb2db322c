//! Journals: the events of releases on disk, their replicas in Consul, and reading both.
//!
//! * [`disk`](self): a journal on this machine, written before each action;
//! * [`replica`]: its replica in Consul for other machines; [`history`]: the journals of releases from both places; [`prune`] deletes old
//!   journals on disk.

mod disk;
pub mod history;
mod pieces;
mod prune;
pub mod replica;
mod unreadable;

/// How many releases of a service are kept, on a machine and in Consul.
const KEPT: usize = 20;

pub use disk::{
    Folding, Journal, LONGEST_LINE, all, beginnings, bytes_of, events, first, first_of, fold,
    is_id, latest, parse, read, recent,
};
pub use prune::prune;
