//! Journals: the events of releases on disk, their replicas in Consul, and how both are read back.
//!
//! * [`disk`](self): a journal on this machine, written before anything is done;
//! * [`replica`]: the same in Consul, for other machines; [`history`]: the journals of releases, from here and from Consul.

mod disk;
pub mod history;
pub mod replica;

pub use disk::{
    Folding, Journal, LONGEST_LINE, all, bytes_of, first, first_of, fold, is_id, latest, parse,
    read, recent,
};
