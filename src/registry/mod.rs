//! The registry: where a node's availability is written. Here: Consul KV, as nginx-upsync reads it.
//!
//! A write changes one field. It is a compare-and-set on the value as it was read, so that whatever somebody
//! else wrote meanwhile survives.

mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::consul::{Client, Entry, Error, Guard, KvWrite};
use crate::world::World;

pub use value::{SIZE_LIMIT, ValueError, is_down, with_down};

/// The nodes' keys below one prefix.
#[derive(Debug)]
pub struct Kv<W> {
    client: Arc<Client<W>>,
    prefix: String,
}

impl<W> Clone for Kv<W> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), prefix: self.prefix.clone() }
    }
}

impl<W: World> Kv<W> {
    /// The keys below `prefix`.
    #[must_use]
    pub fn new(client: Arc<Client<W>>, prefix: impl Into<String>) -> Self {
        Self { client, prefix: prefix.into() }
    }

    /// The key of the node at `address`.
    #[must_use]
    pub fn key(&self, address: &str) -> String {
        format!("{}{address}", self.prefix)
    }

    /// Every key below the prefix.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn list(&self) -> Result<Vec<Entry>, Error> {
        self.client.kv_list(&self.prefix).await
    }

    /// The key of the node at `address`, as it is now.
    ///
    /// # Errors
    ///
    /// When Consul cannot be asked.
    pub async fn read(&self, address: &str) -> Result<Option<Entry>, Error> {
        self.client.kv_get(&self.key(address)).await
    }

    /// Asks whether the keys of the nodes at `addresses` may be written; writes nothing.
    ///
    /// # Errors
    ///
    /// When the token lacks the right, or Consul cannot be asked.
    pub async fn may_write(&self, addresses: &BTreeSet<&str>) -> Result<(), Error> {
        let entries = self.list().await?;
        let address = |entry: &Entry| entry.key.strip_prefix(&self.prefix).map(ToOwned::to_owned);
        let wanted =
            |entry: &&Entry| address(entry).is_some_and(|address| addresses.contains(&*address));
        let entries: Vec<_> = entries.iter().filter(wanted).collect();
        self.client.kv_may_write(&entries).await
    }

    /// Writes `value` if nobody wrote since `entry` was read, and while the guard's lock is held.
    ///
    /// # Errors
    ///
    /// As [`Client::transact`].
    pub async fn write(&self, guard: &Guard, entry: &Entry, value: &str) -> Result<KvWrite, Error> {
        self.client.kv_compare_and_set(Some(guard), entry, value.as_bytes()).await
    }
}
